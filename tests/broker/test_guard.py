"""Who may send and read what. Hostile clients get nothing, hear nothing and harm nobody; whatever is no OTA topic
behaves exactly as in a broker without the plugin, beside every kind of access control."""

import json
import pathlib
import shutil
import struct
import subprocess

import pytest

import mqtt
from broker import eventually
from device import Device

UP, DOWN = "ota/v1/pump/victim/up/version", "ota/v1/pump/victim/down/plan"
REPORT = '{"id":"1","components":{"main":"0.1"}}'


@pytest.fixture
def scene(site):
    """A site with a plan, a victim that is connected but has not reported yet, and a hostile device."""
    site.pump()
    victim = Device(site, "victim")
    evil = site.client("evil", "pump/evil", version=5)
    yield site, victim, evil
    # Whatever happened: the victim is untouched and upgrades.
    assert site.alive()
    assert site.device_row("victim") is None
    assert victim.report()["code"] == 200
    assert victim.take("plan")["plan"] == "spring"
    assert victim.kinds() == ["plan", "reply"]


def silence(client):
    """After a barrier nothing of the OTA topics is here but replies to itself."""
    client.ping()
    return [m for m in client.all if m.topic.startswith("ota/") and not m.topic.startswith("ota/v1/pump/evil/down/reply")]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("topic", [UP, "ota/v1/pump/victim/up/confirm", "ota/v1/pump/victim/up/progress", "ota/v1/pump/victim/up/block",
                                   DOWN, "ota/v1/pump/victim/down/reply", "ota/v1/pump/victim/down/block/b3/0",
                                   "ota/v1/pump/victim/up/nosuch", "ota/v1/pump/victim", "ota/v1/pump/victim/up/version/"])
def test_publishing_on_another_devices_topics(scene, topic, qos):
    """[N-1] [N-3]"""
    site, victim, evil = scene
    code = evil.publish(topic, REPORT, qos=qos)
    assert code is None or code >= 128
    evil.ping()
    assert not victim.waiting()


@pytest.mark.parametrize("filters", [
    ["ota/v1/pump/victim/down/#"], ["ota/v1/pump/victim/down/plan"], ["ota/v1/pump/+/down/plan"], ["ota/v1/+/victim/down/#"],
    ["ota/v1/pump/#"], ["ota/v1/#"], ["ota/v1/+/+/up/version"], ["$share/g/ota/v1/pump/victim/down/#"], ["$share/g/ota/v1/#"],
["ota/v1/pump/evi/#"], ["ota/v1/pump/evilx/#"], ["ota/v1/pump/victim/up/version"]])
def test_subscribing_to_other_devices(scene, filters):
    """[N-4]"""
    site, victim, evil = scene
    codes = evil.subscribe(*filters)
    assert all(code >= 128 for code in codes), codes
    victim.client.publish(victim.topic("up/confirm"), '{"task":"abcdefgh","accept":true,"id":"9"}')
    victim.reply("9")
    victim.client.all.clear()
    assert silence(evil) == []


@pytest.mark.parametrize("filters", [["#"], ["+/#"], ["+/v1/pump/victim/down/#"], ["ota/+/pump/victim/#"], ["+/+/+/+/+/+"],
                                     ["$share/g/#"], ["$share/g/+/v1/#"], ["ota/#"]])
def test_other_filters_are_left_alone_but_hear_no_ota_message(scene, filters):
    """[N-4]"""
    site, victim, evil = scene
    # [N-4] `ota/#` and `ota/+/...`: text before the first wildcard is not inside ota/v1/
    assert all(code < 128 for code in evil.subscribe(*filters))
    victim.client.publish(victim.topic("up/confirm"), '{"task":"abcdefgh","accept":true,"id":"9"}')
    victim.reply("9")
    victim.client.all.clear()
    assert silence(evil) == []


def test_a_subscribe_of_many_filters_gives_each_its_own_answer(scene):
    site, victim, evil = scene
    own, foreign, other = "ota/v1/pump/evil/down/#", "ota/v1/pump/victim/#", "plant/#"
    codes = evil.subscribe(foreign, own, other, foreign, "#")
    assert [code < 128 for code in codes] == [False, True, True, False, True]


def test_retained_messages(scene):
    """[N-2]: an uplink is never retained, a retained message under down/ is refused."""
    site, victim, evil = scene
    assert evil.publish(DOWN, "{}", retain=True) >= 128
    evil.publish("ota/v1/pump/evil/up/version", '{"components":{"main":"2.0"}}', retain=True)
    eventually(lambda: site.device_row("evil"))
    admin = site.admin("ota/v1/#")
    admin.ping()
    assert not admin.messages


def test_a_retained_will_is_not_heard_by_those_who_come_later(scene):
    """On a device's own topic: no MESSAGE event clears its mark."""
    site, victim, evil = scene
    site.client("evil2", "pump/evil", will=mqtt.Will("ota/v1/pump/evil/up/version", REPORT, 1, True)).kill()
    site.wait_log(r"Client evil2 (closed|disconnected|\[.*disconnected)|Socket error on client evil2")
    for late in (site.admin("ota/v1/#"), site.client("evil3", "pump/evil")):
        late.subscribe("ota/v1/pump/evil/#")
        late.ping()
        assert not late.messages


@pytest.mark.parametrize("topic, user", [("ota/v1/pump/d1/down/plan", "pump/d1"), ("/ota/device/upgrade/pump/d1", "pump/d1"),
                                         ("ota/v1/pump/d1/up/version", "admin")])
def test_what_was_retained_before_the_plugin_came_is_heard_by_nobody(make_site, topic, user):
    """[N-2] [N-3]: no OTA message is retained, and only the plugin publishes under down/."""
    site = make_site(plugin=False, persistence=True)
    site.client("evil").publish(topic, "{}", retain=True)
    site.client("evil2").publish("plant/x", "1", retain=True)
    site.plugin = True
    site.restart()
    client = site.client("c", user)
    assert client.subscribe(topic, "plant/#") == [1, 1]
    client.ping()
    assert [m.topic for m in client.all] == ["plant/x"]


@pytest.mark.parametrize("topic", [UP, DOWN, "ota/v1/pump/victim/down/cancel"])
@pytest.mark.parametrize("retain", [False, True])
def test_wills(scene, topic, retain):
    """A will is sent after the disconnect, and fires no MESSAGE event."""
    site, victim, evil = scene
    admin = site.admin("ota/#")
    will = mqtt.Will(topic, REPORT, 1, retain)
    try:
        with_will = site.client("evil2", "pump/evil", will=will)
        with_will.kill()
    except mqtt.Refused:
        pass
    site.client("x", "pump/x").ping()
    admin.ping()
    assert not [m for m in admin.messages if m.topic == topic]


@pytest.mark.parametrize("level", ["", "x" * 65, "x" * 60000, "a b", "a\u00e4", "a\u0001", "..", "%2e", "victim "])
def test_levels_that_are_no_names(scene, level):
    """[N-1]: empty and over-long levels"""
    site, victim, evil = scene
    try:
        code = evil.publish(f"ota/v1/pump/{level}/up/version", REPORT)
        assert code >= 128
        evil.subscribe(f"ota/v1/pump/{level}/down/#")
        evil.ping()
    except mqtt.Closed:
        pass  # the broker itself ends a connection for a malformed topic
    if level != "..":
        assert not site.query("SELECT * FROM device_state")


@pytest.mark.parametrize("topic", [b"ota/v1/pump/\xff\xfe/up/version", b"ota/v1/pump/vic\x00tim/up/version", b"ota/v1/\xc0\xaf/victim/up/version"])
def test_topics_that_are_no_utf_8(scene, topic):
    site, victim, evil = scene
    body = struct.pack("!H", len(topic)) + topic + struct.pack("!H", 1) + b"\0" + REPORT.encode()
    evil.send_raw(mqtt.packet(mqtt.PUBLISH, 2, body))
    evil.wait_closed()


@pytest.mark.parametrize("user", [None, "", "pump", "pump/", "/victim", "pump/victim/", "pump//victim", "pump/victim\u00e4",
                                  "pump/" + "x" * 65, "x" * 70 + "/victim", "PUMP/victim", "pump/Victim"])
def test_names_that_are_nearly_the_victims(site, user):
    site.pump()
    admin = site.admin("#")
    c = site.client("victim", user, version=5)
    assert c.publish(UP, REPORT) >= 128
    assert [code >= 128 for code in c.subscribe("ota/v1/pump/victim/down/#")] == [True]
    c.publish("plant/x", "1")
    admin.take_topic("plant/x")
    assert not [m for m in admin.all if m.topic.startswith("ota/")]


def test_own_downlinks_cannot_be_forged_for_oneself(scene):
    """[N-3]: only the plugin publishes under down/, also under one's own."""
    site, victim, evil = scene
    evil.subscribe("ota/v1/pump/evil/down/#")
    assert evil.publish("ota/v1/pump/evil/down/plan", "{}") >= 128
    evil.ping()
    assert not [m for m in evil.all if m.topic.endswith("/plan")]


def test_mqtt_3_clients_are_denied_in_silence(scene):
    site, victim, evil = scene
    old = site.client("evil3", "pump/evil")
    assert old.publish(UP, REPORT) == 0  # PUBACK is all that 3.1.1 knows
    old.ping()


def test_topic_alias_and_dollar_topics(scene):
    site, victim, evil = scene
    body = mqtt.string(UP) + struct.pack("!H", 5) + b"\x03\x23\x00\x01" + REPORT.encode()
    evil.send_raw(mqtt.packet(mqtt.PUBLISH, 2, body))
    assert evil._acked(mqtt.PUBACK, 5) >= 128
    body = mqtt.string("") + struct.pack("!H", 6) + b"\x03\x23\x00\x01" + REPORT.encode()
    try:
        evil.send_raw(mqtt.packet(mqtt.PUBLISH, 2, body))
        assert evil._acked(mqtt.PUBACK, 6) >= 128
    except mqtt.Closed:
        pass
    other = site.client("evil4", "pump/evil", version=5)
    other.publish("$ota/v1/pump/victim/up/version", REPORT)
    other.subscribe("$ota/#", "$/#", "$")
    other.ping()


def test_a_device_cannot_be_spoken_for_by_its_client_id(scene):
    site, victim, evil = scene
    liar = site.client("pump:victim2", "pump/evil", version=5)
    assert liar.publish(UP, REPORT) >= 128


def test_administrators_read_everything_but_speak_for_nobody(site):
    site.pump()
    admin = site.admin("ota/v1/#", version=5)
    d = Device(site)
    d.report()
    admin.take_topic(d.topic("up/version"))
    admin.take_topic(d.topic("down/plan"))
    admin.take_topic(d.topic("down/reply"))
    assert not [m for m in admin.all if m.retain]
    assert admin.publish(d.topic("down/plan"), "{}") >= 128
    assert admin.publish(d.topic("up/version"), REPORT) >= 128


def test_a_historian_gets_everything_but_the_ota_topics(site):
    site.pump()
    historian = site.client("historian", "historian")
    assert historian.subscribe("#") == [1]
    d = Device(site)
    d.upgrade()
    d.client.publish("plant/a", "1")
    d.client.publish("ota", "2")
    d.client.publish("ota/v2/x", "3")
    historian.take_topic("ota/v2/x")
    assert [m.topic for m in historian.all] == ["plant/a", "ota", "ota/v2/x"]


def test_a_guard_that_only_reports(make_site):
    site = make_site(options={"guard": "report"})
    site.pump()
    victim = Device(site, "victim")
    spy = site.client("spy", "pump/spy", version=5)
    size = len(site.log())
    assert spy.subscribe("ota/v1/pump/victim/down/#")[0] < 128
    site.wait_log("(?i)ota: .*(would|guard).*victim", start=size)
    victim.report()
    spy.take_topic(victim.topic("down/plan"))  # it is only reported
    assert site.alive()


def test_a_guard_that_only_reports_lets_the_requests_of_gateways_pass(make_site):
    site = make_site(options={"guard": "report", "login": "allow"})
    listener, spy = site.client("listener"), site.client("spy", "pump/spy", version=5)
    assert listener.subscribe("/ext/session/#") == [1]
    for word in ("login", "login_reply"):
        topic = f"/ext/session/ap/victim/combine/{word}"
        assert spy.publish(topic, "{}", retain=True) < 128
        assert not listener.take_topic(topic).retain
    assert site.client("late").subscribe("/ext/session/#") == [1]
    site.wait_log("ota: .*would be denied: uses '/ext/session/ap/victim/combine/login")


# ---------------------------------------------------------------------------------------------- bridges

def bridged(make_site, options=None):
    site = make_site(options=options)
    far = make_site(plugin=False, lines=[f"connection far-bridge\naddress 127.0.0.1:{site.port}\nclientid far-bridge\n"
                                         "topic ota/# out 1\ntopic ota/# in 1\ntopic plant/# both 1\nrestart_timeout 1"])
    return site, far


def test_what_a_bridge_brings_is_refused(make_site):
    site, far = bridged(make_site)
    site.pump()
    near = site.client("n", "n")
    near.subscribe("plant/#")
    d = far.client("d1", "pump/d1")
    eventually(lambda: d.publish("plant/x", "1") == 0 and near.find(lambda m: m.topic == "plant/x"))
    d.publish("ota/v1/pump/d1/up/version", REPORT)
    d.publish("plant/y", "1")
    near.take_topic("plant/y")
    assert site.device_row("d1") is None


def test_a_bridge_that_the_configuration_names_acts_for_its_devices(make_site):
    site, far = bridged(make_site, {"bridges": "far-bridge"})
    site.pump()
    d = Device(far, "d1", connect=False)
    d.connect()
    near = site.client("n", "n")
    near.subscribe("plant/#")
    eventually(lambda: d.client.publish("plant/x", "1") == 0 and near.find(lambda m: m.topic == "plant/x"))
    assert d.report()["code"] == 200
    assert d.take("plan")["plan"] == "spring"


# ---------------------------------------------------------------------------------------------- identity

@pytest.mark.parametrize("rule, client_id, user", [
    ("username {product}/{device}", "any", "pump/d1"),
    ("username {device}@{product}", "any", "d1@pump"),
    ("clientid {device} product=pump", "d1", "whoever"),
    ("clientid {product}:{device}", "pump:d1", None),
])
def test_identity_rules(make_site, rule, client_id, user):
    site = make_site(options={"identity": rule})
    site.pump()
    assert Device(site, client_id=client_id, user=user).report()["code"] == 200
    stranger = site.client("stranger", "stranger", version=5)
    assert stranger.publish("ota/v1/pump/d1/up/version", REPORT) >= 128


def test_the_first_identity_rule_that_matches_wins(make_site):
    site = make_site(options={"identity": ["username {product}/{device}", "clientid {device} product=meter"]})
    site.pump()
    site.product("meter")
    assert Device(site, client_id="d9", user="pump/d1").report()["code"] == 200
    assert Device(site, "d9", "meter", client_id="d9", user="x").report()["code"] == 200


def test_an_open_broker_is_told_that_identity_is_a_claim(make_site):
    site = make_site()
    site.wait_log("(?i)ota: .*(claim|anonymous|not authenticated|open)")


# ---------------------------------------------------------------------------------------------- all other topics

def behaviour(site, users):
    """What happens to topics that are not OTA's, for clients with and without a name, as a list to compare."""
    seen = []
    for user, password in users:
        try:
            a = site.client("", user, password=password, version=5)
        except mqtt.Refused as refused:
            seen.append((user, "refused", refused.code))
            continue
        filters = ["#", "plant/+/x", "denied/#", "secret/a", "$share/g/plant/#", "ota", "ota/", "ota/v2/#", "otav1/x", "$SYS/broker/version"]
        seen.append((user, "subscribe", a.subscribe(*filters)))
        for topic in ("plant/1/x", "denied/x", "secret/a", "ota", "ota/", "ota/v2/x", "otav1/x", "/ota/v1/x"):
            for qos in (0, 1, 2):
                for retain in (False, True):
                    code = a.publish(topic, f"{qos}{retain}", qos=qos, retain=retain)
                    seen.append((user, topic, qos, retain, code))
        a.ping()
        seen.append((user, "got", [(m.topic, m.payload, m.qos) for m in a.all if not m.topic.startswith("$")]))
        late = site.client("", user, password=password, will=mqtt.Will("plant/will", "w", 1))
        late.subscribe("plant/#", "secret/#")
        late.ping()
        seen.append((user, "retained", sorted((m.topic, m.retain) for m in late.all)))
        a.all.clear()
        late.kill()
        a.subscribe("plant/will")
        seen.append((user, "unsubscribe", a.unsubscribe("plant/+/x")))
        a.close()
    return seen


ACL = "topic readwrite plant/#\ntopic read ota/v2/#\ntopic readwrite ota\nuser ann\ntopic readwrite secret/#\npattern readwrite own/%u/#\n"


def test_other_topics_on_an_open_broker(make_site):
    users = [(None, None), ("ann", None), ("pump/d1", None)]
    assert behaviour(make_site(options={"acl_other": "allow"}), users) == behaviour(make_site(plugin=False), users)


def test_other_topics_beside_an_acl_file(make_site):
    users = [(None, None), ("ann", None), ("pump/d1", None)]
    common = {"after": ["acl_file {directory}/acl"], "files": {"acl": ACL}}
    with_plugin = make_site(options={"acl_other": "defer"}, **common)
    assert behaviour(with_plugin, users) == behaviour(make_site(plugin=False, **common), users)
    with_plugin.pump()
    Device(with_plugin).upgrade()
    with_plugin.signal(1)
    with_plugin.wait_log("(?i)reload")
    assert with_plugin.client("", "bob", version=5).publish("secret/a", "x") >= 128  # a reload does not open the broker
    d = Device(with_plugin, "d2")
    d.upgrade()


def test_the_default_fails_closed_and_says_why(make_site):
    site = make_site(options={"acl_other": None})
    c = site.client("c", "ann", version=5)
    assert c.publish("plant/x", "1") >= 128
    site.wait_log("(?i)ota: .*acl_other")
    site.pump()
    Device(site).upgrade()


def dynamic_security(directory):
    plugin = next(iter(pathlib.Path("/usr/lib").glob("*/mosquitto_dynamic_security.so")), None)
    if not plugin or not shutil.which("mosquitto_ctrl"):
        pytest.skip("Mosquitto's dynamic-security plugin is not installed")
    path = directory / "dynsec.json"
    subprocess.run(["mosquitto_ctrl", "dynsec", "init", str(path), "root", "secret"], check=True, capture_output=True)
    config = json.loads(path.read_text())
    config["roles"].append({"rolename": "plant", "acls": [
        {"acltype": kind, "topic": "plant/#", "priority": 0, "allow": True}
        for kind in ("publishClientSend", "publishClientReceive", "subscribePattern")]})
    template = next(c for c in config["clients"] if c["username"] == "root")
    for name in ("ann", "pump/d1"):
        config["clients"].append({**template, "username": name, "roles": [{"rolename": "plant"}]})
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return [f"plugin {plugin}", f"plugin_opt_config_file {path}"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_other_topics_beside_dynamic_security(make_site, tmp_path, order):
    users = [(None, None), ("ann", "secret"), ("pump/d1", "secret"), ("ann", "wrong")]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    plain = make_site(tmp_path / "one", plugin=False, anonymous=False, lines=dynamic_security(tmp_path / "one"))
    where = {"lines" if order == "before" else "after": dynamic_security(tmp_path / "two")}
    site = make_site(tmp_path / "two", options={"acl_other": "defer"}, anonymous=False, **where)
    assert behaviour(site, users) == behaviour(plain, users)
    site.pump()
    Device(site, password="secret").upgrade()


def test_clients_of_other_topics_are_not_authenticated_differently(make_site):
    """Registering for authentication without need would reject named clients on an open broker."""
    site = make_site()
    for user, password in ((None, None), ("anybody", None), ("anybody", "any"), ("pump/d1", "any")):
        site.client("", user, password=password).ping()
