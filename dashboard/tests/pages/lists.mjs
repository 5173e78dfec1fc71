// Lists: filters in the address, downloads, views, columns, the preview, and batches of what is listed.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Charger, HOSTILE, openPage, tabTo, until, violations } from '../support.mjs';
import { browser, post, wattpost } from './system.mjs';

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
  await page.getByRole('columnheader', { name: 'Power' }).waitFor({ state: 'detached' });
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

test('the columns of messages, transactions, tokens and commands are chosen, and the address has them', async () => {
  const page = await openPage(browser);
  for (const [path, title, value] of [['/messages', 'Message id', 'message'], ['/transactions', 'Id in OCPP', 'id'], ['/tokens', 'Several sessions', 'concurrent'], ['/chargers/SIM-00001?tab=commands', 'Answer after', 'latency']]) {
    await page.goto(wattpost.url + path);
    await page.locator('tbody [data-row]').first().waitFor();
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
  await until('its row has the focus', () => page.evaluate(() => document.activeElement.dataset.row === 'SIM-00001'));
  await page.getByRole('row', { name: /SIM-00003/ }).getByText('2.0.1').or(page.getByRole('row', { name: /SIM-00003/ }).getByText('1.6')).click();
  await of('SIM-00003').waitFor();
  await page.setViewportSize({ width: 360, height: 740 });
  await until('it is as wide as a telephone', () => page.evaluate(() => document.documentElement.scrollWidth <= 360));
  assert.deepEqual(await violations(page), []);
  page.assertClean();
  await page.context().close();
});

test('the grid has the chargers of the list as tiles, each with shapes, and the keyboard alone goes through them', async () => {
  const page = await openPage(browser);
  const tiles = page.locator('main a[data-row]');
  const focused = () => page.evaluate(() => document.activeElement.dataset.row);
  await page.goto(`${wattpost.url}/chargers?status=faulted`);
  await page.getByRole('button', { name: 'Grid' }).click();
  // A text of a stranger, in a tile that tells of its states without its colours.
  await page.getByRole('link', { name: 'EVIL<b>"1\', connected, faulted' }).waitFor();
  assert.equal(await tiles.count(), 1);
  assert.equal(new URL(page.url()).search, '?status=faulted&view=grid');
  const tile = page.getByRole('listitem').filter({ has: page.locator('a[data-row]') });
  assert.equal(await tile.locator('svg.faulted').count(), 1);
  assert.equal(await tile.locator('svg.open path').getAttribute('d'), 'M3 5h12');
  assert.match(await tiles.getAttribute('title'), /^EVIL<b>"1'\nconnected\n1: Faulted$/);
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: /^Preview EVIL/ }).click();
  await page.getByRole('complementary', { name: /^Preview of EVIL/ }).getByText('OtherError').first().waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await page.goto(`${wattpost.url}/chargers?view=grid&vendor=${encodeURIComponent(HOSTILE)}`);
  await page.getByRole('button', { name: /^Without “vendor: <img/ }).waitFor();

  await page.goto(`${wattpost.url}/chargers?q=SIM-0000&view=grid`);
  await page.getByRole('status').getByText(/^9 of /).waitFor();
  await until('each charger has a tile', async () => (await tiles.count()) === 9);
  await tabTo(page, tiles.first());
  const columns = await page.locator('ul.tiles').evaluate((element) => getComputedStyle(element).gridTemplateColumns.split(' ').length);
  assert.ok(columns > 2 && columns < 9, `${columns} columns`);
  const press = async (key, at) => {
    await page.keyboard.press(key);
    await until(`${key} leads to ${at}`, async () => (await focused()) === `SIM-0000${at}`);
  };
  for (const [key, at] of [['ArrowRight', 2], ['ArrowDown', Math.min(2 + columns, 9)], ['ArrowUp', Math.min(2 + columns, 9) - columns], ['End', 9], ['ArrowDown', 9], ['ArrowRight', 9], ['Home', 1], ['ArrowLeft', 1], ['ArrowUp', 1], ['PageDown', 9], ['PageUp', 1]]) await press(key, at);
  // Tab leads on, and back to the tile that had the focus.
  await press('ArrowRight', 2);
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'SIM-00002');
  await page.keyboard.press('x');
  await page.getByRole('link', { name: /^SIM-00002, .*, selected$/ }).waitFor();
  await page.keyboard.press('x');
  await page.keyboard.press('v');
  const of = (id) => page.getByRole('complementary', { name: `Preview of ${id}` });
  await of('SIM-00002').getByText('Wattpost Simulator').waitFor();
  await press('ArrowRight', 3);
  await of('SIM-00003').waitFor();
  assert.match(page.url(), /preview=SIM-00003/);
  await page.keyboard.press('Escape');
  await until('it is closed', async () => (await page.getByRole('complementary').count()) === 0);
  assert.equal(await focused(), 'SIM-00003');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/chargers/SIM-00003');
  await page.goBack();
  await until('the grid is there again', async () => (await tiles.count()) === 9 && /view=grid/.test(page.url()));
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 740 });
      assert.deepEqual(await violations(page), [], `${colorScheme}, ${width} pixels`);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width);
    }
  }
  const small = await page.locator('ul.tiles').locator('button, a').evaluateAll((all) => all.map((one) => one.getBoundingClientRect()).filter((one) => one.width < 43.5 || one.height < 43.5).length);
  assert.equal(small, 0, 'a finger meets each of them');
  await page.getByRole('button', { name: 'List' }).click();
  await page.getByRole('row', { name: /SIM-00001/ }).waitFor();
  assert.equal(new URL(page.url()).search, '?q=SIM-0000');
  page.assertClean();
  await page.context().close();
});

test('a site has its name wherever a person reads it, and its id in the address', async () => {
  const name = 'Depot <b>North</b>';
  await post('/api/v1/sites', { id: 'depot-north', name });
  await post('/api/v1/chargers', { charger_id: 'SITE-1', site: 'depot-north' });
  const link = await Charger.connect(wattpost, 'SITE-1');
  await until('it is stored', () => wattpost.get('/api/v1/chargers/SITE-1'));
  const page = await openPage(browser);
  await page.goto(wattpost.url);
  await page.getByRole('row', { name: /^Depot <b>North<\/b> 1 of 1/ }).getByRole('link').click();
  await page.waitForURL('**/chargers?site=depot-north');
  await page.getByRole('row', { name: /SITE-1/ }).getByText(name).waitFor();
  const select = page.getByLabel('Site', { exact: true });
  assert.equal(await select.inputValue(), 'depot-north');
  assert.equal(await select.locator('option:checked').innerText(), name);
  await page.getByRole('button', { name: /^Preview SITE-1/ }).click();
  await page.getByRole('complementary').getByText(name).waitFor();
  await page.getByRole('link', { name: 'New batch for all 1 of the list' }).click();
  await page.getByText(`Those with site: ${name}: SITE-1`).waitFor();
  await page.goto(`${wattpost.url}/chargers?site=depot-north&q=none`);
  await page.getByRole('button', { name: `Without “site: ${name}”: 0` }).waitFor();
  await page.goto(`${wattpost.url}/chargers/SITE-1`);
  await page.locator('dl.facts').getByRole('link', { name }).click();
  await page.waitForURL('**/chargers?site=depot-north');
  assert.deepEqual(await violations(page), []);
  // Two of one name are told apart.
  await post('/api/v1/sites', { id: 'depot-other', name });
  await page.reload();
  await page.getByRole('row', { name: /SITE-1/ }).getByText(`${name} (depot-north)`).waitFor();
  page.assertClean();
  await page.context().close();
  link.close();
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
  await ask('Resume', 'goes on for');
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

test('chargers are imported from pasted lines: a verdict on each line first, then all or none', async () => {
  const page = await openPage(browser, { allowed: [/status of 422/] });
  await page.goto(`${wattpost.url}/chargers`);
  await page.getByRole('status').getByText(/^1[0-9] of /).waitFor();
  await page.getByRole('button', { name: 'Import' }).click();
  const dialog = page.getByRole('dialog');
  const lines = dialog.getByLabel('Or paste the lines');
  const judge = dialog.getByRole('button', { name: 'Say what would happen' });
  await lines.fill(`charger_id,admission,label\nPAPER-1,accepted,"${HOSTILE.slice(0, 40).replaceAll('"', '""')}"\nPAPER-2,perhaps,\n`);
  await judge.click();
  await dialog.getByText('Nothing was changed: 1 refused, 1 created').waitFor();
  await dialog.getByRole('row', { name: /^3 PAPER-2 refused admission is perhaps/ }).waitFor();
  assert.equal(await dialog.getByRole('button', { name: /^Apply/ }).count(), 0);
  assert.deepEqual(await violations(page), []);
  const known = async () => (await wattpost.get('/api/v1/chargers?q=PAPER')).items.length;
  assert.equal(await known(), 0);
  // Every page that is open hears of each of them, and reads the list instead of each charger.
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await lines.fill(`charger_id,label\n${Array.from({ length: 300 }, (_, index) => `PAPER-${index},${index ? 'north' : `"${HOSTILE.slice(0, 20).replaceAll('"', '""')}"`}`).join('\n')}\n`);
  await judge.click();
  await dialog.getByText('This would happen: 300 created').waitFor();
  await dialog.getByRole('button', { name: 'Apply the pasted lines' }).click();
  await dialog.getByText('Done: 300 created').waitFor();
  assert.equal(await known(), 100);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('status').getByText(/^3[0-9]{2} of /).waitFor();
  const single = asked.filter((url) => url.includes('/api/v1/chargers/PAPER')).length;
  assert.ok(single <= 60, `${single} requests`);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  page.assertClean();
  await page.context().close();
  for (let index = 0; index < 300; index += 1) await fetch(`${wattpost.url}/api/v1/chargers/PAPER-${index}`, { method: 'DELETE' });
});
