# Every script under examples/ is imported as it is, into a database of its own.
import glob
import os

import pytest

from test_otactl import ROOT, Site, site  # noqa: F401: a fixture

PLANS = ROOT + "/examples/plans/"
# script -> what is imported before it, and what it must have left behind
SCRIPTS = {
    "static_batch": ("", "SELECT scope_kind, rate, max_open FROM plan", [("static", 100, 500)]),
    "dynamic": ("", "SELECT seq, component FROM plan_component ORDER BY seq", [(1, "radio"), (2, "main")]),
    "phased": ("", "SELECT percent FROM plan", [(10,)]),
    "phased_more": ("phased", "SELECT percent FROM plan", [(50,)]),
    "windowed": ("", "SELECT window_from, window_to, unknown FROM plan", [("22:00", "04:00", "wait")]),
    "manual_texts": ("", "SELECT lang FROM plan_text ORDER BY 1", [("en",), ("zh",)]),
    "on_request": ("", 'SELECT "trigger" FROM plans', [("request",)]),
    "delta": ("", "SELECT target, delta FROM plan_components", [("2.0", "main-2.0-delta")]),
    "verify": ("", "SELECT state, devices FROM package_verifications", [("running", 1)]),
    "whitelist": ("", "SELECT scope, override FROM plan", [("selected", 1)]),
    "tagged": ("", "SELECT count(*) FROM plan_match", [(3,)]),
    "telemetry": ("", "SELECT value FROM telemetry ORDER BY 1", [("battery",), ("signal",)]),
    "holds": ("", "SELECT scope FROM holds ORDER BY 1", [("device",), ("product",)]),
    "stop": ("", "SELECT value FROM setting", [("2.0 drains the battery",)]),
    "go": ("stop", "SELECT * FROM setting", []),
    "requests": ("dynamic", "SELECT count(*) FROM request WHERE state = 'new'", [(7,)]),
}


def script(name):
    return PLANS + name + ".sql"


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_an_example_does_what_it_says(site, name):  # noqa: F811
    before, question, expected = SCRIPTS[name]
    site.run("import", *[script(n) for n in ("product", before) if n])
    site.run("import", script(name))
    assert site.ask(question) == expected
    drafts = [("whitelist",)] if name == "whitelist" else []
    assert site.ask("SELECT name FROM plan WHERE wanted <> 'active'") == drafts


def test_there_is_a_test_for_every_example():
    there = {os.path.basename(path)[:-4] for path in glob.glob(PLANS + "*.sql")}
    assert there == set(SCRIPTS) | {"product", "verify_batch"}
    with open(PLANS + "README.md", encoding="utf-8") as file:
        text = file.read()
    assert [name for name in there if "`%s.sql`" % name not in text and name != "product"] == []


def test_a_batch_follows_its_verification(site):  # noqa: F811
    """002-13 003-15 004-30 004-35"""
    site.run("import", script("product"), script("verify"))
    assert "is not verified" in site.run("import", script("verify_batch"), code=3)
    site.as_engine(
        "INSERT INTO device_state(id, product, name, registered_ms, seen_ms) VALUES (1, 'meter', 'm-1', 1, 1);"
        "INSERT INTO task(id, name, plan, device_id, state, created_ms, ended_ms) VALUES (1, 't', 'try', 1, 'succeeded', 1, 2);"
        "INSERT INTO task_component(task_id, seq, name, state, target) VALUES (1, 0, 'main', 'proved', '2.0')")
    assert site.ask("SELECT verified FROM packages WHERE package = 'main-2.0'") == [(1,)]
    site.run("import", script("verify_batch"))


def test_a_whitelist_comes_from_a_csv_file(site):  # noqa: F811
    """004-44 004-45 002-20"""
    site.run("import", script("product"), script("whitelist"))
    site.run("import", "--table", "plan_device", "--set", "plan=whitelist", PLANS + "whitelist.csv")
    assert site.ask("SELECT device, rank, position FROM plan_device ORDER BY position") == [
        ("m-3", 1, 1), ("m-1", 2, 2), ("m-900", None, 3)]
    site.run("plan", "activate", "whitelist")


def test_the_quick_start_is_imported_too(site):  # noqa: F811
    product, *plans = sorted(glob.glob(ROOT + "/examples/quickstart/*.sql"))
    site.run("import", product)
    site.load("INSERT INTO package(product, name, component, version) VALUES ('pump', 'main-1.1.0', 'main', '1.1.0'),"
              " ('pump', 'main-1.2.0', 'main', '1.2.0');"
              "INSERT INTO package_file(product, package, path) SELECT product, name, name FROM package;")
    site.run("import", *plans)
    assert site.ask("SELECT name FROM plan WHERE wanted = 'active' ORDER BY 1") == [("spring",), ("summer",)]
