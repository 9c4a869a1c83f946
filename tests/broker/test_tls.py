"""Devices that come over TLS and are known by their certificates, with Mosquitto's own client programs."""

import json
import subprocess

import pytest

import mqtt
from broker import Site, eventually, free_port
from clouds import SECRET, signed


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def certificate(directory, name, subject):
    openssl(directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
            "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (directory / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", f"{name}.crt")


@pytest.fixture
def tls(tmp_path):
    """A site with a second listener that asks for certificates; `identity` is by common name."""
    yield from sites(tmp_path)


def sites(tmp_path, lines=(), **options):
    openssl(tmp_path, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.crt")
    certificate(tmp_path, "server", "/CN=server")
    certificate(tmp_path, "d1", "/CN=d1.pumps.example")
    certificate(tmp_path, "stranger", "/CN=somebody")
    port = free_port()
    site = Site(tmp_path, {"identity": ["cn {device}.pumps.example product=pump", "username {device}&{product}"], **options},
                lines=[f"listener {port} 127.0.0.1", "cafile {directory}/ca.crt", "certfile {directory}/server.crt",
                       "keyfile {directory}/server.key", "require_certificate true", *lines])
    site.tls_port = port
    yield site
    site.close()


def ask(site, certificate, device, name="mosquitto_rr", timeout="10"):
    """A version report of `device` over TLS; gives the reply, or None when none comes."""
    topic = f"ota/v1/pump/{device}"
    done = subprocess.run(
        [name, "-h", "127.0.0.1", "-p", str(site.tls_port), "--cafile", "ca.crt", "--cert", f"{certificate}.crt",
         "--key", f"{certificate}.key", "-V", "mqttv311", "-W", timeout, "-q", "1", "-i", f"client-{certificate}",
         "-t", f"{topic}/up/version", "-e", f"{topic}/down/reply",
         "-m", '{"id":"7","components":{"main":"1.0"}}'],
        cwd=site.directory, capture_output=True, text=True, timeout=40, check=False)
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_a_certificate_says_which_device_it_is(tls):
    tls.pump()
    assert ask(tls, "d1", "d1")["code"] == 200
    assert tls.versions("d1") == {"main": "1.0"}


def test_a_certificate_of_another_device_gets_nothing(tls):
    tls.pump()
    assert ask(tls, "d1", "d2", timeout="2") is None
    assert ask(tls, "stranger", "d1", timeout="2") is None
    assert tls.device_row("d1") is None and tls.device_row("d2") is None


def test_without_a_certificate_nobody_comes_in(tls):
    done = subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(tls.tls_port), "--cafile", "ca.crt", "-t", "x", "-n"],
                          cwd=tls.directory, capture_output=True, check=False, timeout=30)
    assert done.returncode != 0
    # On the open listener there is no certificate, so nobody is a device there, whatever it calls itself.
    other = tls.client("d1", "pump/d1")
    other.publish("ota/v1/pump/d1/up/version", '{"id":"1","components":{"main":"1.0"}}')
    other.ping()
    assert tls.device_row("d1") is None
    assert eventually(lambda: tls.alive())


@pytest.mark.parametrize("lines", [[], ["use_identity_as_username true"]])
def test_certificates_beside_logins_by_secret(tmp_path, lines):
    """With use_identity_as_username Mosquitto asks nobody, the certificate is the proof; without it, a client that gives no
    user name is left to allow_anonymous. A device's own secret proves it on the other listener, and nothing else does."""
    for site in sites(tmp_path, lines, login="defer"):
        site.product("lamp", ("default",), dialect="alibaba")
        site.pump()
        site.otactl("device", "add", "lamp", "d1", "--secret-file", "-", stdin=SECRET)
        site.restart()
        assert ask(site, "d1", "d1")["code"] == 200
        assert ask(site, "stranger", "d1", timeout="2") is None
        client_id = "lamp.d1|timestamp=2524608000000,securemode=3,signmethod=hmacsha256|"

        def enters(password):
            try:
                return site.client(client_id, "d1&lamp", password=password)
            except (mqtt.Refused, mqtt.Closed):
                return None
        eventually(lambda: enters(signed("d1")))
        assert not enters("0" * 64)
        assert not site.one("SELECT 1 FROM device_state WHERE name='stranger'")
