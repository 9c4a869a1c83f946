"""A desk for one device: an MQTT server that is broker and plugin at once, and a download server, both in the hands of
a script. A real broker does what is right; this one can do what happens: say a thing twice, go away in the middle, lose
a block, give out an address that has expired.

`Desk` speaks MQTT 3.1.1 and 5 (QoS 0 to 2 in, 0 and 1 out, no sessions that outlive a connection, no TLS), keeps the
record of all that came in `events`, and checks every uplink against the contract as it comes. What is not told
otherwise it answers as the plugin would. Threads: one reads the connection, some serve files; `lock` guards all.
"""

import collections
import hashlib
import http.server
import itertools
import json
import pathlib
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "broker"))
import mqtt  # noqa: E402

Event = collections.namedtuple("Event", "at kind body connection qos", defaults=(None, 0, 0))
STATES = {"downloading", "downloaded", "verifying", "waiting", "installing", "rebooting", "rolledBack", "failed"}
NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def text(least, most):
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def whole(least, most):
    return lambda value: type(value) is int and least <= value <= most


def boolean(value):
    return isinstance(value, bool)


def name(value):
    return isinstance(value, str) and NAME.fullmatch(value)


# uplink -> member -> (required, clause, what it must be, whether a value is that). `id` is in all of them.
MEMBERS = {
    "version": {
        "components": (True, "N-6", "an object of 1 to 32 members", lambda v: isinstance(v, dict) and 1 <= len(v) <= 32),
        "task": (False, "N-6", "a string of 1 to 64", text(1, 64)),
        "request": (False, "N-6", "a boolean", boolean),
        "bootId": (False, "N-6", "a string of 1 to 64", text(1, 64)),
        "trial": (False, "N-6", "an array of component names", lambda v: isinstance(v, list) and all(map(name, v))),
        "battery": (False, "N-6", "an integer of 0 to 100", whole(0, 100)),
        "signal": (False, "N-6", "an integer of -150 to 0", whole(-150, 0)),
        "freeBytes": (False, "N-6", "an integer from 0 on", whole(0, 1 << 62)),
        "lang": (False, "N-6", "a string", text(1, 64)),
        "maxBytes": (False, "N-6", "an integer of 512 to 65536", whole(512, 65536)),
        "sleep": (False, "N-6", "a number of seconds", whole(0, 1 << 31)),
        "full": (False, "N-6", "a boolean", boolean),
    },
    "confirm": {
        "task": (True, "N-6", "a string", text(1, 64)),
        "accept": (True, "N-6", "a boolean", boolean),
        "reason": (False, "N-6", "a string", text(0, 1 << 14)),
        "retryAfter": (False, "N-19", "an integer of 60 to 604800", whole(60, 604800)),
    },
    "progress": {
        "task": (True, "N-24", "a string", text(1, 64)),
        "component": (True, "N-24", "a component's name", name),
        "state": (True, "N-24", "one of " + ", ".join(sorted(STATES)), lambda v: isinstance(v, str) and v in STATES),
        "attempt": (False, "N-33", "an integer from 1 on", whole(1, 1 << 31)),
        "percent": (False, "N-24", "an integer of 0 to 100", whole(0, 100)),
        "code": (False, "N-24", "a negative integer", whole(-(1 << 31), -1)),
        "message": (False, "N-24", "a string of at most 256", text(0, 256)),
        "reason": (False, "N-24", "a string of at most 256", text(0, 256)),
        "retryAfter": (False, "N-24", "a number of seconds", whole(0, 1 << 31)),
        "eta": (False, "N-26", "a number of seconds", whole(0, 1 << 31)),
    },
    "block": {
        "task": (True, "N-28", "a string", text(1, 64)),
        "component": (True, "N-28", "a component's name", name),
        "file": (True, "N-28", "an integer of 0 to 4", whole(0, 4)),
        "ref": (True, "N-28", "1 to 8 of A-Z a-z 0-9", lambda v: isinstance(v, str) and re.fullmatch("[A-Za-z0-9]{1,8}", v)),
        "offset": (True, "N-28", "an integer from 0 on", whole(0, 1 << 62)),
        "length": (True, "N-28", "an integer of 128 to 65536", whole(128, 65536)),
        "count": (True, "N-28", "an integer of 1 to 64", whole(1, 64)),
    },
}


class File:
    """What the download server gives under one address. `statuses`: given first, one per request, with Retry-After.
    `rate`: bytes a second while `slow` is set. `cut`: the line breaks once after so many bytes."""

    def __init__(self, content, statuses=(), rate=0, cut=None):
        self.content, self.statuses, self.rate, self.cut = content, list(statuses), rate, cut
        self.slow = threading.Event()
        if rate:
            self.slow.set()


def unique(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a member name is repeated")
    return dict(pairs)


def depth(value):
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


class Desk:
    def __init__(self, address, port, product, device, retry_after=2):
        self.product, self.device = product, device
        self.prefix = f"ota/v1/{product}/{device}/"
        self.retry_after = retry_after
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.events, self.faults = [], []    # faults: (clause, text)
        self.started, self.ahead = time.monotonic(), 0  # the clock that devices are told: see now()
        self.connections = 0
        self.socket = None                   # of the device
        self.subscribed = False
        self.first = True                    # no uplink yet on this connection
        self.mids = itertools.cycle(range(1, 65536))
        self.unacknowledged = {}
        self.outstanding = {}                # id -> kind
        self.progress_at = collections.deque(maxlen=3)
        self.versions, self.boot_id, self.trial, self.max_bytes = {}, None, [], 2048
        self.task = None                     # the open task, see offer()
        self.hooks = {}                      # uplink -> function(body) that answers in place of the plugin
        self.lose_blocks = set()             # offsets that get lost once
        self.files, self.tokens = {}, itertools.count(1)
        self.address, self.port = address, port
        self.listener = None
        self.host = None                     # as the device sees this machine
        self.http = Downloads((address, 0), type("Handler", (Handler,), {"desk": self}))
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        self.listen()

    # ------------------------------------------------------------------ the record

    def note(self, kind, body=None, qos=0):
        with self.changed:
            self.events.append(Event(time.monotonic(), kind, body, self.connections, qos))
            self.changed.notify_all()

    def fault(self, clause, text):
        with self.lock:
            self.faults.append((clause, text))

    def wait(self, kind, since=0, timeout=60, when=None, **members):
        """The first event of this kind from number `since` on whose body has these members and is as `when` likes it;
        None if it does not come."""
        def fits(event):
            body = event.body or {}
            return event.kind == kind and all(body.get(k) == v for k, v in members.items()) and (not when or when(body))
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                found = next((e for e in self.events[since:] if fits(e)), None)
                left = end - time.monotonic()
                if found or left <= 0:
                    return found
                self.changed.wait(left)

    def mark(self):
        with self.lock:
            return len(self.events)

    def seen(self, kind, since=0, **members):
        with self.lock:
            return [e for e in self.events[since:] if kind in (e.kind, None) and all((e.body or {}).get(k) == v for k, v in members.items())]

    # ------------------------------------------------------------------ MQTT

    def listen(self):
        self.listener = socket.create_server((self.address, self.port), reuse_port=True)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """The broker is gone: nobody listens, the connection breaks."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop()

    def close(self):
        self.stop()
        self.http.shutdown()
        self.http.server_close()

    def drop(self):
        with self.lock:
            if self.socket:
                try:
                    self.socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data, state = b"", {"version": 4}
        try:
            while chunk := connection.recv(65536):
                data, at = data + chunk, 0
                while True:
                    length = mqtt.read_remaining_length(data, at + 1) if at < len(data) else None
                    if length is None or length[1] + length[0] > len(data):
                        break
                    end = length[1] + length[0]
                    self._packet(connection, state, data[at] >> 4, data[at] & 15, data[length[1]:end])
                    at = end
                data = data[at:]
        except (OSError, ValueError, IndexError, struct.error):
            pass
        connection.close()
        with self.lock:
            if self.socket is connection:
                self.socket = None
                self.forget_unacknowledged()
                self.note("offline")

    def _packet(self, connection, state, kind, flags, body):
        with self.lock:
            if kind == mqtt.CONNECT:
                self._connect(connection, state, body)
            elif connection is not self.socket:
                return  # what was still on its way when the next connection came
            elif kind == mqtt.SUBSCRIBE:
                self._subscribe(connection, state, body)
            elif kind == mqtt.UNSUBSCRIBE:
                connection.sendall(mqtt.packet(mqtt.UNSUBACK, 0, body[:2]))
            elif kind == mqtt.PUBLISH:
                self._publish(connection, state, flags, body)
            elif kind == mqtt.PUBREL:
                connection.sendall(mqtt.packet(mqtt.PUBCOMP, 0, body[:2]))
            elif kind == mqtt.PUBACK:
                self.unacknowledged.pop(struct.unpack("!H", body[:2])[0], None)
            elif kind == mqtt.PINGREQ:
                connection.sendall(mqtt.packet(mqtt.PINGRESP, 0, b""))
            elif kind == mqtt.DISCONNECT:
                self.note("disconnect")

    def _connect(self, connection, state, body):
        name = struct.unpack("!H", body[:2])[0]
        state["version"], flags = body[2 + name], body[3 + name]
        if self.socket:  # the connection that came last is the one
            self.socket.close()
        self.socket, self.version = connection, state["version"]
        self.connections += 1
        self.subscribed, self.first = False, True
        self.forget_unacknowledged()
        self.outstanding = {}
        self.host = connection.getsockname()[0]
        self.note("connect", {"version": {4: "3.1.1", 5: "5"}.get(self.version, str(self.version)), "clean": bool(flags & 2)})
        connection.sendall(mqtt.packet(mqtt.CONNACK, 0, b"\0\0" + (b"\0" if self.version == 5 else b"")))

    def forget_unacknowledged(self):
        """A connection has ended: what it never acknowledged in five seconds is a fault."""
        for kind, at in self.unacknowledged.values():
            if time.monotonic() - at > 5:
                self.fault("N-2", f"never acknowledged down/{kind.split('/')[0]}")
        self.unacknowledged = {}

    def _subscribe(self, connection, state, body):
        at, codes = 2, bytearray()
        if state["version"] == 5:
            length, at = mqtt.read_remaining_length(body, at)
            at += length
        while at < len(body):
            size = struct.unpack("!H", body[at:at + 2])[0]
            topic, qos = body[at + 2:at + 2 + size].decode(), body[at + 2 + size] & 3
            at += 3 + size
            own = topic.startswith(self.prefix + "down/")
            if not own and topic.split("/", 1)[0] == "ota":
                self.fault("N-4", f"subscribes to {topic}: not under its own name")
            if own and qos < 1:
                self.fault("N-2", f"subscribes to {topic} at QoS 0")
            self.subscribed = self.subscribed or topic == self.prefix + "down/#"
            codes.append(0x80 if not own and topic.startswith("ota/") else min(qos, 1))
        connection.sendall(mqtt.packet(mqtt.SUBACK, 0, body[:2] + (b"\0" if state["version"] == 5 else b"") + bytes(codes)))
        self.note("subscribe")

    def _publish(self, connection, state, flags, body):
        size, qos = struct.unpack("!H", body[:2])[0], flags >> 1 & 3
        topic, at = body[2:2 + size].decode("utf-8", "replace"), 2 + size
        if qos:
            mid, at = body[at:at + 2], at + 2
            connection.sendall(mqtt.packet(mqtt.PUBACK if qos == 1 else mqtt.PUBREC, 0, mid))
        if state["version"] == 5:
            length, at = mqtt.read_remaining_length(body, at)
            at += length
        if not topic.startswith("ota/"):
            return  # the device's other life
        if not topic.startswith(self.prefix + "up/"):
            self.fault("N-3", f"publishes to {topic}, which is not its own up/")
            return
        self._uplink(topic[len(self.prefix) + 3:], body[at:], qos, bool(flags & 8))

    def send(self, kind, body, qos=1):
        """Publishes down/KIND; an object as JSON."""
        payload = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        with self.lock:
            if not self.socket:
                return
            mid = next(self.mids)
            if qos:
                self.unacknowledged[mid] = (kind, time.monotonic())
            try:
                self.socket.sendall(mqtt.publish_packet(self.prefix + "down/" + kind, payload, qos, mid, version=self.version))
            except OSError:
                pass

    # ------------------------------------------------------------------ the contract, uplink by uplink

    def _uplink(self, kind, payload, qos, dup):
        """`dup`: the MQTT library repeats, by itself, what was not acknowledged on the connection before."""
        if not self.subscribed and not dup:
            self.fault("N-2", f"up/{kind} before it has subscribed to down/#")
        if kind != "block" and qos != 1:
            self.fault("N-8", f"up/{kind} at QoS {qos}")
        if len(payload) > 16384:
            self.fault("N-5", f"up/{kind} has {len(payload)} bytes")
        try:
            body = json.loads(payload.decode("utf-8"), object_pairs_hook=unique)
            assert isinstance(body, dict), "no object"
        except (ValueError, AssertionError, RecursionError) as error:
            self.fault("N-5", f"up/{kind} is no JSON object of the contract: {error}")
            self.send("reply", {"to": kind, "code": 400, "message": "payload: malformed"})
            return
        if depth(body) > 8 or b"\0" in payload:
            self.fault("N-5", f"up/{kind} is too deep or has a NUL")
        members = MEMBERS.get(kind)
        if not members:
            self.fault("N-3", f"up/{kind}: there is no such uplink")
            return
        broken = None
        for member, (required, clause, what, good) in {"id": (False, "N-6", "a string of 1 to 64", text(1, 64)), **members}.items():
            if (required or member in body) and not good(body.get(member)):
                self.fault(clause, f"up/{kind}: {member} must be {what}, not {json.dumps(body.get(member))[:100]}")
                broken = broken or (f"{member}: must be {what}" if required else None)
                body.pop(member, None)
        if broken:
            self.send("reply", {**{k: body[k] for k in ("id",) if k in body}, "to": kind, "code": 400, "message": broken})
            return
        for clause, fault in getattr(self, f"_check_{kind}", lambda _: ())(body):
            self.fault(clause, f"up/{kind}: {fault}")
        identity = body.get("id")
        if identity is not None:
            if self.outstanding.get(identity, payload) != payload:
                self.fault("N-7", f"up/{kind}: id {identity} while a reply to it is outstanding")
            self.outstanding[identity] = payload
        if self.first and kind != "version" and not dup:
            self.fault("N-9", f"up/{kind} is the first uplink of a connection, not up/version")
        first = self.first
        self.first = self.first and dup
        self.note(kind, body, qos)
        (self.hooks.get(kind) or (lambda b: getattr(self, f"_on_{kind}")(b, first)))(body)

    @staticmethod
    def _check_version(body):
        for component, version in body["components"].items():
            if not name(component):
                yield "N-1", f"component name {component!r}"
            if not text(1, 64)(version) or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in version):
                yield "N-5", f"version {version!r} of {component}"
        if not set(body.get("trial", [])) <= set(body["components"]):
            yield "N-14", "trial names a component that is not in components"

    def _check_progress(self, body):
        if self.task and body["task"] == self.task["task"] and body["component"] != self.task["component"]:
            yield "N-24", f"component {body['component']} is not that of the download"
        if "code" in body and body["state"] != "failed":
            yield "N-24", "code without state failed"
        now = time.monotonic()
        self.progress_at.append(now)
        if len(self.progress_at) == 3 and now - self.progress_at[0] < 1:  # two in a second may be a matter of the network
            yield "N-25", "more than one progress report a second"

    @staticmethod
    def _check_block(body):
        if body["length"] * body["count"] > 262144:
            yield "N-28", f"length {body['length']} times count {body['count']} is above 262144"

    # ------------------------------------------------------------------ what the plugin would do

    def reply(self, to, body, code=200, **members):
        if "id" not in body and code == 200:
            return
        answer = {k: body[k] for k in ("id",) if k in body}
        answer.update({"to": to, "code": code}, **members)
        if "task" in body:
            answer["task"] = body["task"]
        if to == "version":
            answer.setdefault("now", self.now())
        self.outstanding.pop(body.get("id"), None)
        self.send("reply", answer)

    def now(self):
        """An early hour of 1970, or `ahead` seconds later: a device must not need it [N-17]."""
        return int(time.monotonic() - self.started) + self.ahead

    def _on_version(self, body, first):
        boot, self.boot_id = self.boot_id, body.get("bootId")
        self.versions.update(body["components"])
        self.trial, self.max_bytes = body.get("trial", []), body.get("maxBytes", 2048)
        task = self.task
        if first or boot != self.boot_id:
            if "task" in body and (not task or body["task"] != task["task"]):
                self.send("cancel", {"task": body["task"], "reason": "unknown"})
            if task and self.versions.get(task["component"]) != task["to"]:
                if task["accepted"]:
                    self.download()
                else:
                    self.plan()
        self.reply("version", body)

    def _on_confirm(self, body, _first):
        task = self.task
        if not task or body.get("task") != task["task"]:
            self.reply("confirm", body, 410, message="that task is over")
            return
        if body.get("accept") is True:
            task["accepted"] = True
            self.download(fresh=task["url"] is None or self.token(task["url"]) not in self.files)
        self.reply("confirm", body)

    def _on_progress(self, body, _first):
        if not self.task or body.get("task") != self.task["task"]:
            self.reply("progress", body, 410, message="that task is over")
        else:
            self.reply("progress", body)

    def _on_block(self, body, _first):
        task = self.task
        if not task or not task["accepted"] or body.get("task") != task["task"]:
            self.reply("block", body, 404, message="no such task")
            return
        content, at = task["file"].content, body["offset"]
        if at >= len(content):
            self.reply("block", body, 416, message="offset past the end")
            return
        for _ in range(body["count"]):
            if at >= len(content):
                break
            if at in self.lose_blocks:
                self.lose_blocks.discard(at)
                self.note("lost", {"offset": at})
            else:
                self.send(f"block/{body['ref']}/{at}", content[at:at + body["length"]], qos=0)
            at += body["length"]

    # ------------------------------------------------------------------ a task

    def offer(self, task, component, to, file, http=True, blocks=False, deadline=3600, send=True):
        """Opens a task and sends its plan."""
        with self.lock:
            self.task = {"task": task, "component": component, "from": self.versions.get(component, ""), "to": to, "file": file, "http": http,
                         "blocks": blocks, "deadline": deadline, "attempt": 1, "accepted": False, "url": None}
            if send:
                self.plan()

    def plan(self, **more):
        task = self.task
        self.send("plan", {"task": task["task"], "mode": "silent", "components": [
            {"name": task["component"], "type": "firmware", "package": "full", "from": task["from"], "to": task["to"],
             "bytes": len(task["file"].content), "boot": True}], "expiresIn": 86400, "now": self.now(), **more})

    def download(self, fresh=True):
        task = self.task
        file = {"name": f"{task['component']}-{task['to']}.bin", "bytes": len(task["file"].content),
                "sha256": task.get("sha256") or hashlib.sha256(task["file"].content).hexdigest()}
        if task["http"]:
            if fresh or not task["url"]:
                task["url"] = self.serve(task["file"])
            file["url"] = task["url"]
        self.send("download", {"task": task["task"], "component": task["component"], "package": "full", "from": task["from"], "to": task["to"],
                               "attempt": task["attempt"], "deadlineIn": task["deadline"], "blocks": task["blocks"], "files": [file],
                               "expiresIn": 86400, "now": self.now()})

    def serve(self, file):
        """A new address of this file; the earlier ones have expired."""
        with self.lock:
            for token in [t for t, f in self.files.items() if f is file]:
                del self.files[token]
            token = f"t{next(self.tokens)}"
            self.files[token] = file
            return f"http://{self.host}:{self.http.server_address[1]}/{token}/file.bin"

    @staticmethod
    def token(url):
        return url.split("/")[3]

    def expire(self):
        """The address of the open task is valid no more."""
        with self.lock:
            self.files.pop(self.token(self.task["url"]), None)

    def cancel(self):
        with self.lock:
            task, self.task = self.task, None
            if task:
                self.send("cancel", {"task": task["task"], "reason": "plan canceled"})


class Downloads(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A device may break a connection whenever it likes."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    desk = None

    def log_message(self, *_):
        pass

    def refuse(self, status):
        self.desk.note("http", {"status": status, "from": 0})  # before what the device does about it
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", str(self.desk.retry_after))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        with self.desk.lock:
            file = self.desk.files.get(self.path.split("/")[1])
            status = 403 if file is None else file.statuses.pop(0) if file.statuses else 200
        if status != 200:
            self.refuse(status)
            return
        begin, content = 0, file.content
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        end = len(content)
        if ranged:
            begin = int(ranged.group(1))
            end = min(end, int(ranged.group(2)) + 1) if ranged.group(2) else end
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(end - begin))
        if ranged:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.desk.note("http", {"status": 206 if ranged else 200, "from": begin})
        self.end_headers()
        at = begin
        try:
            while at < end:
                if file.slow.is_set():
                    step = max(1, file.rate // 10)
                    time.sleep(0.1)
                else:
                    step = 65536
                if file.cut is not None and at + step > file.cut:
                    file.cut = None
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    break
                self.wfile.write(content[at:min(at + step, end)])
                self.wfile.flush()
                at += step
        except OSError:
            self.close_connection = True
        self.desk.note("http end", {"from": begin, "at": min(at, end), "whole": at >= end})
