// What changes by itself: timers, outages, and the stream of events.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Relay, openPage, until, violations } from '../support.mjs';
import { browser, receiver, wattpost } from './system.mjs';

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

/** The pipeline as a page gets it: with `isSilent`, no process reports. `underWay` counts the requests without an answer. */
async function controlled(page) {
  const control = { isSilent: false, underWay: 0 };
  await page.route('**/api/v1/pipeline', async (route) => {
    control.underWay += 1;
    const response = await route.fetch();
    const json = await response.json();
    if (control.isSilent) for (const one of json.processes) one.state = 'gone';
    await route.fulfill({ response, json });
    control.underWay -= 1;
  });
  return control;
}

test('what a gateway has that reports again is shown a second later, on a page that reads the pipeline slowly too', async () => {
  const page = await openPage(browser);
  const control = await controlled(page);
  await page.clock.install();
  await page.goto(`${wattpost.url}/transactions`);
  const header = page.locator('main h2', { hasText: 'Running' }).locator('xpath=..');
  await header.getByText(/kW now/).waitFor();
  await page.clock.pauseAt(await page.evaluate(() => Date.now() + 2000));
  control.isSilent = true;
  // The clock moves between requests only: what is older than 30 seconds is not known for another reason.
  await until('nothing is known', async () => {
    if (control.underWay === 0) await page.clock.runFor(500);
    return /– now/.test(await header.innerText());
  });
  await until('no request is under way', () => control.underWay === 0);
  control.isSilent = false;
  await page.clock.runFor(1100);
  await header.getByText(/kW now/).waitFor();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  page.assertClean();
  await page.context().close();
});

test('who is hit by a batch is not said to be connected while that is not known', async () => {
  const page = await openPage(browser);
  const control = await controlled(page);
  control.isSilent = true;
  await page.goto(`${wattpost.url}/batches/new?q=SIM-0000`);
  await page.getByText('It is not known of 9 whether they are connected').waitFor();
  await page.getByLabel('Operation or action').selectOption('trigger');
  await page.getByLabel(/^message/).fill('Heartbeat');
  await page.getByRole('button', { name: 'See who is hit' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('It is not known of 9 whether they are connected (their gateway does not report); each that is not connected counts as failed: SIM-00001').waitFor();
  assert.deepEqual(await violations(page), []);
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  page.assertClean();
  await page.context().close();
});

test('a page that is paused, or that nobody sees, reads nothing by itself', async () => {
  const page = await openPage(browser);
  await page.clock.install();
  let asked = 0;
  page.on('request', (request) => (asked += /\/api\/v1\/(pipeline|messages)/.test(request.url())));
  const isAsked = () => until('it is read', async () => {
    await page.clock.runFor(1000);
    return asked > 0;
  });
  const isStill = () =>
    until(`${page.url()} is not read any more`, async () => {
      asked = 0;
      await page.clock.runFor(30_000);
      await page.evaluate(() => fetch('/favicon.svg'));
      return asked === 0;
    }, 10_000);
  const show = (isShown) =>
    page.evaluate((isShown) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => !isShown });
      document.dispatchEvent(new Event('visibilitychange'));
    }, isShown);
  await page.goto(`${wattpost.url}/pipeline`);
  await page.getByText('Every part works.').waitFor();
  await page.keyboard.press('Space');
  await page.getByRole('button', { name: /^Paused/ }).waitFor();
  await isStill();
  await page.keyboard.press('Space');
  await isAsked();
  for (const path of ['/pipeline', '/messages', '/']) {
    await page.goto(wattpost.url + path);
    await page.getByRole('button', { name: /^Live|behind/i }).waitFor();
    await show(false);
    await isStill();
    await show(true);
    await isAsked();
  }
  page.assertClean();
  await page.context().close();
});

test('the pill says by how much the page is behind, and that requests are refused', async () => {
  const page = await openPage(browser, { allowed: [/503/] });
  let change = { lag_ms: 32_040 };
  await page.route('**/api/v1/pipeline', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...(await answer.json()), ...change } });
  });
  await page.goto(`${wattpost.url}/transactions`);
  await page.getByRole('button', { name: /^32 s behind/ }).waitFor();
  const { parts } = await wattpost.get('/api/v1/pipeline');
  change = { parts: parts.map((part) => (part.part === 'database' ? { ...part, state: 'down', since: new Date().toISOString() } : part)) };
  await page.getByRole('button', { name: /^Database away since \d\d:\d\d/ }).waitFor();
  change = {};
  await page.getByRole('button', { name: /^Live|behind/ }).waitFor();
  // The stream of events stays open.
  const body = JSON.stringify({ code: 'busy', title: 'Busy', status: 503, detail: 'Other requests keep the database busy.' });
  await page.unroute('**/api/v1/pipeline');
  await page.route(/\/api\/v1\/(?!events|session)/, (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', body }));
  await page.getByRole('button', { name: /^No answer since \d\d:\d\d/ }).waitFor();
  await page.unroute(/\/api\/v1\/(?!events|session)/);
  await page.getByRole('button', { name: /^Live|behind/ }).waitFor();
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
  const source = readFileSync(new URL('../../src/lib/live.svelte.ts', import.meta.url), 'utf8');
  const [, list] = /TYPES = \[([^\]]*)\]/.exec(source);
  assert.deepEqual([...list.matchAll(/'([^']+)'/g)].map(([, type]) => type).sort(), [...new Set(types)].sort());
});

test('tabs that nobody sees leave the connections of the browser to the others, and have missed nothing when they are seen', async () => {
  const first = await openPage(browser);
  const tabs = [first];
  const see = (page, isSeen) =>
    page.evaluate((isSeen) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => !isSeen });
      document.dispatchEvent(new Event('visibilitychange'));
    }, isSeen);
  // A browser has six connections to one address.
  for (let n = 0; n < 8; n += 1) {
    const page = n === 0 ? first : await first.context().newPage();
    if (n > 0) tabs.push(page);
    await page.clock.install();
    await page.goto(`${wattpost.url}/tokens`);
    await page.getByRole('button', { name: /^Live|behind/i }).waitFor();
    await see(page, false);
    await page.clock.runFor(11_000);
  }
  const missed = 'SEEN-LATER';
  const put = await fetch(`${wattpost.url}/api/v1/tokens/${missed}`, { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ status: 'Accepted' }) });
  assert.ok(put.ok, await put.text());
  await see(first, true);
  await first.getByText(missed).first().waitFor();
  await first.getByRole('button', { name: /^Live|behind/i }).waitFor();
  for (const page of tabs.slice(1)) await page.close();
  first.assertClean();
  await first.context().close();
});
