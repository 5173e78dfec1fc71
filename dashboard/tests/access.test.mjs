// An installation with keys that knows no charger yet: sign-in, scopes, the first charger, and outages.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Charger, HOSTILE, Receiver, Wattpost, assertAccessible, assertHarmless, handshake, launch, openPage, picture, tabTo, until, violations } from './support.mjs';

const REFUSED = [/status of 40[13]/];
let wattpost;
let browser;
let receiver;
const keys = {};

before(async () => {
  receiver = await Receiver.start();
  const webhooks = { WATTPOST__WEBHOOKS__ALLOW_HTTP: 'true', WATTPOST__WEBHOOKS__ALLOWED_NETWORKS: '["127.0.0.1/32"]' };
  wattpost = await Wattpost.start({ WATTPOST__POLICY__UNKNOWN_CHARGER: 'reject', ...webhooks });
  for (const scope of ['read', 'operate', 'admin']) keys[scope] = await wattpost.key(scope, scope);
  await until('a key is needed', async () => (await fetch(`${wattpost.url}/api/v1/chargers`)).status === 401);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await wattpost?.stop();
  receiver?.stop();
});

/** A change with a key, that of the administrator by default. Returns the answer's body. */
async function change(method, path, body, key = keys.admin) {
  const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', 'Idempotency-Key': `${path} ${Date.now()}` };
  const answer = await fetch(wattpost.url + path, { method, headers, body: JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${text}`);
  return JSON.parse(text);
}

async function signIn(page, key) {
  await page.goto(wattpost.url);
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

test('a wrong key is refused and told so; a right one opens the dashboard, and signing out closes it', async () => {
  for (const theme of ['light', 'dark']) {
    const page = await openPage(browser, { colorScheme: theme, allowed: REFUSED });
    await signIn(page, `wp_live_${'x'.repeat(43)}`);
    await page.getByText('not one of this installation').waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByLabel('API key').fill(keys.read);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Now' }).waitFor();

    const [cookie] = await page.context().cookies();
    assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict' && cookie.expires > Date.now() / 1000);
    assert.ok(!cookie.value.includes('wp_live_') && !(await page.content()).includes(keys.read));
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('API key').waitFor();
    const again = await fetch(`${wattpost.url}/api/v1/chargers`, { headers: { Cookie: `${cookie.name}=${cookie.value}` } });
    assert.equal(again.status, 401);
    page.assertClean();
    await page.context().close();
  }
});

test('a session cannot change anything without its token, nor from another origin', async () => {
  const page = await openPage(browser, { allowed: REFUSED });
  await signIn(page, keys.admin);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  const [cookie] = await page.context().cookies();
  const headers = { Cookie: `${cookie.name}=${cookie.value}`, 'Content-Type': 'application/json' };
  const put = (more) => fetch(`${wattpost.url}/api/v1/tokens/FORGED`, { method: 'PUT', headers: { ...headers, ...more }, body: '{}' });
  const forged = await put({});
  assert.equal(forged.status, 403);
  assert.equal((await forged.json()).code, 'csrf_token_missing');
  assert.equal((await put({ 'X-CSRF-Token': 'f'.repeat(64) })).status, 403);
  const session = await (await fetch(`${wattpost.url}/api/v1/session`, { headers })).json();
  assert.equal((await put({ 'X-CSRF-Token': session.csrf_token })).status, 201);
  const foreign = await fetch(`${wattpost.url}/api/v1/session`, {
    method: 'POST', headers: { 'Content-Type': 'application/json', Origin: 'http://evil.example' }, body: JSON.stringify({ key: keys.read }),
  });
  assert.equal(foreign.status, 401);
  page.assertClean();
  await page.context().close();
});

test('a scope shows and permits what it permits', async () => {
  const page = await openPage(browser, { allowed: REFUSED });
  await signIn(page, keys.read);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  assert.equal(await page.getByRole('link', { name: 'Audit' }).count(), 0);
  await page.goto(`${wattpost.url}/tokens`);
  await page.getByRole('heading', { name: 'Tokens', exact: true }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Add a token' }).count(), 0);
  await page.goto(`${wattpost.url}/commands/new`);
  await page.getByText('commands need operate').waitFor();
  await page.goto(`${wattpost.url}/audit`);
  await page.getByText('needs the scope admin').waitFor();
  page.assertClean();
  await page.context().close();
});

test('the first charger: the address to set, its refusal with the reason, and its acceptance', async () => {
  const page = await openPage(browser);
  await signIn(page, keys.operate);
  await page.getByText('Connect the first charger').waitFor();
  await page.getByText('Last attempt: none').waitFor();
  const addresses = page.getByRole('region', { name: 'Addresses by version' }).getByText('/ocpp/YOUR-ID');
  await until('each version has its address', async () => (await addresses.count()) === 3);
  assert.deepEqual(await violations(page), []);
  await assert.rejects(Charger.connect(wattpost, 'CP-17'));
  await page.getByText('CP-17 tried at').waitFor();
  await page.getByText('Press Accept in the waiting room, or add it with wattpost charger add CP-17, or set').waitFor();
  await page.getByRole('status').getByRole('link', { name: 'Waiting room' }).click();
  await page.getByRole('heading', { name: /CP-17/ }).waitFor();
  await page.getByText('Press Accept, or add it with wattpost charger add CP-17, or set policy.unknown_charger to "accept" or "pending".').waitFor();
  assert.deepEqual(await page.locator('main li code').allInnerTexts().then((all) => all.slice(0, 2)), ['wattpost charger add CP-17', 'policy.unknown_charger']);
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'Accept' }).click();
  assert.deepEqual(await violations(page), []);
  await page.getByRole('dialog').getByRole('button', { name: 'Accept' }).click();
  await page.getByText('No charger was refused').waitFor();
  const charger = await until('the charger is admitted', () => Charger.connect(wattpost, 'CP-17').catch(() => null));
  await charger.call('BootNotification', { chargePointVendor: 'V', chargePointModel: 'M' });
  await charger.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: 'Available' });
  await page.getByRole('navigation').getByRole('link', { name: 'Chargers' }).click();
  const row = page.getByRole('row', { name: /CP-17/ });
  await row.getByText('Available').waitFor();
  // What it said last is never shown as what it is.
  charger.close();
  await row.getByText('gone since').waitFor();
  await row.getByText('Unknown: the charger is not connected').waitFor();
  await row.getByRole('link').click();
  const connector = page.getByRole('row', { name: /Unknown/ });
  await connector.getByText('Available').waitFor();
  page.assertClean();
  await page.context().close();
});

test('tokens come from a file: first the verdict, then the change', async () => {
  const page = await openPage(browser);
  await signIn(page, keys.operate);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await page.goto(`${wattpost.url}/tokens`);
  const file = (text) => page.getByLabel(/Choose a file/).setInputFiles({ name: 'tokens.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
  await file('id,status\nA1,Nonsense\n');
  await page.getByText('Nothing was changed').waitFor();
  await file('id,group\nA1,FLEET\nA2,FLEET\n');
  await page.getByText('2 created').waitFor();
  const listed = page.getByRole('button', { name: 'Change A1', exact: true });
  assert.equal(await listed.count(), 0);
  await page.getByRole('button', { name: 'Apply tokens.csv' }).click();
  await listed.waitFor();
  page.assertClean();
  await page.context().close();
});

test('an unknown token is added from the list, and another one is dismissed by the keyboard', async () => {
  const charger = await Charger.connect(wattpost, 'CP-17');
  await charger.call('BootNotification', { chargePointVendor: 'V', chargePointModel: 'M' });
  const hostile = '<img src=x onerror>';
  for (const idTag of [hostile, 'NEW-1']) await charger.call('Authorize', { idTag });
  const page = await openPage(browser);
  await signIn(page, keys.operate);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await page.goto(`${wattpost.url}/tokens`);
  const add = page.getByRole('button', { name: 'Add NEW-1' });
  await add.waitFor();
  assert.deepEqual(await violations(page), []);
  await add.click();
  assert.equal(await page.getByRole('dialog').getByLabel('Id', { exact: true }).inputValue(), 'NEW-1');
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Change NEW-1' }).waitFor();
  await add.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: `Dismiss ${hostile}` }).focus();
  await page.keyboard.press('Enter');
  assert.deepEqual(await violations(page), []);
  await page.getByRole('dialog').getByRole('button', { name: 'Dismiss' }).focus();
  await page.keyboard.press('Enter');
  await page.getByText('No charger presented a token that was not added.').waitFor();
  charger.close();
  page.assertClean();
  await page.context().close();
});

test('the pipeline page says that the database is down, and that it works again', async (t) => {
  const page = await openPage(browser);
  await signIn(page, keys.read);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await page.goto(`${wattpost.url}/pipeline`);
  await page.getByText('Every part works.').waitFor();
  const others = [];
  for (const path of ['/transactions', '/']) {
    const other = await page.context().newPage();
    await other.goto(wattpost.url + path);
    await other.getByRole('button', { name: /^Live/ }).waitFor();
    others.push(other);
  }
  const [, now] = others;
  await now.getByText('Nothing does.').or(now.getByRole('list', { name: 'What needs a person' })).waitFor();
  // Another process holds the lock of the database file.
  const lock = wattpost.python('db.execute("BEGIN EXCLUSIVE")\nprint("held",flush=True)\nsys.stdin.read()');
  // Whatever becomes of this test, the next one has a database.
  t.after(() => lock.kill());
  await new Promise((done) => lock.stdout.once('data', done));
  const charger = await Charger.connect(wattpost, 'CP-17');
  const beats = setInterval(() => void charger.call('Heartbeat', {}), 200);
  t.after(() => clearInterval(beats));
  await page.getByText(/The database is (down|degraded)/).waitFor({ timeout: 40_000 });
  await page.getByText(/records wait in the journal/).first().waitFor();
  for (const other of others) {
    // SQLite still reads while another process writes.
    await other.getByRole('button', { name: /^(Database away since|No answer since|Behind|.* behind)/ }).waitFor();
  }
  await now.getByText(/^Database: (down|degraded)/).waitFor();
  await now.getByText('Nothing does.').waitFor({ state: 'detached' });
  for (const one of [page, ...others]) await assertAccessible(one);
  lock.stdin.end();
  await page.getByText('Every part works.').waitFor({ timeout: 40_000 });
  for (const other of others) {
    await other.getByRole('button', { name: /^Live/ }).waitFor();
    await other.close();
  }
  clearInterval(beats);
  charger.close();
  page.assertClean();
  await page.context().close();
});

test('a user signs in with a password, and a new password ends the session', async () => {
  const made = (await wattpost.run('user', 'add', 'Anna', '--scope', 'read')).trim().split('\n').at(-1);
  assert.match(made, /^[0-9A-Za-z]{20}$/);
  await until('the user is known', async () => {
    const body = JSON.stringify({ user: 'anna', password: made });
    const answer = await fetch(`${wattpost.url}/api/v1/session`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    if (answer.status === 201) return true;
    // Ten failures of one address are allowed; the sign-ins below need some of them.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    return false;
  });
  const page = await openPage(browser, { allowed: REFUSED });
  await page.goto(wattpost.url);
  await page.getByRole('button', { name: 'As a user' }).click();
  await page.getByLabel('User name').fill('anna');
  await page.getByLabel('Password').fill('a wrong password');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({ hasText: 'The user name or the password is wrong' }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('Password').fill(made);
  await page.keyboard.press('Enter');
  await page.getByText('anna (read)').waitFor();
  assert.ok(!(await page.content()).includes(made));

  // The user sets another one: a wrong current password is refused and ends no session.
  await page.getByRole('button', { name: 'Set own password' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Current password').fill('not the current one');
  await dialog.getByLabel('New password', { exact: true }).fill('a password of her own');
  await dialog.getByLabel('New password again').fill('a password of her own');
  await dialog.getByRole('button', { name: 'Set password' }).click();
  await dialog.getByRole('alert').waitFor();
  assert.deepEqual(await violations(page), []);
  await dialog.getByLabel('Current password').fill(made);
  await dialog.getByRole('button', { name: 'Set password' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.reload();
  await page.getByText('anna (read)').waitFor();

  const admin = await openPage(browser);
  await signIn(admin, keys.admin);
  await admin.getByRole('link', { name: 'Users' }).click();
  // A key has no password.
  assert.equal(await admin.getByRole('button', { name: 'Set own password' }).count(), 0);
  const row = admin.getByRole('row', { name: /anna/ });
  await row.getByRole('button', { name: 'Set the password of anna' }).click();
  await admin.getByLabel('New password').fill('another long password');
  assert.deepEqual(await violations(admin), []);
  await admin.getByRole('button', { name: 'Set', exact: true }).click();
  await admin.getByRole('dialog').waitFor({ state: 'detached' });
  // The session of the user has ended.
  await page.getByLabel('User name').waitFor();
  await page.getByLabel('User name').fill('anna');
  await page.getByLabel('Password').fill('another long password');
  await page.keyboard.press('Enter');
  await page.getByText('anna (read)').waitFor();

  await row.getByRole('button', { name: 'Disable anna' }).click();
  await row.getByText('disabled').waitFor();
  await page.getByLabel('User name').waitFor();
  await row.getByRole('button', { name: 'Remove anna' }).click();
  await admin.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await admin.getByText('There is no user').waitFor();
  await admin.goto(`${wattpost.url}/audit`);
  await admin.getByText('user.removed').waitFor();
  assert.deepEqual(await violations(admin), []);
  for (const one of [page, admin]) {
    one.assertClean();
    await one.context().close();
  }
});

test('the keyboard alone signs in, filters, opens, commands, accepts, retries and signs out', async () => {
  const page = await openPage(browser);
  await page.goto(wattpost.url);
  await page.getByLabel('API key').waitFor();
  await page.keyboard.type(keys.operate);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  const charger = await Charger.connect(wattpost, 'CP-17');
  await assert.rejects(Charger.connect(wattpost, 'CP-18'));

  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await page.getByRole('row', { name: /CP-17/ }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('cp-1');
  await until('the address has the filter', () => page.url().includes('q=cp-1'));
  await tabTo(page, page.getByRole('button', { name: 'Connected', exact: true }));
  await page.keyboard.press('Enter');
  await until('the address has the filter', () => page.url().includes('online=true'));
  await tabTo(page, page.getByRole('link', { name: 'CP-17' }));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'CP-17' }).waitFor();

  await tabTo(page, page.getByRole('button', { name: 'Ask for its status' }));
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/commands\/[0-9a-f]{8}/);

  await tabTo(page, page.getByRole('navigation').getByRole('link', { name: 'Waiting room' }));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: /CP-18/ }).waitFor();
  await page.keyboard.press('j');
  const accept = page.getByRole('listitem').filter({ hasText: 'CP-18' }).getByRole('button', { name: 'Accept' });
  await until('j goes to the first entry', () => accept.evaluate((button) => button === document.activeElement));
  await page.keyboard.press('Enter');
  await tabTo(page, page.getByRole('dialog').getByRole('button', { name: 'Accept' }));
  await page.keyboard.press('Enter');
  await until('the charger is admitted', () => Charger.connect(wattpost, 'CP-18').then((one) => one.close() ?? true, () => null));

  // No version of OCPP has such a record, so it cannot be applied now either.
  const letter = 'db.execute("INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) VALUES (0, 1, x\'00ff\', \'no such format\', 1769860800000)")';
  const script = wattpost.python(letter);
  await new Promise((done) => script.once('exit', done));
  await tabTo(page, page.getByRole('navigation').getByRole('link', { name: 'Dead letters' }));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: /no such format/ }).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await tabTo(page, page.getByRole('button', { name: 'Try again' }));
  await page.keyboard.press('Enter');
  await page.getByRole('status').getByText('still cannot be applied').waitFor();

  await tabTo(page, page.getByRole('button', { name: 'Sign out' }));
  await page.keyboard.press('Enter');
  await page.getByLabel('API key').waitFor();
  charger.close();
  page.assertClean();
  await page.context().close();
});

test('the keyboard alone adds a token, a key and a webhook, and starts and stops a charge', async () => {
  await change('POST', '/api/v1/chargers', { charger_id: 'IDLE-00001' });
  wattpost.simulate('--chargers', '1', '--id-prefix', 'IDLE-', '--transactions-per-hour', '0.001', '--versions', '1.6:1');
  const page = await openPage(browser);
  const { keyboard } = page;
  const dialog = page.getByRole('dialog');
  const press = async (target) => {
    await tabTo(page, target);
    await keyboard.press('Enter');
  };
  const fill = async (target, text) => {
    await tabTo(page, target);
    await keyboard.type(text);
  };
  const open = (name) => press(page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }));
  await page.goto(wattpost.url);
  await page.getByLabel('API key').waitFor();
  await keyboard.type(keys.admin);
  await keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Now' }).waitFor();

  await open('Tokens');
  await press(page.getByRole('button', { name: 'Add a token' }));
  await fill(dialog.getByLabel('Id', { exact: true }), 'KEYBOARD-1');
  await fill(dialog.getByLabel('Status'), 'B');
  await press(dialog.getByRole('button', { name: 'Save' }));
  await page.getByRole('row', { name: /KEYBOARD-1 Blocked/ }).waitFor();

  await open('API keys');
  await press(page.getByRole('button', { name: 'Add a key' }));
  await fill(dialog.getByLabel('Name'), 'of-the-keyboard');
  await fill(dialog.getByLabel('Scope'), 'op');
  await press(dialog.getByRole('button', { name: 'Add', exact: true }));
  await page.getByText(/^wp_live_/).waitFor();
  await press(page.getByRole('button', { name: 'I have it' }));
  await page.getByRole('row', { name: /of-the-keyboard operate/ }).waitFor();
  await page.getByText(/^wp_live_/).waitFor({ state: 'detached' });

  await open('Webhooks');
  await press(page.getByRole('button', { name: 'Add a webhook' }));
  await fill(dialog.getByLabel('URL'), `${receiver.url}/keyboard`);
  await press(dialog.getByRole('button', { name: 'transaction.*' }));
  await press(dialog.getByRole('button', { name: 'Add', exact: true }));
  await page.getByText(/^whsec_/).waitFor();
  await press(page.getByRole('link', { name: `${receiver.url}/keyboard` }));
  await page.waitForURL(/\/webhooks\/[0-9a-f]/);
  await page.getByRole('button', { name: 'Send a test' }).waitFor();

  await open('Chargers');
  await press(page.getByRole('link', { name: 'IDLE-00001' }));
  await press(page.getByRole('link', { name: 'Start a session' }));
  await fill(page.getByLabel('Token'), 'SIMTAG0001');
  const connector = page.getByRole('combobox', { name: /^Connector/ });
  await until('the connector is known', async () => (await connector.locator('option').count()) > 1);
  await tabTo(page, connector);
  await keyboard.press('ArrowDown');
  await press(page.getByRole('button', { name: 'Send', exact: true }));
  await page.getByText('answered: Accepted').waitFor();
  await press(page.getByRole('link', { name: 'this transaction' }));
  await page.getByRole('heading', { name: 'Session at IDLE-00001' }).waitFor();
  await press(page.getByRole('button', { name: 'Ask the charger to stop' }));
  await press(dialog.getByRole('button', { name: 'Ask to stop' }));
  await page.waitForURL(/\/commands\/[0-9a-f]{8}/);
  await press(page.getByRole('link', { name: 'this transaction' }));
  await page.getByRole('heading', { name: 'Session at IDLE-00001' }).waitFor();
  await until('it has ended', () => page.getByRole('button', { name: 'Ask the charger to stop' }).count().then((found) => found === 0));
});

test('a wrong password is shown as the reason; a new one is set from there, and the charger connects', async () => {
  // Entries of the tests before: a gateway learns of a new charger a moment after it was added.
  for (const one of (await wattpost.get('/api/v1/handshakes', { Authorization: `Bearer ${keys.operate}` })).items) {
    await fetch(`${wattpost.url}/api/v1/handshakes/${one.no}`, { method: 'DELETE', headers: { Authorization: `Bearer ${keys.operate}` } });
  }
  // It was added without a password. Until the gateway knows of one, the charger is let in whatever it says.
  const headers = { Authorization: `Bearer ${keys.operate}`, 'Content-Type': 'application/merge-patch+json', 'If-Match': '*' };
  const set = await fetch(`${wattpost.url}/api/v1/chargers/CP-18`, { method: 'PATCH', headers, body: '{"password":"the-first-password"}' });
  assert.equal(set.status, 200);
  const connect = (password) => Charger.connect(wattpost, 'CP-18', { password });
  await until('a wrong password is refused', () => connect('another-password').then((one) => one.close(), (why) => /401/.test(why)));
  await assert.rejects(Charger.connect(wattpost, 'GARAGE-7'), /404/);
  assert.equal(await handshake(wattpost, '/ocpp/CP-17', 'ocpp1.5'), 400);
  const page = await openPage(browser);
  await signIn(page, keys.operate);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await page.goto(`${wattpost.url}/chargers/CP-18`);
  await page.getByText(/^CP-18 tried at .*wrong password/).waitFor();
  await page.goto(`${wattpost.url}/waiting-room`);
  const entry = (id) => page.getByRole('listitem').filter({ hasText: id });
  const wrong = entry('CP-18').filter({ hasText: 'wrong password' });
  const shows = async () => {
    await wrong.waitFor();
    await entry('GARAGE-7').getByRole('button', { name: 'Accept' }).waitFor();
    await entry('CP-17').getByText('ocpp1.5').first().waitFor();
  };
  await shows();
  await picture(page, 'dashboard-waiting-room', shows);
  await wrong.getByRole('button', { name: 'Set password' }).click();
  await page.getByRole('dialog').getByLabel('Password').fill('another-password');
  assert.deepEqual(await violations(page), []);
  await page.getByRole('dialog').getByRole('button', { name: 'Set password' }).click();
  await wrong.waitFor({ state: 'detached' });
  const charger = await until('the charger connects', () => connect('another-password').catch(() => null));
  await charger.call('BootNotification', { chargePointVendor: 'V', chargePointModel: 'M' });
  await page.getByRole('navigation').getByRole('link', { name: 'Chargers' }).click();
  await page.getByRole('row', { name: /CP-18 .*since/ }).filter({ hasNotText: 'gone since' }).waitFor();
  charger.close();
});

test('when a session expires, the open page asks to sign in, and is then at the same address', async () => {
  const { secret } = await change('POST', '/api/v1/api-keys', { name: 'short', scope: 'read', expires_at: new Date(Date.now() + 3000).toISOString() });
  const page = await openPage(browser, { allowed: REFUSED });
  await signIn(page, secret);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  const address = `${wattpost.url}/chargers?q=cp-1&online=false`;
  await page.goto(address);
  await page.getByRole('link', { name: 'CP-17' }).waitFor();
  // Nobody touches the page.
  await page.getByLabel('API key').waitFor();
  assert.equal(page.url(), address);
  await page.getByLabel('API key').fill(keys.read);
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'CP-17' }).waitFor();
  assert.equal(page.url(), address);
  assert.equal(await page.locator('main input[type=search]').inputValue(), 'cp-1');
  await page.getByRole('button', { name: /^Live/ }).waitFor();
});

test('no text of a stranger runs or becomes an element: refused handshakes, dead letters, keys, silences, batches, tokens, audit', async () => {
  const { secret } = await change('POST', '/api/v1/api-keys', { name: HOSTILE, scope: 'admin' });
  const page = await openPage(browser);
  await signIn(page, secret);
  await page.getByRole('navigation', { name: 'Pages' }).getByText('<img src=x').waitFor();
  // Who did it is the key with the hostile name.
  const by = (method, path, body) => change(method, path, body, secret);
  assert.ok((await handshake(wattpost, `/ocpp/${encodeURIComponent(HOSTILE)}`, HOSTILE)) >= 400);
  assert.ok((await handshake(wattpost, '/<img/src=x/onerror=window.hacked=3>', 'ocpp1.6')) >= 400);
  const letter = `db.execute("INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at) VALUES (0, 2, ?, ?, 1769860800000)", (${JSON.stringify(HOSTILE)}.encode(), ${JSON.stringify(HOSTILE)}))`;
  await new Promise((done) => wattpost.python(letter).once('exit', done));
  await by('PUT', '/api/v1/tokens/HOSTILE-1', { note: HOSTILE, group: '<b>x</b>' });
  const charger = await Charger.connect(wattpost, 'CP-17');
  await charger.call('Authorize', { idTag: HOSTILE.slice(0, 20) });
  await by('POST', '/api/v1/silences', { comment: HOSTILE, charger_id: '<img src=x onerror="window.hacked=4">', ends_at: new Date(Date.now() + 3_600_000).toISOString() });
  const batch = await by('POST', '/api/v1/batches', { action: 'DataTransfer', payload: { vendorId: HOSTILE, data: HOSTILE }, chargers: ['CP-17'], answer_within_ms: 1000 });
  const webhook = await by('POST', '/api/v1/webhooks', { url: `${receiver.url}/hostile`, description: HOSTILE, types: ['alert.*'] });
  await until('both handshakes are listed', async () => (await wattpost.get('/api/v1/handshakes', { Authorization: `Bearer ${secret}` })).items.filter((one) => /img/.test(JSON.stringify(one))).length === 2);
  const pages = [
    ['/', /refused/], ['/waiting-room', /Path \/<img\/src=x[^]*subprotocols <img src=x|subprotocols <img src=x[^]*Path \/<img\/src=x/], ['/dead-letters', /<img src=x/],
    ['/alerts?tab=silences', /<img src=x/], ['/batches', /<img src=x/], [`/batches/${batch.id}`, /<img src=x/], ['/tokens', /<img src=x[^]*HOSTILE-1|HOSTILE-1[^]*<img src=x/],
    ['/audit', /<img src=x/], ['/keys', /<img src=x/], ['/users', /There is no user/], ['/webhooks', /<img src=x/], [`/webhooks/${webhook.id}`, /<img src=x/],
    ['/commands', /<img src=x/], ['/messages?charger=CP-17', /<img src=x/],
  ];
  for (const [path, text] of pages) {
    await page.goto(wattpost.url + path);
    await assertHarmless(page, text);
  }
  charger.close();
});

test('a page that is left open finds Wattpost again after it was killed, and says when to sign in', async () => {
  const page = await openPage(browser, { allowed: [/ERR_/, /Failed to load resource/] });
  await signIn(page, keys.read);
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await wattpost.kill();
  await page.getByRole('button', { name: /Reconnecting/ }).waitFor();
  await wattpost.serve();
  // Sessions end with the process.
  await page.getByLabel('API key').waitFor();
  await page.getByLabel('API key').fill(keys.read);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: /^Live/ }).waitFor();
  page.assertClean();
  await page.context().close();
});
