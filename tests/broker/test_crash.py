"""SIGKILL at random moments of a run with 20 devices: afterwards every device finishes, the database is whole, and
nothing that was answered with 200 is lost."""

import http.client
import itertools
import json
import os
import random
import sqlite3
import threading

import mqtt
from broker import LONG, content, eventually
from device import Device

ROUNDS = 50 if LONG else 10
DEVICES = 20


class Life(threading.Thread):
    """A device that upgrades whenever it is told to and comes back after every fault. `answered` is the number of
    its reports that were answered with 200; what it reported since is in `since`."""

    def __init__(self, site, name, seed):
        super().__init__(daemon=True)
        self.device = Device(site, name, versions={"main": "1", "cfg": "1"}, connect=False)
        self.rng = random.Random(seed)
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.known = None      # versions of the last report that was answered with 200
        self.since = []        # versions of reports sent after it, whose answer did not come
        self.confirmed = set() # tasks whose acceptance was answered with 200
        self.task = None
        self.fault = None

    def run(self):
        while not self.ended.is_set():
            try:
                self.device.connect()
                self.report()
                while not self.ended.is_set():
                    self.act()
            except (mqtt.Closed, mqtt.Refused, OSError, http.client.HTTPException):
                self.ended.wait(0.02)  # the broker is away
            except Exception as error:
                self.fault = error
                raise
            finally:
                if self.device.client:
                    self.device.client.close()

    def report(self):
        versions = dict(self.device.versions)
        with self.lock:
            self.since.append(versions)
        reply = self.device.report(task=self.task)
        assert reply["code"] in (200, 503), reply
        if reply["code"] == 200:
            with self.lock:
                self.known, self.since = versions, []

    def act(self):
        d = self.device
        prefix = d.topic("down/")
        wanted = {prefix + kind for kind in ("plan", "download", "cancel")}
        try:
            message = d.client.take(lambda m: m.topic in wanted, timeout=0.5)
        except AssertionError:
            return
        body = json.loads(message.payload)
        if message.topic.endswith("/cancel"):
            self.task = None
        elif message.topic.endswith("/plan"):
            self.task = body["task"]
            if d.confirm(body["task"])["code"] == 200:
                with self.lock:
                    self.confirmed.add(body["task"])
        else:
            self.install(body)

    def install(self, download):
        d = self.device
        if d.versions[download["component"]] == download["to"]:
            return
        for index, file in enumerate(download["files"]):
            if self.rng.random() < 0.3:
                d.fetch_blocks(download, index)
            else:
                status, _, body = d.fetch(file["url"])
                if status != 200:
                    return
                d.check(file, body)
        for state in ("downloading", "installing"):
            d.progress(download["task"], state, download["component"])
        if download["component"] == "main":
            d.client.kill()
            d.boot_id = f"b{next(d.boots)}"
            d.versions["main"] = download["to"]
            d.connect()
        else:
            d.versions[download["component"]] = download["to"]
        self.report()


def check(site, lives):
    """After a crash: the file is whole, and what was answered is in it."""
    with sqlite3.connect(site.database, timeout=10) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for life in lives:
            with life.lock:
                allowed, confirmed = [life.known, *life.since], set(life.confirmed)
            stored = dict(db.execute("SELECT component, version FROM device_version v JOIN device_state d ON d.id=v.device_id "
                                     "WHERE d.name=?", (life.device.name,)))
            assert life.known is None or stored in allowed, f"{life.device.name}: {stored} is stored, {allowed} were reported"
            for task in confirmed:
                state = db.execute("SELECT state FROM task WHERE name=?", (task,)).fetchone()
                assert state and state[0] not in ("queued", "offered", "postponed"), (task, state)
    db.close()


def test_sigkill_at_random_moments(make_site):
    seed = int(os.environ.get("OTA_SEED", "0")) or random.randrange(1 << 30)
    print(f"OTA_SEED={seed} repeats the moments")
    rng = random.Random(seed)
    site = make_site(persistence=False)
    site.product(components=["main", {"name": "cfg", "boot": 0}])
    lives = [Life(site, f"d{n}", rng.random()) for n in range(DEVICES)]
    for life in lives:
        life.start()
    pause, versions = threading.Event(), itertools.count(2)
    try:
        for _ in range(ROUNDS):
            version = str(next(versions))
            for component in ("main", "cfg"):
                site.package(component=component, version=version, content=content(component + version, 20_000))
            site.plan(f"plan-{version}", components=[(c, f"{c}-{version}") for c in ("cfg", "main")])
            pause.wait(rng.uniform(0, 0.6))
            # From here on nobody reads from the broker what the database does not hold yet.
            site.kill()
            check(site, lives)
            site.start()
        last = str(next(versions) - 1)
        count = "SELECT count(*) AS n FROM task WHERE state='succeeded'"
        eventually(lambda: all(life.device.versions == {"main": last, "cfg": last} for life in lives), 120, "finished by every device")
        eventually(lambda: site.query("SELECT count(*) AS n FROM task WHERE ended_ms=0")[0]["n"] == 0, 60, "every task ended")
    finally:
        for life in lives:
            life.ended.set()
        for life in lives:
            life.join(10)
    assert not [life.fault for life in lives if life.fault]
    assert site.integrity() == ["ok"]
    states = {row["state"]: row["n"] for row in site.query("SELECT state, count(*) AS n FROM task GROUP BY state")}
    assert set(states) == {"succeeded"}, states
    assert site.one(count)["n"] >= DEVICES
