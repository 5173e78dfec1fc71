// Every page: what it shows, its accessibility in both themes, its width, and that no text of a charger runs.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { openPage, until, violations } from '../support.mjs';
import { batch, browser, command, ended, evil, running, wattpost, webhook } from './system.mjs';

const SHOTS = process.env.SHOTS;
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
  ['dead-letters', '/dead-letters', /Nothing was ever given up/],
  ['audit', '/audit', /token.set/],
  ['keys', '/keys', /There is no key/],
  ['users', '/users', /There is no user/],
  ['wallboard', '/wallboard', /0 missing[^]*Connector faulted|Connector faulted[^]*0 missing/],
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
      if (theme === 'light') continue;
      // A large screen, 4K.
      await page.setViewportSize({ width: 3840, height: 2160 });
      assert.deepEqual(await violations(page), [], `${path} with 3840 pixels`);
      await until(`${path} is as wide as 3840 pixels`, () => page.evaluate(() => document.documentElement.scrollWidth <= 3840), 10_000);
      await page.setViewportSize({ width: 1280, height: 800 });
    }
    page.assertClean();
    await page.context().close();
  });
}

test('on a telephone no page is too wide, each region that scrolls has a name and can be reached, and a finger meets what it presses', async () => {
  const page = await openPage(browser, { viewport: { width: 360, height: 740 }, hasTouch: true });
  for (const [name, path, text] of pages()) {
    await page.goto(wattpost.url + path);
    await until(`${path} shows ${text}`, async () => text.test(await page.locator('main').innerText()));
    await until(`${path} is as wide as its window`, () => page.evaluate(() => document.documentElement.scrollWidth <= 360), 10_000);
    const wrong = () => page.evaluate(() => {
      const shown = (element) => element.outerHTML.slice(0, 120);
      const seen = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest('.visually-hidden, .skip'));
      const isCut = (one) => {
        const { overflowX, overflowY } = getComputedStyle(one);
        return (/auto|scroll/.test(overflowX) && one.scrollWidth > one.clientWidth) || (/auto|scroll/.test(overflowY) && one.scrollHeight > one.clientHeight);
      };
      const regions = seen('main *').filter(isCut).filter((one) => one.tabIndex < 0 || !one.ariaLabel || one.role !== 'region');
      // What a label is around is pressed with the label.
      const target = (one) => (/checkbox|radio/.test(one.type ?? '') ? (one.closest('label') ?? one) : one).getBoundingClientRect();
      const small = seen('button, .button, input, select, textarea, summary, nav a').filter((one) => target(one).width < 43.5 || target(one).height < 43.5);
      return { regions: regions.map(shown), small: small.map(shown) };
    });
    // A region learns of its size a moment after its content has changed.
    await until(`${path} has no such region and no small target`, async () => {
      assert.deepEqual(await wrong(), { regions: [], small: [] }, path);
      return true;
    }, 10_000);
    assert.deepEqual(await violations(page), [], path);
    // The other theme has the same page in other colours.
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.deepEqual(await violations(page, ['color-contrast']), [], `${path} in the dark theme`);
    await page.emulateMedia({ colorScheme: 'light' });
    if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-phone.png` });
  }
  page.assertClean();
  await page.context().close();
});

test('Tab reaches everything on every page that a pointer can use', async () => {
  const page = await openPage(browser);
  for (const [name, path, text] of pages()) {
    // It has nothing to press.
    if (name === 'wallboard') continue;
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

test('an address that nobody has encoded opens its page', async () => {
  const page = await openPage(browser, { allowed: [/Failed to load resource/] });
  await page.goto(`${wattpost.url}/chargers/50%`);
  await page.getByRole('heading', { name: '50%', exact: true }).waitFor();
  page.assertClean();
  await page.context().close();
});
