"""Plans and packages: which device gets which plan, what people may change when, what is refused and why."""

import os
import re
import time

import pytest

from broker import content, eventually, insert


def has_plan(d, plan="spring"):
    assert d.report()["code"] == 200
    return any(k == "plan" and b["plan"] == plan for k, b in d.waiting("plan"))


def test_all_devices_also_those_that_first_report_while_the_plan_is_active(site, device):
    """000-25 000-26"""
    site.product()
    site.package()
    early = device("early")
    early.report()
    site.plan()
    early.take("plan")
    assert has_plan(device("late"))


def test_the_whitelist_may_name_devices_never_seen(site, device):
    """000-26"""
    site.pump(white=["d1", "not-yet"])
    assert has_plan(device("d1"))
    assert not has_plan(device("d2"))
    assert has_plan(device("not-yet"))


def test_the_blacklist_wins(site, device):
    """000-26"""
    site.pump(white=["d1", "d2"], black=["d2"])
    assert has_plan(device("d1"))
    d2 = device("d2")
    assert not has_plan(d2)
    assert site.task("d2") is None or site.task("d2")["reason"] == "blacklisted"


def test_a_blacklist_alone(site, device):
    site.pump(black=["d2"])
    assert has_plan(device("d1")) and not has_plan(device("d2"))


def test_lists_of_an_active_plan_can_be_added_to(site, device):
    site.pump(white=["d1"])
    d1, d2, d3 = device("d1"), device("d2"), device("d3")
    assert has_plan(d1) and not has_plan(d2)
    d3.report()
    site.sql(insert("plan_device", plan="spring", list="white", device="d2"))
    assert d2.take("plan")["plan"] == "spring"
    site.sql(insert("plan_device", plan="spring", list="black", device="d3") + insert("plan_device", plan="spring", list="white", device="d3"))
    assert not has_plan(d3)


def test_blacklisting_withdraws_what_was_not_accepted(site, device):
    site.pump()
    d = device()
    assert has_plan(d)
    task = d.take("plan")["task"]
    site.sql(insert("plan_device", plan="spring", list="black", device="d1"))
    d.reboot()
    d.report(task=task)
    d.nothing("plan")


def test_nothing_else_of_an_active_plan_can_be_changed(site):
    site.pump(white=["d1"])
    site.package(version="3.0")
    for script in ("UPDATE plan SET scope='all' WHERE name='spring';", "UPDATE plan SET mode='manual' WHERE name='spring';",
                   "UPDATE plan SET battery=10 WHERE name='spring';", "UPDATE plan_component SET full='main-3.0' WHERE plan='spring';",
                   "DELETE FROM plan_component WHERE plan='spring';", "DELETE FROM plan_device WHERE plan='spring';",
                   "INSERT INTO plan_source VALUES ('spring','main','1.0');", "DELETE FROM package WHERE name='main-2.0';",
                   "UPDATE package SET version='9' WHERE name='main-2.0';", "DELETE FROM package_file WHERE package='main-2.0';",
                   "UPDATE plan SET name='winter' WHERE name='spring';", "UPDATE plan SET wanted='draft' WHERE name='spring';",
                   "INSERT OR REPLACE INTO plan(name, product, wanted) VALUES ('spring', 'pump', 'draft');"):
        result = site.sql(script, check=False)
        assert result.returncode != 0, script
        assert re.search(r"\.sql:\d+: ", result.stderr + result.stdout), result
        result = site.bare(script, check=False)
        assert result.stderr, f"a bare shell accepted: {script}"
    row = site.one("SELECT * FROM plan WHERE name='spring'")
    assert (row["scope"], row["mode"], row["wanted"]) == ("selected", "silent", "active")


def test_an_active_plan_cannot_be_deleted(site):
    site.pump()
    for result in (site.sql("DELETE FROM plan WHERE name='spring';", check=False), site.bare("DELETE FROM plan WHERE name='spring';", check=False)):
        assert "set wanted='canceled'" in result.stderr
    assert site.one("SELECT 1 FROM plan")


def test_the_end_of_an_active_plan_can_be_changed(site, device):
    site.pump()
    d1, d2 = device("d1"), device("d2")
    assert has_plan(d1)
    site.sql(f"UPDATE plan SET end_ms={int(time.time() * 1000) - 1000} WHERE name='spring';")
    site.wait_plan("spring", "ended")
    assert not has_plan(d2)


def test_a_plan_that_is_activated_after_its_end_has_no_tasks(site, device):
    site.pump(wanted="draft")
    d = device()
    d.report()
    site.sql(f"UPDATE plan SET end_ms={int(time.time() * 1000) - 1000} WHERE name='spring';")
    site.want("spring", "active", wait=False)
    site.wait_plan("spring", "ended")
    assert site.tasks("d1") == []
    assert not has_plan(d)


def test_a_draft_has_no_effect(site, device):
    """000-05"""
    site.pump(wanted="draft")
    d = device()
    assert not has_plan(d)
    assert site.tasks("d1") == []
    site.want("spring", "active")
    assert d.take("plan")


def test_a_paused_plan_offers_nothing_and_goes_on(site, device):
    site.pump()
    site.want("spring", "paused")
    d = device()
    assert not has_plan(d)
    site.want("spring", "active")
    assert d.take("plan")


def test_a_running_upgrade_goes_on_while_its_plan_is_paused(site, device):
    site.pump()
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    site.want("spring", "paused")
    assert d.install(download)["code"] == 200
    assert site.task("d1")["state"] == "succeeded"


def test_wanting_again_what_is_wanted_changes_nothing(site, device):
    site.pump()
    d = device()
    assert has_plan(d)
    before, journal = site.task("d1"), site.one("SELECT count(*) AS n FROM journal")["n"]
    out = site.sql("UPDATE plan SET wanted='active' WHERE name='spring';").stdout
    assert "nothing changed" in out.lower()
    assert site.one("SELECT count(*) AS n FROM journal")["n"] == journal
    d.report()
    assert site.task("d1") == before


def test_a_canceled_plan_stays_canceled(site):
    site.pump()
    site.want("spring", "canceled")
    assert site.sql("UPDATE plan SET wanted='active' WHERE name='spring';", check=False).returncode != 0


def test_source_versions_of_the_plan(site, device):
    """000-08"""
    site.pump(sources=[("main", "1.0"), ("main", "1.1")])
    assert has_plan(device("a", versions={"main": "1.0"}))
    assert has_plan(device("b", versions={"main": "1.1"}))
    c = device("c", versions={"main": "1.2"})
    assert not has_plan(c)
    task = site.task("c")
    assert task is None or (task["reason"] == "source_version" and "1.2" in task["detail"])
    c.reboot(main="1.1")
    assert has_plan(c)


def test_only_a_delta_and_none_for_the_installed_version(site, device):
    """000-23"""
    site.product()
    site.package(kind="delta", sets={"1.0": [b"delta"]})
    site.plan(components=[("main", None, "main-2.0")])
    assert has_plan(device("a"))
    assert not has_plan(device("b", versions={"main": "0.9"}))
    assert site.task("b") is None or site.task("b")["reason"] == "no_delta_for_source"


def test_two_plans_run_one_after_the_other_the_next_at_once(site, device):
    """000-29 000-30"""
    site.pump()
    site.package(version="3.0", content=content("main-3.0"))
    site.plan("summer", components=[("main", "main-3.0")])
    d = device()
    d.report()
    first = d.take("plan")
    assert first["plan"] == "spring"
    download = d.accept(first)
    d.nothing("plan")
    assert site.task("d1", "summer")["reason"] == "predecessor"
    d.install(download)
    second = d.take("plan")  # before the reply that ended the first [N-13]
    assert second["plan"] == "summer" and second["components"][0]["from"] == "2.0"
    d.install(d.accept(second))
    assert [t["state"] for t in site.tasks("d1")] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("end", ["refused", "failed", "canceled"])
def test_the_next_plan_comes_at_once_however_the_first_ends(site, device, end):
    """000-30"""
    site.pump()
    site.package(version="3.0")
    site.plan("summer", components=[("main", "main-3.0")])
    d = device()
    d.report()
    first = d.take("plan")
    if end == "refused":
        d.confirm(first["task"], False)
    elif end == "failed":
        d.accept(first)
        d.progress(first["task"], "failed", code=-1)
    else:
        site.want("spring", "canceled")
    assert d.take("plan")["plan"] == "summer"


def test_a_higher_priority_goes_first(site, device):
    site.pump()
    site.package(version="3.0")
    site.plan("urgent", components=[("main", "main-3.0")], priority=10)
    d = device()
    d.report()
    assert d.take("plan")["plan"] == "urgent"


def test_conditions_are_sent_but_not_judged_without_a_report_of_them(site, device):
    """000-09 000-28 [N-6] No optional member can keep a device from being upgraded."""
    site.pump(battery=30, signal=-95)
    d = device()
    d.report()
    assert d.take("plan")["conditions"] == {"battery": 30, "signal": -95}


# ---------------------------------------------------------------------------------------------- packages

@pytest.mark.parametrize("fault", ["missing", "empty"])
def test_a_plan_whose_package_is_not_ready_waits_and_says_so(site, device, fault):
    """000-03"""
    site.product()
    path = site.store / "pump-main-2.0-any-0.bin"
    site.package(content=[None if fault == "missing" else b""], wait=False)
    row, = site.wait_package("pump", "main-2.0", "refused")
    assert path.name in row["problem"] and ("not in the store" if fault == "missing" else "empty") in row["problem"]
    site.wait_log(rf"{re.escape(path.name)}")
    site.plan()
    d = device()
    assert not has_plan(d)
    task = site.task("d1")
    assert task["reason"] == "package_not_ready" and "main-2.0" in task["detail"]
    site.store_file(path.name, b"here it is")
    site.signal(1)  # SIGHUP reopens the store
    site.wait_package("pump", "main-2.0")
    assert d.take("plan")


def test_a_file_that_changed_since_is_refused_and_not_served(site, device):
    site.pump()
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    path = next(site.store.glob("pump-main-2.0*"))
    path.write_bytes(content("something else"))
    status, _, body = d.fetch(download["files"][0]["url"])
    assert status in (404, 410, 503) and body != content("something else")
    site.wait_package("pump", "main-2.0", "refused")
    ref = d.ask_blocks(download["task"], "main", 0, 128, 1, id="b")
    assert d.reply("b")["code"] in (404, 503)
    other = device("d2")
    assert not has_plan(other) and site.task("d2")["reason"] == "package_not_ready"


def test_the_same_bytes_written_again_are_served_after_another_look(site, device):
    site.pump()
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    path = next(site.store.glob("pump-main-2.0*"))
    data = path.read_bytes()
    os.unlink(path)
    path.write_bytes(data)
    eventually(lambda: d.fetch(download["files"][0]["url"])[0] == 200, what="served again")


def test_a_digest_that_was_expected_must_be_found(site):
    site.product()
    site.store_file("a.bin", b"x")
    site.sql(insert("package", product="pump", name="p", component="main", version="2") +
             insert("package_file", product="pump", package="p", path="a.bin", sha256="0" * 64))
    row, = site.wait_package("pump", "p", "refused")
    assert "sha" in row["problem"].lower() or "digest" in row["problem"].lower()


def test_a_package_file_never_leaves_the_store(site, tmp_path):
    site.product()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (site.store / "link").symlink_to(secret)
    for n, path in enumerate((str(secret), "../mosquitto.conf", "link", "a/../../mosquitto.conf", ".")):
        result = site.sql(insert("package", product="pump", name=f"p{n}", component="main", version="2") +
                          insert("package_file", product="pump", package=f"p{n}", path=path), check=False)
        if result.returncode == 0:
            site.wait_package("pump", f"p{n}", "refused")
    assert not site.query("SELECT * FROM package_state WHERE state='ready'")


def test_otactl_adds_a_package(site, device, tmp_path):
    """000-03: copied into the store, hashed, usable"""
    site.product()
    source = tmp_path / "fw.bin"
    source.write_bytes(content("fw"))
    site.otactl("package", "add", "pump", "main", "2.0", source, "--name", "fw", "--wait")
    source.unlink()
    assert "ready" in site.otactl("package", "list").stdout
    site.plan(components=[("main", "fw")])
    d = device()
    d.report()
    download = d.accept(d.take("plan"))
    assert d.fetch_file(download["files"][0]) == content("fw")


# ---------------------------------------------------------------------------------------------- import

def test_an_import_acts_within_a_second_without_restart(site, device):
    site.product()
    site.package()
    d = device()
    d.report()
    site.plan(wanted="draft")
    site.sql("UPDATE plan SET wanted='active' WHERE name='spring';")
    imported = time.monotonic()
    offer = d.client.take_topic(d.topic("down/plan"))
    assert offer.at - imported < 5, "more than the second and the noise of a busy machine"


def test_direct_sql_acts_as_well(site, device):
    site.product()
    site.package()
    d = device()
    d.report()
    site.plan(wanted="draft")
    site.bare("UPDATE plan SET wanted='active' WHERE name='spring';")
    assert d.take("plan")
    assert "direct SQL" in site.log() or site.one("SELECT 1 FROM journal WHERE import IS NULL AND key='spring'")


def test_who_activated_a_plan_is_known(site):
    site.pump()
    row = site.one("SELECT i.* FROM journal j JOIN import i ON i.id=j.import WHERE j.key='spring' ORDER BY j.id DESC LIMIT 1")
    assert row["who"] and row["host"] and row["file"].endswith(".sql") and len(row["sha256"]) == 64


def test_an_import_is_one_transaction(site):
    site.product()
    result = site.sql(insert("package", product="pump", name="good", component="main", version="2") +
                      insert("package", product="pump", name="bad", component="nosuch", version="2"), check=False)
    assert result.returncode != 0 and re.search(r"\.sql:2: ", result.stderr)
    assert not site.query("SELECT * FROM package")


@pytest.mark.parametrize("script", ["COMMIT;", "BEGIN;", "ATTACH 'x' AS x;", "PRAGMA journal_mode=DELETE;", "CREATE TABLE t(x);",
                                    "DROP TABLE plan;", "UPDATE task SET state='succeeded';", "DELETE FROM log;", ".shell true",
                                    "INSERT INTO device_state(product, name, registered_ms, seen_ms) VALUES ('pump','x',1,1);", "VACUUM;"])
def test_an_import_refuses_what_is_not_data(site, script):
    site.product()
    result = site.sql("UPDATE product SET remarks='x';\n" + script + "\n", check=False)
    assert result.returncode != 0 and ".sql:2" in result.stderr
    assert site.one("SELECT remarks FROM product")["remarks"] == ""


def test_state_tables_refuse_a_bare_shell(site, device):
    site.pump()
    d = device()
    d.report()
    for script in ("UPDATE task SET state='succeeded';", "DELETE FROM task;", "DELETE FROM device_state;", "DELETE FROM log;",
                   "INSERT INTO device_version VALUES (1,'x','1',0,0);", "UPDATE package_state SET sha256='';", "DELETE FROM plan_state;",
                   "UPDATE engine_state SET commit_no=0;"):
        assert site.bare(script, check=False).stderr, script
    assert site.task("d1")["state"] == "offered"


def test_csv(site, tmp_path):
    site.pump(white=["d1"])
    path = tmp_path / "plan_device.csv"
    path.write_text("plan,list,device\nspring,white,d7\nspring,black,d8\n")
    site.otactl("import", "--table", "plan_device", path)
    assert {r["device"] for r in site.query("SELECT device FROM plan_device")} == {"d1", "d7", "d8"}


def test_views_and_commands_show_what_happens(site, device):
    """000-32 000-33"""
    site.pump()
    device("d1").upgrade()
    device("d2").report()
    for command in (["plan", "list"], ["plan", "show", "spring"], ["device", "list"], ["status"], ["package", "list"]):
        text = site.otactl(*command).stdout
        assert text.strip(), command
        site.otactl_json(*command)
    assert "spring" in site.otactl("plan", "list").stdout and "d2" in site.otactl("device", "list").stdout
    assert "offered" in site.otactl("device", "show", "pump/d2").stdout
