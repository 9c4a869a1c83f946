"""The reference device passes the conformance run, and a device that breaks the contract in any one way does not."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "broker"))
from broker import free_port  # noqa: E402
from desk import Desk  # noqa: E402

PROGRAM = os.environ["OTA_DEVICE"]
RACES = subprocess.run([HERE.parent / "device", "--list"], capture_output=True, text=True, check=True).stdout.split("\n")
RACES = [line.split()[0] for line in RACES if line.strip()][1:]  # the first is part of every run


class Conformance:
    def __init__(self, directory, races, *device_options, patience=60):
        port = free_port()
        self.run = subprocess.Popen([HERE.parent / "device", "--listen", f"127.0.0.1:{port}", "--scale", "0.2", "--patience", str(patience), "--wait", "60",
                                     "--only", ",".join(races), "pump", "d1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.run.stdout.readline().startswith("listening")
        self.log = open(directory / "device.log", "w+")
        self.device = subprocess.Popen([PROGRAM, "--product", "pump", "--device", "d1", "--state", directory / "state", "--port", str(port), "--scale", "0.2",
                                        "--component", "main=1.0", "--timeout", "300", "--verbose", *device_options], stdout=self.log, stderr=self.log)

    def end(self):
        try:
            text = self.run.communicate(timeout=300)[0]
        finally:
            for process in (self.run, self.device):
                process.kill()
                process.wait()
        self.log.seek(0)
        print(text, "\n--- the device\n", self.log.read()[-8000:])
        return self.run.returncode, text


def test_the_reference_device_keeps_the_contract(tmp_path):
    runs = []
    for n, options in enumerate([(), ("--persistent",), ("--lang", "en")]):  # side by side, a third of the races each
        directory = tmp_path / str(n)
        directory.mkdir()
        runs.append(Conformance(directory, RACES[n::3], *options))
    for code, text in [run.end() for run in runs]:
        assert code == 0, text
        assert "The device keeps the contract." in text and "not played" not in text


@pytest.mark.parametrize("option, race", [
    (("--fail-at", "verify"), "the_offer_and_the_download_come_twice"),
    (("--roll-back",), "the_address_has_expired"),
])
def test_a_device_that_does_not_reach_the_target_is_told_so(tmp_path, option, race):
    code, text = Conformance(tmp_path, [race], *option, patience=8).end()
    assert code == 1 and "FAIL  N-27" in text


# What careless.py does wrong, the race in which it shows, and what is said.
FAULTS = {
    "never sends again": ("reply_is_lost", "N-8   it never sent again without a reply"),
    "sends again at once": ("reply_is_lost", "N-8   already after"),
    "does not wait after 503": ("reply_is_lost", "N-8   after .* s although retryAfter was 2"),
    "begins anew": ("come_twice", "N-21  it began 2 downloads of one attempt"),
    "refuses the copy": ("come_twice", "N-16  it refused the second copy"),
    "keeps the first offer": ("comes_at_once", "N-16  it did not accept the last one"),
    "needs the time": ("come_twice", "N-19  no up/confirm"),
    "reckons with points in time": ("clock", "N-20  it never asked for the file"),
    "gives up at 403": ("expired", "N-22  after 403 it did not confirm again"),
    "403 is a failure": ("expired", "N-22  after 403 it did not confirm again"),
    "does not wait for Retry-After": ("busy", "N-22  it did not wait for Retry-After"),
    "503 is a failure": ("busy", "N-27  main 99.1 was never reported and kept; it reported failed, code -2"),
    "ignores the cancel": ("cancel", "N-31  it went on with the download"),
    "downloads on after the cancel": ("cancel", "N-31  it went on with the download"),
    "remembers what was canceled": ("cancel", "N-31  it still names the canceled task"),
    "is silent in the download": ("two_hundred", "N-26  it was silent for"),
    "does not name its task": ("restarts", "N-12  its report does not name its task"),
    "stays away": ("restarts", "N-9   it did not come back"),
    "progress comes first": ("restarts", "N-9   up/progress is the first uplink of a connection"),
    "fails when the line breaks": ("line_breaks", "N-27  main 99.1 was never reported and kept; it reported failed, code -2"),
    "believes the file": ("announced", "N-24  it never reported the wrong digest"),
    "another code": ("announced,gone", "N-24  with code -2, not -3"),
    "names the earlier attempt": ("announced", "N-33  its progress names the earlier attempt"),
    "asks again for what is gone": ("gone", "N-22  it never reported that the file is gone"),
    "wants what it has": ("target_is", "N-16  it downloads what it has"),
    "keeps a task that is over": ("task_is_over", "N-19  after 410 it still names the task"),
    "accepts while it installs": ("another_offer_while", "N-16  it answered the other offer with"),
    "postpones for 30 s": ("another_offer_while", "N-19  up/confirm: retryAfter must be an integer of 60 to 604800, not 30"),
    "never asks again for a block": ("block", "N-29  it never asked for the lost block again"),
    "asks for blocks at once": ("block", "N-29  already after"),
    "takes any block": ("block", "N-29  it never asked for the lost block again"),
    "never acknowledges": ("target_is", "N-2   never acknowledged down/"),
    "reports before it subscribes": ("target_is", "N-2   up/version before it has subscribed"),
    "subscribes at QoS 0": ("target_is", "N-2   subscribes to ota/v1/pump/d1/down/# at QoS 0"),
    "listens to others": ("target_is", r"N-4   subscribes to ota/v1/pump/\+/down/#"),
    "QoS 0": ("target_is", "N-8   up/version at QoS 0"),
    "speaks for another": ("expired", "N-3   publishes to ota/v1/pump/d2/up/progress"),
    "one boot for ever": ("expired", "N-15  the report of the new version has neither"),
    "on trial for ever": ("expired", "N-27  main 99.1 was never reported and kept"),
    "never reports the target": ("expired", "N-27  main 99.1 was never reported and kept"),
    "floods with progress": ("expired", "N-25  up/progress: more than one progress report a second"),
    "confirms nothing": ("expired", "N-19  no up/confirm"),
}


# Found by a wait that was too short, which on a busy machine is a longer one.
TOO_SOON = {"sends again at once", "does not wait after 503", "does not wait for Retry-After", "asks for blocks at once"}


def play(fault, races, patience=10):
    """The run against careless.py; gives its exit code and what it said. What the patience is for must not end it before:
    all of them play at a time."""
    port = free_port()
    scale = "0.2" if fault in TOO_SOON else "0.05"
    arguments = ["--listen", f"127.0.0.1:{port}", "--scale", scale, "--patience", str(patience), "--wait", "60", "--only", races, "pump", "d1"]
    run = subprocess.Popen([HERE.parent / "device", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first = run.stdout.readline()
    device = subprocess.Popen([sys.executable, HERE / "careless.py", str(port), fault, scale], stderr=subprocess.PIPE, text=True)
    try:
        text = first + run.communicate(timeout=300)[0]
    finally:
        for process in (run, device):
            process.kill()
    text += device.communicate()[1]
    return run.returncode, text


@pytest.fixture(scope="module")
def played():
    """All at the same time: they wait most of it."""
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        runs = {fault: pool.submit(play, fault, races) for fault, (races, _) in FAULTS.items()}
        runs.update({n: pool.submit(play, "none", ",".join(RACES[n::3]), 60) for n in range(3)})
        yield {fault: run.result() for fault, run in runs.items()}


def test_a_device_without_a_fault_keeps_the_contract(played):
    for code, text in (played[n] for n in range(3)):
        assert code == 0 and "not played" not in text and "not seen" not in text and "Traceback" not in text, text


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_clause_is_found(played, fault):
    code, text = played[fault]
    assert code == 1 and re.search(f"FAIL  {FAULTS[fault][1]}", text) and "Traceback" not in text, text


def test_a_race_that_is_not_played_is_no_success():
    code, text = play("refuses everything", "expired,busy")
    assert code == 4 and "Nothing breaks the contract, but 2 of 3 races prove nothing." in text, text


UPLINKS = {
    "version": {"components": {"main": "1.0"}},
    "confirm": {"task": "t", "accept": True},
    "progress": {"task": "t", "component": "main", "state": "downloading"},
    "block": {"task": "t", "component": "main", "file": 0, "ref": "r1", "offset": 0, "length": 4096, "count": 8},
}


@pytest.mark.parametrize("kind, members, clause", [
    ("version", {"components": ["main"]}, "N-6"), ("version", {"components": {}}, "N-6"), ("version", {"components": {"main": 1}}, "N-5"),
    ("version", {"components": {"my mcu": "1"}}, "N-1"), ("version", {"components": {"main": "1\n"}}, "N-5"), ("version", {"id": 7}, "N-6"),
    ("version", {"trial": 5}, "N-6"), ("version", {"trial": ["x"]}, "N-14"), ("version", {"maxBytes": "2048"}, "N-6"), ("version", {"maxBytes": 100}, "N-6"),
    ("version", {"battery": 200}, "N-6"), ("version", {"battery": True}, "N-6"), ("version", {"signal": "-70"}, "N-6"), ("version", {"signal": 20}, "N-6"),
    ("version", {"freeBytes": 1.5}, "N-6"), ("version", {"bootId": ""}, "N-6"), ("version", {"task": None}, "N-6"), ("version", {"full": "no"}, "N-6"),
    ("confirm", {"accept": "yes"}, "N-6"), ("confirm", {"task": 7}, "N-6"), ("confirm", {"retryAfter": 30}, "N-19"),
    ("progress", {"percent": "40"}, "N-24"), ("progress", {"percent": 200}, "N-24"), ("progress", {"state": "busy"}, "N-24"), ("progress", {"state": []}, "N-24"),
    ("progress", {"message": 7}, "N-24"), ("progress", {"reason": "m" * 300}, "N-24"), ("progress", {"attempt": "1"}, "N-33"),
    ("progress", {"component": "a b"}, "N-24"), ("progress", {"eta": -5}, "N-26"), ("progress", {"code": -1}, "N-24"),
    ("progress", {"state": "failed", "code": "-3"}, "N-24"),
    ("block", {"length": 64}, "N-28"), ("block", {"length": "2048"}, "N-28"), ("block", {"count": 65}, "N-28"), ("block", {"length": 65536}, "N-28"),
    ("block", {"ref": "reference1"}, "N-28"), ("block", {"file": None}, "N-28"), ("block", {"offset": -1}, "N-28"),
])
def test_a_wrong_member_is_found(desk, kind, members, clause):
    desk._uplink(kind, json.dumps(UPLINKS[kind]).encode(), 1, False)
    assert desk.faults == []
    desk._uplink(kind, json.dumps({**UPLINKS[kind], **members}).encode(), 1, False)
    assert [found for found, _ in desk.faults] == [clause], desk.faults


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b'{"task":"t","task":"u","accept":true}', b'{"task":"\xff","accept":true}', b"[" * 5000,
                                     b'{"task":"t","accept":true,"x":"%s"}' % (b"x" * 17000), b'{"task":"t","accept":true,"x":[[[[[[[[1]]]]]]]]}'])
def test_what_is_no_object_of_the_contract_is_found(desk, payload):
    desk._uplink("confirm", payload, 1, False)
    assert [found for found, _ in desk.faults] == ["N-5"]


def test_an_id_that_is_outstanding_is_found(desk):
    desk.hooks["confirm"] = lambda body: None
    desk._uplink("confirm", b'{"id":"1","task":"t","accept":true}', 1, False)
    desk._uplink("confirm", b'{"id":"1","task":"t","accept":true}', 1, False)  # sent again
    assert desk.faults == []
    desk._uplink("confirm", b'{"id":"1","task":"u","accept":true}', 1, False)
    assert [found for found, _ in desk.faults] == ["N-7"]


@pytest.fixture
def desk():
    """After the first report of a connection."""
    desk = Desk("127.0.0.1", 0, "pump", "d1")
    desk.subscribed, desk.first = True, False
    yield desk
    desk.close()


def test_no_device_no_verdict():
    done = subprocess.run([HERE.parent / "device", "--listen", "127.0.0.1:0", "--wait", "0.2", "pump", "d1"], capture_output=True, text=True)
    assert done.returncode == 3 and "no report of pump/d1" in done.stderr and "nothing, not even a connection" in done.stderr


@pytest.mark.parametrize("arguments, says", [
    (["--listen", "abc"], "'abc' is not [ADDRESS:]PORT"), (["--listen", "127.0.0.1:70000"], "is not [ADDRESS:]PORT"),
    (["--listen", "192.0.2.1:0"], "192.0.2.1 port 0: Cannot assign requested address"),
    (["--image", "old.bin"], "'old.bin' is not VERSION=FILE"), (["--image", "1=/nosuch"], "/nosuch: No such file or directory"),
    (["--only", "nonsense"], "no race has 'nonsense' in its name"), (["--scale", "0"], "'0' is not a number from 0.01 on"), (["--bytes", "x"], "'x' is not a number"),
])
def test_wrong_usage_is_named(arguments, says):
    done = subprocess.run([HERE.parent / "device", *arguments, "pump", "d1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_name_that_cannot_be_is_refused():
    done = subprocess.run([HERE.parent / "device", "pu/mp", "d1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "'pu/mp' is no name" in done.stderr


def test_a_second_run_begins_with_what_the_first_one_left(tmp_path):
    """The versions that are offered are not those that the device has by then."""
    for _ in range(2):
        code, text = Conformance(tmp_path, ["the_address_has_expired"]).end()
        assert code == 0, text
