"""A small device of the native dialect that keeps the contract, and breaks it in one chosen way: what the conformance
run must find. `python3 careless.py PORT FAULT SCALE` (`none`: it keeps the contract). Its waits are SCALE of those of the contract.
"""

import hashlib
import http.client
import itertools
import json
import queue
import sys
import threading
import time
import urllib.parse

import desk  # noqa: F401  the path of the MQTT client
import mqtt

SCALE = float(sys.argv[3])
PREFIX = "ota/v1/pump/d1/"
BLOCK, COUNT = 2048, 4


class Talk(mqtt.Client):
    """All that happens goes into one queue."""

    def __init__(self, port, events, ack=True):
        self.events = events
        super().__init__(port, "pump:d1", "pump/d1", ack=ack)

    def _publish(self, flags, body):
        answer = super()._publish(flags, body)
        self.events.put((self, self.messages.pop()))
        return answer

    def _read(self):
        super()._read()
        self.events.put((self, None))


class Careless:
    def __init__(self, port, fault):
        self.port, self.fault = port, fault
        self.events, self.timers = queue.Queue(), []
        self.client = None
        self.versions, self.boots, self.trial, self.expires = {"main": "1.0"}, 1, False, 0
        self.ids, self.refs = itertools.count(1), itertools.count(1)
        self.waiting = []              # uplinks: [kind, body, then]; the first is sent
        self.tries = 0
        self.task = self.accepted = self.download = None
        self.installing = False
        self.data, self.ref, self.fetching = {}, None, None
        self.progress_at = 0
        self.refused = 0

    # ------------------------------------------------------------------ the loop

    def after(self, seconds, what, name=None):
        self.timers = [t for t in self.timers if name is None or t[2] != name]
        self.timers.append((time.monotonic() + seconds, what, name))

    def no_more(self, *names):
        self.timers = [t for t in self.timers if t[2] not in names]

    def run(self):
        self.connect()
        while True:
            self.timers.sort(key=lambda t: t[0])
            left = self.timers[0][0] - time.monotonic() if self.timers else 60
            if left <= 0:
                self.timers.pop(0)[1]()
                continue
            try:
                source, what = self.events.get(timeout=left)
            except queue.Empty:
                continue
            if callable(what):
                what()
            elif source is self.client:
                self.lost() if what is None else self.heard(what)

    def connect(self):
        try:
            self.client = Talk(self.port, self.events, ack=self.fault != "never acknowledges")
            if self.fault != "reports before it subscribes":
                self.subscribe()
        except (OSError, mqtt.Closed, AssertionError):
            self.after(0.2, self.connect)
            return
        self.waiting.clear()
        if self.fault == "progress comes first" and self.task:
            self.publish("progress", {"task": self.task, "component": "main", "state": "waiting"})
        self.report()
        if self.fault == "reports before it subscribes":
            self.subscribe()
        if self.ref and self.task:
            self.ask_blocks()

    def subscribe(self):
        if self.fault == "listens to others":
            self.client.subscribe("ota/v1/pump/+/down/#")
        self.client.subscribe(PREFIX + "down/#", qos=0 if self.fault == "subscribes at QoS 0" else 1)

    def lost(self):
        self.client = None
        self.no_more("reply")
        if self.fault != "stays away":
            self.after(0.2, self.connect)

    # ------------------------------------------------------------------ uplinks

    def publish(self, kind, body, qos=1):
        if not self.client:
            return
        topic = PREFIX + "up/" + kind
        if self.fault == "speaks for another" and kind == "progress":
            topic = topic.replace("/d1/", "/d2/")
        try:
            self.client.publish(topic, json.dumps(body), 0 if self.fault == "QoS 0" else qos, wait=False)
        except mqtt.Closed:
            pass

    def ask(self, kind, body, then=None):
        self.waiting.append([kind, body, then])
        body["id"] = str(next(self.ids))
        if len(self.waiting) == 1:
            self.send()

    def send(self):
        self.no_more("reply")
        if self.waiting:
            kind, body, _ = self.waiting[0]
            self.publish(kind, body)
            if not (self.fault == "never sends again" and kind == "version"):
                wait = (0.1 if self.fault == "sends again at once" else (10, 30, 60, 120)[min(self.tries, 3)] * SCALE)
                self.after(wait, self.send, "reply")
            self.tries += 1

    def answered(self):
        self.no_more("reply")
        self.tries = 0
        then = self.waiting.pop(0)[2] if self.waiting else None
        if then:
            then()
        if self.waiting:
            self.send()

    def report(self, then=None):
        body = {"components": dict(self.versions), "bootId": f"b{1 if self.fault == 'one boot for ever' else self.boots}", "maxBytes": 4096}
        if self.task and self.fault != "does not name its task":
            body["task"] = self.task
        if self.trial:
            body["trial"] = ["main"]
        self.ask("version", body, then)

    def progress(self, state, then=None, **more):
        """Not more than one a second."""
        if self.fault == "floods with progress":
            for percent in range(5):
                self.publish("progress", {"task": self.task, "component": "main", "state": "downloading", "percent": percent})
        wait = self.progress_at + 1 - time.monotonic()
        if wait > 0 and state != "failed":
            self.after(wait, lambda: self.progress(state, then, **more), "progress")
            return
        self.progress_at = time.monotonic()
        body = {"task": self.task, "component": self.download["component"], "state": state, "attempt": self.download["attempt"], **more}
        if self.fault == "names the earlier attempt":
            body["attempt"] = 1
        self.ask("progress", body, then)

    # ------------------------------------------------------------------ downlinks

    def heard(self, message):
        kind = message.topic[len(PREFIX) + 5:]
        if kind.startswith("block/"):
            self.on_block(*kind.split("/")[1:], message.payload)
        else:
            getattr(self, "on_" + kind)(json.loads(message.payload))

    def on_reply(self, body):
        if not self.waiting or body.get("id") not in (self.waiting[0][1]["id"], None):
            return
        if body["code"] == 503:
            self.after(0 if self.fault == "does not wait after 503" else body["retryAfter"] * SCALE, self.send, "reply")
            return
        if body["code"] == 410:
            self.waiting.pop(0)
            self.no_more("reply")
            if self.fault not in ("keeps a task that is over", "ignores the cancel"):
                self.forget(body.get("task"))
            self.send()
            return
        self.answered()

    def on_plan(self, body):
        there = self.versions.get(body["components"][0]["name"]) == body["components"][0]["to"]
        self.expires = body["now"] + body["expiresIn"]
        if self.fault == "needs the time" and body["now"] < 1_600_000_000:
            return
        if self.installing:
            if body["task"] != self.task and self.fault != "accepts while it installs":
                self.ask("confirm", {"task": body["task"], "accept": False, "retryAfter": 30 if self.fault == "postpones for 30 s" else 600})
            elif body["task"] != self.task:
                self.ask("confirm", {"task": body["task"], "accept": True})
            return
        if there and self.fault != "wants what it has":
            self.report()
            return
        if self.accepted == body["task"]:
            if self.fault == "refuses the copy":
                self.ask("confirm", {"task": body["task"], "accept": False, "reason": "busy"})
            return
        if self.fault == "keeps the first offer" and self.task:
            return
        self.stop()
        self.task = self.accepted = body["task"]
        answer = {"task": self.task, "accept": True}
        if self.fault == "refuses everything":
            answer = {"task": self.task, "accept": False, "reason": "no"}
        if self.fault == "confirms nothing":
            return
        self.ask("confirm", answer)

    def on_download(self, body):
        if self.installing or self.versions.get(body["component"]) == body["to"] and self.fault != "wants what it has":
            return
        now = self.download
        same = now and (now["task"], now["attempt"]) == (body["task"], body["attempt"])
        if same and self.fault != "begins anew":
            now["files"] = body["files"]
            if self.refused:
                self.refused = 0
                self.fetch()
            return
        self.stop()
        self.task, self.download, self.data = body["task"], body, {}
        if self.fault == "reckons with points in time" and body["now"] > self.expires:
            self.fail(-1)
            return
        self.fetch()

    def on_cancel(self, body):
        if self.fault == "ignores the cancel":
            return
        if self.fault == "remembers what was canceled":
            self.stop()
            return
        self.forget(body["task"])

    def forget(self, task):
        if task == self.task and not self.installing:
            self.stop()
            self.task = self.accepted = self.download = None

    def stop(self):
        self.fetching = self.ref = None
        self.no_more("block", "fetch", "progress")
        self.refused = 0

    # ------------------------------------------------------------------ files

    def fetch(self):
        file = self.download["files"][0]
        if "url" not in file:
            self.ref = f"r{next(self.refs)}"
            self.ask_blocks()
            return
        self.fetching = token = object()
        threading.Thread(target=self.get, args=(token, file["url"], bytes(self.data.get("http", b"")), file["bytes"]), daemon=True).start()

    def get(self, token, url, have, size):
        """The thread of one request."""
        def tell(function, *arguments):
            self.events.put((None, lambda: function(*arguments) if self.fetching is token else None))
        parts = urllib.parse.urlsplit(url)
        told = time.monotonic()
        try:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
            connection.request("GET", parts.path, headers={"Range": f"bytes={len(have)}-"} if have else {})
            answer = connection.getresponse()
            if answer.status not in (200, 206):
                tell(self.refused_with, answer.status, int(answer.headers.get("Retry-After", "0")))
                return
            have = have if answer.status == 206 else b""
            while chunk := answer.read1(4096):
                if self.fetching is not token and self.fault != "downloads on after the cancel":
                    connection.close()
                    return
                have += chunk
                if time.monotonic() - told > 1.2:
                    told = time.monotonic()
                    tell(self.under_way)
        except (OSError, http.client.HTTPException):
            pass
        self.events.put((None, lambda: self.data.update({"http": have}) if self.fetching is token else None))
        if len(have) < size and self.fault != "believes what came":
            tell(self.broken)
        else:
            tell(self.whole, have)

    def under_way(self):
        if self.fault != "is silent in the download" and not self.waiting:
            self.progress("downloading", percent=50)

    def broken(self):
        if self.fault == "fails when the line breaks":
            self.fail(-2)
        else:
            self.after(0.1, self.fetch, "fetch")

    def refused_with(self, status, retry_after):
        if status == 403:
            if self.fault == "403 is a failure":
                self.fail(-2)
            elif self.fault != "gives up at 403":
                self.refused = 1
                self.ask("confirm", {"task": self.task, "accept": True})
        elif status in (429, 503):
            if self.fault == "503 is a failure":
                self.fail(-2)
            else:
                self.after(0 if self.fault == "does not wait for Retry-After" else retry_after * SCALE, self.fetch, "fetch")
        elif self.fault == "asks again for what is gone":
            self.after(0.05, self.fetch, "fetch")
        else:
            self.fail(-1 if self.fault == "another code" else -2)

    def ask_blocks(self):
        size = self.download["files"][0]["bytes"]
        missing = [at for at in range(0, size, BLOCK) if at not in self.data]
        if missing:
            body = {"task": self.task, "component": "main", "file": 0, "ref": self.ref, "offset": missing[0], "length": BLOCK, "count": COUNT}
            self.publish("block", body, qos=0)
            if self.fault != "never asks again for a block":
                self.after(0.05 if self.fault == "asks for blocks at once" else 10 * SCALE, self.ask_blocks, "block")

    def on_block(self, ref, offset, content):
        if not self.download or ref != self.ref and self.fault != "takes any block":
            return
        size = self.download["files"][0]["bytes"]
        self.data[int(offset)] = content
        missing = [at for at in range(0, size, BLOCK) if at not in self.data]
        if not missing:
            self.no_more("block")
            self.ref = None
            self.whole(b"".join(self.data[at] for at in range(0, size, BLOCK)))
        elif int(offset) // BLOCK % COUNT == COUNT - 1 and missing[0] > int(offset):
            self.ask_blocks()
        elif self.fault not in ("never asks again for a block", "asks for blocks at once"):
            self.after(10 * SCALE, self.ask_blocks, "block")

    # ------------------------------------------------------------------ the upgrade

    def fail(self, code):
        self.stop()
        self.progress("failed", code=code)

    def whole(self, content):
        file = self.download["files"][0]
        if hashlib.sha256(content).hexdigest() != file["sha256"] and self.fault != "believes the file":
            self.fail(-2 if self.fault == "another code" else -3)
            return
        self.installing = True
        self.progress("installing", lambda: self.after(0.3, self.reboot))

    def reboot(self):
        self.versions[self.download["component"]] = self.download["to"]
        if self.fault == "never reports the target":
            self.versions["main"] = "1.0"
        self.trial = self.fault == "on trial for ever"
        self.installing = False
        self.boots += 1
        self.task = self.accepted = self.download = None
        if self.fault == "one boot for ever":
            self.report()
        else:
            if self.client:
                self.client.close()


if __name__ == "__main__":
    Careless(int(sys.argv[1]), sys.argv[2]).run()
