"""The main job: a device upgrades through the broker, in every way that a device can take it."""

import json
import time

import pytest

from broker import LONG, content
from device import Device


def test_main_flow(site, device):
    """000-05 000-06 000-07 000-10 000-11 000-12 000-14 000-17 000-18 [N-9] [N-19] [N-20] [N-27]"""
    site.pump()
    d = device()
    assert d.report()["code"] == 200
    plan = d.take("plan")
    assert plan["plan"] == "spring" and plan["mode"] == "silent"
    assert plan["components"] == [{"name": "main", "type": "firmware", "package": "full", "from": "1.0", "to": "2.0",
                                   "bytes": 9000, "boot": True}]
    assert site.task("d1")["state"] == "offered"
    download = d.accept(plan)
    assert (download["component"], download["attempt"], download["to"]) == ("main", 1, "2.0")
    assert site.task("d1")["state"] == "accepted"
    assert d.fetch_file(download["files"][0]) == content("main-2.0")
    for state, task in (("downloading", "downloading"), ("downloaded", "downloading"), ("verifying", "downloading"),
                        ("installing", "installing"), ("rebooting", "rebooting")):
        assert d.progress(plan["task"], state, percent=50)["code"] == 200
        assert site.task("d1")["state"] == task, state
    d.reboot(main="2.0")
    assert d.report(task=plan["task"])["code"] == 200
    task = site.task("d1")
    assert (task["state"], task["reason"]) == ("succeeded", "at_target")
    assert site.versions("d1") == {"main": "2.0"}
    d.nothing()


def test_events_of_an_upgrade_are_in_the_log(site, device):
    """000-15 000-16 000-32"""
    site.pump()
    d = device()
    d.upgrade()
    states = [e["new_state"] for e in site.events("d1", plan="spring") if e["new_state"] and e["new_state"] != e["old_state"]]
    assert [s for s in states if s != "queued"] == ["offered", "accepted", "downloading", "installing", "rebooting", "succeeded"]
    site.wait_log(r"ota: audit .*spring")


def test_the_plan_that_is_activated_later_is_pushed_to_a_device_that_is_there(site, device):
    """000-30"""
    site.product()
    site.package()
    d = device()
    assert d.report()["code"] == 200
    d.nothing()
    site.plan()
    assert d.take("plan")["plan"] == "spring"


def test_several_components_are_upgraded_in_the_order_of_the_plan(site, device):
    """000-12 000-24 [N-20]"""
    site.pump({"name": "mcu", "type": "mcu", "boot": 0}, "main", {"name": "cfg", "type": "config", "boot": 0})
    d = device(versions={"main": "1.0", "mcu": "1.0", "cfg": "1.0"})
    d.report()
    plan = d.take("plan")
    assert [(c["name"], c["type"], c.get("boot", False)) for c in plan["components"]] == [
        ("mcu", "mcu", False), ("main", "firmware", True), ("cfg", "config", False)]
    download = d.accept(plan)
    for component in ("mcu", "main", "cfg"):
        assert download["component"] == component
        d.fetch_file(download["files"][0])
        assert d.progress(plan["task"], "installing", component)["code"] == 200
        d.nothing("download")  # the next one only after the report that proves this one
        if component == "main":
            d.reboot(main="2.0")
        else:
            d.versions[component] = "2.0"
        assert d.report()["code"] == 200
        if component != "cfg":
            assert site.task("d1")["state"] == "accepted"
            download = d.take("download")
    assert site.task("d1")["state"] == "succeeded"


def test_a_component_at_its_target_is_skipped(site, device):
    """[N-20]"""
    site.pump("a", "b", "c")
    d = device(versions={"a": "1.0", "b": "2.0", "c": "1.0"})
    d.report()
    plan = d.take("plan")
    assert [c["name"] for c in plan["components"]] == ["a", "c"]
    download = d.accept(plan)
    assert download["component"] == "a"
    d.install(download)
    assert d.take("download")["component"] == "c"


def test_a_device_at_the_target_is_not_asked(site, device):
    site.pump()
    d = device(versions={"main": "2.0"})
    assert d.report(request=True)["code"] == 200
    d.nothing()
    task = site.task("d1")
    assert task is None or (task["state"], task["reason"]) == ("succeeded", "at_target_already")


def test_a_refusal_ends_the_task(site, device):
    """[N-19]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    assert d.confirm(plan["task"], False, reason="engine is running")["code"] == 200
    task = site.task("d1")
    assert (task["state"], task["reason"]) == ("refused", "device_refused") and "engine is running" in task["detail"]
    d.reboot()
    d.report()
    d.nothing()


def test_a_postponed_offer_comes_again_after_the_time_and_is_no_failure(make_site):
    """[N-19]"""
    site = make_site(first=True)  # deadlines of a database that rested for less than a minute are behind by that
    site.pump()
    d = Device(site)
    d.report()
    plan = d.take("plan")
    assert d.confirm(plan["task"], False, retryAfter=60)["code"] == 200
    task = site.task("d1")
    assert task["state"] == "postponed"
    postponed = site.events("d1", new_state="postponed")[0]["at_ms"]
    assert 55_000 <= task["deadline_ms"] - postponed <= 61_000
    if LONG:
        d.nothing("plan")
        assert d.take("plan", timeout=90)["task"] == plan["task"]
        d.install(d.accept(plan))
        assert site.task("d1")["state"] == "succeeded"


def test_a_retry_after_out_of_range_is_treated_as_absent(site, device):
    """[N-6] [N-19]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    reply = d.confirm(plan["task"], False, retryAfter=59)
    assert reply["code"] == 200 and "retryAfter" in reply["warning"]
    assert site.task("d1")["state"] == "refused"


@pytest.mark.parametrize("code, reason", [(-1, "device_failed"), (-2, "download_failed"), (-3, "verify_failed"),
                                          (-4, "write_failed"), (-17, "device_failed")])
def test_failure_codes_end_the_task_with_their_reason(site, device, code, reason):
    """[N-24]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    assert d.progress(plan["task"], "failed", code=code, message="in words")["code"] == 200
    task = site.task("d1")
    assert (task["state"], task["reason"], task["code"]) == ("failed", reason, code)
    assert "in words" in task["detail"]


def test_a_device_that_refuses_with_a_code(site, device):
    """[N-24] -5"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    assert d.progress(plan["task"], "failed", code=-5)["code"] == 200
    assert site.task("d1")["state"] in ("failed", "refused") and site.task("d1")["code"] == -5


def test_failed_attempts_are_repeated_as_often_as_the_plan_says(site, device):
    """000-28 [N-21] [N-33]"""
    site.pump(retry_max=2, retry_interval_s=0)
    d = device()
    d.report()
    plan = d.take("plan")
    first = d.accept(plan)
    for attempt in (1, 2):
        assert d.progress(plan["task"], "failed", code=-2, attempt=attempt)["code"] == 200
        again = d.take("download", attempt=attempt + 1)
        assert again["task"] == plan["task"] and again["files"][0]["sha256"] == first["files"][0]["sha256"]
    assert d.progress(plan["task"], "failed", code=-2, attempt=3)["code"] == 200
    assert (site.task("d1")["state"], site.task("d1")["reason"]) == ("failed", "download_failed")
    d.nothing("download")


def test_the_next_attempt_waits_for_the_interval(site, device):
    site.pump(retry_max=1, retry_interval_s=1)
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    before = time.monotonic()
    assert d.progress(plan["task"], "failed", code=-3)["code"] == 200
    again = d.client.take_topic(d.topic("down/download"))
    assert json.loads(again.payload)["attempt"] == 2
    assert again.at - before > 0.99
    assert site.events("d1", new_state="retrying")


def test_success_after_a_reported_failure(site, device):
    """[N-27]"""
    site.pump(retry_max=1, retry_interval_s=3600)
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    d.progress(plan["task"], "failed", code=-4)
    d.reboot(main="2.0")
    assert d.report()["code"] == 200
    assert (site.task("d1")["state"], site.task("d1")["reason"]) == ("succeeded", "at_target")


def test_success_after_the_task_had_failed(site, device):
    """[N-27] A report of the target is success even after a reported failure."""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    d.progress(plan["task"], "failed", code=-4)
    assert site.task("d1")["state"] == "failed"
    d.reboot(main="2.0")
    assert d.report()["code"] == 200
    assert site.task("d1")["state"] == "succeeded"


def test_a_component_that_boots_is_proved_only_by_another_boot(site, device):
    """[N-15]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    d.versions["main"] = "2.0"
    assert d.report()["code"] == 200  # same boot, same connection: no proof
    assert site.task("d1")["state"] not in ("succeeded", "failed")
    d.boot_id = "another"
    assert d.report()["code"] == 200
    assert site.task("d1")["state"] == "succeeded"


def test_a_component_that_boots_is_proved_on_a_new_connection_without_boot_ids(site, device):
    """[N-15]"""
    site.pump()
    d = device()
    d.report(bootId=None)
    d.accept(d.take("plan"))
    d.versions["main"] = "2.0"
    d.report(bootId=None)
    assert site.task("d1")["state"] not in ("succeeded", "failed")
    d.client.kill()
    d.connect()
    d.report(bootId=None)
    assert site.task("d1")["state"] == "succeeded"


def test_a_component_that_does_not_boot_is_proved_by_the_report(site, device):
    """[N-15]"""
    site.pump({"name": "cfg", "boot": 0})
    d = device(versions={"cfg": "1.0"})
    d.report()
    d.accept(d.take("plan"))
    d.versions["cfg"] = "2.0"
    d.report()
    assert site.task("d1")["state"] == "succeeded"


def test_a_trial_boot_is_no_success_until_it_is_kept(site, device):
    """[N-14]"""
    site.pump("main", "next")
    d = device(versions={"main": "1.0", "next": "1.0"})
    d.report()
    d.accept(d.take("plan"))
    d.reboot(main="2.0")
    assert d.report(trial=["main"])["code"] == 200
    d.nothing("download")
    assert site.task("d1")["state"] == "rebooting"
    assert d.report()["code"] == 200
    assert d.take("download")["component"] == "next"


def test_back_after_a_trial_is_a_roll_back(site, device):
    """[N-14]"""
    site.pump()
    d = device()
    d.report()
    d.accept(d.take("plan"))
    d.reboot(main="2.0")
    d.report(trial=["main"])
    d.reboot(main="1.0")
    assert d.report()["code"] == 200
    assert (site.task("d1")["state"], site.task("d1")["reason"]) == ("failed", "rolled_back")


@pytest.mark.parametrize("state", ["installing", "rebooting"])
def test_the_old_version_after_installing_is_a_roll_back(site, device, state):
    """[N-14]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    d.progress(plan["task"], state)
    d.reboot()
    assert d.report()["code"] == 200
    assert (site.task("d1")["state"], site.task("d1")["reason"]) == ("failed", "rolled_back")


def test_a_roll_back_that_the_device_reports(site, device):
    """[N-24]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    assert d.progress(plan["task"], "rolledBack")["code"] == 200
    assert (site.task("d1")["state"], site.task("d1")["reason"]) == ("failed", "rolled_back")


def test_an_interruption_before_installing_is_no_roll_back_however_often(site, device):
    """[N-14]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    d.progress(plan["task"], "downloading", percent=10)
    for _ in range(5):
        d.reboot()
        assert d.report()["code"] == 200
        assert d.take("download")["attempt"] == 1  # [N-12] the current message again
        assert site.task("d1")["state"] in ("accepted", "downloading")
    d.reboot()
    d.report()
    d.install(d.take("download"))
    assert site.task("d1")["state"] == "succeeded"


def test_a_foreign_version_ends_the_task(site, device):
    site.pump()
    d = device()
    d.report()
    d.accept(d.take("plan"))
    d.reboot(main="7.7")
    d.report()
    task = site.task("d1")
    assert (task["state"], task["reason"]) == ("failed", "foreign_version") and "7.7" in task["detail"]


@pytest.mark.parametrize("stage", ["offered", "accepted", "downloading", "waiting", "installing"])
def test_a_canceled_plan_withdraws_the_task(site, device, stage):
    """[N-31]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    if stage != "offered":
        d.accept(plan)
    if stage not in ("offered", "accepted"):
        d.progress(plan["task"], stage)
    site.want("spring", "canceled")
    cancel = d.take("cancel")
    assert cancel["task"] == plan["task"] and cancel["reason"]
    assert site.wait_task("d1", "canceled")["reason"] == "plan_canceled"
    assert d.confirm(plan["task"])["code"] == 410  # [N-19] a confirm that crosses a cancel


def test_a_device_that_installed_in_spite_of_the_cancel_is_taken_at_its_word(site, device):
    """[N-31] later reports of its version are still taken"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    d.progress(plan["task"], "installing")
    site.want("spring", "canceled")
    d.take("cancel")
    d.reboot(main="2.0")
    assert d.report(task=plan["task"])["code"] == 200
    assert site.versions("d1") == {"main": "2.0"}


def test_a_request_cancels_one_task(site, device):
    site.pump()
    d, other = device("d1"), device("d2")
    d.report(), other.report()
    plan, other_plan = d.take("plan"), other.take("plan")
    row = site.request("cancel", plan="spring", product="pump", device="d1")
    assert row["state"] == "done", row
    assert d.take("cancel")["task"] == plan["task"]
    assert site.wait_task("d1", "canceled")["reason"] == "task_canceled"
    other.accept(other_plan)


def test_a_request_retries_a_failed_task_under_a_new_name(site, device):
    """[N-15] task ids never come back"""
    site.pump()
    d = device()
    d.report()
    first = d.take("plan")
    d.accept(first)
    d.progress(first["task"], "failed", code=-1)
    row = site.request("retry", plan="spring", product="pump", device="d1")
    assert row["state"] == "done", row
    second = d.take("plan")
    assert second["task"] != first["task"]
    d.install(d.accept(second))
    assert site.task("d1")["state"] == "succeeded"


@pytest.mark.parametrize("stage", ["offered", "accepted", "downloading", "waiting", "installing", "rebooting"])
def test_a_power_cut_in_any_state_is_survived(site, device, stage):
    """[N-12]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    if stage != "offered":
        d.accept(plan)
    if stage not in ("offered", "accepted"):
        d.progress(plan["task"], stage)
    target = "2.0" if stage in ("installing", "rebooting") else "1.0"
    d.reboot(main=target)
    assert d.report(task=plan["task"])["code"] == 200
    if target == "1.0":
        if stage == "offered":
            again = d.take("plan")
            assert again["task"] == plan["task"]
            download = d.accept(again)
        else:
            download = d.take("download")
        assert download["task"] == plan["task"] and download["attempt"] == 1
        assert download["files"][0]["url"].startswith("http://")
        assert d.install(download)["code"] == 200
    assert site.task("d1")["state"] == "succeeded"


def test_the_offer_is_made_once_per_connection(site, device):
    """000-07 [N-12]: what is owed is sent once per connection."""
    site.pump()
    d = device()
    for _ in range(4):
        d.report()
    assert d.kinds().count("plan") == 1
    d.reboot()
    for _ in range(4):
        d.report()
    assert d.kinds().count("plan") == 1


def test_without_confirmation_the_download_follows_the_plan(site, device):
    """[N-19]"""
    site.pump(product={"auto_confirm": 1})
    d = device()
    d.report()
    assert d.kinds() == ["plan", "download", "reply"]
    assert d.install(d.take("download"))["code"] == 200
    assert site.task("d1")["state"] == "succeeded"


def test_manual_mode_carries_the_text_in_the_language_of_the_device(site, device):
    """[N-15] [N-19]"""
    site.pump(mode="manual", texts={"en": "Fixes the pump.", "de": "Repariert die Pumpe."})
    d = device()
    d.report(lang="de")
    plan = d.take("plan")
    assert plan["mode"] == "manual" and plan["text"] == "Repariert die Pumpe." and "consent" not in plan
    d.install(d.accept(plan))  # the device's accept is the user's consent too
    assert site.task("d1")["state"] == "succeeded"


def test_consent_given_on_the_platform_comes_with_the_offer(site, device):
    """[N-15]"""
    site.pump(mode="manual", texts={"en": "Fixes the pump."})
    d = device()
    d.report(lang="en")
    plan = d.take("plan")
    row = site.request("consent", plan="spring", product="pump", device="d1")
    assert row["state"] == "done", row
    again = d.take("plan")
    assert again["task"] == plan["task"] and again["consent"] is True


def test_blocks_only(site, device):
    """[N-20] [N-28] [N-29]: `url` is absent when the plan says MQTT delivery only."""
    site.pump(product={"http": 0})
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    assert download["blocks"] is True and "url" not in download["files"][0]
    assert d.fetch_blocks(download, length=1000, count=3) == content("main-2.0")
    d.install(download, blocks=True)
    assert site.task("d1")["state"] == "succeeded"


def test_http_only(site, device):
    """[N-20]"""
    site.pump(product={"blocks": 0})
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    assert not download.get("blocks") and download["files"][0]["url"]


def test_a_package_of_five_files(site, device):
    site.product()
    site.package(content=[content(f"part{n}", 1000 + n) for n in range(5)])
    site.plan()
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    assert len(download["files"]) == 5
    for n, file in enumerate(download["files"]):
        assert d.fetch_file(file) == content(f"part{n}", 1000 + n)
        assert d.fetch_blocks(download, n) == content(f"part{n}", 1000 + n)


def test_a_delta_is_chosen_for_the_versions_that_have_one(site, device):
    """000-20 000-23"""
    site.product()
    site.package(content=content("full"))
    site.package(name="main-2.0-delta", kind="delta", sets={"1.0": [content("1to2", 500)], "1.5": [content("15to2", 600)]})
    site.plan(components=[("main", "main-2.0", "main-2.0-delta")])
    for name, version, kind, data in (("a", "1.0", "delta", content("1to2", 500)), ("b", "1.5", "delta", content("15to2", 600)),
                                      ("c", "1.2", "full", content("full"))):
        d = device(name, versions={"main": version})
        d.report()
        plan = d.take("plan")
        assert (plan["components"][0]["package"], plan["components"][0]["from"]) == (kind, version)
        download = d.accept(plan)
        assert download["package"] == kind and download["from"] == version
        assert d.fetch_file(download["files"][0]) == data


def test_waiting_is_no_failure_and_uses_no_attempt(site, device):
    """[N-24]"""
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    assert d.progress(plan["task"], "waiting", reason="engine is running", retryAfter=900)["code"] == 200
    task = site.task("d1")
    assert task["state"] == "waiting" and "engine is running" in task["detail"]
    d.progress(plan["task"], "downloading", percent=1)
    assert site.task("d1")["state"] == "downloading"


def test_a_device_that_says_nothing_after_its_acceptance_fails_by_the_deadline(site, device):
    """[N-26]"""
    site.pump(download_s=1)
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    assert download["deadlineIn"] == 1
    task = site.wait_task("d1", "failed")
    assert task["reason"] == "download_timeout"


def test_any_uplink_of_the_task_restarts_the_deadline_and_eta_extends_it(site, device):
    """[N-26]"""
    site.pump(download_s=60, longest_s=600)
    d = device()
    d.report()
    plan = d.take("plan")
    d.accept(plan)
    before = site.task("d1")["deadline_ms"]
    d.progress(plan["task"], "downloading", percent=1)
    middle = site.task("d1")["deadline_ms"]
    assert middle >= before
    d.progress(plan["task"], "downloading", percent=2, eta=300)
    assert site.task("d1")["deadline_ms"] - middle > 200_000
    d.progress(plan["task"], "downloading", percent=3, eta=100000)
    assert site.task("d1")["deadline_ms"] - middle < 700_000  # up to the plan's limit


def test_install_and_reboot_have_deadlines_of_their_own(site, device):
    site.pump(install_s=1, reboot_s=1)
    d, e = device("d1"), device("e1")
    for x, state in ((d, "installing"), (e, "rebooting")):
        x.report()
        plan = x.take("plan")
        x.accept(plan)
        x.progress(plan["task"], state)
    assert site.wait_task("d1", "failed")["reason"] == "install_timeout"
    assert site.wait_task("e1", "failed")["reason"] == "reboot_timeout"


def test_an_unanswered_offer_is_made_again_when_the_device_is_heard_of(site, device):
    site.pump(offer_s=1)
    d = device()
    d.report()
    plan = d.take("plan")
    assert plan["expiresIn"] == 1
    task = site.wait_task("d1", "queued")
    assert task["reason"] == "offer_unanswered"
    d.reboot()
    d.report()
    assert d.take("plan")["components"] == plan["components"]


def test_an_unsubscribed_device_loses_nothing(site, device):
    """[N-2]: a device that reports before it subscribes gets its plan at its next connection."""
    site.pump()
    d = device(connect=False)
    d.connect(subscribe=False)
    d.send("version", {"components": d.versions, "id": "1"}, wait=False)
    site.wait_task("d1", "offered")
    d.reboot()
    d.report()
    assert d.take("plan")


@pytest.mark.parametrize("version", [4, 5])
def test_both_versions_of_mqtt(site, device, version):
    site.pump()
    d = device(version=version)
    d.upgrade()
    assert site.task("d1")["state"] == "succeeded"


def test_many_devices_at_once(site, device):
    """000-25"""
    site.pump()
    devices = [device(f"d{n}") for n in range(30)]
    for d in devices:
        d.send("version", {"components": d.versions, "bootId": "b1"}, wait=False)
    for d in devices:
        d.accept(d.take("plan"))
    for d in devices:
        d.reboot(main="2.0")
        assert d.report()["code"] == 200
    assert site.one("SELECT count(*) AS n FROM task WHERE state='succeeded'")["n"] == 30


def test_a_report_that_changes_nothing_is_answered_while_the_database_is_locked(site, device):
    """[N-11]: there is nothing to be stored. What changes something waits, and so does what comes behind it."""
    site.pump()
    d = device(versions={"main": "2.0"})
    first = d.report()
    assert d.report()["code"] == 200
    site.stop()  # the engine answers the second report of the next connection, the broker's thread the third
    site.start()
    d.connect()
    answers = [d.report() for _ in range(3)]
    for answer in answers:
        assert abs(answer.pop("now") - time.time()) < 60 and answer.pop("id")
    assert answers == [answers[0]] * 3 == [{k: v for k, v in first.items() if k not in ("now", "id")}] * 3
    with site.locked():
        for _ in range(3):
            assert d.report()["code"] == 200
        for id, version in (("changed", "2.1"), ("behind", "2.0")):  # the second is as those before, byte for byte
            d.send("version", {"components": {"main": version}, "bootId": d.boot_id, "id": id}, wait=False)
        d.client.ping()
        d.nothing("reply")
    assert d.reply("changed")["code"] == 200
    assert d.reply("behind")["code"] == 200
    assert site.versions("d1") == {"main": "2.0"}
    assert [e["detail"] for e in site.events("d1", event="report")][-2:] == ["2.0 -> 2.1", "2.1 -> 2.0"]
    site.restart()
    assert time.time() - site.device_row("d1")["seen_ms"] / 1000 < 60
