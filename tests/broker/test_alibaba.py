"""Devices of Alibaba's IoT Platform, as their SDKs are, upgrade through the broker."""

import itertools
import json
import time

import pytest

import mqtt
from broker import content, eventually, insert
from clouds import IDENTITY, SECRET, Iotkit, LinkSdk, Mota, signed


@pytest.fixture
def site(make_site):
    return make_site(options=IDENTITY)


def scene(site, module="default", size=9000, product=None, **plan):
    site.product("lamp", (module,), dialect="alibaba", **(product or {}))
    site.package("lamp", module, "2.0.0", content("lamp", size))
    site.plan("spring", "lamp", [(module, f"{module}-2.0.0")], **plan)


def state(site, device="d1"):
    task = site.task(device, product="lamp")
    return task and task["state"]


def test_linksdk_4_upgrades_with_no_subscription(site):
    """004-10 004-66 004-67 004-68"""
    scene(site)
    d = LinkSdk(site)
    d.inform("1.0.0")
    push = d.push()
    data = push["data"]
    assert list(push) == ["code", "data", "id", "message"]
    assert push["code"] == "1000" and push["message"] == "success" and isinstance(push["id"], int)
    assert list(data) == ["size", "sign", "version", "signMethod", "url", "md5"]
    assert data["signMethod"] == "Md5" and data["version"] == "2.0.0"
    assert '": ' not in d.text and "\\/" not in d.text and ", " not in d.text
    assert state(site) == "accepted"
    assert d.upgrade(data) == content("lamp")
    site.wait_task("d1", "succeeded", product="lamp")
    assert site.versions("d1", "lamp") == {"default": "2.0.0"}
    d.no_push()


def test_the_push_comes_two_seconds_after_the_last_report(site):
    scene(site)

    def after_the_second(name):
        """How long the push of a device takes that reports again after a second; nothing if the machine was too slow for that."""
        d = LinkSdk(site, name)
        first = time.monotonic()
        d.inform("1.0.0")
        time.sleep(1)
        second = time.monotonic()
        d.inform("1.0.0")
        push = d.take(d.path("upgrade"))
        return push.at - second if second - first < 1.5 else None
    numbers = itertools.count()
    assert 1.9 < eventually(lambda: after_the_second(f"d{next(numbers)}")) < 10


def test_iotkit_3_reports_two_versions_at_connect(site):
    """Judged one by one, either would take the other's place; together, the last one counts."""
    scene(site, sources=[("default", "iotx_ver_1.1.0")])
    d = Iotkit(site, clean=False)
    d.start("iotx_ver_1.1.0")
    data = d.push()["data"]
    assert site.versions("d1", "lamp") == {"default": "iotx_ver_1.1.0"}
    d.progress(0, "Enter in downloading state")
    d.fetch(data)
    d.client.kill()
    d.connect()
    d.start("2.0.0")
    site.wait_task("d1", "succeeded", product="lamp")
    assert not [m for m in d.client.all if m.topic == d.path("upgrade")]


def connected_again(site, d, report):
    """`d` loses its connection in the download, and has said nothing yet on the next one."""
    scene(site)
    d.connect()
    report()
    d.push()
    d.progress(0)
    site.wait_task("d1", "downloading", product="lamp")
    d.client.kill()
    d.connect()


def goes_on(site, d):
    """The push comes once more, and the task is still in its first attempt."""
    d.push()
    assert state(site) in ("accepted", "downloading")
    assert site.task("d1", product="lamp")["retries"] == 0


def test_two_versions_in_a_reconnect_during_the_upgrade_fail_nothing(site):
    d = Iotkit(site, clean=False, connect=False)
    connected_again(site, d, lambda: d.start("iotx_ver_1.1.0"))
    d.start("iotx_ver_1.1.0")
    goes_on(site, d)


def test_the_sdks_version_alone_on_a_slow_link_fails_nothing(site):
    """iotkit's own version comes four subscriptions before the device's: longer than reports wait for each other."""
    d = Iotkit(site, clean=False, connect=False)
    connected_again(site, d, lambda: d.start("iotx_ver_1.1.0"))
    other = LinkSdk(site, "later")
    d.inform("app-1.0.0-20180101.1000")
    other.inform("1.0.0")
    other.push()  # what was reported before it has waited its two seconds
    d.inform("iotx_ver_1.1.0")
    goes_on(site, d)


def test_a_version_of_somebody_elses_fails_the_task_when_nothing_follows_it(site):
    d = LinkSdk(site, connect=False)
    connected_again(site, d, lambda: d.inform("1.0.0"))
    d.inform("9.9.9")
    site.wait_task("d1", "failed", product="lamp", reason="foreign_version")


def test_a_module_of_its_own(site):
    scene(site, "MCU")
    d = LinkSdk(site)
    d.inform("1.0.0", "MCU")
    data = d.push()["data"]
    assert list(data) == ["size", "module", "sign", "version", "signMethod", "url", "md5"] and data["module"] == "MCU"
    d.progress(0, module="MCU")
    d.progress(100, module="MCU")
    site.wait_task("d1", "downloading", product="lamp")
    d.inform("2.0.0", "MCU")
    site.wait_task("d1", "succeeded", product="lamp")


def test_the_module_default_may_be_said(site):
    scene(site)
    d = LinkSdk(site)
    d.inform("1.0.0", "default")
    assert "module" not in d.push()["data"]


def test_modules_one_after_another(site):
    """000-24 in a dialect without a list of components"""
    site.product("lamp", ("MCU", "default"), dialect="alibaba")
    for module in ("MCU", "default"):
        site.package("lamp", module, "2.0.0", content(module))
    site.plan("spring", "lamp", [("MCU", "MCU-2.0.0"), ("default", "default-2.0.0")])
    d = LinkSdk(site)
    d.inform("1.0.0", "MCU")
    d.inform("1.0.0")
    assert d.push()["data"]["module"] == "MCU"
    d.no_push()
    d.inform("2.0.0", "MCU")
    assert "module" not in d.push()["data"]
    d.inform("2.0.0")
    site.wait_task("d1", "succeeded", product="lamp")


def test_files_more_than_one(site):
    site.product("lamp", ("default",), dialect="alibaba")
    site.package("lamp", "default", "3.0.0", [content("a", 3000), content("b", 5001)])
    site.plan("spring", "lamp", [("default", "default-3.0.0")])
    d = LinkSdk(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    assert list(data) == ["files", "version", "signMethod"]
    assert [list(f) for f in data["files"]] == [["fileSize", "fileName", "fileUrl", "fileMd5", "fileSign"]] * 2
    assert [f["fileSize"] for f in data["files"]] == [3000, 5001]


def test_a_delta_says_so(site):
    site.product("lamp", ("default",), dialect="alibaba")
    site.package("lamp", "default", "2.0.0", kind="delta", sets={"1.0.0": [b"delta"]})
    site.plan("spring", "lamp", [("default", None, "default-2.0.0")])
    d = LinkSdk(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    assert data["isDiff"] == 1
    assert list(data) == ["size", "sign", "version", "signMethod", "url", "isDiff", "md5"]


def test_tags_travel_but_for_those_that_look_like_members(site):
    """004-61"""
    scene(site, tags={"ring": "1", "version": "EVIL"})
    d = LinkSdk(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    assert data["extData"] == {"ring": "1"} and "EVIL" not in d.text
    assert list(data)[:2] == ["size", "extData"]


def test_the_device_asks_and_is_always_answered(site):
    site.product("lamp", ("default",), dialect="alibaba")
    site.package("lamp", "default", "2.0.0", content("lamp"))
    d = LinkSdk(site)
    assert d.query(id=7) == {"id": "7", "code": 200, "data": {}}  # unknown yet
    d.inform("1.0.0")
    assert d.query(id="x-8") == {"id": "x-8", "code": 200, "data": {}}
    assert d.query("\u6a21\u5757\u540d", id=9) == {"id": "9", "code": 200, "data": {}}  # the sample's own
    site.plan("spring", "lamp", [("default", "default-2.0.0")])
    d.push()
    data = d.query(id=9)["data"]
    assert list(data) == ["size", "sign", "version", "signMethod", "url", "md5"] and data["version"] == "2.0.0"
    assert d.query("other", id=10)["data"] == {}
    d.no_push()


def after_the_burst(site, name="later", **arguments):
    """What was reported before has been judged: reports of another device, made now, are judged later."""
    other = LinkSdk(site, name, **arguments)
    other.inform("1.0.0")
    other.push()


def test_a_question_right_behind_the_report_brings_the_task_once(site):
    scene(site)
    d = LinkSdk(site)
    d.inform("1.0.0")
    assert d.query(id=1)["data"]["version"] == "2.0.0"
    d.inform("1.0.0")
    after_the_burst(site)
    d.no_push()
    assert state(site) == "accepted"


@pytest.mark.parametrize("step, reason", [(-1, "device_failed"), (-2, "download_failed"), (-3, "verify_failed"), (-4, "write_failed")])
def test_failures(site, step, reason):
    """004-70"""
    scene(site)
    d = LinkSdk(site)
    d.inform("1.0.0")
    d.push()
    d.progress(0)
    d.progress(step, "no luck")
    task = site.wait_task("d1", "failed", product="lamp")
    assert (task["reason"], task["detail"]) == (reason, "no luck")
    d.inform("2.0.0")  # after all
    site.wait_task("d1", "succeeded", product="lamp")


def test_steps_out_of_range_change_nothing_and_are_counted(site):
    scene(site)
    d = LinkSdk(site)
    d.inform("1.0.0")
    d.push()
    for step in ("101", "-5", "x", "4294967295"):
        d.progress(step)
    d.publish(d.path("progress"), '{"id":1,"params":{"step":33}}', 0)
    site.wait_task("d1", "downloading", product="lamp")
    site.wait_log(r"messages were dropped .*lamp/d1, alibaba progress: 400")


def test_a_flood_of_progress_is_one_row(site):
    scene(site)
    d = LinkSdk(site)
    d.inform("1.0.0")
    d.push()
    d.progress(0)
    site.wait_task("d1", "downloading", product="lamp")
    before = site.one("SELECT count(*) AS n FROM log")["n"]
    for _ in range(20):
        for _ in range(100):
            d.progress(0)
        d.client.ping()

    def arrives():  # a flood fills the device's own share of the inbox
        d.progress(5)
        return site.query("SELECT * FROM task_component WHERE percent=5")
    eventually(arrives)
    assert site.one("SELECT count(*) AS n FROM log")["n"] - before < 5
    other = LinkSdk(site, "d2")
    other.inform("1.0.0")
    other.push()


def logging_in(make_site, *names):
    """A site whose devices log in by their secrets, and them."""
    site = make_site(options={**IDENTITY, "login": "allow"})
    site.product("lamp", ("default",), dialect="alibaba")
    site.package("lamp", "default", "2.0.0", content("lamp"))
    for name in names:
        site.otactl("device", "add", "lamp", name, "--secret-file", "-", stdin=SECRET)
    site.restart()
    devices = [LinkSdk(site, name, connect=False, password=signed(name)) for name in names]
    for device in devices:
        eventually(lambda: logged_in(device))
    return site, *devices


def logged_in(device):
    try:
        return device.connect()
    except (mqtt.Refused, mqtt.Closed):
        return None  # the registry is not loaded yet


def test_who_connects_again_and_says_nothing_is_told(make_site):
    """LinkSDK connects again by itself, and its application does not hear of it: no report, no subscription."""
    site, d, _ = logging_in(make_site, "d1", "later")
    d.inform("1.0.0")
    eventually(lambda: site.versions("d1", "lamp"))
    d.client.kill()
    d.connect()
    d.client.ping()
    site.plan("spring", "lamp", [("default", "default-2.0.0")])
    assert d.push()["data"]["version"] == "2.0.0"
    # It may have lost the message; but not what it has begun.
    d.client.kill()
    d.connect()
    d.push()
    d.progress(0)
    site.wait_task("d1", "downloading", product="lamp")
    d.client.kill()
    d.connect()
    after_the_burst(site, "later", password=signed("later"))
    d.no_push()
    d.client.kill()
    d.connect()
    d.inform("2.0.0")
    site.wait_task("d1", "succeeded", product="lamp")


def test_a_retry_reaches_who_has_connected_again_in_silence(make_site):
    site, d = logging_in(make_site, "d1")
    site.plan("spring", "lamp", [("default", "default-2.0.0")], retry_max=1, retry_interval_s=4)
    d.inform("1.0.0")
    d.push()
    d.progress(0)
    d.progress(-2, "no route")
    site.wait_task("d1", "retrying", product="lamp")
    d.client.kill()
    d.connect()
    d.push()


@pytest.mark.parametrize("act", ["subscribes", "publishes"])
def test_without_logins_a_system_topic_shows_that_it_is_there(site, act):
    scene(site, wanted="draft")
    d = LinkSdk(site)
    d.inform("1.0.0")
    eventually(lambda: site.versions("d1", "lamp"))
    d.client.kill()
    d.connect()
    if act == "subscribes":
        assert d.client.subscribe(d.thing("service/property/set")) == [1]
    else:
        d.publish(d.thing("event/property/post"), "{}", 0)
    site.want("spring", "active")
    assert d.push()["data"]["version"] == "2.0.0"


def test_mqtt_5(site):
    scene(site)
    d = LinkSdk(site, version=5)
    d.inform("1.0.0")
    data = d.push()["data"]
    assert d.query()["data"] == data
    d.upgrade(data)
    site.wait_task("d1", "succeeded", product="lamp")


def test_sub_devices_of_a_gateway(site):
    """They report and receive on its connection; the push has their topic, and comes without a subscription."""
    scene(site)
    site.sql("INSERT INTO device(product, name, gateway) VALUES ('lamp', 'sub1', 'lamp/gw'), ('lamp', 'sub2', 'lamp/gw');")
    gateway = LinkSdk(site, "gw")
    subs = [LinkSdk(site, name, connect=False) for name in ("sub1", "sub2")]
    for sub in subs:
        sub.client = gateway.client
        eventually(lambda: gateway.client.subscribe(sub.thing("service/property/set")) == [1])  # known within a second
        sub.inform("1.0.0")
    gateway.inform("1.0.0")
    for d in (*subs, gateway):
        assert d.push()["data"]["version"] == "2.0.0"
        d.progress(0)
        assert d.query()["data"]["version"] == "2.0.0"
        d.inform("2.0.0")
    for d in (*subs, gateway):
        site.wait_task(d.name, "succeeded", product="lamp")
    # One that is taken over by another gateway ends nobody's connection.
    other = LinkSdk(site, "gw2")
    site.sql("UPDATE device SET gateway='lamp/gw2' WHERE name='sub1';")
    subs[0].client = other.client
    eventually(lambda: other.client.subscribe(subs[0].thing("service/property/set")) == [1])
    subs[0].inform("2.0.1")
    eventually(lambda: site.versions("sub1", "lamp") == {"default": "2.0.1"})
    gateway.client.ping()
    assert "has connected again" not in site.log()


def sub(name, product="lamp", **changes):
    """What LinkSDK's gateways say of a sub-device."""
    return {"productKey": product, "deviceName": name, "clientId": f"{product}.{name}", "timestamp": "2524608000000",
            "signMethod": "hmacsha256", "sign": signed(name, product), "cleanSession": "true", **changes}


def ask(gateway, topic, params):
    """The reply to what a gateway says of its sub-devices."""
    number = str(next(gateway.ids))
    gateway.client.subscribe(topic + "_reply", qos=0)
    gateway.publish(topic, json.dumps({"id": number, "version": "1.0", "params": params}), 0)
    reply = json.loads(gateway.take(topic + "_reply").payload)
    assert list(reply) == ["id", "code", "data", "message"] and reply["id"] == number
    return reply


def test_a_gateway_logs_its_sub_devices_in(make_site):
    """One by one, in a batch, and for good; each proves itself with its own secret, and is told on this connection."""
    site, gateway, *_ = logging_in(make_site, "gw", "s1", "s2", "s3")
    session, system = "/ext/session/lamp/gw/combine/", "/sys/lamp/gw/thing/topo/"
    key = {"productKey": "lamp", "deviceName": "s1"}
    assert ask(gateway, session + "login", sub("s1")) == {"id": "1", "code": 200, "data": key, "message": "success"}
    wrong = ask(gateway, session + "batch_login", {"deviceList": [sub("s2"), sub("s3", sign="0")]})
    assert (wrong["code"], wrong["data"]) == (742, [{**key, "deviceName": "s3"}])
    reply = ask(gateway, session + "batch_login", {"deviceList": [sub("s2")]})
    assert (reply["code"], reply["data"], reply["message"]) == (200, [{**key, "deviceName": "s2"}], "success")
    assert ask(gateway, system + "add", [sub("s3", signmethod="hmacsha256")])["code"] == 200
    assert ask(gateway, system + "get", {})["data"] == [{**key, "deviceName": "s3"}]
    eventually(lambda: gateway.client.subscribe("/sys/lamp/s3/thing/service/property/set") == [1])
    site.plan("spring", "lamp", [("default", "default-2.0.0")])
    for name in ("s1", "s2", "s3"):
        d = LinkSdk(site, name, connect=False)
        d.client = gateway.client
        d.inform("1.0.0")
        assert d.push()["data"]["version"] == "2.0.0"
        d.inform("2.0.0")
        site.wait_task(name, "succeeded", product="lamp")
    assert ask(gateway, session + "logout", key)["code"] == 200
    assert ask(gateway, session + "batch_logout", [{**key, "deviceName": "s2"}])["code"] == 200
    assert ask(gateway, system + "delete", [{**key, "deviceName": "s3"}])["code"] == 200
    assert gateway.client.subscribe("/sys/lamp/s1/thing/service/property/set", "/sys/lamp/s2/thing/service/property/set") == [128, 128]
    assert SECRET not in site.log()


def test_a_gateway_may_subscribe_to_whatever_its_sub_device_could(make_site):
    """The npm package subscribes to sixteen topics of each that has logged in. To ask in its name is another matter."""
    site, gateway, *_ = logging_in(make_site, "gw", "s1", "s2")
    assert ask(gateway, "/ext/session/lamp/gw/combine/login", sub("s1"))["code"] == 200
    names = [f"/ext/session/lamp/{{}}/combine/{name}_reply" for name in ("login", "logout")] + [
        f"/sys/lamp/{{}}/thing/{name}_reply" for name in ("topo/add", "topo/delete", "topo/get", "sub/register")]
    assert gateway.client.subscribe(*[name.format("s1") for name in names], qos=0) == [0] * 6
    assert "is denied" not in site.log()
    assert gateway.client.subscribe(*[name.format("s2") for name in names], qos=0) == [128] * 6
    request = "/ext/session/lamp/s1/combine/login"
    gateway.publish(request, json.dumps({"id": "7", "params": sub("s2")}), 1)
    gateway.nothing(request + "_reply")
    assert gateway.client.subscribe("/sys/lamp/s2/thing/service/property/set") == [128]


def test_a_gateway_may_say_the_method_once_for_a_list(make_site):
    """As LinkSDK 4.x does, beside the list; and not in the devices."""
    site, gateway, *_ = logging_in(make_site, "gw", "s1", "s2")
    listed = [sub(name) for name in ("s1", "s2")]
    for one in listed:
        del one["signMethod"]
    reply = ask(gateway, "/ext/session/lamp/gw/combine/batch_login", {"signMethod": "hmacSha256", "deviceList": listed})
    assert (reply["code"], [one["deviceName"] for one in reply["data"]]) == (200, ["s1", "s2"])


def test_a_gateway_that_subscribes_to_nothing_is_answered(make_site):
    """LinkSDK 4.x: its cloud answers without a subscription. One that has subscribed gets the answer once."""
    site, gateway, _ = logging_in(make_site, "gw", "s1")
    session, system = "/ext/session/lamp/gw/combine/", "/sys/lamp/gw/thing/topo/"
    key = {"productKey": "lamp", "deviceName": "s1"}

    def told(topic, params):
        gateway.publish(topic, json.dumps({"id": "7", "version": "1.0", "params": params}), 0)
        return json.loads(gateway.take(topic + "_reply").payload)
    assert told(system + "add", [sub("s1")]) == {"id": "7", "code": 200, "data": {}, "message": "success"}
    assert told(system + "get", "{}")["data"] == [key]
    assert told(session + "batch_login", {"deviceList": [sub("s1")]})["data"] == [key]
    assert told(session + "batch_login", [])["code"] == 1220
    gateway.client.subscribe(session + "#")
    assert told(session + "batch_logout", [key])["code"] == 200
    gateway.client.ping()
    assert not gateway.client.messages


def test_a_gateway_that_subscribes_to_nothing_gets_so_many_answers_an_hour(make_site):
    site, gateway = logging_in(make_site, "gw")
    topic = "/ext/session/lamp/gw/combine/logout"
    for _ in range(240):
        gateway.publish(topic, '{"id":"1","params":{"productKey":"lamp","deviceName":"s1"}}', 0)
        gateway.take(topic + "_reply")
    gateway.publish(topic, '{"id":"2","params":{"productKey":"lamp","deviceName":"s1"}}', 0)
    gateway.client.ping()
    gateway.client.ping()
    assert not gateway.client.messages
    assert ask(gateway, topic, {"productKey": "lamp", "deviceName": "s1"})["code"] == 200


def test_a_device_in_upgrade_is_not_told_again(site):
    scene(site)
    d = LinkSdk(site)
    d.inform("1.0.0")
    d.push()
    d.progress(10)
    d.inform("1.0.0")
    site.sql("UPDATE product SET remarks='x' WHERE name='lamp';")  # plans are looked at
    after_the_burst(site)
    d.no_push()
    # The connection breaks, the download beside it goes on.
    d.client.kill()
    d.connect()
    d.progress(20)
    d.inform("1.0.0")
    after_the_burst(site, "later2")
    d.no_push()


def test_back_on_the_old_version_after_100_is_a_failed_attempt(site):
    """004-71"""
    scene(site, grace_s=0)
    d = LinkSdk(site)
    d.inform("1.0.0")
    d.push()
    d.progress(100)
    site.wait_task("d1", "downloading", product="lamp")
    d.client.kill()
    d.connect()
    d.inform("1.0.0")
    task = site.wait_task("d1", "failed", product="lamp", timeout=180)
    assert task["reason"] == "rolled_back"


def test_manual_mode_tells_the_device_nothing_before_the_consent(site):
    scene(site, mode="manual", texts={"en": "New", "zh": "New"})
    d = LinkSdk(site)
    d.inform("1.0.0")
    eventually(lambda: state(site))  # what it said has been judged
    assert d.query()["data"] == {}
    d.no_push()
    assert site.request("consent", product="lamp", device="d1", plan="spring")["state"] == "done"
    assert d.push()["data"]["version"] == "2.0.0"


def test_a_second_login_ends_the_first(site):
    scene(site)
    first = LinkSdk(site)
    first.inform("1.0.0")
    first.push()
    second = LinkSdk(site)
    second.inform("1.0.0")
    first.client.wait_closed()
    second.push()
    second.client.ping()
    site.wait_log("lamp/d1 has connected again")


def test_a_file_over_mqtt(site):
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    push = d.push()
    data = push["data"]
    assert list(data) == ["size", "streamId", "sign", "dProtocol", "version", "signMethod", "streamFileId", "md5"]
    assert data["dProtocol"] == "mqtt"
    assert d.download(data) == content("lamp", 50001)
    # LinkSDK up to mid-2023: UNSUBSCRIBE with wrong flags; the broker ends the connection.
    d.client.send_raw(b"\xa0\x04\x00\x09\x00\x00")
    d.client.wait_closed()
    d.connect()
    d.inform("2.0.0")
    site.wait_task("d1", "succeeded", product="lamp")


def test_a_device_that_goes_on_with_a_file_over_mqtt_is_not_told_again(site):
    """A push would begin a second download beside the first."""
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    d.subscribe()
    d.block(data, 0)
    d.client.kill()
    d.connect()
    d.subscribe()
    d.block(data, 10240)
    d.inform("1.0.0")
    after_the_burst(site)
    d.no_push()


def test_a_device_that_connects_again_gets_its_blocks_without_a_subscription(site):
    """LinkSDK subscribes when a download begins, and not again when it has connected again: its clean session is gone."""
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    d.subscribe()
    image = d.block(data, 0)[1]
    d.client.kill()
    d.connect()
    while len(image) < data["size"]:
        image += d.block(data, len(image), min(10240, data["size"] - len(image)))[1]
    assert image == content("lamp", 50001)
    assert len(d.client.all) == 4  # each once


def test_who_subscribes_to_no_block_gets_so_many_in_a_connection(site):
    """What the broker drops of a message to a client that reads nothing, it would keep for ever."""
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    for n in range(0, 600, 10):
        for i in range(n, n + 10):
            d.ask(data, i, 16, id=str(i))
        assert {d.frame()[0]["id"] for _ in range(10)} == {str(i) for i in range(n, n + 10)}
    admin = site.client("admin", "admin")
    admin.subscribe(d.thing("file/download_reply"))
    d.ask(data, 0, 16)
    admin.take_topic(d.thing("file/download_reply"))  # for whoever has subscribed
    d.nothing(d.thing("file/download_reply"))
    d.subscribe()
    assert d.block(data, 900, 16)[1] == content("lamp", 50001)[900:916]


def test_a_session_that_stays_gets_blocks_by_its_subscription_alone(site):
    """Its queue may be full of blocks from before."""
    scene(site, size=50001, product={"http": 0})
    d = Mota(site, clean=False)
    d.inform("1.0.0")
    data = d.push()["data"]
    admin = site.client("admin", "admin")
    admin.subscribe(d.thing("file/download_reply"))
    d.ask(data, 0)
    admin.take_topic(d.thing("file/download_reply"))  # for whoever has subscribed
    d.nothing(d.thing("file/download_reply"))
    d.subscribe()
    assert d.block(data, 0)[1] == content("lamp", 50001)[:10240]


def test_the_packages_custom_info_is_a_tag(site):
    """`_package_udi`: text, often JSON itself, whose quotes are escaped as LinkSDK wants it."""
    scene(site, tags={"_package_udi": '{"version":"9"}', "ring": "1"})
    d = LinkSdk(site)
    d.inform("1.0.0")
    assert d.push()["data"]["extData"] == {"_package_udi": '{"version":"9"}', "ring": "1"}
    assert '"extData":{"_package_udi":"{\\"version\\":\\"9\\"}","ring":"1"}' in d.text


def test_blocks_in_any_order_and_errors(site):
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    d.subscribe()
    whole = content("lamp", 50001)
    assert d.block(data, 50000, 256)[1] == whole[50000:]
    assert d.block(data, 0, 131072)[1] == whole
    header, block = d.block(data, 777, 256, id="abc")
    assert (header["id"], block) == ("abc", whole[777:1033])
    for offset, size, code in ((50001, 256, 416), (16777217, 256, 416), (0, 131073, 400), (0, 0, 400)):
        header, block = d.block(data, offset, size)
        assert header["code"] == code and header["msg"] and "data" not in header and not block
    assert d.block({**data, "streamId": 999999}, 0)[0]["code"] == 404
    assert d.block({**data, "streamFileId": 2}, 0)[0]["code"] == 404


def test_while_everything_is_stopped_a_block_is_not_answered(site):
    """LinkSDK asks four times in a burst after an error, and gives up; unanswered it asks again after ten seconds, and goes
    on: it is not told again."""
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    d.subscribe()
    d.block(data, 0)
    site.sql(insert("setting", name="stopped", value="smoke"))
    site.wait_log("audit everything is stopped")
    d.ask(data, 10240, id="2")
    assert d.block(data, 0, 0, id="3")[0] == {"id": "3", "code": 400, "msg": "params.fileBlock.size: must be an integer from 1 to 131072"}
    site.sql("DELETE FROM setting WHERE name='stopped';")
    site.wait_log("audit everything goes on")
    assert d.block(data, 10240, id="4")[1] == content("lamp", 50001)[10240:20480]
    d.no_push()


def test_a_block_is_sent_once_when_the_request_comes_twice(site):
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    d.subscribe()
    for _ in range(3):
        d.ask(data, 0, id="4", qos=1)
    d.frame()
    assert d.block(data, 10240, id="5", qos=1)[0]["id"] == "5"


def test_blocks_that_are_asked_for_at_once_all_come(site):
    """No SDK does that; as many as the inbox takes of a device."""
    scene(site, size=50001, product={"http": 0})
    d = Mota(site)
    d.inform("1.0.0")
    data = d.push()["data"]
    d.subscribe()
    d.block(data, 0)
    with site.locked():  # so that they are judged together
        for n in range(60):
            d.ask(data, 256 * n, 256, id=str(n + 2), qos=1)
    assert sorted(d.frame()[0]["data"]["bOffset"] for _ in range(60)) == [256 * n for n in range(60)]  # two workers read


def test_a_file_that_is_too_long_for_mqtt_waits_with_a_reason(site):
    scene(site, size=(16 << 20) + 1, product={"http": 0})
    d = LinkSdk(site)
    d.inform("1.0.0")
    task = site.wait_task("d1", "queued", product="lamp", reason="no_delivery")
    assert "16777217" in task["detail"] and "16777216" in task["detail"]
    d.no_push()


def test_who_subscribes_to_nothing_gets_so_many_messages_an_hour(site):
    """What the broker cannot deliver of them it would keep for ever. That it asks in vain keeps no push from a device."""
    scene(site, wanted="draft")
    d = LinkSdk(site)
    for _ in range(240):
        assert d.query()["data"] == {}
    d.publish(d.thing("ota/firmware/get"), '{"id":1,"params":{}}', 0)
    site.wait_log("lamp/d1 has been sent 240 answers within an hour")
    d.client.ping()
    assert len(d.client.all) == 240
    d.inform("1.0.0")
    site.want("spring", "active")
    d.push()


def test_reports_in_hand_survive_the_end_of_the_broker(site):
    scene(site)
    d = LinkSdk(site)
    d.inform("1.5.0")
    d.client.ping()
    site.stop()
    assert site.versions("d1", "lamp") == {"default": "1.5.0"}


def test_the_legacy_request_is_a_report(site):
    scene(site)
    d = LinkSdk(site)
    d.client.subscribe(d.path("request"))
    d.publish(d.path("request"), '{"id":0,"params":{"version":"1.0.0"}}', 1)
    assert d.push()["data"]["version"] == "2.0.0"
    d.publish(d.path("request"), "hello", 1)
    d.client.ping()


def test_own_system_topics_are_allowed_and_nothing_leaks(site):
    """Own system topics are allowed, another device's are not, and nothing of OTA leaks."""
    scene(site)
    d, evil = LinkSdk(site), LinkSdk(site, "evil")
    own = ["/sys/lamp/d1/thing/event/property/post_reply", "/sys/lamp/d1/thing/event/+/post_reply", "/sys/lamp/d1/rrpc/request/+",
           "/shadow/get/lamp/d1", "/ext/session/lamp/d1/combine/login_reply", "/ota/device/upgrade/lamp/d1", "/sys/lamp/d1/#",
           "/sys/lamp/d1/thing/file/download_reply"]
    assert all(code < 128 for code in d.client.subscribe(*own))
    assert all(code >= 128 for code in evil.client.subscribe(*own, "/sys/#", "/sys/lamp/+/thing/event/property/post", "/ota/device/#",
                                                             "/ota/device/upgrade/lamp/+"))
    historian = site.client("historian", "historian")
    assert historian.subscribe("#") == [1]
    historian.subscribe("/sys/+/+/thing/event/property/post")
    evil.publish("/ota/device/inform/lamp/d1", '{"id":1,"params":{"version":"6.6.6"}}', 1)
    evil.publish("/sys/lamp/d1/thing/event/property/post", "{}", 1)
    d.inform("1.0.0")
    d.publish("/sys/lamp/d1/thing/event/property/post", "{}", 1)
    d.push()
    historian.take_topic("/sys/lamp/d1/thing/event/property/post")
    historian.ping()
    assert not [m for m in historian.all if "ota" in m.topic]
    assert site.versions("d1", "lamp") == {"default": "1.0.0"}


def test_system_topics_are_allowed_on_a_broker_that_denies_all_else(make_site):
    site = make_site(options={**IDENTITY, "acl_other": "defer"})
    scene(site)
    d = LinkSdk(site)
    assert d.client.subscribe("/sys/lamp/d1/thing/service/property/set", "/shadow/get/lamp/d1") == [1, 1]
    assert d.client.subscribe("/sys/lamp/d2/thing/service/property/set", "/shadow/get/lamp/d2") == [128, 128]
    d.publish("/sys/lamp/d1/thing/event/property/post", "{}", 1)
    assert "publishes to" not in site.log()
