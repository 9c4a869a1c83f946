"""Devices of EnOS and DECADA, as their SDKs are, upgrade through the broker."""

import json
import os

import pytest

from broker import content
from clouds import IDENTITY, Enos, EnosJava


@pytest.fixture
def site(make_site):
    return make_site(options=IDENTITY)


def scene(site, component="default", size=9000, product=None, **plan):
    site.product("pkA", (component,), dialect="enos", **(product or {}))
    site.package("pkA", component, "1.1", content("meter", size))
    site.plan("spring", "pkA", [(component, f"{component}-1.1")], **plan)


def state(site, device="dk1"):
    task = site.task(device, product="pkA")
    return task and task["state"]


def device(site, kind=Enos, name="dk1", **arguments):
    return kind(site, name, "pkA", **arguments)


OK = {"code": 200, "data": {}}


@pytest.mark.parametrize("kind", [Enos, EnosJava])
def test_an_sdk_upgrades(site, kind):
    """003-01 003-04 003-09"""
    scene(site)
    d = device(site, kind)
    assert d.inform("1.0") == {"id": "1", **OK}
    push = d.push()
    assert list(push) == ["id", "version", "method", "params"]
    assert isinstance(push["id"], str) and push["id"].isdigit() and push["method"] == "ota.device.upgrade"
    params = push["params"]
    assert list(params) == ["version", "sign", "signMethod", "fileUrl", "fileSize"]
    assert isinstance(params["fileSize"], int) and params["signMethod"] in ("md5", "sha256")
    assert d.progress(20, "downloading") == {"id": "2", **OK}
    assert d.fetch(params) == content("meter")
    assert d.progress(80) == {"id": "3", **OK}
    assert d.inform("1.1") == {"id": "4", **OK}  # on the same connection, as the SDKs' samples do it
    assert state(site) == "succeeded"
    d.answer(push["id"], 200)  # last of all
    d.client.ping()
    assert state(site) == "succeeded"
    d.no_push()


def test_the_push_comes_with_the_first_report_of_a_connection(site):
    """003-10"""
    scene(site)
    d = device(site)
    d.no_push()
    d.inform("1.0")
    first = d.push()
    d.inform("1.0")
    d.no_push()  # not twice in a connection
    d.client.kill()
    d.connect()
    d.no_push()
    d.inform("1.0")
    assert d.push()["params"]["version"] == first["params"]["version"]


def test_who_connects_again_and_believes_to_be_subscribed_is_answered(site):
    """The SDK for Python forgets its subscriptions only when it has disconnected itself: after a break it makes none."""
    scene(site)
    d = device(site)
    d.inform("1.0")
    d.push()
    d.progress(10)
    believed = set(d.subscribed)
    d.client.kill()
    d.connect()
    d.subscribed = believed
    assert d.inform("1.0") == {"id": "3", **OK}
    assert d.progress(20) == {"id": "4", **OK}
    assert d.inform("1.1") == {"id": "5", **OK}
    site.wait_task("dk1", "succeeded", product="pkA")
    for _ in range(235):
        assert d.inform("1.1")["code"] == 200
    d.subscribed.clear()  # above 240 in an hour they are for who has subscribed
    assert d.inform("1.1")["code"] == 200
    site.wait_log("pkA/dk1 has been sent 240 answers within an hour")


def test_a_version_that_is_a_number_keeps_its_text(site):
    scene(site)
    d = device(site)
    d.publish(d.path("inform"), '{"id":"1","params":{"version":1.10}}', 1)
    d.push()
    assert site.versions("dk1", "pkA") == {"default": "1.10"}


def test_ids_come_back_as_the_same_string(site):
    scene(site)
    d = device(site)
    d.client.subscribe(d.path("inform_reply"))
    for id in ("007", "a\\\"b", "\u00e4", "9" * 64):
        d.publish(d.path("inform"), f'{{"id":"{id}","params":{{"version":"1.0"}}}}', 1)
        assert d.take(d.path("inform_reply")).payload.decode().startswith(f'{{"id":"{id}",')
    d.publish(d.path("inform"), '{"id":12345678901234567890,"params":{"version":"1.0"}}', 1)
    assert json.loads(d.take(d.path("inform_reply")).payload)["id"] == "12345678901234567890"


def test_getversion_gives_an_array(site):
    """001-09 001-10 003-13"""
    site.product("pkA", ("default",), dialect="enos")
    site.package("pkA", "default", "1.1", content("meter"))
    d = device(site)
    assert d.getversion() == {"id": "1", "code": 200, "data": []}
    d.inform("1.0")
    assert d.getversion()["data"] == []
    site.plan("spring", "pkA", [("default", "default-1.1")], black=["dk2"])
    d.push()
    data = d.getversion()["data"]
    assert [list(one) for one in data] == [["version", "sign", "signMethod", "fileUrl", "fileSize"]]
    d.no_push()  # the answer carries it
    other = device(site, name="dk2")
    other.inform("1.0")
    assert other.getversion()["data"] == []
    # A device that takes it just begins.
    d.progress("10")
    assert state(site) == "downloading"
    d.inform("1.1")
    assert state(site) == "succeeded"


@pytest.mark.parametrize("step, wanted, reason", [("-1", "failed", "device_failed"), (-2, "failed", "download_failed"),
                                                  ("-3", "failed", "verify_failed"), ("-4", "failed", "write_failed"),
                                                  ("-5", "refused", "device_refused"), (-77, "failed", "device_failed")])
def test_codes(site, step, wanted, reason):
    scene(site)
    d = device(site)
    d.inform("1.0")
    d.push()
    assert d.send("progress", {"step": step, "desc": "no luck"})["code"] == 200
    task = site.task("dk1", product="pkA")
    assert (task["state"], task["reason"], task["code"], task["detail"]) == (wanted, reason, int(step), "no luck")


@pytest.mark.parametrize("code, wanted", [("1101", "postponed"), (500, "postponed"), (1102, "postponed"), ("2000", "refused"), (2345, "refused"),
                                          (200, "accepted"), ("200", "accepted")])
def test_the_answer_to_an_upgrade_is_no_gate(site, code, wanted):
    """003-11 001-07: a refusal is none of failure"""
    scene(site)
    d = device(site)
    d.inform("1.0")
    push = d.push()
    d.answer(push["id"], code, "downstream command handler not registered")
    site.wait_task("dk1", wanted, product="pkA")
    d.no_push()
    if wanted == "postponed":
        assert "1101" in site.task("dk1", product="pkA")["detail"] or code != "1101"
        d.inform("1.1")
        assert state(site) == "succeeded"


def test_an_answer_after_progress_changes_nothing(site):
    scene(site)
    d = device(site)
    d.inform("1.0")
    push = d.push()
    d.progress(50)
    d.answer(push["id"], "500", "handler threw")
    d.client.ping()
    assert state(site) == "downloading"


def test_who_had_nobody_listening_is_told_in_its_next_connection(site):
    scene(site)
    d = device(site)
    d.inform("1.0")
    d.answer(d.push()["id"], "1101", "downstream command handler not registered")
    site.wait_task("dk1", "postponed", product="pkA")
    d.inform("1.0")
    d.no_push()
    d.client.kill()
    d.connect()
    d.inform("1.0")
    d.push()


@pytest.mark.parametrize("step, wanted", [(10, "downloading"), (-3, "failed")])
def test_who_had_nobody_listening_may_begin_all_the_same(site, step, wanted):
    """Its SDK answers the push in one thread, while its application asks in another."""
    scene(site)
    d = device(site)
    d.inform("1.0")
    push = d.push()
    assert len(d.getversion()["data"]) == 1
    d.answer(push["id"], "1101", "downstream command handler not registered")
    site.wait_task("dk1", "postponed", product="pkA")
    assert d.progress(step)["code"] == 200
    assert state(site) == wanted
    d.no_push()


@pytest.mark.parametrize("code", [500, 2001])
def test_a_late_answer_is_about_the_push_that_it_names(site, code):
    """The handler reports its failure, and then returns or throws: another push is on its way by now."""
    scene(site, retry_max=1, retry_interval_s=0, priority=1)
    site.package("pkA", "default", "1.2", content("meter", 500))
    site.plan("summer", "pkA", [("default", "default-1.2")])
    d = device(site, EnosJava)
    d.inform("1.0")
    for after in ("retry", "other plan"):
        push = d.push()
        d.progress(10)
        d.progress(-2, after)
        d.answer(push["id"], code, "late")
    again = d.push()
    assert (push["params"]["version"], again["params"]["version"]) == ("1.1", "1.2")
    d.inform("1.0")  # behind the answer
    assert site.wait_task("dk1", "accepted", plan="summer", product="pkA")["detail"] == ""
    assert len({message.payload for message in d.client.all if message.topic == d.path("upgrade")}) == 3
    d.answer(again["id"], 2001, "no")
    assert site.wait_task("dk1", "refused", plan="summer", product="pkA")["detail"] == "upgrade_reply 2001: no"


def test_another_version_before_the_device_begins_is_taken_note_of(site):
    scene(site)
    d = device(site)
    d.inform("1.0")
    d.push()
    d.inform("1.0.5")
    assert state(site) == "accepted" and site.versions("dk1", "pkA") == {"default": "1.0.5"}
    d.no_push()
    d.progress(10)
    d.inform("1.0.5")
    assert state(site) == "downloading"
    d.inform("1.0")
    assert site.wait_task("dk1", "failed", product="pkA")["reason"] == "foreign_version"


def test_a_version_that_the_plan_does_not_upgrade_withdraws_the_push(site):
    scene(site, sources=[("default", "1.0")])
    d = device(site)
    d.inform("1.0")
    d.push()
    d.inform("1.0.5")
    assert site.wait_task("dk1", "queued", product="pkA")["reason"] == "source_version"
    d.inform("1.0")
    d.push()


def test_on_request_nothing_is_ever_pushed(site):
    """003-12 003-13 003-14: who has asked has not decided yet."""
    scene(site, trigger="request", retry_max=1, retry_interval_s=0)
    d = device(site)
    d.inform("1.0")
    assert len(d.getversion()["data"]) == 1
    for _ in range(2):
        d.client.kill()
        d.connect()
        d.inform("1.0")
        d.no_push()
    assert len(d.getversion()["data"]) == 1
    d.progress(10)
    d.progress(-2, "no route")
    d.no_push()
    assert len(d.getversion()["data"]) == 1
    d.progress(10)
    d.client.kill()
    d.connect()
    d.inform("1.0")
    d.no_push()
    d.inform("1.1")
    assert state(site) == "succeeded"


def test_on_request_who_does_not_decide_may_ask_again(site):
    """003-14"""
    scene(site, trigger="request", offer_s=2)
    d = device(site)
    d.inform("1.0")
    assert len(d.getversion()["data"]) == 1
    assert site.wait_task("dk1", "queued", product="pkA")["reason"] == "on_request"
    d.no_push()
    assert len(d.getversion()["data"]) == 1
    site.wait_task("dk1", "queued", product="pkA")
    d.progress(10)  # late, and yet
    assert state(site) == "downloading"
    d.no_push()


def test_malformed_reports_are_answered_and_change_nothing(site):
    scene(site)
    d = device(site)
    assert d.send("inform", {"version": ""})["code"] == 400
    assert d.send("inform", {})["code"] == 400
    assert d.send("progress", {"step": "101"})["code"] == 400
    assert site.device_row("dk1", "pkA") is None
    d.publish(d.path("inform"), "garbage", 1)
    d.publish(d.path("request"), "{}", 1)  # a name that the SDKs have and nothing uses
    assert d.inform("1.0")["code"] == 200


def test_the_products_only_component_is_meant(site):
    scene(site, component="main")
    d = device(site)
    d.inform("1.0")
    assert site.versions("dk1", "pkA") == {"main": "1.0"}
    d.push()
    d.progress(1)
    d.inform("1.1")
    assert state(site) == "succeeded"


def test_a_file_of_more_than_31_bits_waits_with_a_reason(site):
    """To hash two gigabytes takes half a minute: the broker is told that it has."""
    site.product("pkA", ("default",), dialect="enos", profile="default")
    site.sql("UPDATE profile SET max_file_bytes=3000000000 WHERE name='default';")
    path = site.store_file("pkA-default-1.1-any-0.bin", b"x")
    with open(path, "r+b") as f:
        f.truncate(2_147_483_648)
    site.stop()
    site.bare("INSERT INTO package(product, name, component, version) VALUES ('pkA','default-1.1','default','1.1');"
              "INSERT INTO package_file(product, package, path) VALUES ('pkA','default-1.1','pkA-default-1.1-any-0.bin');\n")
    facts = os.stat(path)
    site.bare("BEGIN; UPDATE engine_state SET writing=1;"
              "INSERT INTO package_state(product, package, source, seq, path, state, bytes, sha256, md5, inode, mtime_ns, ctime_ns) VALUES ("
              f"'pkA','default-1.1','',0,'pkA-default-1.1-any-0.bin','ready',{facts.st_size},'{'0' * 64}','{'0' * 32}',{facts.st_ino},"
              f"{facts.st_mtime_ns},{facts.st_ctime_ns}); UPDATE engine_state SET writing=0; COMMIT;\n")
    site.start()
    site.plan("spring", "pkA", [("default", "default-1.1")])
    d = device(site)
    d.inform("1.0")
    task = site.wait_task("dk1", "queued", product="pkA", reason="no_delivery")
    assert "2147483648" in task["detail"] and "2147483647" in task["detail"]
    d.no_push()


def test_without_http_there_is_no_delivery(make_site):
    site = make_site(options={**IDENTITY, "download_base": None, "download_listen": None})
    scene(site)
    d = device(site)
    d.inform("1.0")
    assert site.wait_task("dk1", "queued", product="pkA")["reason"] == "no_delivery"


def test_manual_mode_waits_for_the_platform(site):
    """003-06 003-14"""
    scene(site, mode="manual", texts={"en": "New", "zh": "New"})
    d = device(site)
    d.inform("1.0")
    d.no_push()
    assert d.getversion()["data"] == []
    assert site.request("consent", product="pkA", device="dk1", plan="spring")["state"] == "done"
    d.push()


def test_a_second_login_ends_the_first(site):
    scene(site)
    first = device(site)
    first.inform("1.0")
    first.push()
    second = device(site)
    second.inform("1.0")
    first.client.wait_closed()
    second.push()


def test_topics_of_others(site):
    scene(site)
    d, evil = device(site), device(site, name="evil")
    filters = [d.path(n) for n in ("upgrade", "inform_reply", "getversion_reply")] + ["/sys/pkA/dk1/ota/device/+", "/sys/pkA/+/ota/device/upgrade"]
    assert all(code >= 128 for code in evil.client.subscribe(*filters))
    evil.publish(d.path("inform"), '{"id":"1","params":{"version":"6.6"}}', 1)
    d.publish(d.path("upgrade"), "{}", 1)
    historian = site.client("historian", "historian")
    historian.subscribe("#")
    d.inform("1.0")
    d.push()
    historian.ping()
    assert not [m for m in historian.all if "/ota/" in m.topic] and not evil.client.all
    assert site.versions("dk1", "pkA") == {"default": "1.0"}


@pytest.mark.parametrize("began", [True, False])
def test_a_failed_attempt_is_repeated_as_the_plan_says(site, began):
    """004-53"""
    scene(site, retry_max=1, retry_interval_s=0)
    d = device(site)
    d.inform("1.0")
    d.push()
    if began:
        d.progress(10)
    d.progress(-2, "no route")
    d.push()
    if began:
        d.progress(10)
    d.progress(-2, "another reason")
    d.no_push()
    assert state(site) == "failed"
