"""Files over MQTT to devices whose connections break: whole at the end, and hardly a byte sent twice. By the broker's
own count of what it sent, not by what came.

With every twentieth request, by chance, the connection ends at a random moment within the time that the last answer
took. A device goes on where it was, as LinkSDK and [N-29] do. OTA_LONG=1: 8 MB to 200 devices."""

import heapq
import json
import random
import selectors
import socket
import struct
import time

import pytest

import mqtt
from broker import LONG, content, eventually
from clouds import IDENTITY, crc16

DEVICES, SIZE = (200, 8_000_000) if LONG else (10, 512_000)
BREAKS = 0.05
COMPONENT = "default"


class Alibaba:
    """One block of 10240 bytes at a time (LinkSDK's sample); all that is known after a break is the push."""

    dialect, window = "alibaba", 1

    def __init__(self, name):
        self.name, self.user, self.length = name, f"{name}&lamp", 10240
        self.filter = f"/sys/lamp/{name}/thing/file/download_reply"
        self.order = None

    def report(self, version):
        return f"/ota/device/inform/lamp/{self.name}", f'{{"id":1, "params":{{"version":"{version}"}}}}'

    def learn(self, topic, payload):
        if topic.startswith("/ota/device/upgrade/"):
            self.order = json.loads(payload)["data"]

    def ask(self, offset, size):
        return (f"/sys/lamp/{self.name}/thing/file/download",
                f'{{"id":"{offset}","version":"1.0","params":{{"fileToken":"default","fileInfo":{{"streamId":{self.order["streamId"]},'
                f'"fileId":1,}},"fileBlock":{{"size":{min(self.length, size - offset)},"offset":{offset}}}}}}}')

    def block(self, topic, payload):
        if topic != self.filter:
            return None
        header = json.loads(payload[2:2 + struct.unpack("!H", payload[:2])[0]])
        assert header["code"] == 200, header
        data = payload[-2 - header["data"]["bSize"]:-2]
        assert len(data) > 300 or payload[-2:] == struct.pack("<H", crc16(data))  # elsewhere every one is
        return header["data"]["bOffset"], data


class Native:
    """Windows of eight blocks of 4096 bytes [N-28]."""

    dialect, window = "native", 8

    def __init__(self, name):
        self.name, self.user, self.length = name, f"lamp/{name}", 4096
        self.filter = f"ota/v1/lamp/{name}/down/#"
        self.order = None

    def report(self, version):
        return f"ota/v1/lamp/{self.name}/up/version", json.dumps({"components": {COMPONENT: version}})

    def learn(self, topic, payload):
        if topic.endswith("/down/download"):
            self.order = json.loads(payload)

    def ask(self, offset, size):
        return (f"ota/v1/lamp/{self.name}/up/block",
                json.dumps({"task": self.order["task"], "component": COMPONENT, "ref": "b1", "offset": offset, "length": self.length,
                            "count": self.window}))

    def block(self, topic, payload):
        prefix = f"ota/v1/lamp/{self.name}/down/block/b1/"
        return (int(topic[len(prefix):]), payload) if topic.startswith(prefix) else None


class Device:
    """A device on a socket that does not block, driven by one loop for all; `breaks`: when connections end, a heap."""

    def __init__(self, loop, breaks, kind, port, image, chance):
        self.loop, self.breaks, self.kind, self.port, self.image, self.chance = loop, breaks, kind, port, image, chance
        self.at = self.connections = self.read = 0
        self.took = 0.01  # seconds, of the last window
        self.version, self.done, self.socket = "1.0", False, None
        self.connect()

    def connect(self):
        self.connections += 1
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setblocking(False)
        self.loop.register(self.socket, selectors.EVENT_READ, self)
        self.received, self.waits = bytearray(), None
        body = mqtt.string("MQTT") + bytes([4, 0x82]) + b"\0\0"
        body += mqtt.string(f"{self.kind.name}|_conn={self.connections}|") + mqtt.string(self.kind.user)
        self.send(mqtt.packet(mqtt.CONNECT, 0, body))
        self.send(mqtt.packet(mqtt.SUBSCRIBE, 2, b"\0\1" + mqtt.string(self.kind.filter) + b"\0"))
        if self.version != "1.0" or not self.kind.order or self.kind.dialect == "native":
            self.publish(*self.kind.report(self.version))
        if self.version == "1.0" and self.kind.order:
            self.ask()

    def close(self):
        self.loop.unregister(self.socket)
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def publish(self, topic, payload):
        self.send(mqtt.publish_packet(topic, payload, qos=0))

    def ask(self):
        self.waits = min(self.kind.window, -(-(len(self.image) - self.at) // self.kind.length))
        self.asked = time.monotonic()
        if self.chance.random() < BREAKS:
            heapq.heappush(self.breaks, (self.asked + self.took * self.chance.random(), self.connections, self.kind.name, self))
        self.publish(*self.kind.ask(self.at, len(self.image)))

    def again(self):
        self.close()
        self.connect()

    def readable(self):
        try:
            data = self.socket.recv(1 << 18)
        except (BlockingIOError, InterruptedError):
            return
        assert data, f"{self.kind.name}: the broker has closed the connection"
        self.received += data
        at, of = 0, self.socket
        while self.socket is of and (head := mqtt.read_remaining_length(self.received, at + 1)):
            length, begin = head
            if begin + length > len(self.received):
                break
            if self.received[at] >> 4 == mqtt.PUBLISH:
                self.message(self.received[at], bytes(self.received[begin:begin + length]))
            at = begin + length
        if self.socket is of:
            del self.received[:at]

    def message(self, flags, body):
        size = struct.unpack("!H", body[:2])[0]
        topic, payload = body[2:2 + size].decode(), body[2 + size:]
        if flags & 6:
            self.send(mqtt.packet(mqtt.PUBACK, 0, payload[:2]))
            payload = payload[2:]
        self.read += len(payload)
        block = self.kind.block(topic, payload)
        if block is None:
            known = self.kind.order
            self.kind.learn(topic, payload)
            if not known and self.kind.order:
                self.ask()
            return
        offset, data = block
        assert offset == self.at and data == self.image[offset:offset + len(data)], (self.kind.name, offset, self.at)
        self.at += len(data)
        self.waits -= 1
        if self.at == len(self.image):
            self.version, self.done = "2.0", True
            self.again()
        elif self.waits == 0:
            self.took = time.monotonic() - self.asked
            self.ask()


def sent(site):
    """Bytes of payloads that the broker has sent, when it has nothing more to send."""
    topic, client, last = "$SYS/broker/publish/bytes/sent", site.client("admin", "admin"), None
    client.subscribe(topic)
    while True:
        now = int(client.take(lambda m: m.topic == topic, what=topic).payload)
        if last is not None and now - last < 100:
            client.disconnect()
            return now
        last = now


@pytest.mark.parametrize("kind", [Alibaba, Native])
def test_a_file_arrives_whole_over_connections_that_break(make_site, kind):
    site = make_site(options={**IDENTITY}, lines=["sys_interval 1"])
    image = content("lamp", SIZE)
    site.product("lamp", (COMPONENT,), dialect=kind.dialect, http=0, auto_confirm=1)
    site.package("lamp", COMPONENT, "2.0", image)
    site.plan("spring", "lamp", [(COMPONENT, f"{COMPONENT}-2.0")])
    before = sent(site)
    loop, breaks, chance = selectors.DefaultSelector(), [], random.Random(7)
    devices = [Device(loop, breaks, kind(f"d{n}"), site.port, image, chance) for n in range(DEVICES)]
    end = time.monotonic() + (1800 if LONG else 100)
    broken = 0
    while not all(d.done for d in devices):
        for key, _ in loop.select(max(0.0, min(breaks[0][0] - time.monotonic(), 1)) if breaks else 1):
            if key.data.socket is key.fileobj:
                key.data.readable()
        while breaks and breaks[0][0] <= time.monotonic():
            _, connection, _, device = heapq.heappop(breaks)
            if connection == device.connections and not device.done:
                broken += 1
                device.again()
        assert time.monotonic() < end, [(d.kind.name, d.at) for d in devices if not d.done]
    requests = DEVICES * SIZE // (kind(0).length * kind.window)
    assert broken > requests * BREAKS / 4
    eventually(lambda: site.one("SELECT count(*) AS n FROM task WHERE state='succeeded'")["n"] == DEVICES, 60)
    # What was sent and never read is sent again, so it is sent twice.
    again = (sent(site) - before - sum(d.read for d in devices)) / (DEVICES * SIZE)
    print(f"{kind.dialect}: {DEVICES} x {SIZE} bytes, {broken} connections broken in {requests} requests, {100 * again:.2f} % sent twice")
    assert again < 0.02
