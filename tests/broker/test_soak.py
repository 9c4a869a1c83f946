"""Plans that come and go under a fleet whose connections come and go: memory, descriptors and database stay within a bound.
Two minutes; an hour with 2,000 devices with OTA_SOAK=1. The figures are printed (pytest -s)."""

import json
import os
import pathlib
import subprocess
import time

from broker import content

PROGRAM = pathlib.Path(os.environ["OTA_PLUGIN"]).parent / "ota-fleet"
HOUR = os.environ.get("OTA_SOAK") == "1"
SECONDS, DEVICES, EVERY = (3600, 2000, 60) if HOUR else (100, 150, 5)


def measure(site):
    files = [site.database, pathlib.Path(f"{site.database}-wal")]
    return {"rss": site.rss(), "descriptors": site.descriptors(),
            "database": sum(file.stat().st_size for file in files if file.exists()),
            "log": site.one("SELECT count(*) AS n FROM log")["n"]}


def test_nothing_grows_without_bound(make_site):
    site = make_site(options={"download_connections": "200"})
    site.product()
    for version in ("2.0", "3.0"):
        site.package(version=version, content=content(version))
    fleet = subprocess.Popen(
        [PROGRAM, "--port", str(site.port), "--devices", str(DEVICES), "--mix", "plain=5,flapping=4,slow=1,herd=2", "--quiet", "--may-lose",
         "--report-every", "20", "--duration", str(SECONDS), "--timeout", str(SECONDS + 60), "--spread-addresses",
         "--json", site.directory / "figures.json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    figures = []
    end = time.monotonic() + SECONDS - 10
    number = 0
    try:
        while time.monotonic() < end and fleet.poll() is None:
            number += 1
            version = "2.0" if number % 2 else "3.0"
            site.plan(f"round-{number}", components=(("main", f"main-{version}"),), halt_failures=0)
            time.sleep(EVERY)  # so long each plan lives
            site.want(f"round-{number}", "canceled")
            figures.append(measure(site))
    finally:
        fleet.terminate() if fleet.poll() is None and not HOUR else None
        text = fleet.communicate(timeout=SECONDS)[0]
    print(json.dumps({"rounds": number, "first": figures[0], "middle": figures[len(figures) // 2], "last": figures[-1]}))
    assert number >= 5 and site.alive()
    heard = json.loads((site.directory / "figures.json").read_text())
    assert set(heard["problems"]) <= {"not at its end"}, text[-4000:]  # a plan may end under a device
    assert heard["counters"]["connections broken by themselves"] > DEVICES  # a third of them, and in each plan
    assert site.integrity() == ["ok"]
    assert site.one("SELECT count(*) AS n FROM (SELECT device_id FROM task WHERE ended_ms=0 GROUP BY device_id HAVING count(*) > 1)")["n"] == 0
    middle, last = figures[len(figures) // 2], figures[-1]
    # What grows is what is kept on purpose: a task for each device and round, and the log of it.
    assert last["rss"] < middle["rss"] + 20 * 1024 * 1024
    assert last["descriptors"] < middle["descriptors"] + 50
    rows = max(1, last["log"] - middle["log"])
    assert last["database"] - middle["database"] < 4 * 1024 * 1024 + 2000 * rows
