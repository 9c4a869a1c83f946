"""Faults of the data, of the disk and of the clock never stop the broker: everything else is served, OTA uplinks get
503, the topic guard stays, and a log line says what is wrong and what to do."""

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

import mqtt

from broker import LONG, SEED, TIMEOUT, Clock, content, eventually, faketime_library
from conftest import long_only
from device import Device

DAY = 86400


def edit(site, script):
    """Changes the file behind the plugin's back (the broker is stopped)."""
    db = sqlite3.connect(site.database)
    db.executescript(script)
    db.close()


def stop(site):
    site.stop()
    site.forget_clients()


def passive(site, words):
    """The broker serves everything else, answers 503, keeps the guard, and says what is wrong."""
    d = Device(site, "passive")
    eventually(lambda: d.report()["code"] == 503, what="503")
    d.client.publish(d.topic("up/version"), '{"id":"x","components":{"main":"1"}}')
    other = site.client("other", "other", version=5)
    other.subscribe("plant/#")
    other.publish("plant/x", "1")
    other.take_topic("plant/x")
    assert other.subscribe("ota/v1/pump/d1/down/#")[0] >= 128
    assert other.publish("ota/v1/pump/d1/up/version", "{}") >= 128
    site.wait_log(rf"(?i)ota: .*{words}")
    d.disconnect()


def damage(path, start=4096):
    data = bytearray(path.read_bytes())
    rng = random.Random(1)
    for at in range(start, len(data), 128):
        data[at:at + 32] = rng.randbytes(32)
    path.write_bytes(data)


def test_a_damaged_database(site):
    site.pump()
    stop(site)
    damage(site.database)
    site.start(wait=False)
    passive(site, "(damaged|malformed|corrupt|not a SQLite database)")


def test_a_database_that_is_no_database(site):
    stop(site)
    site.database.write_bytes(b"hello " * 4000)
    site.start(wait=False)
    passive(site, "(damaged|malformed|corrupt|not a SQLite database)")
    assert site.database.read_bytes() == b"hello " * 4000


def test_a_database_that_is_damaged_while_it_runs(site):
    site.pump()
    Device(site).report()
    site.bare("PRAGMA wal_checkpoint(TRUNCATE);")
    damage(site.database)
    for n in range(30):
        d = Device(site, f"x{n}")
        d.send("version", {"id": "1", "components": d.versions}, wait=False)
    other = site.client("other", "other")
    other.ping()
    assert site.alive()


def test_a_database_of_another_program(site):
    stop(site)
    for path in site.directory.glob("ota.db*"):
        path.unlink()
    db = sqlite3.connect(site.database)
    db.executescript("CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1);")
    db.close()
    before = site.database.read_bytes()
    site.start(wait=False)
    passive(site, "(another program|not ours|application)")
    assert site.database.read_bytes() == before


def test_a_database_of_a_newer_schema_is_not_touched(site):
    stop(site)
    edit(site, "PRAGMA user_version=9999;")
    before = site.database.read_bytes()
    site.start(wait=False)
    passive(site, "9999")
    assert site.database.read_bytes() == before


def test_an_option_makes_a_fault_stop_the_broker(make_site):
    site = make_site(options={"on_database_fault": "stop"})
    stop(site)
    damage(site.database, 0)
    site.may_end = True
    site.spawn()
    site.process.wait(TIMEOUT)
    site.wait_log("ota: option on_database_fault is stop")


def test_a_database_that_is_locked_at_the_start(site):
    site.pump()
    stop(site)
    with site.locked():
        site.start(wait=False)
        d = Device(site)
        d.send("version", {"id": "1", "components": d.versions}, wait=False)
        other = site.client("other", "other")
        other.ping()
    site.wait_engine()
    eventually(lambda: d.report()["code"] == 200, what="stored")
    d.take("plan")


def test_a_database_that_is_replaced_while_it_runs_is_noticed(site, make_site):
    site.pump()
    Device(site).report()
    other = make_site()
    stop(other)
    fresh = site.directory / "fresh.db"
    shutil.copy(other.database, fresh)
    size = len(site.log())
    os.rename(fresh, site.database)
    site.wait_log("(?i)ota: .*replaced", start=size)
    site.wait_mqtt()


def test_a_database_that_is_removed_while_it_runs_is_noticed(site):
    site.pump()
    Device(site).report()
    size = len(site.log())
    site.database.unlink()
    site.wait_log("ota: database .*was removed or replaced while the broker runs", start=size)
    passive(site, "removed or replaced")
    assert not site.database.exists()
    stop(site)
    size = len(site.log())
    site.start(wait=False)
    site.wait_log("is missing or empty, and 'ota.db.commit' says that there was one", start=size)
    passive(site, "is missing or empty")
    assert not site.database.exists()


def test_one_line_a_minute(site):
    stop(site)
    damage(site.database, 0)
    size = len(site.log())
    site.start(wait=False)
    d = Device(site)
    d.report()
    for _ in range(50):
        d.send("version", {"components": d.versions}, wait=False)
    d.client.ping()
    site.wait_log("not a SQLite database", start=size)
    complaints = re.findall("ota: .*not a SQLite database", site.log()[size:])
    assert 1 <= len(complaints) <= 3, complaints


@contextlib.contextmanager
def small_disk(directory, size):
    """A file system of its own."""
    directory.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)],
                                           capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here: root only")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_disk_that_becomes_read_only(make_site, tmp_path):
    """As the kernel does with a disk that has errors: the next start finds it so, and the one after finds it repaired."""
    with small_disk(tmp_path / "small", "16m") as small:
        site = make_site(options={"database": str(small / "ota.db")}, start=False)
        site.database = small / "ota.db"
        site.start()
        site.pump()
        assert Device(site).report()["code"] == 200
        stop(site)
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        site.start(wait=False)
        passive(site, "(read.only|not writable|unable to open)")
        subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
        d = Device(site)
        d.store("version", components=d.versions, bootId=d.boot_id)
        assert d.take("plan")["plan"] == "spring" and site.integrity() == ["ok"]
        site.close()


@pytest.mark.parametrize("keep", ["half", "a page less", "nothing"])
def test_a_truncated_database(site, keep):
    """What is left is not taken for a whole database, and a copy of it can still be made."""
    site.pump()
    Device(site).report()
    stop(site)
    size = site.database.stat().st_size
    left = {"half": size // 2 // 4096 * 4096, "a page less": size - 4096, "nothing": 0}[keep]
    os.truncate(site.database, left)
    site.start(wait=False)
    # An empty file would be a new database: that it was another one is known.
    passive(site, "is missing or empty" if keep == "nothing" else "(damaged|malformed|corrupt)")
    assert site.database.stat().st_size == left


@pytest.mark.parametrize("what, words", [("half", "truncated|malformed|damaged"), ("pages that nobody reads", "was truncated while the broker ran")])
def test_a_database_that_is_truncated_while_it_runs(site, what, words):
    site.pump()
    Device(site).report()
    site.bare("CREATE TABLE big AS SELECT zeroblob(200000) AS b; PRAGMA wal_checkpoint(TRUNCATE);")
    size = site.database.stat().st_size
    left = size // 2 // 4096 * 4096 if what == "half" else size - 40960
    os.truncate(site.database, left)
    passive(site, words)
    assert site.database.stat().st_size == left
    stop(site)
    size = len(site.log())
    site.start(wait=False)
    site.wait_log("ota: .*(damaged|malformed)", start=size)
    passive(site, "damaged|malformed")
    assert site.database.stat().st_size == left


def test_a_page_that_is_overwritten(site):
    """Any page, one after another: the broker serves, and what it cannot read it says."""
    site.pump()
    for n in range(10):
        Device(site, f"d{n}").report()
    stop(site)
    whole = site.database.read_bytes()
    rng, answers = random.Random(SEED), []
    pages = range(len(whole) // 4096)
    for page in rng.sample(pages, min(len(pages), 60 if LONG else 4)):
        data = bytearray(whole)
        data[page * 4096:(page + 1) * 4096] = rng.randbytes(4096)
        for path in site.directory.glob("ota.db-*"):
            if path.name.endswith(("-wal", "-shm")):
                path.unlink()
        site.database.write_bytes(data)
        size = len(site.log())
        site.start(wait=False)
        other = site.client("other", "other")
        d = Device(site, "d3")
        d.send("version", {"id": "1", "components": {"main": "1.0"}}, wait=False)
        complaint = "(?i)ota: .*(damaged|malformed|corrupt|not a SQLite database|constraint|error|cannot|unusable)"
        eventually(lambda: d.waiting("reply") or re.search(complaint, site.log()[size:]), what="an answer, or a line that says why not")
        code = d.waiting("reply")[0][1]["code"] if d.waiting("reply") else 503
        other.ping()
        assert site.alive()
        if code == 503:
            site.wait_log(complaint, start=size)
        answers.append((page, code))
        stop(site)
    for path in site.directory.glob("ota.db-*"):
        if path.name.endswith(("-wal", "-shm")):
            path.unlink()
    site.database.write_bytes(whole)
    site.start()
    Device(site, "d3").store("version", components={"main": "1.0"})  # it was the page, and nothing else
    print(f"OTA_SEED={SEED}: {len(answers)} pages: {sum(code == 200 for _, code in answers)} answered 200, "
          f"{sum(code == 503 for _, code in answers)} 503, others {[a for a in answers if a[1] not in (200, 503)]}")


# ---------------------------------------------------------------------------------------------- files

def test_the_package_store_goes_away_and_comes_back(site):
    """Reports are stored, downloads get 503 and are not failed by it, and go on when the files are back."""
    site.pump()
    first, second = Device(site, "d1"), Device(site, "d2")
    for d in (first, second):
        d.report()
    download = first.accept(first.take("plan"))
    plan = second.take("plan")
    away = site.directory / "away"
    away.mkdir()
    for path in site.store.iterdir():
        path.rename(away / path.name)
    def away_for_now():
        status, headers, _ = first.fetch(download["files"][0]["url"])
        return status == 503 and int(headers["retry-after"]) > 0
    assert away_for_now()
    first.ask_blocks(download["task"], "main", 0, 4096, 1)
    reply = first.take("reply", to="block")
    assert reply["code"] == 503 and reply["message"]
    assert Device(site, "d3").report()["code"] == 200
    assert second.confirm(plan["task"])["code"] == 200
    size = len(site.log())
    site.signal(signal.SIGHUP)
    site.wait_log("(?i)reload", start=size)
    eventually(lambda: site.package_states("pump", "main-2.0")[0]["state"] != "ready", what="a package that is not ready")
    assert away_for_now()  # 404 would have the device give up
    for path in away.iterdir():
        path.rename(site.store / path.name)
    site.signal(signal.SIGHUP)
    site.wait_package("pump", "main-2.0")
    for d in (first, second):
        d.disconnect()
        d.connect()
        d.report()
        d.install(d.take("download"))
        assert site.task(d.name)["state"] == "succeeded"


def test_a_package_store_that_is_another_one_by_now_is_found(site):
    """As when a disk is mounted after the broker has started, or taken out and put in again, and nobody tells the broker.
    It looks each minute."""
    site.pump()
    d = Device(site)
    d.report()
    download = d.accept(d.take("plan"))
    site.store.rename(site.directory / "away")
    shutil.copytree(site.directory / "away", site.store)
    site.package(version="3.0", wait=False)  # its file is in the new one alone
    eventually(lambda: [row["state"] for row in site.package_states("pump", "main-3.0")] == ["ready"], 150, "a package that is ready")
    assert d.install(download)["code"] == 200
    assert site.task("d1")["state"] == "succeeded"


def test_the_port_of_the_download_server_is_taken(make_site):
    """A mistake of the configuration: the broker says which address, and does not start half."""
    site = make_site(start=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.http_port))
        taken.listen()
        site.may_end = True
        site.spawn()
        assert site.process.wait(TIMEOUT) != 0
        site.wait_log(rf"ota: download server: 127.0.0.1 port {site.http_port}: cannot be listened on: Address already in use")
    site.start()
    site.pump()
    Device(site).upgrade()


def test_a_second_broker_finds_the_file_in_use(make_site, tmp_path):
    """By another name, and where the file is gone whose lock would have told."""
    site = make_site()
    site.pump()
    link = tmp_path / "link.db"
    os.link(site.database, link)
    for database in link, site.database:
        if database == site.database:
            (site.directory / "ota.db.lock").unlink()
        second = make_site(options={"database": str(database)}, start=False)
        second.start(wait=False)
        second.wait_log(r"ota: database '.*': is in use by another broker")
        assert Device(second, "there").report()["code"] == 503
        second.stop()
    assert not (tmp_path / "link.db-wal").exists()
    Device(site).upgrade()
    assert site.integrity() == ["ok"]


def test_a_disk_with_little_room_has_changes_of_state_logged_alone(make_site, tmp_path):
    with small_disk(tmp_path / "small", "100m") as small:
        site = make_site(options={"database": str(small / "ota.db")}, start=False)
        site.database = small / "ota.db"
        site.start()
        site.pump()

        def logged(device):
            d = Device(site, device)
            d.upgrade()
            for n in range(3):
                d.versions["main"] = f"odd{n}"
                assert d.report()["code"] == 200
            assert site.versions(device) == d.versions
            rows = site.events(device)
            d.disconnect()
            return [(r["event"], r["old_state"], r["new_state"]) for r in rows]

        before = logged("before")
        assert [row for row in before if row[1] == row[2]]
        filler = small / "filler"
        filler.write_bytes(b"x" * (50 << 20))
        site.wait_log("ota: health: less than 64 MiB are free on the database's disk: only changes of state")
        assert logged("during") == [row for row in before if row[1] != row[2]]
        filler.unlink()
        site.wait_log("ota: health: well again")
        assert logged("after") == before
        site.close()


def test_a_full_disk(make_site, tmp_path):
    with small_disk(tmp_path / "small", "8m") as small:
        site = make_site(options={"database": str(small / "ota.db")}, start=False)
        site.database = small / "ota.db"
        site.start()
        site.pump()
        first = Device(site)
        first.report()
        with open(small / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass
        devices, size = [], len(site.log())
        full = "ota: database .*disk is full; free some space on its disk; OTA uplinks get 503"
        versions = {f"c{c}": "v" * 60 for c in range(32)}
        while not re.search(full, site.log()[size:]):  # there may be room in the write-ahead log
            assert len(devices) < 800, "the disk does not fill"
            for _ in range(50):
                d = Device(site, f"full{len(devices)}", versions=versions)
                d.send("version", {"id": "1", "components": d.versions}, wait=False)
                devices.append(d)
            eventually(lambda: re.search(full, site.log()[size:]) or site.versions(devices[-1].name) == versions)
        late = Device(site, "late", versions=versions)
        assert late.report()["code"] == 503
        other = site.client("other", "other")
        other.subscribe("plant/#")
        other.publish("plant/x", "1")
        other.take_topic("plant/x")
        (small / "filler").unlink()
        for d in (*devices, late):
            if d is late or d.reply("1", timeout=70)["code"] == 503:
                eventually(lambda: d.report()["code"] == 200, 70, "stored")
        for d in (*devices, late):
            assert site.versions(d.name) == versions
        assert first.report()["code"] == 200 and site.integrity() == ["ok"]
        site.close()


# ---------------------------------------------------------------------------------------------- copies

def test_an_older_copy_restored_is_recognized_and_held(site):
    """Last night's backup must not activate again the plan that was canceled this morning."""
    site.pump()
    stop(site)
    night = site.database.read_bytes()
    site.start()
    site.want("spring", "canceled")
    Device(site, "d1").report()
    stop(site)
    for path in site.directory.glob("ota.db-*"):
        if path.name.endswith(("-wal", "-shm")):
            path.unlink()
    site.database.write_bytes(night)
    site.start()
    site.wait_plan("spring", "held")
    site.wait_log("(?i)ota: .*(held|restored|older).*")
    d = Device(site, "d2")
    assert d.report()["code"] == 200
    d.nothing()
    assert site.request("release", plan="spring")["state"] == "done"
    assert d.take("plan")["plan"] == "spring"


def test_a_copy_with_a_stale_write_ahead_log(site):
    """`cp` of the main file over a crashed database whose -wal is still there mixes two states."""
    site.pump()
    site.bare("PRAGMA wal_checkpoint(TRUNCATE);")
    old = site.database.read_bytes()
    for n in range(30):
        Device(site, f"d{n}").report()
    site.want("spring", "canceled")
    site.kill()
    site.forget_clients()
    assert (site.directory / "ota.db-wal").stat().st_size > 0
    site.database.write_bytes(old)
    site.start(wait=False)
    d = Device(site, "late")
    assert d.report()["code"] in (200, 503)
    d.nothing("plan")  # canceled, held or passive: it is not offered again
    assert site.alive()


def test_backup_and_restore(site):
    site.pump()
    Device(site).upgrade()
    backup = site.directory / "backup"
    site.otactl("backup", backup)
    assert site.otactl("restore", backup, check=False).returncode != 0  # the broker runs
    Device(site, "d2").report()
    stop(site)
    site.otactl("restore", backup)
    site.start()
    assert site.versions("d1") == {"main": "2.0"} and site.device_row("d2") is None
    site.wait_plan("spring", "held")
    assert site.integrity() == ["ok"]
    d = Device(site, "d3")
    d.report()
    d.nothing()
    site.request("release", plan="spring")
    d.install(d.accept(d.take("plan")))


# ---------------------------------------------------------------------------------------------- people

@pytest.mark.parametrize("begin", ["BEGIN; SELECT * FROM plan;", "BEGIN IMMEDIATE;"])
def test_an_interactive_transaction_left_open(site, begin):
    site.pump()
    d = Device(site)
    shell = subprocess.Popen(["sqlite3", "-init", "/dev/null", "-batch", str(site.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    shell.stdin.write(f"{begin} SELECT 'open';\n")
    shell.stdin.flush()
    while "open" not in shell.stdout.readline():
        pass
    d.send("version", {"id": "1", "components": d.versions}, wait=False)
    if "IMMEDIATE" in begin:
        match = site.wait_log(r"ota: .*locked by.*")
        assert str(shell.pid) in match.group() and "sqlite3" in match.group()
        assert not d.waiting("reply")
        shell.kill()
    assert d.reply("1")["code"] == 200
    d.take("plan")
    shell.kill()
    shell.wait()


def test_a_reader_that_never_ends_is_named(site):
    """The write-ahead log grows behind its back, and is cut when it has gone."""
    site.pump()
    code = ("import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "db.execute('BEGIN')\ndb.execute('SELECT count(*) FROM plan').fetchone()\nprint('reads', flush=True)\nsys.stdin.read()\n")
    reader = subprocess.Popen([sys.executable, "-c", code, str(site.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout.readline().strip() == "reads"
        site.bare("CREATE TABLE big AS SELECT zeroblob(70000000) AS b; DROP TABLE big;")
        size = len(site.log())
        site.restart()  # it looks at its start, and each minute
        site.wait_log(rf"ota: the write-ahead log of the database has grown to \d+ MiB: another process holds a read transaction open: .*python3 \(pid {reader.pid},", start=size)
        d = Device(site)
        assert d.report()["code"] == 200
        plan = d.take("plan")
    finally:
        reader.communicate()
    log = site.directory / "ota.db-wal"
    assert log.stat().st_size > 64 << 20
    d.install(d.accept(plan))
    assert site.task("d1")["state"] == "succeeded"
    numbers = itertools.count()
    eventually(lambda: Device(site, f"x{next(numbers)}").report()["code"] == 200 and log.stat().st_size < 64 << 20, what="a log that has been cut")


def test_insert_or_replace_of_an_active_plan(site):
    site.pump(white=["d1"])
    d = Device(site)
    d.report()
    plan = d.take("plan")
    result = site.bare("INSERT OR REPLACE INTO plan(name, product) VALUES ('spring', 'nosuch');", check=False)
    assert result.stderr
    result = site.bare("INSERT OR REPLACE INTO plan(name, product, wanted, scope) VALUES ('spring', 'pump', 'active', 'all');", check=False)
    assert result.stderr
    row = site.one("SELECT * FROM plan WHERE name='spring'")
    assert (row["product"], row["wanted"], row["scope"]) == ("pump", "active", "selected")
    d.install(d.accept(plan))
    assert site.task("d1")["state"] == "succeeded"


def test_a_writer_that_never_stops(site):
    """An administrator's program that writes all the time delays, but starves nobody."""
    site.pump()
    code = ("import sqlite3, sys\nwhile True:\n  db = sqlite3.connect(sys.argv[1], timeout=30)\n"
            "  db.execute(\"UPDATE product SET remarks=hex(randomblob(8))\")\n  db.commit()\n  db.close()\n")
    writer = subprocess.Popen([sys.executable, "-c", code, str(site.database)])
    try:
        for n in range(10):
            Device(site, f"d{n}").upgrade()
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


# ---------------------------------------------------------------------------------------------- the clock

@pytest.fixture
def clocked(make_site, tmp_path):
    if not faketime_library() or "OTA_PRELOAD" in os.environ:
        pytest.skip("libfaketime is not installed (Debian package faketime)")
    clock = Clock(tmp_path)
    return make_site(environment=clock.environment()), clock


def test_a_clock_that_starts_in_1970(clocked):
    site, clock = clocked
    site.pump()
    Device(site, "before").report()
    stop(site)
    clock.set("1970-01-01 00:00:30")
    site.start()
    d = Device(site)
    assert d.report()["code"] == 200
    d.nothing()
    assert site.task("d1")["reason"] == "clock_behind"
    site.wait_log("(?i)ota: .*clock")
    clock.set("+0")
    assert d.take("plan")["plan"] == "spring"
    d.install(d.accept({"task": site.task("d1")["name"]}))
    assert site.task("d1")["state"] == "succeeded"


def test_a_first_start_in_1970(make_site, tmp_path):
    if not faketime_library() or "OTA_PRELOAD" in os.environ:
        pytest.skip("libfaketime is not installed (Debian package faketime)")
    clock = Clock(tmp_path)
    clock.set("1970-01-01 00:00:30")
    site = make_site(environment=clock.environment())
    site.product()
    assert Device(site).report()["code"] == 200
    clock.set("+0")
    site.package()
    site.plan()
    Device(site, "d2").upgrade()


def test_a_weekend_without_power_fails_nobody(clocked):
    site, clock = clocked
    site.pump(offer_s=3600, download_s=3600, install_s=3600, reboot_s=3600)
    devices = {}
    for stage in ("offered", "accepted", "downloading", "installing", "rebooting", "waiting", "postponed"):
        d = Device(site, stage)
        d.report()
        plan = d.take("plan")
        if stage == "postponed":
            d.confirm(plan["task"], False, retryAfter=600)
        elif stage != "offered":
            d.accept(plan)
            if stage != "accepted":
                d.progress(plan["task"], stage)
        devices[stage] = d
    before = {stage: site.task(stage) for stage in devices}
    site.kill()
    site.forget_clients()
    clock.set(f"+{3 * DAY}")
    site.start()
    site.wait_log("(?i)ota: .*(deadline|outage|away|jump)")
    for stage in devices:
        task = site.task(stage)
        assert task["state"] == before[stage]["state"] == stage
        moved = (task["deadline_ms"] - before[stage]["deadline_ms"]) / 1000
        assert 3 * DAY - 300 < moved < 3 * DAY + 300, (stage, moved)
    for stage in ("accepted", "downloading"):
        d = devices[stage].connect()
        d.report()
        d.install(d.take("download"))
        assert site.task(stage)["state"] == "succeeded"


@long_only
def test_a_broker_that_is_stopped_for_a_while_fails_nobody(site):
    """As `docker pause` stops it: no clock jumps, and nothing that a device sends is heard."""
    site.pump(download_s=60, retry_max=0)
    d = Device(site)
    d.report()
    download = d.accept(d.take("plan"))
    before = site.task("d1")
    site.signal(signal.SIGSTOP)
    time.sleep(75)
    site.signal(signal.SIGCONT)
    site.wait_log("deadlines of open tasks moved by 7[0-9] s")
    after = site.task("d1")
    assert (after["state"], after["reason"]) == ("accepted", "")
    assert after["deadline_ms"] - before["deadline_ms"] > 70_000
    d.install(download)
    assert site.task("d1")["state"] == "succeeded"


def test_a_clock_that_jumps_while_the_plugin_runs(clocked):
    site, clock = clocked
    site.pump(download_s=3600)
    d = Device(site)
    d.report()
    download = d.accept(d.take("plan"))

    def reports(name):
        try:
            return Device(site, name).report()["code"] == 200
        except mqtt.Closed:  # Mosquitto itself ends a connection that the jump makes look old
            return False

    for offset in (2 * DAY, -5 * DAY, 0):
        clock.set(f"{offset:+d}")
        eventually(lambda: reports(f"x{offset + 9 * DAY}"))
        assert site.task("d1")["state"] == "accepted"
    d.install(download) if d.fetch(download["files"][0]["url"])[0] == 200 else None
    d.reboot(main="2.0")
    d.report()
    assert site.task("d1")["state"] == "succeeded"
