"""The `http_api` listener of Mosquitto 2.1, which asks plugins for login and access from a thread of its own, with the
client id `http-api` and the path as topic: the plugin leaves every such question to the others, and takes nothing from it."""

import base64
import http.client
import threading

import pytest

from broker import Site, broker_version, free_port
from test_login import SECRET, make, native, enters

pytestmark = pytest.mark.skipif(broker_version() < (2, 1, 0), reason="Mosquitto 2.0 has no http_api listener")

PATH = "/api/v1/version"


def lines(port):
    return [f"listener {port} 127.0.0.1", "protocol http_api"]


def get(port, path=PATH, user=None, password=""):
    """The status of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {token}"} if user else {})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_access_over_http_is_left_to_the_acl_file(tmp_path):
    port = free_port()
    site = Site(tmp_path, {"acl_other": "defer"}, files={"acl": f"topic read {PATH}\n"}, lines=["acl_file {directory}/acl", *lines(port)])
    try:
        assert get(port) == 200
        assert get(port, "/api/v1/systree") == 401
    finally:
        site.close()


def test_no_question_over_http_is_answered_by_allow(tmp_path):
    port = free_port()
    without = Site(tmp_path, plugin=False, lines=lines(port))
    assert get(port) == 200
    without.close()
    site = Site(tmp_path, {"acl_other": "allow"}, lines=lines(port))
    try:
        assert get(port) == 401
        # Over MQTT it is allowed, to a client of the same name too.
        client = site.client("http-api")
        assert client.subscribe(PATH.lstrip("/")) == [1]
    finally:
        site.close()


def test_logins_over_http_are_neither_checked_nor_counted(tmp_path):
    port = free_port()
    site = make(tmp_path, login="allow", options={"acl_other": "defer"}, files={"acl": f"topic read {PATH}\n"},
                lines=["acl_file {directory}/acl", *lines(port)])
    try:
        mark = len(site.log())
        # More than a device's wrong logins may be; with the right secret it is no login either.
        for secret in ["wrong"] * 30 + [SECRET]:
            assert get(port, user="pump/p1", password=secret) == 401
        assert "refused" not in site.log()[mark:]
        assert enters(site, native("p1")) is True
        assert enters(site, native("p1", secret="wrong")) is False
        assert "device 'pump/p1' refused: the password is wrong" in site.log()[mark:]
    finally:
        site.close()


def test_requests_over_http_beside_devices_harm_nobody(tmp_path):
    """Under a sanitizer this would show what the two threads share."""
    port = free_port()
    site = make(tmp_path, login="defer", options={"acl_other": "defer"}, files={"acl": f"topic read {PATH}\n"},
                lines=["acl_file {directory}/acl", *lines(port)])
    over, served = threading.Event(), []

    def ask():
        while not over.is_set():
            served.append(get(port, user="pump/p1", password="wrong"))
            served.append(get(port))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for number in range(100):
            device = site.client(**native("p1"))
            assert device.subscribe("ota/v1/pump/p1/down/#") == [1]
            device.publish("ota/v1/pump/p1/up/version", f'{{"id":"{number}","components":{{"main":"1.{number}"}}}}', qos=1)
            device.take_topic("ota/v1/pump/p1/down/reply")
            device.disconnect()
        assert site.versions("p1") == {"main": "1.99"}
    finally:
        over.set()
        for thread in threads:
            thread.join()
        site.close()
    assert set(served) == {200, 401} and site.stop() < 5
