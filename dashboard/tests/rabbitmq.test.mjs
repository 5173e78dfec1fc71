// The pipeline with a real RabbitMQ, which is killed and started again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Charger, RabbitMq, Wattpost, launch, openPage, until } from './support.mjs';

let rabbit;
let wattpost;
let browser;

before(async () => {
  rabbit = await RabbitMq.start();
  wattpost = await Wattpost.start({ WATTPOST__BROKER__URL: rabbit.url });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await wattpost?.stop();
  await rabbit?.stop();
});

test('the pipeline page says that RabbitMQ was killed and that it works again, and nothing is missing', async () => {
  const page = await openPage(browser);
  await page.goto(`${wattpost.url}/pipeline`);
  const works = page.getByText('Every part works.');
  await works.waitFor();
  const charger = await Charger.connect(wattpost, 'CP-17');
  await charger.call('BootNotification', { chargePointVendor: 'V', chargePointModel: 'M' });

  await rabbit.kill();
  await page.getByText(/RabbitMQ is down/).waitFor();
  await page.getByText(/Chargers notice nothing: their messages go to the journal/).waitFor();
  await page.getByRole('button', { name: /^RabbitMQ down/ }).waitFor();
  // The charger has its answer as before.
  assert.equal((await charger.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: 'Available' })) !== undefined, true);

  await rabbit.serve();
  await works.waitFor();
  await charger.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: 'Preparing' });
  await until('the last message is stored', async () => (await wattpost.get('/api/v1/chargers/CP-17')).connectors[0]?.last_status === 'Preparing');
  await page.getByRole('row', { name: /Difference\s*0$/ }).waitFor();
  charger.close();
  page.assertClean();
  await page.context().close();
});
