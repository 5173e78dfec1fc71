// `make demo`, as a newcomer runs it, in both shapes: the address, a page with charging curves within seconds, and parts that are
// killed with the printed lines, which the page shows until they run again. Nothing is lost.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BINARY, Charger, ROOT, freePort, freePorts, launch, openPage, picture, until } from './support.mjs';

/** From the start of the script until the page shows a charging curve, in ms. */
const ALIVE_MS_MAX = 30_000;
const ALLOWED = [/ERR_/, /Failed to load resource/];
const demos = [];
let browser;

before(async () => {
  browser = await launch();
});

after(async () => {
  await browser?.close();
  for (const demo of demos) await demo.end();
});

/** The script, with all that it prints. */
class Demo {
  static async start(env) {
    const self = new Demo();
    demos.push(self);
    self.dir = mkdtempSync(join(tmpdir(), 'wattpost-demo-'));
    self.said = '';
    self.began = Date.now();
    self.ocpp = `ws://127.0.0.1:${env.OCPP_PORT}/ocpp`;
    // As long as a part takes to be gone, and until the pictures of that are made.
    const settings = { WATTPOST: BINARY, DEMO_DIR: join(self.dir, 'demo'), DEMO_SECONDS: '300', DEMO_RESTART_SECONDS: '36' };
    self.process = spawn('bash', ['scripts/demo.sh'], { cwd: ROOT, env: { ...process.env, ...settings, ...env } });
    for (const stream of [self.process.stdout, self.process.stderr]) stream.on('data', (data) => (self.said += data));
    [, self.address] = await self.printed('its address', /open without a key to everybody on this machine:\s+(http:\S+)/);
    return self;
  }

  /** Waits until the script has printed this. */
  printed(what, pattern) {
    return until(`the demo prints ${what}`, () => {
      assert.equal(this.process.exitCode, null, this.said);
      return pattern.exec(this.said);
    }, 90_000);
  }

  url(path) {
    return new URL(path, this.address).href;
  }

  async get(path) {
    return (await fetch(this.url(path))).json();
  }

  /** Kills a part with the line as it is printed. */
  async kill(part) {
    const [line] = await this.printed(`how to kill ${part}`, new RegExp(`kill -9 \\$\\(cat \\S+/${part}\\.pid\\)`));
    execFileSync('sh', ['-c', line], { cwd: ROOT });
    await this.printed(`that ${part} has ended`, new RegExp(`^${part} has ended`, 'm'));
  }

  isBack(part) {
    return this.printed(`that ${part} starts again`, new RegExp(`^${part} starts again`, 'm'));
  }

  /** Ctrl-C stops everything, and compares what chargers were told with what is stored. */
  async assertNothingLost() {
    const exited = new Promise((done) => this.process.once('exit', done));
    this.process.kill('SIGINT');
    assert.equal(await exited, 0, this.said);
    const [, verdict] = this.said.split('Is any acknowledged message lost?');
    assert.match(verdict, /acknowledged but missing +0\n/);
    assert.match(verdict, /every acknowledged message is stored once, unaltered and in order/);
  }

  async end() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((done) => this.process.once('exit', done));
      this.process.kill('SIGTERM');
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Waits until each of these parts is in this state on the page Pipeline. */
async function areShown(page, states) {
  for (const [part, state] of Object.entries(states)) await page.getByRole('button', { name: new RegExp(`^${part} ${state}`) }).waitFor();
}
const everyPartWorks = (page) => page.getByText('Every part works.').waitFor();

/** The shape that needs nothing installed: the API is killed, then the gateway. The pictures of the docs are of it. */
async function embedded(t, demo, page) {
  // Open all the time: the picture has the last minutes of the pipeline, with a gap while the API was killed.
  const pipeline = await openPage(browser, { allowed: ALLOWED });
  await pipeline.goto(demo.url('/pipeline'));
  await everyPartWorks(pipeline);
  await demo.kill('api');
  await pipeline.getByRole('button', { name: /^Reconnecting/ }).waitFor();
  await pipeline.getByText('Every part works.').waitFor({ state: 'detached' });
  await until('each part is unknown', async () => (await pipeline.locator('ol.flow li:not(.unknown)').count()) === 0);
  await demo.isBack('api');
  await pipeline.getByRole('button', { name: /^Live/ }).waitFor();
  await everyPartWorks(pipeline);
  t.diagnostic('grey while the API was killed, and then green');

  const ended = await until('sessions have ended', async () => {
    const { items } = await demo.get('/api/v1/transactions?state=ended&limit=100');
    return items.length >= 10 && items.find((one) => one.soc_percent !== null && one.checks.length === 0);
  });
  await page.goto(demo.address);
  await picture(page, 'dashboard', () => until('the page shows the fleet', async () => /20\s+of 20/.test(await page.locator('main').innerText()) && /0 missing/.test(await page.locator('main').innerText())));
  await demo.kill('gateway');
  const killedAt = Date.now();
  // While nobody has noticed, a picture that needs no gateway.
  await page.goto(demo.url(`/transactions/${ended.key}`));
  await picture(page, 'dashboard-transaction', () => page.locator('main canvas').first().waitFor());
  const isRed = async () => {
    await areShown(pipeline, { Gateways: 'down', Journal: 'down' });
    await pipeline.getByText(/^The gateways are down/).waitFor();
    await pipeline.getByText('Every part works.').waitFor({ state: 'detached' });
  };
  await isRed();
  t.diagnostic(`red ${Date.now() - killedAt} ms after the gateway was killed`);
  await picture(pipeline, 'dashboard-pipeline-down', isRed, { isReloaded: false });
  await demo.isBack('gateway');
  await everyPartWorks(pipeline);
  await areShown(pipeline, { Gateways: 'works' });
  await demo.assertNothingLost();
}

/** With a RabbitMQ and a consumer: both are killed, and chargers notice nothing. */
async function withRabbitMq(t) {
  const [OCPP_PORT, HTTP_PORT, [RABBITMQ_PORT]] = [await freePort(), await freePort(), await freePorts(3)];
  const demo = await Demo.start({ SHAPE: 'rabbitmq', OCPP_PORT, HTTP_PORT, RABBITMQ_PORT });
  const page = await openPage(browser, { allowed: ALLOWED });
  await page.goto(demo.url('/pipeline'));
  await everyPartWorks(page);
  const charger = await Charger.connect(demo, 'CP-17');
  await charger.call('BootNotification', { chargePointVendor: 'V', chargePointModel: 'M' });

  await demo.kill('consumer');
  const killedAt = Date.now();
  await page.getByText(/^The consumers are down/).waitFor();
  await areShown(page, { Consumers: 'down', RabbitMQ: 'works', Gateways: 'works' });
  t.diagnostic(`red ${Date.now() - killedAt} ms after the consumer was killed`);
  await demo.kill('rabbitmq');
  await areShown(page, { RabbitMQ: 'down', Gateways: 'works' });
  await page.getByText(/^RabbitMQ is down/).waitFor();
  await page.getByText(/Chargers notice nothing: their messages go to the journal/).waitFor();
  // The charger has its answer as before.
  assert.deepEqual(await charger.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: 'Available' }), {});

  await demo.isBack('consumer');
  await demo.isBack('rabbitmq');
  await everyPartWorks(page);
  await areShown(page, { RabbitMQ: 'works', Consumers: 'works' });
  await charger.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: 'Preparing' });
  await until('the last message is stored', async () => (await demo.get('/api/v1/chargers/CP-17')).connectors[0]?.last_status === 'Preparing');
  await page.getByRole('row', { name: /Difference\s*0$/ }).waitFor();
  charger.close();
  await demo.assertNothingLost();
}

test('the demo shows charging within seconds, each part that was killed until it runs again, and loses nothing, in both shapes', async (t) => {
  const demo = await Demo.start({ OCPP_PORT: await freePort(), HTTP_PORT: await freePort() });
  const page = await openPage(browser, { allowed: ALLOWED });
  await page.goto(demo.address);
  // It opens without ceremony, and says so.
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await page.getByText('Open without a key, for everybody on this machine.').waitFor();
  await page.getByText(/\d acknowledged, .* stored/).waitFor();
  const running = await until('a session runs', async () => (await demo.get('/api/v1/transactions?state=open&limit=100')).items.find((one) => one.energy_wh > 0));
  await page.goto(demo.url(`/transactions/${running.key}`));
  await page.locator('main canvas').first().waitFor();
  const aliveMs = Date.now() - demo.began;
  t.diagnostic(`a charging curve after ${aliveMs} ms`);
  assert.ok(aliveMs < ALIVE_MS_MAX, `a charging curve after ${aliveMs} ms`);

  // Both shapes wait most of the time: for a part to be gone, and for it to be started again.
  await Promise.all([embedded(t, demo, page), withRabbitMq(t)]);
});
