"""The reference device of examples/ against the plugin: both ways of download, and a power cut at its crash points.

OTA_LONG takes every crash point, else every seventh."""
import os
import pathlib
import subprocess

import pytest

from broker import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ["OTA_PLUGIN"]).parent / "ota-device"


def run(site, name, *options, code=0):
    done = subprocess.run(
        [PROGRAM, "--product", "pump", "--device", name, "--state", site.directory / name, "--port", str(site.port),
         "--scale", "0.2", "--timeout", "120", *options], capture_output=True, text=True, timeout=150)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("way", [(), ("--blocks",), ("--blocks", "--max-bytes", "512"), ("--persistent",)])
def test_the_example_device_upgrades(site, way):
    site.pump()
    run(site, "d1", "--component", "main=1.0", "--exit-when", "main=2.0", *way)
    eventually(lambda: site.task("d1")["state"] == "succeeded")


def test_the_example_device_that_refuses_is_refused(site):
    site.pump()
    device = subprocess.Popen([PROGRAM, "--product", "pump", "--device", "d1", "--state", site.directory / "d1", "--port", str(site.port),
                               "--component", "main=1.0", "--refuse", "--exit-when", "main=2.0"], stdout=subprocess.DEVNULL)
    try:
        site.wait_task("d1", "refused")
        assert device.poll() is None
    finally:
        device.kill()
        device.wait()


@pytest.mark.parametrize("way", [(), ("--blocks",)])
def test_the_example_device_survives_a_power_cut_at_any_point(site, way):
    site.pump()
    step = "1" if os.environ.get("OTA_LONG") else "7"
    done = subprocess.run(
        [ROOT / "examples/device/power_cut_test.sh", PROGRAM, "pump", "main=2.0", "--component", "main=1.0",
         "--port", str(site.port), *way],
        capture_output=True, text=True, env={**os.environ, "STEP": step}, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.one("SELECT count(*) AS n FROM task WHERE state <> 'succeeded'")["n"] == 0
