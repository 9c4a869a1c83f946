"""The download server [N-22]: plain HTTP/1.1 for small clients, addresses that are their own permission, limits."""

import http.client
import os
import resource
import socket
import time
import urllib.parse

import pytest

from broker import Clock, content, eventually, faketime_library
from device import Device


def accepted(site, device, size=9000, name="d1", **pump):
    site.product(**pump)
    site.package(content=content("main-2.0", size))
    site.plan()
    d = device(name)
    d.report()
    download = d.accept(d.take("plan"))
    return d, download["files"][0]["url"]


def raw(url, request):
    """Bytes sent as they are; everything that comes until the server closes or is silent for a second."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as s:
        s.sendall(request)
        s.shutdown(socket.SHUT_WR)
        s.settimeout(10)
        data = b""
        while chunk := s.recv(65536):
            data += chunk
        return data


def test_get_head_etag(site, device):
    d, url = accepted(site, device)
    status, headers, body = d.fetch(url)
    assert (status, body) == (200, content("main-2.0"))
    assert headers["content-length"] == "9000" and headers["accept-ranges"] == "bytes" and headers["etag"].startswith('"')
    assert "transfer-encoding" not in headers and "location" not in headers
    status, head, body = d.fetch(url, method="HEAD")
    assert (status, body, head["content-length"], head["etag"]) == (200, b"", "9000", headers["etag"])


def test_content_length_is_spelled_so(site, device):
    d, url = accepted(site, device)
    data = raw(url, f"HEAD {urllib.parse.urlsplit(url).path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert b"\r\nContent-Length: 9000\r\n" in data and data.startswith(b"HTTP/1.1 200 ")
    data = raw(url, f"GET {urllib.parse.urlsplit(url).path} HTTP/1.0\r\n\r\n".encode())
    assert b"\r\nContent-Length: 9000\r\n" in data and data.endswith(content("main-2.0"))


def exchange(url, request):
    """Head and body of the answer to bytes sent as they are; what comes counts by its Content-Length, in that spelling, as
    Alibaba's C SDKs count."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as s:
        s.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += s.recv(65536) or b"closed\r\n\r\n"
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(head.split(b"\r\nContent-Length: ", 1)[1].split(b"\r\n")[0])
        while len(body) < length:
            body += s.recv(65536)
        return head, body


def test_alibabas_c_sdks_read_the_answer(site, device):
    """What they send, and what they look for in the answer, byte for byte."""
    d, url = accepted(site, device)
    parts = urllib.parse.urlsplit(url)
    for first, last in ((0, None), (0, 4500), (4501, None), (8192, None)):  # LinkSDK: fota_posix, fota_basic in halves, resumed
        linksdk(url, parts, first, last)
    # iotkit-embedded 3: no range, blanks nowhere
    head, body = exchange(url, (f"GET {parts.path} HTTP/1.1\r\nHost: {parts.hostname}\r\n"
                                "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\r\n").encode())
    assert head.startswith(b"HTTP/1.1 200 ") and body == content("main-2.0")


def linksdk(url, parts, first, last):
    head, body = exchange(url, (f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/html, application/xhtml+xml, application/xml;q=0.9, "
                     f"*/*;q=0.8\r\nRange: bytes={first}-{'' if last is None else last}\r\nContent-Length: 0\r\n\r\n").encode())
    whole = content("main-2.0")
    expected = whole[first:] if last is None else whole[first:last + 1]
    assert head.startswith(b"HTTP/1.1 206 ") and body == expected
    assert b"transfer-encoding" not in head.lower()


@pytest.mark.parametrize("header, status, span", [
    ("bytes=0-0", 206, (0, 1)), ("bytes=100-199", 206, (100, 200)), ("bytes=8999-", 206, (8999, 9000)),
    ("bytes=-100", 206, (8900, 9000)), ("bytes=0-99999999", 206, (0, 9000)), ("bytes=-99999", 206, (0, 9000)),
    ("bytes=9000-", 416, None), ("bytes=99999999999999999999-", 416, None), ("bytes=-0", 416, None),
    ("bytes=5-4", 200, (0, 9000)), ("bytes=x", 200, (0, 9000)), ("lines=1-2", 200, (0, 9000))])
def test_ranges(site, device, header, status, span):
    d, url = accepted(site, device)
    got, headers, body = d.fetch(url, {"Range": header})
    assert got == status
    if status == 416:
        assert headers["content-range"] == "bytes */9000"
    else:
        assert body == content("main-2.0")[slice(*span)] and headers["content-length"] == str(len(body))
    if status == 206:
        assert headers["content-range"] == f"bytes {span[0]}-{span[1] - 1}/9000"


def test_if_range_and_if_none_match(site, device):
    d, url = accepted(site, device)
    etag = d.fetch(url)[1]["etag"]
    assert d.fetch(url, {"Range": "bytes=0-9", "If-Range": etag})[0] == 206
    assert d.fetch(url, {"Range": "bytes=0-9", "If-Range": '"another"'})[0] == 200
    assert d.fetch(url, {"If-None-Match": etag})[0] == 304


def test_a_download_resumes_where_it_broke(site, device):
    d, url = accepted(site, device, 3_000_000)
    data = content("main-2.0", 3_000_000)
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", parts.path)
    first = connection.getresponse().read(1_000_000)
    connection.close()
    status, _, rest = d.fetch(url, {"Range": f"bytes={len(first)}-"})
    assert status == 206 and first + rest == data


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(site, device, method):
    d, url = accepted(site, device)
    assert d.fetch(url, method=method)[0] in (405, 501)


def test_altered_addresses_are_403(site, device):
    """Device, file, expiry, name or code altered."""
    d, url = accepted(site, device)
    site.package(version="3.0", content=b"secret")
    parts = urllib.parse.urlsplit(url)
    levels = parts.path.split("/")
    served = 0
    for index in range(1, len(levels)):
        for altered in {levels[index][:-1] + ("a" if levels[index][-1] != "a" else "b"), levels[index] + "1", "1" + levels[index],
                        levels[index].swapcase()} - {levels[index]}:
            path = "/".join(levels[:index] + [altered] + levels[index + 1:])
            status, _, body = d.fetch(f"http://{parts.netloc}{path}")
            assert status in (403, 404), path
            served += status == 403
    assert served >= 10


def test_an_address_of_another_device_or_file_cannot_be_made_up(site, device):
    d, url = accepted(site, device)
    e = device("d2")
    e.report()
    other = e.accept(e.take("plan"))["files"][0]["url"]
    a, b = url.split("/"), other.split("/")
    assert len(a) == len(b)
    for index in range(3, len(a)):
        if a[index] != b[index]:
            mixed = "/".join(a[:index] + [b[index]] + a[index + 1:])
            assert d.fetch(mixed)[0] == 403


def test_an_expired_address_is_403_and_a_repeated_confirm_brings_a_fresh_one(make_site, tmp_path):
    """[N-22] [N-19]"""
    if not faketime_library() or "OTA_PRELOAD" in os.environ:
        pytest.skip("libfaketime is not installed (Debian package faketime)")
    clock = Clock(tmp_path)
    site = make_site(options={"download_lifetime": "60"}, environment=clock.environment())
    site.pump()
    d = Device(site)
    d.report()
    plan = d.take("plan")
    url = d.accept(plan)["files"][0]["url"]
    assert d.fetch(url)[0] == 200
    clock.set("+130")  # up to two minutes: addresses expire at whole minutes [N-19]
    eventually(lambda: d.fetch(url)[0] == 403, what="expired")
    d.confirm(plan["task"])
    fresh = d.take("download")
    assert fresh["attempt"] == 1 and fresh["files"][0]["url"] != url
    assert d.fetch(fresh["files"][0]["url"])[0] == 200


@pytest.mark.parametrize("path", ["/", "/packages", "/../ota.db", "/..%2f..%2fetc%2fpasswd", "//etc/passwd", "/%00", pytest.param("/" + "a" * 8000, id="long"),
                                  "/1/2/3/4/5", "/1/2/3/" + "A" * 22 + "/main", "/-1/-1/-1/x/x", "/?x=1"])
def test_nothing_is_listed_and_nothing_else_is_served(site, path):
    site.pump()
    parts = f"http://127.0.0.1:{site.http_port}"
    data = raw(parts + "/", f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert not data or data.split(b" ")[1] in (b"400", b"403", b"404", b"414", b"431"), data[:100]
    assert b"root:" not in data and b"SQLite format" not in data


def test_broken_requests_do_no_harm(site, device):
    d, url = accepted(site, device)
    path = urllib.parse.urlsplit(url).path.encode()
    for request in (b"", b"\0\1\2\3", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"GET " + path + b" HTTP/1.1\r\nRange: bytes=" + b"1-2," * 5000 + b"\r\n\r\n",
                    b"GET " + path + b" HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", b"POST " + path + b" HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nx",
                    b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"):
        try:
            raw(url, request)
        except OSError:
            pass
    assert d.fetch(url)[0] == 200 and site.alive()


def test_the_rate_is_held_by_suspending(make_site):
    """Bytes per second of all downloads together; a reader that returns 0 would burn a core."""
    site = make_site(options={"download_bytes_per_second": "400000"})
    d, url = accepted(site, lambda name: Device(site, name), 1_000_000)
    ticks = lambda: sum(map(int, open(f"/proc/{site.process.pid}/stat").read().rsplit(") ")[1].split()[11:13]))
    before, started = ticks(), time.monotonic()
    assert d.fetch(url)[0] == 200
    seconds = time.monotonic() - started
    assert 1.2 < seconds < 10
    assert ticks() - before < seconds * 100 / 3, "a suspended download burns a core"


def test_more_downloads_than_allowed_get_503_and_retry_after(make_site):
    """[N-22] 429 and 503 carry Retry-After"""
    site = make_site(options={"download_connections": "2", "download_bytes_per_second": "50000"})
    d, url = accepted(site, lambda name: Device(site, name), 2_000_000)
    parts = urllib.parse.urlsplit(url)
    open_ones = []
    for _ in range(2):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request("GET", parts.path)
        open_ones.append((connection, connection.getresponse()))
        assert open_ones[-1][1].status == 200
    try:
        status, headers, _ = d.fetch(url)
        assert status in (429, 503) and int(headers["retry-after"]) >= 1
    except (OSError, http.client.HTTPException):
        pass  # not accepted at all: the server holds its descriptors together
    for connection, _ in open_ones:
        connection.close()
    eventually(lambda: d.fetch(url, {"Range": "bytes=0-0"})[0] == 206, what="free again")


def test_downloads_leave_descriptors_to_mqtt(make_site):
    site = make_site(start=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        site.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    d, url = accepted(site, lambda name: Device(site, name))
    for n in range(40):
        other = Device(site, f"r{n}")
        other.report()
        other.disconnect()
    greedy = []
    for _ in range(250):
        try:
            greedy.append(socket.create_connection(("127.0.0.1", site.http_port), 1))
        except OSError:
            break
    clients = [site.client(f"c{n}", "x") for n in range(40)]  # the registered devices' connections find theirs
    for client in clients:
        client.ping()
    for s in greedy:
        s.close()


def test_without_a_server_addresses_point_elsewhere(make_site):
    site = make_site(options={"download_listen": None, "download_base": "http://192.0.2.7/fw"})
    d, url = accepted(site, lambda name: Device(site, name))
    assert url == "http://192.0.2.7/fw/pump-main-2.0-any-0.bin"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", site.http_port), 1)


def test_without_a_base_there_are_blocks_only(make_site):
    site = make_site(options={"download_listen": None, "download_base": None})
    site.pump()
    d = Device(site)
    d.report()
    download = d.accept(d.take("plan"))
    assert "url" not in download["files"][0] and download["blocks"] is True
    d.fetch_blocks(download)


def test_the_log_holds_no_token(site, device):
    d, url = accepted(site, device)
    d.fetch(url)
    code = urllib.parse.urlsplit(url).path.split("/")[-2]
    site.stop()
    assert code not in site.log()
