# Runs the otactl program as an administrator would. OTACTL names the program; without it, the one in
# the build directory of the working directory.
import fcntl
import functools
import glob
import hashlib
import http.server
import json
import os
import re
import shlex
import sqlite3
import struct
import subprocess
import tarfile
import tempfile
import threading
import unicodedata

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OTACTL = os.environ.get("OTACTL", os.path.abspath("otactl"))

PRODUCT = "INSERT INTO product(name) VALUES ('demo');\n"
PLAN = (
    "INSERT INTO component(product, name) VALUES ('demo', 'main');\n"
    "INSERT INTO package(product, name, component, version) VALUES ('demo', 'main-2', 'main', '2');\n"
    "INSERT INTO package_file(product, package, path) VALUES ('demo', 'main-2', 'fw.bin');\n"
    "INSERT INTO plan(name, product) VALUES ('spring', 'demo');\n"
    "INSERT INTO plan_component(plan, seq, component, full) VALUES ('spring', 1, 'main', 'main-2');\n"
)


@functools.cache
def fresh():
    """The bytes of a database as the plugin makes it: made once, for each test a copy."""
    steps = sorted(glob.glob(ROOT + "/schema/[0-9]*.sql"))
    script = "".join(open(step, encoding="utf-8").read() for step in steps)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "ota.db")
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; {script} COMMIT;")
        db.execute("PRAGMA user_version = %d" % int(os.path.basename(steps[-1])[:4]))
        db.execute("PRAGMA application_id = 0x4F544131")
        db.close()
        with open(path, "rb") as file:
            return file.read()


class Site:
    """A database as the plugin makes it, and otactl on it."""

    def __init__(self, directory):
        self.directory = directory
        self.path = str(directory / "ota.db")
        with open(self.path, "wb") as file:
            file.write(fresh())
        self.db = sqlite3.connect(self.path, isolation_level=None, timeout=10)
        self.db.execute("PRAGMA synchronous = OFF")  # hundreds of statements wait for the disk otherwise
        (directory / "packages").mkdir()
        (directory / "token.key").write_bytes(b"\x00secret\xff" * 4)

    def run(self, *words, code=0, **options):
        done = subprocess.run([OTACTL, "--database", self.path, *words], capture_output=True,
                              text=True, timeout=60, **options)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *words, code=0):
        return json.loads(self.run("--json", *words, code=code))

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="utf-8", newline="")
        return str(path)

    def load(self, text):
        return self.run("import", self.file("load.sql", text))

    def ask(self, sql, *values):
        return self.db.execute(sql, values).fetchall()

    def as_engine(self, sql):
        self.db.executescript("BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;" + sql +
                              "; UPDATE engine_state SET writing = 0; COMMIT")

    def lock(self):
        """Holds the lock that a running broker holds, until it is closed."""
        file = open(self.path + ".lock", "w+b")
        fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
        return file


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.db.close()


# ---------------------------------------------------------------- import


def test_import_says_what_changed_and_who_did_it(site):
    out = site.run("import", site.file("a.sql", PRODUCT), site.file("b.sql", PLAN))
    assert "plan_component" in out and "product" in out
    rows = site.ask("SELECT who, host, file, length(sha256), open FROM import ORDER BY id")
    assert [os.path.basename(r[2]) for r in rows] == ["a.sql", "b.sql"]
    assert all(r[0] and r[1] == os.uname().nodename and r[3] == 64 and r[4] == 0 for r in rows)
    journal = site.ask('SELECT j."table", i.file FROM journal j JOIN import i ON i.id = j.import')
    assert ("product", rows[0][2]) in journal and ("plan", rows[1][2]) in journal


def test_import_counts_agree_with_the_journal(site):
    rows = site.json("import", site.file("a.sql", PRODUCT + PLAN))
    journal = dict(site.ask('SELECT "table", count(*) FROM journal GROUP BY 1'))
    assert {r["table"]: r["inserted"] + r["updated"] + r["deleted"] for r in rows} == journal


def test_import_that_changes_nothing_says_so(site):
    site.load(PRODUCT)
    assert site.load("UPDATE product SET remarks = '';") == "nothing changed\n"
    assert site.json("import", site.file("c.sql", "-- nothing\n")) == []


def test_import_of_several_files_is_all_or_nothing(site):
    bad = site.file("bad.sql", "\n\nINSERT INTO product(name) VALUES ('demo');\n")
    out = site.run("import", site.file("a.sql", PRODUCT), bad, code=3)
    assert bad + ":3: " in out and "name='demo'" in out
    assert site.ask("SELECT * FROM product") == [] and site.ask("SELECT * FROM import") == []


@pytest.mark.parametrize("text", ["COMMIT;", ".shell touch x", "ATTACH 'x.db' AS x;",
                                  "PRAGMA writable_schema = 1;", "DELETE FROM task;"])
def test_import_refuses_what_is_not_for_scripts(site, text):
    site.run("import", site.file("a.sql", PRODUCT + text + "\n"), code=3)
    assert site.ask("SELECT * FROM product") == []


def test_import_takes_rows_from_json(site):
    site.load("INSERT INTO product(name) SELECT value FROM json_each('[\"p1\", \"p2\"]');\n"
              "INSERT INTO product(name) SELECT atom FROM json_tree('{\"a\": [\"p3\"]}') WHERE atom IS NOT NULL;\n")
    assert site.ask("SELECT name FROM product") == [("p1",), ("p2",), ("p3",)]


def test_import_check_changes_nothing(site):
    out = site.run("import", "--check", site.file("a.sql", PRODUCT))
    assert "product" in out and "checked only" in out
    assert site.ask("SELECT * FROM product") == []


def test_import_of_csv_by_name_and_with_constants(site):
    site.load(PRODUCT + PLAN)
    site.run("import", site.file("device.csv", "product,name\r\ndemo,d1\r\n"))
    site.run("import", "--table", "plan_device", "--set", "plan=spring",
             site.file("list.txt", "device\nd1\nd2\n"))
    assert site.ask("SELECT device FROM plan_device") == [("d1",), ("d2",)]
    out = site.run("import", site.file("device.csv", "product,name\ndemo,d/1\n"), code=3)
    assert "device.csv:2: " in out


def test_guards_speak_with_the_row(site):
    site.load(PRODUCT + PLAN)
    site.run("plan", "activate", "spring")
    out = site.run("import", site.file("a.sql", "\nDELETE FROM plan;\n"), code=3)
    assert "a.sql:2: " in out and "spring" in out


def test_control_characters_of_files_do_not_reach_the_terminal(site):
    out = site.run("import", site.file("a.sql", "INSERT INTO \"\x1b[31m\" VALUES (1);"), code=3)
    assert "\x1b" not in out and "\\x1b" in out


# ---------------------------------------------------------------- exit codes, usage


def test_exit_codes(site, tmp_path):
    site.load(PRODUCT)
    site.run("plan", "show", "none", code=1)
    site.run("device", "show", "demo/none", code=1)
    site.run("plan", "fly", code=2)
    site.run("device", "show", "no-slash", code=2)
    site.run(code=2)
    site.run("import", code=2)
    site.run("import", str(tmp_path / "none.sql"), code=3)
    site.path = str(tmp_path / "none.db")
    assert "start the broker" in site.run("plan", "list", code=4)
    assert not os.path.exists(site.path)


def test_output_that_cannot_be_written_is_no_success(site):
    site.load(PRODUCT)
    with open("/dev/full", "w") as full:
        done = subprocess.run([OTACTL, "--database", site.path, "plan", "list"], stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "otactl: the output cannot be written\n")


def test_help_has_an_example_and_the_exit_codes(site):
    assert "Exit codes" in site.run("--help")
    for words in (["import"], ["package", "add"], ["plan", "show"], ["status"], ["sql"],
                  ["restore"], ["log"], ["release"], ["task", "cancel"], ["plan", "cancel"],
                  ["plan", "retry"], ["device", "explain"], ["device", "release"],
                  ["device", "retire"], ["hold"], ["unhold"], ["stop"], ["go"]):
        assert "Example: otactl" in site.run(*words, "--help")


def commands(site, *words):
    """Every command with its help, by the help of its parents."""
    text = site.run(*words, "--help")
    names = []
    if below := re.split("(?i)subcommands:\n", text)[1:]:
        names = [line.split()[0] for line in below[0].splitlines() if re.match("  [a-z]", line)]
    found = {} if names else {words: text}
    for name in names:
        found |= commands(site, *words, name)
    return found


def test_the_example_of_every_command_is_a_command_line(site):
    fleet(site)
    all_of_them = commands(site)
    assert ("device", "explain") in all_of_them and ("go",) in all_of_them and len(all_of_them) > 25
    for words, text in all_of_them.items():
        example = text.split("Example: otactl ")[1].splitlines()[0]
        assert example.split()[:len(words)] == list(words)
        line = shlex.split(example)
        if "--follow" in line:
            line.remove("--follow")
        done = subprocess.run([OTACTL, "--database", site.path, *line], capture_output=True, text=True,
                              timeout=60, cwd=site.directory, stdin=subprocess.DEVNULL)
        assert done.returncode != 2, (example, done.stderr)


def test_what_the_documents_print_are_command_lines(site):
    lines = set()
    for name in ("README.md", "examples/clouds/README.md"):
        with open(f"{ROOT}/{name}", encoding="utf-8") as file:
            lines |= {m.group(1) for m in re.finditer(r"^(?: {4})?(?:sudo )?otactl (.*?)(?: {2,}.*)?$", file.read(), re.M)}
    assert len(lines) > 20
    for line in sorted(lines):
        words = shlex.split(line.replace("/var/backups", str(site.directory)).replace(" --follow", ""))
        done = subprocess.run([OTACTL, "--database", site.path, *words], capture_output=True, text=True, timeout=60,
                              cwd=site.directory, stdin=subprocess.DEVNULL)
        assert done.returncode != 2, (line, done.stderr)


def test_environment_names_the_database(site):
    done = subprocess.run([OTACTL, "plan", "list", "--json"], capture_output=True, text=True,
                          env={**os.environ, "OTA_DATABASE": site.path})
    assert done.returncode == 0 and json.loads(done.stdout) == []


def test_a_locked_database_is_said_to_be_locked(site):
    site.db.execute("BEGIN IMMEDIATE")
    out = site.run("import", site.file("a.sql", PRODUCT), code=4)
    assert "locked" in out
    site.db.execute("ROLLBACK")


# ---------------------------------------------------------------- sql


def test_sql_opens_the_shell_as_it_should_be(site):
    site.load(PRODUCT)
    assert "demo" in site.run("sql", "SELECT name FROM product")
    assert site.run("sql", "PRAGMA foreign_keys").split() == ["foreign_keys", "------------", "1"]
    assert site.run("sql", "PRAGMA recursive_triggers").split()[-1] == "1"
    # The exit code is the shell's own: 8, and 1 from some version on.
    done = subprocess.run([OTACTL, "--database", site.path, "sql", "-readonly", "DELETE FROM product"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 8) and "readonly" in done.stderr
    assert site.run("sql", input="SELECT 41 + 1 AS x;\n").split()[-1] == "42"


# ---------------------------------------------------------------- packages


def test_package_add_copies_registers_and_can_be_repeated(site):
    site.load(PRODUCT)
    firmware = site.file("fw 1.bin", "firmware")
    rows = site.json("package", "add", "demo", "main", "2.0", firmware, "--remarks", "first")
    stored = site.directory / "packages" / rows[0]["path"]
    assert stored.read_text() == "firmware"
    assert site.ask("SELECT name, type FROM component") == [("main", "firmware")]
    before = site.ask("SELECT count(*) FROM journal")
    assert "there already" in site.run("package", "add", "demo", "main", "2.0", firmware)
    assert site.ask("SELECT count(*) FROM journal") == before
    listed = site.json("package", "list")
    assert [(p["package"], p["state"], p["files"]) for p in listed] == [("main-2.0", "new", 1)]


def test_package_add_refuses_other_content_and_unknown_products(site):
    site.load(PRODUCT)
    site.run("package", "add", "demo", "main", "2.0", site.file("fw.bin", "one"))
    site.run("package", "add", "demo", "main", "2.0", site.file("fw.bin", "two"), code=3)
    site.run("package", "add", "demo", "main", "2.0", site.file("other.bin", "two"), code=3)
    assert site.ask("SELECT count(*) FROM package_file") == [(1,)]
    site.run("package", "add", "none", "main", "2.0", site.file("x.bin", "x"), code=1)
    site.run("package", "add", "demo", "main", "3.0", str(site.directory / "none.bin"), code=3)
    assert site.ask("SELECT count(*) FROM package") == [(1,)]


def test_package_add_that_is_refused_leaves_no_file(site):
    site.load(PRODUCT + "UPDATE profile SET max_files = 1 WHERE name = 'default';\n")
    first, second = site.file("a.bin", "one"), site.file("b.bin", "two")
    site.run("package", "add", "demo", "main", "2.0", first, "--remarks", "x" * 1001, code=3)
    site.run("package", "add", "demo", "main", "2.0", first, second, code=3)
    site.run("package", "add", "demo", "main", "2.0", first, str(site.directory / "none.bin"), code=3)
    assert os.listdir(site.directory / "packages") == []
    site.run("package", "add", "demo", "main", "2.0", site.file("a.bin", "another build"))
    stored = os.listdir(site.directory / "packages")
    site.run("package", "add", "demo", "main", "2.0", first, second, code=3)  # what is there already stays
    assert os.listdir(site.directory / "packages") == stored


def test_delta_packages_take_several_sources(site):
    site.load(PRODUCT)
    for source in ("1.0", "1.1"):
        site.run("package", "add", "demo", "main", "2.0", site.file("d.bin", "from" + source),
                 "--delta-from", source)
    assert site.ask("SELECT package, source FROM package_file ORDER BY 2") == [
        ("main-2.0-delta", "1.0"), ("main-2.0-delta", "1.1")]
    assert site.ask("SELECT kind FROM package") == [("delta",)]


def test_package_add_waits_for_the_digests(site):
    site.load(PRODUCT)
    lock = site.lock()

    def engine():
        db = sqlite3.connect(site.path, isolation_level=None, timeout=10)
        while not db.execute("SELECT 1 FROM package_file").fetchall():
            pass
        db.executescript(
            "BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;"
            "INSERT INTO package_state(product, package, source, seq, path, state, bytes, sha256)"
            " SELECT product, package, source, seq, path, 'ready', 3, 'abc' FROM package_file;"
            "UPDATE engine_state SET writing = 0; COMMIT")
        db.close()

    thread = threading.Thread(target=engine)
    thread.start()
    rows = site.json("package", "add", "demo", "main", "2.0", site.file("a.bin", "abc"), "--wait")
    thread.join()
    lock.close()
    assert [(r["state"], r["sha256"]) for r in rows] == [("ready", "abc")]
    assert "is it running" in site.run("package", "add", "demo", "main", "3.0",
                                       site.file("b.bin", "b"), "--wait", code=4)


# ---------------------------------------------------------------- plans, devices, status, log


def fleet(site):
    site.load(PRODUCT + PLAN)
    site.run("plan", "activate", "spring")
    site.as_engine(
        "INSERT INTO device_state(id, product, name, registered_ms, seen_ms, battery)"
        " VALUES (1, 'demo', 'd1', 1, 1700000000000, 80), (2, 'demo', '\u9580\u53e3', 1, 1, NULL);"
        "INSERT INTO device_version VALUES (1, 'main', '1', 0, 1);"
        "INSERT INTO plan_state(plan, state, \"order\", activated_ms) VALUES ('spring', 'active', 1, 1);"
        "INSERT INTO task(id, name, plan, device_id, state, reason, created_ms) VALUES"
        " (1, 'task0001', 'spring', 1, 'downloading', '', 1),"
        " (2, 'task0002', 'spring', 2, 'queued', 'offline', 1);"
        "INSERT INTO task_component(task_id, seq, name, state, target, percent, attempt)"
        " VALUES (1, 1, 'main', 'current', '2', 40, 1);"
        "INSERT INTO log(at_ms, product, device, plan, task, component, event, detail)"
        " VALUES (1700000000123, 'demo', 'd1', 'spring', 'task0001', 'main', 'progress',"
        " char(27) || '[2J')")


def test_plan_commands_set_what_is_wanted(site):
    site.load(PRODUCT + PLAN)
    assert "now active" in site.run("plan", "activate", "spring")
    assert "already" in site.run("plan", "activate", "spring")
    assert "now paused" in site.run("plan", "pause", "spring")
    site.run("plan", "resume", "spring")
    assert site.json("plan", "cancel", "spring")["wanted"] == "canceled"
    assert "spring" in site.run("plan", "resume", "spring", code=3)
    site.run("plan", "pause", "none", code=1)


def test_plans_and_devices_are_shown(site):
    fleet(site)
    plan = site.json("plan", "show", "spring", "--devices")
    assert (plan["plan"]["in_upgrade"], plan["plan"]["to_be_pushed"]) == (1, 1)
    assert plan["components"][0]["target"] == "2"
    assert [(d["shown"], d["percent"]) for d in plan["devices"]] == [("In Upgrade", 40),
                                                                    ("To Be Pushed (Device Offline)", None)]
    device = site.json("device", "show", "demo/d1")
    assert device["device"]["versions"] == "main 1"
    assert device["tasks"][0]["task"] == "task0001"
    assert device["log"][0]["detail"] == "\x1b[2J"
    assert len(site.json("device", "list", "--product", "demo")) == 2
    assert "\x1b" not in site.run("device", "show", "demo/d1")


def test_tables_line_up_with_wide_characters(site):
    fleet(site)
    lines = site.run("device", "list").splitlines()

    def column(line, word):
        before = line[:line.index(word)]
        return sum(2 if unicodedata.east_asian_width(c) == "W" else 1 for c in before)

    assert "\u9580\u53e3" in lines[2]
    assert column(lines[1], "spring") == column(lines[2], "spring")


def test_log_filters(site):
    fleet(site)
    assert [r["event"] for r in site.json("log", "--device", "demo/d1")] == ["progress"]
    assert site.json("log", "--device", "demo/none") == []
    assert site.json("log", "--plan", "spring")[0]["at"] == "2023-11-14T22:13:20.123Z"
    assert site.json("log", "--plan", "none") == []


def test_log_follows(site):
    fleet(site)
    program = subprocess.Popen([OTACTL, "--database", site.path, "--json", "log", "--follow"],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert json.loads(program.stdout.readline())["event"] == "progress"
        site.as_engine("INSERT INTO log(at_ms, event) VALUES (2, 'later')")
        assert json.loads(program.stdout.readline())["event"] == "later"
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


HEALTHY = ("INSERT OR REPLACE INTO engine_health VALUES (1, unixepoch() * 1000, 1, 1, 5, 0, 0, 0, 9,"
           " 0, 1 << 40, '')")


def test_status_tells_right_from_wrong(site):
    fleet(site)
    assert "not running" in site.run("status", code=1)
    lock = site.lock()
    site.as_engine(HEALTHY)
    assert "in order" in site.run("status")
    assert site.json("status")["ok"] is True
    site.as_engine("UPDATE plan_state SET state = 'held', reason = 'restored'")
    site.as_engine("UPDATE engine_health SET last_error = 'disk full'")
    status = site.json("status", code=1)
    text = json.dumps(status["problems"])
    assert "otactl release spring" in text and "disk full" in text
    lock.close()


def answer(site, state, text):
    """Answers the next request as the engine would."""

    def engine():
        db = sqlite3.connect(site.path, isolation_level=None, timeout=10)
        while not db.execute("SELECT 1 FROM request WHERE state = 'new'").fetchall():
            pass
        db.executescript(
            "BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;"
            "UPDATE request SET state = '%s', answer = '%s', answered_ms = 1 WHERE state = 'new';"
            "UPDATE engine_state SET writing = 0; COMMIT" % (state, text))
        db.close()

    thread = threading.Thread(target=engine)
    thread.start()
    return thread


def test_release_and_cancel_wait_for_the_engines_answer(site):
    fleet(site)
    site.as_engine("UPDATE plan_state SET state = 'held'")
    thread = answer(site, "done", "released")
    assert site.json("release")[0]["answer"] == "released"
    thread.join()
    thread = answer(site, "refused", "too late")
    assert "too late" in site.run("task", "cancel", "task0002", code=1)
    thread.join()
    thread = answer(site, "done", "done")
    site.run("task", "retry", "task0002")
    thread.join()
    asked = site.ask("SELECT act, plan, product, device FROM request ORDER BY id")
    assert asked[0] == ("release", None, None, None)
    assert asked[1] == ("cancel", "spring", "demo", "\u9580\u53e3")
    assert asked[2] == ("retry", "spring", "demo", "\u9580\u53e3")
    assert "not running" in site.run("release", "spring", "--wait", "0", code=4)
    site.run("task", "cancel", "none", code=1)
    assert "no such plan" in site.run("release", "none", code=3)


# ---------------------------------------------------------------- plans, devices, brakes


def test_plan_resume_says_what_lets_a_halted_plan_go_on(site):
    fleet(site)
    site.as_engine("UPDATE plan_state SET halted = '3 tasks failed'")
    assert "It is halted (3 tasks failed); to let it go on: otactl release spring" in site.run("plan", "resume", "spring")
    assert "It is" not in site.run("plan", "pause", "spring")


def test_plan_cancel_ends_what_the_profile_or_the_command_says(site):
    """004-62 004-73"""
    fleet(site)
    wanted = "SELECT wanted, at_cancel FROM plan WHERE name = 'spring'"
    site.ask("UPDATE profile SET at_cancel = 'scheduled'")
    said = site.run("plan", "cancel", "spring")
    assert "now canceled" in said and "tasks that wait for its start end, the others go on" in said
    assert site.ask(wanted) == [("canceled", None)]
    assert "tasks that were not offered end" in site.run("plan", "cancel", "spring", "--tasks", "queued")
    assert "from scheduled to queued to all" in site.run("plan", "cancel", "spring", "--tasks", "scheduled", code=3)
    assert "all its tasks end" in site.run("plan", "cancel", "spring", "--tasks", "all")
    assert site.ask(wanted) == [("canceled", "all")]
    assert "already" in site.run("plan", "cancel", "spring")
    assert site.ask(wanted) == [("canceled", "all")]


def test_plan_retry_asks_for_the_devices_named_or_all_that_failed(site):
    """004-70"""
    fleet(site)
    thread = answer(site, "done", "2 tasks")
    assert site.json("plan", "retry", "spring")[0]["answer"] == "2 tasks"
    thread.join()
    names = [row[0] for row in site.ask("SELECT device FROM tasks WHERE plan = 'spring' ORDER BY 1")]
    out = site.run("plan", "retry", "spring", *names, "--wait", "0", code=4)
    assert "not running" in out
    asked = site.ask("SELECT act, plan, device FROM request ORDER BY id")
    assert asked == [("retry", "spring", None)] + [("retry", "spring", name) for name in names]
    assert "no such device" in site.run("plan", "retry", "spring", names[0], "none", code=3)
    assert site.ask("SELECT count(*) FROM request") == [(len(asked),)]


def test_hold_and_unhold(site):
    fleet(site)
    assert "the site: is held" in site.run("hold", "--reason", "audit")
    assert "already" in site.run("hold", "--reason", "audit")
    site.run("hold", "demo", "--until", "2999-01-31")
    held = site.json("hold", "demo/\u9580\u53e3", "--until", "2999-01-31T08:00+01:00", "--reason", "x")
    assert [h["scope"] for h in held] == ["site", "product", "device"]
    assert [h["until"] for h in held] == [None, "2999-01-31T00:00:00Z", "2999-01-31T07:00:00Z"]
    assert "is in the past" in site.run("hold", "demo", "--until", "2001-01-31", code=3)
    for until in ("tomorrow evening", "2999-02-29", "2999-04-31T08:00+01:00", "2500000"):
        assert "is no date" in site.run("hold", "demo", "--until", until, code=3)
    assert "no such product" in site.run("hold", "none", code=3)
    assert "no such device" in site.run("hold", "demo/none", code=3)
    assert "audit" in site.run("status", code=1)
    site.run("unhold")
    site.run("hold", "demo", "--off")
    assert "not held any more" in site.run("unhold", "demo/\u9580\u53e3")
    assert "was not held" in site.run("unhold", "demo")
    assert site.ask("SELECT * FROM hold") == []
    who = site.ask("SELECT i.file FROM journal j JOIN import i ON i.id = j.import WHERE j.\"table\" = 'hold'")
    assert len(who) == 6 and who[0][0].startswith("otactl hold")


def test_a_name_that_is_left_empty_is_not_everything(site):
    fleet(site)
    for what in ("", "demo/", "/d1", "/"):
        assert "is neither" in site.run("hold", what, code=2)
        assert "is neither" in site.run("unhold", what, code=2)
    assert "is empty" in site.run("release", "", code=2)
    assert "is empty" in site.run("plan", "retry", "spring", "d1", "", code=2)
    assert site.ask("SELECT * FROM hold") == [] and site.ask("SELECT * FROM request") == []


def test_stop_and_go(site):
    fleet(site)
    assert "otactl go" in site.run("stop", "--reason", "2.1 bricks devices")
    assert site.json("stop", "--reason", "still")[0]["stopped"] == "still"
    assert "Everything is stopped: still" in site.run("status", code=1)
    assert "goes on" in site.run("go")
    assert "nothing was stopped" in site.run("go")
    site.run("stop", code=2)


def test_a_retired_device_is_shown_as_such_and_can_come_back(site):
    fleet(site)
    assert "leaves every scope" in site.run("device", "retire", "demo/d1")
    assert site.ask("SELECT name, retired FROM device WHERE retired") == [("d1", 1)]
    assert "was already" in site.run("device", "retire", "demo/d1")
    assert site.json("device", "retire", "demo/d1", "--off")[0]["retired"] == 0
    site.run("device", "retire", "demo/none", code=1)


def test_device_release_asks_the_engine(site):
    fleet(site)
    thread = answer(site, "done", "1 target")
    assert "1 target" in site.run("device", "release", "demo/\u9580\u53e3")
    thread.join()
    assert site.ask("SELECT act, plan, product, device FROM request") == [
        ("release", None, "demo", "\u9580\u53e3")]


def explain(site, rules):
    """Answers the next request 'explain' with rules (plan, rule, ok, value, limit)."""
    rows = ";".join(
        "INSERT INTO explanation SELECT max(id), '%s', %d, '%s', %d, '%s', '%s', '%s', NULL FROM request"
        % (plan, seq, rule, ok, "" if ok else rule, value, limit)
        for seq, (plan, rule, ok, value, limit) in enumerate(rules))

    def engine():
        db = sqlite3.connect(site.path, isolation_level=None, timeout=10)
        while not db.execute("SELECT 1 FROM request WHERE state = 'new'").fetchall():
            pass
        db.executescript(
            "BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;" + rows +
            ";UPDATE request SET state = 'done', answer = 'no plan of the product', answered_ms = 1"
            " WHERE state = 'new'; UPDATE engine_state SET writing = 0; COMMIT")
        db.close()

    thread = threading.Thread(target=engine)
    thread.start()
    return thread


def test_device_explain_lists_every_rule_with_its_verdict(site):
    fleet(site)
    device = "demo/\u9580\u53e3"
    assert "not running" in site.run("device", "explain", device, code=4)
    assert site.ask("SELECT count(*) FROM request") == [(0,)]
    lock = site.lock()
    thread = explain(site, [("spring", "stopped", 1, "", ""), ("spring", "battery", 0, "20", "30")])
    out = site.run("device", "explain", device, code=3)
    thread.join()
    lines = out.splitlines()
    assert lines[0] == "plan 'spring': blocked by battery"
    assert lines[1].split() == ["rule", "verdict", "value", "limit", "when", "reason"]
    assert lines[3].split()[:4] == ["battery", "blocked", "20", "30"] and "too low" in lines[3]
    thread = explain(site, [("spring", "stopped", 0, "", ""), ("winter", "stopped", 1, "", "")])
    told = site.json("device", "explain", device)
    thread.join()
    assert told["offer"] is True and len(told["rules"]) == 2
    thread = explain(site, [])
    assert "no plan of the product" in site.run("device", "explain", device, "spring", code=3)
    thread.join()
    assert site.ask("SELECT act, plan, product FROM request ORDER BY id DESC LIMIT 1") == [
        ("explain", "spring", "demo")]
    assert "not answered" in site.run("device", "explain", device, "--wait", "0", code=4)
    assert "no such device" in site.run("device", "explain", "demo/none", code=3)
    lock.close()


# 004-45: by CSV; 100,000 rows too
def test_a_whitelist_of_ten_thousand_rows_is_imported_or_refused_as_a_whole(site):
    site.load(PRODUCT + PLAN)
    rows = "".join("d%05d\n" % i for i in range(10000))
    words = ("import", "--table", "plan_device", "--set", "plan=spring", site.file("list.csv", "device\n" + rows))
    # How far it is goes to a terminal alone.
    assert subprocess.run([OTACTL, "--database", site.path, *words, "--check"], capture_output=True, timeout=60).stderr == b""
    terminal, ours = os.openpty()
    done = subprocess.run([OTACTL, "--database", site.path, *words], stdout=subprocess.PIPE, stderr=ours, text=True, timeout=60)
    os.close(ours)
    assert re.search(rb"list.csv: [1-9][0-9]* %", os.read(terminal, 10000))
    os.close(terminal)
    assert done.returncode == 0 and re.search(r"plan_device +10000 +0 +0", done.stdout)
    assert site.ask("SELECT count(*), max(position) FROM plan_device") == [(10000, 10000)]
    bad = site.file("bad.csv", "device\n" + rows.replace("d", "e") + "a b\n")
    out = site.run("import", "--table", "plan_device", "--set", "plan=spring", bad, code=3)
    assert bad + ":10002: CHECK constraint failed" in out and "device='a b'" in out
    assert site.ask("SELECT count(*) FROM plan_device") == [(10000,)]
    site.load("UPDATE profile SET max_listed = 10000 WHERE name = 'default';")
    out = site.run("import", "--table", "plan_device", "--set", "plan=spring",
                   site.file("one.csv", "device\none-more\n"), code=3)
    assert "one.csv:2: plan_device: more devices than the profile allows" in out
    assert "device='one-more'); profile 'default': max_listed = 10000" in out


# ---------------------------------------------------------------- backup, restore


def test_backup_while_a_writer_writes_and_restore(site):
    site.load(PRODUCT)
    tar = str(site.directory / "b.tar")
    stop = threading.Event()

    def write():
        db = sqlite3.connect(site.path, isolation_level=None, timeout=10)
        number = 0
        while not stop.is_set():
            number += 1
            db.execute("BEGIN IMMEDIATE")
            for part in ("a", "b"):
                db.execute("INSERT INTO device(product, name) VALUES ('demo', ?)",
                           ("%s%d" % (part, number),))
            db.execute("COMMIT")
        db.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        site.run("backup", tar)
    finally:
        stop.set()
        thread.join()
    assert os.stat(tar).st_mode & 0o777 == 0o600
    with tarfile.open(tar) as archive:
        assert archive.getnames() == ["SHA256SUMS", "ota.db", "token.key"]
    assert "exists already" in site.run("backup", tar, code=3)

    key = (site.directory / "token.key").read_bytes()
    (site.directory / "token.key").write_bytes(b"other")
    (site.directory / "ota.db.commit").write_text("77")
    site.load("INSERT INTO product(name) VALUES ('later');")
    site.db.close()
    open(site.path + "-wal", "ab").close()
    out = site.run("restore", tar)
    assert "former" in out and "release" in out
    assert not os.path.exists(site.path + "-wal") and not os.path.exists(site.path + "-shm")
    assert (site.directory / "token.key").read_bytes() == key
    assert (site.directory / "ota.db.commit").read_text() == "77"
    assert os.stat(site.path).st_mode & 0o777 == 0o640
    assert os.stat(site.directory / "token.key").st_mode & 0o777 == 0o600
    site.db = sqlite3.connect(site.path)
    assert site.ask("SELECT name FROM product") == [("demo",)]
    assert site.ask("PRAGMA integrity_check") == [("ok",)]
    devices = {d[0] for d in site.ask("SELECT name FROM device")}
    assert all("b" + d[1:] in devices for d in devices if d[0] == "a")
    former = glob.glob(site.path + ".before-*Z")
    assert len(former) == 1
    kept = sqlite3.connect(former[0])
    assert ("later",) in kept.execute("SELECT name FROM product").fetchall()
    kept.close()
    assert not glob.glob(str(site.directory / ".otactl-*"))


def state(site):
    names = sorted(n for n in os.listdir(site.directory) if not n.startswith("b.tar"))
    return [(n, (site.directory / n).read_bytes()) for n in names
            if os.path.isfile(site.directory / n) and not n.endswith((".lock", "-shm"))]


def test_what_a_killed_backup_left_goes_with_the_next_one(site):
    site.load(PRODUCT)
    killed, running = site.directory / ".otactl-killed", site.directory / ".otactl-runs00"
    for directory in (killed, running):
        directory.mkdir()
        (directory / "ota.db").write_bytes(b"half")
    lock = os.open(running, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        site.run("backup", str(site.directory / "b.tar"))
    finally:
        os.close(lock)
    assert [path.name for path in site.directory.glob(".otactl-*")] == [running.name]


def test_restore_is_refused_while_the_broker_runs(site):
    site.run("backup", str(site.directory / "b.tar"))
    before = state(site)
    lock = site.lock()
    assert "stop it first" in site.run("restore", str(site.directory / "b.tar"), code=3)
    lock.close()
    assert state(site) == before


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "header", "extra"])
def test_restore_of_a_damaged_backup_changes_nothing(site, damage):
    site.load(PRODUCT)
    tar = site.directory / "b.tar"
    site.run("backup", str(tar))
    site.db.close()
    whole = bytearray(tar.read_bytes())
    if damage == "flip":
        whole[20000] ^= 1
    elif damage == "header":
        whole[10] ^= 1
    elif damage == "cut":
        del whole[len(whole) // 2:]
    elif damage == "empty":
        whole = bytearray()
    elif damage == "text":
        whole = bytearray(b"this is no archive\n" * 1000)
    if damage == "extra":
        evil = site.directory / "evil"
        evil.write_text("x")
        with tarfile.open(tar, "a", format=tarfile.USTAR_FORMAT) as archive:
            archive.add(evil, "../evil.key")
        evil.unlink()
    else:
        tar.write_bytes(whole)
    before = state(site)
    site.run("restore", str(tar), code=4)
    assert state(site) == before
    site.db = sqlite3.connect(site.path)


def test_package_add_fetches_an_address(site):
    site.load(PRODUCT)
    body = b"firmware" * 1000

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/fw/main-3.bin?key=1" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = "http://127.0.0.1:%d/fw/" % server.server_port
        site.run("package", "add", "demo", "main", "3.0", base + "main-3.bin?key=1")
        assert "404" in site.run("package", "add", "demo", "main", "4.0", base + "none.bin", code=4)
        server.shutdown()
    path, digest = site.ask("SELECT path, sha256 FROM package_file WHERE package = 'main-3.0'")[0]
    assert digest == hashlib.sha256(body).hexdigest()
    assert path.endswith("main-3.bin")
    assert not site.ask("SELECT 1 FROM package WHERE name = 'main-4.0'")
