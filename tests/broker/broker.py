"""A site for one test: a real Mosquitto with the plugin on loopback ports and in a directory of its own.

All that the tests know of option names, of the schema and of otactl's arguments is in this file.
Environment (set by CTest): OTA_PLUGIN, OTA_OTACTL, OTA_MOSQUITTO; OTA_LONG=1 for `test.sh --all`; OTA_SEED: what is random
in a test of faults, printed when it fails;
OTA_PRELOAD: libraries to preload into the broker (a sanitizer's).
"""

import contextlib
import functools
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

import mqtt

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGIN = os.environ.get("OTA_PLUGIN", str(ROOT / "build" / "mosquitto_ota.so"))
OTACTL = os.environ.get("OTA_OTACTL", str(ROOT / "build" / "otactl"))
LONG = os.environ.get("OTA_LONG") == "1"
SEED = int(os.environ.get("OTA_SEED", "0")) or random.randrange(1, 1 << 30)
TIMEOUT = mqtt.TIMEOUT

OPEN_STATES = ("offered", "postponed", "accepted", "downloading", "waiting", "installing", "rebooting",
               "retrying")
END_STATES = ("succeeded", "failed", "refused", "canceled")


def mosquitto():
    path = os.environ.get("OTA_MOSQUITTO") or shutil.which("mosquitto", path=os.environ.get("PATH", "") +
                                                           ":/usr/sbin:/usr/local/sbin")
    assert path, "mosquitto is not installed"
    return path


def broker_version():
    """(2, 0, 11): what `mosquitto -h` says."""
    text = subprocess.run([mosquitto(), "-h"], capture_output=True, text=True).stdout
    return tuple(int(n) for n in re.search(r"version (\d+)\.(\d+)\.(\d+)", text).groups())


SLOTS = 64


def slot():
    """A number that no other process of these tests has while this one lives: a name in the kernel, gone with its socket.
    What is free to bind is not yet free to keep: another broker may be on its way to the same port."""
    for number in random.SystemRandom().sample(range(SLOTS), SLOTS):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0mosquitto-ota-tests-ports-{number}")
            return number, name
        except OSError:
            name.close()
    raise AssertionError(f"{SLOTS} processes of these tests at a time have no ports for another one")


# Below those that the kernel gives to outgoing connections. A process gives none twice before it has given all, and
# processes that run at the same time have others.
SLOT, SLOT_NAME = slot()
PORTS = list(range(10_000 + SLOT, 32_000, SLOTS))
random.SystemRandom().shuffle(PORTS)
PORTS = itertools.cycle(PORTS)


def free_port():
    """One that is free; it is meant to stay so until it is used."""
    for port in PORTS:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def eventually(ask, timeout=TIMEOUT, what="the expected state"):
    """Asks until the answer is true and gives it. For what sends no event: tables, files, /proc."""
    end = time.monotonic() + timeout
    for pause in itertools.chain((0.01, 0.02, 0.03, 0.05, 0.07), itertools.repeat(0.1)):
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not {what} within {timeout} s; last answer: {answer!r}")
        time.sleep(pause)


def quoted(value):
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def insert(table, **columns):
    return (f"INSERT INTO {table} ({', '.join(columns)}) "
            f"VALUES ({', '.join(quoted(v) for v in columns.values())});\n")


@functools.cache
def migrated():
    """The files of an empty database as the plugin makes them, to be copied: the schema's steps take most of a first start.
    In memory where there is such a place: they wait for the disk otherwise, each of them several times."""
    with tempfile.TemporaryDirectory(prefix="ota-empty-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        site = Site(directory, first=True, start=False)
        try:
            site.start()
            site.stop()
        finally:
            site.kill()  # that did not come up
        return {path.name: path.read_bytes() for path in (site.database, pathlib.Path(f"{site.database}.commit"))}


class Site:
    """`options`: plugin options without `plugin_opt_`, None takes a default away,
    a list repeats the option. `lines`: more lines of
    mosquitto.conf before the plugin; `after`: lines after it. `files`: name -> text, written beside.
    `plugin`: False loads none, a path another one. `first`: the plugin finds no database and makes one."""

    def __init__(self, directory, options=None, lines=(), after=(), files=None, anonymous=True,
                 persistence=False, plugin=True, environment=None, start=True, wait=True, log_type="all", first=False):
        self.directory = pathlib.Path(directory)
        self.port, self.http_port = free_port(), free_port()
        self.database = self.directory / "ota.db"
        self.store = self.directory / "packages"
        self.log_path = self.directory / "mosquitto.log"
        self.store.mkdir(parents=True, exist_ok=True)
        for name, text in (files or {}).items():
            (self.directory / name).write_text(text)
        self.options = {
            "database": str(self.database),
            "packages": str(self.store),
            "download_base": f"http://127.0.0.1:{self.http_port}",
            "download_listen": f"127.0.0.1:{self.http_port}",
            "administrators": "admin",
            "acl_other": "allow",
        }
        self.options.update(options or {})
        self.lines, self.after = list(lines), list(after)
        self.anonymous, self.persistence, self.plugin = anonymous, persistence, plugin
        self.environment = environment or {}
        self.log_type = log_type
        self.process = None
        self.clients = []
        self.imports = itertools.count(1)
        self.gathered = None
        if plugin and not first and not self.database.exists():
            for name, content in migrated().items():
                (self.directory / name).write_bytes(content)
                (self.directory / name).chmod(0o640)
        if start:
            self.start(wait)

    # ------------------------------------------------------------------ the broker

    def configuration(self):
        lines = ["user root"] if os.geteuid() == 0 else []
        lines += [f"listener {self.port} 127.0.0.1",
                  f"allow_anonymous {'true' if self.anonymous else 'false'}",
                  "set_tcp_nodelay true", "log_dest stderr", f"log_type {self.log_type}",
                  f"persistence {'true' if self.persistence else 'false'}",
                  f"persistence_location {self.directory}/"]
        lines += [line.format(directory=self.directory) for line in self.lines]
        if self.plugin:
            lines.append(f"plugin {PLUGIN if self.plugin is True else self.plugin}")
            for name, value in self.options.items():
                for one in value if isinstance(value, (list, tuple)) else [value]:
                    if one is not None:
                        lines.append(f"plugin_opt_{name} {one}")
        lines += [line.format(directory=self.directory) for line in self.after]
        return "\n".join(lines) + "\n"

    def spawn(self):
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(self.configuration())
        preload = {"LD_PRELOAD": os.environ["OTA_PRELOAD"]} if "OTA_PRELOAD" in os.environ else {}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([mosquitto(), "-c", str(configuration)], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL,
                                            env={**os.environ, **preload, **self.environment})
        return self.process

    def start(self, wait=True):
        """`wait`: until MQTT is served and the engine has opened its database."""
        self.spawn()
        self.wait_mqtt()
        if wait and self.plugin:
            self.wait_engine()
        return self

    def wait_mqtt(self, timeout=TIMEOUT):
        def answers():
            assert self.process.poll() is None, f"the broker ended with {self.process.returncode}:\n{self.log()}"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False
        eventually(answers, timeout, "listening")

    def wait_engine(self, timeout=TIMEOUT):
        def opened():
            row = self.health()
            return row and row["pid"] == self.process.pid
        eventually(opened, timeout, "an engine that has opened its database")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=TIMEOUT):
        """SIGTERM; gives the seconds that the end took."""
        started = time.monotonic()
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"SIGTERM did not end the broker within {timeout} s:\n{self.log()[-4000:]}")
        return time.monotonic() - started

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self, wait=True):
        self.stop()
        self.forget_clients()
        return self.start(wait)

    def forget_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def close(self):
        self.forget_clients()
        self.kill()

    def alive(self):
        return self.process.poll() is None

    def rss(self):
        """Resident bytes of the broker."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024

    def descriptors(self):
        """Open files of the broker and of the plugin, which has a table of its own (package/threads.h)."""
        first, *others = sorted(pathlib.Path(f"/proc/{self.process.pid}/task").iterdir(), key=lambda task: int(task.name))
        return len(os.listdir(first / "fd")) + max(len(os.listdir(task / "fd")) for task in others)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, pattern, timeout=TIMEOUT, start=0):
        """Waits until the log from byte `start` on matches; gives the match."""
        return eventually(lambda: re.search(pattern, self.log()[start:]), timeout, f"a log line like {pattern!r}")

    def client(self, client_id="", user=None, **arguments):
        client = mqtt.Client(self.port, client_id, user, **arguments)
        self.clients.append(client)
        return client

    def admin(self, *filters, **arguments):
        client = self.client("", "admin", **arguments)
        if filters:
            assert all(code < 128 for code in client.subscribe(*filters))
        return client

    # ------------------------------------------------------------------ the database

    def query(self, sql, *arguments):
        """Rows as dictionaries, read beside the running broker."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=TIMEOUT)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, arguments)]

    def one(self, sql, *arguments):
        rows = self.query(sql, *arguments)
        return rows[0] if rows else None

    def health(self):
        try:
            return self.one("SELECT * FROM engine_health")
        except sqlite3.Error:
            return None

    def bare(self, script, check=True):
        """A `sqlite3` shell with its defaults, as an administrator might use it."""
        shell = shutil.which("sqlite3")
        assert shell, "the sqlite3 shell is not installed"
        result = subprocess.run([shell, "-init", "/dev/null", "-batch", str(self.database)], input=f".timeout {1000 * TIMEOUT:.0f}\n" + script,
                                text=True, capture_output=True, timeout=2 * TIMEOUT)
        assert not check or not result.stderr.strip() or "Loading resources" in result.stderr, result.stderr
        return result

    def otactl(self, *arguments, check=True, stdin=None, timeout=2 * TIMEOUT):
        result = subprocess.run([OTACTL, "--database", str(self.database), "--packages", str(self.store),
                                 *map(str, arguments)], input=stdin, text=True, capture_output=True,
                                timeout=timeout)
        assert not check or result.returncode == 0, f"otactl {arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def otactl_json(self, *arguments):
        return json.loads(self.otactl("--json", *arguments).stdout)

    def sql(self, script, check=True):
        """Imports a script with otactl; within `together` when that ends."""
        if self.gathered is not None:
            self.gathered.append(script)
            return None
        path = self.directory / f"import-{next(self.imports)}.sql"
        path.write_text(script)
        return self.otactl("import", path, check=check)

    @contextlib.contextmanager
    def together(self):
        """What the block imports is one script."""
        self.gathered = []
        try:
            yield
        finally:
            scripts, self.gathered = self.gathered, None
        self.sql("".join(scripts))

    # ------------------------------------------------------------------ what tests need of the schema

    def product(self, name="pump", components=("main",), **columns):
        script = insert("product", name=name, **columns)
        for component in components:
            spec = component if isinstance(component, dict) else {"name": component}
            script += insert("component", product=name, **spec)
        self.sql(script)

    def store_file(self, path, content):
        target = self.store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        os.chmod(target, 0o644)
        return target

    def package(self, product="pump", component="main", version="2.0", content=b"firmware 2.0", name=None,
                kind="full", sets=None, wait=True):
        """A package with one file, or `sets`: source version -> list of contents. Gives its name."""
        name = name or f"{component}-{version}"
        sets = sets or {"": content if isinstance(content, list) else [content]}
        script = insert("package", product=product, name=name, component=component, kind=kind, version=version)
        for source, contents in sets.items():
            for seq, data in enumerate(contents):
                path = f"{product}-{name}-{source or 'any'}-{seq}.bin"
                if data is not None:
                    self.store_file(path, data)
                script += insert("package_file", product=product, package=name, source=source, seq=seq, path=path)
        self.sql(script)
        if wait and self.gathered is None:
            self.wait_package(product, name)
        return name

    def package_states(self, product, name):
        return self.query("SELECT * FROM package_state WHERE product=? AND package=? ORDER BY source, seq", product, name)

    def wait_package(self, product, name, state="ready"):
        def reached():
            rows = self.package_states(product, name)
            files = self.one("SELECT count(*) AS n FROM package_file WHERE product=? AND package=?", product, name)["n"]
            return rows if len(rows) == files and all(row["state"] == state for row in rows) else None
        return eventually(reached, what=f"package {product}/{name} {state}")

    def plan(self, name="spring", product="pump", components=(("main", "main-2.0"),), wanted="active",
             white=(), black=(), sources=(), texts=None, tags=None, check=True, **columns):
        """`components`: (component, full package[, delta package]) in order."""
        if white:
            columns.setdefault("scope", "selected")
        script = insert("plan", name=name, product=product, **columns)
        for seq, (component, full, *delta) in enumerate(components, 1):
            script += insert("plan_component", plan=name, seq=seq, component=component, full=full,
                             delta=delta[0] if delta else None)
        for component, version in sources:
            script += insert("plan_source", plan=name, component=component, version=version)
        for listed, devices in (("white", white), ("black", black)):
            for device in devices:
                script += insert("plan_device", plan=name, list=listed, device=device)
        for lang, text in (texts or {}).items():
            script += insert("plan_text", plan=name, lang=lang, text=text)
        for key, value in (tags or {}).items():
            script += insert("plan_tag", plan=name, key=key, value=value)
        if wanted != "draft":
            script += f"UPDATE plan SET wanted={quoted(wanted)} WHERE name={quoted(name)};\n"
        result = self.sql(script, check)
        if check and wanted == "active" and self.gathered is None:
            self.wait_plan(name)
        return result

    def pump(self, *components, version="2.0", product=None, **plan):
        """The usual scene: product `pump`, for each component a full package of `version`, plan `spring`."""
        components = components or ("main",)
        names = [c["name"] if isinstance(c, dict) else c for c in components]
        with self.together():
            self.product("pump", components, **(product or {}))
            for name in names:
                self.package("pump", name, version, content(f"{name}-{version}"))
            self.plan("spring", "pump", [(name, f"{name}-{version}") for name in names], **plan)
        for name in names:
            self.wait_package("pump", f"{name}-{version}")
        if plan.get("wanted", "active") == "active":
            self.wait_plan("spring")

    def want(self, plan, wanted, wait=True):
        self.sql(f"UPDATE plan SET wanted={quoted(wanted)} WHERE name={quoted(plan)};")
        if wait and wanted != "draft":
            self.wait_plan(plan, wanted)

    def wait_plan(self, plan, state="active", timeout=TIMEOUT):
        return eventually(lambda: self.one("SELECT * FROM plan_state WHERE plan=? AND state=?", plan, state),
                          timeout, f"plan {plan} {state}")

    def request(self, act, **columns):
        """Inserts a request and gives the answered row."""
        self.sql(insert("request", act=act, **columns))
        last = self.one("SELECT max(id) AS id FROM request")["id"]
        return eventually(lambda: self.one("SELECT * FROM request WHERE id=? AND state<>'new'", last),
                          what=f"an answer to request {last}")

    def tasks(self, device, product="pump"):
        return self.query("SELECT task.* FROM task JOIN device_state d ON d.id=task.device_id "
                          "WHERE d.product=? AND d.name=? ORDER BY task.id", product, device)

    def task(self, device, plan="spring", product="pump"):
        return next((t for t in self.tasks(device, product) if t["plan"] == plan), None)

    def wait_task(self, device, *states, plan="spring", product="pump", timeout=TIMEOUT, reason=None):
        def reached():
            task = self.task(device, plan, product)
            return task if task and task["state"] in states and reason in (None, task["reason"]) else None
        try:
            return eventually(reached, timeout)
        except AssertionError:
            raise AssertionError(f"task of {device} in {plan}: wanted {states} {reason or ''}, "
                                 f"is {self.task(device, plan, product)}") from None

    def device_row(self, device, product="pump"):
        return self.one("SELECT * FROM device_state WHERE product=? AND name=?", product, device)

    def versions(self, device, product="pump"):
        return {r["component"]: r["version"] for r in self.query(
            "SELECT v.* FROM device_version v JOIN device_state d ON d.id=v.device_id "
            "WHERE d.product=? AND d.name=?", product, device)}

    def events(self, device=None, **columns):
        """Rows of the log, oldest first."""
        if device:
            columns["device"] = device
        where = " AND ".join(f"{c}=?" for c in columns) or "1"
        return self.query(f"SELECT * FROM log WHERE {where} ORDER BY id", *columns.values())

    def integrity(self):
        return [row["integrity_check"] for row in self.query("PRAGMA integrity_check")]

    @contextlib.contextmanager
    def locked(self):
        """Another process's write lock on the database, for as long as the block runs."""
        code = ("import sqlite3, sys\n"
                "db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n"
                "db.execute('BEGIN IMMEDIATE')\nprint('locked', flush=True)\nsys.stdin.read()\n")
        holder = subprocess.Popen(["/usr/bin/python3", "-c", code, str(self.database)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout.readline().strip() == "locked"
            yield holder
        finally:
            holder.stdin.close()
            holder.wait(TIMEOUT)


def faketime_library():
    for path in pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return str(path)
    return None


class Clock:
    """The wall clock of a broker, by libfaketime; the monotonic clock runs as it is."""

    def __init__(self, directory):
        self.file = pathlib.Path(directory) / "clock"
        self.set("+0")

    def set(self, value):
        """'+3600' (seconds of offset) or '1970-01-01 00:00:30'."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(("@" + value if "-" in value[1:] else value) + "\n")
        fresh.rename(self.file)

    def environment(self):
        return {"LD_PRELOAD": faketime_library(), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", "TZ": "UTC"}


def content(name, size=9000):
    """Bytes that are the same for the same name."""
    return random.Random(name).randbytes(size)
