"""As much of MQTT 3.1.1 as these devices need, on a plain or TLS socket: one thread, nothing kept."""

import collections
import socket
import ssl
import struct
import sys

Message = collections.namedtuple("Message", "topic payload")


def run(main):
    """Calls `main`; what goes wrong is one line and exit code 1."""
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"{sys.argv[0]}: {error}") from None


def text(value):
    data = value.encode()
    return struct.pack("!H", len(data)) + data


class Client:
    def __init__(self, host, port, client_id, user, password, keepalive=60, ca=None):
        self.socket = socket.create_connection((host, port), 20)
        if ca:
            self.socket = ssl.create_default_context(cafile=ca).wrap_socket(self.socket, server_hostname=host)
        self.socket.settimeout(keepalive / 2)
        self.mid = 0
        self.send(0x10, text("MQTT") + b"\x04\xc2" + struct.pack("!H", keepalive) + text(client_id) + text(user) + text(password))
        kind, body = self.packet()
        if kind != 0x20 or body[1]:
            raise ConnectionError(f"the broker refuses the connection: code {body[1]}")

    def send(self, kind, body):
        length, left = b"", len(body)
        while True:
            left, byte = divmod(left, 128)
            length += bytes([byte | (0x80 if left else 0)])
            if not left:
                break
        self.socket.sendall(bytes([kind]) + length + body)

    def next_mid(self):
        self.mid = self.mid % 65535 + 1
        return struct.pack("!H", self.mid)

    def subscribe(self, topic, qos=1):
        self.send(0x82, self.next_mid() + text(topic) + bytes([qos]))

    def publish(self, topic, payload, qos=0):
        print("->", topic, payload, flush=True)
        self.send(0x30 | qos << 1, text(topic) + (self.next_mid() if qos else b"") + payload.encode())

    def receive(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise ConnectionError("the broker has closed the connection")
            data += chunk
        return data

    def packet(self):
        kind, length, shift = self.receive(1)[0], 0, 0
        while True:
            byte = self.receive(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return kind, self.receive(length)

    def wait(self, topic):
        """The next message of `topic`; keeps the connection alive meanwhile. Nothing else is expected."""
        while True:
            try:
                kind, body = self.packet()
            except TimeoutError:
                self.send(0xC0, b"")
                continue
            if kind >> 4 != 3:
                continue
            length = struct.unpack("!H", body[:2])[0]
            name, rest = body[2:2 + length].decode(), body[2 + length:]
            if kind >> 1 & 3:
                self.send(0x40, rest[:2])
                rest = rest[2:]
            print("<-", name, rest if len(rest) < 400 else f"{len(rest)} bytes", flush=True)
            if name == topic:
                return rest

    def close(self):
        self.send(0xE0, b"")
        self.socket.close()
