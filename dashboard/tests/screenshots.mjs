// Takes the screenshots of the README with a fleet of simulated chargers: `WATTPOST=BINARY npm run screenshots`.
import { Wattpost, launch, openPage, until } from './support.mjs';

const wattpost = await Wattpost.start();
const browser = await launch();
try {
  wattpost.simulate('--chargers', '240', '--speed-up', '20', '--transactions-per-hour', '3', '--transaction-minutes', '12', '--seed', '7');
  await until('sessions have ended', async () => (await wattpost.get('/api/v1/transactions?state=ended&limit=100')).items.length === 100, 180_000);
  for (const theme of ['light', 'dark']) {
    const page = await openPage(browser, { colorScheme: theme });
    await page.goto(wattpost.url);
    await until('the page shows the fleet', async () => /240/.test(await page.locator('main').innerText()) && /0 missing/.test(await page.locator('main').innerText()));
    await page.screenshot({ path: new URL(`../../docs/dashboard-${theme}.png`, import.meta.url).pathname });
    const [ended] = (await wattpost.get('/api/v1/transactions?state=ended&limit=100')).items.filter((one) => one.soc_percent !== null && one.checks.length === 0);
    await page.goto(`${wattpost.url}/transactions/${ended.key}`);
    await page.locator('canvas').first().waitFor();
    await page.screenshot({ path: new URL(`../../docs/dashboard-transaction-${theme}.png`, import.meta.url).pathname });
    page.assertClean();
  }
} finally {
  await browser.close();
  await wattpost.stop();
}
