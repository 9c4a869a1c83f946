#!/usr/bin/env python3
"""Measures the plugin against the bare broker, against a plugin that only answers, and against a service outside the
broker. Every figure is a ratio of two things that ran in turn, several times, in this one run; the table shows medians.

    tests/bench/run.py [--quick] [--only NAME,...] [--repeat N] [--build DIR] [--output FILE.md]

`--quick` takes about two minutes and shows whether something is badly off; the full form takes about 25 minutes and
gives figures to publish, on a machine that does nothing else. tests/bench/README.md says what each row means.

Builds what it needs (RelWithDebInfo) in --build, runs brokers on free loopback ports in a temporary directory, and
leaves nothing behind but the table. Progress goes to standard error.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(TOP / "tests" / "broker"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog="names of --only: " + " ".join(name for name in SECTIONS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--repeat", type=int, default=0, help="turns of each pair (5, --quick: 2)")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build-bench")
    parser.add_argument("--output", type=pathlib.Path)
    return parser.parse_args()


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def build(directory):
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache", "-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    subprocess.run(["cmake", "-G", "Ninja", "-S", TOP, "-B", directory, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DOTA_BENCH=ON",
                    *launcher], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", directory, "mosquitto_ota", "otactl", "ota-fleet", "ota-load", "trivial_plugin"],
                   check=True, stdout=subprocess.DEVNULL)
    os.environ["OTA_PLUGIN"] = str(directory / "mosquitto_ota.so")
    os.environ["OTA_OTACTL"] = str(directory / "otactl")


# ---------------------------------------------------------------------------------------------- brokers

def make_broker_class():
    import broker  # reads OTA_PLUGIN at import

    class Broker(broker.Site):
        """A site that logs as a site does, not as a test does. `kind`: bare, trivial or plugin."""

        def __init__(self, kind, directory, build_directory, lines=(), **arguments):
            self.kind = kind
            lines = ["max_queued_messages 0", "connection_messages false", *lines]
            if kind == "trivial":
                lines.append(f"plugin {build_directory}/trivial_plugin.so")
            super().__init__(directory, plugin=kind == "plugin", lines=lines, **arguments)

        def configuration(self):
            return super().configuration().replace("log_type all", "log_type error\nlog_type warning\nlog_type notice")

        def cpu(self):
            """Seconds of CPU of all threads of the broker so far."""
            total = 0
            for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
            return total / 1e9

        def written(self):
            """Bytes that the broker gave to the block layer."""
            return int(re.search(r"^write_bytes: (\d+)", pathlib.Path(f"/proc/{self.process.pid}/io").read_text(), re.M).group(1))

        def database_bytes(self):
            with contextlib.closing(sqlite3.connect(self.database)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                pages, size, free = (db.execute(f"PRAGMA {name}").fetchone()[0]
                                     for name in ("page_count", "page_size", "freelist_count"))
                return (pages - free) * size

    return Broker


class Bench:
    def __init__(self, options, directory):
        self.options, self.directory, self.rows, self.count = options, directory, [], 0
        self.quick = options.quick
        self.repeat = options.repeat or (2 if options.quick else 5)
        self.Broker = make_broker_class()

    # ------------------------------------------------------------------ what the sections use

    def pick(self, quick, full):
        return quick if self.quick else full

    @contextlib.contextmanager
    def brokers(self, *kinds, **arguments):
        """Running brokers of these kinds, each with product `pump`."""
        made = []
        try:
            for kind in kinds:
                self.count += 1
                made.append(self.Broker(kind, self.directory / f"{self.count}-{kind}", self.options.build,
                                        **{k: v for k, v in arguments.items() if kind == "plugin" or k == "lines"}))
                if kind == "plugin":
                    made[-1].product()
            yield made
        finally:
            for one in made:
                one.stop(30)

    def load(self, broker, mode, **options):
        return json.loads(self.start_load(broker, mode, **options).communicate(timeout=900)[0])

    def start_load(self, broker, mode, **options):
        command = [self.options.build / "ota-load", mode, "--port", broker.port]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [value])
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)

    def fleet(self, broker, *options, check=True):
        """Runs ota-fleet; gives its figures."""
        path = self.directory / "figures.json"
        done = subprocess.run([str(word) for word in [
            self.options.build / "ota-fleet", "--port", broker.port, "--json", path, "--quiet", *options]],
            capture_output=True, text=True, timeout=900)
        if check and done.returncode:
            say(f"ota-fleet: {done.stdout[-1500:]}{done.stderr}")
        return json.loads(path.read_text())

    def turns(self, cases, turns=None):
        """{name: callable} run in turn, --repeat times; gives {name: [results]}."""
        results = {name: [] for name in cases}
        for turn in range(turns or self.repeat):
            names = list(cases) if turn % 2 == 0 else list(reversed(cases))
            for name in names:
                results[name].append(cases[name]())
        return results

    def fresh(self, kinds, cases):
        """Runs ota-load with each of `cases` ({what: (mode, options)}) on brokers of these kinds, which are new in each turn: two
        processes of one program differ by some percent for as long as they live. Gives {what: {kind: [results]}}."""
        results = {what: {kind: [] for kind in kinds} for what in cases}
        for turn in range(self.pick(1, 3) * self.repeat):
            with self.brokers(*kinds) as brokers:
                for what, (mode, options) in cases.items():
                    for broker in brokers if turn % 2 == 0 else reversed(brokers):
                        results[what][broker.kind].append(self.load(broker, mode, pid=broker.process.pid, **options))
        return results

    def row(self, number, what, base, ours, ratio, goal, good=None, note=""):
        """`ratio`: a list, one of each turn, or one number, or None."""
        spread = ""
        if isinstance(ratio, list):
            if len(ratio) > 1:
                spread = f" ({min(ratio):.2f}-{max(ratio):.2f})"
            ratio = statistics.median(ratio)
        verdict = "" if good is None or ratio is None else ("yes" if good(ratio) else "**no**")
        self.rows.append((number, what, base, ours, "" if ratio is None else f"{ratio:.2f}{spread}", goal, verdict, note))
        say("  | " + " | ".join(str(cell) for cell in self.rows[-1]))

    def compare(self, number, what, results, base, goal="", least=None):
        """Two rows of what ota-load measured at `base` and with the plugin: answers a second, and CPU of one answer."""
        for key, unit in (("rate", "/s"), ("cpu", " us")):
            a, b = ([r["rate"] if key == "rate" else r["cpu_s"] / r["answers"] * 1e6 for r in results[kind]] for kind in (base, "plugin"))
            digits = 0 if key == "rate" else 1
            self.row(number, what if key == "rate" else f"{what}: CPU of the broker, each", f"{base}: {statistics.median(a):,.{digits}f}{unit}",
                     f"{statistics.median(b):,.{digits}f}{unit}", [y / x for x, y in zip(a, b)], goal if key == "rate" else "",
                     (lambda r: r >= least) if key == "rate" and least else None)


@contextlib.contextmanager
def draft(site):
    """A connection to the database of a broker that does not run. State tables refuse outsiders; the guards step aside."""
    with contextlib.closing(sqlite3.connect(site.database, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-200000")
        guards = db.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
        db.execute("BEGIN IMMEDIATE")
        for name, _ in guards:
            db.execute(f'DROP TRIGGER "{name}"')
        yield db
        for _, text in guards:
            db.execute(text)
        db.execute("COMMIT")


def seed(site, devices, active=1, finished=0):
    """Registered devices d0, d1, ... of `pump` at main 1.0; active plans that are for another version; finished ones."""
    now = int(time.time() * 1000)
    with draft(site) as db:
        db.executemany("INSERT INTO device_state (id, product, name, registered_ms, seen_ms, reported_ms) VALUES (?,'pump',?,?,?,?)",
                       ((n + 1, f"d{n}", now, now, now) for n in range(devices)))
        db.executemany("INSERT INTO device_version (device_id, component, version, since_ms) VALUES (?,'main','1.0',?)",
                       ((n + 1, now) for n in range(devices)))
        for n in range(active + finished):
            runs = n < active
            name = f"active{n}" if runs else f"finished{n - active}"
            db.execute("INSERT INTO plan (name, product, wanted) VALUES (?,'pump',?)", (name, "active" if runs else "canceled"))
            db.execute("INSERT INTO plan_component (plan, seq, component, full) VALUES (?,1,'main','main-2.0')", (name,))
            db.execute("INSERT INTO plan_source (plan, component, version) VALUES (?,'main','0.1')", (name,))
            db.execute('INSERT INTO plan_state (plan, state, "order", activated_ms, scanned_id, scanned, ended_ms) VALUES (?,?,?,?,?,1,?)',
                       (name, "active" if runs else "canceled", n + 1, now, devices, None if runs else now))


def seed_tasks(site, devices):
    """A finished task of each device in the first finished plan."""
    now = int(time.time() * 1000)
    with draft(site) as db:
        db.executemany("INSERT INTO task (name, plan, device_id, state, reason, created_ms, offered_ms, ended_ms) "
                       "VALUES (?,'finished0',?,'succeeded','at_target',?,?,?)",
                       ((f"t{device:011d}", device + 1, now, now, now) for device in range(devices)))
        db.execute("INSERT INTO task_component (task_id, seq, name, state, source, target) "
                   "SELECT id, 1, 'main', 'proved', '0.9', '1.0' FROM task")


# ---------------------------------------------------------------------------------------------- the benchmarks

def traffic(bench):
    """1. Messages that are not OTA's."""
    cases = {f"other traffic, QoS {qos}, {connections} connection{'s' if connections > 1 else ''}":
             ("echo", {"connections": connections, "qos": qos, "window": 20 if connections == 1 else 2,
                       "seconds": bench.pick(0.6, 2), "warm": 0.2})
             for connections in (1, 100) for qos in (0, 1)}
    for what, results in bench.fresh(("bare", "plugin"), cases).items():
        bench.compare("1", what, results, "bare", ">= 0.97", 0.97)


def reports(bench, number, what, goal, least, **options):
    cases = {f"{what}, QoS {qos}, {connections:,} connections":
             ("reports", {"connections": connections, "qos": qos, "seconds": bench.pick(1, 3), "warm": 0.4, **options})
             for connections in (100, 1000) for qos in (0, 1)}
    for what, results in bench.fresh(("trivial", "plugin"), cases).items():
        bench.compare(number, what, results, "trivial", goal, least)


def unchanged(bench):
    """2. Reports that change nothing."""
    reports(bench, "2", "reports that change nothing", ">= 0.8", 0.8)
    with bench.brokers("trivial", "plugin") as (trivial, plugin):
        def run(broker):
            return lambda: bench.load(broker, "reports", connections=1, qos=1, seconds=bench.pick(0.5, 5), warm=0.2)["p50_us"]
        results = bench.turns({"trivial": run(trivial), "plugin": run(plugin)})
        bench.row("2", "one lone client, report to reply, median", f"trivial: {statistics.median(results['trivial']):.0f} us",
                  f"{statistics.median(results['plugin']):.0f} us", None, "500 us")


def changed(bench):
    """3. Reports that change state, committed with synchronous=FULL."""
    reports(bench, "3", "reports that change state", ">= 0.6", 0.6, change=True)


def upgrade(bench):
    """4. A whole upgrade, six messages of each device."""
    devices = bench.pick(1000, 10_000)

    def run(kind):
        def once():
            with bench.brokers(kind) as (broker,):
                if kind == "plugin":
                    broker.package()
                    broker.plan()
                before = broker.cpu()
                figures = bench.fleet(broker, "--devices", devices, "--files", "pretended", "--pretend", 0, "--stay-connected",
                                      "--rate", 0, "--settle", 20, "--wait-for-task", "--persistent", 0, "--mqtt5", 0, "--timeout", 300,
                                      "--spread-addresses")
                took = figures["counters"].get("ms until all were at their end")
                if took is None:
                    sys.exit(f"run.py: upgrade: not all devices came to their end: {figures['problems']}")
                return took / 1000, broker.cpu() - before, figures["counters"].get("replies 503", 0)
        return once
    results = bench.turns({"trivial": run("trivial"), "plugin": run("plugin")})
    for at, name in ((0, "total time"), (1, "CPU of the broker")):
        base, ours = ([result[at] for result in results[kind]] for kind in ("trivial", "plugin"))
        busy = statistics.median(result[2] for result in results["plugin"])
        bench.row("4", f"upgrade of {devices:,} devices at once, {name}", f"trivial: {statistics.median(base):.2f} s",
                  f"{statistics.median(ours):.2f} s", [b / a for a, b in zip(base, ours)], "", note=f"503: {busy:.0f}" if at == 0 and busy else "")


def growth(bench):
    """5. CPU time of one report as the site grows."""
    least, most = (1_000, 1), (bench.pick(20_000, 100_000), 100)
    sizes = [least, most] if bench.quick else [(devices, plans) for devices in (1_000, 10_000, 100_000) for plans in (1, 10, 100)]
    options = {"bridges": "bridge"}

    def filled(stack, devices, active):
        finished = 1000 if active == 100 else 0
        broker, = stack.enter_context(bench.brokers("plugin", options=options))
        broker.package()
        broker.stop(30)
        say(f"  seeding {devices:,} devices, {active} active plans, {finished} finished ones")
        seed(broker, devices, active, finished)
        return broker.start()

    def run(broker, devices, change, seconds=None):
        """CPU microseconds of one report; every device has reported before on the same connection."""
        result = bench.load(broker, "reports", devices=devices, client_id="bridge", user="bridge", window=64, qos=0,
                            seconds=seconds or bench.pick(1, 4), pid=broker.process.pid, **({"change": True} if change else {}))
        return result["cpu_s"] / result["answers"] * 1e6

    def name(change, devices, active):
        return f"CPU of a report that changes {'state' if change else 'nothing'}, {devices:,} devices, {active} active plan{'s' if active > 1 else ''}"

    with contextlib.ExitStack() as stack:
        made = {size: filled(stack, *size) for size in sizes}
        first = {}
        for change in (False, True):
            results = bench.turns({size: (lambda size=size: run(made[size], size[0], change)) for size in sizes})
            first[change] = results[least]
            for size in sizes[1:]:
                limit = 2 if change else 1.25
                bench.row("5", name(change, *size), f"1,000 and 1: {statistics.median(first[change]):.1f} us", f"{statistics.median(results[size]):.1f} us",
                          [b / a for a, b in zip(first[change], results[size])], f"<= {limit}" if size == most else "",
                          (lambda r, limit=limit: r <= limit) if size == most else None)
    if not bench.quick:
        with contextlib.ExitStack() as stack:
            broker = filled(stack, 1_000_000, 100)
            for change in (False, True):
                took = run(broker, 1_000_000, change, 10)
                bench.row("5", name(change, 1_000_000, 100), f"1,000 and 1: {statistics.median(first[change]):.1f} us", f"{took:.1f} us",
                          took / statistics.median(first[change]), "stated", note="once")


def latency(bench):
    """6. An unrelated publisher while the plugin is busy."""
    import broker as module
    seconds = bench.pick(2.5, 15)
    storm, planned, lock_s, downloads = bench.pick((2_000, 20_000, 3, 200), (10_000, 100_000, 30, 1_000))

    def pace(broker, disturb, seconds, running):
        """p99.9 in ms of a steady echo. The disturbance is `running` before it, or begins after a quarter of a second."""
        with contextlib.ExitStack() as stack:
            if running:
                stack.enter_context(disturb(broker))
            meter = bench.start_load(broker, "pace", rate=1000, seconds=seconds, warm=0.1)
            if not running:
                time.sleep(0.35)
                stack.enter_context(disturb(broker))
            return json.loads(meter.communicate(timeout=300)[0])["p999_us"] / 1000

    @contextlib.contextmanager
    def nothing(_broker):
        yield

    @contextlib.contextmanager
    def many_connect(broker):
        process = bench.start_load(broker, "storm", connections=storm, qos=1, seconds=seconds, spread=True, client_id="storm")
        yield
        process.terminate()
        process.wait()

    @contextlib.contextmanager
    def activation(broker):
        if broker.kind == "plugin":
            name = f"big{broker.query('SELECT count(*) AS n FROM plan')[0]['n']}"
            broker.plan(name, wanted="draft")
            broker.want(name, "active", wait=False)
        yield
        if broker.kind == "plugin":
            broker.want(name, "canceled")

    @contextlib.contextmanager
    def locked(broker):
        process = bench.start_load(broker, "storm", connections=50, qos=1, seconds=lock_s, client_id="locked")
        with broker.locked() if broker.kind == "plugin" else contextlib.nullcontext():
            yield
        process.terminate()
        process.wait()

    @contextlib.contextmanager
    def downloading(broker):
        process = None
        if broker.kind == "plugin":
            process = subprocess.Popen([str(w) for w in [
                bench.options.build / "ota-fleet", "--port", broker.port, "--devices", downloads, "--prefix", f"w{time.monotonic_ns()}-", "--mix", "slow=1",
                "--slow-bytes", 30_000, "--files", "http", "--spread-addresses", "--quiet", "--wait-for-task", "--timeout", 600]],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            module.eventually(lambda: established(broker.http_port) >= downloads, 120, f"{downloads} downloads")
        yield
        if process:
            process.terminate()
            process.wait()

    def established(port):
        rows = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
        return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)

    def measure(what, brokers, disturb, seconds, running=False, turns=bench.pick(1, bench.repeat)):
        results = bench.turns({one.kind: lambda one=one: pace(one, disturb, seconds, running) for one in brokers}, turns)
        took = {kind: statistics.median(each) for kind, each in results.items()}
        more = took["plugin"] - took["bare"]
        bench.row("6", f"unrelated message, p99.9, {what}", ", ".join(f"{kind}: {took[kind]:.2f} ms" for kind in took if kind != "plugin"),
                  f"{took['plugin']:.2f} ms", None, "<= 5 ms more", note=f"{more:+.2f} ms: {'yes' if more <= 5 else '**no**'}")

    with bench.brokers("bare", "trivial", "plugin") as (bare, trivial, plugin):
        plugin.package()
        measure("quiet", (bare, plugin), nothing, seconds)
        # Whom the kernel turns away at first comes again after one second, or after three: each storm is another one.
        measure(f"{storm:,} devices connect at once and report", (bare, trivial, plugin), many_connect, bench.pick(2.5, 8),
                turns=bench.pick(1, 3) * bench.repeat)
        measure(f"the write lock is held for {lock_s} s", (bare, plugin), locked, lock_s)
    with bench.brokers("bare", "plugin") as (bare, plugin):
        plugin.package()
        plugin.stop(30)
        seed(plugin, planned, 0)
        plugin.start()
        measure(f"a plan for {planned:,} devices is activated", (bare, plugin), activation, seconds)
    with bench.brokers("bare", "plugin", options={"download_connections": str(downloads)}) as (bare, plugin):
        plugin.package(content=module.content("big", 30_000_000))
        plugin.plan()
        measure(f"{downloads:,} slow downloads", (bare, plugin), downloading, seconds, running=True)


def memory(bench):
    """7. Memory, disk and start."""
    few, many = 1_000, bench.pick(20_000, 100_000)
    resident, sizes, started, tasks = {}, {}, {}, 0
    for devices in (few, many):
        with bench.brokers("plugin") as (broker,):
            broker.package()
            broker.stop(30)
            seed(broker, devices, 1, 1)
            sizes[devices] = broker.database_bytes()
            broker.spawn()
            begun = time.monotonic()
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", broker.port), 1) as s:
                    s.sendall(b"\x10\x0d\0\4MQTT\4\2\0\0\0\1x")
                    if s.recv(4):
                        break
            started[devices] = time.monotonic() - begun
            broker.wait_engine(60)
            time.sleep(1)
            resident[devices] = broker.rss()
            if devices == many:
                broker.stop(30)
                seed_tasks(broker, many)
                tasks = (broker.database_bytes() - sizes[many]) / many
                broker.start(wait=False)
    span = many - few
    bench.row("7", "memory of a registered device that is not connected", "", f"{(resident[many] - resident[few]) / span:,.0f} B", None, "")
    bench.row("7", "database, of a registered device", "", f"{(sizes[many] - sizes[few]) / span:,.0f} B", None, "")
    bench.row("7", "database, of a finished task", "", f"{tasks:,.0f} B", None, "")
    bench.row("7", f"start with {many:,} devices, to the first CONNACK", f"1,000: {started[few] * 1000:.0f} ms", f"{started[many] * 1000:.0f} ms", None,
              "<= 1 s", note="yes" if started[many] <= 1 else "**no**")

    connections = bench.pick(2_000, 10_000)
    grown = {}
    with bench.brokers("bare", "plugin") as pair:
        for broker in pair:
            before = broker.rss()
            process = bench.start_load(broker, "storm", connections=connections, qos=1, seconds=bench.pick(3, 12), spread=True)
            time.sleep(bench.pick(2.5, 10))
            grown[broker.kind] = (broker.rss() - before) / connections
            process.wait()
    bench.row("7", "memory of a connected device", f"bare: {grown['bare']:,.0f} B", f"{grown['plugin']:,.0f} B", None, "")

    with bench.brokers("plugin") as (broker,):
        broker.package()
        broker.plan()
        log_before = broker.log_path.stat().st_size
        bench.fleet(broker, "--devices", 800, "--files", "blocks", "--persistent", 0, "--wait-for-task", "--settle", 100)
        log_bytes = (broker.log_path.stat().st_size - log_before) / 800
        bench.row("7", "800 devices after their upgrade: resident memory", "", f"{broker.rss() / 1e6:.1f} MB", None, "")
        bench.row("7", "bytes of log of one upgrade", "", f"{log_bytes:,.0f} B", None, "")
        if not bench.quick:
            # One hour of a quiet day: 800 devices report once. What is only "last seen" is written within 60 s.
            time.sleep(65)
            before = broker.written()
            bench.fleet(broker, "--devices", 800, "--component", "main=2.0", "--files", "pretended", "--persistent", 0, "--settle", 100)
            time.sleep(70)
            hourly = broker.written() - before
            before = broker.written()
            time.sleep(60)
            idle = broker.written() - before
            bench.row("7", "written to disk on a quiet day, 800 devices that report hourly", "", f"{(hourly * 24 + idle * 60 * 24) / 1e6:.1f} MB", None, "")


def outside(bench):
    """A service outside the broker, against the plugin."""
    with bench.brokers("bare", "plugin") as (bare, plugin):
        for qos in bench.pick((1,), (0, 1)):
            service = subprocess.Popen([sys.executable, HERE / "outside_service.py", str(bare.port), str(bench.directory / f"outside{qos}.db"), str(qos)],
                                       stdout=subprocess.PIPE, text=True)
            try:
                assert service.stdout.readline() == "ready\n", "the service did not start"
                for change in (False, True):
                    options = {"change": True} if change else {}
                    for connections in (1, 100):
                        def run(broker):
                            return lambda: bench.load(broker, "reports", connections=connections, qos=qos, seconds=bench.pick(0.7, 5), warm=0.3, **options)
                        results = bench.turns({"outside": run(bare), "plugin": run(plugin)})
                        base, ours = results["outside"], results["plugin"]
                        text = f"reports that change {'state' if change else 'nothing'}, QoS {qos}"
                        if connections == 1:
                            a, b = ([r["p50_us"] for r in side] for side in (base, ours))
                            bench.row("8", f"{text}, one client, median latency", f"outside: {statistics.median(a):,.0f} us", f"{statistics.median(b):,.0f} us",
                                      [y / x for x, y in zip(a, b)], "")
                        else:
                            a, b = ([r["rate"] for r in side] for side in (base, ours))
                            bench.row("8", f"{text}, 100 connections", f"outside: {statistics.median(a):,.0f}/s", f"{statistics.median(b):,.0f}/s",
                                      [y / x for x, y in zip(a, b)], "")
            finally:
                service.terminate()
                service.wait()


SECTIONS = {"traffic": traffic, "unchanged": unchanged, "changed": changed, "upgrade": upgrade, "growth": growth,
            "latency": latency, "memory": memory, "outside": outside}


# ---------------------------------------------------------------------------------------------- the table

def table(bench, took):
    import broker
    head = ("", "what", "against", "plugin", "ratio (range)", "goal", "met", "")
    lines = [f"# Benchmark, {datetime.date.today()}", "",
             f"`{' '.join(['tests/bench/run.py', *sys.argv[1:]])}`: {took / 60:.0f} min, {bench.repeat} turns, medians. "
             f"Mosquitto {'.'.join(map(str, broker.broker_version()))}, SQLite {sqlite3.sqlite_version} (Python's), {os.cpu_count()} CPUs, "
             f"Linux {platform.release()}.", ""]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *bench.rows]]
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    names = [name for name in options.only.split(",") if name] or list(SECTIONS)
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        sys.exit(f"run.py: no benchmark {unknown[0]}: {' '.join(SECTIONS)}")
    options.build = options.build.resolve()
    say(f"building in {options.build}")
    build(options.build)
    begun = time.monotonic()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ota-bench-"))
    try:
        bench = Bench(options, directory)
        for name in names:
            say(f"{name}: {SECTIONS[name].__doc__}")
            SECTIONS[name](bench)
        text = table(bench, time.monotonic() - begun)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
