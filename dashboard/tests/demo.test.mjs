// `make demo`, as a newcomer runs it: the address, a page with charging curves within seconds, and a part that is killed.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BINARY, ROOT, freePort, launch, openPage, picture, until } from './support.mjs';

/** From the start of the script until the page shows a charging curve, in ms. */
const ALIVE_MS_MAX = 30_000;
let browser;
let demo;
let dir;
let said = '';
let began;

before(async () => {
  browser = await launch();
  dir = mkdtempSync(join(tmpdir(), 'wattpost-demo-'));
  const ports = { OCPP_PORT: await freePort(), HTTP_PORT: await freePort() };
  const env = { ...process.env, ...ports, WATTPOST: BINARY, DEMO_DIR: join(dir, 'demo'), DEMO_SECONDS: '240', DEMO_RESTART_SECONDS: '34' };
  began = Date.now();
  demo = spawn('bash', ['scripts/demo.sh'], { cwd: ROOT, env });
  for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (data) => (said += data));
});

after(async () => {
  await browser?.close();
  if (demo?.exitCode === null) {
    const ended = new Promise((done) => demo.once('exit', done));
    demo.kill('SIGTERM');
    await ended;
  }
  rmSync(dir, { recursive: true, force: true });
});

test('the demo shows charging within seconds, a part that was killed in red and then in green, and loses nothing', async (t) => {
  const printed = (what, pattern) => until(`the demo prints ${what}`, () => {
    assert.equal(demo.exitCode, null, said);
    return pattern.exec(said);
  });
  const [, address] = await printed('its address', /open without a key to everybody on this machine:\s+(http:\S+)/);
  const page = await openPage(browser, { allowed: [/ERR_/, /Failed to load resource/] });
  await page.goto(address);
  // It opens without ceremony, and says so.
  await page.getByRole('heading', { name: 'Now' }).waitFor();
  await page.getByText('Open without a key, for everybody on this machine.').waitFor();
  await page.getByText(/\d acknowledged, .* stored/).waitFor();
  const get = async (path) => (await fetch(new URL(path, address))).json();
  const running = await until('a session runs', async () => (await get('/api/v1/transactions?state=open&limit=100')).items.find((one) => one.energy_wh > 0));
  await page.goto(new URL(`/transactions/${running.key}`, address).href);
  await page.locator('main canvas').first().waitFor();
  const aliveMs = Date.now() - began;
  t.diagnostic(`a charging curve after ${aliveMs} ms`);
  assert.ok(aliveMs < ALIVE_MS_MAX, `a charging curve after ${aliveMs} ms`);

  // The line as it is printed kills the gateway.
  const [line, pidFile] = await printed('how to kill the gateway', /kill -9 \$\(cat (\S+gateway\.pid)\)/);
  const ended = await until('sessions have ended', async () => {
    const { items } = await get('/api/v1/transactions?state=ended&limit=100');
    return items.length >= 10 && items.find((one) => one.soc_percent !== null && one.checks.length === 0);
  });
  await page.goto(address);
  await picture(page, 'dashboard', () => until('the page shows the fleet', async () => /20\s+of 20/.test(await page.locator('main').innerText()) && /0 missing/.test(await page.locator('main').innerText())));
  execFileSync('sh', ['-c', line], { cwd: ROOT });
  const killedAt = Date.now();
  // While nobody has noticed, a picture that needs no gateway.
  await page.goto(new URL(`/transactions/${ended.key}`, address).href);
  await picture(page, 'dashboard-transaction', () => page.locator('main canvas').first().waitFor());
  await page.goto(new URL('/pipeline', address).href);
  const red = async () => {
    await page.getByRole('button', { name: /^Gateways down/ }).waitFor();
    await page.getByRole('button', { name: /^Journal down/ }).waitFor();
    await page.getByText(/^The gateways (is|are) down/).waitFor();
    assert.equal(await page.getByText('Every part works.').count(), 0);
  };
  await red();
  t.diagnostic(`red ${Date.now() - killedAt} ms after the kill`);
  await picture(page, 'dashboard-pipeline-down', red);
  await printed('that the gateway starts again', /gateway starts again/);
  await page.getByText('Every part works.').waitFor();
  await page.getByRole('button', { name: /^Gateways works/ }).waitFor();
  assert.ok(pidFile.endsWith('gateway.pid'));
  page.assertClean();

  // Ctrl-C stops everything, and compares what chargers were told with what is stored.
  const exited = new Promise((done) => demo.once('exit', done));
  demo.kill('SIGINT');
  assert.equal(await exited, 0, said);
  const [, verdict] = said.split('Is any acknowledged message lost?');
  assert.match(verdict, /acknowledged but missing +0\n/);
  assert.match(verdict, /every acknowledged message is stored once, unaltered and in order/);
});
