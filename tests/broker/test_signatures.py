"""Secure update: only what the product's key has signed is delivered, and a device can check it itself."""

import base64
import json
import os
import subprocess

import pytest

from broker import content
from clouds import IDENTITY, LinkSdk
from device import Device

OTA_DEVICE = os.environ.get("OTA_DEVICE") or os.path.join(os.path.dirname(os.environ.get("OTA_PLUGIN", "")), "ota-device")


@pytest.fixture
def keys(tmp_path):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)
    for name in ("site", "thief"):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.pem")
        openssl("pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")
    return tmp_path


def prepare(site):
    site.pump(wanted="draft")


def test_only_what_the_key_has_signed_is_offered(site, keys):
    """004-12 004-13 004-14 [N-23]"""
    prepare(site)
    site.wait_package("pump", "main-2.0")
    site.otactl("product", "key", "pump", str(keys / "site.pub"))
    assert site.one("SELECT public_key FROM product WHERE name = 'pump'")["public_key"] == (keys / "site.pub").read_text().strip()
    site.want("spring", "active")
    device = Device(site, "d1")
    device.report()
    assert site.wait_task("d1", "queued", reason="package_not_ready")
    assert "not signed" in site.otactl("plan", "show", "spring").stdout or "not signed" in json.dumps(site.tasks("d1"))
    # A package of a plan that is no draft is not signed any more; another one is.
    assert site.otactl("package", "sign", "pump", "main-2.0", "--key", str(keys / "site.pem"), check=False).returncode == 3
    site.want("spring", "canceled")
    site.package(version="2.0", name="signed", content=b"firmware 2.0 signed")
    site.wait_package("pump", "signed")
    assert site.otactl("package", "sign", "pump", "signed", "--key", str(keys / "thief.pem"), check=False).returncode != 0
    site.otactl("package", "sign", "pump", "signed", "--key", str(keys / "site.pem"))
    site.plan("summer", components=(("main", "signed"),))
    offer = device.take("plan")
    device.confirm(offer["task"])
    download = device.take("download")
    manifest = base64.b64decode(download["manifest"])
    assert json.loads(manifest)["files"][0]["sha256"] == download["files"][0]["sha256"]
    (keys / "manifest").write_bytes(manifest)
    (keys / "signature").write_bytes(base64.b64decode(download["signature"]))
    subprocess.run(["openssl", "dgst", "-sha256", "-verify", "site.pub", "-signature", "signature", "manifest"], cwd=keys, check=True)


def test_alibabas_digestsign_is_the_signature_of_the_manifest(make_site, keys):
    """Checked on the device's side with the bytes of the push alone, beside what `otactl package manifest` says was signed."""
    site = make_site(options=IDENTITY)
    site.product("lamp", ("default",), dialect="alibaba")
    site.package("lamp", "default", "2.0.0", content("lamp"))
    site.otactl("product", "key", "lamp", str(keys / "site.pub"))
    manifest = site.otactl("package", "manifest", "lamp", "default-2.0.0").stdout
    site.otactl("package", "sign", "lamp", "default-2.0.0", "--key", str(keys / "site.pem"))
    site.plan("spring", "lamp", [("default", "default-2.0.0")])
    device = LinkSdk(site)
    device.inform("1.0.0")
    data = device.push()["data"]
    assert list(data) == ["size", "digestsign", "sign", "version", "signMethod", "url", "md5"]
    (keys / "manifest").write_text(manifest)
    (keys / "signature").write_bytes(base64.b64decode(data["digestsign"], validate=True))
    verify = ["openssl", "dgst", "-sha256", "-verify", "site.pub", "-signature", "signature", "manifest"]
    subprocess.run(verify, cwd=keys, check=True)
    (keys / "manifest").write_text(manifest.replace("2.0.0", "2.0.1"))
    assert subprocess.run(verify, cwd=keys, check=False, capture_output=True).returncode != 0
    assert device.query()["data"] == {**data, "url": device.query()["data"]["url"]}


def test_a_signature_made_elsewhere_is_attached(site, keys):
    prepare(site)
    site.wait_package("pump", "main-2.0")
    site.otactl("product", "key", "pump", str(keys / "site.pub"))
    (keys / "manifest").write_text(site.otactl("package", "manifest", "pump", "main-2.0").stdout)
    for name in ("site", "thief"):
        subprocess.run(["openssl", "dgst", "-sha256", "-sign", f"{name}.pem", "-out", f"{name}.sig", "manifest"], cwd=keys, check=True)
    refused = site.otactl("package", "sign", "pump", "main-2.0", "--signature", str(keys / "thief.sig"), check=False)
    assert refused.returncode != 0 and "not that of" in refused.stderr
    site.otactl("package", "sign", "pump", "main-2.0", "--signature", str(keys / "site.sig"))
    site.want("spring", "active")
    device = Device(site, "d1")
    device.report()
    assert device.take("plan")


@pytest.mark.skipif(not os.path.exists(OTA_DEVICE), reason="the reference device is not built")
def test_the_reference_device_takes_what_its_key_has_signed_and_nothing_else(site, keys):
    """[N-23]"""
    prepare(site)
    site.wait_package("pump", "main-2.0")
    site.otactl("package", "sign", "pump", "main-2.0", "--key", str(keys / "site.pem"))
    site.want("spring", "active")

    def start(name, key):
        return subprocess.Popen(
            [OTA_DEVICE, "--product", "pump", "--device", name, "--state", str(keys / name), "--port", str(site.port),
             "--public-key", str(keys / f"{key}.pub"), "--exit-when", "main=2.0", "--scale", "0.05"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    good, bad = start("good", "site"), start("bad", "thief")
    try:
        text = good.communicate(timeout=120)[0]
        assert good.returncode == 0, text
        assert site.wait_task("bad", "failed")["reason"] == "verify_failed"
        assert bad.poll() is None, bad.communicate()[0]
    finally:
        for device in (good, bad):
            device.kill()
            device.communicate()
    assert site.versions("good") == {"main": "2.0"} != site.versions("bad")
