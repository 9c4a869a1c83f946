// A device with the vendor's own SDK for Node.js, which knows the login and what it subscribes to, and on top of it
// the few lines of an application that upgrades: argv are the broker's address, product, device, secret and version.
const iot = require('alibabacloud-iot-device-sdk');
const crypto = require('crypto');
const http = require('http');

const [brokerUrl, productKey, deviceName, deviceSecret, version] = process.argv.slice(2);
const device = iot.device({ productKey, deviceName, deviceSecret, brokerUrl });
const path = (name) => `/ota/device/${name}/${productKey}/${deviceName}`;
let id = 0;
const send = (name, params) => device.publish(path(name), JSON.stringify({ id: String(++id), params }));

device.on('error', (error) => { console.log('error', error.message); process.exit(1); });
device.on('connect', () => {
  device.subscribe(path('upgrade'));
  send('inform', { version });
});
device.on('message', (topic, payload) => {
  if (topic !== path('upgrade')) return;
  const { data } = JSON.parse(payload.toString());
  http.get(data.url, (response) => {
    const hash = crypto.createHash(data.signMethod.toLowerCase());
    response.on('data', (chunk) => hash.update(chunk));
    response.on('end', () => {
      if (hash.digest('hex') !== data.sign) return send('progress', { step: '-3', desc: 'digest differs' });
      send('progress', { step: '100', desc: '' });
      send('inform', { version: data.version });
      console.log('upgraded to', data.version);
      setTimeout(() => device.end(), 500);
    });
  });
});
