// What the address, the theme, the time and a narrow screen have to do with a page: links, Back, colours, the axis of time, touch.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Charger, load, openPage, tabTo, until, violations } from '../support.mjs';
import { browser, ended, evil, post, wattpost } from './system.mjs';

const TELEPHONE = { width: 360, height: 740 };

test('Copy link copies the address of now: with the tab, the filter, the column and the dialog', async () => {
  const page = await openPage(browser, { permissions: ['clipboard-read', 'clipboard-write'] });
  const copied = async (scope = page.locator('main')) => {
    await page.evaluate(() => navigator.clipboard.writeText(''));
    await scope.getByRole('button', { name: 'Copy link' }).click();
    return until('the link is copied', () => page.evaluate(() => navigator.clipboard.readText()));
  };
  await page.goto(`${wattpost.url}/chargers/SIM-00001`);
  await page.getByRole('tab', { name: 'Messages' }).click();
  await page.waitForURL(/tab=messages/);
  assert.equal(await copied(), `${wattpost.url}/chargers/SIM-00001?tab=messages`);
  await page.getByLabel('Kind').selectOption('call');
  assert.equal(await copied(), page.url());
  assert.match(page.url(), /kind=call/);

  await page.goto(`${wattpost.url}/chargers`);
  await page.getByRole('button', { name: 'faulted' }).click();
  assert.equal(await copied(), `${wattpost.url}/chargers?status=faulted`);
  await page.getByLabel('Search chargers').fill('EVIL');
  assert.equal(await copied(), `${wattpost.url}/chargers?status=faulted&q=EVIL`);
  await page.getByRole('button', { name: 'Columns' }).click();
  await page.getByRole('dialog').getByLabel('Serial').check();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  assert.match(await copied(), /columns=[^&]*serial/);
  await page.getByRole('button', { name: 'Add a charger' }).click();
  const ofDialog = await copied(page.getByRole('dialog'));
  assert.equal(ofDialog, page.url());
  assert.match(ofDialog, /dialog=add/);
  await page.keyboard.press('Escape');
  await until('the address has no dialog', () => !page.url().includes('dialog'));
  assert.equal(await copied(), page.url());
  page.assertClean();
  await page.context().close();
});

test('Back returns to the tab and the filter before, also from an object, and leaves a page with an odd address', async () => {
  const page = await openPage(browser);
  const search = () => new URL(page.url()).search;
  const back = async (what, condition) => {
    await page.goBack();
    await until(`Back leads to ${what}`, condition);
  };
  const rows = () => page.locator('tbody a[data-row]').count();
  const tab = async (name) => (await page.getByRole('tab', { name }).getAttribute('aria-selected')) === 'true';
  await page.goto(`${wattpost.url}/chargers`);
  await until('all are listed', async () => (await rows()) > 10);
  const faulted = page.getByRole('button', { name: 'faulted' });
  await faulted.click();
  await until('one is listed', async () => (await rows()) === 1);
  // What is typed is no step for each key.
  await page.getByLabel('Search chargers').pressSequentially('EVIL');
  await page.locator('tbody a[data-row]').click();
  await page.getByRole('tab', { name: 'Messages' }).click();
  await page.getByRole('tab', { name: 'Uptime' }).click();
  await page.getByLabel('Time', { exact: true }).selectOption({ index: 1 });
  await page.waitForURL(/month=/);
  await back('the last 30 days', async () => search() === '?tab=uptime' && (await page.getByLabel('Time', { exact: true }).inputValue()) === '');
  await back('the messages', () => tab('Messages'));
  await back('the first tab', async () => search() === '' && (await tab('Now')));
  await back('the list with its filters', async () => search() === '?status=faulted&q=EVIL' && (await rows()) === 1);
  assert.equal(await page.getByLabel('Search chargers').inputValue(), 'EVIL');
  assert.equal(await faulted.getAttribute('aria-pressed'), 'true');
  await back('the list without a filter', async () => search() === '' && (await rows()) > 10);
  assert.equal(await page.getByLabel('Search chargers').inputValue(), '');
  assert.equal(await faulted.getAttribute('aria-pressed'), 'false');
  await page.goForward();
  await until('Forward leads to the filters', async () => search() === '?status=faulted&q=EVIL' && (await rows()) === 1);

  await page.goto(`${wattpost.url}/commands`);
  await page.getByLabel('Effect').selectOption('seen');
  await page.waitForURL(/effect=seen/);
  await back('every effect', async () => search() === '' && (await page.getByLabel('Effect').inputValue()) === '');

  // A page that takes a part of its address for another one writes no step, so Back leaves it.
  for (const odd of [`/chargers/${evil}?tab=none&dialog=none`, `/chargers/${evil}?tab=uptime&month=2026-13`, '/chargers?columns=none&preview=none', '/alerts?tab=none&part=none', '/messages?range=none', '/pipeline?part=none&find=none']) {
    await page.goto(`${wattpost.url}/system`);
    await page.getByText('This process works').waitFor();
    await page.goto(wattpost.url + odd);
    await page.locator('main h1').waitFor();
    const steps = await page.evaluate(() => history.length);
    await page.locator('main button').first().waitFor();
    await page.locator('header').getByRole('button', { name: /^(Live|\d+ s behind)/ }).waitFor();
    assert.equal(await page.evaluate(() => history.length), steps, `${odd} has written a step`);
    await back('the page before', () => new URL(page.url()).pathname === '/system');
  }
  page.assertClean();
  await page.context().close();
});

test('a curve has the colours of the theme, also after the button, and after the system has changed its own', async () => {
  const page = await openPage(browser, { colorScheme: 'light' });
  await page.goto(`${wattpost.url}/transactions/${ended.key}`);
  await page.locator('main canvas').first().waitFor();
  /** How many opaque points of the canvas have the colour of the lines in each theme. */
  const lines = () =>
    page.evaluate(() => {
      const canvas = document.querySelector('main canvas');
      // A copy, so that the canvas of the page is not read again and again.
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      const found = { light: 0, dark: 0 };
      for (let at = 0; at < data.length; at += 4) {
        const colour = data.subarray(at, at + 4).join();
        if (colour === '220,220,212,255') found.light += 1;
        if (colour === '42,48,46,255') found.dark += 1;
      }
      return found;
    });
  const has = (theme, other) => until(`the curve is ${theme}`, async () => (await lines())[theme] > 200 && (await lines())[other] === 0);
  await has('light', 'dark');
  const button = page.getByRole('button', { name: /Change the theme$/ });
  await button.click();
  await has('dark', 'light');
  // A theme that was chosen is that of the page, whatever the system has.
  await page.emulateMedia({ colorScheme: 'dark' });
  await button.click();
  await has('light', 'dark');
  await button.click();
  await page.getByRole('button', { name: 'Theme of the system. Change the theme' }).waitFor();
  await has('dark', 'light');
  await page.emulateMedia({ colorScheme: 'light' });
  await has('light', 'dark');
  assert.deepEqual(await violations(page), []);
  page.assertClean();
  await page.context().close();
});

test('the axis of a timeline ends at the edge of a telephone, whatever the time of day', async () => {
  const page = await openPage(browser, { viewport: TELEPHONE, timezoneId: 'Europe/Berlin' });
  // In years to come the axis begins a day before the time that the page was opened, and nothing is on it.
  await page.clock.install({ time: new Date('2031-03-09T20:07:00Z') });
  await page.goto(`${wattpost.url}/chargers/${evil}?tab=timeline`);
  await page.clock.runFor(1000);
  await page.locator('.labels .end').waitFor();
  const texts = new Set();
  const MINUTES = 23;
  for (let step = 1; step <= 60; step += 1) {
    await page.clock.setSystemTime(new Date(Date.parse('2031-03-09T20:07:00Z') + step * MINUTES * 60_000));
    await page.clock.runFor(1000);
    const drawn = await page.evaluate(() => {
      const now = document.querySelector('.labels .end').getBoundingClientRect();
      const labels = [...document.querySelectorAll('.labels span:not(.end)')].filter((one) => one.checkVisibility());
      return { width: document.documentElement.scrollWidth, now: [now.left, now.right], labels: labels.map((one) => [one.innerText, one.getBoundingClientRect().left, one.getBoundingClientRect().right]) };
    });
    const shown = JSON.stringify(drawn);
    assert.ok(drawn.width <= TELEPHONE.width && drawn.now[1] <= TELEPHONE.width, shown);
    assert.ok(drawn.labels.length > 0, shown);
    drawn.labels.forEach(([text, left, right], index) => {
      texts.add(text);
      assert.ok(left >= 0 && right < drawn.now[0], `${text} does not end before the word now: ${shown}`);
      assert.ok(index === 0 || left > drawn.labels[index - 1][2], `${text} lies over the one before: ${shown}`);
    });
  }
  // Times alone, and times with their day, were among them.
  assert.ok([...texts].some((text) => /^\d\d:\d\d$/.test(text)) && [...texts].some((text) => /Mar/.test(text)), [...texts].join());
  page.assertClean();
  await page.context().close();
});

test('a finger opens the palette on a telephone, and the keyboard alone opens, uses and leaves it', async () => {
  const page = await openPage(browser, { viewport: TELEPHONE, hasTouch: true });
  await page.goto(`${wattpost.url}/system`);
  const open = page.getByRole('button', { name: /^Go to charger, token/ });
  const dialog = page.getByRole('dialog', { name: 'Go to' });
  await open.tap();
  await dialog.waitFor();
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('combobox').fill('SIM-00003');
  await dialog.getByRole('option', { name: /^SIM-00003/ }).tap();
  await page.waitForURL('**/chargers/SIM-00003');

  await tabTo(page, open);
  await page.keyboard.press('Enter');
  await dialog.waitFor();
  await until('its field has the focus', () => dialog.getByRole('combobox').evaluate((element) => element === document.activeElement));
  await page.keyboard.press('Escape');
  await until('it is closed', async () => (await dialog.count()) === 0);
  await until('the button has the focus again', () => open.evaluate((element) => element === document.activeElement));
  await page.keyboard.press('Enter');
  await page.keyboard.type('pipeline');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/pipeline');
  page.assertClean();
  await page.context().close();
});

test('the list of chargers has the connections of the last 24 hours, read for all rows in sight at once', async () => {
  const link = await Charger.connect(wattpost, 'DAY-1');
  const page = await openPage(browser);
  const asked = [];
  page.on('request', (request) => request.url().includes('/api/v1/uptime') && asked.push(new URL(request.url()).searchParams.get('chargers').split('/')));
  await page.goto(`${wattpost.url}/chargers`);
  await page.getByRole('row', { name: /SIM-00001/ }).getByRole('img', { name: /^The last 24 hours: connected 100\.0 %/ }).waitFor();
  await page.getByRole('row', { name: /DAY-1/ }).getByRole('img', { name: /connected 100\.0 % .* not connected for 0\ss/ }).waitFor();
  assert.ok(asked.length <= 2 && asked[0].length > 10, JSON.stringify(asked));
  // Who has gone is read again, without the others.
  link.close();
  await page.getByRole('row', { name: /DAY-1/ }).getByRole('img', { name: /not connected for [1-9]/ }).waitFor();
  assert.ok(asked.slice(1).flat().filter((id) => id === 'SIM-00012').length <= 1, JSON.stringify(asked));
  page.assertClean();
  await page.context().close();
});

test('the head of a charger has its gateway, its security profile and its deviations', async () => {
  const sloppy = await Charger.connect(wattpost, 'SLOPPY-1');
  await sloppy.call('BootNotification', { chargePointVendor: 'V', chargePointModel: 'M', unknownMember: 1 });
  const { gateway_id, quirks } = await until('its deviation is stored', async () => {
    const one = await wattpost.get('/api/v1/chargers/SLOPPY-1');
    return one.quirks.length > 0 && one;
  });
  await post('/api/v1/chargers', { charger_id: 'SECRET-1', password: 'correct-horse-battery' });
  const page = await openPage(browser);
  const head = page.locator('dl.state');
  await page.goto(`${wattpost.url}/chargers/SLOPPY-1`);
  await head.getByText(quirks[0].quirk.replaceAll('_', ' ')).waitFor();
  await head.getByRole('link', { name: gateway_id.slice(-6) }).waitFor();
  await head.getByText('0, without a password').waitFor();
  await page.goto(`${wattpost.url}/chargers/SECRET-1`);
  await head.getByText('1, with a password').waitFor();
  await head.getByText('none', { exact: true }).waitFor();
  page.assertClean();
  await page.context().close();
  sloppy.close();
});

test('each part of the pipeline has a runbook: the rules about it, with what to do', async () => {
  const { PARTS, RULES, isAbout } = await load('runbook');
  const { items } = await wattpost.get('/api/v1/alert-rules');
  const names = new Set(items.filter((rule) => rule.about === 'pipeline').map((rule) => rule.name));
  const parts = Object.keys(PARTS);
  // Each part has rules, and each of them is one of the API's.
  assert.deepEqual(Object.keys(RULES).sort(), [...parts].sort());
  assert.deepEqual(Object.values(RULES).flat().filter((name) => !names.has(name)), []);
  assert.deepEqual((await wattpost.get('/api/v1/pipeline')).parts.map((one) => one.part).filter((part) => !parts.includes(part)), []);
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/pipeline?part=journal`);
  await page.getByRole('link', { name: /^What to do/ }).click();
  await page.waitForURL(/tab=rules&part=journal/);
  await page.getByRole('row', { name: /^Journal full/ }).waitFor();
  assert.equal(await page.getByRole('row', { name: /^Broker lost/ }).count(), 0);
  assert.equal(await page.locator('tbody tr').count(), items.filter((rule) => isAbout(rule.name, 'journal')).length);
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'journal' }).click();
  await page.getByRole('row', { name: /^Broker lost/ }).first().waitFor();
  page.assertClean();
  await page.context().close();
});
