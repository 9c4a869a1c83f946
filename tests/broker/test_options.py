"""Mistakes of the configuration stop the broker at start with one clear line; nothing else does."""

import os
import pathlib
import pwd
import re
import socket
import stat
import tempfile

import pytest

import broker
from broker import eventually
from device import Device


def refused(make_site, options=None, **arguments):
    """Starts a site that must not start; gives the plugin's line."""
    site = make_site(options=options, start=False, **arguments)
    site.may_end = True
    site.spawn()
    assert site.process.wait(broker.TIMEOUT) != 0, site.log()
    lines = [line for line in site.log().splitlines() if re.search(r"\bota: ", line)]
    errors = [line for line in lines if not re.search("(?i)notice", line)]
    assert len(errors) == 1, site.log()
    return errors[0]


@pytest.mark.parametrize("options, words", [
    ({"nosuch": "1"}, ["nosuch"]),
    ({"databse": "/tmp/x"}, ["databse"]),
    ({"database": "relative.db"}, ["database", "relative.db"]),
    ({"database": "/nonexistent/ota.db"}, ["database", "/nonexistent"]),
    ({"packages": "relative"}, ["packages"]),
    ({"guard": "maybe"}, ["guard", "maybe"]),
    ({"acl_other": "deny"}, ["acl_other", "deny"]),
    ({"download_base": "ftp://x"}, ["download_base", "ftp://x"]),
    ({"download_base": "http://x/?a=b"}, ["download_base"]),
    ({"download_listen": "127.0.0.1:8080", "download_base": None}, ["download_base"]),
    ({"download_lifetime": "59"}, ["download_lifetime", "59"]),
    ({"download_listen": "nowhere"}, ["download_listen", "nowhere"]),
    ({"download_listen": "127.0.0.1:99999"}, ["download_listen"]),
    ({"download_connections": "-1"}, ["download_connections"]),
    ({"download_connections": "many"}, ["download_connections", "many"]),
    ({"download_bytes_per_second": "1e9"}, ["download_bytes_per_second"]),
    ({"identity": "username {nothing}"}, ["identity"]),
    ({"identity": "nickname {product}/{device}"}, ["identity", "nickname"]),
    ({"database": ["/tmp/a.db", "/tmp/b.db"]}, ["database"]),
    ({"on_database_fault": "cry"}, ["on_database_fault", "cry"]),
    ({"durability": "some"}, ["durability"]),
    ({"wake": "coffee"}, ["wake"]),
])
def test_a_bad_option_stops_the_broker_with_one_line(make_site, options, words):
    line = refused(make_site, options)
    for word in words:
        assert word in line


def test_an_unreadable_key_stops_the_broker(make_site, tmp_path):
    key = tmp_path / "key"
    key.mkdir()
    line = refused(make_site, {"token_key": str(key)})
    assert str(key) in line


@pytest.mark.parametrize("content, mode", [(b"", 0o600), (b"short", 0o600), (b"x" * 32, 0o644)])
def test_a_key_that_is_no_key_stops_the_broker(make_site, tmp_path, content, mode):
    key = tmp_path / "key"
    key.write_bytes(content)
    key.chmod(mode)
    assert str(key) in refused(make_site, {"token_key": str(key)})


def test_a_port_that_is_taken_stops_the_broker(make_site):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        assert str(port) in refused(make_site, {"download_listen": f"127.0.0.1:{port}"})


def test_two_databases_of_one_broker_are_refused_or_named(make_site):
    """A second `plugin` line for the same file."""
    site = make_site(start=False)
    site.after = [line for line in site.configuration().splitlines() if line.startswith("plugin")]
    site.may_end = True
    site.spawn()
    try:
        site.wait_mqtt(5)
    except AssertionError:
        pass
    assert re.search(r"\bota: ", site.log())


def test_a_database_behind_a_symbolic_link_stops_the_broker(make_site):
    site = make_site()
    link = site.directory / "link.db"
    link.symlink_to(site.database)
    assert "is a symbolic link; give the path of the file itself" in refused(make_site, {"database": str(link)})


def test_the_keys_are_made_once_and_readable_by_nobody_else(make_site):
    site = make_site()
    keys = {p.name: p for p in site.directory.rglob("*") if p.is_file() and p.stat().st_size == 32}
    assert set(keys) == {"token.key", "secret.key"}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in keys.values())
    before = {name: p.read_bytes() for name, p in keys.items()}
    site.restart()
    assert {name: p.read_bytes() for name, p in keys.items()} == before


def test_the_plugin_creates_the_database_for_its_group(make_site):
    site = make_site()
    assert stat.S_IMODE(site.database.stat().st_mode) == 0o640


def test_every_option_is_documented(make_site):
    """mosquitto.conf.example is the manual: each option, commented out at its default, is known to the plugin."""
    example = broker.ROOT / "mosquitto.conf.example"
    names = set(re.findall(r"^#?\s*plugin_opt_(\w+)", example.read_text(), re.M))
    assert {"database", "packages", "download_base", "download_listen", "identity", "administrators", "bridges", "guard",
            "acl_other", "on_database_fault", "durability", "wake", "token_key", "download_connections",
            "download_bytes_per_second", "download_lifetime"} <= names


def test_wake_by_tick_works_too(make_site):
    site = make_site(options={"wake": "tick"})
    site.pump()
    Device(site).upgrade()


def test_durability_normal_works_too(make_site):
    site = make_site(options={"durability": "normal"})
    site.pump()
    Device(site).upgrade()


@pytest.fixture
def open_directory():
    """A directory that other users reach: pytest's own are closed to them, and closed again by every pytest that starts."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_as_the_user_of_debians_service(open_directory, make_site):
    try:
        user = pwd.getpwnam("mosquitto")
    except KeyError:
        pytest.skip("there is no user mosquitto")
    site = make_site(open_directory / "site", start=False, first=True)
    for path in (site.directory, site.store):
        os.chown(path, user.pw_uid, user.pw_gid)
    configuration = site.configuration
    site.configuration = lambda: configuration().replace("user root\n", "user mosquitto\n")
    site.start()
    status = site.database.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (user.pw_uid, user.pw_gid, 0o640)
    site.pump()
    Device(site).upgrade()
    site.restart()
    Device(site, "d2").upgrade()


def test_without_ticks_nothing_is_answered_and_the_log_says_why(make_site):
    """2.0.11 calls no TICK with per_listener_settings true."""
    site = make_site(start=False)
    configuration = site.configuration

    def per_listener():
        lines = configuration().splitlines()
        lines = [line for line in lines if not line.startswith(("persistence", "log_", "set_tcp"))]
        return "log_dest stderr\nlog_type all\nper_listener_settings true\n" + "\n".join(lines) + "\n"
    site.configuration = per_listener
    site.spawn()
    site.wait_mqtt()
    client = site.client("pump:d1", "pump/d1")
    client.subscribe("ota/v1/pump/d1/down/#")
    client.publish("ota/v1/pump/d1/up/version", '{"id":"1","components":{"main":"1"}}', wait=False)
    if broker.broker_version() < (2, 0, 15):
        # Without ticks the plugin runs only when a client does something.
        eventually(lambda: client.publish("plant/x", "1") == 0 and re.search("ota: .*per_listener_settings", site.log()))
        assert not client.messages
        client.subscribe("plant/x")
        client.publish("plant/x", "alive")
        client.take_topic("plant/x")
    else:
        client.take_topic("ota/v1/pump/d1/down/reply")
