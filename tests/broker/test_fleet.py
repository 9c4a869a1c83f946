"""The fleet emulator of tests/fleet against the plugin: every behaviour, both MQTT versions, clean and persistent
sessions, both ways of download. Nothing that was answered is lost, and each device ends where its behaviour says."""

import csv
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from broker import LONG, content, eventually, free_port

PROGRAM = pathlib.Path(os.environ["OTA_PLUGIN"]).parent / "ota-fleet"

# behaviour -> what the device says of its task, and the states that the task may have in the database
ENDS = {
    "plain": ("succeeded", {"succeeded"}),
    "slow": ("succeeded", {"succeeded"}),
    "flapping": ("succeeded", {"succeeded"}),
    "herd": ("succeeded", {"succeeded"}),
    "recovering": ("succeeded", {"succeeded"}),
    "refusing": ("refused", {"refused"}),
    "postponing": ("postponed", {"postponed"}),
    "fails-download": ("failed", {"failed"}),
    "fails-verify": ("failed", {"failed"}),
    "fails-write": ("failed", {"failed"}),
    "rolling-back": ("rolled-back", {"failed"}),
    "mute": ("mute", {"accepted", "downloading"}),
}


def fleet(*options, timeout=60):
    return subprocess.run([PROGRAM, *map(str, options)], capture_output=True, text=True, timeout=timeout)


def run(site, *options, devices, code=0, timeout=120):
    return run_free(site, "--wait-for-task", *options, devices=devices, code=code, timeout=timeout)


def run_free(site, *options, devices, code=0, timeout=120):
    """Devices, figures and report; they may also have nothing to do."""
    outcomes, figures = site.directory / "outcomes.csv", site.directory / "figures.json"
    done = fleet("--port", site.port, "--devices", devices, "--quiet", "--outcomes", outcomes, "--json", figures, *options, timeout=timeout)
    assert done.returncode == code, done.stdout[-6000:] + done.stderr
    fields = ["device", "behaviour", "session", "mqtt", "files", "end", "task", "versions"]
    with open(outcomes, newline="") as file:
        rows = [dict(zip(fields, row)) for row in csv.reader(file)]
    return rows, json.loads(figures.read_text()), done.stdout


def held(site):
    """device -> (installed versions, state of its task), as the database has them."""
    rows = site.query("SELECT d.name, v.component || '=' || v.version AS version, t.state, t.name AS task FROM device_state d "
                      "JOIN device_version v ON v.device_id=d.id LEFT JOIN task t ON t.device_id=d.id")
    return {row["name"]: row for row in rows}


def check(site, rows):
    database = held(site)
    for row in rows:
        end, states = ENDS[row["behaviour"]]
        assert row["end"] == end, row
        found = database[row["device"]]
        assert found["version"] == row["versions"], (row, found)  # what was answered is stored [N-11]
        assert found["task"] == row["task"] and found["state"] in states, (row, found)
    open_tasks = site.query("SELECT device_id FROM task WHERE ended_ms=0 GROUP BY device_id HAVING count(*) > 1")
    assert not open_tasks


def test_every_behaviour_ends_where_it_should(make_site):
    site = make_site(options={"download_connections": "400"})
    site.pump(retry_max=1, retry_interval_s=0, halt_failures=0)
    rows, figures, _ = run(site, "--mix", "all", "--seed", 7, "--spread-addresses", "--reply-s", 3,
                           devices=2000 if LONG else 200)
    assert {row["behaviour"] for row in rows} == set(ENDS)
    assert {row["session"] for row in rows} == {"clean", "persistent"} and {row["mqtt"] for row in rows} == {"5", "3.1.1"}
    check(site, rows)
    assert figures["counters"]["connections broken by themselves"] > 0 and figures["latencies_us"]["blocks"]["count"] > 0


def test_the_same_seed_gives_the_same_devices_and_another_one_others(make_site):
    def deal(seed):
        site = make_site()
        site.pump(retry_max=1, retry_interval_s=0)
        rows, _, _ = run(site, "--mix", "all", "--seed", seed, "--files", "pretended", "--herd-at", 100, devices=40)
        site.close()
        return [(row["behaviour"], row["session"], row["mqtt"], row["end"]) for row in rows]
    first = deal(1)
    assert deal(1) == first
    assert deal(2) != first


def test_a_fleet_that_does_not_come_to_its_end_says_who(site):
    site.product()
    rows, figures, text = run(site, "--timeout", 5, devices=3, code=1)  # there is no plan
    assert figures["problems"] == {"not at its end": 3} and re.search(r"f0: plain, \w+, MQTT [.0-9]+, \w+: no task yet, idle, connected", text)
    assert [row["end"] for row in rows] == ["none"] * 3 and "ms until all were at their end" not in figures["counters"]


def test_devices_that_are_at_their_end_at_once_stay_for_a_while(site):
    """Also what comes late is seen."""
    site.product()
    started = time.monotonic()
    rows, figures, _ = run_free(site, "--settle", 500, devices=3)
    assert time.monotonic() - started >= 0.5 + figures["counters"]["ms until all were at their end"] / 1000
    assert figures["counters"]["had no task"] == 3 and [row["end"] for row in rows] == ["none"] * 3


@pytest.mark.parametrize("files", ["http", "blocks"])
def test_a_slow_device_takes_its_time(site, files):
    site.pump()
    _, figures, _ = run(site, "--mix", "slow=1", "--files", files, "--slow-bytes", 6000, devices=3)
    assert figures["latencies_us"]["upgrade"]["p50"] >= 1_500_000  # of 9,000 bytes


def test_a_broker_that_is_not_there_is_said_soon(tmp_path):
    done = fleet("--port", free_port(), "--devices", 2)
    assert done.returncode == 1 and "x no connection\n      f0: Connection refused" in done.stdout, done.stdout


def test_a_login_that_is_refused_is_said(make_site):
    site = make_site(anonymous=False, plugin=False)
    done = fleet("--port", site.port, "--devices", 2, "--mqtt5", 0)
    assert done.returncode == 1 and "refused by the broker, code 5 (not authorized)" in done.stdout, done.stdout


def test_a_broker_that_dies_is_said(site):
    site.product()
    running = subprocess.Popen([PROGRAM, "--port", str(site.port), "--devices", "3", "--duration", "600"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: site.one("SELECT count(*) AS n FROM device_state")["n"] == 3)
    site.kill()
    while "x no connection" not in (line := running.stderr.readline()):  # of its progress, every five seconds
        assert line
    assert "3 x connection lost" in line
    running.terminate()
    text, _ = running.communicate(timeout=60)
    assert running.returncode == 1 and "3 x connection lost" in text and "Connection refused" in text and "3 x not at its end" in text, text


@pytest.mark.parametrize("arguments, says", [
    (["--devices", "0"], "--devices: '0' is not allowed"), (["--devices", "20001"], "--devices: '20001' is not allowed"),
    (["--mix", "brave=1"], "--mix: 'brave=1' is not allowed"), (["--files", "ftp"], "--files: 'ftp' is not allowed"),
    (["--nosuch"], "'--nosuch' is no option"), (["--port"], "--port needs a value"), (["more"], "'more' is no option"),
    (["--host", "nosuch.invalid"], "'nosuch.invalid' has no IPv4 address"), (["--product", "a b"], "--product: 'a b' cannot be a name"),
    (["--prefix", "x" * 63], "cannot be a name"), (["--component", "main"], "--component: 'main' is not allowed"),
    (["--json", "/nosuch/figures"], "--json: '/nosuch/figures': No such file or directory"),
    (["--dialect", "enos", "--files", "blocks"], "--files: devices of this dialect fetch over http or pretended"),
    (["--dialect", "alibaba", "--mix", "refusing=1"], "--mix: refusing is of the native dialect only"),
    (["--dialect", "alibaba", "--component", "a=1", "--component", "b=1"], "--component: devices of this dialect have one here"),
])
def test_wrong_usage_is_named(arguments, says):
    done = fleet(*arguments)
    assert done.returncode == 2 and done.stderr.startswith("ota-fleet: ") and says in done.stderr and not done.stdout, done.stderr


def test_the_help_fits_a_terminal():
    done = fleet("--help")
    assert done.returncode == 0 and max(map(len, done.stdout.split("\n"))) <= 100


def test_a_wrong_file_is_found_out(site):
    """What the server sends is compared with what was announced."""
    site.pump(retry_max=0)
    target = next(site.store.glob("pump-main-2.0-*"))
    site.sql("UPDATE product SET blocks=0;")
    data = content("main-2.0")
    with open(target, "r+b") as file:  # in place, so that it is another file for stat only
        file.write(data[::-1])
    _, figures, _ = run(site, "--files", "http", "--timeout", 2, devices=2, code=1)
    assert figures["latencies_us"].get("upgrade", {"count": 0})["count"] == 0


@pytest.mark.parametrize("dialect", ["alibaba", "enos"])
def test_devices_of_the_clouds_end_where_they_should(make_site, dialect):
    clouds = pytest.importorskip("clouds")
    site = make_site(options={**clouds.IDENTITY, "download_connections": "400"})
    site.product("lamp", ("default",), dialect=dialect)
    site.package("lamp", "default", "2.0", content("lamp"))
    site.plan("spring", "lamp", [("default", "default-2.0")], retry_max=1, retry_interval_s=0, halt_failures=0)
    rows, figures, _ = run(site, "--dialect", dialect, "--product", "lamp", "--mix", "all", "--spread-addresses", devices=80)
    assert {row["behaviour"] for row in rows} == set(ENDS) - {"refusing", "postponing", "rolling-back"}
    assert figures["counters"]["connections broken by themselves"] > 0
    database = held(site)
    for row in rows:
        assert row["end"] == ENDS[row["behaviour"]][0], row
        if row["end"] == "succeeded":
            assert database[row["device"]]["version"] == row["versions"] == "default=2.0", row
            assert database[row["device"]]["state"] == "succeeded", row
