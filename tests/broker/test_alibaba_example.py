"""The emulators in examples/clouds, as a user runs them."""

import subprocess

import pytest

from broker import ROOT, content
from clouds import IDENTITY


def run(site, program, *arguments):
    result = subprocess.run([str(ROOT / "examples" / "clouds" / program), "--port", str(site.port), "--product", "lamp", "--device", "d1",
                             *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def scene(make_site, dialect, **product):
    site = make_site(options=IDENTITY)
    site.product("lamp", ("default",), dialect=dialect, **product)
    site.package("lamp", "default", "2.0.0", content("lamp", 300_000))
    site.plan("spring", "lamp", [("default", "default-2.0.0")])
    return site


@pytest.mark.parametrize("product", [{}, {"http": 0}])
def test_the_alibaba_emulator_upgrades(make_site, product):
    site = scene(make_site, "alibaba", **product)
    assert "upgraded from 1.0.0 to 2.0.0" in run(site, "alibaba.py")
    site.wait_task("d1", "succeeded", product="lamp")


def test_the_alibaba_emulator_fails_as_asked_for(make_site):
    site = scene(make_site, "alibaba")
    run(site, "alibaba.py", "--fail", "-4")
    assert site.wait_task("d1", "failed", product="lamp")["reason"] == "write_failed"


@pytest.mark.parametrize("arguments", [[], ["--ask"]])
def test_the_enos_emulator_upgrades(make_site, arguments):
    site = scene(make_site, "enos")
    assert "upgraded from 1.0.0 to 2.0.0" in run(site, "enos.py", *arguments)
    site.wait_task("d1", "succeeded", product="lamp")


def test_the_enos_emulator_refuses_as_asked_for(make_site):
    site = scene(make_site, "enos")
    run(site, "enos.py", "--fail", "-5")
    site.wait_task("d1", "refused", product="lamp")
