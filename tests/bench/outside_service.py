#!/usr/bin/env python3
"""What a user would write instead of the plugin: a service outside the broker, in Python. It subscribes to the
version reports, looks the device up in SQLite, writes what changed and answers, with the same promise: the answer
follows the commit, `synchronous=FULL`.

    outside_service.py PORT DATABASE QOS

A plain socket and packets made by hand, no client library: it is faster than a service on a common MQTT library
would be. Prints `ready` when its subscription stands. One of the two sides of a benchmark; see run.py.
"""

import json
import pathlib
import socket
import sqlite3
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "broker"))
import mqtt  # noqa: E402


def main():
    port, path, qos = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("""
        PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
        CREATE TABLE IF NOT EXISTS device_state (id INTEGER PRIMARY KEY, product TEXT, name TEXT, seen_ms INTEGER,
            UNIQUE (product, name));
        CREATE TABLE IF NOT EXISTS device_version (device_id INTEGER, component TEXT, version TEXT, since_ms INTEGER,
            PRIMARY KEY (device_id, component)) WITHOUT ROWID;""")
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connect = mqtt.string("MQTT") + b"\4\2" + struct.pack("!H", 0) + mqtt.string("service")
    connection.sendall(mqtt.packet(mqtt.CONNECT, 0, connect))
    connection.sendall(mqtt.packet(mqtt.SUBSCRIBE, 2, b"\0\1" + mqtt.string("ota/v1/+/+/up/version") + bytes([qos])))

    def report(topic, payload):
        _, _, product, name, *_ = topic.split("/")
        body = json.loads(payload)
        now = int(time.time() * 1000)
        found = db.execute("SELECT id FROM device_state WHERE product=? AND name=?", (product, name)).fetchone()
        known = dict(db.execute("SELECT component, version FROM device_version WHERE device_id=?", found)) if found else {}
        if known != body["components"]:
            db.execute("BEGIN IMMEDIATE")
            device = found[0] if found else db.execute(
                "INSERT INTO device_state (product, name, seen_ms) VALUES (?,?,?)", (product, name, now)).lastrowid
            for component, version in body["components"].items():
                db.execute("INSERT INTO device_version VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET version=excluded.version, "
                           "since_ms=excluded.since_ms", (device, component, version, now))
            db.execute("COMMIT")
        return json.dumps({"id": body["id"], "to": "version", "code": 200})

    data, mid = b"", 0
    while True:
        chunk = connection.recv(262144)
        if not chunk:
            return
        data, at, out = data + chunk, 0, bytearray()
        while True:
            length = mqtt.read_remaining_length(data, at + 1) if at < len(data) else None
            if length is None or length[1] + length[0] > len(data):
                break
            kind, flags, body = data[at] >> 4, data[at] & 15, data[length[1]:length[1] + length[0]]
            at = length[1] + length[0]
            if kind == mqtt.SUBACK:
                print("ready", flush=True)
            if kind != mqtt.PUBLISH:
                continue
            size = struct.unpack("!H", body[:2])[0]
            topic, rest = body[2:2 + size].decode(), 2 + size
            if flags >> 1 & 3:
                out += mqtt.packet(mqtt.PUBACK, 0, body[rest:rest + 2])
                rest += 2
            mid = mid % 65535 + 1
            out += mqtt.publish_packet(topic[:-len("up/version")] + "down/reply", report(topic, body[rest:]), qos, mid)
        data = data[at:]
        connection.sendall(out)


if __name__ == "__main__":
    main()
