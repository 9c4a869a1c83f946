# Devices and their secrets, as an administrator gives them to otactl. No secret may be found
# anywhere afterwards but encrypted.
import glob
import os
import stat
import subprocess

import pytest

from test_otactl import OTACTL, PRODUCT, Site

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    key = tmp_path / "secret.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    site.db.executescript(PRODUCT)
    return site


def sealed(site, device="d1"):
    row = site.db.execute("SELECT sealed FROM device_secret WHERE product='demo' AND device=?", (device,)).fetchone()
    return row and row[0]


def add(site, *words, secret=SECRET, code=0):
    return site.run("device", "add", *words, "--secret-file", "-", input=secret + "\n", code=code)


def nothing_leaks(site, *secrets):
    site.db.execute("PRAGMA wal_checkpoint(FULL)")
    dump = "\n".join(site.db.iterdump())
    for secret in secrets:
        assert secret not in dump
        for path in glob.glob(site.path + "*"):
            with open(path, "rb") as file:
                assert secret.encode() not in file.read(), path
    for (view,) in site.db.execute("SELECT name FROM sqlite_schema WHERE type IN ('view', 'table')").fetchall():
        for row in site.db.execute(f'SELECT * FROM "{view}"'):
            for value in row:
                assert not any(s in str(value) or (isinstance(value, bytes) and s.encode() in value) for s in secrets), view


def test_a_device_with_its_secret(site):
    out = add(site, "demo", "d1")
    assert "device 'demo/d1' added" in out and SECRET not in out
    assert len(sealed(site)) == 12 + 32 + 16
    assert site.db.execute("SELECT has_secret, disabled FROM device_logins").fetchall() == [(1, 0)]
    journal = site.db.execute("SELECT \"table\", act, key, detail FROM journal WHERE \"table\" LIKE 'device%'").fetchall()
    assert journal == [("device", "insert", "d1", ""), ("device_secret", "insert", "d1", "")]
    assert site.db.execute("SELECT file, sha256 FROM import ORDER BY id DESC").fetchone() == ("otactl device add demo d1", "")
    nothing_leaks(site, SECRET)


def test_the_same_secret_again_changes_nothing_and_another_one_does(site):
    add(site, "demo", "d1")
    before = sealed(site)
    assert "is there already" in add(site, "demo", "d1")
    assert sealed(site) == before
    assert "has a new secret" in site.run("device", "secret", "demo", "d1", "--secret-file", "-", input=OTHER)
    assert sealed(site) != before
    assert "has no secret any more" in site.run("device", "secret", "demo", "d1", "--remove")
    assert sealed(site) is None
    nothing_leaks(site, SECRET, OTHER)


def test_from_a_file(site):
    path = site.file("one.secret", SECRET + "\r\nmore\n")
    site.run("device", "add", "demo", "d1", "--secret-file", path, "--disabled", "--gateway", "demo/g1")
    assert len(sealed(site)) == 12 + 32 + 16
    assert site.db.execute("SELECT disabled, gateway FROM device").fetchone() == (1, "demo/g1")
    # What is not said again stays.
    site.run("device", "add", "demo", "d1")
    assert site.db.execute("SELECT disabled, gateway FROM device").fetchone() == (1, "demo/g1")
    out = site.run("device", "add", "demo", "d2", "--secret-file", site.path + ".none", code=3)
    assert "cannot be read: No such file" in out
    assert not site.db.execute("SELECT 1 FROM device WHERE name = 'd2'").fetchone()


@pytest.mark.parametrize("secret", ["", "short", "x" * 129, "with blank in it", "not ascii \u00e4\u00e4\u00e4", "tab\ttab\ttab"])
def test_what_is_no_secret(site, secret):
    out = add(site, "demo", "d1", secret=secret, code=3)
    assert "8 to 128 printable ASCII" in out
    assert not secret or secret not in out
    assert not site.db.execute("SELECT 1 FROM device").fetchone()


def test_unknown_products_and_devices(site):
    assert "no such product" in add(site, "nope", "d1", code=3)
    assert "no such device" in site.run("device", "secret", "demo", "d9", "--secret-file", "-", input=SECRET, code=3)
    assert "must be PRODUCT/DEVICE" in site.run("device", "add", "demo", "d1", "--gateway", "demo/d1", code=3)


@pytest.mark.parametrize("words", [
    ["device", "add"], ["device", "add", "demo"], ["device", "add", "demo", "d1", "--csv", "x"], ["device", "secret", "demo", "d1"],
    ["device", "secret", "demo", "d1", "--remove", "--secret-file", "-"], ["device", "add", "demo", "d1", "--gateway", "g"],
    ["device", "add", "--product", "demo"]])
def test_wrong_usage(site, words):
    site.run(*words, code=2)


def test_csv_of_many_devices(site):
    rows = "name,secret,disabled\n" + "".join(f"d{i},{i:032d},{i % 2}\n" for i in range(2_000))
    out = site.run("device", "add", "--csv", site.file("devices.csv", rows), "--product", "demo")
    assert "device_secret" in out and "2000" in out
    assert site.db.execute("SELECT count(*), sum(disabled) FROM device").fetchone() == (2_000, 1_000)
    assert site.db.execute("SELECT count(*) FROM device_secret").fetchone() == (2_000,)
    assert "nothing changed" in site.run("device", "add", "--csv", site.file("devices.csv", rows), "--product", "demo")
    nothing_leaks(site, f"{1711:032d}")


@pytest.mark.parametrize("line, reason", [
    ("demo,d2,short,0", "devices.csv:3: device 'demo/d2': the secret must be 8 to 128"),
    (f"demo,d2,{OTHER},x", "devices.csv:3: column 'disabled': 'x' is not an integer"),
    (f"nope,d2,{OTHER},0", "devices.csv:3: device.product: there is no such product"),
    (f"demo,d/2,{OTHER},0", "devices.csv:3: CHECK constraint"),
    (f"demo,d2,{OTHER}", "devices.csv:3: has 3 fields"),
    (f'demo,d2,"{OTHER}', "devices.csv:3: a quoted field has no end"),
])
def test_csv_is_all_or_nothing_and_errors_name_the_line(site, line, reason):
    path = site.file("devices.csv", f"product,name,secret,disabled\ndemo,d1,{SECRET},0\n{line}\n")
    out = site.run("device", "add", "--csv", path, code=3)
    assert reason in out
    assert SECRET not in out and OTHER not in out
    assert not site.db.execute("SELECT 1 FROM device").fetchone()
    nothing_leaks(site, SECRET, OTHER)


def test_csv_without_a_first_line_of_names_shows_nothing_of_it(site):
    out = site.run("device", "add", "--csv", site.file("devices.csv", f"demo,d1,{SECRET}\n"), code=3)
    assert "the first line must name the columns" in out and SECRET not in out


def test_csv_keeps_a_secret_that_it_leaves_empty(site):
    add(site, "demo", "d1")
    before = sealed(site)
    site.run("device", "add", "--csv", site.file("devices.csv", "product,name,secret,disabled\ndemo,d1,,1\n"))
    assert sealed(site) == before
    site.run("device", "add", "--csv", site.file("devices.csv", "product,name\ndemo,d2\n"))
    assert site.db.execute("SELECT count(*) FROM device").fetchone() == (2,)


@pytest.mark.parametrize("script", [
    f"INSERT INTO device_secret VALUES ('demo', 'd1', '{SECRET}');",
    f"INSERT INTO device_secret VALUES ('demo', 'd1', x'{SECRET * 3}');",
    f"REPLACE INTO device_secret VALUES ('demo', 'd1', '{SECRET}');",
    "UPDATE device_secret SET sealed = zeroblob(60);"])
def test_scripts_do_not_write_secrets(site, script):
    add(site, "demo", "d1", secret=OTHER)
    before = sealed(site)
    out = site.run("import", site.file("s.sql", script), code=3)
    assert "otactl device add" in out
    assert sealed(site) == before
    nothing_leaks(site, SECRET)


def test_imported_csv_does_not_write_secrets(site):
    out = site.run("import", site.file("device.csv", f"product,name,secret\ndemo,d1,{SECRET}\n"), code=3)
    assert "otactl device add --csv" in out and SECRET not in out
    out = site.run("import", site.file("device_secret.csv", f"product,device,sealed\ndemo,d1,{SECRET}\n"), code=3)
    assert "otactl device add --csv" in out and SECRET not in out


def test_scripts_may_delete_a_device_with_its_secret(site):
    add(site, "demo", "d1")
    assert "delete that first" in site.run("import", site.file("a.sql", "DELETE FROM device;"), code=3)
    site.run("import", site.file("b.sql", "DELETE FROM device_secret; DELETE FROM device;"))
    assert sealed(site) is None


def test_the_database_takes_no_secret_in_clear(site):
    site.db.execute("INSERT INTO device(product, name) VALUES ('demo', 'd1')")
    for value in (SECRET, SECRET.encode(), SECRET * 2):
        with pytest.raises(Exception, match="BLOB|CHECK"):
            site.db.execute("INSERT INTO device_secret VALUES ('demo', 'd1', ?)", (value,))


def test_without_the_key_or_with_another_one(site):
    key = site.directory / "secret.key"
    add(site, "demo", "d1")
    right = key.read_bytes()
    key.write_bytes(bytes(32))
    assert "is not the key" in add(site, "demo", "d2", code=3)
    key.write_bytes(right[:31])
    assert "32 bytes" in add(site, "demo", "d2", code=3)
    key.write_bytes(right)
    key.chmod(0o640)
    assert "0600" in add(site, "demo", "d2", code=3)
    key.unlink()
    assert "does not exist; the plugin makes it" in add(site, "demo", "d2", code=4)
    assert not key.exists()
    assert not site.db.execute("SELECT 1 FROM device WHERE name = 'd2'").fetchone()
    # Neither the device itself nor taking a secret away needs the key.
    site.run("device", "add", "demo", "d3")
    site.run("device", "secret", "demo", "d1", "--remove")


def test_rows_cannot_be_swapped(site):
    """A row that was copied to another device does not open: the same secret is no match for it."""
    add(site, "demo", "d1")
    add(site, "demo", "d2", secret=OTHER)
    site.db.execute("UPDATE device_secret SET sealed = (SELECT sealed FROM device_secret WHERE device='d1') WHERE device='d2'")
    copied = sealed(site, "d2")
    add(site, "demo", "d2", secret=SECRET)
    assert sealed(site, "d2") != copied


def test_no_secret_on_the_command_line(site):
    """No option takes it, so `ps` cannot show it."""
    for command in (["device", "add"], ["device", "secret"]):
        help_text = subprocess.run([OTACTL, *command, "--help"], capture_output=True, text=True).stdout
        assert "--secret-file" in help_text and "--secret " not in help_text


def test_a_backup_carries_the_key_and_no_clear_text(site):
    add(site, "demo", "d1")
    path = str(site.directory / "b.tar")
    assert "secret.key" in site.run("backup", path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path, "rb") as file:
        assert SECRET.encode() not in file.read()
