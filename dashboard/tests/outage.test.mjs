// What pages that stay open show while a part of Wattpost is killed, hangs or is back: the API is a process of its own.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Charger, Wattpost, launch, openPage, until } from './support.mjs';

let wattpost;
let api;
let browser;

before(async () => {
  wattpost = await Wattpost.start();
  api = await wattpost.api();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await wattpost?.stop();
});

/** A charger with a session that charges with 7 kW. */
async function charging() {
  const charger = await until('the charger connects', () => Charger.connect(wattpost, 'CP-17').catch(() => null));
  await charger.call('BootNotification', { chargePointVendor: 'V', chargePointModel: 'M' });
  await charger.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: 'Charging' });
  const timestamp = new Date().toISOString();
  const { transactionId } = await charger.call('StartTransaction', { connectorId: 1, idTag: 'A', meterStart: 0, timestamp });
  await charger.call('MeterValues', { connectorId: 1, transactionId, meterValue: [{ timestamp, sampledValue: [{ value: '7000', measurand: 'Power.Active.Import', unit: 'W' }] }] });
  return charger;
}

/** What is said of a part: unlike a text, it does not find the pill, which says "No answer since" earlier. */
const NO_ANSWER = /no answer since/;
const ALLOWED = [/ERR_/, /Failed to load resource/];
/** What each page shows of the charger while it is connected, and what while nothing is known of it. */
const PAGES = [
  ['/', /Chargers connected\s*1\s*of 1[^]*Power now\s*7\.0 kW[^]*Nothing does\.[^]*charging 1/, /Chargers connected\s*–\s*of 1[^]*Power now\s*–\s*1 session, 1 at chargers whose connection is unknown[^]*unknown 1/],
  ['/chargers', /CP-17[^]*since [^]*Charging\s*7\.0 kW/, /CP-17\s+unknown\s[^]*Unknown[^]*unknown/],
  ['/chargers/CP-17', /connected since[^]*Charging[^]*7\.0 kW/, /unknown: its gateway does not report[^]*Unknown[^]*unknown/],
  ['/transactions', /7\.0 kW now[^]*7\.0 kW/, /– now[^]*unknown/],
  ['/batches/new', /All are connected\./, /It is not known of 1 whether it is connected: its gateway does not report/],
  ['/chargers?online=false', /No charger/, /No charger/],
  ['/wallboard', /Connected\s*1 of 1\s*Charging\s*1\s*Power\s*7\.0 kW/, /Connected\s*– of 1\s*Charging\s*–\s*Power\s*–/],
];

test('pages that stay open show nothing of a killed gateway as if it were so now, and all of it when it is back', async () => {
  let charger = await charging();
  const pages = [];
  for (const [path, works, unknown] of PAGES) {
    const page = await openPage(browser, { allowed: ALLOWED });
    await page.goto(api.url + path);
    pages.push({ page, path, works, unknown, text: () => page.locator('main').innerText() });
  }
  // A page of the killed process itself.
  const own = await openPage(browser, { allowed: ALLOWED });
  await own.goto(`${wattpost.url}/chargers`);
  await own.getByRole('row', { name: /CP-17/ }).getByText('since').waitFor();
  const [now] = pages;
  const board = pages.at(-1);
  for (const { path, works, text } of pages) await until(`${path} shows the charger`, async () => works.test(await text()));
  await wattpost.kill();
  charger.close();
  for (const { path, unknown, text } of pages) await until(`${path} knows nothing`, async () => unknown.test(await text()));
  for (const { page, text } of [now, board]) {
    assert.match(await text(), /Gateways: down/);
    assert.doesNotMatch(await text(), /Nothing (does|needs)/);
    assert.equal(await page.locator('main .ticks').locator('.charging, .available').count(), 0);
  }

  await wattpost.serve();
  // It took the connection with it, which no event tells, and the charger has not come back.
  for (const page of [pages[1].page, own]) await page.getByRole('row', { name: /CP-17/ }).getByText('gone since').waitFor();
  charger = await charging();
  for (const { path, works, text } of pages) await until(`${path} shows the charger again`, async () => works.test(await text()));
  await own.getByRole('row', { name: /CP-17/ }).getByText('Charging').waitFor();
  charger.close();
  for (const page of [own, ...pages.map((one) => one.page)]) {
    page.assertClean();
    await page.context().close();
  }
});

test('an API that hangs or is killed is said to give no answer, and nothing of it is shown as working', async () => {
  const charger = await charging();
  const open = async (path) => {
    const page = await openPage(browser, { allowed: ALLOWED });
    await page.clock.install();
    await page.goto(api.url + path);
    return page;
  };
  const [pipeline, now, board, chargers] = [await open('/pipeline'), await open('/'), await open('/wallboard'), await open('/chargers')];
  await pipeline.getByText('Every part works.').waitFor();
  await chargers.getByText('Charging', { exact: true }).waitFor();

  // Its connections stay open, so only a request tells that it hangs.
  api.signal('SIGSTOP');
  await pipeline.getByText(NO_ANSWER).first().waitFor();
  // Each page asks at a time of its own.
  for (const page of [pipeline, now, chargers]) await page.getByRole('button', { name: /^No answer since/ }).waitFor();
  await board.getByText(/^No answer since/).waitFor();
  api.signal('SIGCONT');
  await chargers.getByRole('button', { name: /^Live/ }).waitFor();
  await pipeline.getByText('Every part works.').waitFor();

  await api.kill();
  await pipeline.getByText(NO_ANSWER).first().waitFor();
  assert.equal(await pipeline.getByText('Every part works.').count(), 0);
  assert.equal(await pipeline.locator('ol.flow li:not(.unknown)').count(), 0, 'each part is unknown');
  await now.getByText('The balance is not known now: no answer since').waitFor();
  assert.equal(await now.locator('ol.flow li:not(.unknown)').count(), 0, 'each part is unknown');
  await now.getByText(/It is not known now:.*whether the parts of the pipeline work/).waitFor();
  await board.getByText(/It is not known now:.*whether the parts of the pipeline work/).waitFor();
  await board.getByText('Not connected since').waitFor();
  // What nothing has confirmed for half a minute is not known.
  await chargers.clock.fastForward(31_000);
  await chargers.getByText(/^Unknown/).waitFor();
  assert.equal(await chargers.getByText('Charging', { exact: true }).count(), 0);
  charger.close();
  for (const page of [pipeline, now, board, chargers]) {
    page.assertClean();
    await page.context().close();
  }
});
