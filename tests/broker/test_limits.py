"""What exceeds a limit: connections past the file descriptors, clients that never read, floods of progress, downloads
beside many devices, a plan for very many devices taken back at once. FAULTS.md has the promises."""

import contextlib
import csv
import errno
import json
import os
import pathlib
import re
import resource
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time

import pytest

import mqtt
from broker import LONG, PLUGIN, SEED, TIMEOUT, broker_version, content, eventually
from device import Device

FLEET = pathlib.Path(PLUGIN).parent / "ota-fleet"


@contextlib.contextmanager
def descriptors(number):
    """What is started inside has this soft limit of file descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def most_descriptors(wanted):
    """Raises this process's own limit as far as it may; gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_connections_past_the_file_descriptors(make_site):
    """Who is connected keeps being served; who comes too late is turned away by the broker and finds room later."""
    if "OTA_PRELOAD" in os.environ:
        pytest.skip("the sanitizer looks at memory through a pipe, and takes it for wrong where no descriptor is left")
    many = min(20_000 if LONG else 3_000, most_descriptors(20_500) - 300)
    site = make_site(start=False)
    with descriptors(1024):
        site.start()
    site.pump(white=["d0"])
    devices = [Device(site, f"d{n}") for n in range(10)]
    for d in devices:
        assert d.report()["code"] == 200
    plan = devices[0].take("plan")
    greedy = []
    try:
        for n in range(many):
            s = socket.socket()
            s.setblocking(False)
            greedy.append(s)
            s.bind((f"127.0.1.{n % 200 + 1}", 0))
            assert s.connect_ex(("127.0.0.1", site.port)) in (0, errno.EINPROGRESS, errno.EAGAIN)
            if n % 100 == 99:
                hello(greedy[-100:], n)
        for d in devices:  # in the middle of it
            assert d.report()["code"] == 200
        d0 = devices[0]
        assert d0.confirm(plan["task"])["code"] == 200
        download = d0.take("download")
        d0.fetch_blocks(download)  # no descriptor is needed for what the connection brings
        d0.fetch_file(download["files"][0])  # these are not the broker's
        assert d0.progress(plan["task"], "installing")["code"] == 200
        assert site.alive()
    finally:
        for s in greedy:
            s.close()
    late = eventually(lambda: arrives(site), 60, "room for new connections")
    assert late.report()["code"] == 200
    d0.client.kill()
    d0.versions["main"] = "2.0"
    d0.boot_id = "after"
    d0.connect()
    assert d0.report()["code"] == 200
    assert site.task("d0")["state"] == "succeeded" and site.integrity() == ["ok"]
    print(f"{many} connections at a limit of 1024")


def hello(sockets, n):
    for i, s in enumerate(sockets):
        body = mqtt.string("MQTT") + bytes([4, 2]) + struct.pack("!H", 60) + mqtt.string(f"greedy-{n}-{i}")
        with contextlib.suppress(OSError):
            s.send(mqtt.packet(mqtt.CONNECT, 0, body))


def arrives(site):
    try:
        return Device(site, "late")
    except (OSError, mqtt.Closed, AssertionError):
        return None


def test_many_devices_and_downloads_within_few_descriptors(make_site):
    """Downloads never take the descriptors of MQTT clients: all devices stay connected, and all finish."""
    # So slow that the room is full whenever the devices come to it.
    devices, limit, downloads, slow = (800, 1024, 300, "400000") if LONG else (150, 200, 60, "150000")
    with descriptors(limit):
        site = make_site(options={"download_connections": str(downloads)})
    site.product()
    site.package(content=content("big", 1_500_000))  # more than the system takes off the server's hands
    site.plan()
    outcomes, figures = site.directory / "outcomes.csv", site.directory / "figures.json"
    fleet = subprocess.Popen(
        [FLEET, "--port", str(site.port), "--devices", str(devices), "--files", "http", "--mix", "plain=1,slow=1", "--slow-bytes", slow,
         "--persistent", "0", "--wait-for-task", "--spread-addresses", "--quiet", "--seed", str(SEED), "--stay-connected", "--timeout", "280",
         "--reply-s", "30", "--outcomes", outcomes, "--json", figures], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    most = 0
    while fleet.poll() is None:
        most = max(most, site.descriptors())
        time.sleep(0.05)
    text = fleet.communicate()[0]
    assert fleet.returncode == 0, text[-4000:]
    with open(outcomes, newline="") as file:
        assert {row[5] for row in csv.reader(file)} == {"succeeded"}
    assert site.one("SELECT count(*) AS n FROM task WHERE state='succeeded'")["n"] == devices
    assert most > limit, "fewer at the same time than one table of descriptors would have had room for"
    assert json.loads(figures.read_text())["counters"].get("http status 503", 0) > 0  # beyond the room
    print(f"OTA_SEED={SEED}: {devices} devices, {downloads} downloads, {limit} descriptors, {most} of two tables at a time\n{text}")


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY or "OTA_PRELOAD" in os.environ,
                    reason="the limit of the stack cannot be raised, or is a sanitizer's")
@pytest.mark.parametrize("wake", ["signal", "tick"])  # the first thread is that of the wake, or the engine's
def test_a_thread_that_cannot_be_started_is_named(make_site, wake):
    site = make_site(options={"wake": wake}, start=False)
    site.may_end = True
    before = resource.getrlimit(resource.RLIMIT_STACK)
    try:
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 47, before[1]))  # the stack of a thread finds no room
        site.spawn()
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, before)
    assert site.process.wait(TIMEOUT) != 0
    assert "ota: the plugin cannot be started: Resource temporarily unavailable" in site.log()


@pytest.mark.skipif(broker_version() >= (2, 1, 0), reason="Mosquitto 2.1 ends itself when its limit is below what it has")
def test_a_broker_without_memory(make_site):
    """Mosquitto's own limit of memory: what cannot be published is one line of the log, and owed again."""
    site = make_site()
    site.product()
    site.package()
    devices = [Device(site, f"d{n}") for n in range(20)]
    for d in devices:
        d.report()
    site.lines.append("memory_limit 1")
    (site.directory / "mosquitto.conf").write_text(site.configuration())
    site.signal(signal.SIGHUP)
    site.wait_log("Reloading config")
    site.plan()
    site.wait_log(r"ota: publishing to 'ota/v1/pump/d\d+/down/plan' failed with code 1")
    eventually(lambda: site.one("SELECT count(*) AS n FROM task WHERE state='offered'")["n"] == 20, what="20 offers")
    site.lines.pop()
    site.restart()
    for d in devices[:3]:
        d.connect()
        d.upgrade()
    assert len(re.findall("publishing to .* failed", site.log())) == 1


def test_a_client_that_never_reads(make_site):
    """Its messages are dropped; it costs the broker a bound of memory and nobody else a thing."""
    site = make_site()
    site.product()
    site.package(content=content("big", 300_000))
    site.plan()
    d = Device(site, "deaf")
    d.report()
    task = d.take("plan")["task"]
    d.accept({"task": task})
    d.disconnect()
    deaf = mqtt.Client(site.port, "deaf", "pump/deaf", connect=False, reader=False)
    site.clients.append(deaf)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.send_raw(deaf.connect_packet())
    deaf.subscribe(d.topic("down/#"), wait=False)
    ask = b"".join(mqtt.publish_packet(d.topic("up/block"), json.dumps(
        {"task": task, "component": "main", "file": 0, "ref": f"r{n}", "offset": 0, "length": 4096, "count": 64}), 0)
        for n in range(20))
    report = b"".join(mqtt.publish_packet(d.topic("up/version"), '{"id":"%d","components":{"main":"1.0"}}' % n, 0) for n in range(20))
    other = Device(site, "other")
    deaf.socket.settimeout(2)
    grown, before, sent = [], None, 0
    for n in range(600 if LONG else 100):
        with contextlib.suppress(OSError):  # the broker may stop reading it, or end it
            sent += deaf.socket.send(ask + report)
        if n % 20 == 19:
            assert other.report()["code"] == 200
            before = before or site.rss()
            grown.append(site.rss() - before)
    print(f"sent {sent} bytes, grown by {max(grown) >> 10} KiB")
    assert max(grown) < 32 << 20, grown
    deaf.close()
    # What it has sent is worked off first: who speaks last under a name is that device.
    eventually(lambda: re.search(r"Client deaf\b.*(closed|disconnected)", site.log()))
    assert other.report()["code"] == 200
    d.connect()
    assert d.report()["code"] in (200, 429)


def test_a_flood_of_progress_reports(make_site):
    """As fast as a socket takes them. The flooder's are merged or turned away; all others are answered."""
    site = make_site(log_type="warning")
    site.product()
    site.package(content=content("main", 20_000))
    site.plan()
    flooder = Device(site, "flooder")
    flooder.report()
    task = flooder.accept(flooder.take("plan"))["task"]
    burst = b"".join(mqtt.publish_packet(flooder.topic("up/progress"), json.dumps(
        {"task": task, "component": "main", "state": "downloading", "percent": n % 99}), 0) for n in range(1000))
    done, sent = threading.Event(), [0]

    def flood():
        while not done.is_set():
            flooder.client.send_raw(burst)
            sent[0] += 1000

    thread = threading.Thread(target=flood, daemon=True)
    started = time.monotonic()
    thread.start()
    answered = 0
    try:
        while time.monotonic() < started + (10 if LONG else 3) or answered < 20:
            d = Device(site, f"d{answered}")
            assert d.report()["code"] == 200
            d.take("plan")
            d.disconnect()
            answered += 1
    finally:
        rate = sent[0] / (time.monotonic() - started)
        done.set()
        thread.join(20)
    print(f"{rate:.0f} progress reports a second, {answered} other devices were answered and offered")
    flooder.store("progress", task=task, component="main", state="installing")
    flooder.reboot(main="2.0")
    flooder.store("version", components=flooder.versions, bootId=flooder.boot_id)
    assert site.task("flooder")["state"] == "succeeded"


def test_a_plan_for_very_many_devices_canceled_at_once(site):
    """Nobody is offered it afterwards, no task stays open, and the broker serves others all the while."""
    many = 100_000 if LONG else 5_000
    site.product()
    site.package()
    site.plan(wanted="draft")
    site.stop()
    site.forget_clients()
    site.bare("BEGIN IMMEDIATE; UPDATE engine_state SET writing=1;"
              f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{many}) "
              "INSERT INTO device_state(product, name, registered_ms, seen_ms) SELECT 'pump', 'm'||i, 1, i FROM n;"
              "INSERT INTO device_version(device_id, component, version, since_ms) SELECT id, 'main', '1.0', 1 FROM device_state;"
              "UPDATE engine_state SET writing=0; COMMIT;")
    site.start()
    there = Device(site, "m1")
    there.report()
    with contextlib.closing(sqlite3.connect(site.database, timeout=20, isolation_level=None)) as db:
        db.execute("UPDATE plan SET wanted='active'")
        # In the middle of it: some have a task, most have none.
        eventually(lambda: db.execute("SELECT 1 FROM task").fetchone(), 60, "the first tasks")
        db.execute("UPDATE plan SET wanted='canceled'")
        tasks = db.execute("SELECT count(*) FROM task").fetchone()[0]
    unrelated = site.client("unrelated", "unrelated")
    unrelated.subscribe("plant/echo")
    count, started = 0, time.monotonic()
    while not site.one("SELECT 1 FROM plan_state WHERE state='canceled' AND NOT EXISTS (SELECT 1 FROM task WHERE ended_ms=0)"):
        unrelated.publish("plant/echo", b"%d" % count, qos=0)
        unrelated.take(lambda m: m.payload == b"%d" % count)
        count += 1
        assert time.monotonic() < started + 300
    print(f"{many} devices, {tasks} tasks at the cancel, {time.monotonic() - started:.1f} s until none was open")
    assert there.report()["code"] == 200
    for name in ("m2", "fresh"):
        d = Device(site, name)
        assert d.report()["code"] == 200
        d.nothing("plan")
    assert not site.query("SELECT 1 FROM task WHERE ended_ms=0")
    assert {row["state"] for row in site.query("SELECT DISTINCT state FROM task")} <= {"canceled"}
    assert not site.query("SELECT 1 FROM task GROUP BY device_id HAVING count(*) > 1")
    assert site.integrity() == ["ok"]
