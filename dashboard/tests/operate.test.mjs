// Pages for the work with one charger: its messages, its check, the wallboard, the keys.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Charger, Wattpost, launch, openPage, until, violations } from './support.mjs';

let wattpost;
let browser;
let charger;

before(async () => {
  wattpost = await Wattpost.start();
  browser = await launch();
  charger = await Charger.connect(wattpost, 'CP-<i>1');
  await charger.call('BootNotification', { chargePointVendor: 'Example', chargePointModel: 'AC-22', firmwareVersion: '1.4.2' });
});

after(async () => {
  charger?.close();
  await browser?.close();
  await wattpost?.stop();
});

const id = encodeURIComponent('CP-<i>1');
const post = (path, body, method = 'POST') => fetch(wattpost.url + path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
const stored = (action) => until(`${action} is stored`, async () => (await wattpost.get(`/api/v1/messages?charger=${id}&action=${action}&limit=1000`)).items.at(-1));
/** The page is laid out for a telephone, and has no violation in either theme. */
async function assertFit(page) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    assert.deepEqual(await violations(page), [], `${page.url()} in the ${colorScheme} theme`);
  }
  const { width, height } = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  await until(`${page.url()} fits a telephone`, () => page.evaluate(() => document.documentElement.scrollWidth <= 360));
  await page.setViewportSize({ width, height });
}

test('a message is explained field by field, with the deviation at its field, and compared with the one before', async () => {
  await charger.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: 'Available' });
  await charger.call('StatusNotification', { connectorId: '2', errorCode: 'NoError', status: 'Charging', '<b>more</b>': '<img src=x onerror="window.hacked=1">' });
  await charger.call('Heartbeat', {});
  const record = await until('both are stored', async () => {
    const { items } = await wattpost.get(`/api/v1/messages?charger=${id}&action=StatusNotification`);
    return items.length === 2 && items[1];
  });
  const page = await openPage(browser);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.goto(`${wattpost.url}/messages`);
  await page.getByText('StatusNotification').first().waitFor();
  assert.equal(await page.getByRole('cell', { name: 'Heartbeat' }).count(), 0, 'heartbeats are folded');
  await page.getByRole('button', { name: 'Heartbeats (1 folded)' }).click();
  await page.getByRole('cell', { name: 'Heartbeat' }).waitFor();

  // A field that is somewhere in the payload; the address has the filter.
  await page.getByLabel('Field').fill('connectorid=2');
  await until('one message passes', async () => (await page.locator('button[aria-expanded]:visible:not(.menu)').count()) === 1);
  assert.match(page.url(), /where=connectorid%3D2/);
  await page.locator('tbody button[aria-expanded]').click();
  await page.getByRole('button', { name: 'Explained' }).click();
  const fields = page.getByRole('region', { name: 'Payload' });
  await fields.getByText('number of the connector').waitFor();
  const wrong = await fields.getByRole('row').filter({ hasText: 'type, tolerated' }).innerText();
  assert.match(wrong, /^connectorId/);
  assert.match(await fields.getByRole('row').filter({ hasText: 'extra, tolerated' }).innerText(), /^<b>more<\/b>/);
  assert.match(await fields.getByRole('row').filter({ hasText: 'SuspendedEVSE' }).innerText(), /^status/);
  await page.getByRole('button', { name: 'Copy as wscat line' }).click();
  const line = await until('the line is copied', () => page.evaluate(() => navigator.clipboard.readText()));
  assert.ok(line.startsWith(`wscat -c '${wattpost.ocpp}/CP-%3Ci%3E1' -s ocpp1.6 -x '[2,"m`), line);
  assert.match(line, /"StatusNotification",\{"connectorId":"2"/);
  await assertFit(page);
  await page.getByRole('button', { name: 'Difference' }).click();
  await page.getByText(/3 fields differ, 1 equal/).waitFor();
  const place = page.getByRole('region', { name: 'Difference' }).getByRole('row').filter({ hasText: 'connectorId' });
  assert.match(await place.innerText(), /1\s+"2"/);

  // The link to the record opens it alone.
  await page.getByRole('link', { name: 'Page of this record' }).click();
  await page.waitForURL(`**/messages/${record.record_id}`);
  await page.getByText('extra, tolerated:').waitFor();
  await assertFit(page);
  await page.getByRole('button', { name: 'Raw' }).click();
  await page.getByRole('region', { name: 'Frame' }).getByText(/^\[2,"m\d+","StatusNotification",/).waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  page.assertClean();
  await page.context().close();
});

test('a paused list says how many records are new, and a record that is not stored where it is', async () => {
  const page = await openPage(browser, { allowed: [/404/] });
  await page.goto(`${wattpost.url}/chargers/${id}?tab=messages`);
  await page.getByText('BootNotification').first().waitFor();
  await page.locator('header').getByRole('button', { name: /^Live|behind/ }).click();
  await page.getByText('Paused. Nothing new.').waitFor();
  await charger.call('DataTransfer', { vendorId: 'Example', data: 'new' });
  await page.getByText('Paused. 1 new record, before filters.').waitFor();
  assert.equal(await page.getByText('DataTransfer').count(), 0);
  await page.getByRole('button', { name: 'Show what is new' }).click();
  await page.getByText('DataTransfer').first().waitFor();
  await assertFit(page);
  const { gateway_id } = await stored('DataTransfer');
  await page.goto(`${wattpost.url}/messages/${gateway_id}/999999`);
  await page.getByText('This record is not in the database.').waitFor();
  page.assertClean();
  await page.context().close();
});

test('a check says which commands it sends, what each one found, and what to try', async () => {
  const page = await openPage(browser);
  charger.answers = {
    TriggerMessage: ({ requestedMessage }) => {
      if (requestedMessage !== 'Heartbeat') return { status: 'NotImplemented' };
      setTimeout(() => charger.call('Heartbeat', {}), 20);
      return { status: 'Accepted' };
    },
    GetConfiguration: { configurationKey: [{ key: 'MeterValueSampleInterval', readonly: false, value: '0' }] },
  };
  await page.goto(`${wattpost.url}/chargers/${id}?tab=check`);
  const steps = page.getByRole('tabpanel').getByRole('listitem');
  for (const said of ['TriggerMessage Heartbeat', 'TriggerMessage StatusNotification', 'GetConfiguration']) await steps.filter({ hasText: said }).waitFor();
  const before = await wattpost.get(`/api/v1/commands?charger=${id}`);
  assert.deepEqual(before.items, [], 'nothing is sent before the button is pressed');
  await page.getByRole('button', { name: 'Send these and judge' }).click();
  await page.getByText('The charger answers. Not everything works').waitFor();
  const shows = async () => {
    assert.match(await steps.nth(0).innerText(), /It answered, and sent Heartbeat/);
    assert.match(await steps.nth(1).innerText(), /It cannot be asked for StatusNotification/);
    assert.match(await steps.nth(2).innerText(), /It has 1 settings.*MeterValueSampleInterval is 0/);
  };
  await shows();
  await page.getByText('What is asked, and what came').first().click();
  await assertFit(page);
  const { items } = await wattpost.get(`/api/v1/commands?charger=${id}`);
  assert.deepEqual(items.map((one) => one.action).reverse(), ['TriggerMessage', 'TriggerMessage', 'GetConfiguration']);
  // The address has the run.
  await page.reload();
  await page.getByText('The charger answers. Not everything works').waitFor();
  await shows();
  assert.equal((await wattpost.get(`/api/v1/commands?charger=${id}`)).items.length, 3);
  page.assertClean();
  await page.context().close();
});

test('a reset names the sessions that it ends, and a command to a charger that is away fails now or waits', async () => {
  const page = await openPage(browser);
  await charger.call('StartTransaction', { connectorId: 1, idTag: 'TAG<1>', meterStart: 0, timestamp: new Date().toISOString() });
  charger.answers = { Reset: { status: 'Accepted' } };
  await page.goto(`${wattpost.url}/chargers/${id}`);
  await page.getByRole('link', { name: '0.00 kWh' }).or(page.getByText('TAG<1>')).first().waitFor();
  await page.getByRole('button', { name: 'Reset' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('One session runs, and it ends:').waitFor();
  await dialog.getByRole('link', { name: 'TAG<1>' }).waitFor();
  await dialog.getByText('OCPP 1.6 has no reset that waits').waitFor();
  await assertFit(page);
  await dialog.getByRole('radio', { name: /Hard/ }).check();
  await dialog.getByRole('button', { name: 'End the session and reset' }).click();
  await page.waitForURL(/\/commands\/[0-9a-f]{8}/);
  await page.getByText('"type": "Hard"').waitFor();

  await post('/api/v1/chargers', { charger_id: 'AWAY' });
  await page.goto(`${wattpost.url}/chargers/AWAY`);
  await page.getByText('This charger has never booted here').waitFor();
  await page.getByText('Last attempt: none').waitFor();
  const addresses = page.getByRole('region', { name: 'Addresses by version' });
  await until('each version has its address', async () => (await addresses.getByText(`${wattpost.ocpp}/AWAY`).count()) === 3);
  await assertFit(page);
  assert.equal(await page.getByRole('button', { name: 'Reset' }).count(), 0, 'its version is not known');

  const left = await Charger.connect(wattpost, 'LEFT');
  await left.call('BootNotification', { chargePointVendor: 'Example', chargePointModel: 'AC-22' });
  left.close();
  await until('it is away', async () => (await wattpost.get('/api/v1/chargers/LEFT')).connection === 'closed');
  await page.goto(`${wattpost.url}/chargers/LEFT`);
  await page.getByRole('button', { name: 'Ask for its status' }).click();
  await page.getByRole('combobox', { name: 'If the charger is not connected' }).selectOption('wait');
  const latest = new Date(Date.now() + 7_200_000);
  const field = new Date(latest.getTime() - latest.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  await page.getByLabel('At the latest').fill(field);
  await page.getByRole('dialog').getByRole('button', { name: 'Ask', exact: true }).click();
  await page.waitForURL(/\/commands\/[0-9a-f]{8}/);
  await page.getByText('waits for the charger').waitFor();
  const command = await wattpost.get(`/api/v1/commands/${page.url().split('/').at(-1)}`);
  assert.equal(Math.floor(Date.parse(command.expires_at) / 60_000), Math.floor(latest.getTime() / 60_000));
  page.assertClean();
  await page.context().close();
});

test('the password of a charger is changed at the charger, and its page says how far that is', async () => {
  const page = await openPage(browser);
  await post('/api/v1/chargers', { charger_id: 'CP-<i>1' });
  let sent;
  charger.answers = { ChangeConfiguration: (asked) => ((sent = asked), { status: 'Accepted' }) };
  await charger.call('SecurityEventNotification', { type: 'TamperDetectionActivated', timestamp: new Date().toISOString(), techInfo: '<b>x</b>' });
  await stored('SecurityEventNotification');
  await page.goto(`${wattpost.url}/chargers/${id}?tab=security`);
  await page.getByText('TamperDetectionActivated').first().waitFor();
  await page.getByText('It needs no password').waitFor();
  await assertFit(page);
  await page.getByRole('button', { name: 'Change it at the charger' }).click();
  await page.getByRole('button', { name: 'Change it', exact: true }).click();
  await page.getByText('The charger has accepted a new password.').waitFor();
  assert.equal(sent.key, 'AuthorizationKey');
  assert.ok(!(await page.locator('main').innerText()).includes(sent.value), 'nobody is told the password');
  // One change at a time.
  await page.getByRole('button', { name: 'Change it at the charger' }).waitFor({ state: 'detached' });
  // The timeline has all of it on one axis.
  await page.goto(`${wattpost.url}/chargers/${id}?tab=timeline`);
  await page.getByRole('img', { name: /^Connections: \d+, sessions: 1, other events: \d+, since/ }).waitFor();
  await assertFit(page);
  page.assertClean();
  await page.context().close();
});

test('the page Now draws the past from what is kept, and the wallboard shows it large without a control', async () => {
  const page = await openPage(browser);
  await page.goto(wattpost.url);
  await page.getByRole('img', { name: /^Chargers connected in the last (10 min|1 h): [01] to [12]$/ }).waitFor();
  await page.getByRole('img', { name: /^Sessions running in the last (10 min|1 h): [01] to 1$/ }).waitFor();
  await charger.call('StatusNotification', { connectorId: 2, errorCode: 'GroundFailure', status: 'Faulted' });
  await until('the fault is stored', async () => (await wattpost.get(`/api/v1/chargers/${id}`)).connectors.some((one) => one.status === 'Faulted'));
  await page.reload();
  await page.getByRole('img', { name: /^Faults reported in the last (10 min|1 h): [01] to 1 in each of 48 intervals$/ }).waitFor();
  await assertFit(page);
  await page.getByRole('link', { name: 'Wallboard' }).click();
  await page.waitForURL('**/wallboard');
  // A screen on a wall opens this address.
  await page.reload();
  await page.getByText('1 faulted connector: CP-<i>1').waitFor();
  await page.getByText(/acknowledged, .* stored, 0 missing/).waitFor();
  assert.equal(await page.getByRole('button').count(), 0, 'the wallboard has nothing to press');
  await assertFit(page);
  await page.setViewportSize({ width: 3840, height: 2160 });
  await until('all of it is in sight', () => page.evaluate(() => document.documentElement.scrollHeight <= 2160));
  await page.keyboard.press('Escape');
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  page.assertClean();
  await page.context().close();
});

test('pasted tokens are judged before they are added, and the keyboard goes to anything', async () => {
  const page = await openPage(browser);
  const goTo = async (words, hit) => {
    await page.keyboard.press('Control+k');
    await page.keyboard.type(words);
    await page.getByRole('dialog').getByRole('option', { name: hit }).first().waitFor();
    assert.deepEqual(await violations(page), []);
    // The first hit is chosen.
    await until(`${words} finds ${hit} first`, async () => hit.test(await page.getByRole('dialog').getByRole('option', { selected: true }).innerText()));
    await page.keyboard.press('Enter');
  };
  await page.goto(`${wattpost.url}/tokens`);
  await page.getByLabel('Or paste the lines').fill('id,status\n04PASTED,Accepted\n04BAD,Perhaps\n');
  await page.getByRole('button', { name: 'Say what would happen' }).click();
  await page.getByText(/Nothing was changed: 1 refused/).waitFor();
  await page.getByLabel('Or paste the lines').fill('id,status\n04PASTED,Accepted\n');
  await page.getByRole('button', { name: 'Say what would happen' }).click();
  await page.getByText('This would happen: 1 created').waitFor();
  assert.equal((await wattpost.get('/api/v1/tokens')).items.length, 0);
  await assertFit(page);
  await page.getByRole('button', { name: 'Apply the pasted lines' }).click();
  await page.getByText('Done: 1 created').waitFor();
  await page.getByRole('cell', { name: '04PASTED', exact: true }).waitFor();
  await page.locator('h1').focus();
  await page.keyboard.press('j');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Change 04PASTED');

  await goTo('reset cp-', /^Reset to CP-<i>1/);
  await page.waitForURL(`**/commands/new?charger=${id}&action=Reset`);
  await goTo('timeline cp-', /^Timeline of CP-<i>1/);
  await page.waitForURL(`**/chargers/${id}?tab=timeline`);
  await goTo('04pasted', /^04PASTED\s+token, Accepted/);
  await page.waitForURL('**/tokens?q=04PASTED');
  const { record_id } = await stored('BootNotification');
  await goTo(record_id, /message$/);
  await page.waitForURL(`**/messages/${record_id}`);
  await page.locator('h1').focus();
  await page.keyboard.press('?');
  await page.getByRole('dialog').getByText('Waiting room').waitFor();
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.keyboard.press('g');
  await page.keyboard.press('w');
  await page.waitForURL('**/wallboard');
  page.assertClean();
  await page.context().close();
});

test('dead letters of one cause are tried again and discarded together, after a dry run has said what that does', async () => {
  // No version of OCPP has such records, so they cannot be applied now either.
  const row = (seq, reason) => `db.execute("INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) VALUES (0, ${seq}, x'00ff', ?, 1769860800000)", (${JSON.stringify(reason)},))`;
  const script = wattpost.python([row(901, 'no such format 17'), row(902, 'no such format 18'), row(903, 'another <b>cause</b>')].join('\n'));
  await new Promise((done) => script.once('exit', done));
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/dead-letters`);
  const cause = page.locator('section', { has: page.getByRole('heading', { name: 'no such format N' }) });
  await cause.getByRole('button', { name: 'Only these' }).click();
  await page.getByRole('heading', { name: 'another' }).waitFor({ state: 'detached' });
  assert.match(page.url(), /reason=no\+such\+format/);
  await assertFit(page);

  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Try all again' }).click();
  await dialog.getByText('2 records that pass the filters: 0 can be read by this version and are applied, 2 cannot and stay as they are.').waitFor();
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Try 2 again' }).click();
  await page.getByRole('status').getByText('0 applied, 2 still cannot be').waitFor();

  await page.getByRole('button', { name: 'Discard all' }).click();
  await dialog.getByText('2 records are not applied to the database, ever').waitFor();
  await dialog.getByLabel('Reason').fill('test data');
  await dialog.getByRole('button', { name: 'Discard 2' }).click();
  await page.getByText(/^No dead letter passes/).waitFor();
  await page.getByRole('button', { name: /^Without / }).last().click();
  await page.getByRole('heading', { name: 'another <b>cause</b>' }).waitFor();
  assert.equal((await wattpost.get('/api/v1/dead-letters')).items.length, 1);
  await page.getByRole('button', { name: 'Discarded ones' }).click();
  await page.keyboard.press('Escape');
  await page.locator('main summary').first().click();
  await page.getByText(/^Discarded .* test data$/).first().waitFor();

  // Where none is left, the page says whether one was given up before.
  await page.goto(`${wattpost.url}/dead-letters`);
  await page.getByRole('button', { name: 'Discard all' }).click();
  await dialog.getByText('1 record is not applied to the database, ever').waitFor();
  await dialog.getByLabel('Reason').fill('test data');
  await dialog.getByRole('button', { name: 'Discard 1' }).click();
  await page.getByRole('button', { name: 'Some were discarded' }).click();
  await page.waitForURL(/state=discarded/);
  await page.getByRole('heading', { name: 'another <b>cause</b>' }).waitFor();
  page.assertClean();
  await page.context().close();
});

test('a charger gets a label, a site and a group, is found by them, and leaves the list when it is removed', async () => {
  const other = await Charger.connect(wattpost, 'CP-7');
  await other.call('BootNotification', { chargePointVendor: 'Example', chargePointModel: 'AC-22' });
  assert.equal((await post('/api/v1/sites', { id: 'depot-7', name: 'Depot <b>7</b>' })).status, 201);
  assert.equal((await post('/api/v1/chargers', { charger_id: 'CP-7' })).status, 201);
  await until('it is added', async () => (await wattpost.get('/api/v1/chargers/CP-7')).settings);
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/chargers/CP-7`);
  await page.getByRole('button', { name: 'Edit label and site' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Label').fill('<i>North</i> gate');
  await dialog.getByLabel('Site').selectOption('depot-7');
  await dialog.getByLabel('Group').fill('fleet');
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByText('<i>North</i> gate').waitFor();
  await assertFit(page);

  // The link of the site leads to its chargers; others are not among them.
  await page.getByRole('link', { name: 'Depot <b>7</b>' }).click();
  await page.getByText(/^1 of \d/).waitFor();
  assert.match(page.url(), /site=depot-7/);
  await page.getByRole('cell', { name: 'Depot <b>7</b> fleet' }).waitFor();
  await assertFit(page);
  // The page Now has the site, and leads to its chargers too.
  await page.goto(wattpost.url);
  await page.getByRole('row', { name: /Depot <b>7<\/b> \d of 1/ }).getByRole('link').click();
  await page.waitForURL(/site=depot-7/);
  await page.goto(`${wattpost.url}/chargers?q=north`);
  await page.getByRole('link', { name: 'CP-7' }).waitFor();
  assert.equal(await page.getByRole('link', { name: 'CP-<i>1' }).count(), 0);

  // Its connection is closed, and it leaves the list without a reload; its page has its history.
  await page.goto(`${wattpost.url}/chargers`);
  await page.getByRole('link', { name: 'CP-7' }).waitFor();
  other.close();
  assert.equal((await fetch(`${wattpost.url}/api/v1/chargers/CP-7`, { method: 'DELETE' })).status, 204);
  await until('it is not listed', async () => (await page.getByRole('link', { name: 'CP-7' }).count()) === 0);
  await page.goto(`${wattpost.url}/chargers/CP-7`);
  await page.getByText('Its history stays.').waitFor();
  await assertFit(page);
  page.assertClean();
  await page.context().close();
});
