"""Pace, brakes and telemetry on a real broker: what concerns other clients, the download server and other topics.
When which device gets its plan is told by tests/stories."""

import socket
import time
import urllib.parse

from broker import TIMEOUT, content, eventually, insert
from device import Device


def slow_download(url):
    """An open download of which only the head was read."""
    parts = urllib.parse.urlsplit(url)
    s = socket.create_connection((parts.hostname, parts.port), TIMEOUT)
    s.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert s.recv(16).startswith(b"HTTP/1.1 200")
    return s


def rest(s):
    """How many bytes still come before the connection ends."""
    s.settimeout(TIMEOUT)
    count = 0
    try:
        while chunk := s.recv(65536):
            count += len(chunk)
    except ConnectionResetError:
        pass
    return count


def accepted(site, *names, size=30_000_000):
    site.product()
    site.package(content=content("main-2.0", size))
    site.plan()
    devices = [Device(site, name) for name in names]
    urls = []
    for d in devices:
        d.report()
        urls.append(d.accept(d.take("plan"))["files"][0]["url"])
    return devices, urls


def test_stop_cuts_downloads_within_a_second_and_refuses_them_until_go(site):
    (d,), (url,) = accepted(site, "d1")
    running = slow_download(url)
    site.sql(insert("setting", name="stopped", value="smoke"))
    site.wait_log("audit everything is stopped: smoke", timeout=5)
    assert rest(running) < 30_000_000
    status, headers, _ = d.fetch(url)
    assert status == 503 and int(headers["retry-after"]) > 0
    site.restart()
    assert d.fetch(url)[0] == 503
    site.sql("DELETE FROM setting WHERE name='stopped';")
    eventually(lambda: d.fetch(url, method="HEAD")[0] == 200, 5, "downloads again")


def test_a_hold_cuts_the_downloads_of_its_devices_alone(site):
    (a, b), (url_a, url_b) = accepted(site, "a", "b")
    running = slow_download(url_a)
    site.sql(insert("hold", product="pump", device="a", reason="on test"))
    eventually(lambda: a.fetch(url_a, method="HEAD")[0] == 503, 5, "a hold")
    assert rest(running) < 30_000_000
    assert b.fetch(url_b, method="HEAD")[0] == 200
    site.sql("DELETE FROM hold;")
    eventually(lambda: a.fetch(url_a, method="HEAD")[0] == 200, 5, "the end of the hold")


def test_blocks_are_refused_while_everything_is_stopped(site):
    site.pump()
    d = Device(site, "d1")
    d.report()
    download = d.accept(d.take("plan"))
    site.sql(insert("setting", name="stopped", value="smoke"))
    site.wait_log("audit everything is stopped")
    d.send("block", {"id": "b", "task": download["task"], "component": "main", "file": 0, "ref": "r", "offset": 0,
                     "length": 512, "count": 1}, wait=False)
    assert d.reply("b")["code"] in (409, 503)
    site.sql("DELETE FROM setting WHERE name='stopped';")
    site.wait_log("audit everything goes on")
    d.fetch_blocks(download)


def test_telemetry_of_other_topics_lets_a_plan_go(site):
    """002-38 004-09 A battery from a topic that is not OTA's; the message goes to its readers as ever."""
    site.product()
    site.sql(insert("telemetry", product="pump", value="battery", topic="plant/{device}/state", path="/power/battery"))
    site.package()
    site.plan(battery=50, unknown="wait")
    d = Device(site, "d1")
    d.report(battery=20)
    d.nothing("plan")
    assert site.task("d1")["reason"] == "battery"
    reader, writer = site.client("historian", "historian"), site.client("sensor", "sensor")
    reader.subscribe("plant/#")
    writer.publish("plant/d1/state", b'{"power":{"battery":80}}', qos=1, retain=True)
    message = reader.take_topic("plant/d1/state")
    assert message.payload == b'{"power":{"battery":80}}'
    assert d.take("plan")["plan"] == "spring"
    # What is no number, or of nobody, harms nobody.
    for topic, payload in (("plant/d1/state", b"\x00\xff"), ("plant/d1/state", b"[" * 60000), ("plant/d9/state", b"{}"),
                           ("plant/d1/state", b"x" * 100_000)):
        writer.publish(topic, payload, qos=1)
    d.report()
    assert site.alive()


def test_activation_on_many_devices_does_not_stall_other_traffic(site):
    """20,000 devices; the figures of 100,000 are in tests/engine/activation_test.cc."""
    site.product()
    site.package()
    site.plan(wanted="draft")
    site.stop()
    site.bare("BEGIN IMMEDIATE; UPDATE engine_state SET writing=1;"
              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000) "
              "INSERT INTO device_state(product, name, registered_ms, seen_ms) SELECT 'pump', 'm'||i, 1, i FROM n;"
              "INSERT INTO device_version(device_id, component, version, since_ms) SELECT id, 'main', '1.0', 1 FROM device_state;"
              "UPDATE engine_state SET writing=0; COMMIT;")
    site.forget_clients()
    site.start()
    client = site.client("unrelated", "unrelated")
    client.subscribe("plant/echo")
    site.sql("UPDATE plan SET wanted='active';")
    worst, count = 0.0, 0
    while not site.one("SELECT 1 FROM plan_state WHERE scanned=1"):
        started = time.monotonic()
        client.publish("plant/echo", b"%d" % count, qos=0)
        client.take(lambda m: m.payload == b"%d" % count)
        worst, count = max(worst, time.monotonic() - started), count + 1
        assert count < 100_000
    assert worst < 1.5, worst
    assert site.one("SELECT count(*) AS n FROM task")["n"] == 20000
