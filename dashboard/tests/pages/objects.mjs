// The pages of one object, and what a person does there: webhooks, chargers, alerts, messages, transactions, commands.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Charger, openPage, until, violations } from '../support.mjs';
import { browser, ended, evil, receiver, running, wattpost, webhook } from './system.mjs';

test('a webhook is added, tested, rotated and repaired from its page, which says why it fails', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/webhooks`);
  await page.getByRole('button', { name: 'Add a webhook' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('URL').fill(`${receiver.url}/added`);
  await dialog.getByRole('button', { name: 'transaction.*' }).click();
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  const shown = await page.locator('.note code', { hasText: 'whsec_' }).innerText();
  await page.getByRole('link', { name: `${receiver.url}/added` }).click();
  await page.getByText('Nothing was sent yet').or(page.getByText('delivered: 204').first()).waitFor();
  assert.equal(await page.getByText('whsec_').count(), 0, 'the secret is shown once');
  await page.getByRole('button', { name: 'Send a test' }).click();
  await page.getByText('The receiver took the test message: 204').waitFor();
  assert.ok(receiver.got.some((one) => one.path === '/added' && one.body.includes('webhook.test')));

  await page.getByRole('button', { name: 'New secret' }).click();
  await dialog.getByRole('button', { name: 'Make it' }).click();
  const next = await page.locator('.note code', { hasText: 'whsec_' }).innerText();
  assert.notEqual(next, shown);
  await page.getByText(/two are valid until/).waitFor();

  receiver.status = 401;
  await page.getByText('The receiver does not take the next event').waitFor();
  await page.getByText('verifies with the secret of this webhook').waitFor();
  assert.deepEqual(await violations(page), []);
  receiver.status = 204;
  await page.getByRole('button', { name: 'Disable' }).click();
  await dialog.getByRole('button', { name: 'Disable' }).click();
  await page.getByText('A person has disabled it').waitFor();
  await page.getByRole('button', { name: 'Enable' }).click();
  await page.getByText('active', { exact: true }).waitFor();
  await page.getByText('delivered: 204').first().waitFor();

  const again = page.getByRole('button', { name: /^Send again from/ }).last();
  const id = (await again.getAttribute('aria-label')).split(' ').at(-1);
  const times = () => receiver.got.filter((one) => one.path === '/added' && one.status === 204 && JSON.parse(one.body).id === id).length;
  await until('it was delivered', () => times() > 0);
  const before = times();
  await again.click();
  await dialog.getByRole('button', { name: 'Send again', exact: true }).click();
  await until('the event came again', () => times() > before);
  await page.getByRole('button', { name: 'Remove' }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await page.waitForURL(/\/webhooks$/);
  await until('it is gone', async () => (await wattpost.get('/api/v1/webhooks')).items.length === 1);
  page.assertClean();
  await page.context().close();
});

test('the page System shows figures and room on disk, and gives a support bundle without a secret', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/system`);
  const main = page.locator('main');
  await main.getByText(/where the data directory of this process is: .* free/i).waitFor();
  await main.getByText('durable seq').waitFor();
  await main.getByText(/schema \d+ of the database/).waitFor();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Support bundle' }).click()]);
  assert.equal(file.suggestedFilename(), 'wattpost-support.json');
  const text = readFileSync(await file.path(), 'utf8');
  const bundle = JSON.parse(text);
  assert.equal(bundle.settings.webhooks.allow_http, true);
  assert.ok(bundle.health.parts.length > 3 && bundle.pipeline.processes.length > 0 && bundle.metrics.includes('wattpost_journal_used_bytes'));
  assert.ok(!text.includes(webhook.secret.replace('whsec_', '')), 'the secret of a webhook is in it');
  page.assertClean();
  await page.context().close();
});

test('the connections of a charger say how each ended, and one that begins appears', async () => {
  const id = 'LINK-1';
  const first = await Charger.connect(wattpost, id);
  first.close();
  await until('its end is recorded', async () => (await wattpost.get(`/api/v1/chargers/${id}/connections`)).items[0]?.end === 'closed');
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers/${id}?tab=connections`);
  const rows = page.locator('main tbody tr');
  await rows.getByText('closed', { exact: true }).waitFor();
  const second = await Charger.connect(wattpost, id);
  await rows.getByText('open', { exact: true }).waitFor();
  assert.equal(await rows.count(), 2);
  second.close();
  await until('both are closed', async () => (await rows.getByText('closed', { exact: true }).count()) === 2);
  page.assertClean();
  await page.context().close();
});

test('the connection of a charger is closed from its page, and its uptime says what is known', async () => {
  const id = 'LINK-2';
  const link = await Charger.connect(wattpost, id);
  const closed = new Promise((done) => link.socket.once('close', (code, reason) => done([code, String(reason)])));
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers/${id}`);
  await page.getByRole('button', { name: 'Disconnect' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Close code').selectOption('1012');
  await dialog.getByLabel(/^Reason/).fill('<b>restart</b>');
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Close the connection' }).click();
  await page.getByRole('status').getByText('The connection has ended: closed by operator with code 1012: <b>restart</b>').waitFor();
  assert.deepEqual(await closed, [1012, '<b>restart</b>']);
  await page.getByRole('tab', { name: 'Uptime' }).click();
  await page.getByRole('heading', { name: /^Times without a connection [1-9]/ }).waitFor();
  await page.getByText(/connected, from .* with 1 connection/).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('From').fill('2026-01-01T00:00');
  await page.getByLabel('until').fill('2026-01-01T06:00');
  await page.getByRole('button', { name: 'Do not count' }).click();
  await page.getByRole('button', { name: /again$/ }).waitFor();
  assert.match(page.url(), /exclude=/);
  page.assertClean();
  await page.context().close();
});

test('the alerts of a charger are on its page, in the list of chargers, and on the wallboard', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers`);
  await page.getByLabel('Alerts', { exact: true }).selectOption('ConnectorFaulted');
  await until('only the charger with the alert is listed', async () => (await page.locator('tbody a[data-row]').count()) === 1);
  assert.match(page.url(), /alert=ConnectorFaulted/);
  const badge = page.locator('tbody').getByRole('link', { name: 'Connector faulted' });
  await badge.waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole('link', { name: 'New batch for all 1 of the list' }).click();
  await page.getByText('Those with alert: ConnectorFaulted').waitFor();
  await page.goto(`${wattpost.url}/chargers?alert=ChargerFlapping`);
  await page.getByRole('button', { name: /^Without “alert: ChargerFlapping”: 1[0-9]/ }).waitFor();

  await page.goto(`${wattpost.url}/chargers/${evil}`);
  await page.locator('dl.state').getByRole('link', { name: 'Connector faulted' }).waitFor();
  await page.locator('.note').getByText(/EVIL/).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.goto(`${wattpost.url}/wallboard`);
  await page.getByRole('list', { name: 'What needs a person' }).getByText('Connector faulted').waitFor();
  assert.equal(await page.getByText('Nothing needs a person').count(), 0);
  assert.deepEqual(await violations(page), []);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  page.assertClean();
  await page.context().close();
});

test('an alert names the charger and says what to do; it is acknowledged and silenced from its page', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/`);
  const navigation = page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: /^Alerts/ });
  await until('the navigation has the number', async () => /[1-9]/.test(await navigation.innerText()));
  await page.getByRole('link', { name: 'Connector faulted' }).waitFor();
  await page.goto(`${wattpost.url}/alerts?name=ConnectorFaulted`);
  const summary = page.locator('summary', { hasText: 'EVIL<b>' });
  await summary.waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByText('What to do').waitFor();
  assert.deepEqual(await violations(page), []);
  assert.equal(await page.locator('main img, main script').count(), 0);

  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Acknowledge' }).click();
  await dialog.getByLabel(/Note/).fill('<i>technician</i> on the way');
  await dialog.getByRole('button', { name: 'Acknowledge' }).click();
  await summary.getByText(/^acknowledged/).waitFor();
  await page.getByText('<i>technician</i> on the way').waitFor();
  await page.getByRole('button', { name: 'Silence', exact: true }).click();
  assert.deepEqual(await violations(page), []);
  await dialog.getByLabel('Why').fill('maintenance');
  await dialog.getByRole('button', { name: 'Silence' }).click();
  await summary.getByText('silenced').waitFor();

  await page.goto(`${wattpost.url}/alerts?tab=silences`);
  const silence = page.getByRole('row', { name: /Connector faulted.*maintenance/ });
  await silence.getByText('active').waitFor();
  assert.deepEqual(await violations(page), []);
  await silence.getByRole('button', { name: 'Remove' }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await until('it is gone', async () => !(await wattpost.get('/api/v1/silences')).items.some((one) => one.state === 'active'));
  page.assertClean();
  await page.context().close();
});

test('a message is found by its record id, and by its message id among those of a charger', async () => {
  const page = await openPage(browser);
  const { items } = await wattpost.get('/api/v1/messages?charger=SIM-00002&kind=call&limit=1');
  const [one] = items;
  await page.goto(`${wattpost.url}/pipeline`);
  await page.getByLabel('Record id, or message id').fill(one.message_id);
  await page.getByRole('button', { name: 'Find', exact: true }).click();
  await page.getByText('Name the charger too').waitFor();
  await page.getByLabel('Charger, for a message id').fill('SIM-00002');
  await page.getByRole('button', { name: 'Find', exact: true }).click();
  await page.getByText(/^1 of [\d,]+ messages of SIM-00002 has this id/).waitFor();
  await page.locator(`a[href="/pipeline?find=${encodeURIComponent(one.record_id)}"]`).click();
  await page.getByText('It is in the database').waitFor();
  for (const station of ['Received by the gateway', 'Durable in the journal', 'Delivered', 'Stored']) {
    await page.getByRole('row', { name: new RegExp(`^${station}.*passed`) }).waitFor();
  }
  await page.getByText(`message id ${one.message_id}`).waitFor();
  assert.ok(page.url().includes(encodeURIComponent(one.record_id)));

  // A record that its gateway has not written yet is waited for.
  const [gateway] = one.record_id.split('/');
  await page.getByLabel('Record id, or message id').fill(`${gateway}/999999999`);
  await page.getByRole('button', { name: 'Find', exact: true }).click();
  await page.getByText('Its gateway has written no record with this number yet').waitFor();
  page.assertClean();
  await page.context().close();
});

test('a remote start from the page leads to the transaction that it caused', async () => {
  const fleet = wattpost.simulate('--chargers', '1', '--id-prefix', 'IDLE-', '--transactions-per-hour', '0.001', '--versions', '1.6:1');
  await until('the charger is known', () => wattpost.get('/api/v1/chargers/IDLE-00001'));
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers/IDLE-00001`);
  await page.getByRole('link', { name: 'Start a session' }).click();
  await page.getByLabel('Token').fill('SIMTAG0001');
  await until('the connector is known', async () => (await page.getByRole('combobox', { name: /^Connector/ }).locator('option').count()) > 1);
  await page.getByRole('combobox', { name: /^Connector/ }).selectOption('1');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await page.waitForURL(/\/commands\/[0-9a-f]{8}/);
  await page.getByText('answered: Accepted').waitFor();
  await page.getByRole('link', { name: 'this transaction' }).click();
  await page.getByRole('heading', { name: 'Session at IDLE-00001' }).waitFor();
  await page.getByText('SIMTAG0001', { exact: true }).first().waitFor();

  await page.getByRole('button', { name: 'Ask the charger to stop' }).click();
  await page.getByRole('button', { name: 'Ask to stop' }).click();
  await page.waitForURL(/\/commands\/[0-9a-f]{8}/);
  await page.getByRole('link', { name: 'this transaction' }).waitFor();
  page.assertClean();
  await page.context().close();
  fleet.kill('SIGKILL');
});

test('a transaction shows the messages that the API lists for it', async () => {
  const page = await openPage(browser);
  const { items } = await wattpost.get(`/api/v1/transactions/${ended.key}/messages?limit=1000`);
  assert.ok(items.length > 1);
  await page.goto(`${wattpost.url}/transactions/${ended.key}`);
  await page.getByRole('heading', { name: `Messages ${items.length}`, exact: true }).waitFor();
  const rows = page.locator('main tbody tr').filter({ has: page.locator('button[aria-expanded]') });
  assert.equal(await rows.count(), items.length);
  page.assertClean();
  await page.context().close();
});

test('the curve has the current of each phase, and the meter values are a file', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/transactions/${running.key}`);
  await page.getByText('1 of 2 readings arrived more than a minute after it was taken').waitFor();
  for (const name of ['Current L1 A', 'L2 A', 'L3 A']) await page.getByRole('rowheader', { name }).or(page.locator('.u-legend th', { hasText: name })).first().waitFor();
  // Nothing else was measured.
  assert.equal(await page.locator('main canvas').count(), 1);
  await page.getByRole('button', { name: 'Download meter values' }).click();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('dialog').getByRole('button', { name: 'Download' }).click()]);
  assert.equal(file.suggestedFilename(), 'meter-values.csv');
  const [header, ...rows] = readFileSync(await file.path(), 'utf8').trim().split(/\r?\n/);
  const at = header.split(',').indexOf('measurand');
  assert.deepEqual([...new Set(rows.map((row) => row.split(',')[at]))], ['Current.Import']);
  assert.equal(rows.length, 6);
  page.assertClean();
  await page.context().close();
});

test('what came late has the mark of a clock, and times are of the zone of the viewer with UTC on hover', async () => {
  // Five and a half hours ahead of UTC.
  const page = await openPage(browser, { timezoneId: 'Asia/Kolkata', locale: 'en-GB' });
  await page.goto(`${wattpost.url}/messages?charger=${evil}&action=MeterValues`);
  const rows = page.locator('main tbody tr').filter({ has: page.locator('button[aria-expanded]') });
  await until('both readings are listed', async () => (await rows.count()) === 2);
  const mark = page.locator('.late');
  assert.equal(await mark.count(), 1, 'one of them came late');
  assert.match(await mark.getAttribute('title'), /^Late: /);
  assert.equal((await mark.innerText()).trim(), 'late', 'the mark has a word for those who do not see it');
  assert.ok(await mark.locator('svg').isVisible());
  const late = rows.filter({ has: mark });
  const { items } = await wattpost.get(`/api/v1/messages?charger=${evil}&action=MeterValues`);
  const one = items.find(({ payload, received_at: at }) => Date.parse(at) - Date.parse(payload.meterValue[0].timestamp) > 60_000);
  const time = late.locator('time').first();
  assert.equal(await time.getAttribute('datetime'), one.received_at);
  assert.equal(await time.getAttribute('title'), `${one.received_at} (UTC)`);
  const there = new Date(Date.parse(one.received_at) + 5.5 * 3_600_000).toISOString().slice(11, 19);
  assert.ok((await time.innerText()).includes(there), `${await time.innerText()} is not ${there}`);
});

test('a command without an answer is repeated under its key; after a refusal, the next one has another key', async () => {
  const page = await openPage(browser, { allowed: [/Failed to load resource/] });
  const keys = [];
  await page.route('**/api/v1/chargers/SIM-00001/start', async (route) => {
    keys.push(route.request().headers()['idempotency-key']);
    if (keys.length !== 2) return route.abort();
    const body = JSON.stringify({ title: 'Refused', detail: 'a reason', status: 409 });
    return route.fulfill({ status: 409, contentType: 'application/problem+json', body });
  });
  await page.goto(`${wattpost.url}/commands/new?charger=SIM-00001&action=start`);
  await page.getByLabel('Token').fill('SIMTAG0001');
  for (const shown of [/does not answer/, /a reason/, /does not answer/]) {
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.getByRole('alert').filter({ hasText: shown }).waitFor();
  }
  await page.getByLabel('Token').fill('SIMTAG0002');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await until('the changed command is sent', () => keys.length === 4);
  assert.equal(keys[1], keys[0]);
  assert.equal(new Set(keys).size, 3, keys.join(' '));
  page.assertClean();
  await page.context().close();
});

test('a request whose answer is lost is one command when it is sent again', async () => {
  const page = await openPage(browser, { allowed: [/Failed to load resource/] });
  let sent = 0;
  await page.route('**/api/v1/chargers/SIM-00003/trigger', async (route) => {
    sent += 1;
    if (sent > 1) return route.continue();
    await route.fetch();
    return route.abort();
  });
  await page.goto(`${wattpost.url}/chargers/SIM-00003`);
  const ask = page.getByRole('button', { name: 'Ask for its status' });
  await ask.click();
  await page.getByRole('alert').filter({ hasText: /does not answer/ }).waitFor();
  await ask.click();
  await page.waitForURL(/\/commands\/[0-9a-f]{8}/);
  const { items } = await wattpost.get('/api/v1/commands?charger=SIM-00003');
  assert.equal(items.filter((command) => command.payload?.requestedMessage === 'StatusNotification').length, 1);
  page.assertClean();
  await page.context().close();
});
