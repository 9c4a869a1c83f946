"""The vendor's own SDK for Node.js, from the npm registry, against the broker. Skipped where there is no npm, or where
the registry cannot be reached."""

import pathlib
import shutil
import subprocess

import pytest

from broker import content, eventually
from clouds import IDENTITY, SECRET

SDK = "alibabacloud-iot-device-sdk@1.2.8"


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm or node is not installed: apt install npm nodejs")
    directory = tmp_path_factory.mktemp("npm")
    try:
        installed = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory), SDK],
                                   capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm install {SDK}: no answer within 300 s")
    if installed.returncode:
        pytest.skip(f"npm install {SDK}: {installed.stderr.strip()[-300:]}")
    shutil.copy(pathlib.Path(__file__).parent / "npm_device.js", directory)
    return directory


def run(sdk, site, name, version, secret=SECRET):
    return subprocess.run(["node", "npm_device.js", f"mqtt://127.0.0.1:{site.port}/", "a1TestPK01", name, secret, version],
                          cwd=sdk, capture_output=True, text=True, timeout=60)


def test_the_vendors_sdk_upgrades_unmodified(make_site, sdk):
    """It signs its login, makes its sixteen subscriptions, is told, fetches, and reports."""
    site = make_site(options={**IDENTITY, "acl_other": "defer", "login": "defer"})
    site.product("a1TestPK01", ("default",), dialect="alibaba")
    site.package("a1TestPK01", "default", "2.0.0", content("lamp", 30000))
    site.otactl("device", "add", "a1TestPK01", "dev004", "--secret-file", "-", stdin=SECRET)
    site.plan("spring", "a1TestPK01", [("default", "default-2.0.0")])
    site.restart()

    def refused():
        run(sdk, site, "dev004", "1.0.0", secret="x" * 32)
        return "device 'a1TestPK01/dev004' refused: the password is wrong" in site.log()
    eventually(refused)  # once the registry is loaded
    assert site.versions("dev004", "a1TestPK01") == {}
    result = run(sdk, site, "dev004", "1.0.0")
    assert "upgraded to 2.0.0" in result.stdout, result.stdout + result.stderr
    site.wait_task("dev004", "succeeded", product="a1TestPK01")
    assert site.versions("dev004", "a1TestPK01") == {"default": "2.0.0"}
    assert "is denied" not in site.log()  # its sixteen subscriptions among them
