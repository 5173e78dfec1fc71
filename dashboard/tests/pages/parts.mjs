// What pages say of parts that do not work because of one process, and of a gateway that has just started.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, openPage, until, violations } from '../support.mjs';
import { browser, wattpost } from './system.mjs';

const ID = '01a229c4-22a8-75b1-bf95-0727041b6258';
/** In UTC; five and a half hours later in Kolkata. */
const SINCE = '2026-01-31T12:00:02.310Z';
const SAID = /gateway on vm\s+has not reported since\s+31 Jan.*17:30:02/g;

/** Answers for the pipeline are those of the running one, with the parts changed by their names. */
async function answer(page, change) {
  let answers = 0;
  await page.route('**/api/v1/pipeline', async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    answers += 1;
    json.parts = json.parts.map((part) => ({ ...part, ...change.parts(part.part, answers) }));
    Object.assign(json.balance, change.balance);
    await route.fulfill({ response, json });
  });
  return () => answers;
}

/** Closes a page when no answer is under way. */
async function close(page) {
  await page.unrouteAll({ behavior: 'wait' });
  page.assertClean();
  await page.context().close();
}

function killed(part, answers) {
  const fault = { process_id: ID, process_name: 'gateway on vm', is_gone: true, since: SINCE, detail: 'it does not report' };
  const state = { chargers: 'unknown', gateways: 'down', journal: 'down' }[part];
  if (!state) return {};
  return { state, since: SINCE, faults: [fault], detail: 'gateway on vm has not reported since 2026-01-31T12:00:02Z', ...(part === 'journal' ? { waiting_records: answers } : {}) };
}

test('a process that does not report is named once, in the zone of the viewer, and the parts refer to it', async () => {
  const page = await openPage(browser, { timezoneId: 'Asia/Kolkata', locale: 'en-GB' });
  await answer(page, { parts: killed });
  // Of the page Pipeline, what is above its details: those name the process too.
  for (const [path, where] of [['/pipeline', page.locator('main div[role=status]')], ['/', page.getByRole('list', { name: 'What needs a person' })], ['/wallboard', page.getByRole('list', { name: 'What needs a person' })]]) {
    await page.goto(wattpost.url + path);
    await until(`${path} says it`, async () => (await where.innerText()).match(SAID));
    const text = await where.innerText();
    assert.equal(text.match(SAID).length, 1, text);
    assert.equal(text.match(/not reported/g).length, 1, text);
    assert.equal(await where.locator(`time[datetime="${SINCE}"]`).getAttribute('title'), `${SINCE} (UTC)`);
    const all = await page.locator('main').innerText();
    assert.doesNotMatch(all, /\d{4}-\d\d-\d\dT\d\d:/, 'no time in UTC');
    if (path === '/pipeline') {
      assert.equal(text.match(/because of it/g).length, 2, text);
      assert.match(text, /The gateways are down because of it\. Chargers cannot connect/);
      await page.getByRole('button', { name: /^Journal down because of gateway on vm/ }).click();
      await page.getByText('gateway on vm: it does not report, since').waitFor();
    } else {
      assert.match(text, /Chargers: unknown, Gateways: down, Journal: down/);
      assert.ok(!all.includes(ID), 'the id says nothing to a reader');
    }
    assert.deepEqual(await violations(page), []);
  }
  await close(page);
});

test('a screen reader is not told of an outage again while nothing but its age and its counts change', async () => {
  const page = await openPage(browser);
  const answers = await answer(page, { parts: killed });
  await page.goto(`${wattpost.url}/pipeline`);
  const status = page.locator('main div[role=status]');
  await status.getByText('The journal is down because of it').waitFor();
  await status.evaluate((element) => {
    window.told = [];
    window.changes = 0;
    new MutationObserver((found) => {
      for (const { target } of found) {
        window.changes += 1;
        if (!(target instanceof Element ? target : target.parentElement).closest('[aria-live=off]')) window.told.push(target.textContent);
      }
    }).observe(element, { subtree: true, childList: true, characterData: true });
  });
  const before = answers();
  await until('it was read again', () => answers() >= before + 3);
  await until('the counts have changed', () => page.evaluate(() => window.changes > 0));
  assert.deepEqual(await page.evaluate(() => window.told), []);
  await close(page);
});

test('the figures of a gateway that has just started are said to be unknown', async () => {
  const page = await openPage(browser);
  const why = 'gateway on vm has just started and has not reported its figures yet';
  const names = ['acknowledged', 'stored', 'journal', 'rabbitmq', 'difference'];
  const balance = { ...Object.fromEntries(names.map((name) => [name, null])), unknown: Object.fromEntries(names.map((name) => [name, why])) };
  const parts = (part) => ({ chargers: { state: 'unknown', detail: `how many are connected is not known: ${why}` }, journal: { waiting_records: null, oldest_waiting_s: null, unknown: { waiting_records: why } } })[part];
  await answer(page, { parts, balance });
  await page.goto(`${wattpost.url}/pipeline`);
  await page.getByText(`The state of a part is not known: chargers (how many are connected is not known: ${why}).`).waitFor();
  await page.getByRole('row', { name: 'Acknowledged to chargers unknown' }).waitFor();
  await page.getByRole('row', { name: 'Difference unknown' }).waitFor();
  assert.equal(await page.getByText('Every part works.').count(), 0);
  await page.goto(wattpost.url);
  await page.getByText(`The balance is not known now: ${why}.`).waitFor();
  await close(page);
});

test('parts are grouped by the processes that they do not work without', async () => {
  const { causes, gone, joined, reported, worst } = await load('faults');
  const fault = (id, isGone = true) => ({ process_id: id, process_name: `gateway on ${id}`, is_gone: isGone, since: `2026-01-31T12:00:0${id.length}Z`, detail: 'broken' });
  const part = (name, state, ...faults) => ({ part: name, state, detail: 'words', faults });
  const parts = [part('chargers', 'degraded', fault('a')), part('gateways', 'degraded', fault('a'), fault('c', false)), part('journal', 'down', fault('b'), fault('a')), part('bypass', 'idle', fault('a')), part('database', 'works')];
  assert.deepEqual(gone(parts).map((one) => [one.key, one.names, one.parts.map((each) => each.part)]), [['a', ['gateway on a'], ['chargers', 'gateways']], ['a b', ['gateway on b', 'gateway on a'], ['journal']]]);
  assert.equal(worst(parts.slice(0, 3)), 'down');
  assert.equal(worst([part('chargers', 'unknown')]), 'unknown');
  assert.equal(causes(parts[2]), 'gateway on b and gateway on a');
  assert.equal(joined(['a', 'b', 'c', 'd', 'e']), 'a, b, c and 2 more');
  assert.deepEqual(parts.map(reported), ['', 'gateway on c: broken', '', '', 'words']);
});
