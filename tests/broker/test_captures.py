"""What real devices sent, packet by packet as it was recorded between the vendors' SDKs and a broker: sent again byte for
byte, with the logins that they made. Only what the platform had answered is ours."""

import hashlib
import json
import re
import struct

import pytest

import mqtt
from broker import ROOT, content, eventually
from clouds import IDENTITY, crc16, fetch

SECRET = "0123456789abcdef0123456789abcdef"  # of which the recorded passwords of Alibaba's devices were made


def mqtt_string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("!H", len(data)) + data


def wire(first, body):
    length, size = b"", len(body)
    while True:
        length += bytes([size % 128 | (128 if size > 127 else 0)])
        size //= 128
        if not size:
            return bytes([first]) + length + body


def publish(topic, payload, qos=0, mid=0):
    return wire(0x30 | qos << 1, mqtt_string(topic) + (struct.pack("!H", mid) if qos else b"") + payload)


def subscribe(mid, topic, qos):
    return wire(0x82, struct.pack("!H", mid) + mqtt_string(topic) + bytes([qos]))


def connect(client_id, user, password, flags, keepalive):
    return wire(0x10, mqtt_string("MQTT") + bytes([4, flags]) + struct.pack("!H", keepalive) + mqtt_string(client_id) +
                mqtt_string(user) + mqtt_string(password))


class Recorded:
    """A connection over which recorded packets are sent."""

    def __init__(self, site, packet):
        self.client = mqtt.Client(site.port, connect=False)
        site.clients.append(self.client)
        self.send(packet)
        self.client.wait_for(lambda: self.client.connack is not None, what="CONNACK")
        assert self.client.connack == 0

    def send(self, *packets):
        self.client.send_raw(b"".join(packets))

    def take(self, topic, **arguments):
        return self.client.take_topic(topic, **arguments)


PK = "a1TestPK01"
LINKSDK = (f"{PK}.dev001|timestamp=2524608000000,_ss=1,_v=sdk-c-4.2.0,securemode=3,signmethod=hmacsha256,ext=3,_conn=tcp_0|",
           f"dev001&{PK}", "9394E96744C15B0A91D31C10767FBF9F91B3E6625F6AE77441CD1B552818AC67", 0xc2, 1200)
MOTA = (f"{PK}.dev002|timestamp=2524608000000,_ss=1,_v=sdk-c-4.1.0,securemode=3,signmethod=hmacsha256,ext=3,_conn=tls_0|",
        f"dev002&{PK}", "CB41E0709D6C10B4D312EA477A825629E0D0182A4795B15DA80EE89F67F12DE1", 0xc2, 1200)
IOTKIT = (f"{PK}.dev003|timestamp=2524608000000,_v=sdk-c-3.0.1,securemode=3,signmethod=hmacsha256,lan=C,gw=0,ext=0|",
          f"dev003&{PK}", "8E2DEEC61DB5906D7802E33EBD35A0685A29095440FE1A5675C43EC1B64FD118", 0xc0, 120)
NPM = (f"{PK}&dev004|securemode=3,signmethod=hmacsha1,timestamp=1795220252581,lan=NodeJS,_v=1.2.8|", f"dev004&{PK}",
       "2d7c87982b600d3c38f0c924c6186992a440279c", 0xc0, 60)
NPM_FILTERS = [f"/sys/{PK}/dev004/thing/{name}" for name in (
    "event/property/post_reply", "service/property/set", "event/+/post_reply", "deviceinfo/update_reply", "deviceinfo/delete_reply",
    "config/get_reply")] + [f"/shadow/get/{PK}/dev004"] + [f"/sys/{PK}/dev004/thing/{name}" for name in (
        "config/push", "config/push_reply", "topo/add_reply", "topo/delete_reply", "topo/get_reply")] + [
    f"/ext/session/{PK}/dev004/combine/login_reply", f"/ext/session/{PK}/dev004/combine/logout_reply",
    f"/sys/{PK}/dev004/thing/sub/register_reply", f"/sys/{PK}/dev004/rrpc/request/+"]


def alibaba(make_site, size=30000, **product):
    site = make_site(options={**IDENTITY, "login": "defer", "acl_other": "defer"})
    site.product(PK, ("default",), dialect="alibaba", **product)
    site.package(PK, "default", "2.0.0", content("lamp", size))
    devices = site.directory / "devices.csv"
    devices.write_text("product,name,secret\n" + "".join(f"{PK},dev00{n},{SECRET}\n" for n in (1, 2, 3, 4)))
    site.otactl("device", "add", "--csv", devices)
    site.plan("spring", PK, [("default", "default-2.0.0")])
    site.restart()  # whose registry is loaded when it takes logins
    eventually(lambda: logs_in(site))
    return site


def logs_in(site):
    try:
        Recorded(site, connect(*NPM)).client.disconnect()
        return True
    except (mqtt.Closed, AssertionError):
        return False


def expected(url, size=30000):
    md5 = hashlib.md5(content("lamp", size)).hexdigest()
    return (f'{{"code":"1000","data":{{"size":{size},"sign":"{md5}","version":"2.0.0","signMethod":"Md5","url":"{url}","md5":"{md5}"}},'
            '"id":ID,"message":"success"}')


def check_push(payload):
    """The recorded push but for address, digest and id, to the byte. Gives `data`."""
    message = json.loads(payload)
    assert 1_600_000_000_000 < message["id"] < 4_000_000_000_000
    data = message["data"]
    assert payload.decode().replace(str(message["id"]), "ID") == expected(data["url"], data["size"])
    assert len(payload) < 2048 and len(data["url"]) < 255
    return data


def test_linksdk_4_2(make_site):
    site = alibaba(make_site)
    inform, progress = f"/ota/device/inform/{PK}/dev001", f"/ota/device/progress/{PK}/dev001"
    d = Recorded(site, connect(*LINKSDK))
    d.send(publish(inform, b'{"id":1, "params":{"version":"1.0.0"}}'))
    d.send(b"\xc0\x00")
    push = d.take(f"/ota/device/upgrade/{PK}/dev001")
    assert not push.retain and push.qos == 1
    assert fetch(check_push(push.payload)["url"]) == content("lamp", 30000)
    for number, step in enumerate((0, 27, 54, 81, 100), 2):
        d.send(publish(progress, f'{{"id":{number}, "params":{{"step":"{step}","desc":""}}}}'.encode()))
    eventually(lambda: site.task("dev001", product=PK)["state"] == "downloading")
    d.client.kill()
    d = Recorded(site, connect(LINKSDK[0].replace("tcp_0", "tcp_1"), *LINKSDK[1:]))
    d.send(publish(inform, b'{"id":1, "params":{"version":"2.0.0"}}'))
    site.wait_task("dev001", "succeeded", product=PK)


def test_linksdk_4_2_asks(make_site):
    """Its module has the name of nothing; the reply comes without a subscription, before the push."""
    site = alibaba(make_site)
    d = Recorded(site, connect(*LINKSDK))
    d.send(publish(f"/ota/device/inform/{PK}/dev001", b'{"id":1, "params":{"version":"1.0.0"}}'),
           publish(f"/sys/{PK}/dev001/thing/ota/firmware/get", b'{"id":2, "params":{"module":"\xe6\xa8\xa1\xe5\x9d\x97\xe5\x90\x8d"}}'),
           b"\xc0\x00")
    assert d.take(f"/sys/{PK}/dev001/thing/ota/firmware/get_reply").payload == b'{"id":"2","code":200,"data":{}}'
    check_push(d.take(f"/ota/device/upgrade/{PK}/dev001").payload)


def test_linksdk_4_1_over_mqtt(make_site):
    """To the UNSUBSCRIBE with wrong flags, for which the broker ends the connection."""
    site = alibaba(make_site, 50001, http=0)
    base = f"/sys/{PK}/dev002/thing/file/download"
    d = Recorded(site, connect(*MOTA))
    d.send(publish(f"/ota/device/inform/{PK}/dev002", b'{"id":1, "params":{"version":"1.0.0"}}'))
    data = json.loads(d.take(f"/ota/device/upgrade/{PK}/dev002").payload)["data"]
    assert "url" not in data and data["dProtocol"] == "mqtt" and data["streamFileId"] == 1 and 0 < data["streamId"] < 1 << 32
    d.send(subscribe(1, base + "_reply", 0))
    image = b""
    for number, (offset, size) in enumerate([(0, 10240), (10240, 10240), (20480, 10240), (30720, 10240), (40960, 9041)], 1):
        d.send(publish(base, f'{{"id":"{number}","version":"1.0","params":{{"fileToken":"default","fileInfo":{{"streamId":{data["streamId"]},'
                       f'"fileId":1,}},"fileBlock":{{"size":{size},"offset":{offset}}}}}}}'.encode()))
        reply = d.take(base + "_reply")
        block = content("lamp", 50001)[offset:offset + size]
        header = (f'{{"id":"{number}","code":200,"data":{{"fileToken":"default","fileLength":50001,"bSize":{size},"bOffset":{offset}}}}}').encode()
        assert reply.payload == struct.pack("!H", len(header)) + header + block + struct.pack("<H", crc16(block)) and reply.qos == 0
        image += block
    assert hashlib.md5(image).hexdigest() == data["sign"]
    d.send(publish(f"/ota/device/progress/{PK}/dev002", b'{"id":6, "params":{"step":"100","desc":""}}'),
           wire(0xa0, struct.pack("!H", 2) + mqtt_string(base + "_reply")), b"\xe0\x00")
    d.client.wait_closed()
    eventually(lambda: site.task("dev002", product=PK)["state"] == "downloading")
    d = Recorded(site, connect(*MOTA))
    d.send(publish(f"/ota/device/inform/{PK}/dev002", b'{"id":1, "params":{"version":"2.0.0"}}'))
    site.wait_task("dev002", "succeeded", product=PK)


def test_iotkit_3(make_site):
    """A durable session, two versions at connect, of which the first is its SDK's; handlers in between."""
    site = alibaba(make_site)
    inform = f"/ota/device/inform/{PK}/dev003"
    d = Recorded(site, connect(*IOTKIT))
    d.send(publish(f"/sys/{PK}/dev003/thing/deviceinfo/update", b'{"id":"1","version":"1.0","params":[{"attrKey":"SYS_LP_SDK_VERSION",'
                   b'"attrValue":"3.0.1","domain":"SYSTEM"},{"attrKey":"SYS_SDK_LANGUAGE","attrValue":"C","domain":"SYSTEM"}],'
                   b'"method":"thing.deviceinfo.update"}', 1, 1),
           publish(inform, b'{"id":"2","params":{"version":"app-1.0.0-20180101.1000"}}', 1, 2),
           subscribe(3, f"/ota/device/request/{PK}/dev003", 1), subscribe(4, f"/ota/device/upgrade/{PK}/dev003", 1),
           subscribe(5, f"/sys/{PK}/dev003/thing/config/get_reply", 0), subscribe(6, f"/sys/{PK}/dev003/thing/config/push", 0),
           publish(inform, b'{"id":0,"params":{"version":"iotx_ver_1.1.0"}}', 1, 7))
    data = check_push(d.take(f"/ota/device/upgrade/{PK}/dev003").payload)
    assert [d.client.acks[9, mid] for mid in (3, 4, 5, 6)] == [[1], [1], [0], [0]]
    assert site.versions("dev003", PK) == {"default": "iotx_ver_1.1.0"}
    d.send(publish(f"/ota/device/progress/{PK}/dev003", b'{"id":0,"params":{"step":"0","desc":"Enter in downloading state"}}'))
    assert fetch(data["url"]) == content("lamp", 30000)
    d.client.ping()
    assert len([m for m in d.client.all if m.topic == f"/ota/device/upgrade/{PK}/dev003"]) == 1  # though it subscribes
    d.send(b"\xe0\x00")
    d.client.wait_closed()
    d = Recorded(site, connect(*IOTKIT))
    d.send(publish(inform, b'{"id":"2","params":{"version":"app-1.0.0-20180101.1000"}}', 1, 2),
           publish(inform, b'{"id":0,"params":{"version":"2.0.0"}}', 1, 7))
    site.wait_task("dev003", "succeeded", product=PK)
    assert not [m for m in d.client.all if m.topic.startswith("/ota/")]


def test_npm_1_2_8(make_site):
    """Sixteen subscriptions of its own, all granted and none told of, on a broker that denies all else."""
    site = alibaba(make_site)
    d = Recorded(site, connect(*NPM))
    d.send(*[subscribe(0x5cc8 + n, topic, 1) for n, topic in enumerate(NPM_FILTERS)],
           subscribe(0x5cd8, f"/ota/device/upgrade/{PK}/dev004", 0),
           publish(f"/ota/device/inform/{PK}/dev004", b'{"id":"1","params":{"version":"1.0.0"}}'))
    check_push(d.take(f"/ota/device/upgrade/{PK}/dev004").payload)
    assert [d.client.acks[9, 0x5cc8 + n] for n in range(17)] == [[1]] * 16 + [[0]]
    d.send(publish(f"/ota/device/progress/{PK}/dev004", b'{"id":"2","params":{"step":"100","desc":""}}'),
           publish(f"/ota/device/inform/{PK}/dev004", b'{"id":"3","params":{"version":"2.0.0"}}'))
    site.wait_task("dev004", "succeeded", product=PK)
    assert "is denied" not in site.log()


PYTHON = """
109e0100044d51545404c2003c0045646b42327c7365637572656d6f64653d322c7369676e6d6574686f643d686d61637368613235362c74696d657374616d703d313739353231393234333938352e333430367c0009646b423226706b4131004033323632663131383339663761333562393531653234373538323563366236303638303436393739303838363431653262356361653236313363336632306261
822b000100262f7379732f706b41312f646b42322f6f74612f6465766963652f696e666f726d5f7265706c7901
327700202f7379732f706b41312f646b42322f6f74612f6465766963652f696e666f726d00027b226964223a202231222c202276657273696f6e223a2022312e30222c20226d6574686f64223a20226f74612e696e666f726d222c2022706172616d73223a207b2276657273696f6e223a2022312e30227d7d
822f0003002a2f7379732f706b41312f646b42322f6f74612f6465766963652f67657476657273696f6e5f7265706c7901327600242f7379732f706b41312f646b42322f6f74612f6465766963652f67657476657273696f6e00047b226964223a202232222c202276657273696f6e223a2022312e30222c20226d6574686f64223a20224f74612e6465766963652e67657476657273696f6e222c2022706172616d73223a207b7d7d
""".split()


def enos(make_site):
    site = make_site(options=IDENTITY)
    site.product("pkA1", ("default",), dialect="enos")
    site.package("pkA1", "default", "1.1", content("meter"))
    return site


def firmware(url):
    return (f'{{"version":"1.1","sign":"{hashlib.sha256(content("meter")).hexdigest()}","signMethod":"sha256","fileUrl":"{url}","fileSize":9000}}')


def test_enos_python(make_site):
    """`getversion` is subscribed to and asked in one segment."""
    site = enos(make_site)
    base = "/sys/pkA1/dkB2/ota/device/"
    login, replies, inform, ask = map(bytes.fromhex, PYTHON)
    d = Recorded(site, login)
    d.send(replies)
    d.send(inform)
    reply = d.take(base + "inform_reply")
    assert (reply.payload, reply.qos, reply.retain) == (b'{"id":"1","code":200,"data":{}}', 1, False)
    d.send(ask)
    assert d.take(base + "getversion_reply").payload == b'{"id":"2","code":200,"data":[]}'
    site.plan("spring", "pkA1", [("default", "default-1.1")])
    push = d.take(base + "upgrade")
    message = json.loads(push.payload)
    assert push.payload.decode() == (f'{{"id":"{message["id"]}","version":"1.0","method":"ota.device.upgrade","params":'
                                     f'{firmware(message["params"]["fileUrl"])}}}')
    d.send(ask)
    reply = d.take(base + "getversion_reply").payload.decode()
    assert reply == f'{{"id":"2","code":200,"data":[{firmware(json.loads(reply)["data"][0]["fileUrl"])}]}}'
    # Nobody listens: the code is a text.
    d.send(publish(base + "upgrade_reply", json.dumps(
        {"id": message["id"], "code": "1101", "data": {}, "message": "downstream command handler not registered"}).encode(), 1, 9))
    site.wait_task("dkB2", "postponed", product="pkA1")


JAVA_ID = "dkJ2{ip=127.0.0.1,version=@project.artifactId@-@project.version@,compress=DEFAULT}"


@pytest.mark.parametrize("unsubscribes", [False, True])
def test_enos_java(make_site, unsubscribes):
    """Its answer to the push comes last of all, at QoS 0. It may leave a reply's topic at any time."""
    site = enos(make_site)
    site.plan("spring", "pkA1", [("default", "default-1.1")])
    base = "/sys/pkA1/dkJ2/ota/device/"
    d = Recorded(site, connect(f"{JAVA_ID}|securemode=2,signmethod=sha256,timestamp=1795219486981|", "dkJ2&pkA1",
                               "46a83eeb621a712bbf73e4372a081543cfe4547149a9b866d57a15d7db7ffddb", 0xc2, 60))
    d.send(subscribe(1, base + "inform_reply", 1),
           publish(base + "inform", b'{"method":"ota.device.inform","id":"1","params":{"version":"1.0"},"version":"1.1"}', 1, 2))
    assert d.take(base + "inform_reply").payload == b'{"id":"1","code":200,"data":{}}'
    push = json.loads(d.take(base + "upgrade").payload)
    d.send(subscribe(5, base + "progress_reply", 1),
           publish(base + "progress", b'{"method":"ota.device.progress","id":"3","params":{"step":"20","desc":"d20"},"version":"1.1"}', 1, 6))
    assert d.take(base + "progress_reply").payload == b'{"id":"3","code":200,"data":{}}'
    if unsubscribes:
        d.client.unsubscribe(base + "inform_reply")
    assert fetch(push["params"]["fileUrl"]) == content("meter")
    d.send(publish(base + "progress", b'{"method":"ota.device.progress","id":"4","params":{"step":"80","desc":"d80"},"version":"1.1"}', 1, 7),
           publish(base + "inform", b'{"method":"ota.device.inform","id":"5","params":{"version":"1.1"},"version":"1.1"}', 1, 8))
    assert d.take(base + "progress_reply").payload == b'{"id":"4","code":200,"data":{}}'
    if not unsubscribes:
        assert d.take(base + "inform_reply").payload == b'{"id":"5","code":200,"data":{}}'
    d.send(publish(base + "upgrade_reply", f'{{"code":200,"data":"","id":"{push["id"]}","message":""}}'.encode()), b"\xe0\x00")
    site.wait_task("dkJ2", "succeeded", product="pkA1")


@pytest.mark.parametrize("dialect", ["alibaba", "enos"])
def test_the_documents_tables_name_tests_that_exist(dialect):
    table = (ROOT / f"plugin/dialect/{dialect}.md").read_text().split("and the tests of it")[1]
    python = "".join(path.read_text() for path in (ROOT / "tests/broker").glob("test_*.py"))
    native = "".join(path.read_text() for path in (ROOT / "tests").glob("*/*_test.cc"))
    names = re.findall(r"`(test_[a-z0-9_]+)`", table)
    assert len(names) > 10
    assert [name for name in names if f"def {name}(" not in python] == []
    assert [name for name in re.findall(r"`([A-Z]\w+\.[A-Z]\w+)`", table) if f"TEST({name.replace('.', ', ')})" not in native] == []
