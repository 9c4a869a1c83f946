"""Dialects beside one another on one broker: three products at the same time, and two dialects in one plan."""

import threading

from broker import content
from clouds import IDENTITY, Enos, EnosJava, LinkSdk, Mota
from device import Device


def test_devices_of_three_products_upgrade_at_the_same_time(make_site):
    site = make_site(options=IDENTITY)
    for product, dialect, component in (("pump", "native", "main"), ("lamp", "alibaba", "default"), ("pkA", "enos", "default")):
        site.product(product, (component,), dialect=dialect)
        site.package(product, component, "2.0", content(product))
        site.plan(f"spring-{product}", product, [(component, f"{component}-2.0")])
    failures = []

    def native(name):
        Device(site, name).upgrade()

    def alibaba(name):
        d = LinkSdk(site, name)
        d.inform("1.0")
        assert d.upgrade(d.push()["data"]) == content("lamp")

    def enos(name, kind=Enos):
        d = kind(site, name, "pkA")
        d.inform("1.0")
        params = d.push()["params"]
        d.progress(0)
        assert d.fetch(params) == content("pkA")
        d.progress(100)
        d.client.kill()
        d.connect()
        d.inform(params["version"])

    def run(behave, name):
        try:
            behave(name)
        except BaseException as error:  # told by the main thread
            failures.append((name, repr(error)))

    scenes = [(native, "pump"), (alibaba, "lamp"), (enos, "pkA"), (lambda name: enos(name, EnosJava), "pkA")]
    threads, devices = [], []
    for n in range(5):
        for kind, (behave, product) in enumerate(scenes):
            devices.append((f"d{n}-{kind}", product))
            threads.append(threading.Thread(target=run, args=(behave, f"d{n}-{kind}")))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    for name, product in devices:
        site.wait_task(name, "succeeded", plan=f"spring-{product}", product=product)


def test_two_dialects_in_one_plan(make_site):
    """What a device speaks is what it is told in, whatever its product says."""
    site = make_site(options=IDENTITY)
    site.product("lamp", ("default",), dialect="alibaba")
    site.package("lamp", "default", "2.0", content("lamp"))
    site.plan("spring", "lamp", [("default", "default-2.0")])
    a, e, n = LinkSdk(site, "a"), Enos(site, "e"), Device(site, "n", "lamp", {"default": "1.0"})
    a.inform("1.0")
    e.inform("1.0")
    assert e.push()["params"]["version"] == "2.0"
    assert n.report()["code"] == 200
    n.accept(n.take("plan"))  # it confirms
    assert a.push()["data"]["version"] == "2.0"
    a.inform("2.0")
    e.inform("2.0")
    n.reboot(default="2.0")
    n.report()
    for name in "aen":
        site.wait_task(name, "succeeded", product="lamp")


def test_other_traffic_keeps_its_latency_while_files_go_over_mqtt(make_site):
    site = make_site(options={**IDENTITY, "block_bytes_per_second": "400000", "block_bytes_per_device": "300000"})
    site.product("lamp", ("default",), dialect="alibaba", http=0)
    site.package("lamp", "default", "2.0", content("lamp", 250_000))
    site.plan("spring", "lamp", [("default", "default-2.0")])
    done = []

    def fetch(name):
        d = Mota(site, name)
        d.inform("1.0")
        done.append(d.download(d.push()["data"]) == content("lamp", 250_000))

    threads = [threading.Thread(target=fetch, args=(f"d{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    device = Enos(site, "other", "lamp")
    took = []
    import time
    while any(thread.is_alive() for thread in threads):
        begin = time.monotonic()
        assert device.inform("2.0")["code"] == 200
        took.append(time.monotonic() - begin)
    for thread in threads:
        thread.join()
    assert done == [True] * 4
    took.sort()
    assert took[len(took) // 2] < 0.5, took
