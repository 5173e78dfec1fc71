// The running system that the tests of the pages share: a fleet, a charger with hostile texts, a session, a command, a batch and a webhook.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Charger, HOSTILE, Receiver, Wattpost, launch, until } from '../support.mjs';

/** Alerts are judged each second, and fire at once. */
const ALERTS = { WATTPOST__ALERTS__INTERVAL_MS: '1000', WATTPOST__ALERTS__CHARGER_INTERVAL_MS: '1000', WATTPOST__ALERTS__RULES__FOR_S: '{ ConnectorFaulted = 0 }', WATTPOST__ALERTS__RULES__CHARGER_KNOWN_S: '0' };
export let wattpost;
export let browser;
export let hostile;
export let ended;
export let running;
export let command;
export let batch;
export let webhook;
export let receiver;

before(async () => {
  receiver = await Receiver.start();
  wattpost = await Wattpost.start({ ...ALERTS, WATTPOST__WEBHOOKS__ALLOW_HTTP: 'true', WATTPOST__WEBHOOKS__ALLOWED_NETWORKS: '["127.0.0.1/32"]' });
  browser = await launch();
  wattpost.simulate('--chargers', '12', '--speed-up', '60', '--transactions-per-hour', '8', '--transaction-minutes', '8', '--seed', '7');
  hostile = await Charger.connect(wattpost, 'EVIL<b>"1\'');
  const boot = { chargePointVendor: HOSTILE.slice(0, 20), chargePointModel: '<svg onload=x>', firmwareVersion: HOSTILE.slice(0, 50) };
  await hostile.call('BootNotification', boot);
  await hostile.call('StatusNotification', { connectorId: 1, errorCode: 'OtherError', status: 'Faulted', info: HOSTILE.slice(0, 50), vendorErrorCode: '<b>x</b>' });
  const { transactionId } = await hostile.call('StartTransaction', { connectorId: 1, idTag: '<script>alert(1)', meterStart: 0, timestamp: new Date().toISOString() });
  // One reading of each phase that arrives late, and one that does not.
  const phases = ['L1', 'L2', 'L3'].map((phase, index) => ({ value: `${11 + index}.5`, measurand: 'Current.Import', phase, unit: 'A' }));
  for (const agoMs of [120_000, 0]) {
    await hostile.call('MeterValues', { connectorId: 1, transactionId, meterValue: [{ timestamp: new Date(Date.now() - agoMs).toISOString(), sampledValue: phases }] });
  }
  await hostile.call('DataTransfer', { vendorId: HOSTILE, data: HOSTILE });
  ended = await until('a session has ended', async () => (await wattpost.get('/api/v1/transactions?state=ended&limit=1')).items[0]);
  running = await until('a session runs', async () => (await wattpost.get('/api/v1/transactions?charger=EVIL%3Cb%3E%221%27&state=open')).items[0]);
  await until('the charger is known', () => wattpost.get('/api/v1/chargers/SIM-00001'));
  const answer = await fetch(`${wattpost.url}/api/v1/chargers/SIM-00001/commands`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'one', Prefer: 'wait=10' },
    body: JSON.stringify({ action: 'GetConfiguration' }),
  });
  command = await answer.json();
  // The hostile charger answers no command, so its item has an outcome of its own.
  webhook = await post('/api/v1/webhooks', { url: `${receiver.url}/hook`, types: ['transaction.*'], description: HOSTILE });
  batch = await post('/api/v1/batches', { operation: 'trigger', parameters: { message: 'Heartbeat' }, filter: {}, answer_within_ms: 1000 });
  await fetch(`${wattpost.url}/api/v1/tokens/04A2`, { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ note: HOSTILE }) });
});

after(async () => {
  hostile?.close();
  await browser?.close();
  await wattpost?.stop();
  receiver?.stop();
});

export async function post(path, body) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': path + JSON.stringify(body) };
  const answer = await fetch(wattpost.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return JSON.parse(text);
}

export const evil = encodeURIComponent('EVIL<b>"1\'');
