#!/usr/bin/python3
"""A device of EnOS or DECADA, to try a site without hardware: it reports its version, waits for the push (to which it does
not subscribe) or asks (`--ask`), fetches and checks the file, reports progress and then the new version. `--fail
CODE` reports a failure instead (-1 to -4, -5: refused).

Python 3, standard library only. The image is checked and thrown away."""

import argparse
import hashlib
import json
import time
import urllib.request

import mqtt


class Device:
    def __init__(self, options):
        self.options = options
        self.id = 0
        self.subscribed = set()
        o, stamp = options, str(time.time() * 1000)
        signed = f"clientId{o.device}deviceKey{o.device}productKey{o.product}timestamp{stamp}{o.secret}"
        password = hashlib.sha256(signed.encode()).hexdigest()
        self.client = mqtt.Client(o.host, o.port, f"{o.device}|securemode=2,signmethod=sha256,timestamp={stamp}|",
                                  f"{o.device}&{o.product}", password, ca=o.ca)

    def topic(self, name):
        return f"/sys/{self.options.product}/{self.options.device}/ota/device/{name}"

    def request(self, name, params):
        """Gives the reply's data."""
        reply = self.topic(f"{name}_reply")
        if reply not in self.subscribed:
            self.client.subscribe(reply)
            self.subscribed.add(reply)
        self.id += 1
        self.client.publish(self.topic(name), json.dumps({"id": str(self.id), "version": "1.0", "method": f"ota.device.{name}",
                                                          "params": params}), 1)
        answer = json.loads(self.client.wait(reply))
        if answer["id"] != str(self.id) or answer["code"] != 200:
            raise SystemExit(f"{name}: {answer}")
        return answer["data"]

    def fetch(self, firmware):
        """True: the file is there and right."""
        image, told = b"", -10
        with urllib.request.urlopen(firmware["fileUrl"], timeout=60) as answer:
            while chunk := answer.read(65536):
                image += chunk
                percent = 100 * len(image) // firmware["fileSize"]
                if percent >= told + 10:
                    self.request("progress", {"step": str(percent), "desc": "downloading"})
                    told = percent
        return len(image) == firmware["fileSize"] and hashlib.new(firmware["signMethod"], image).hexdigest() == firmware["sign"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--ca", help="certificate of the authority: connect with TLS")
    parser.add_argument("--product", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--secret", default="", help="the device's secret; not needed on a broker that checks none")
    parser.add_argument("--version", default="1.0.0", help="that is installed (1.0.0)")
    parser.add_argument("--ask", action="store_true", help="ask for firmware instead of waiting for the push")
    parser.add_argument("--fail", type=int, choices=(-1, -2, -3, -4, -5), help="fail with this code after the download")
    options = parser.parse_args()

    device = Device(options)
    if options.ask:
        device.request("inform", {"version": options.version})
        found = device.request("getversion", {})
        if not found:
            raise SystemExit("there is no firmware for this device")
        firmware = found[0]
    else:
        # The push comes before the reply: it is what is waited for.
        device.id += 1
        device.client.publish(device.topic("inform"), json.dumps({"id": str(device.id), "version": "1.0", "method": "ota.device.inform",
                                                                  "params": {"version": options.version}}), 1)
        firmware = json.loads(device.client.wait(device.topic("upgrade")))["params"]
    if not device.fetch(firmware):
        device.request("progress", {"step": "-3", "desc": "digest differs"})
        raise SystemExit("the digest differs")
    if options.fail:
        device.request("progress", {"step": str(options.fail), "desc": "as asked for"})
    else:
        device.request("inform", {"version": firmware["version"]})
        print(f"upgraded from {options.version} to {firmware['version']}")
    device.client.close()


if __name__ == "__main__":
    mqtt.run(main)
