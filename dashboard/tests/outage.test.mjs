// What pages that stay open show while a part of Wattpost is killed, hangs or is back: the API is a process of its own.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Charger, Wattpost, assertAccessible, launch, openPage, until } from './support.mjs';

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
/** A gateway that has not reported for 20 s is gone; the rest is for a machine that is busy. */
const UNKNOWN_MS_MIN = 15_000;
/** After a gateway goes on, its next report and the next request of the page tell so. */
const BACK_MS_MAX = 20_000;
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

test('pages that stay open show nothing of a gateway that hangs or is killed as if it were so now, and all of it when it is back', async (t) => {
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
  const allShow = async (when) => {
    for (const { path, works, text } of pages) await until(`${path} shows the charger ${when}`, async () => works.test(await text()));
  };
  const noneKnows = async () => {
    for (const { path, unknown, text } of pages) await until(`${path} knows nothing`, async () => unknown.test(await text()));
    for (const { page, path, text } of [now, board]) {
      await until(`${path} says that the gateway is down, and no connector works`, async () => {
        const said = await text();
        return /Gateways: down/.test(said) && !/Nothing (does|needs)/.test(said) && (await page.locator('main .ticks').locator('.charging, .available').count()) === 0;
      });
    }
  };
  await allShow('at first');

  // It hangs: its connections stay open, and only its reports are missing.
  wattpost.process.kill('SIGSTOP');
  const stoppedAt = Date.now();
  await noneKnows();
  const unknownMs = Date.now() - stoppedAt;
  wattpost.process.kill('SIGCONT');
  const goesOnAt = Date.now();
  await allShow('again after the gateway goes on');
  const backMs = Date.now() - goesOnAt;
  t.diagnostic(`unknown ${unknownMs} ms after the gateway hangs, shown ${backMs} ms after it goes on`);
  assert.ok(unknownMs > UNKNOWN_MS_MIN, `a gateway is gone after ${unknownMs} ms`);
  assert.ok(backMs < BACK_MS_MAX, `shown after ${backMs} ms`);

  await wattpost.kill();
  charger.close();
  await noneKnows();
  for (const { page } of pages) await assertAccessible(page);

  await wattpost.serve();
  // It took the connection with it, which no event tells, and the charger has not come back.
  for (const page of [pages[1].page, own]) await page.getByRole('row', { name: /CP-17/ }).getByText('gone since').waitFor();
  charger = await charging();
  await allShow('again after it has connected again');
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
  const pages = [await open('/pipeline'), await open('/'), await open('/wallboard'), await open('/chargers')];
  const [pipeline, now, board, chargers] = pages;
  /** How fresh a page says that it is: the button at the top, or a line of the wallboard. */
  const say = async (words) => {
    for (const page of pages) await page.locator('header').getByText(words).waitFor();
  };
  await pipeline.getByText('Every part works.').waitFor();
  await chargers.getByText('Charging', { exact: true }).waitFor();
  await say(/^Live/);

  // Its connections stay open, so only a request tells that it hangs.
  api.signal('SIGSTOP');
  await say(/^No answer since/);
  await pipeline.getByText(NO_ANSWER).first().waitFor();
  api.signal('SIGCONT');
  await say(/^Live/);
  await pipeline.getByText('Every part works.').waitFor();

  await api.kill();
  await say(/^(Reconnecting|Not connected since)/);
  await pipeline.getByText(NO_ANSWER).first().waitFor();
  await pipeline.getByText('Every part works.').waitFor({ state: 'detached' });
  await now.getByText('The balance is not known now: no answer since').waitFor();
  for (const page of [pipeline, now]) await until('each part is unknown', async () => (await page.locator('ol.flow li:not(.unknown)').count()) === 0);
  await now.getByText(/It is not known now:.*whether the parts of the pipeline work/).waitFor();
  await board.getByText(/It is not known now:.*whether the parts of the pipeline work/).waitFor();
  // What nothing has confirmed for half a minute is not known.
  await chargers.clock.fastForward(31_000);
  await chargers.getByText(/^Unknown/).waitFor();
  await chargers.getByText('Charging', { exact: true }).waitFor({ state: 'detached' });
  for (const page of pages) await assertAccessible(page);
  charger.close();
  for (const page of pages) {
    page.assertClean();
    await page.context().close();
  }
});
