#!/usr/bin/env python3
"""The conformance run: plays the races of the native dialect (ota/v1) against one real device and prints, clause by
clause, what it did. No broker is needed: this program is the broker, the plugin and the download server. Point the
device at this machine's --listen port, as product PRODUCT and device DEVICE, and start it.

Every race upgrades the device, so a real one needs two images to go back and forth between:

    tests/device --listen 1883 --image 1.0=old.bin --image 1.1=new.bin pump pump-7

Without --image made-up bytes of versions 99.1, 99.2, ... are offered; that is for a device that does not look into them,
such as examples/device. Exit code 0: the device keeps the contract; 1: it breaks some clause; 2: usage; 3: it never came;
4: nothing is broken, but not every race could be played to its end.
"""

import argparse
import collections
import random
import secrets
import sys
import time

from desk import NAME, Desk, File

RACES = []


def race(function):
    RACES.append(function)
    return function


class Skip(Exception):
    """The race cannot be played with this device; the text says why."""


class Run:
    def __init__(self, options):
        self.options, self.scale = options, options.scale
        self.desk = Desk(*options.listen, options.product, options.device)
        self.component = options.component
        self.findings = collections.defaultdict(list)  # clause -> [(verdict, race, text)]
        self.unplayed = []
        self.race, self.played, self.targets = "", 0, 0

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
        if installed == f"99.{self.targets}":  # of an earlier run
            self.targets += 1
        return f"99.{self.targets}", File(random.Random(self.targets).randbytes(self.options.bytes), **how)

    @staticmethod
    def name_task():
        """Never used before, in no earlier run either."""
        return f"conformance-{secrets.token_hex(6)}"

    def offer(self, **more):
        """Offers a task with an image of these properties; gives (task, version, file)."""
        how = {name: more.pop(name) for name in ("statuses", "rate", "cut") if name in more}
        version, file = self.image(**how)
        task = self.name_task()
        self.desk.offer(task, self.component, version, file, **more)
        return task, version, file

    def patience(self):
        return self.options.patience

    def accepted(self, task, since):
        confirm = self.demand(self.desk.wait("confirm", since, self.patience(), task=task), "N-19", "it answers the offer",
                              f"no up/confirm within {self.patience():g} s")
        if confirm.body.get("accept") is not True:
            raise Skip(f"the device does not accept: {confirm.body.get('reason', 'no reason given')}")

    def requested(self, since):
        return self.demand(self.desk.wait("http", since, self.patience()), "N-20", "it asks for the file", "it never asked for the file")

    def upgraded(self, version, since):
        """The device reports the version, not on trial, after a reboot."""
        report = self.desk.wait("version", since, self.patience() * 2, when=lambda body: body["components"].get(self.component) == version
                                and self.component not in body.get("trial", []))
        failed = self.failed(since, 0)
        why = f"; it reported failed, code {failed.body.get('code')}, {failed.body.get('message', 'no message')!r}" if failed else ""
        self.demand(report, "N-27", f"it reports {self.component} {version}", f"{self.component} {version} was never reported and kept{why}")
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
                           f"no report within {self.patience():g} s after its connection broke")

    def settle(self):
        """Before each race: the device is here, and holds no task."""
        self.desk.hooks.clear()
        self.desk.lose_blocks.clear()
        self.desk.cancel()
        self.desk.ahead = 0
        if not self.desk.subscribed or not self.desk.socket:
            self.demand(self.desk.wait("version", self.desk.mark(), self.patience()), "N-9", "it has come back", "it has not come back")
        end = time.monotonic() + 3
        while self.desk.outstanding and time.monotonic() < end:
            time.sleep(0.05)


# ---------------------------------------------------------------------------------------------- the races

@race
def the_first_report(run):
    """The device connects and says what it has."""
    report = run.desk.wait("version", 0, run.options.wait)
    if not report:
        came = [f"{kind} {count} times" for kind, count in collections.Counter(e.kind for e in run.desk.seen(None)).items()]
        print(f"conformance: no report of {run.options.product}/{run.options.device} within {run.options.wait:g} s; is it pointed here, with this product "
              f"and name?\n  what came: {', '.join(came) or 'nothing, not even a connection'}", file=sys.stderr)
        for clause, text in dict.fromkeys(run.desk.faults):
            print(f"  {clause}: {text}", file=sys.stderr)
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
              f"already after {second.at - first.at:.1f} s, not {again:g}")
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

    def twice(body):
        desk._on_confirm(body, False)
        desk.hooks.clear()
        if body["accept"]:
            desk.download(fresh=False)
    desk.hooks["confirm"] = twice
    with desk.lock:
        task, version, file = run.offer(rate=10_000)
        desk.plan(unknown={"member": [1, 2]})
    run.accepted(task, mark)
    run.requested(mark)
    file.slow.clear()
    run.upgraded(version, mark)
    whole = [e for e in desk.seen("http", mark) if e.body["status"] == 200]
    run.check(len(whole) <= 1, "N-21", "it downloaded once", f"it began {len(whole)} downloads of one attempt")
    run.check(not [e for e in desk.seen("confirm", mark) if e.body.get("accept") is False], "N-16", "the second offer of the same task is no other one",
              "it refused the second copy of an offer that it had accepted")
    run.check(not run.failed(mark, 0), "N-17", "no clock was needed", "it failed; is it the time of 1970?")


@race
def another_offer_comes_at_once(run):
    """An offer, and before the device can have answered it one of another task."""
    desk, mark = run.desk, run.desk.mark()
    with desk.lock:
        run.offer()
        task, version, _ = run.offer()
    run.demand(desk.wait("confirm", mark, run.patience(), task=task, accept=True), "N-16", "it accepts the last one",
               f"it did not accept the last one within {run.patience():g} s")
    run.upgraded(version, mark)
    run.check(not run.failed(mark, 0), "N-16", "the first one is no failure", "it reported a failure")


@race
def the_clock_is_unknown(run):
    """`now` jumps from 1970 by sixty years between the offer and the download, and back again in the download."""
    desk, mark = run.desk, run.desk.mark()

    def later(body):
        desk.ahead = 60 * 365 * 86400
        desk._on_confirm(body, False)
        desk.hooks.clear()
    desk.hooks["confirm"] = later
    task, version, file = run.offer(rate=4000)
    run.accepted(task, mark)
    run.requested(mark)
    desk.ahead = 0
    run.report_after_drop()
    file.slow.clear()
    run.upgraded(version, mark)
    run.check(not run.failed(mark, 0), "N-17", "no clock was needed", "it reported a failure; does it reckon with points in time?")


@race
def the_address_has_expired(run):
    """The address in the download is answered 403."""
    desk, mark = run.desk, run.desk.mark()

    def expired(body):
        desk._on_confirm(body, False)
        desk.hooks.clear()
        if body["accept"]:
            desk.expire()
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
    run.check(report.body["components"].get(run.component) != version, "N-31", "the version is the old one", "it runs the version that was canceled")


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
    report = run.demand(desk.wait("version", gone, run.patience()), "N-9", "it comes back and reports", f"it did not come back within {run.patience():g} s")
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
    task = run.name_task()
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
    run.check(failed.body.get("code") == -3, "N-24", "with code -3", f"with code {failed.body.get('code')!r}, not -3")
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
    run.check(failed.body.get("code") == -2, "N-24", "with code -2", f"with code {failed.body.get('code')!r}, not -2")
    time.sleep(1)
    asked = len(desk.seen("http", mark))
    run.check(asked <= 2, "N-22", "it stops asking", f"it asked {asked} times")


@race
def the_target_is_installed(run):
    """An offer of what the device has."""
    desk, mark = run.desk, run.desk.mark()
    desk.offer(run.name_task(), run.component, desk.versions[run.component], File(b"x" * 1000))
    run.demand(desk.wait("version", mark, run.patience()), "N-16", "it answers with its version", "it did not answer with up/version")
    run.check(not desk.seen("http", mark), "N-16", "it downloads nothing", "it downloads what it has")


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
def the_task_is_over_in_the_download(run):
    """A report of progress is answered 410."""
    desk, mark = run.desk, run.desk.mark()

    def over(body):
        if not desk.seen("http", mark):  # it may say that it begins before its request is here
            desk._on_progress(body, False)
            return
        desk.task = None
        desk._on_progress(body, False)  # 410, with `id` or without
        desk.hooks.clear()
    desk.hooks["progress"] = over
    task, version, file = run.offer(rate=1500)
    run.accepted(task, mark)
    run.requested(mark)
    if not desk.wait("progress", mark, 10):
        run.note("N-25", "not seen: it reports no progress of the download")
        return
    end = desk.wait("http end", mark, 15)
    file.slow.clear()
    run.check(end is not None and not end.body["whole"], "N-19", "after 410 it stops the download", "after 410 it went on with the download")
    report = run.report_after_drop()
    run.check(report.body.get("task") != task, "N-19", "after 410 it forgets the task", "after 410 it still names the task")
    run.check(report.body["components"].get(run.component) != version, "N-19", "nothing was installed", "it installed it all the same")


@race
def another_offer_while_it_installs(run):
    """An offer of another task arrives when it is too late to stop."""
    desk, mark = run.desk, run.desk.mark()
    sent = []

    def progress(body):
        if body.get("state") in ("installing", "rebooting") and not sent:
            sent.append(True)
            held = desk.task
            desk.task = {**held, "task": "conformance-other", "to": held["to"] + "x"}
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
    answer = desk.wait("confirm", mark, 1, task="conformance-other")
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
        second = body["offset"] + body["length"]
        at = second if body["count"] > 1 and second < len(file.content) else body["offset"]
        desk.lose_blocks.add(at)
        desk.hooks.clear()
        desk._on_block(body, False)
        desk.send(f"block/{'zz9' if body['ref'] != 'zz9' else 'zz8'}/{at}", b"?" * min(body["length"], len(file.content) - at), qos=0)
    desk.hooks["block"] = lose
    task, version, file = run.offer(http=False, blocks=True)
    run.accepted(task, mark)
    first = desk.wait("block", mark, run.patience())
    if not first:
        raise Skip("the device does not ask for blocks")
    lost = run.demand(desk.wait("lost", mark, 10), "N-28", "it asks for blocks", "it asks beyond the file")

    def asks_for_it(body):
        return body["offset"] <= lost.body["offset"] < body["offset"] + body["length"] * body["count"]
    again = desk.wait("block", desk.events.index(lost) + 1, max(run.patience(), 30 * run.scale), when=asks_for_it)
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
    end = time.monotonic() + 6
    while desk.unacknowledged and desk.socket and time.monotonic() < end:
        time.sleep(0.1)
    with desk.lock:
        desk.forget_unacknowledged()
    for (clause, text), count in collections.Counter(desk.faults).items():
        run.find("FAIL", clause, f"{text}{f' ({count} times)' if count > 1 else ''}")
    for clause, kind, text in (("N-2", "version", "subscribes first, and acknowledges what it gets"), ("N-3", "version", "publishes under its own name only"),
                               ("N-5", "version", "uplinks are well-formed"), ("N-6", "version", "members have their types"),
                               ("N-7", "version", "no id recurs while it is outstanding"), ("N-8", "version", "uplinks are QoS 1"),
                               ("N-24", "progress", "progress is as agreed"), ("N-25", "progress", "at most one progress report a second")):
        if desk.seen(kind) and not any(c == clause for c, _ in desk.faults):
            run.find("ok", clause, text)
    print("\nclause   ok  FAIL  note")
    broken = 0
    for clause in sorted(run.findings, key=lambda c: int(c[2:])):
        counts = collections.Counter(verdict for verdict, _, _ in run.findings[clause])
        broken += counts["FAIL"]
        print(f"[{clause}]".ljust(7) + f"{counts['ok']:4}{counts['FAIL']:6}{counts['note']:6}")
    if run.unplayed:
        print(f"\nnot played to their end: {', '.join(run.unplayed)}")
    if broken:
        print(f"\n{broken} findings that break the contract (FAIL)")
        return 1
    if run.unplayed:
        print(f"\nNothing breaks the contract, but {len(run.unplayed)} of {run.played} races prove nothing.")
        return 4
    print("\nThe device keeps the contract.")
    return 0


def image(text):
    version, equals, path = text.partition("=")
    if not equals or not 1 <= len(version) <= 64:
        raise argparse.ArgumentTypeError(f"'{text}' is not VERSION=FILE")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    if not content:
        raise argparse.ArgumentTypeError(f"{path} is empty")
    return version, content


def listen(text):
    address, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not [ADDRESS:]PORT")
    return address or "0.0.0.0", int(port)


def name(text):
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name: 1 to 64 characters of A-Z a-z 0-9 . _ : -")
    return text


def number(kind, least):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = -1
        if not least <= value < 1e6:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {least} on")
        return value
    return read


def races(text):
    chosen = [one for one in RACES if any(word and word in one.__name__ for word in text.split(","))]
    for word in text.split(","):
        if not word or not any(word in one.__name__ for one in RACES):
            raise argparse.ArgumentTypeError(f"no race has '{word}' in its name; --list names them")
    return chosen


def main():
    parser = argparse.ArgumentParser(prog="tests/device", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("product", metavar="PRODUCT", type=name)
    parser.add_argument("device", metavar="DEVICE", type=name)
    parser.add_argument("--listen", type=listen, default="1883", metavar="[ADDRESS:]PORT", help="of the MQTT server (1883); no TLS: put a proxy before it")
    parser.add_argument("--component", default="", metavar="NAME", help="the one to upgrade (the first that it reports)")
    parser.add_argument("--image", action="append", type=image, metavar="VERSION=FILE", help="an image that the device can run; give two")
    parser.add_argument("--bytes", type=number(int, 1000), default=20_000, metavar="N", help="length of made-up images (20000)")
    parser.add_argument("--wait", type=number(float, 0), default=300, metavar="SECONDS", help="for the device to come (300)")
    parser.add_argument("--patience", type=number(float, 1), default=60, metavar="SECONDS", help="for each step; twice that for an installation (60)")
    parser.add_argument("--scale", type=number(float, 0.01), default=1, metavar="FACTOR", help="the device's waits are shorter by this factor, for tests (1)")
    parser.add_argument("--only", type=races, default=RACES, metavar="WORD,...", help="races, by a part of their names (all)")
    parser.add_argument("--list", action="store_true", help="the races")
    if "--list" in sys.argv:
        for one in RACES:
            print(f"{one.__name__:40} {one.__doc__}")
        return 0
    options = parser.parse_args()
    try:
        run = Run(options)
    except OSError as error:
        parser.error(f"argument --listen: {options.listen[0]} port {options.listen[1]}: {error.strerror}")
    print(f"listening on port {run.desk.port} for {run.options.product}/{run.options.device}; files are on port {run.desk.http.server_address[1]}", flush=True)
    try:
        play(run)
    except KeyboardInterrupt:
        print("\ninterrupted", flush=True)
        run.unplayed.append("all that would have followed")
    return summary(run)


def play(run):
    for one in RACES:
        if one not in run.options.only and one is not the_first_report:
            continue
        run.race = one.__name__
        run.played += 1
        print(f"\n{one.__name__.replace('_', ' ')}: {one.__doc__}", flush=True)
        try:
            if one is not the_first_report:
                run.settle()
            one(run)
        except Skip as why:
            run.unplayed.append(one.__name__.replace("_", " "))
            print(f"  not played to its end: {why}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
