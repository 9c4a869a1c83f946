#!/usr/bin/python3
"""A device of Alibaba's IoT Platform, to try a site without hardware: it reports its version, waits for the push (to which
it does not subscribe), fetches and checks the files over HTTP or over MQTT, reports progress, "restarts" and reports
the new version. `--fail CODE` reports a failure instead (-1 to -4).

Python 3, standard library only. The image is checked and thrown away."""

import argparse
import hashlib
import hmac
import json
import struct
import urllib.request

import mqtt

TIMESTAMP = "2524608000000"


class Device:
    def __init__(self, options):
        self.options = options
        self.names = f"{options.product}/{options.device}"
        self.id = 0
        self.connections = 0
        self.connect()

    def connect(self):
        """A new connection; its client id differs from the one before, as the real ones do."""
        o = self.options
        own = f"{o.product}.{o.device}"
        signed = f"clientId{own}deviceName{o.device}productKey{o.product}timestamp{TIMESTAMP}"
        password = hmac.new(o.secret.encode(), signed.encode(), hashlib.sha256).hexdigest().upper()
        self.connections += 1
        client_id = f"{own}|timestamp={TIMESTAMP},securemode=3,signmethod=hmacsha256,_conn=tcp_{self.connections:x}|"
        self.client = mqtt.Client(o.host, o.port, client_id, f"{o.device}&{o.product}", password, ca=o.ca)

    def module(self):
        return f',"module":"{self.options.module}"' if self.options.module else ""

    def send(self, topic, params):
        self.id += 1
        self.client.publish(topic, f'{{"id":{self.id}, "params":{params}}}')

    def inform(self, version):
        self.send(f"/ota/device/inform/{self.names}", f'{{"version":"{version}"{self.module()}}}')

    def progress(self, step, desc=""):
        self.send(f"/ota/device/progress/{self.names}", f'{{"step":"{step}","desc":"{desc}"{self.module()}}}')

    def over_http(self, url, size):
        image = b""
        with urllib.request.urlopen(url, timeout=60) as answer:
            told = -5
            while chunk := answer.read(65536):
                image += chunk
                percent = 100 * len(image) // size
                if told + 5 <= percent < 100:
                    self.progress(percent)
                    told = percent
        return image

    def over_mqtt(self, data):
        reply = f"/sys/{self.names}/thing/file/download_reply"
        self.client.subscribe(reply, 0)
        image = b""
        while len(image) < data["size"]:
            want = min(10240, data["size"] - len(image))
            self.id += 1
            self.client.publish(
                f"/sys/{self.names}/thing/file/download",
                f'{{"id":"{self.id}","version":"1.0","params":{{"fileToken":"default","fileInfo":{{"streamId":{data["streamId"]},'
                f'"fileId":{data["streamFileId"]},}},"fileBlock":{{"size":{want},"offset":{len(image)}}}}}}}')
            frame = self.client.wait(reply)
            length = struct.unpack("!H", frame[:2])[0]
            header = json.loads(frame[2:2 + length])
            if header["code"] != 200:
                raise RuntimeError(f"block refused: {header}")
            image += frame[2 + length:-2]
        return image

    def fetch(self, data):
        """True: everything is there and right."""
        files = data.get("files") or [{"fileSize": data["size"], "fileUrl": data.get("url"), "fileSign": data["sign"]}]
        for file in files:
            image = self.over_mqtt(data) if data.get("dProtocol") == "mqtt" else self.over_http(file["fileUrl"], file["fileSize"])
            if hashlib.new(data["signMethod"].lower(), image).hexdigest() != file["fileSign"]:
                return False
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--ca", help="certificate of the authority: connect with TLS")
    parser.add_argument("--product", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--secret", default="", help="the device's secret; not needed on a broker that checks none")
    parser.add_argument("--version", default="1.0.0", help="that is installed (1.0.0)")
    parser.add_argument("--module", help="of which it is; none: the device's firmware")
    parser.add_argument("--fail", type=int, choices=(-1, -2, -3, -4), help="fail with this code after the download")
    options = parser.parse_args()

    device = Device(options)
    device.inform(options.version)
    data = json.loads(device.client.wait(f"/ota/device/upgrade/{device.names}"))["data"]
    device.progress(0)
    if not device.fetch(data):
        device.progress(-3, "digest differs")
        raise SystemExit("the digest differs")
    if options.fail:
        device.progress(options.fail, "as asked for")
        device.client.close()
        return
    device.progress(100)
    device.client.close()
    device.connect()
    device.inform(data["version"])
    device.client.close()
    print(f"upgraded from {options.version} to {data['version']}")


if __name__ == "__main__":
    mqtt.run(main)
