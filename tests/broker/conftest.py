"""Fixtures. `site`: a running site with default options. `make_site(...)`: sites of any other kind.
`device(name, ...)`: devices of `site`. When a test fails, the end of each broker's log is printed."""

import pytest

import broker
import device as model


@pytest.fixture
def make_site(tmp_path, request):
    sites = []

    def make(directory=None, **arguments):
        path = directory or tmp_path / f"site{len(sites)}"
        path.mkdir(exist_ok=True)
        site = broker.Site(path, start=False, **{k: v for k, v in arguments.items() if k not in ("start", "wait")})
        sites.append(site)
        if arguments.get("start", True):
            site.start(arguments.get("wait", True))
        return site

    yield make
    failed = getattr(request.node, "failed", False)
    if failed:
        print(f"OTA_SEED={broker.SEED} repeats what was random")
    crashed = [s for s in sites if s.process and s.process.poll() not in (None, 0, -9, -15)]
    for site in sites:
        site.close()
        if failed:
            print(f"--- {site.log_path}\n{site.log()[-6000:]}")
    assert failed or not [s for s in crashed if not getattr(s, "may_end", False)], \
        f"a broker ended with {[s.process.returncode for s in crashed]}:\n{crashed[0].log()[-4000:]}"


@pytest.fixture
def site(make_site):
    return make_site()


@pytest.fixture
def device(site):
    return lambda name="d1", product="pump", **arguments: model.Device(site, name, product, **arguments)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.failed = report.failed


long_only = pytest.mark.skipif(not broker.LONG, reason="takes long: scripts/test.sh --all")
