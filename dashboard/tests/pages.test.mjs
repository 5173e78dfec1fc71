// Every page over a running system: what it shows, its accessibility in both themes, and that no text of a charger runs.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { typesOf } from '../scripts/types.mjs';
import { readFileSync } from 'node:fs';
import { Charger, Receiver, Relay, Wattpost, launch, openPage, until, violations } from './support.mjs';

const HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>{{7*7}}';
const SHOTS = process.env.SHOTS;
/** Alerts are judged each second, and fire at once. */
const ALERTS = { WATTPOST__ALERTS__INTERVAL_MS: '1000', WATTPOST__ALERTS__CHARGER_INTERVAL_MS: '1000', WATTPOST__ALERTS__RULES__FOR_S: '{ ConnectorFaulted = 0 }' };
let wattpost;
let browser;
let hostile;
let ended;
let running;
let command;
let batch;
let webhook;
let receiver;

before(async () => {
  receiver = await Receiver.start();
  wattpost = await Wattpost.start({ ...ALERTS, WATTPOST__WEBHOOKS__ALLOW_HTTP: 'true', WATTPOST__WEBHOOKS__ALLOWED_NETWORKS: '["127.0.0.1/32"]' });
  browser = await launch();
  wattpost.simulate('--chargers', '12', '--speed-up', '60', '--transactions-per-hour', '8', '--transaction-minutes', '8', '--seed', '7');
  hostile = await Charger.connect(wattpost, 'EVIL<b>"1\'');
  const boot = { chargePointVendor: HOSTILE.slice(0, 20), chargePointModel: '<svg onload=x>', firmwareVersion: HOSTILE.slice(0, 50) };
  await hostile.call('BootNotification', boot);
  await hostile.call('StatusNotification', { connectorId: 1, errorCode: 'OtherError', status: 'Faulted', info: HOSTILE.slice(0, 50), vendorErrorCode: '<b>x</b>' });
  await hostile.call('StartTransaction', { connectorId: 1, idTag: '<script>alert(1)', meterStart: 0, timestamp: new Date().toISOString() });
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

async function post(path, body) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': path + JSON.stringify(body) };
  const answer = await fetch(wattpost.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return JSON.parse(text);
}

const evil = encodeURIComponent('EVIL<b>"1\'');
const pages = () => [
  ['now', '/', /0 missing/],
  ['alerts', '/alerts', /EVIL/],
  ['alert-rules', '/alerts?tab=rules', /Connector faulted/],
  ['silences', '/alerts?tab=silences', /There is no silence/],
  ['pipeline', '/pipeline?part=journal', /Every part works/],
  ['pipeline-message', `/pipeline?find=${encodeURIComponent(command.record_ids?.[0] ?? '')}`, /It is in the database/],
  ['chargers', '/chargers', /SIM-00012/],
  ['charger', `/chargers/${evil}`, /OtherError/],
  ['charger-timeline', `/chargers/${evil}?tab=timeline`, /transaction started/],
  ['charger-connections', `/chargers/${evil}?tab=connections`, /began in the last hour/],
  ['charger-uptime', `/chargers/${evil}?tab=uptime`, /connected, from/],
  ['charger-messages', `/chargers/${evil}?tab=messages`, /DataTransfer/],
  ['waiting-room', '/waiting-room', /No charger was refused/],
  ['transactions', '/transactions', /Running/],
  ['transaction', `/transactions/${ended.key}`, /How the energy is derived/],
  ['transaction-hostile', `/transactions/${running.key}`, /<script>alert\(1\)/],
  ['messages', '/messages', /MeterValues|TransactionEvent/],
  ['commands', '/commands', /GetConfiguration/],
  ['command', `/commands/${command.id}`, /answered/],
  ['new-command', '/commands/new?charger=SIM-00002&action=SetVariables', /setVariableData/],
  ['start', '/commands/new?charger=SIM-00001&action=start', /Name the connector/],
  ['batches', '/batches', /trigger/],
  ['batch', `/batches/${batch.id}`, /EVIL/],
  ['new-batch', '/batches/new?online=true&send=limit', /watts in total[^]*EVIL|EVIL[^]*watts in total/],
  ['tokens', '/tokens', /04A2/],
  ['dead-letters', '/dead-letters', /There is no dead letter/],
  ['audit', '/audit', /token.set/],
  ['keys', '/keys', /There is no key/],
  ['users', '/users', /There is no user/],
  ['webhooks', '/webhooks', /transaction\.\*/],
  ['webhook', `/webhooks/${webhook.id}`, /delivered: 204/],
  ['system', '/system', /This process works/],
];

for (const theme of ['light', 'dark']) {
  test(`every page shows its content without a fault, in the ${theme} theme`, async () => {
    const page = await openPage(browser, { colorScheme: theme });
    for (const [name, path, text] of pages()) {
      await page.goto(wattpost.url + path);
      const main = page.locator('main');
      await until(`${path} shows ${text}`, async () => text.test(await main.innerText()));
      assert.deepEqual(await violations(page), [], `${path} in the ${theme} theme`);
      assert.equal(await page.evaluate(() => window.hacked), undefined, `${path} ran a text of a charger`);
      assert.equal(await page.locator('main img, main script, main b b').count(), 0, `${path} has markup of a charger`);
      if (SHOTS) {
        mkdirSync(SHOTS, { recursive: true });
        await page.screenshot({ path: `${SHOTS}/${name}-${theme}.png` });
      }
    }
    page.assertClean();
    await page.context().close();
  });
}

test('no page is wider than a telephone', async () => {
  const page = await openPage(browser, { viewport: { width: 360, height: 740 } });
  for (const [name, path, text] of pages()) {
    await page.goto(wattpost.url + path);
    await until(`${path} shows ${text}`, async () => text.test(await page.locator('main').innerText()));
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${path} is ${width} pixels wide`);
    if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-phone.png` });
  }
  page.assertClean();
  await page.context().close();
});

test('the address holds the filters, and the keyboard alone opens a charger', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers?status=faulted`);
  await until('only the faulted charger is listed', async () => (await page.locator('tbody a[data-row]').count()) === 1);
  await page.getByRole('button', { name: 'faulted' }).click();
  await until('the address has no filter', () => !page.url().includes('status'));
  await page.keyboard.press('Control+k');
  await page.keyboard.type('SIM-00003');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/chargers/SIM-00003');
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await page.waitForURL('**/transactions');
  await until('rows are there', async () => (await page.locator('tbody a[data-row]').count()) > 0);
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/transactions/*');
  page.assertClean();
  await page.context().close();
});

test('Tab reaches everything on every page that a pointer can use', async () => {
  const page = await openPage(browser);
  for (const [, path, text] of pages()) {
    await page.goto(wattpost.url + path);
    await until(`${path} shows ${text}`, async () => text.test(await page.locator('main').innerText()));
    await page.locator('header').getByRole('button', { name: /^(Live|Paused|Reconnecting)|behind/ }).click();
    await page.getByRole('button', { name: /^Paused/ }).waitFor();
    const count = await page.evaluate(() => {
      const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')];
      window.targets = all.filter((one) => one.checkVisibility() && !one.disabled && one.getAttribute('role') !== 'tab');
      window.reached = new Set();
      document.addEventListener('focusin', (event) => window.reached.add(event.target));
      return window.targets.length;
    });
    assert.ok(count > 10, `${path} has ${count}`);
    // Tab goes through the parts of a date and a time, and to the button of the calendar.
    const dates = await page.locator('input[type=date], input[type=datetime-local]').count();
    await Promise.all(Array.from({ length: count + 10 + 8 * dates }, () => page.keyboard.press('Tab')));
    // What was replaced meanwhile cannot be reached.
    const missed = await page.evaluate(() => window.targets.filter((one) => one.isConnected && one.checkVisibility() && !window.reached.has(one)).map((one) => one.outerHTML.slice(0, 160)));
    assert.deepEqual(missed, [], `${path}: Tab does not reach these`);
  }
  page.assertClean();
  await page.context().close();
});

test('a download has exactly the rows of the page, in both forms, and more than one page of the API', async () => {
  const page = await openPage(browser);
  // The API gives two rows at a time here, so that a file is made of several answers.
  await page.route(/api\/v1\/(chargers|transactions).*limit=1000/, (route) => route.continue({ url: route.request().url().replace('limit=1000', 'limit=2') }));
  const save = async (form) => {
    await page.getByRole('button', { name: 'Download' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(form).check();
    const [file] = await Promise.all([page.waitForEvent('download'), dialog.getByRole('button', { name: 'Download' }).click()]);
    await dialog.getByText(/rows? (is|are) saved/).waitFor();
    await dialog.getByRole('button', { name: 'Close' }).click();
    return { name: file.suggestedFilename(), text: readFileSync(await file.path(), 'utf8') };
  };
  await page.goto(`${wattpost.url}/chargers?q=SIM-0000`);
  await page.getByRole('status').getByText(/^9 of /).waitFor();
  await page.getByRole('button', { name: 'Download' }).click();
  assert.deepEqual(await violations(page), []);
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  const lines = await save(/NDJSON/);
  assert.equal(lines.name, 'chargers.ndjson');
  const wanted = Array.from({ length: 9 }, (_, index) => `SIM-0000${index + 1}`);
  assert.deepEqual(lines.text.trim().split('\n').map((line) => JSON.parse(line).charger_id), wanted);
  const table = await save(/CSV/);
  assert.equal(table.name, 'chargers.csv');
  const [header, ...rows] = table.text.trim().split(/\r?\n/);
  assert.match(header, /^charger_id,/);
  assert.deepEqual(rows.map((row) => row.split(',')[0]), wanted);

  // The hostile texts of a charger have commas, quotes and lines.
  await page.goto(`${wattpost.url}/chargers?status=faulted`);
  await until('one is listed', async () => (await page.locator('tbody a[data-row]').count()) === 1);
  const evils = (await save(/CSV/)).text.trim().split(/\r?\n/);
  assert.equal(evils.length, 2);
  assert.match(evils[1], /EVIL/);

  // The API cannot select by checks.
  const checked = await until('a session has a check', async () => (await wattpost.get('/api/v1/transactions?state=ended&limit=1000')).items.find((one) => one.checks.length > 0));
  await page.goto(`${wattpost.url}/transactions?checks=yes&charger=${checked.charger_id}`);
  await page.getByRole('heading', { name: 'Transactions' }).waitFor();
  const sessions = (await save(/NDJSON/)).text.split('\n').filter(Boolean).map(JSON.parse);
  assert.ok(sessions.some((one) => one.key === checked.key) && sessions.every((one) => one.checks.length > 0));
  const [names, ...rest] = (await save(/CSV/)).text.trim().split(/\r?\n/);
  assert.match(names, /checks/);
  assert.ok(rest.some((line) => line.includes(checked.key)) && rest.every((line) => line.includes('""code""')));
  page.assertClean();
  await page.context().close();
});

test('a view keeps filters and columns under a name, and a link has them too', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers?status=faulted`);
  await page.getByRole('button', { name: 'Columns' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Serial').check();
  await dialog.getByLabel('Power').uncheck();
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Close' }).click();
  assert.equal(await page.getByRole('columnheader', { name: 'Power' }).count(), 0);
  await page.getByRole('columnheader', { name: 'Serial' }).waitFor();
  const { search } = new URL(page.url());
  assert.match(search, /columns=/);

  await page.getByRole('button', { name: 'Save this view' }).click();
  await dialog.getByLabel('Name').fill(HOSTILE.slice(0, 60));
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.goto(`${wattpost.url}/chargers`);
  await page.getByRole('columnheader', { name: 'Power' }).waitFor();
  await page.getByRole('link', { name: HOSTILE.slice(0, 60) }).click();
  await page.getByRole('columnheader', { name: 'Serial' }).waitFor();
  assert.equal(new URL(page.url()).search, search);
  await until('only the faulted charger is listed', async () => (await page.locator('tbody a[data-row]').count()) === 1);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: /^Remove the view/ }).click();
  await page.reload();
  await page.getByRole('button', { name: 'Save this view' }).waitFor();
  assert.equal(await page.getByRole('button', { name: /^Remove the view/ }).count(), 0);

  // What somebody else has written into the browser's store is not taken for views.
  await page.evaluate(() => localStorage.setItem('views', '{"/chargers":[{"name":1},null,{"name":"x","search":"javascript:1"}]}'));
  await page.reload();
  await page.getByRole('button', { name: 'Save this view' }).waitFor();
  assert.equal(await page.getByRole('button', { name: /^Remove the view/ }).count(), 0);
  page.assertClean();
  await page.context().close();
});

test('the columns of messages, transactions and commands are chosen, and the address has them', async () => {
  const page = await openPage(browser);
  for (const [path, title, value] of [['/messages', 'Message id', 'message'], ['/transactions', 'Id in OCPP', 'id'], ['/chargers/SIM-00001?tab=commands', 'Answer after', 'latency']]) {
    await page.goto(wattpost.url + path);
    await page.locator('tbody a[data-row]').first().waitFor();
    assert.equal(await page.getByRole('columnheader', { name: title }).count(), 0, path);
    await page.getByRole('button', { name: 'Columns' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(title).check();
    if (path === '/messages') assert.deepEqual(await violations(page), []);
    await dialog.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('columnheader', { name: title }).first().waitFor();
    await until('the address has it', () => new URL(page.url()).searchParams.get('columns').split(',').includes(value));
  }
  await page.reload();
  await page.getByRole('columnheader', { name: 'Answer after' }).waitFor();
  // An address that names no column that there is shows the usual ones.
  await page.goto(`${wattpost.url}/commands?columns=none,${encodeURIComponent(HOSTILE)}`);
  await page.getByRole('columnheader', { name: 'Outcome' }).waitFor();
  page.assertClean();
  await page.context().close();
});

test('where nothing passes the filters, a button removes each of them', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/commands?charger=SIM-00001&outcome=${encodeURIComponent(HOSTILE)}`);
  await page.getByText('No command passes all filters').waitFor();
  assert.deepEqual(await violations(page), []);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await page.getByRole('button', { name: /^Without “outcome: <img/ }).click();
  await page.locator('tbody a[data-row]').first().waitFor();
  assert.equal(new URL(page.url()).search, '?charger=SIM-00001');
  await page.goto(`${wattpost.url}/messages?q=none-of-them&charger=SIM-00001`);
  await page.getByRole('button', { name: 'Without filters' }).click();
  await page.locator('tbody a[data-row]').first().waitFor();
  assert.equal(new URL(page.url()).search, '');
  page.assertClean();
  await page.context().close();
});

test('rows selected with the keyboard become a batch, after the page has said who is hit', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers?q=SIM-0000`);
  await page.getByRole('status').getByText(/^9 of /).waitFor();
  for (const key of ['j', 'x', 'j', 'j', 'Shift+X', 'k', 'x', 'x']) await page.keyboard.press(key);
  await page.getByText(/, 3 selected/).waitFor();
  await page.getByRole('link', { name: 'New batch for the 3 selected' }).click();
  await page.getByText('SIM-00001, SIM-00002, SIM-00003').waitFor();
  // What is selected outlasts a reload.
  await page.reload();
  await page.getByText('SIM-00001, SIM-00002, SIM-00003').waitFor();
  await page.getByLabel('Operation or action').selectOption('trigger');
  await page.getByLabel(/^message/).fill('Heartbeat');
  const before = (await wattpost.get('/api/v1/batches')).items.length;
  await page.getByRole('button', { name: 'See who is hit' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('3 of 3 chargers get a command').waitFor();
  assert.match(await dialog.innerText(), /SIM-00001, SIM-00002, SIM-00003/);
  assert.deepEqual(await violations(page), []);
  assert.equal((await wattpost.get('/api/v1/batches')).items.length, before, 'created before it was confirmed');
  await dialog.getByRole('button', { name: 'Create the batch' }).click();
  await page.waitForURL(/\/batches\/[0-9a-f]{8}/);
  await page.getByText('3 of 3 have ended').waitFor();
  await until('each row has its command', async () => (await page.locator('tbody a[href^="/commands/"]').count()) === 3);

  // Without a selection, all chargers of the filter are hit; the address says which.
  await page.goto(`${wattpost.url}/chargers?q=SIM-0000`);
  await page.getByRole('link', { name: 'New batch for all 9 of the list' }).click();
  await page.waitForURL(/q=SIM-0000/);
  await page.getByText('SIM-00001, SIM-00002, SIM-00003').waitFor();
  await page.goto(`${wattpost.url}/chargers?q=SIM-0000`);
  await page.getByLabel('Select all 9 of the list').check();
  await page.getByText(/, 9 selected/).waitFor();
  await page.getByRole('button', { name: 'Select none' }).click();
  await page.getByRole('link', { name: 'New batch for all 9 of the list' }).waitFor();
  page.assertClean();
  await page.context().close();
});

test('a batch is paused, resumed and cancelled from its page, which says first what that does', async () => {
  const slow = await post('/api/v1/batches', { operation: 'trigger', parameters: { message: 'Heartbeat' }, filter: { q: 'SIM-' }, per_second: 1, at_once: 1 });
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/batches/${slow.id}`);
  const ask = async (action, effect, confirm = action) => {
    await page.getByRole('button', { name: action, exact: true }).click();
    await page.getByRole('dialog').getByText(effect).waitFor();
    await page.getByRole('dialog').getByRole('button', { name: confirm, exact: true }).click();
  };
  await ask('Pause', 'No more commands are started');
  await page.getByText('A person has paused it').waitFor();
  assert.equal((await wattpost.get(`/api/v1/batches/${slow.id}`)).state, 'paused');
  await ask('Resume', 'goes on for the');
  await page.getByText('At its pace').waitFor();
  await ask('Cancel the batch', 'get no command');
  const { counts } = await until('it is cancelled', async () => {
    const now = await wattpost.get(`/api/v1/batches/${slow.id}`);
    return now.state === 'cancelled' && now.counts.pending + now.counts.started === 0 && now;
  });
  assert.ok(counts.not_started > 0);
  await page.getByRole('button', { name: `not started ${counts.not_started}` }).click();
  await page.waitForURL(/state=not_started/);
  await until('only those are listed', async () => (await page.locator('tbody a[data-row]').count()) === counts.not_started);
  page.assertClean();
  await page.context().close();
});

test('an address that nobody has encoded opens its page', async () => {
  const page = await openPage(browser, { allowed: [/Failed to load resource/] });
  await page.goto(`${wattpost.url}/chargers/50%`);
  await page.getByRole('heading', { name: '50%', exact: true }).waitFor();
  page.assertClean();
  await page.context().close();
});

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
  await page.getByRole('list', { name: 'Alerts' }).getByText('Connector faulted').waitFor();
  assert.equal(await page.getByText('Nothing needs a person').count(), 0);
  assert.deepEqual(await violations(page), []);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  page.assertClean();
  await page.context().close();
});

test('a charger is previewed beside the list, and the keyboard alone goes from one to the next', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers?q=EVIL`);
  await page.getByRole('button', { name: /^Preview EVIL/ }).click();
  const preview = page.getByRole('complementary', { name: /^Preview of EVIL/ });
  await preview.getByText('OtherError').first().waitFor();
  await preview.getByText(/token <script>alert\(1\)/).waitFor();
  assert.deepEqual(await violations(page), []);
  assert.equal(await page.evaluate(() => window.hacked), undefined);

  await page.goto(`${wattpost.url}/chargers?q=SIM-0000`);
  await page.getByRole('status').getByText(/^9 of /).waitFor();
  const of = (id) => page.getByRole('complementary', { name: `Preview of ${id}` });
  for (const [key, id] of [['j', ''], ['v', 'SIM-00001'], ['j', 'SIM-00002'], ['k', 'SIM-00001']]) {
    await page.keyboard.press(key);
    if (id) await of(id).getByText('Wattpost Simulator').waitFor();
  }
  await of('SIM-00001').getByRole('heading', { name: 'Last commands' }).waitFor();
  assert.match(page.url(), /preview=SIM-00001/);
  await page.keyboard.press('Escape');
  await until('it is closed', async () => (await page.getByRole('complementary').count()) === 0);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.row), 'SIM-00001');
  await page.getByRole('row', { name: /SIM-00003/ }).getByText('2.0.1').or(page.getByRole('row', { name: /SIM-00003/ }).getByText('1.6')).click();
  await of('SIM-00003').waitFor();
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
  assert.deepEqual(await violations(page), []);
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
  await page.getByText(/^1 of [\d,]+ messages of SIM-00002 have this id/).waitFor();
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

test('what is read on a timer is asked once at a time, and not while the page is paused', async () => {
  const page = await openPage(browser);
  await page.clock.install();
  const asked = [];
  await page.route('**/api/v1/webhooks', (route) => void asked.push(route));
  await page.goto(`${wattpost.url}/webhooks`);
  await until('the list is asked for', () => asked.length === 1);
  await page.clock.runFor(20_000);
  assert.equal(asked.length, 1, 'it was asked again before the answer');
  await asked[0].continue();
  await page.getByRole('link', { name: `${receiver.url}/hook` }).waitFor();
  await page.clock.runFor(2000);
  await until('it is asked again', () => asked.length === 2);
  await page.keyboard.press('Space');
  await page.getByRole('button', { name: /^Paused/ }).waitFor();
  await asked[1].continue();
  await page.clock.runFor(20_000);
  assert.equal(asked.length, 2, 'it was asked while the page was paused');
  await page.keyboard.press('Space');
  await page.clock.runFor(2000);
  await until('it is asked again', () => asked.length === 3);
  await asked[2].continue();
  page.assertClean();
  await page.context().close();
});

test('an outage is asked about no more often the longer it lasts', async () => {
  const relay = await Relay.start(wattpost.httpPort);
  const page = await openPage(browser, { allowed: [/ERR_/, /Failed to load resource/] });
  await page.clock.install();
  await page.goto(`${relay.url}/keys`);
  await page.getByRole('button', { name: /^Live/ }).waitFor();
  let asked = 0;
  page.on('request', (request) => (asked += request.url().endsWith('/api/v1/session')));
  relay.cut();
  await page.getByRole('button', { name: /Reconnecting/ }).waitFor();
  // Two minutes of the page's clock: one request at least every two seconds, and one before each attempt to connect the stream.
  for (let step = 0; step < 60; step += 1) {
    await page.clock.runFor(2000);
    await page.evaluate(() => fetch('/favicon.svg').catch(() => undefined));
  }
  assert.ok(asked >= 20, `only ${asked} requests`);
  assert.ok(asked <= 90, `${asked} requests`);
  relay.mend();
  page.assertClean();
  await page.context().close();
  relay.stop();
});

test('a lost connection loses no event and doubles no row', async () => {
  const relay = await Relay.start(wattpost.httpPort);
  const page = await openPage(browser, { allowed: [/ERR_/, /Failed to load resource/] });
  await page.addInitScript(() => {
    // What the stream delivers, recorded below the dashboard.
    window.received = [];
    const take = EventSource.prototype.addEventListener;
    EventSource.prototype.addEventListener = function (type, listener) {
      return take.call(this, type, (event) => {
        if (event.data?.startsWith('{"id"')) window.received.push(JSON.parse(event.data).id);
        listener(event);
      });
    };
  });
  await page.goto(`${relay.url}/transactions`);
  await page.getByRole('button', { name: /^Live/ }).waitFor();
  await until('events arrive', () => page.evaluate(() => window.received.length > 5));
  for (let round = 0; round < 3; round += 1) {
    relay.cut();
    await page.getByRole('button', { name: /Reconnecting/ }).waitFor();
    const { last_id } = await wattpost.get('/api/v1/events?after=latest');
    await until('more happens while it is away', async () => (await wattpost.get(`/api/v1/events?after=${last_id}`)).items.length > 3);
    relay.mend();
    await page.getByRole('button', { name: /^Live|behind/ }).waitFor();
  }
  const received = await page.evaluate(() => window.received);
  const [first] = received;
  const { last_id } = await wattpost.get('/api/v1/events?after=latest');
  await until('the stream is up to date', async () => (await page.evaluate(() => window.received)).includes(last_id));
  const all = await page.evaluate(() => window.received);
  const stored = [];
  for (let after = first; after; ) {
    const answer = await wattpost.get(`/api/v1/events?after=${after}&limit=1000`);
    stored.push(...answer.items.map((one) => one.id));
    after = answer.next;
  }
  const expected = stored.slice(0, stored.indexOf(last_id) + 1);
  assert.deepEqual(all.slice(1, expected.length + 1), expected);

  await page.keyboard.press('Space');
  await page.getByRole('button', { name: /^Paused/ }).waitFor();
  const rows = await page.locator('tbody a[data-row]').evaluateAll((links) => links.map((link) => link.getAttribute('href')));
  assert.equal(new Set(rows).size, rows.length, 'a row is there twice');
  await page.keyboard.press('Space');
  await page.getByRole('button', { name: /^Live|behind/ }).waitFor();
  page.assertClean();
  await page.context().close();
  relay.stop();
});

test('the dashboard listens to every type of event that the API has', async () => {
  // The refusal of a wrong type lists all of them.
  const answer = await fetch(`${wattpost.url}/api/v1/events?types=none`);
  const { detail } = await answer.json();
  const types = detail.match(/\b[a-z_]+\.[a-z_]+\b/g);
  assert.ok(types.length >= 20, detail);
  const source = readFileSync(new URL('../src/lib/live.svelte.ts', import.meta.url), 'utf8');
  const [, list] = /TYPES = \[([^\]]*)\]/.exec(source);
  assert.deepEqual([...list.matchAll(/'([^']+)'/g)].map(([, type]) => type).sort(), [...new Set(types)].sort());
});

test('the client types are those of the OpenAPI document', async () => {
  const document = await wattpost.get('/api/openapi.json');
  const committed = readFileSync(new URL('../src/lib/api-types.ts', import.meta.url), 'utf8');
  assert.equal(committed, await typesOf(document), 'run `npm run types -- URL` in dashboard/');
});

test('files are compressed, named by their content and kept; pages are asked for again', async () => {
  const headers = { Accept: 'text/html', 'Accept-Encoding': 'br' };
  const page = await fetch(`${wattpost.url}/chargers/x`, { headers });
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-security-policy'), /script-src 'self'/);
  const html = await page.text();
  const script = /src="(\/assets\/[^"]+\.js)"/.exec(html)[1];
  const asset = await fetch(wattpost.url + script, { headers });
  assert.equal(asset.headers.get('content-encoding'), 'br');
  assert.match(asset.headers.get('cache-control'), /immutable/);
  const again = await fetch(wattpost.url + script, { headers: { ...headers, 'If-None-Match': asset.headers.get('etag') } });
  assert.equal(again.status, 304);
  const index = await fetch(`${wattpost.url}/`, { headers: { Accept: 'application/json' } });
  assert.equal((await index.json()).name, 'Wattpost');
});
