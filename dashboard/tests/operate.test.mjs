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
  const line = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(line, /^wscat -c 'ws:\/\/127\.0\.0\.1:9000\/ocpp\/CP-%3Ci%3E1' -s ocpp1\.6 -x '\[2,"m\d+","StatusNotification",\{"connectorId":"2"/);
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
