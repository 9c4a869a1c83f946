"""Each clause of the native dialect that can be seen from outside, by its id. What a whole upgrade looks like is
in test_upgrade.py; who may send and read what, in test_guard.py."""

import json
import re
import time

import pytest

from broker import content, eventually


def offered(site, device, name="d1", **pump):
    site.pump(**pump)
    d = device(name)
    d.report()
    return d, d.take("plan")


def downloading(site, device, **pump):
    d, plan = offered(site, device, **pump)
    return d, plan, d.accept(plan)


# ---------------------------------------------------------------------------------------------- topics

@pytest.mark.parametrize("name", ["a", "A-Z_a.z:09", "x" * 64])
def test_n_1_names(site, device, name):
    """[N-1]"""
    site.product()
    assert device(name).report()["code"] == 200
    assert site.device_row(name)


@pytest.mark.parametrize("level", ["x" * 65, "a b", "a%2e", "ä", "a'b", ""])
def test_n_1_other_names_are_denied(site, level):
    """[N-1]: the publish is denied; nothing is registered, nobody sees it."""
    site.product()
    admin = site.admin("#")
    c = site.client("c", f"pump/{level}", version=5)
    assert c.publish(f"ota/v1/pump/{level}/up/version", '{"id":"1","components":{"main":"1.0"}}') >= 128
    assert c.publish("other/topic", "x") < 128
    admin.take_topic("other/topic")
    assert not [m for m in admin.all if m.topic.startswith("ota/")]
    assert not site.query("SELECT * FROM device_state")


def test_n_1_another_devices_topic_gets_403_on_its_own_reply(site, device):
    """[N-1]: naming the topic that it used and the name that it has."""
    site.product()
    d, other = device("d1"), device("d2")
    d.client.publish(other.topic("up/version"), '{"id":"1","components":{"main":"1.0"}}')
    reply = d.take("reply", code=403)
    assert other.topic("up/version") in reply["message"] and "pump/d1" in reply["message"]
    other.report()
    assert [k for k, b in other.waiting("reply")] == []
    assert site.device_row("d1") is None


def test_n_1_a_topic_that_is_no_uplinks_gets_403_without_to(site, device):
    """[N-1]: `to` is the name of an uplink, or it is missing."""
    site.product()
    d = device("d1")
    d.client.publish("ota/v1/pump/d 1/up/version", '{"id":"1","components":{"main":"1.0"}}')
    reply = d.take("reply", code=403)
    assert "ota/v1/pump/d 1/up/version" in reply["message"] and "pump/d1" in reply["message"]
    assert "to" not in reply


def test_n_2_downlinks_are_qos_1_by_topic_and_not_retained(site, device):
    """[N-2]"""
    d, plan, _ = downloading(site, device)
    assert {(m.qos, m.retain) for m in d.client.all} == {(1, False)}
    late = site.admin("ota/v1/#")
    late.ping()
    assert not late.messages


def test_n_2_blocks_have_the_qos_of_the_request(site, device):
    """[N-2] 2 counts as 1"""
    d, plan, _ = downloading(site, device)
    for qos, given in ((0, 0), (1, 1), (2, 1)):
        ref = d.ask_blocks(plan["task"], "main", 0, 128, 1, qos=0 if qos == 0 else 1) if qos < 2 else "q2"
        if qos == 2:
            d.client.publish(d.topic("up/block"), json.dumps({"task": plan["task"], "component": "main", "file": 0,
                                                              "ref": ref, "offset": 0, "length": 128, "count": 1}), qos=2)
        assert d.client.take_topic(d.topic(f"down/block/{ref}/0")).qos == given


def test_n_3_only_the_plugin_publishes_under_down(site, device):
    """[N-3]"""
    site.product()
    d = device(version=5)
    for tail in ("down/plan", "down/reply", "down/x"):
        assert d.client.publish(d.topic(tail), "{}") >= 128
    d.client.ping()
    assert not d.client.messages or all(m.topic.endswith("reply") for m in d.client.messages)


def test_n_4_filters(site, device):
    """[N-4]"""
    site.product()
    d = device()
    codes = d.client.subscribe("ota/v1/pump/d1/down/reply", "ota/v1/pump/d2/down/#", "ota/v1/#", "ota/v1/pump/+/down/#",
                               "$share/g/ota/v1/pump/d2/down/#", "#", "+/v1/pump/d2/down/#")
    assert [c < 128 for c in codes] == [True, False, False, False, False, True, True]


# ---------------------------------------------------------------------------------------------- payloads

@pytest.mark.parametrize("payload, member", [
    (b"", None), (b"[]", None), (b"{", None), (b"null", None), (b'{"id":"1"}', "components"), (b"\xff\xfe", None),
    (b'{"components":[]}', "components"), (b'{"components":{}}', "components"), (b'{"components":{"main":1}}', "main"),
    (b'{"components":{"main":""}}', "main"), (b'{"components":{"main":"' + b"9" * 65 + b'"}}', "main"),
    (b'{"components":{"main":"1\\u0007"}}', "main"), (b'{"components":{"main":"1\\u0000"}}', None),
    (b'{"components":{"a b":"1"}}', None), (b'{"components":{"main":"1"},"components":{"main":"2"}}', "components"),
    (b'{"components":{"main":"1","main":"2"}}', "main"), (b'{"components":{"main":"1"},"x":"\xff"}', None),
    (b'{"components":{"main":"1"},"x":' + b"[" * 9 + b"]" * 9 + b"}", None),
    (b'{"components":{"main":"1"}} x', None),
    (b'{"components":{' + b",".join(b'"c%d":"1"' % n for n in range(33)) + b"}}", "components"),
])
def test_n_5_n_6_malformed_reports_get_400_and_change_nothing(site, device, payload, member):
    """[N-5] [N-6] [N-10]: also without an `id`."""
    site.product(components=["main"])
    d = device()
    d.send("version", payload)
    reply = d.take("reply", code=400)
    assert reply["to"] == "version" and reply["message"]
    assert member is None or member in reply["message"]
    assert site.device_row("d1") is None


def test_n_5_unknown_members_are_ignored_and_eight_levels_are_taken(site, device):
    """[N-5]"""
    site.product()
    deep = 1
    for _ in range(7):
        deep = [deep]
    reply = device().report(news={"x": None}, deep=deep)
    assert reply["code"] == 200 and "warning" not in reply


@pytest.mark.parametrize("member, value", [
    ("battery", 101), ("battery", "80"), ("battery", 1.5), ("signal", 1), ("signal", -151), ("freeBytes", -1), ("freeBytes", 1e300),
    ("bootId", ""), ("bootId", "x" * 65), ("bootId", 7), ("trial", "main"), ("trial", [1]), ("maxBytes", 511), ("maxBytes", 65537),
    ("sleep", -1), ("sleep", "x"), ("lang", 1), ("task", 1), ("request", "yes"), ("full", 1)])
def test_n_6_an_optional_member_that_is_wrong_is_absent_and_warned_of(site, device, member, value):
    """[N-6]: the rest counts; no optional member can keep a device from being upgraded."""
    site.pump()
    d = device()
    reply = d.report(**{member: value})
    assert reply["code"] == 200 and member in reply["warning"]
    assert site.versions("d1") == {"main": "1.0"}
    assert d.take("plan")


@pytest.mark.parametrize("kind, body, member", [
    ("confirm", {"accept": True}, "task"), ("confirm", {"task": "abcdefgh"}, "accept"),
    ("confirm", {"task": "abcdefgh", "accept": 1}, "accept"), ("confirm", {"task": 1, "accept": True}, "task"),
    ("progress", {"component": "main", "state": "downloading"}, "task"),
    ("progress", {"task": "abcdefgh", "state": "downloading"}, "component"),
    ("progress", {"task": "abcdefgh", "component": "main"}, "state"),
    ("progress", {"task": "abcdefgh", "component": "main", "state": "dancing"}, "state"),
    ("block", {"task": "abcdefgh", "component": "main", "ref": "b", "offset": 0, "length": 127, "count": 1}, "length"),
    ("block", {"task": "abcdefgh", "component": "main", "ref": "b", "offset": 0, "length": 65537, "count": 1}, "length"),
    ("block", {"task": "abcdefgh", "component": "main", "ref": "b", "offset": 0, "length": 128, "count": 65}, "count"),
    ("block", {"task": "abcdefgh", "component": "main", "ref": "b", "offset": 0, "length": 8192, "count": 33}, "count"),
    ("block", {"task": "abcdefgh", "component": "main", "ref": "too-long!", "offset": 0, "length": 128, "count": 1}, "ref"),
    ("block", {"task": "abcdefgh", "component": "main", "ref": "b", "offset": -1, "length": 128, "count": 1}, "offset"),
])
def test_n_6_required_members_of_the_other_uplinks(site, device, kind, body, member):
    """[N-6] [N-28]"""
    site.product()
    d = device()
    d.report()
    reply = d.uplink(kind, **body)
    assert reply["code"] == 400 and reply["to"] == kind and member in reply["message"]


def test_n_7_the_same_uplink_twice_has_the_effect_of_one(site, device):
    """[N-7]: an id may repeat and is never used to recognize duplicates."""
    d, plan = offered(site, device)
    for _ in range(2):
        assert d.confirm(plan["task"], id="same")["code"] == 200
    assert d.take("download")["attempt"] == 1
    for _ in range(2):
        assert d.progress(plan["task"], "installing", id="same")["code"] == 200
    count = len([e for e in site.events("d1") if e["new_state"] == "installing" and e["old_state"] != "installing"])
    assert count == 1
    assert d.progress(plan["task"], "rebooting", id="same")["code"] == 200  # another message under the same id counts
    assert site.task("d1")["state"] == "rebooting"


def test_n_7_a_failure_that_comes_twice_uses_one_attempt(site, device):
    """[N-7] [N-33]"""
    d, plan, _ = downloading(site, device, retry_max=3, retry_interval_s=0)
    for _ in range(2):
        d.progress(plan["task"], "failed", code=-2, attempt=1)
    d.report()
    assert site.task("d1")["retries"] == 1


def test_n_7_dup_flag_and_qos_2(site, device):
    """[N-7] A QoS 2 DUP retransmission reaches a plugin twice."""
    d, plan = offered(site, device)
    payload = json.dumps({"id": "c", "task": plan["task"], "accept": True})
    d.client.publish(d.topic("up/confirm"), payload, qos=2, mid=77, wait=False)
    d.client.publish(d.topic("up/confirm"), payload, qos=2, mid=77, dup=True, wait=False)
    assert d.reply("c")["code"] == 200
    d.report()
    assert {b["attempt"] for k, b in d.waiting("download")} == {1}
    assert site.task("d1")["state"] == "accepted"


def test_n_8_response_topic_and_correlation_data_are_ignored(site, device):
    """[N-8]"""
    site.product()
    d = device(version=5)
    d.client.subscribe("answers")
    properties = b"\x08\x00\x07answers" + b"\x09\x00\x02xy"
    d.send("version", {"components": d.versions, "id": "1"}, properties=properties)
    d.report()
    assert not [m for m in d.client.all if m.topic == "answers"]


# ---------------------------------------------------------------------------------------------- up/version

def test_n_9_every_change_of_a_version_is_taken(site, device):
    """[N-9]"""
    site.product(components=["a", "b"])
    d = device(versions={"a": "1", "b": "1"})
    d.report()
    d.report(components={"a": "2"})  # not `full`, since it is not the first of the connection
    assert site.versions("d1") == {"a": "2", "b": "1"}
    d.report(components={"a": "2"}, full=True)
    assert site.versions("d1") == {"a": "2"}
    d.reboot()
    d.report(components={"b": "3"})  # the first report of a connection is complete
    assert site.versions("d1") == {"b": "3"}
    d.reboot()
    d.report(components={"a": "4"}, full=False)
    assert site.versions("d1") == {"a": "4", "b": "3"}


def test_n_9_what_a_report_tells_is_remembered(site, device):
    """[N-9]"""
    site.product()
    d = device()
    d.report(battery=83, signal=-71, freeBytes=2097152, lang="en", maxBytes=4096, sleep=3600)
    row = site.device_row("d1")
    assert (row["battery"], row["signal"], row["free_bytes"], row["lang"], row["max_bytes"], row["sleep_s"]) == (
        83, -71, 2097152, "en", 4096, 3600)


def test_n_9_who_listens_in_makes_no_report_the_first_of_a_connection(site, device):
    """`full` and [N-15]: another client with the device's name subscribes; what the device reports is as before."""
    site.pump("main", "mcu")
    d = device(versions={"main": "1.0", "mcu": "1.0"})
    d.report()
    d.accept(d.take("plan"))
    device(client_id="listens")
    assert d.report(components={"main": "2.0"})["code"] == 200
    assert site.versions("d1") == {"main": "2.0", "mcu": "1.0"}
    d.nothing("download")  # `main` boots: neither another boot nor another connection of the device has shown
    assert site.task("d1")["state"] == "rebooting"
    d.reboot(main="2.0")
    d.report()
    assert d.take("download", component="mcu")


def test_n_10_an_unknown_device_registers_itself(site, device):
    """[N-10]"""
    site.product("pump")
    site.product("closed", register=0)
    assert device("new").report()["code"] == 200
    assert site.device_row("new")
    reply = device("new", product="closed").report()
    assert reply["code"] == 403
    assert site.device_row("new", "closed") is None
    reply = device("new", product="nosuch").report()
    assert reply["code"] == 404 and "product" in reply["message"]


def test_n_10_a_device_that_people_know_need_not_register(site, device):
    """[N-10]"""
    site.product("closed", register=0)
    site.sql("INSERT INTO device(product, name) VALUES ('closed', 'known');")
    assert device("known", product="closed").report()["code"] == 200


def test_n_10_the_number_of_devices_is_bounded(site, device):
    """[N-10]"""
    site.product(max_devices=2)
    assert [device(f"d{n}").report()["code"] for n in range(3)] == [200, 200, 403]


def test_a_disabled_device_gets_403(site, device):
    """[N-10] 403: the device is disabled"""
    site.pump()
    site.sql("INSERT INTO device(product, name, disabled) VALUES ('pump', 'd1', 1);")
    d = device()
    assert d.report()["code"] == 403
    d.nothing()


def test_n_11_reply_200_comes_after_the_commit(site, device):
    """[N-11]"""
    site.product()
    for n in range(20):
        d = device(f"d{n}")
        assert d.report()["code"] == 200
        assert site.device_row(f"d{n}"), "answered before it was stored"


def test_n_11_no_reply_while_nothing_can_be_stored(site, device):
    """[N-11]"""
    site.product()
    d = device()
    with site.locked():
        d.send("version", {"id": "1", "components": d.versions}, wait=False)
        d.client.ping()
        assert not d.waiting("reply")
    assert d.reply("1")["code"] == 200


def test_without_an_id_only_errors_are_answered(site, device):
    """[N-11] `id`: without it there is a reply only to an error"""
    site.product()
    d = device()
    d.send("version", {"components": d.versions}, wait=False)
    assert d.report()["code"] == 200
    assert d.kinds() == ["reply"]


def test_n_12_a_task_that_is_not_the_open_one_is_canceled(site, device):
    """[N-12]"""
    d, plan = offered(site, device)
    d.reboot()
    assert d.report(task="neverHeardOf1")["code"] == 200
    assert d.take("cancel")["task"] == "neverHeardOf1"
    assert d.take("plan")["task"] == plan["task"]
    d.report(task="neverHeardOf1")
    d.nothing("cancel")  # same connection, same bootId: said once
    for boot_id, task in enumerate(("neverHeardOf1", "short", "under_score", "a \"b\" / ä", "x" * 64)):
        d.boot_id = f"fresh{boot_id}"
        d.report(task=task)
        assert d.take("cancel")["task"] == task


def test_n_12_the_current_message_comes_again_with_a_fresh_address(site, device):
    """[N-12]"""
    d, plan, download = downloading(site, device)
    d.reboot()
    assert d.report()["code"] == 200
    again = d.take("download")
    assert (again["task"], again["attempt"]) == (plan["task"], 1)
    d.fetch_file(again["files"][0])
    d.report()
    d.nothing("download")
    d.boot_id = "fresh"
    d.report()
    assert d.take("download")["attempt"] == 1


def test_n_13_everything_comes_before_the_reply(site, device):
    """[N-13]"""
    site.pump("a", {"name": "b", "boot": 0})
    d = device(versions={"a": "1.0", "b": "1.0"})
    d.report()
    assert d.kinds() == ["plan", "reply"]
    plan = d.take("plan")
    d.confirm(plan["task"])
    assert d.kinds() == ["plan", "reply", "download", "reply"]
    d.reboot(a="2.0")
    d.report(task="oldTask00")
    assert d.kinds()[-1] == "reply" and set(d.kinds()) == {"cancel", "download", "reply"}


def test_n_14_an_old_version_of_another_component_is_no_roll_back(site, device):
    """[N-14]"""
    site.pump("a", "b")
    d = device(versions={"a": "1.0", "b": "1.0"})
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    d.progress(plan["task"], "installing", "a")
    d.reboot(a="2.0")
    d.report()
    assert d.take("download")["component"] == "b"
    d.reboot()
    d.report()
    assert site.task("d1")["state"] == "accepted"


def test_n_15_the_plan(site, device):
    """[N-15]"""
    site.product(components=[{"name": "mcu", "type": "mcu"}])
    site.package(component="mcu", content=content("x"), name="full")
    site.package(component="mcu", name="delta", kind="delta", sets={"2.1": [content("d", 4000)]})
    site.plan(components=[("mcu", "full", "delta")], battery=30, signal=-95, free_bytes=1048576, tags={"ring": "1"}, offer_s=86400)
    d = device(versions={"mcu": "2.1"})
    d.report(battery=90, signal=-50, freeBytes=10**9)
    plan = d.take("plan")
    assert re.fullmatch("[A-Za-z0-9-]{8,32}", plan["task"])
    assert plan["components"] == [{"name": "mcu", "type": "mcu", "package": "delta", "from": "2.1", "to": "2.0", "bytes": 4000, "boot": True}]
    assert plan["conditions"] == {"battery": 30, "signal": -95, "freeBytes": 1048576}
    assert (plan["mode"], plan["plan"], plan["tags"], plan["expiresIn"]) == ("silent", "spring", {"ring": "1"}, 86400)


def test_n_16_at_most_one_task_is_open(site, device):
    """[N-16]"""
    site.pump("main", "other")
    site.package(component="other", version="2.1")
    site.plan("summer", components=[("other", "other-2.1")])
    d = device(versions={"main": "1.0", "other": "1.0"})
    d.report(), d.report()
    assert d.kinds().count("plan") == 1
    assert site.one("SELECT count(*) AS n FROM task WHERE state='offered'")["n"] == 1


def test_n_17_every_time_is_a_number_of_seconds_and_now_is_carried(site, device):
    """[N-17]"""
    d, plan = offered(site, device)
    reply = d.report()
    download = d.accept(plan)
    for message in (plan, download, reply):
        assert isinstance(message["now"], int) and message["now"] > 1_700_000_000
    assert isinstance(plan["expiresIn"], int)
    assert isinstance(download["deadlineIn"], int) and isinstance(download["expiresIn"], int)


def test_n_18_optional_members_are_left_out_in_order(site, device):
    """[N-18]: tags, plan, text, conditions"""
    site.pump(texts={"en": "T" * 100}, tags={"k": "V" * 200}, battery=1, signal=-150, free_bytes=1, mode="manual")
    d = device(connect=False)
    order, sizes, seen = ["tags", "plan", "text", "conditions"], [], set()
    for limit in range(1024, 511, -16):
        d.connect()
        d.boot_id = f"m{limit}"
        d.report(maxBytes=limit, lang="en", battery=50, signal=-10, freeBytes=10**6)
        message = d.client.take_topic(d.topic("down/plan"))
        assert len(message.payload) <= limit
        present = [m in json.loads(message.payload) for m in order]
        assert present == sorted(present), f"at {limit}: {dict(zip(order, present))}"
        seen.add(sum(present))
        sizes.append(len(message.payload))
        d.disconnect()
    assert 4 in seen and min(seen) < 4


def test_n_18_what_does_not_fit_is_a_reason_with_both_numbers(site, device):
    """[N-18]"""
    names = [f"component-{n:02}-" + "x" * 40 for n in range(10)]
    site.pump(*names)
    d = device(versions={name: "1.0" for name in names})
    assert d.report(maxBytes=512)["code"] == 200
    d.nothing()
    task = site.task("d1")
    assert (task["state"], task["reason"]) == ("queued", "too_large")
    assert "512" in task["detail"] and len(re.findall(r"\d+", task["detail"])) >= 2
    d.report(maxBytes=65536)
    assert d.take("plan")


def test_n_18_output_is_compact_with_three_escapes(site, device):
    """[N-18]"""
    site.pump(mode="manual", texts={"en": 'a"b\\c\nd/ä€\te'})
    d = device()
    d.report(lang="en")
    raw = d.client.take_topic(d.topic("down/plan")).payload.decode()
    assert set(re.findall(r"\\.", raw)) <= {'\\"', "\\\\", "\\n"}
    assert '": ' not in raw and "ä€" in raw
    assert json.loads(raw)["text"].replace(" ", "").replace("\t", "") == 'a"b\\c\nd/ä€e'


# ---------------------------------------------------------------------------------------------- up/confirm

def test_n_19_a_repeated_acceptance_brings_the_download_again(site, device):
    """[N-19] the same message while its address is valid"""
    d, plan, download = downloading(site, device)
    d.confirm(plan["task"])
    again = d.take("download")
    for message in (download, again):
        for clock in ("now", "expiresIn", "deadlineIn"):
            message.pop(clock)
    assert again == download


def test_n_19_a_confirm_of_an_unknown_task_gets_404_of_an_ended_one_410(site, device):
    """[N-19]"""
    d, plan = offered(site, device)
    assert d.confirm("neverHeardOf1")["code"] == 404
    assert d.confirm(plan["task"], False)["code"] == 200
    assert d.confirm(plan["task"])["code"] == 410


def test_410_is_sent_whether_there_was_an_id_or_not(site, device):
    """[N-31] 410"""
    d, plan = offered(site, device)
    d.confirm(plan["task"], False)
    d.send("progress", {"task": plan["task"], "component": "main", "state": "downloading"}, wait=False)
    reply = d.take("reply", code=410)
    assert reply["task"] == plan["task"] and "id" not in reply


def test_another_devices_task_is_404(site, device):
    """[N-30]"""
    d, plan = offered(site, device)
    other = device("d2")
    other.report()
    assert other.confirm(plan["task"])["code"] == 404
    assert other.progress(plan["task"], "failed", code=-1)["code"] == 404
    assert site.task("d1")["state"] == "offered"


# ---------------------------------------------------------------------------------------------- down/download

def test_n_20_the_download_stands_alone(site, device):
    """[N-20]"""
    d, plan, download = downloading(site, device)
    assert download["task"] == plan["task"] and download["blocks"] is True
    assert (download["from"], download["to"], download["package"], download["deadlineIn"]) == ("1.0", "2.0", "full", 3600)
    file, = download["files"]
    assert set(file) == {"name", "bytes", "sha256", "url"} and len(file["url"]) <= 255
    assert re.fullmatch("[0-9a-f]{64}", file["sha256"])


def test_n_21_the_same_attempt_again_has_only_another_address(site, device):
    """[N-21]"""
    d, plan, first = downloading(site, device)
    d.reboot()
    d.report()
    second = d.take("download")
    for message in (first, second):
        message["files"][0].pop("url"), message.pop("now"), message.pop("expiresIn"), message.pop("deadlineIn")
    assert first == second


def test_n_22_no_redirect_no_chunking_ranges(site, device):
    """[N-22] (more in test_http.py)"""
    d, plan, download = downloading(site, device)
    url = download["files"][0]["url"]
    status, headers, body = d.fetch(url)
    assert status == 200 and headers["content-length"] == "9000" and "transfer-encoding" not in headers
    status, headers, body = d.fetch(url, {"Range": "bytes=100-199"})
    assert status == 206 and body == content("main-2.0")[100:200]


# ---------------------------------------------------------------------------------------------- up/progress

def test_n_24_long_texts_are_cut(site, device):
    """[N-24] longer is cut"""
    d, plan, _ = downloading(site, device)
    assert d.progress(plan["task"], "failed", code=-1, message="ä" * 1000)["code"] == 200
    assert 200 <= site.task("d1")["detail"].count("ä") <= 256


def test_n_24_percent_and_code_out_of_range_are_absent(site, device):
    """[N-24] [N-6]"""
    d, plan, _ = downloading(site, device)
    reply = d.progress(plan["task"], "downloading", percent=101)
    assert reply["code"] == 200 and "percent" in reply["warning"]
    reply = d.progress(plan["task"], "failed", code="x")
    assert reply["code"] == 200 and "code" in reply["warning"]
    assert site.task("d1")["state"] == "failed"


def test_n_24_progress_of_a_component_that_the_task_lacks_is_404(site, device):
    """[N-24]"""
    d, plan, _ = downloading(site, device)
    assert d.progress(plan["task"], "downloading", "nosuch")["code"] == 404


def test_n_24_progress_before_the_confirmation_is_409(site, device):
    """[N-24] 409: the open task is in a state in which this makes no sense"""
    d, plan = offered(site, device)
    assert d.progress(plan["task"], "downloading")["code"] == 409


def test_n_25_progress_may_go_backwards_and_may_be_missing(site, device):
    """[N-25]"""
    d, plan, download = downloading(site, device)
    for percent in (50, 90, 20, 100):
        assert d.progress(plan["task"], "downloading", percent=percent)["code"] == 200
    assert site.one("SELECT percent FROM task_component")["percent"] == 100
    d.install(download, verbose=False)  # reports nothing but its version
    assert site.task("d1")["state"] == "succeeded"


def test_n_26_deadlines(site, device):
    """[N-26] `sleep` is a lower bound (the rest: test_upgrade.py)"""
    site.pump(download_s=60)
    d = device()
    d.report(sleep=3600)
    download = d.accept(d.take("plan"))
    assert download["deadlineIn"] >= 3600
    now = site.one("SELECT commit_ms FROM engine_state")["commit_ms"]
    assert site.task("d1")["deadline_ms"] - now >= 3_590_000


def test_n_27_success_needs_every_component_at_its_target(site, device):
    """[N-27]"""
    site.pump("a", "b")
    d = device(versions={"a": "1.0", "b": "1.0"})
    d.report()
    d.accept(d.take("plan"))
    d.reboot(a="2.0")
    d.report()
    assert site.task("d1")["state"] not in ("succeeded", "failed")
    d.reboot(b="2.0")
    d.report()
    assert site.task("d1")["state"] == "succeeded"


# ---------------------------------------------------------------------------------------------- blocks

def test_n_28_n_29_blocks(site, device):
    """[N-28] [N-29]"""
    d, plan, _ = downloading(site, device)
    data = content("main-2.0")
    ref = d.ask_blocks(plan["task"], "main", 0, 4000, 8, ref="b3")
    assert [d.take_block("b3", o) for o in (0, 4000, 8000)] == [data[:4000], data[4000:8000], data[8000:]]
    d.ask_blocks(plan["task"], "main", 8999, 128, 64, ref="b4")  # any offset, any order
    assert d.take_block("b4", 8999) == data[8999:]
    d.ask_blocks(plan["task"], "main", 1, 129, 2, ref="b5")
    assert [d.take_block("b5", o) for o in (1, 130)] == [data[1:130], data[130:259]]
    d.report()
    assert len([m for m in d.client.all if "/block/" in m.topic]) == 6  # never more than it asked for


def test_n_29_an_offset_past_the_end_is_416(site, device):
    """[N-29]"""
    d, plan, _ = downloading(site, device)
    for offset in (9000, 9001, 2**53 - 1):
        d.ask_blocks(plan["task"], "main", offset, 128, 1, id=f"o{offset}")
        reply = d.reply(f"o{offset}")
        assert reply["code"] == 416 and reply["to"] == "block" and reply["task"] == plan["task"]


def test_n_30_only_the_open_tasks_current_component_once_it_may_download(site, device):
    """[N-30]"""
    site.pump("a", "b")
    d = device(versions={"a": "1.0", "b": "1.0"})
    d.report()
    plan = d.take("plan")
    ask = lambda task, component, file=0: d.uplink("block", task=task, component=component, file=file, ref="r", offset=0,
                                                   length=128, count=1)["code"]
    assert ask(plan["task"], "a") == 409  # not accepted yet
    d.accept(plan)
    assert ask("neverHeardOf1", "a") == 404
    assert ask(plan["task"], "nosuch") == 404
    assert ask(plan["task"], "a", 1) == 404
    assert ask(plan["task"], "b") == 409
    d.ask_blocks(plan["task"], "a", 0, 128, 1, ref="ok")
    assert d.take_block("ok", 0) == content("a-2.0")[:128]
    site.want("spring", "canceled")
    d.take("cancel")
    assert ask(plan["task"], "a") == 410


def test_n_31_the_cancel_is_repeated_until_the_device_shows_that_it_knows(site, device):
    """[N-31] [N-12]"""
    d, plan, _ = downloading(site, device)
    d.client.kill()
    site.want("spring", "canceled")
    site.wait_task("d1", "canceled")
    d.connect()
    d.report(task=plan["task"])
    assert d.take("cancel")["task"] == plan["task"]
    d.reboot()
    d.report()  # names no task: it knows
    d.reboot()
    d.report()
    d.nothing("cancel")


def test_n_32_request(site, device):
    """[N-32]: 200 and the plan of the first eligible task, or 200 and nothing before it."""
    site.pump()
    d = device()
    assert d.report(request=True)["code"] == 200
    assert d.kinds() == ["plan", "reply"]
    other = device("d2", versions={"main": "2.0"})
    assert other.report(request=True)["code"] == 200
    assert other.kinds() == ["reply"]


def test_n_33_a_report_of_an_earlier_attempt_changes_nothing(site, device):
    """[N-33]: it is logged"""
    d, plan, _ = downloading(site, device, retry_max=1, retry_interval_s=0)
    d.progress(plan["task"], "failed", code=-2, attempt=1)
    assert d.take("download", attempt=2)
    before, events = site.task("d1"), len(site.events("d1"))
    assert d.progress(plan["task"], "failed", code=-2, attempt=1)["code"] == 200
    after = site.task("d1")
    assert {k: after[k] for k in ("state", "retries", "code")} == {k: before[k] for k in ("state", "retries", "code")}
    assert len(site.events("d1")) > events


# ---------------------------------------------------------------------------------------------- replies

def test_replies_repeat_the_task(site, device):
    """[N-7] Every reply to an uplink with a `task` repeats it."""
    d, plan = offered(site, device)
    assert d.confirm(plan["task"])["task"] == plan["task"]
    assert d.progress(plan["task"], "downloading")["task"] == plan["task"]
    assert d.report(task=plan["task"])["task"] == plan["task"]
    assert d.confirm("neverHeardOf1")["task"] == "neverHeardOf1"


def test_413_payload_too_large(site, device):
    """[N-5] 16 KiB; 413 is made without decoding: `to` and no `id`"""
    site.product()
    d = device()
    body = json.dumps({"id": "1", "components": d.versions, "x": ""})
    d.send("version", body[:-2] + "y" * (16384 - len(body)) + '"}')
    assert d.reply("1")["code"] == 200
    d.send("version", body[:-2] + "y" * (16385 - len(body)) + '"}')
    reply = d.take("reply", code=413)
    assert reply["to"] == "version" and "id" not in reply


def test_429_too_many_messages(site, device):
    """The 429 carries `retryAfter` and comes at most once a second."""
    site.product()
    d = device()
    d.report()
    payload = json.dumps({"components": d.versions, "battery": 50})
    with site.locked():  # so that the share stays full
        started = time.monotonic()
        for _ in range(400):
            d.send("version", payload, wait=False, qos=0)
        reply = d.take("reply", code=429)
        assert reply["retryAfter"] >= 1 and "id" not in reply
        d.client.ping()
        assert len(d.waiting("reply")) <= time.monotonic() - started

    def answered():  # the share is full until the batch is committed
        id = d.next_id()
        d.send("version", {"id": id, "components": d.versions}, wait=False)
        try:
            return d.reply(id, timeout=1)["code"] == 200
        except AssertionError:
            return False
    eventually(answered)


def test_hostile_uplinks_do_no_harm(site, device):
    """[N-5] [N-6]"""
    import random
    site.pump()
    rng, d = random.Random(2), device()
    seeds = [json.dumps({"id": "1", "components": {"main": "1.0"}, "bootId": "b", "trial": ["main"]}).encode(),
             json.dumps({"task": "abcdefgh", "component": "main", "state": "failed", "code": -3}).encode()]
    for n in range(600):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        d.client.publish(d.topic("up/" + rng.choice(["version", "confirm", "progress", "block", "x", "version/x"])), bytes(data), qos=1)
    d.reboot()
    assert d.report()["code"] == 200 and site.alive()
