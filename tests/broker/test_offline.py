"""Devices that are away, come back, change their client id, take a connection over: where the device is now."""

import signal

import pytest

import mqtt
from broker import eventually
from device import Device


def away_is(site, name):
    """The plan was not sent to this device, whereas one that is there has it. The witness's own report may be decided
    before the plan has reached all devices: that this one's turn has come is what its reason says."""
    witness = Device(site, "witness")
    witness.report()
    witness.take("plan")
    site.wait_task(name, "queued", reason="offline")


@pytest.mark.parametrize("clean", [True, False])
def test_a_plan_activated_while_the_device_is_away_reaches_it(site, device, clean):
    site.product()
    site.package()
    d = device(clean=clean)
    d.report()
    d.disconnect()
    site.plan()
    d.connect()
    assert d.report()["code"] == 200
    assert d.take("plan")["plan"] == "spring"
    d.report()
    assert len({m.payload for m in d.client.all if m.topic.endswith("/plan")}) == 1


@pytest.mark.parametrize("clean", [True, False])
def test_after_a_restart_of_the_broker_too(make_site, clean):
    site = make_site(persistence=not clean)
    site.product()
    site.package()
    d = Device(site, clean=clean)
    d.report()
    d.disconnect()
    site.plan()
    site.restart()
    d.connect()
    d.report()
    assert d.take("plan")["plan"] == "spring"


def test_a_persistent_session_that_does_not_subscribe_again(site, device):
    """On 2.0 its first uplink is the only sign of it."""
    site.product()
    site.package()
    d = device(clean=False)
    d.report()
    d.disconnect()
    site.plan()
    d.connect(subscribe=False)
    assert d.client.session_present
    d.report()
    assert d.take("plan")


def test_an_upgrade_survives_a_restart_of_the_broker_in_the_middle(site, device):
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    url = d.accept(plan)["files"][0]["url"]
    d.progress(plan["task"], "downloading", percent=10)
    site.restart()
    assert d.fetch(url)[0] == 200  # the token's key is a file: addresses survive a restart
    d.connect()
    d.report(task=plan["task"])
    download = d.take("download")
    assert download["attempt"] == 1
    d.install(download)
    assert site.task("d1")["state"] == "succeeded"


def test_after_sigkill_everything_owed_is_sent_again(site, device):
    site.pump()
    d = device()
    d.report()
    plan = d.take("plan")
    site.kill()
    site.forget_clients()
    site.start()
    d.connect()
    d.report()
    assert d.take("plan")["task"] == plan["task"]


def test_once_per_connection(site, device):
    site.pump()
    d = device()
    for _ in range(3):
        d.report(), d.report()
        assert d.kinds().count("plan") == 1
        d.disconnect()
        d.connect()


def test_the_client_id_changes_at_every_start(site, device):
    site.product()
    site.package()
    d = device(client_id="start-1")
    d.report()
    d.client.kill()
    for n in range(2, 6):
        d.client_id = f"start-{n}"
        d.reboot()
        d.report()
    site.plan()
    d.take("plan")
    eventually(lambda: site.health()["connected"] == 1)


def test_the_connection_that_spoke_last_is_the_one_addressed(site, device):
    """Two connections of one device: both are subscribed, so both hear; the older one's end does not make the
    device absent."""
    site.product()
    site.package()
    d = device(client_id="old")
    d.report()
    old = d.client
    d.client_id = "new"
    d.connect()
    d.report()
    old.disconnect()
    site.plan()
    assert d.take("plan")


def test_take_over_of_a_connection(site, device):
    """mosquitto#2400: the DISCONNECT of the old connection may come after the new one."""
    site.product()
    site.package()
    d = device()
    d.report()
    for _ in range(5):
        old = d.client
        d.connect()  # same client id
        old.wait_closed()
        d.report()
    site.plan()
    d.take("plan")
    eventually(lambda: site.health()["connected"] == 1)


def test_a_device_that_left_is_away(site, device):
    site.product()
    site.package()
    d = device()
    d.report()
    d.disconnect()
    site.plan()
    site.wait_task("d1", "queued", reason="offline")
    eventually(lambda: site.health()["connected"] == 0)


def test_a_will_is_no_sign_of_life(site, device):
    """A WRITE check may be a will, sent after the disconnect."""
    site.product()
    site.package()
    d = device(will=mqtt.Will("ota/v1/pump/d1/up/version", '{"components":{"main":"0.1"}}', 1))
    d.report()
    d.client.kill()
    watcher = site.client("w")
    watcher.ping()
    site.plan()
    away_is(site, "d1")
    assert site.versions("d1") == {"main": "1.0"}


def test_another_program_of_the_device_is_no_presence(site, device):
    """A login may be the device's other program."""
    site.product()
    site.package()
    d = device()
    d.report()
    d.disconnect()
    other = site.client("telemetry", "pump/d1")
    other.subscribe("telemetry/#")
    other.publish("telemetry/x", "1")
    site.plan()
    away_is(site, "d1")


def test_queued_messages_of_an_absent_session_are_no_presence(site, device):
    """A READ check may be for a session that is away."""
    site.product()
    site.package()
    d = device(clean=False)
    d.report()
    d.disconnect()
    site.plan()
    site.client("noise").publish("any/topic", "x")
    away_is(site, "d1")


def test_sighup(site, device):
    """On 2.0 SIGHUP replays BASIC_AUTH for every session, also those that are away."""
    site.product()
    site.package()
    there, away = device("there"), device("away", clean=False)
    there.report(), away.report()
    away.disconnect()
    size = len(site.log())
    site.signal(signal.SIGHUP)
    site.wait_log("(?i)reload", start=size)
    there.report()
    site.plan()
    there.take("plan")
    away_is(site, "away")
    away.connect()
    away.report()
    away.take("plan")


def test_a_message_for_a_connection_that_is_gone_is_sent_to_the_next(site, device):
    """The addressee left between the decision and the sending."""
    site.pump()
    d = device(connect=False)
    for _ in range(30):
        d.connect()
        d.send("version", {"components": d.versions}, wait=False)
        d.client.kill()
    d.connect()
    d.report()
    assert d.take("plan")


def test_a_device_that_reports_qos_0_and_leaves_is_known(site, device):
    site.pump()
    d = device()
    d.client.publish(d.topic("up/version"), '{"components":{"main":"1.0"}}', qos=0)
    d.disconnect()
    eventually(lambda: site.device_row("d1"))
    d.connect()
    d.report()
    d.take("plan")
