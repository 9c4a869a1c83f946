"""SIGKILL at random moments, with every dialect, and at the points that matter most: before and after a commit, and
after a publish. Afterwards every device finishes, the database is whole, nothing that was answered with 200 is lost,
and no device has two open tasks. FAULTS.md has the promises; OTA_SEED repeats the moments."""

import csv
import http.client
import itertools
import json
import pathlib
import random
import sqlite3
import subprocess
import threading

import pytest

import mqtt
from broker import LONG, PLUGIN, SEED, TIMEOUT, content, eventually
from clouds import IDENTITY
from device import Device

FLEET = pathlib.Path(PLUGIN).parent / "ota-fleet"
FAULTY = pathlib.Path(PLUGIN).parent / "mosquitto_ota_faults.so"

ROUNDS = 50 if LONG else 4
DEVICES = 20
KILLS = 200 if LONG else 6
KILLS_EACH = 8 if LONG else 3  # of one upgrade of the whole fleet
TWO_TASKS = "SELECT device_id FROM task WHERE ended_ms=0 GROUP BY device_id HAVING count(*) > 1"
FLEETS = {"native": 34, "alibaba": 33, "enos": 33}


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
                self.ended.wait(0.05)  # the broker is away
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
        self.stored(self.device.report(task=self.task))
        with self.lock:
            self.known, self.since = versions, []

    def stored(self, reply):
        """After a 503 (the engine has not opened its database yet) the device comes again."""
        if reply["code"] == 503:
            raise mqtt.Closed("503")
        assert reply["code"] in (200, 410), reply
        return reply["code"] == 200

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
            if self.stored(d.confirm(body["task"])):
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
            self.stored(d.progress(download["task"], state, download["component"]))
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
        assert not db.execute(TWO_TASKS).fetchall()
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
    rng = random.Random(SEED)
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
    print(f"OTA_SEED={SEED}: {ROUNDS} kills, {states}")
    assert site.one(count)["n"] >= DEVICES


class Fleet:
    """Devices of one dialect in a process of their own, that upgrade whenever they are told to."""

    def __init__(self, site, dialect, devices):
        self.dialect, self.product = dialect, f"{dialect}-pump"
        self.component = "main" if dialect == "native" else "default"
        self.outcomes = site.directory / f"{dialect}.csv"
        site.product(self.product, [self.component], dialect=dialect)
        self.process = subprocess.Popen(
            [FLEET, "--port", str(site.port), "--dialect", dialect, "--product", self.product, "--devices", str(devices),
             "--component", f"{self.component}=1", "--mix", "plain=5,slow=2,flapping=3" if dialect == "native" else "plain=7,slow=3",
             "--slow-bytes", "8000" if LONG else "20000", "--files", "mixed" if dialect == "native" else "http", "--seed", str(SEED), "--reply-s", "2", "--report-every", "3",
             "--may-lose", "--spread-addresses", "--quiet", "--duration", "7200", "--timeout", "7200", "--outcomes", self.outcomes],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def package(self, site, version):
        """Announces the package without waiting for its hash."""
        site.package(self.product, self.component, version, content(f"{self.product}-{version}", 20_000), wait=False)

    def plan(self, site, version):
        site.wait_package(self.product, f"{self.component}-{version}")
        site.plan(f"{self.dialect}-{version}", self.product, [(self.component, f"{self.component}-{version}")], halt_failures=0)

    def end(self):
        """Stops; gives device -> versions of its last report that was answered, and what went wrong."""
        self.process.terminate()
        text, _ = self.process.communicate(timeout=60)
        with open(self.outcomes, newline="") as file:
            return {row[0]: row[7] for row in csv.reader(file)}, text

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def whole(site):
    """What must hold of the file at any moment, also when nobody has opened it since the crash."""
    with sqlite3.connect(site.database, timeout=10) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not db.execute(TWO_TASKS).fetchall()
    db.close()


def finished(site, version, devices):
    """Every device has reported `version`, and no task is open."""
    row = site.one("SELECT (SELECT count(*) FROM device_version WHERE version=?) AS there, "
                   "(SELECT count(*) FROM task WHERE ended_ms=0) AS open", version)
    return row["there"] == devices and row["open"] == 0


def test_sigkill_with_every_dialect(make_site):
    """Three fleets, one for each dialect, are upgraded again and again, and the broker is killed during each upgrade."""
    rng = random.Random(SEED)
    site = make_site(options={**IDENTITY, "download_connections": "400"})
    devices, kills, fleets = sum(FLEETS.values()), 0, []
    try:
        for dialect, count in FLEETS.items():
            fleets.append(Fleet(site, dialect, count))
        for number in itertools.count(2):
            version = str(number)
            for fleet in fleets:
                fleet.package(site, version)
            for fleet in fleets:
                fleet.plan(site, version)
            for _ in range(min(KILLS_EACH, KILLS - kills)):
                threading.Event().wait(rng.uniform(0, 1))  # the moment is the test's input
                site.kill()
                whole(site)
                site.start(wait=rng.random() < 0.5)
                kills += 1
            site.wait_engine()
            eventually(lambda: finished(site, version, devices), 300, f"every device at version {version}")
            if kills == KILLS:
                break
        answered = {}
        for fleet in fleets:
            ended, text = fleet.end()
            assert "broken by the broker" not in text and len(ended) == FLEETS[fleet.dialect], text[-3000:]
            answered.update({(fleet.product, device): f"{versions}" for device, versions in ended.items()})
    finally:
        for fleet in fleets:
            fleet.close()
    whole(site)
    stored = {(row["product"], row["name"]): row["version"] for row in site.query(
        "SELECT d.product, d.name, v.component || '=' || v.version AS version FROM device_state d "
        "JOIN device_version v ON v.device_id=d.id")}
    assert stored == answered
    states = {row["state"]: row["n"] for row in site.query("SELECT state, count(*) AS n FROM task GROUP BY state")}
    print(f"OTA_SEED={SEED}: {kills} kills, {states}")
    assert states == {"succeeded": devices * (number - 1)}, states


# ---------------------------------------------------------------------------------------------- fault points

POINTS = {"taken": 10, "decided": 11, "committed": 8, "published": 16}  # how often one upgrade passes them, about


@pytest.mark.parametrize("point", POINTS)
def test_sigkill_at_a_fault_point(make_site, point):
    """At some passes of the point during one upgrade, in the long form at each, one upgrade for each pass: `taken` is before
    an uplink's PUBACK, `decided` before the commit, `committed` between commit and publish, `published` between publish and
    acknowledgement."""
    assert FAULTY.exists(), f"{FAULTY} is not built"
    rng = random.Random(f"{SEED}{point}")
    site = make_site(plugin=str(FAULTY), persistence=False)
    site.product(components=["main", {"name": "cfg", "boot": 0}])
    site.may_end = True
    life = Life(site, "d1", rng.random())
    life.start()
    died = 0
    try:
        passes = rng.sample(range(1, POINTS[point] + 1), POINTS[point] if LONG else 4)
        for number, count in enumerate(passes * 2 if LONG else passes, 2):
            version = str(number)
            for component in ("main", "cfg"):
                site.package(component=component, version=version, content=content(component + version, 20_000))
            site.plan(f"plan-{version}", components=[(c, f"{c}-{version}") for c in ("cfg", "main")], wanted="draft")
            site.stop()
            site.environment = {"OTA_FAULT_POINT": f"{point}:{count}"}
            site.spawn()
            site.sql(f"UPDATE plan SET wanted='active' WHERE name='plan-{version}';")
            target = {"main": version, "cfg": version}
            eventually(lambda: site.process.poll() or site.one("SELECT count(*) AS n FROM device_version WHERE version=?", version)["n"] == 2,
                       TIMEOUT, "dead, or past the upgrade: it had not so many passes")
            if site.process.poll():
                assert site.process.returncode == -9, site.process.returncode
                died += 1
            else:
                site.kill()
            check(site, [life])
            site.environment = {}
            site.start()
            eventually(lambda: life.device.versions == target, 60, "finished")
            eventually(lambda: site.one("SELECT count(*) AS n FROM task WHERE ended_ms=0")["n"] == 0, 60, "every task ended")
    finally:
        life.ended.set()
        life.join(10)
    assert not life.fault
    assert died > 0
    assert {row["state"] for row in site.query("SELECT state FROM task")} == {"succeeded"}
    print(f"OTA_SEED={SEED}: {point}: died {died} times, at the passes {passes}")


def test_what_ships_has_no_fault_points():
    def words(path):
        symbols = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True).stdout
        return symbols.encode() + pathlib.Path(path).read_bytes()
    assert b"OTA_FAULT_POINT" in words(FAULTY) and b"FaultPoint" in words(FAULTY)
    assert b"OTA_FAULT_POINT" not in words(PLUGIN) and b"FaultPoint" not in words(PLUGIN)
