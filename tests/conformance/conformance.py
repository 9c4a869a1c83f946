#!/usr/bin/env python3
"""The conformance run: plays the races of the native dialect (ota/v1) against one real device and prints, clause by
clause, what it did. No broker is needed: this program is the broker, the plugin and the download server. Point the
device at this machine's --listen port, as product PRODUCT and device DEVICE, and start it.

Every race upgrades the device, so a real one needs two images to go back and forth between:

    tests/device --listen 1883 --image 1.0=old.bin --image 1.1=new.bin pump pump-7

Without --image made-up bytes of versions 99.1, 99.2, ... are offered; that is for a device that does not look into them,
such as examples/device. Exit code 0: no clause was broken; 1: some were; 2: usage; 3: the device never came.
"""

import argparse
import collections
import random
import sys
import time

from desk import Desk, File

RACES = []


def race(function):
    RACES.append(function)
    return function


class Skip(Exception):
    """The race cannot be played with this device; the text says why."""


class Run:
    def __init__(self, options):
        self.options, self.scale = options, options.scale
        address, _, port = options.listen.rpartition(":")
        self.desk = Desk(address or "0.0.0.0", int(port), options.product, options.device)
        self.component = options.component
        self.findings = collections.defaultdict(list)  # clause -> [(verdict, race, text)]
        self.unplayed = []
        self.race, self.tasks, self.targets = "", 0, 0

    # ------------------------------------------------------------------ findings

    def find(self, verdict, clause, text):
        self.findings[clause].append((verdict, self.race, text))
        print(f"  {verdict:4}  {clause:5} {text}", flush=True)

    def check(self, good, clause, text, otherwise=None):
        self.find("ok" if good else "FAIL", clause, text if good else otherwise or f"not so: {text}")
        return good

    def note(self, clause, text):
        self.find("note", clause, text)

    def demand(self, event, clause, text, otherwise):
        if not event:
            self.find("FAIL", clause, otherwise)
            raise Skip("the rest needs that")
        self.find("ok", clause, text)
        return event

    # ------------------------------------------------------------------ steps

    def image(self, **how):
        """A version that the device does not have, and its file."""
        installed = self.desk.versions.get(self.component)
        if self.options.image:
            for version, content in self.options.image:
                if version != installed:
                    return version, File(content, **how)
            raise Skip("give a second --image: the device has the only one")
        self.targets += 1
        return f"99.{self.targets}", File(random.Random(self.targets).randbytes(self.options.bytes), **how)

    def offer(self, **more):
        """Offers a task with an image of these properties; gives (task, version, file)."""
        how = {name: more.pop(name) for name in ("statuses", "rate", "cut") if name in more}
        version, file = self.image(**how)
        self.tasks += 1
        task = f"conformance{self.tasks:05d}"
        self.desk.offer(task, self.component, version, file, **more)
        return task, version, file

    def patience(self):
        return self.options.patience

    def accepted(self, task, since):
        confirm = self.demand(self.desk.wait("confirm", since, self.patience(), task=task), "N-19", "it answers the offer",
                              f"no up/confirm within {self.patience()} s")
        if confirm.body.get("accept") is not True:
            raise Skip(f"the device does not accept: {confirm.body.get('reason', 'no reason given')}")

    def requested(self, since):
        return self.demand(self.desk.wait("http", since, self.patience()), "N-20", "it asks for the file", "it never asked for the file")

    def upgraded(self, version, since):
        """The device reports the version, not on trial, after a reboot."""
        report = self.desk.wait("version", since, self.patience() * 2, when=lambda body: body["components"].get(self.component) == version
                                and self.component not in body.get("trial", []))
        self.demand(report, "N-27", f"it reports {self.component} {version}", f"{self.component} {version} was never reported and kept")
        last = [e for e in self.desk.seen("version") if e.at < report.at and e.body["components"].get(self.component) != version]
        fresh = not last or report.connection != last[-1].connection or report.body.get("bootId") not in {last[-1].body.get("bootId"), None}
        self.check(fresh, "N-15", "on a new connection or with another bootId", "the report of the new version has neither a new connection nor another bootId")
        self.desk.task = None

    def failed(self, since, timeout):
        return self.desk.wait("progress", since, timeout, state="failed")

    def report_after_drop(self):
        """Breaks the connection; the report that follows."""
        mark = self.desk.mark()
        self.desk.drop()
        return self.demand(self.desk.wait("version", mark, self.patience()), "N-9", "it connects again and reports",
                           f"no report within {self.patience()} s after its connection broke")

    def settle(self):
        """Before each race: the device is here, and holds no task."""
        self.desk.hooks.clear()
        self.desk.lose_blocks.clear()
        self.desk.cancel()
        if not self.desk.subscribed or not self.desk.socket:
            self.desk.wait("version", self.desk.mark(), self.patience())
        end = time.monotonic() + 3
        while self.desk.outstanding and time.monotonic() < end:
            time.sleep(0.05)


# ---------------------------------------------------------------------------------------------- the races

@race
def the_first_report(run):
    """The device connects and says what it has."""
    report = run.desk.wait("version", 0, run.options.wait)
    if not report:
        print("conformance: no report of the device; is it pointed here, with this product and name?", file=sys.stderr)
        sys.exit(3)
    connect = run.desk.seen("connect")[0].body
    run.note("N-8", f"MQTT {connect['version']}, {'clean' if connect['clean'] else 'persistent'} session")
    run.component = run.component or next(iter(report.body["components"]))
    run.demand(run.component in report.body["components"], "N-9", f"it reports {report.body['components']}",
               f"component {run.component} is not in {report.body['components']}")
    run.note("N-12", f"bootId {report.body['bootId']!r}" if "bootId" in report.body else "no bootId: every new connection counts as a reboot")


@race
def the_reply_is_lost(run):
    """A report is not answered, then answered with 503."""
    desk, again = run.desk, 10 * run.scale
    desk.hooks["version"] = lambda body: None
    first = run.report_after_drop()
    if "id" not in first.body:
        raise Skip("reports without id ask for no reply")
    mark = desk.events.index(first) + 1
    second = run.demand(desk.wait("version", mark, again * 2 + 5), "N-8", "without a reply it sends again", "it never sent again without a reply")
    run.check(second.at - first.at >= again * 0.7, "N-8", f"after {second.at - first.at:.1f} s",
              f"already after {second.at - first.at:.1f} s, not {again:.0f}")
    desk.hooks["version"] = lambda body: desk.reply("version", body, 503, message="busy", retryAfter=2)
    mark = desk.mark()
    third = run.demand(desk.wait("version", mark, again * 4 + 10), "N-8", "and again", "it gave up")
    del desk.hooks["version"]
    fourth = run.demand(desk.wait("version", desk.events.index(third) + 1, 20), "N-8", "after 503 it sends again", "after 503 it never sent again")
    run.check(fourth.at - third.at >= 2 * run.scale * 0.9, "N-8", f"not before retryAfter ({fourth.at - third.at:.1f} s)",
              f"after {fourth.at - third.at:.1f} s although retryAfter was 2")


@race
def the_offer_and_the_download_come_twice(run):
    """Everything is said twice, with members that nobody knows, and the broker's clock stands in 1970."""
    desk, mark = run.desk, run.desk.mark()
    task, version, _ = run.offer()
    desk.plan(unknown={"member": [1, 2]})
    run.accepted(task, mark)
    desk.download(fresh=False)
    run.requested(mark)
    run.upgraded(version, mark)
    whole = [e for e in desk.seen("http", mark) if e.body["status"] == 200]
    run.check(len(whole) <= 1, "N-21", "it downloaded once", f"it began {len(whole)} downloads of one attempt")
    run.check(not [e for e in desk.seen("confirm", mark) if e.body.get("accept") is False], "N-16", "the second offer of the same task is no other one",
              "it refused the second copy of an offer that it had accepted")
    run.check(not run.failed(mark, 0), "N-17", "no clock was needed", "it failed; is it the time of 1970?")


@race
def the_address_has_expired(run):
    """The address in the download is answered 403."""
    desk, mark = run.desk, run.desk.mark()

    def expired(body):
        desk._on_confirm(body, False)
        desk.expire()
        desk.hooks.clear()
    desk.hooks["confirm"] = expired
    task, version, _ = run.offer()
    run.accepted(task, mark)
    refused = run.demand(desk.wait("http", mark, run.patience(), status=403), "N-22", "it asks at the expired address", "it never asked for the file")
    run.demand(desk.wait("confirm", desk.events.index(refused), run.patience(), task=task, accept=True), "N-22", "403: it confirms again and gets a fresh address",
               "after 403 it did not confirm again")
    run.upgraded(version, mark)
    run.check(not run.failed(mark, 0), "N-22", "403 is no failure", "it reported a failure because of 403")


@race
def the_download_server_is_busy(run):
    """503 with Retry-After, twice."""
    desk, mark = run.desk, run.desk.mark()
    task, version, _ = run.offer(statuses=[503, 429])
    run.accepted(task, mark)
    run.upgraded(version, mark)
    asked = desk.seen("http", mark)
    gaps = [b.at - a.at for a, b in zip(asked, asked[1:]) if a.body["status"] in (503, 429)]
    run.check(len(gaps) == 2 and min(gaps) >= desk.retry_after * run.scale * 0.9, "N-22", f"503 and 429: it waits ({', '.join(f'{g:.1f} s' for g in gaps)})",
              f"it did not wait for Retry-After: {', '.join(f'{g:.1f} s' for g in gaps)}")
    run.check(not run.failed(mark, 0), "N-22", "it is no failure", "it reported a failure because of 503 or 429")


@race
def cancel_in_the_download(run):
    """The task is withdrawn while the file is fetched."""
    desk, mark = run.desk, run.desk.mark()
    task, version, file = run.offer(rate=1500)
    run.accepted(task, mark)
    run.requested(mark)
    time.sleep(0.5)
    desk.cancel()
    end = desk.wait("http end", mark, 15)
    file.slow.clear()
    run.check(end is not None and not end.body["whole"], "N-31", "it stops the download", "it went on with the download")
    report = run.report_after_drop()
    run.check(report.body.get("task") != task, "N-31", "it forgets the task", "it still names the canceled task")
    run.check(not desk.seen("progress", mark, state="installing"), "N-31", "nothing was installed", "it installed what was canceled")
    run.check(report.body["components"].get(run.component) != version, "N-31", "the version is the old one")


@race
def two_hundred_bytes_a_second(run):
    """A line so slow that the deadline would pass many times."""
    desk, mark, deadline = run.desk, run.desk.mark(), 5
    task, version, file = run.offer(rate=200, deadline=deadline)
    run.accepted(task, mark)
    started = run.requested(mark).at
    time.sleep(deadline * 2.2)
    heard = [started] + [e.at for e in desk.events[mark:] if e.kind in ("progress", "confirm", "version") and e.at > started] + [time.monotonic()]
    longest = max(b - a for a, b in zip(heard, heard[1:]))
    run.check(longest <= deadline, "N-26", f"it is heard of within the deadline (longest silence {longest:.1f} s of {deadline})",
              f"it was silent for {longest:.1f} s; deadlineIn was {deadline}")
    file.slow.clear()
    run.upgraded(version, mark)


@race
def the_broker_restarts(run):
    """The broker is away for two seconds in the middle of the download."""
    desk, mark = run.desk, run.desk.mark()
    task, version, file = run.offer(rate=2000)
    run.accepted(task, mark)
    run.requested(mark)
    desk.stop()
    time.sleep(2)
    gone = desk.mark()
    desk.listen()
    report = run.demand(desk.wait("version", gone, run.patience()), "N-9", "it comes back and reports", f"it did not come back within {run.patience()} s")
    run.check(report.body.get("task") == task, "N-12", "it names the task that it holds", "its report does not name its task")
    file.slow.clear()
    run.upgraded(version, mark)
    whole = [e for e in desk.seen("http", mark) if e.body["status"] == 200]
    run.check(len(whole) == 1, "N-21", "the fresh address did not make it begin anew", f"it began the download {len(whole)} times")
    run.check(not run.failed(mark, 0), "N-25", "it is no failure", "it reported a failure")


@race
def the_line_breaks(run):
    """The connection to the download server breaks in the middle of the file."""
    desk, mark = run.desk, run.desk.mark()
    version, file = run.image()
    file.cut = len(file.content) // 2
    file.rate = len(file.content)
    file.slow.set()  # so that half of it is on its way
    run.tasks += 1
    task = f"conformance{run.tasks:05d}"
    desk.offer(task, run.component, version, file)
    run.accepted(task, mark)
    run.upgraded(version, mark)
    resumed = [e for e in desk.seen("http", mark) if e.body["status"] == 206]
    if resumed:
        run.check(True, "N-22", f"it resumes at byte {resumed[0].body['from']}")
    else:
        run.note("N-22", "it began anew instead of resuming by Range")


@race
def the_file_is_not_what_was_announced(run):
    """The digest differs; the next attempt is right."""
    desk, mark = run.desk, run.desk.mark()
    task, version, _ = run.offer(send=False)
    desk.task["sha256"] = "0" * 64
    desk.plan()
    run.accepted(task, mark)
    failed = run.demand(run.failed(mark, run.patience()), "N-24", "it reports a failure", "it never reported the wrong digest")
    run.check(failed.body.get("code") == -3, "N-24", "with code -3", f"with code {failed.body.get('code')}, not -3")
    run.check(not desk.seen("progress", mark, state="installing"), "N-20", "nothing was installed", "it installed a file with another digest")
    again = desk.mark()
    with desk.lock:
        del desk.task["sha256"]
        desk.task["attempt"] = 2
        desk.download()
    run.requested(again)
    run.upgraded(version, again)
    run.check(all(e.body.get("attempt", 2) == 2 for e in desk.seen("progress", again)), "N-33", "its progress names the new attempt",
              "its progress names the earlier attempt")


@race
def the_file_is_gone(run):
    """404."""
    desk, mark = run.desk, run.desk.mark()
    task, _, _ = run.offer(statuses=[404] * 10)
    run.accepted(task, mark)
    failed = run.demand(run.failed(mark, run.patience()), "N-22", "404: it reports a failure", "it never reported that the file is gone")
    run.check(failed.body.get("code") == -2, "N-24", "with code -2", f"with code {failed.body.get('code')}, not -2")
    time.sleep(1)
    asked = len(desk.seen("http", mark))
    run.check(asked <= 2, "N-22", "it stops asking", f"it asked {asked} times")


@race
def the_target_is_installed(run):
    """An offer of what the device has."""
    desk, mark = run.desk, run.desk.mark()
    run.tasks += 1
    desk.offer(f"conformance{run.tasks:05d}", run.component, desk.versions[run.component], File(b"x" * 1000))
    run.demand(desk.wait("version", mark, run.patience()), "N-16", "it answers with its version", "it did not answer with up/version")
    run.check(not desk.seen("http", mark), "N-16", "it downloads nothing")


@race
def the_task_is_over(run):
    """The acceptance is answered 410."""
    desk, mark = run.desk, run.desk.mark()
    desk.hooks["confirm"] = lambda body: desk.reply("confirm", body, 410, message="that task is over")
    task, _, _ = run.offer()
    run.accepted(task, mark)
    desk.task = None
    time.sleep(0.3)
    report = run.report_after_drop()
    run.check(report.body.get("task") != task, "N-19", "after 410 it forgets the task", "after 410 it still names the task")


@race
def another_offer_while_it_installs(run):
    """An offer of another task arrives when it is too late to stop."""
    desk, mark = run.desk, run.desk.mark()
    sent = []

    def progress(body):
        if body.get("state") in ("installing", "rebooting") and not sent:
            sent.append(True)
            held = desk.task
            desk.task = {**held, "task": "conformanceOTHER", "to": held["to"] + "x"}
            desk.plan()
            desk.task = held
        desk._on_progress(body, False)
    desk.hooks["progress"] = progress
    task, version, _ = run.offer()
    run.accepted(task, mark)
    run.upgraded(version, mark)
    if not sent:
        run.note("N-16", "not seen: it reports neither installing nor rebooting")
        return
    answer = desk.wait("confirm", mark, 1, task="conformanceOTHER")
    if answer is None:
        run.note("N-16", "it did not answer the other offer before it rebooted")
    else:
        run.check(answer.body["accept"] is False and answer.body.get("retryAfter", 0) >= 60, "N-16", "it postpones the other offer",
                  f"it answered the other offer with {answer.body}")


@race
def a_block_is_lost(run):
    """The file comes over MQTT only; one block is lost, one comes of an earlier download."""
    desk, mark = run.desk, run.desk.mark()

    def lose(body):
        desk.lose_blocks.add(body["offset"] + body["length"] if body["count"] > 1 else body["offset"])
        desk.hooks.clear()
        desk.send(f"block/{'zz9' if body['ref'] != 'zz9' else 'zz8'}/{body['offset']}", b"?" * body["length"], qos=0)
        desk._on_block(body, False)
    desk.hooks["block"] = lose
    task, version, _ = run.offer(http=False, blocks=True)
    run.accepted(task, mark)
    first = desk.wait("block", mark, run.patience())
    if not first:
        raise Skip("the device does not ask for blocks")
    lost = run.demand(desk.wait("lost", mark, 10), "N-28", "it asks for blocks", "it asks beyond the file")

    def asks_for_it(body):
        return body["offset"] <= lost.body["offset"] < body["offset"] + body["length"] * body["count"]
    again = desk.wait("block", desk.events.index(lost) + 1, run.patience(), when=asks_for_it)
    run.demand(again, "N-29", "it asks for the lost block again", "it never asked for the lost block again")
    wait = again.at - lost.at
    run.check(wait >= 10 * run.scale * 0.7, "N-29", f"after {wait:.1f} s", f"already after {wait:.1f} s, not 10 after the last block")
    run.upgraded(version, mark)
    run.check(not run.failed(mark, 0), "N-28", "a block of another ref did no harm", "it failed; did it take the block of another ref?")


# ---------------------------------------------------------------------------------------------- the report

def summary(run):
    desk = run.desk
    run.race = "all the time"
    print("\nall the time")
    with desk.lock:
        old = [kind for kind, at in desk.unacknowledged.values() if time.monotonic() - at > 5]
    run.check(not old, "N-2", "it acknowledges what it gets", f"it never acknowledged {len(old)} messages, the first of down/{old[0] if old else ''}")
    for (clause, text), count in collections.Counter(desk.faults).items():
        run.find("FAIL", clause, f"{text}{f' ({count} times)' if count > 1 else ''}")
    for clause, text in (("N-3", "publishes under its own name only"), ("N-5", "uplinks are well-formed"), ("N-6", "members have their types"),
                         ("N-7", "no id recurs while it is outstanding"), ("N-8", "uplinks are QoS 1"), ("N-24", "progress is as agreed"), ("N-25", "at most one progress report a second")):
        if not any(c == clause for c, _ in desk.faults):
            run.find("ok", clause, text)
    print("\nclause   ok  FAIL  note")
    broken = 0
    for clause in sorted(run.findings, key=lambda c: int(c[2:])):
        counts = collections.Counter(verdict for verdict, _, _ in run.findings[clause])
        broken += counts["FAIL"]
        print(f"[{clause}]".ljust(7) + f"{counts['ok']:4}{counts['FAIL']:6}{counts['note']:6}")
    if run.unplayed:
        print(f"\nnot played to their end: {', '.join(run.unplayed)}")
    print(f"\n{broken} findings that break the contract" if broken else "\nThe device keeps the contract.")
    return 1 if broken else 0


def image(text):
    version, _, path = text.partition("=")
    with open(path, "rb") as file:
        return version, file.read()


def main():
    parser = argparse.ArgumentParser(prog="tests/device", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("product", metavar="PRODUCT")
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument("--listen", default="1883", metavar="[ADDRESS:]PORT", help="of the MQTT server (1883); no TLS: put a proxy before it")
    parser.add_argument("--component", default="", help="the one to upgrade (the first that it reports)")
    parser.add_argument("--image", action="append", type=image, metavar="VERSION=FILE", help="an image that the device can run; give two")
    parser.add_argument("--bytes", type=int, default=20_000, help="length of made-up images (20000)")
    parser.add_argument("--wait", type=float, default=300, help="seconds for the device to come (300)")
    parser.add_argument("--patience", type=float, default=60, help="seconds for each step; twice that for an installation (60)")
    parser.add_argument("--scale", type=float, default=1, help="the device's waits are shorter by this factor, for tests (1)")
    parser.add_argument("--only", default="", help="races, by a part of their names, separated by commas")
    parser.add_argument("--list", action="store_true", help="the races")
    if "--list" in sys.argv:
        for one in RACES:
            print(f"{one.__name__:40} {one.__doc__}")
        return 0
    run = Run(parser.parse_args())
    print(f"listening on port {run.desk.port} for {run.options.product}/{run.options.device}", flush=True)
    wanted = [word for word in run.options.only.split(",") if word]
    for one in RACES:
        if wanted and one is not the_first_report and not any(word in one.__name__ for word in wanted):
            continue
        run.race = one.__name__
        print(f"\n{one.__name__.replace('_', ' ')}: {one.__doc__}", flush=True)
        try:
            if one is not the_first_report:
                run.settle()
            one(run)
        except Skip as why:
            run.unplayed.append(one.__name__.replace("_", " "))
            print(f"  not played to its end: {why}", flush=True)
    return summary(run)


if __name__ == "__main__":
    sys.exit(main())
