"""Devices of the clouds, byte for byte as their vendors' SDKs send: Alibaba's LinkSDK for C (4.x), iotkit (3.x) and
npm package, EnOS's SDKs for Python and Java. Each step is the test's; nothing is answered by itself.

The identity rule of these sites is `username {device}&{product}`."""

import hashlib
import hmac
import itertools
import json
import struct
import urllib.request

import mqtt

IDENTITY = {"identity": ["username {device}&{product}", "username {product}/{device}"]}


def crc16(data):
    """CRC-16/ARC, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def fetch(url, offset=0):
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.read()


class Device:
    """Connected at once; `connect` again is a new connection with another client id, as these SDKs do it."""

    connections = itertools.count(1)

    def __init__(self, site, name="d1", product="lamp", connect=True, **client_arguments):
        self.site, self.name, self.product = site, name, product
        self.client_arguments = client_arguments
        self.client = None
        self.ids = itertools.count(1)
        if connect:
            self.connect()

    def client_id(self):
        raise NotImplementedError

    def connect(self, **arguments):
        self.client = self.site.client(self.client_id(), f"{self.name}&{self.product}",
                                       **{**self.client_arguments, **arguments})
        return self

    def publish(self, topic, payload, qos):
        self.client.publish(topic, payload, qos=qos)

    def take(self, topic, **arguments):
        return self.client.take(lambda m: m.topic == topic, what=topic, **arguments)

    def nothing(self, topic):
        """After a barrier nothing of `topic` is here."""
        self.client.ping()
        assert not [m for m in self.client.messages if m.topic == topic], self.client.messages


SECRET = "0123456789abcdef0123456789abcdef"


def signed(name, product="lamp", secret=SECRET):
    """The password of a LinkSdk device, the same in every connection."""
    text = f"clientId{product}.{name}deviceName{name}productKey{product}timestamp2524608000000"
    return hmac.new(secret.encode(), text.encode(), "sha256").hexdigest().upper()


class LinkSdk(Device):
    """LinkSDK for C 4.x: subscribes to nothing, QoS 0, numeric ids, a blank behind the first comma."""

    keepalive = 1200

    def client_id(self):
        return (f"{self.product}.{self.name}|timestamp=2524608000000,_ss=1,_v=sdk-c-4.2.0,securemode=3,"
                f"signmethod=hmacsha256,ext=3,_conn=tcp_{next(self.connections):x}|")

    def path(self, name):
        return f"/ota/device/{name}/{self.product}/{self.name}"

    def thing(self, name):
        return f"/sys/{self.product}/{self.name}/thing/{name}"

    def inform(self, version, module=None):
        more = f',"module":"{module}"' if module else ""
        self.publish(self.path("inform"), f'{{"id":{next(self.ids)}, "params":{{"version":"{version}"{more}}}}}', 0)

    def progress(self, step, desc="", module=None):
        more = f',"module":"{module}"' if module else ""
        self.publish(self.path("progress"),
                     f'{{"id":{next(self.ids)}, "params":{{"step":"{step}","desc":"{desc}"{more}}}}}', 0)

    def query(self, module=None, id=None):
        """Gives the reply, which comes without a subscription."""
        id = next(self.ids) if id is None else id
        params = f'{{"module":"{module}"}}' if module else "{}"
        self.publish(self.thing("ota/firmware/get"), f'{{"id":{json.dumps(id)}, "params":{params}}}', 0)
        return json.loads(self.take(self.thing("ota/firmware/get_reply")).payload)

    def push(self, **arguments):
        """The payload of the next push, parsed; its text is in `text`."""
        self.text = self.take(self.path("upgrade"), **arguments).payload.decode()
        return json.loads(self.text)

    def no_push(self):
        self.nothing(self.path("upgrade"))

    def fetch(self, data):
        image = fetch(data["url"])
        assert len(image) == data["size"] and hashlib.md5(image).hexdigest() == data["sign"] == data["md5"]
        return image

    def upgrade(self, data):
        """As the fota sample: 0, a few percentages, 100; then the new version."""
        self.progress(0)
        image = self.fetch(data)
        for step in (27, 54, 81, 100):
            self.progress(step)
        self.client.kill()
        self.connect()
        self.inform(data["version"])
        return image


class Mota(LinkSdk):
    """The same, which takes files over MQTT (LinkSDK 4.1): its JSON has a comma too many."""

    def block(self, data, offset, size=10240, id=None, qos=0):
        """Asks for one block and gives (header, bytes) after checking the frame."""
        id = str(next(self.ids)) if id is None else id
        self.ask(data, offset, size, id, qos)
        return self.frame()

    def ask(self, data, offset, size=10240, id="1", qos=0):
        self.publish(self.thing("file/download"),
                     f'{{"id":"{id}","version":"1.0","params":{{"fileToken":"default","fileInfo":{{"streamId":'
                     f'{data["streamId"]},"fileId":{data["streamFileId"]},}},"fileBlock":{{"size":{size},"offset":'
                     f'{offset}}}}}}}', qos)

    def frame(self):
        payload = self.take(self.thing("file/download_reply")).payload
        length = struct.unpack("!H", payload[:2])[0]
        text = payload[2:2 + length].decode()
        assert '": ' not in text
        header, block, crc = json.loads(text), payload[2 + length:-2], payload[-2:]
        assert crc == struct.pack("<H", crc16(block))
        if header["code"] == 200:
            assert len(block) == header["data"]["bSize"]
        return header, block

    def subscribe(self):
        assert self.client.subscribe(self.thing("file/download_reply"), qos=0) == [0]

    def download(self, data, size=10240):
        self.subscribe()
        image = b""
        while len(image) < data["size"]:
            header, block = self.block(data, len(image), min(size, data["size"] - len(image)))
            assert header["code"] == 200 and header["data"]["bOffset"] == len(image)
            assert header["data"]["fileLength"] == data["size"] and header["data"]["fileToken"] == "default"
            image += block
            self.progress(100 * len(image) // data["size"])
        return image


class Iotkit(LinkSdk):
    """iotkit-embedded 3.x: its SDK reports a version of its own at connect, the application's comes behind; a durable
    session; handlers are installed in between."""

    def client_id(self):
        return (f"{self.product}.{self.name}|timestamp=2524608000000,_v=sdk-c-3.0.1,securemode=3,"
                f"signmethod=hmacsha256,lan=C,gw=0,ext=0|")

    def start(self, version):
        self.publish(self.thing("deviceinfo/update"), '{"id":"1","version":"1.0","params":[{"attrKey":"SYS_SDK_LANGUAGE",'
                     '"attrValue":"C","domain":"SYSTEM"}],"method":"thing.deviceinfo.update"}', 1)
        # At one go: two seconds between the two reports would make them two bursts.
        self.client.publish(self.path("inform"), '{"id":"2","params":{"version":"app-1.0.0-20180101.1000"}}', wait=False)
        filters = [self.path("request"), self.path("upgrade"), self.thing("config/get_reply"), self.thing("config/push")]
        mids = [self.client.subscribe(topic, wait=False) for topic in filters]
        self.publish(self.path("inform"), f'{{"id":0,"params":{{"version":"{version}"}}}}', 1)
        assert [self.client.acks[mqtt.SUBACK, mid] for mid in mids] == [[1]] * 4


class Enos(Device):
    """EnOS's SDK for Python 0.1.1: blanks as json.dumps makes them, QoS 1, a subscription before the first request of
    each kind."""

    def __init__(self, *arguments, **keywords):
        self.subscribed = set()
        super().__init__(*arguments, **keywords)

    def client_id(self):
        return f"{self.name}|securemode=2,signmethod=hmacsha256,timestamp={1795219243985 + next(self.connections)}.3406|"

    def connect(self, **arguments):
        self.subscribed.clear()
        return super().connect(**arguments)

    def path(self, name):
        return f"/sys/{self.product}/{self.name}/ota/device/{name}"

    def text(self, id, method, params):
        return json.dumps({"id": id, "version": "1.0", "method": f"ota.{method}", "params": params})

    def send(self, name, params):
        """Gives the reply."""
        reply, id = self.path(f"{name}_reply"), str(next(self.ids))
        if reply not in self.subscribed:
            self.client.subscribe(reply, wait=False)
            self.subscribed.add(reply)
        self.client.publish(self.path(name), self.text(id, name, params), qos=1, wait=False)
        answer = json.loads(self.take(reply).payload)
        assert answer["id"] == id and isinstance(answer["id"], str)
        return answer

    def inform(self, version):
        return self.send("inform", {"version": version})

    def progress(self, step, desc=""):
        return self.send("progress", {"step": str(step), "desc": desc})

    def getversion(self):
        return self.send("getversion", {})

    def push(self, **arguments):
        return json.loads(self.take(self.path("upgrade"), **arguments).payload)

    def no_push(self):
        self.nothing(self.path("upgrade"))

    def answer(self, id, code, message=""):
        self.publish(self.path("upgrade_reply"), json.dumps({"id": id, "code": code, "data": {}, "message": message}), 1)

    def fetch(self, params):
        image = fetch(params["fileUrl"])
        assert len(image) == params["fileSize"]
        assert hashlib.new(params["signMethod"], image).hexdigest() == params["sign"]
        return image


class EnosJava(Enos):
    """EnOS's SDK for Java 2.2.16: another order, another version of the envelope, braces in the client id; its answer
    to an upgrade comes last of all, at QoS 0."""

    def client_id(self):
        return (f"{self.name}{{ip=127.0.0.1,version=2.2.16,compress=DEFAULT}}|securemode=2,signmethod=sha256,"
                f"timestamp={1795219486981 + next(self.connections)}|")

    def text(self, id, method, params):
        return json.dumps({"method": f"ota.device.{method}", "id": id, "params": params, "version": "1.1"},
                          separators=(",", ":"))

    def answer(self, id, code, message=""):
        self.publish(self.path("upgrade_reply"), json.dumps({"code": code, "data": "", "id": id, "message": message},
                                                            separators=(",", ":")), 0)
