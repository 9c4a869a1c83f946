"""Devices that log in by their secrets, beside every other way to decide who may connect. The credentials are made as
the clouds' devices make them (tests/guard has the recorded ones)."""

import hashlib
import hmac
import itertools
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

import mqtt
from broker import Site, eventually
from conftest import long_only

SECRET = "0123456789abcdef0123456789abcdef"
CLOUD = ["username {product}/{device}", "username {device}&{product}"]
OTA_FILTER = "ota/v1/{}/{}/down/#"
numbers = itertools.count(1)


def alibaba(device, product="ali", secret=SECRET, method="sha256", timestamp="2524608000000"):
    """What a device sends at CONNECT: with another client id each time."""
    cid = f"{product}.{device}"
    mac = hmac.new(secret.encode(), f"clientId{cid}deviceName{device}productKey{product}timestamp{timestamp}".encode(), method)
    return {"client_id": f"{cid}|timestamp={timestamp},securemode=3,signmethod=hmac{method},_conn=tcp_{next(numbers):x}|",
            "user": f"{device}&{product}", "password": mac.hexdigest().upper()}


def enos(device, product="env", secret=SECRET, method="sha256", cid=None, timestamp="1795219243985.3406"):
    cid = cid or device
    digest = hashlib.new(method, f"clientId{cid}deviceKey{device}productKey{product}timestamp{timestamp}{secret}".encode())
    return {"client_id": f"{cid}|securemode=2,signmethod={method},timestamp={timestamp}|", "user": f"{device}&{product}",
            "password": digest.hexdigest()}


def native(device, product="pump", secret=SECRET, client_id=None):
    return {"client_id": client_id or f"c{next(numbers)}", "user": f"{product}/{device}", "password": secret}


def secrets(site, *rows):
    """`rows`: product, device, secret[, disabled]"""
    text = "product,name,secret,disabled\n" + "".join(",".join([*map(str, row), "0"][:4]) + "\n" for row in rows)
    path = site.directory / f"devices-{next(numbers)}.csv"
    path.write_text(text)
    site.otactl("device", "add", "--csv", path)
    path.unlink()


def products(site):
    site.sql("INSERT INTO product(name, dialect) VALUES ('pump', 'native'), ('valve', 'native'), ('ali', 'alibaba'), ('env', 'enos');\n"
             "INSERT INTO component(product, name) VALUES ('pump', 'main');\n")


def make(tmp_path, login="allow", options=None, **arguments):
    site = Site(tmp_path, {"identity": CLOUD, "login": login, "login_password": "pump", **(options or {})}, **arguments)
    products(site)
    secrets(site, ("pump", "p1", SECRET), ("ali", "d1", SECRET), ("ali", "d2", SECRET), ("env", "e1", SECRET), ("ali", "off", SECRET, 1))
    wait_device(site, alibaba("d2"))
    return site


def enters(site, credentials):
    """Whether the client is let in: True, False (refused), None (closed without an answer)."""
    client = None
    try:
        client = site.client(**credentials)
        client.ping()
        return True
    except mqtt.Refused as refused:
        assert refused.code == 5
        return False
    except mqtt.Closed:
        return None
    finally:
        if client:
            client.disconnect()


def wait_device(site, credentials, answer=True):
    # A login before its time is closed or refused: at the limit of one every 2 s after ten.
    eventually(lambda: enters(site, credentials) is answer or time.sleep(0.1), 20, f"{credentials['user']}: {answer}")


@pytest.fixture
def site(tmp_path):
    site = make(tmp_path)
    yield site
    site.close()
    assert_no_leak(site)


def assert_no_leak(site, *more):
    log = site.log()
    for secret in (SECRET, *more):
        assert secret not in log
        for path in site.directory.glob("ota.db*"):
            assert secret.encode() not in path.read_bytes(), path


GOOD = [alibaba("d1"), alibaba("d1", method="sha1"), alibaba("d1", method="md5"), enos("e1"), enos("e1", method="md5"),
        enos("e1", cid="e1{ip=127.0.0.1,version=1,compress=DEFAULT}"), native("p1")]
BAD = {
    "wrong secret": (alibaba("d1", secret="x" * 32), "device 'ali/d1' refused: the password is wrong"),
    "unknown device": (alibaba("d9"), "device 'ali/d9' refused: there is no such device"),
    "unknown product": (alibaba("d1", product="other"), "device 'other/d1' refused: there is no such device"),
    "disabled": (alibaba("off"), "device 'ali/off' refused: it is disabled"),
    "another device's": ({**alibaba("d1"), "user": "d2&ali"}, "device 'ali/d2' refused: the password is wrong"),
    "the other cloud's rule": ({**enos("d1", "ali")}, "device 'ali/d1' refused: the password is wrong"),
    "malformed client id": ({**alibaba("d1"), "client_id": "x|securemode"}, "device 'ali/d1' refused: its client id is not"),
    "no signature": ({**alibaba("d1"), "client_id": "x"}, "device 'ali/d1' refused: its client id is not"),
    "the secret itself": ({**alibaba("d1"), "password": SECRET}, "device 'ali/d1' refused: the password is wrong"),
    "no password": ({**alibaba("d1"), "password": None}, "device 'ali/d1' refused: the password is wrong"),
    "malformed name": ({**alibaba("d1"), "user": "d/1&ali"}, "device 'ali/d/1' refused: its user name is not"),
    "compressed": (enos("e1", cid="e1{compress=GZIP}"), "device 'env/e1' refused: it compresses"),
    "registration": ({**alibaba("d1"), "client_id": "ali.d1|authType=register,random=1,signmethod=hmacsha256|"}, "dynamic registration"),
    "native wrong": (native("p1", secret="wrong"), "device 'pump/p1' refused: the password is wrong"),
    "native none": ({**native("p1"), "password": None}, "device 'pump/p1' refused: the password is wrong"),
    "native unknown": (native("p9"), "device 'pump/p9' refused: there is no such device"),
}


def others(site, credentials):
    return enters(site, {"client_id": f"o{next(numbers)}", **credentials})


def test_open_broker(site):
    """allow: devices prove themselves, everybody else connects as before."""
    for credentials in GOOD:
        assert enters(site, credentials) is True, credentials
    for name, (credentials, line) in BAD.items():
        start = len(site.log())
        assert enters(site, credentials) is False, name
        assert line in site.log()[start:], name
        assert site.log()[start:].count("refused:") == 1, name
    assert others(site, {"user": None}) is True
    assert others(site, {"user": "alice", "password": "any"}) is True
    assert others(site, {"user": "valve/v1"}) is True
    # Nothing of all this is presence.
    assert not site.query("SELECT * FROM device_state")


@pytest.mark.parametrize("anonymous", [True, False])
def test_password_file(tmp_path, anonymous):
    passwords = shutil.which("mosquitto_passwd")
    assert passwords
    path = tmp_path / "passwords"
    path.touch(mode=0o600)
    for user, password in (("alice", "wonderland"), ("valve/v1", "valve")):
        subprocess.run([passwords, "-b", str(path), user, password], check=True, capture_output=True)
    site = make(tmp_path, "defer", after=["password_file {directory}/passwords"], anonymous=anonymous)
    try:
        for credentials in GOOD:
            assert enters(site, credentials) is True, credentials
        for name, (credentials, _) in BAD.items():
            assert enters(site, credentials) is False, name
        assert others(site, {"user": "alice", "password": "wonderland"}) is True
        assert others(site, {"user": "valve/v1", "password": "valve"}) is True
        assert others(site, {"user": "alice", "password": "wrong"}) is False
        assert others(site, {"user": "bob", "password": "x"}) is False
        assert others(site, {"user": None}) is anonymous
        assert_no_leak(site)
    finally:
        site.close()


def test_open_broker_with_defer_refuses_user_names(tmp_path):
    """What deferral changes, and what the log says about it at start."""
    site = make(tmp_path, "defer")
    try:
        assert enters(site, alibaba("d1")) is True
        assert others(site, {"user": None}) is True
        assert others(site, {"user": "alice"}) is False
        assert "where there is none, clients with a user name are refused" in site.log()
    finally:
        site.close()


def test_login_off_changes_nothing(tmp_path):
    site = Site(tmp_path, {"identity": CLOUD, "login": "off"})
    try:
        products(site)
        for credentials in [*GOOD, *(bad for bad, _ in BAD.values())]:
            assert enters(site, credentials) is True, credentials
        assert others(site, {"user": "alice"}) is True
        assert "refused" not in site.log()
    finally:
        site.close()


DYNSEC = ("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so", "/usr/lib/aarch64-linux-gnu/mosquitto_dynamic_security.so")


@pytest.mark.parametrize("order", ["before", "after"])
def test_dynamic_security(tmp_path, order):
    library = next((p for p in DYNSEC if os.path.exists(p)), None)
    assert library, "mosquitto's dynamic-security plugin is not installed"
    config = tmp_path / "dynsec.json"
    subprocess.run(["mosquitto_ctrl", "dynsec", "init", str(config), "root", "rootpw"], check=True, capture_output=True, input="rootpw\nrootpw\n", text=True)
    lines = [f"plugin {library}", f"plugin_opt_config_file {config}"]
    site = make(tmp_path, "defer", {"acl_other": "defer"}, anonymous=False, **{"lines" if order == "before" else "after": lines})
    try:
        for credentials in GOOD:
            assert enters(site, credentials) is True, credentials
        for name, (credentials, _) in BAD.items():
            assert enters(site, credentials) is False, name
        assert others(site, {"user": "root", "password": "rootpw"}) is True
        assert others(site, {"user": "root", "password": "x"}) is False
        assert others(site, {"user": "alice"}) is False
        assert others(site, {"user": None}) is False
        assert_no_leak(site)
    finally:
        site.close()


# ------------------------------------------------------------------ the registry

def test_changes_while_running_act_within_a_second(site):
    device = alibaba("new", secret="n" * 32)
    assert enters(site, device) is False
    secrets(site, ("ali", "new", "n" * 32))
    started = time.monotonic()
    wait_device(site, device)
    assert time.monotonic() - started < 8  # a second, the test's own steps, and the noise of a busy machine
    site.sql("UPDATE device SET disabled = 1 WHERE name = 'new';\n")
    wait_device(site, device, False)
    site.sql("UPDATE device SET disabled = 0 WHERE name = 'new';\n")
    wait_device(site, device)
    other = alibaba("new", secret="m" * 32)
    site.otactl("device", "secret", "ali", "new", "--secret-file", "-", stdin="m" * 32)
    wait_device(site, other)
    assert enters(site, device) is False
    site.otactl("device", "secret", "ali", "new", "--remove")
    wait_device(site, other, False)
    site.bare("DELETE FROM device WHERE name = 'new';\n")
    eventually(lambda: enters(site, other) is False and "'ali/new' refused: there is no such device" in site.log())
    assert_no_leak(site, "n" * 32, "m" * 32)


def test_a_new_product_is_known_at_once(site):
    site.sql("INSERT INTO product(name, dialect) VALUES ('fresh', 'enos');\n")
    secrets(site, ("fresh", "f1", SECRET))
    wait_device(site, enos("f1", "fresh"))


def test_ten_thousand_devices(site):
    secrets(site, *[("ali", f"m{i}", f"{i:032d}") for i in range(10_000)])
    for i in (0, 4711, 9999):
        wait_device(site, alibaba(f"m{i}", secret=f"{i:032d}"))
    site.restart()
    wait_device(site, alibaba("m4711", secret=f"{4711:032d}"))


def test_before_the_registry_is_loaded_devices_are_told_to_come_again(tmp_path):
    """A damaged database: no registry, no login by secret, and everything else goes on."""
    (tmp_path / "ota.db").write_bytes(b"this is no database" * 1000)
    site = Site(tmp_path, {"identity": CLOUD, "login": "allow", "login_password": "pump"}, wait=False)
    try:
        for credentials in (alibaba("d1"), native("p1"), enos("e1"), {"client_id": "x", "user": "d1&ali"}):
            assert enters(site, credentials) is None, credentials
        assert others(site, {"user": "alice"}) is True
        assert "the registry of devices is not loaded yet" in site.log()
    finally:
        site.close()


def test_a_wrong_or_missing_key(tmp_path):
    site = make(tmp_path)
    key = tmp_path / "secret.key"
    try:
        assert key.stat().st_mode & 0o777 == 0o600 and key.stat().st_size == 32
        right = key.read_bytes()
        key.unlink()
        site.signal(signal.SIGHUP)
        site.wait_log("secret.key': does not exist: the secrets of devices cannot be decrypted")
        wait_device(site, alibaba("d1"), False)
        assert not key.exists()  # a new one would open nothing
        key.write_bytes(bytes(32))
        key.chmod(0o600)
        site.signal(signal.SIGHUP)
        site.wait_log("and of 4 more cannot be decrypted with key file")
        assert others(site, {"user": "alice"}) is True
        key.write_bytes(right)
        site.signal(signal.SIGHUP)
        wait_device(site, alibaba("d1"))
        assert_no_leak(site)
    finally:
        site.close()


def test_whatever_is_shown_shows_no_secret(site):
    """Nor what is copied: a backup has the database, in which it is sealed, and the keys beside it."""
    assert enters(site, alibaba("d1")) is True
    backup = site.directory / "ota.tar"
    site.otactl("backup", backup)
    shown = [site.otactl(*words, check=False).stdout for words in (
        ("device", "show", "ali/d1"), ("--json", "device", "show", "ali/d1"), ("log",), ("status",), ("sql", "SELECT * FROM device_logins"),
        ("sql", "SELECT * FROM journal"), ("sql", "SELECT * FROM devices"), ("sql", "SELECT product, device, hex(sealed) FROM device_secret"))]
    for data in (backup.read_bytes(), "".join(shown).encode(), site.log().encode()):
        assert len(data) > 100
        for secret in (SECRET.encode(), bytes.fromhex(SECRET), SECRET.upper().encode()):
            assert secret not in data


def test_a_copied_row_opens_nothing(site):
    site.bare("INSERT INTO device(product, name) VALUES ('ali', 'thief');\n"
              "INSERT INTO device_secret SELECT product, 'thief', sealed FROM device_secret WHERE device = 'd1';\n")
    site.wait_log("the secret of device 'ali/thief' cannot be decrypted")
    assert enters(site, alibaba("thief")) is False
    assert enters(site, alibaba("d1")) is True


# ------------------------------------------------------------------ SIGHUP, second logins, floods

def test_sighup_asks_again_without_a_word_and_ends_who_may_not_stay(site):
    secrets(site, ("pump", "p2", SECRET))
    wait_device(site, native("p2"))
    stays, plain, goes = site.client(**alibaba("d1")), site.client(**native("p1")), site.client(**native("p2"))
    durable = site.client(**native("p1", client_id="durable"), clean=False)
    durable.kill()
    site.sql("UPDATE device SET disabled = 1 WHERE name = 'p2';\n")
    wait_device(site, native("p2"), False)
    goes.ping()
    start = len(site.log())
    site.signal(signal.SIGHUP)
    goes.wait_closed()
    stays.ping()
    plain.ping()
    assert "refused:" not in site.log()[start:]
    assert not site.query("SELECT * FROM device_state")
    assert site.client(**native("p1", client_id="durable"), clean=False).session_present


def test_a_second_login_ends_the_first(site):
    first = site.client(**alibaba("d1"))
    second = site.client(**alibaba("d1"))
    first.wait_closed()
    second.ping()
    # With the same client id it is the broker's own business.
    again = dict(alibaba("d1"), client_id=second.client_id)
    third = site.client(**again)
    second.wait_closed()
    third.ping()
    time.sleep(0.3)
    third.ping()
    # Not so in the native dialect.
    one, other = site.client(**native("p1")), site.client(**native("p1"))
    one.ping()
    other.ping()
    # A login that is refused ends nobody.
    assert enters(site, alibaba("d1", secret="x" * 32)) is False
    third.ping()


def test_throwing_out_is_no_presence(site):
    """2.0 asks about the subscriptions of a durable client that is thrown out."""
    filters = OTA_FILTER.format("ali", "d1")
    first = site.client(**alibaba("d1"), clean=False)
    assert first.subscribe(filters) == [1]
    second = site.client(**alibaba("d1"))
    first.wait_closed()
    second.ping()
    second.disconnect()
    eventually(lambda: site.health()["connected"] == 0, 15, "nobody connected")


def test_a_flood_is_limited_told_in_few_lines_and_costs_no_memory(site):
    before, start = site.rss(), len(site.log())
    answers = []
    began = time.monotonic()
    for hundred in range(6):  # of each all at once: one by one is no flood
        clients = [site.client(**alibaba(f"flood{hundred}.{i}"), connect=False) for i in range(100)]
        for client in clients:
            client.send_raw(client.connect_packet())
        for client in clients:
            client.wait_for(lambda: client.connack is not None or client.closed, what="an answer or the end")
            answers.append(client.connack)
        site.forget_clients()
    assert answers[0] == 5
    took = time.monotonic() - began
    # All but 200, and 50 a second, are closed without an answer.
    assert answers.count(None) >= len(answers) - 200 - 50 * took, (answers.count(None), took)
    lines = site.log()[start:].count("refused:")
    assert 1 <= lines <= 60 + 5 * took, (lines, took)
    assert "OTA_PRELOAD" in os.environ or site.rss() - before < 4 * 1024 * 1024  # a sanitizer keeps what was freed
    site.wait_log("more logins were refused since the last line", start=start) if lines < 600 else None
    # The address is open again soon, and nobody but it was ever shut out.
    wait_device(site, alibaba("d1"))


def test_guessing_at_one_device_is_stopped(site):
    answers = [enters(site, alibaba("d1", secret=f"{i:032d}")) for i in range(30)]
    assert answers[:10] == [False] * 10
    assert None in answers[10:]
    assert enters(site, alibaba("d1")) in (None, True)  # not looked at
    assert enters(site, enos("e1")) is True  # another device
    wait_device(site, alibaba("d1"))


@pytest.mark.parametrize("user, client_id", [
    ("\x1b[2Jd1&ali", "x||"), ("d1&ali", "x\x07|\x1b[31m|"), ("d1&" + "p" * 60000, "x||"), ("d1&ali", "x" * 60000 + "||"),
    ("&&&&&", "||||"), ("d1&ali", "|" * 1000), ("d1&ali", "x|" + "k=v," * 10000 + "|")])
def test_hostile_names_do_no_harm_to_the_log(site, user, client_id):
    start = len(site.log())
    try:
        answer = enters(site, {"client_id": client_id, "user": user, "password": "x"})
    except OSError:
        answer = False
    assert answer is not True
    site.client("probe").ping()
    text = site.log()[start:]
    lines = [line for line in text.splitlines() if "login of" in line]
    assert all(len(line) < 700 and "\x1b" not in line and "\x07" not in line for line in lines)


# ------------------------------------------------------------------ gateways

def test_a_gateway_speaks_for_its_sub_devices_and_only_for_them(site):
    site.sql("INSERT INTO device(product, name, gateway) VALUES ('pump', 'sub1', 'pump/p1'), ('pump', 'sub2', 'pump/other'), "
             "('pump', 'sub3', NULL);\n")
    gateway = site.client(**native("p1"), version=5)
    eventually(lambda: gateway.subscribe(OTA_FILTER.format("pump", "sub1"))[0] < 128)
    for name in ("sub2", "sub3", "stranger"):
        assert gateway.subscribe(OTA_FILTER.format("pump", name))[0] >= 128, name
        assert gateway.publish(f"ota/v1/pump/{name}/up/version", '{"components":{"main":"1"}}') >= 128, name
    assert gateway.publish("ota/v1/pump/sub1/up/version", '{"id":"1","components":{"main":"1"}}') < 128
    assert b'"code":200' in gateway.take_topic("ota/v1/pump/sub1/down/reply").payload
    assert gateway.publish("ota/v1/pump/sub1/down/plan", "{}") >= 128
    # Taken from the gateway it is out of its hands.
    site.sql("UPDATE device SET gateway = NULL WHERE name = 'sub1';\n")
    eventually(lambda: gateway.publish("ota/v1/pump/sub1/up/version", '{"components":{"main":"1"}}') >= 128)


def test_a_sub_devices_plan_comes_over_its_gateways_connection(site):
    site.sql("INSERT INTO device(product, name, gateway) VALUES ('pump', 'sub1', 'pump/p1');\n")
    site.package("pump", "main", "2.0")
    site.plan("spring", "pump", [("main", "main-2.0")])
    gateway = site.client(**native("p1"))
    eventually(lambda: gateway.subscribe(OTA_FILTER.format("pump", "sub1"))[0] < 128)
    gateway.publish("ota/v1/pump/sub1/up/version", '{"components":{"main":"1.0"}}')
    assert b'"plan":"spring"' in gateway.take_topic("ota/v1/pump/sub1/down/plan").payload
    assert site.health() is not None
    gateway.disconnect()
    site.client("probe").ping()


SESSION = "/ext/session/{}/{}/combine/{}"


def sub_sign(device, product="env", secret=SECRET, cid="gw", timestamp="7", method="sha256"):
    return hashlib.new(method, f"clientId{cid}deviceKey{device}productKey{product}timestamp{timestamp}{secret}".encode()).hexdigest()


def sub_login(gateway, act, params, name="e1"):
    """The reply to what gateway `name` asks."""
    topic = SESSION.format("env", name, act)
    assert gateway.subscribe(topic + "_reply")[0] < 128
    number = f"{next(numbers)}"
    gateway.publish(topic, json.dumps({"id": number, "version": "1.0", "method": "combine", "params": params}))
    reply = json.loads(gateway.take_topic(topic + "_reply").payload)
    assert reply["id"] == number
    return reply


@pytest.fixture
def gateway(site):
    site.sql("INSERT INTO product(name, dialect) VALUES ('sub', 'enos') ON CONFLICT DO NOTHING;\n")
    secrets(site, *[("sub", f"s{i}", SECRET) for i in range(4)], ("sub", "other", SECRET), ("sub", "off", SECRET, 1))
    site.sql("UPDATE device SET gateway = 'env/elsewhere' WHERE name = 'other';\n")
    secrets(site, ("sub", "s4", SECRET))  # the last change: with it all others are known
    wait_device(site, enos("s4", "sub"))
    client = site.client(**enos("e1"), version=5)
    yield client


def one(device, product="sub", **changes):
    return {"productKey": product, "deviceKey": device, "clientId": "gw", "timestamp": "7", "signMethod": "hmacsha256", "secureMode": "2",
            "sign": sub_sign(device, product), "cleanSession": "False", **changes}


def test_a_sub_device_logs_in_over_its_gateway(site, gateway):
    topic = "ota/v1/sub/s1/up/version"
    assert gateway.publish(topic, '{"components":{"main":"1"}}') >= 128
    reply = sub_login(gateway, "login", one("s1"))
    assert (reply["code"], reply["data"]) == (200, {"productKey": "sub", "deviceKey": "s1"})
    assert gateway.publish(topic, '{"components":{"main":"1"}}') < 128
    assert gateway.publish("ota/v1/sub/s2/up/version", "{}") >= 128
    assert sub_login(gateway, "logout", {"productKey": "sub", "deviceKey": "s1"})["code"] == 200
    assert gateway.publish(topic, '{"components":{"main":"1"}}') >= 128
    # With the connection the login ends.
    sub_login(gateway, "login", one("s1"))
    gateway.disconnect()
    again = site.client(**enos("e1"), version=5)
    assert again.publish(topic, "{}") >= 128


def test_a_login_of_a_sub_device_shows_that_it_is_there_and_its_logout_ends_it(site, gateway):
    def connected():
        return site.health()["connected"]
    sub_login(gateway, "login", one("s1"))
    eventually(lambda: connected() == 2, 15)
    sub_login(gateway, "logout", {"productKey": "sub", "deviceKey": "s1"})
    eventually(lambda: connected() == 1, 15)


def enos_ask(gateway, device, name, params, product="sub"):
    """As EnOS's SDK for Python does it: a subscription, then the request with the sub-device's own topic."""
    topic = f"/sys/{product}/{device}/ota/device/{name}"
    number = f"{next(numbers)}"
    gateway.subscribe(topic + "_reply")
    gateway.publish(topic, json.dumps({"id": number, "version": "1.0", "method": f"ota.{name}", "params": params}))
    answer = f'{{"id":"{number}",'.encode()  # another gateway that has logged it in hears its replies, too
    return json.loads(gateway.take(lambda m: m.topic == topic + "_reply" and m.payload.startswith(answer)).payload)


@pytest.fixture
def sub_plan(site):
    site.sql("INSERT INTO product(name, dialect) VALUES ('sub', 'enos');\n"
             "INSERT INTO component(product, name) VALUES ('sub', 'default');\n")
    site.package("sub", "default", "1.1")
    site.plan("spring", "sub", [("default", "default-1.1")])
    return lambda gateway, device: json.loads(gateway.take_topic(f"/sys/sub/{device}/ota/device/upgrade").payload)["params"]


def test_sub_devices_of_enos_upgrade_over_their_gateways_connection(site, sub_plan, gateway):
    """One logged in by itself, two in a batch, one bound: each is told on the gateway's connection, to its own topic."""
    sub_login(gateway, "login", one("s1"))
    sub_login(gateway, "login/batch", {"clientId": "gw", "timestamp": 7, "signMethod": "sha256", "subDevices": [
        {"productKey": "sub", "deviceKey": name, "sign": sub_sign(name, "sub")} for name in ("s2", "s3")]})
    assert topo(gateway, "add", [one("s0")])["code"] == 200
    eventually(lambda: gateway.subscribe("/sys/sub/s0/ota/device/inform_reply")[0] < 128)
    for device in ("s0", "s1", "s2", "s3"):
        assert enos_ask(gateway, device, "inform", {"version": "1.0"})["code"] == 200
        params = sub_plan(gateway, device)
        assert params["version"] == "1.1" and params["fileUrl"].startswith("http://")
        assert enos_ask(gateway, device, "progress", {"step": "50", "desc": ""})["code"] == 200
        assert [one["version"] for one in enos_ask(gateway, device, "getversion", {})["data"]] == ["1.1"]
        assert enos_ask(gateway, device, "inform", {"version": "1.1"})["code"] == 200
        assert site.task(device, product="sub")["state"] == "succeeded"
    assert not [m for m in gateway.all if "/sys/env/" in m.topic and "ota" in m.topic]


def test_a_sub_device_that_has_logged_out_is_told_nothing(site, sub_plan, gateway):
    site.want("spring", "paused")
    sub_login(gateway, "login", one("s1"))
    sub_login(gateway, "login", one("s2"))
    for device in ("s1", "s2"):
        enos_ask(gateway, device, "inform", {"version": "1.0"})
    sub_login(gateway, "logout", {"productKey": "sub", "deviceKey": "s1"})
    site.want("spring", "active")
    sub_plan(gateway, "s2")
    gateway.ping()
    assert not [m for m in gateway.all if m.topic == "/sys/sub/s1/ota/device/upgrade"]
    # It logs in again, and reports.
    sub_login(gateway, "login", one("s1"))
    enos_ask(gateway, "s1", "inform", {"version": "1.0"})
    sub_plan(gateway, "s1")


def test_a_gateway_that_loses_a_sub_device_to_another_keeps_its_connection(site, sub_plan, gateway):
    secrets(site, ("env", "e2", SECRET))
    wait_device(site, enos("e2"))
    other = site.client(**enos("e2"), version=5)
    for one_of in (gateway, other, gateway):
        name = "e1" if one_of is gateway else "e2"
        sub_login(one_of, "login", one("s1"), name)
        enos_ask(one_of, "s1", "inform", {"version": "1.0"})
        sub_plan(one_of, "s1")
    gateway.ping()
    other.ping()
    assert "has connected again" not in site.log()


@long_only
def test_a_sub_device_that_only_logs_in_again_is_told(site, sub_plan, gateway):
    """The SDK for Java logs its sub-devices in again after a break; its application does not report again."""
    site.want("spring", "paused")
    sub_login(gateway, "login", one("s1"))
    enos_ask(gateway, "s1", "inform", {"version": "1.0"})
    gateway.kill()
    again = site.client(**enos("e1"), version=5)
    sub_login(again, "login", one("s1"))
    site.want("spring", "active")
    sub_plan(again, "s1")


@pytest.mark.parametrize("params, code", [
    (one("s1", sign="0" * 64), 742), (one("s9"), 742), (one("s1", "ali"), 742), (one("s1", timestamp="8"), 742),
    (one("s1", signMethod="none"), 742), (one("other"), 740), (one("other", sign="0"), 742), (one("off"), 723), (one("off", sign="0"), 742),
    ({}, 1220), (one("s/1"), 1220), (one("s1", sign={}), 1220), (one("s1", timestamp=None), 1220), ([], 1220), ("x", 1220)])
def test_a_sub_device_that_is_refused(site, gateway, params, code):
    start = len(site.log())
    assert sub_login(gateway, "login", params)["code"] == code
    assert gateway.publish("ota/v1/sub/s1/up/version", "{}") >= 128
    if code != 1220:
        assert "refused: as a sub-device" in site.log()[start:]


def topo(client, act, params, name="e1"):
    """The reply to what gateway `name` says or asks of its topology."""
    topic = f"/sys/env/{name}/thing/topo/{act}"
    assert client.subscribe(topic + "_reply")[0] < 128
    number = f"{next(numbers)}"
    client.publish(topic, json.dumps({"id": number, "version": "1.0", "params": params, "method": f"thing.topo.{act}"}))
    reply = json.loads(client.take_topic(topic + "_reply").payload)
    assert reply["id"] == number
    return reply


def test_a_gateway_keeps_its_topology(site, gateway):
    key = {"productKey": "sub", "deviceKey": "s1"}
    assert topo(gateway, "get", {})["data"] == []
    bad = topo(gateway, "add", [one("s1"), one("s2", sign="0")])
    assert bad["code"] == 742 and "sub&s2" in bad["message"]
    assert topo(gateway, "get", {})["data"] == []  # all or none
    wire = {k: v for k, v in one("s1").items() if k not in ("secureMode", "cleanSession", "signMethod")}
    added = topo(gateway, "add", [{**wire, "signmethod": "hmacsha256"}])  # as the SDK for C has it
    assert (added["code"], added["data"]) == (200, {})
    assert topo(gateway, "get", {})["data"] == [key]
    # It speaks for it without a login, and receives for it.
    topic = "/sys/sub/s1/ota/device/"
    eventually(lambda: gateway.subscribe(topic + "inform_reply")[0] < 128)
    gateway.publish(topic + "inform", '{"id":"1","params":{"version":"1.0"}}')
    assert json.loads(gateway.take_topic(topic + "inform_reply").payload)["code"] == 200
    assert gateway.publish("/sys/sub/s2/ota/device/inform", "{}") >= 128
    assert site.query("SELECT gateway, bound FROM device_logins WHERE device='s1'") == [{"gateway": "env/e1", "bound": 1}]
    assert "written by the engine" in site.bare("UPDATE device_topology SET gateway='x/y';\n", check=False).stderr
    # It outlives the broker.
    site.restart()
    wait_device(site, enos("e1"))
    again = site.client(**enos("e1"), version=5)
    assert topo(again, "get", {})["data"] == [key]
    # Another gateway that proves to have it takes it; its own word goes, that of people stays.
    secrets(site, ("env", "e2", SECRET))
    wait_device(site, enos("e2"))
    other = site.client(**enos("e2"), version=5)
    assert topo(other, "add", [one("s1")], "e2")["code"] == 200
    assert topo(again, "get", {})["data"] == [] and topo(other, "get", {}, "e2")["data"] == [key]
    eventually(lambda: again.publish(topic + "inform", "{}") >= 128)
    assert topo(again, "delete", [key])["code"] == 200  # not its own: nothing happens
    assert topo(other, "get", {}, "e2")["data"] == [key]
    assert topo(other, "delete", [key], "e2")["code"] == 200
    eventually(lambda: other.publish(topic + "inform", "{}") >= 128)
    site.sql("UPDATE device SET gateway='env/e1' WHERE name='s1';\n")
    eventually(lambda: topo(again, "delete", [key])["code"] == 744)
    assert topo(again, "get", {})["data"] == [key]
    assert topo(other, "add", [one("s1")], "e2")["code"] == 740
    assert topo(again, "add", [{**one("s1"), "productKey": "env", "deviceKey": "e1"}])["code"] == 740  # itself
    for params in ([], 7, [7], [{}], "x"):
        assert topo(again, "add", params)["code"] == 1220


def test_sub_devices_in_a_batch(site, gateway):
    batch = {"clientId": "gw", "timestamp": 7, "signMethod": "sha256", "subDevices": [
        {"productKey": "sub", "deviceKey": name, "sign": sub_sign(name, "sub")} for name in ("s1", "s2")]}
    reply = sub_login(gateway, "login/batch", batch)
    assert reply["code"] == 200 and len(reply["data"]["loginedSubDevices"]) == 2 and reply["data"]["failedSubDevices"] == []
    batch["subDevices"].append({"productKey": "sub", "deviceKey": "s3", "sign": "0"})
    reply = sub_login(gateway, "login/batch", batch)
    assert reply["code"] == 723 and reply["data"]["failedSubDevices"] == [{"productKey": "sub", "deviceKey": "s3"}]
    assert "sub&s3 has error" in reply["message"]
    assert gateway.publish("ota/v1/sub/s2/up/version", "{}") < 128
    assert gateway.publish("ota/v1/sub/s3/up/version", "{}") >= 128
    for bad in ({**batch, "subDevices": []}, {**batch, "subDevices": 7}, {**batch, "subDevices": [7]}, {**batch, "subDevices": [{}] * 201}):
        assert sub_login(gateway, "login/batch", bad)["code"] == 1220


def test_sessions_are_their_gateways_alone(site, gateway):
    foreign = site.client(**enos("s4", "sub"), version=5)
    topic = SESSION.format("env", "e1", "login")
    assert foreign.publish(topic, json.dumps({"id": "1", "params": one("s1")})) >= 128
    assert foreign.subscribe(topic + "_reply")[0] >= 128
    assert foreign.subscribe(topic)[0] >= 128
    assert gateway.publish(topic + "_reply", "{}") >= 128
    # A sign is worth a login: no reader of '#' gets it.
    historian = site.client("historian", "alice")
    historian.subscribe("#")
    sub_login(gateway, "login", one("s1"))
    historian.ping()
    assert not [m for m in historian.all if m.topic.startswith("/ext/")]
    for payload in (b"", b"\xff", b"[" * 5000, b"x" * 20000, b'{"id":{},"params":{}}'):
        gateway.publish(topic, payload)
    gateway.ping()
