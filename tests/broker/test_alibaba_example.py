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


def test_the_readmes_commands_are_those_to_give(make_site):
    site = make_site(options=IDENTITY)
    commands = [line.strip() for line in (ROOT / "examples/clouds/README.md").read_text().splitlines() if line.startswith("    sudo otactl")]
    (site.directory / "firmware-2.0.0.bin").write_bytes(content("lamp", 300_000))
    assert len(commands) == 3
    for command in commands:
        words = [str(site.directory / word) if word.endswith(".bin") else str(ROOT / word) if word.endswith(".sql") else word
                 for word in command.split()[2:]]
        site.otactl(*words)
    assert "upgraded from 1.0.0 to 2.0.0" in run(site, "alibaba.py", "--version", "1.0.0")


@pytest.mark.parametrize("program", ["alibaba.py", "enos.py"])
def test_what_goes_wrong_is_one_line_and_an_exit_code(site, program):
    path = str(ROOT / "examples" / "clouds" / program)

    def code(*arguments):
        result = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20)
        assert "Traceback" not in result.stderr
        return result.returncode, result.stderr.strip().splitlines()
    assert code("--help")[0] == 0
    assert code()[0] == 2 and code("--product", "lamp", "--device", "d1", "--fail", "7")[0] == 2
    site.stop()
    wrong, lines = code("--port", str(site.port), "--product", "lamp", "--device", "d1")
    assert wrong == 1 and len(lines) == 1 and "refused" in lines[0]


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
