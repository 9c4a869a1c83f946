"""The reference device passes the conformance run, and a device that breaks the contract does not."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "broker"))
from broker import free_port  # noqa: E402

PROGRAM = os.environ["OTA_DEVICE"]
RACES = subprocess.run([HERE.parent / "device", "--list"], capture_output=True, text=True, check=True).stdout.split("\n")
RACES = [line.split()[0] for line in RACES if line.strip()][1:]  # the first is part of every run


class Conformance:
    def __init__(self, directory, races, *device_options, patience=15):
        port = free_port()
        self.run = subprocess.Popen([HERE.parent / "device", "--listen", f"127.0.0.1:{port}", "--scale", "0.2", "--patience", str(patience), "--wait", "20",
                                     "--only", ",".join(races), "pump", "d1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.run.stdout.readline().startswith("listening")
        self.log = open(directory / "device.log", "w+")
        self.device = subprocess.Popen([PROGRAM, "--product", "pump", "--device", "d1", "--state", directory / "state", "--port", str(port), "--scale", "0.2",
                                        "--component", "main=1.0", "--timeout", "120", "--verbose", *device_options], stdout=self.log, stderr=self.log)

    def end(self):
        try:
            text = self.run.communicate(timeout=120)[0]
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
    code, text = Conformance(tmp_path, [race], *option, patience=3).end()
    assert code == 1 and "FAIL  N-27" in text


def test_no_device_no_verdict():
    done = subprocess.run([HERE.parent / "device", "--listen", "127.0.0.1:0", "--wait", "0.2", "pump", "d1"], capture_output=True, text=True)
    assert done.returncode == 3 and "no report of the device" in done.stderr
