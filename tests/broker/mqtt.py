"""A small MQTT 3.1.1 and 5 client on a raw socket, for tests.

A library hides what these tests are about: who acknowledges what and when, duplicates, wills, broken
packets, clients that never read. This one hides nothing: every message that came is in `messages` in
the order of its arrival, acknowledgements can be withheld, and any bytes can be sent.

Waiting is for events only: `take` waits until a message comes that a predicate likes and hands it
out once; `ping` is a barrier for all that the broker had queued for this client before it.
"""

import collections
import itertools
import socket
import struct
import threading
import time

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14

TIMEOUT = 60.0  # generous: a test that waits this long has failed, and no other one waits for it

Message = collections.namedtuple("Message", "topic payload qos retain dup mid at")
Will = collections.namedtuple("Will", "topic payload qos retain", defaults=(0, False))


class Refused(Exception):
    """CONNACK with a code other than 0."""

    def __init__(self, code):
        super().__init__(f"connection refused: code {code}")
        self.code = code


class Closed(Exception):
    """The broker has closed the connection while something was awaited."""


def remaining_length(n):
    out = bytearray()
    while True:
        n, byte = divmod(n, 128)
        out.append(byte | (0x80 if n else 0))
        if not n:
            return bytes(out)


def string(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + remaining_length(len(body)) + body


def publish_packet(topic, payload, qos=1, mid=0, retain=False, dup=False, version=4, properties=b""):
    if isinstance(payload, str):
        payload = payload.encode()
    body = string(topic)
    if qos:
        body += struct.pack("!H", mid)
    if version == 5:
        body += remaining_length(len(properties)) + properties
    return packet(PUBLISH, (8 if dup else 0) | qos << 1 | int(retain), body + payload)


def read_remaining_length(data, at):
    """(value, next position), or None while bytes are missing."""
    value, shift = 0, 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    return None


class Client:
    """One connection. `ack=False` withholds every PUBACK and PUBREC of this client."""

    def __init__(self, port, client_id="", user=None, password=None, version=4, clean=True, keepalive=0,
                 will=None, ack=True, properties=b"", host="127.0.0.1", connect=True, reader=True,
                 flags=None):
        self.port, self.client_id, self.user, self.password = port, client_id, user, password
        self.version, self.clean, self.keepalive, self.will = version, clean, keepalive, will
        self.ack, self.properties, self.host, self.flags = ack, properties, host, flags
        self.messages = []          # not yet taken
        self.all = []               # every message that came
        self.unacknowledged = []
        self.session_present = None
        self.connack = None
        self.acks = {}              # (packet kind, mid) -> reason code or list of them
        self.pongs = 0
        self.closed = False
        self.disconnect_code = None  # of a DISCONNECT packet of the broker (5)
        self.changed = threading.Condition()
        self.mids = itertools.cycle(range(1, 65536))
        self.sending = threading.Lock()
        self.socket = socket.create_connection((host, port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(None)
        if reader:
            threading.Thread(target=self._read, daemon=True).start()
        if connect:
            self.connect()

    # ------------------------------------------------------------------ packets out

    def send_raw(self, data):
        with self.sending:
            try:
                self.socket.sendall(data)
            except OSError as error:
                raise Closed(str(error)) from error

    def connect_packet(self):
        flags = (2 if self.clean else 0)
        payload = string(self.client_id)
        if self.will:
            flags |= 4 | self.will.qos << 3 | (32 if self.will.retain else 0)
            if self.version == 5:
                payload += b"\0"
            payload += string(self.will.topic) + string(self.will.payload)
        if self.user is not None:
            flags |= 128
            payload += string(self.user)
        if self.password is not None:
            flags |= 64
            payload += string(self.password)
        if self.flags is not None:
            flags = self.flags
        body = string("MQTT") + bytes([self.version, flags]) + struct.pack("!H", self.keepalive)
        if self.version == 5:
            properties = self.properties
            if not self.clean:
                properties += b"\x11" + struct.pack("!I", 3600)  # session expiry
            body += remaining_length(len(properties)) + properties
        return packet(CONNECT, 0, body + payload)

    def connect(self):
        self.send_raw(self.connect_packet())
        self.wait_for(lambda: self.connack is not None, what="CONNACK")
        if self.connack:
            raise Refused(self.connack)
        return self

    def subscribe(self, *filters, qos=1, wait=True):
        """Gives the list of reason codes, one for each filter; 128 and above are refusals."""
        mid = next(self.mids)
        body = struct.pack("!H", mid) + (b"\0" if self.version == 5 else b"")
        body += b"".join(string(f) + bytes([qos]) for f in filters)
        self.send_raw(packet(SUBSCRIBE, 2, body))
        return self._acked(SUBACK, mid) if wait else mid

    def unsubscribe(self, *filters):
        mid = next(self.mids)
        body = struct.pack("!H", mid) + (b"\0" if self.version == 5 else b"")
        self.send_raw(packet(UNSUBSCRIBE, 2, body + b"".join(string(f) for f in filters)))
        return self._acked(UNSUBACK, mid)

    def publish(self, topic, payload=b"", qos=1, retain=False, dup=False, mid=None, wait=True,
                properties=b""):
        """Gives the reason code of PUBACK or PUBCOMP (0 in MQTT 3.1.1), or None at QoS 0."""
        if qos and mid is None:
            mid = next(self.mids)
        with self.changed:
            self.acks.pop((PUBACK if qos == 1 else PUBREC, mid), None)
        self.send_raw(publish_packet(topic, payload, qos, mid or 0, retain, dup, self.version, properties))
        if not qos or not wait:
            return None
        if qos == 1:
            return self._acked(PUBACK, mid)
        code = self._acked(PUBREC, mid)
        if code >= 128:
            return code
        self.send_raw(packet(PUBREL, 2, struct.pack("!H", mid)))
        return self._acked(PUBCOMP, mid)

    def puback(self, message):
        self.send_raw(packet(PUBACK if message.qos == 1 else PUBREC, 0, struct.pack("!H", message.mid)))

    def ping(self, timeout=TIMEOUT):
        """A barrier: what the broker had queued for this client before is in `messages` afterwards."""
        with self.changed:
            wanted = self.pongs + 1
        started = time.monotonic()
        self.send_raw(packet(PINGREQ, 0, b""))
        self.wait_for(lambda: self.pongs >= wanted, timeout, "PINGRESP")
        return time.monotonic() - started

    def disconnect(self):
        try:
            self.send_raw(packet(DISCONNECT, 0, b""))
        except Closed:
            pass
        self.wait_closed()
        self.close()

    def kill(self):
        """The connection breaks: a reset, no DISCONNECT."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # it is closed already
        self.close()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    # ------------------------------------------------------------------ waiting

    def wait_for(self, predicate, timeout=TIMEOUT, what="an event"):
        """Waits until `predicate()` is true; it is asked again after every packet."""
        with self.changed:
            if self.changed.wait_for(lambda: predicate() or self.closed, timeout) and predicate():
                return
            if self.closed:
                raise Closed(f"{self.client_id}: closed by the broker while waiting for {what}")
            raise AssertionError(f"{self.client_id}: no {what} within {timeout} s; came: {self.messages}")

    def wait_closed(self, timeout=TIMEOUT):
        with self.changed:
            assert self.changed.wait_for(lambda: self.closed, timeout), "the connection stays open"

    def find(self, predicate):
        with self.changed:
            return next((m for m in self.messages if predicate(m)), None)

    def take(self, predicate, timeout=TIMEOUT, what="message"):
        """The first message not yet taken that the predicate likes; earlier ones stay."""
        self.wait_for(lambda: any(predicate(m) for m in self.messages), timeout, what)
        with self.changed:
            message = next(m for m in self.messages if predicate(m))
            self.messages.remove(message)
            return message

    def take_topic(self, topic, timeout=TIMEOUT):
        return self.take(lambda m: m.topic == topic, timeout, topic)

    def _acked(self, kind, mid):
        self.wait_for(lambda: (kind, mid) in self.acks, what=f"acknowledgement {kind} of {mid}")
        with self.changed:
            return self.acks.pop((kind, mid))

    # ------------------------------------------------------------------ packets in

    def _read(self):
        data = b""
        try:
            while True:
                chunk = self.socket.recv(262144)
                if not chunk:
                    break
                data += chunk
                at = 0
                while True:
                    length = read_remaining_length(data, at + 1) if at < len(data) else None
                    if length is None or length[1] + length[0] > len(data):
                        break
                    end = length[1] + length[0]
                    self._packet(data[at] >> 4, data[at] & 15, data[length[1]:end])
                    at = end
                data = data[at:]
        except (OSError, ValueError):
            pass
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _packet(self, kind, flags, body):
        answer = None
        with self.changed:
            if kind == CONNACK:
                self.session_present, self.connack = bool(body[0] & 1), body[1]
            elif kind == PUBLISH:
                answer = self._publish(flags, body)
            elif kind in (PUBACK, PUBREC, PUBCOMP):
                mid = struct.unpack("!H", body[:2])[0]
                self.acks[kind, mid] = body[2] if len(body) > 2 else 0
            elif kind in (SUBACK, UNSUBACK):
                mid, at = struct.unpack("!H", body[:2])[0], 2
                if self.version == 5:
                    length, at = read_remaining_length(body, at)
                    at += length
                self.acks[kind, mid] = list(body[at:])
            elif kind == PUBREL:
                answer = packet(PUBCOMP, 0, body[:2])
            elif kind == PINGRESP:
                self.pongs += 1
            elif kind == DISCONNECT:
                self.disconnect_code = body[0] if body else 0
            self.changed.notify_all()
        if answer:
            try:
                self.send_raw(answer)
            except Closed:
                pass

    def _publish(self, flags, body):
        length = struct.unpack("!H", body[:2])[0]
        topic, at, qos, mid = body[2:2 + length].decode("utf-8", "replace"), 2 + length, flags >> 1 & 3, None
        if qos:
            mid, at = struct.unpack("!H", body[at:at + 2])[0], at + 2
        if self.version == 5:
            skip, at = read_remaining_length(body, at)
            at += skip
        message = Message(topic, body[at:], qos, bool(flags & 1), bool(flags & 8), mid, time.monotonic())
        self.messages.append(message)
        self.all.append(message)
        if qos and not self.ack:
            self.unacknowledged.append(message)
            return None
        return packet(PUBACK if qos == 1 else PUBREC, 0, struct.pack("!H", mid)) if qos else None
