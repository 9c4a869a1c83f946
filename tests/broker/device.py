"""A device that speaks the native dialect (`ota/v1`), step by step as a test tells it, or by itself with
`upgrade()`."""

import hashlib
import http.client
import itertools
import json
import urllib.parse

import mqtt
from broker import TIMEOUT, eventually


class Device:
    """`versions`: component -> installed version. Connected and subscribed at once unless connect=False."""

    def __init__(self, site, name="d1", product="pump", versions=None, connect=True, **client_arguments):
        self.site, self.name, self.product = site, name, product
        self.versions = dict(versions or {"main": "1.0"})
        self.client_arguments = client_arguments
        self.client_id = client_arguments.pop("client_id", f"{product}:{name}")
        self.user = client_arguments.pop("user", f"{product}/{name}")
        self.boots = itertools.count(1)
        self.boot_id = f"b{next(self.boots)}"
        self.ids = itertools.count(1)
        self.refs = itertools.count(1)
        self.client = None
        self.messages_seen = []
        if connect:
            self.connect()

    # ------------------------------------------------------------------ connection

    def topic(self, tail):
        return f"ota/v1/{self.product}/{self.name}/{tail}"

    def connect(self, subscribe=True, **arguments):
        self.client = self.site.client(self.client_id, self.user, **{**self.client_arguments, **arguments})
        if subscribe:
            assert self.client.subscribe(self.topic("down/#")) == [1]
        return self

    def disconnect(self):
        self.client.disconnect()

    def reboot(self, **versions):
        """Power off and on: a new connection, a new boot id, perhaps other versions."""
        self.client.kill()
        self.versions.update(versions)
        self.boot_id = f"b{next(self.boots)}"
        return self.connect()

    # ------------------------------------------------------------------ uplinks

    def send(self, kind, body, wait=True, timeout=TIMEOUT, **publish_arguments):
        """Publishes; with an `id` in an object waits for its reply and gives it."""
        payload = body if isinstance(body, (bytes, str)) else json.dumps(body, ensure_ascii=False)
        self.client.publish(self.topic(f"up/{kind}"), payload, wait=False, **publish_arguments)
        if wait and isinstance(body, dict) and isinstance(body.get("id"), str):
            return self.reply(body["id"], timeout)
        return None

    def store(self, kind, **members):
        """Sends it until it is answered with 200: of many 429 or 503 a client hears one a second."""
        def once():
            try:
                return self.send(kind, {**members, "id": self.next_id()}, timeout=3)["code"] == 200
            except AssertionError:
                return False
        eventually(once, 60, f"{kind} of {self.name} stored")

    def next_id(self):
        return f"{next(self.ids)}"

    def uplink(self, kind, **members):
        members.setdefault("id", self.next_id())
        return self.send(kind, {k: v for k, v in members.items() if v is not None})

    def report(self, **members):
        """up/version; a member given as None is left out. Gives the reply."""
        members.setdefault("components", self.versions)
        members.setdefault("bootId", self.boot_id)
        return self.uplink("version", **members)

    def confirm(self, task, accept=True, **members):
        return self.uplink("confirm", task=task, accept=accept, **members)

    def progress(self, task, state, component="main", **members):
        return self.uplink("progress", task=task, component=component, state=state, **members)

    # ------------------------------------------------------------------ downlinks

    def take(self, kind, timeout=TIMEOUT, **members):
        """The next `down/{kind}` whose members are as given, decoded."""
        def fits(message):
            if message.topic != self.topic(f"down/{kind}"):
                return False
            body = json.loads(message.payload)
            return all(body.get(k) == v for k, v in members.items())
        message = self.client.take(fits, timeout, f"down/{kind} {members}")
        assert not message.retain
        return json.loads(message.payload)

    def reply(self, id, timeout=TIMEOUT):
        """The reply to this uplink; 413, 429 and 503 may come without `id`."""
        def fits(message):
            if message.topic != self.topic("down/reply"):
                return False
            body = json.loads(message.payload)
            return body.get("id") == id or ("id" not in body and body["code"] in (413, 429, 503))
        return json.loads(self.client.take(fits, timeout, f"reply to {id}").payload)

    def waiting(self, *kinds):
        """What has come and was not taken, as (kind, body); a barrier first."""
        self.client.ping()
        prefix = self.topic("down/")
        found = [(m.topic[len(prefix):], json.loads(m.payload)) for m in list(self.client.messages)
                 if m.topic.startswith(prefix) and "/block/" not in m.topic]
        return [f for f in found if not kinds or f[0] in kinds]

    def kinds(self):
        """The kinds of all messages of this connection in the order of their arrival."""
        prefix = self.topic("down/")
        return [m.topic[len(prefix):] for m in self.client.all if m.topic.startswith(prefix)]

    def nothing(self, *kinds):
        """No such message is here. Call it after the reply that would have followed it [N-13]."""
        assert not self.waiting(*(kinds or ("plan", "download", "cancel"))), self.waiting()

    # ------------------------------------------------------------------ files

    def fetch(self, url, headers=None, method="GET"):
        """(status, headers in lower case, body)."""
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        try:
            connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), headers=headers or {})
            response = connection.getresponse()
            body = response.read()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, body
        finally:
            connection.close()

    def fetch_file(self, file):
        status, headers, body = self.fetch(file["url"])
        assert status == 200, status
        self.check(file, body)
        return body

    @staticmethod
    def check(file, body):
        assert len(body) == file["bytes"], (len(body), file["bytes"])
        assert hashlib.sha256(body).hexdigest() == file["sha256"]

    def ask_blocks(self, task, component, offset, length, count, file=0, ref=None, qos=0, **members):
        ref = ref or f"r{next(self.refs)}"
        self.send("block", {"task": task, "component": component, "file": file, "ref": ref, "offset": offset,
                            "length": length, "count": count, **members}, qos=qos, wait=False)
        return ref

    def take_block(self, ref, offset, timeout=TIMEOUT):
        return self.client.take_topic(self.topic(f"down/block/{ref}/{offset}"), timeout).payload

    def fetch_blocks(self, download, index=0, length=4096, count=8):
        file = download["files"][index]
        body, ref = b"", f"r{next(self.refs)}"
        while len(body) < file["bytes"]:
            start = len(body)
            self.ask_blocks(download["task"], download["component"], start, length, count, index, ref)
            for offset in range(start, min(start + length * count, file["bytes"]), length):
                body += self.take_block(ref, offset)
        self.check(file, body)
        return body

    # ------------------------------------------------------------------ whole steps

    def accept(self, plan):
        """Accepts the plan; gives the first download, which comes before the reply [N-13]."""
        reply = self.confirm(plan["task"])
        assert reply["code"] == 200, reply
        return self.take("download", task=plan["task"])

    def install(self, download, blocks=False, verbose=True):
        """Downloads, checks, reports, reboots into the new version and reports it."""
        task, component = download["task"], download["component"]
        for index, file in enumerate(download["files"]):
            if blocks:
                self.fetch_blocks(download, index)
            else:
                self.fetch_file(file)
        if verbose:
            for state in ("downloading", "verifying", "installing", "rebooting"):
                reply = self.progress(task, state, component, percent=100, attempt=download["attempt"])
                assert reply["code"] == 200, reply
        self.reboot(**{component: download["to"]})
        return self.report(task=task)

    def upgrade(self, blocks=False):
        """The whole flow from a fresh connection to success; gives the plan."""
        assert self.report(request=True)["code"] == 200
        plan = self.take("plan")
        download = self.accept(plan)
        for index, component in enumerate(plan["components"]):
            assert download["component"] == component["name"], (download, plan)
            assert self.install(download, blocks)["code"] == 200
            if index + 1 < len(plan["components"]):
                download = self.take("download", task=plan["task"])
        return plan
