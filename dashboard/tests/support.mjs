// What the tests of the dashboard share: processes of Wattpost on free ports, simulated chargers, a browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import ts from 'typescript';
import WebSocket from 'ws';

export const BINARY = resolve(process.env.WATTPOST ?? '../target/ci/wattpost');
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Where each run of the tests saves the pictures of README.md and docs/. */
export const SCREENSHOTS = process.env.SCREENSHOTS ?? join(ROOT, 'target/screenshots');
/** The pictures, each made in both themes. `screenshots.test.mjs` compares this with the files and with what refers to them. */
export const PICTURES = ['dashboard', 'dashboard-transaction', 'dashboard-pipeline-down', 'dashboard-waiting-room'];
export const THEMES = ['light', 'dark'];
/** A text of a stranger that says so in the console if it runs, or if it only becomes an element: then its image is missing. */
export const HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>{{7*7}}';
export const AXE = readFileSync(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const TIMEOUT_MS = 60_000;

/** A module of the dashboard's `lib` that imports nothing but types. */
export async function load(name) {
  const source = readFileSync(new URL(`../src/lib/${name}.ts`, import.meta.url), 'utf8');
  const { outputText } = ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } });
  return import(`data:text/javascript,${encodeURIComponent(outputText)}`);
}

/** Waits until this returns something true. */
export async function until(what, condition, timeoutMs = TIMEOUT_MS) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let why;
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      why = error;
    }
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`, { cause: why });
    await new Promise((done) => setTimeout(done, 50));
  }
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** The first of so many free ports that follow one another, and those. */
export async function freePorts(count) {
  for (;;) {
    const first = await freePort();
    const servers = Array.from({ length: count }, () => createServer());
    const isFree = await Promise.all(servers.map((server, index) => new Promise((done) => {
      server.once('error', () => done(false));
      server.listen(first + index, '127.0.0.1', () => done(true));
    }))).then((all) => all.every(Boolean), () => false);
    for (const server of servers) if (server.listening) await new Promise((done) => server.close(done));
    if (isFree) return servers.map((_, index) => first + index);
  }
}

/** A process `wattpost serve` with a database of its own. */
export class Wattpost {
  static async start(env = {}) {
    const self = new Wattpost();
    self.dir = mkdtempSync(join(tmpdir(), 'wattpost-dashboard-'));
    self.ocppPort = await freePort();
    self.httpPort = await freePort();
    self.env = env;
    self.children = [];
    await self.serve();
    return self;
  }

  get url() {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  get ocpp() {
    return `ws://127.0.0.1:${this.ocppPort}/ocpp`;
  }

  async serve() {
    const listen = ['--ocpp-listen', `127.0.0.1:${this.ocppPort}`, '--http-listen', `127.0.0.1:${this.httpPort}`];
    this.log = '';
    this.process = spawn(BINARY, ['serve', '--data-dir', this.dir, ...listen], { env: { ...process.env, ...this.env } });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (data) => (this.log += data));
    await until('wattpost serves', async () => {
      assert.equal(this.process.exitCode, null, this.log);
      return (await fetch(`${this.url}/health/ready`)).ok;
    });
  }

  async kill() {
    await end(this.process);
  }

  /** A process `wattpost api` beside this one, on the same data. */
  async api() {
    const httpPort = await freePort();
    const child = spawn(BINARY, ['api', '--data-dir', this.dir, '--http-listen', `127.0.0.1:${httpPort}`], { stdio: 'ignore', env: { ...process.env, ...this.env } });
    this.children.push(child);
    const url = `http://127.0.0.1:${httpPort}`;
    await until('the API serves', async () => (await fetch(`${url}/health/ready`)).ok);
    return { url, signal: (name) => child.kill(name), kill: () => end(child) };
  }

  /** Runs a subcommand to its end. Returns what it printed. */
  async run(...args) {
    const child = spawn(BINARY, [...args, '--data-dir', this.dir], { env: { ...process.env, ...this.env } });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data));
    const code = await new Promise((done) => child.once('exit', done));
    assert.equal(code, 0, text);
    return text;
  }

  async key(name, scope) {
    const text = await this.run('apikey', 'add', name, '--scope', scope);
    return /wp_live_[0-9A-Za-z]{43}/.exec(text)[0];
  }

  /** Runs Python with the SQLite database of this process as `db`; `lines` are its standard output. */
  python(script) {
    const head = `import sqlite3,sys,time\ndb=sqlite3.connect(sys.argv[1],timeout=30,isolation_level=None)\n`;
    const child = spawn('python3', ['-c', head + script, join(this.dir, 'wattpost.db')], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.children.push(child);
    return child;
  }

  simulate(...args) {
    const child = spawn(BINARY, ['simulate', '--url', this.ocpp, ...args], { stdio: 'ignore' });
    this.children.push(child);
    return child;
  }

  async get(path, headers = {}) {
    const answer = await fetch(this.url + path, { headers });
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return answer.json();
  }

  async stop() {
    for (const child of [...this.children, this.process]) await end(child);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Kills a process with SIGKILL, and waits for its end. */
async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGKILL');
  await ended;
}

/** Sends the head of a handshake as it is, which no client library permits. Returns the status of the answer. */
export async function handshake(wattpost, path, protocol) {
  const socket = connect(wattpost.ocppPort, '127.0.0.1');
  const head = [`GET ${path} HTTP/1.1`, 'Host: charger', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `Sec-WebSocket-Protocol: ${protocol}`];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  const answer = await new Promise((done, fail) => {
    socket.once('data', (data) => done(String(data)));
    socket.once('error', fail);
  });
  socket.destroy();
  return Number(/^HTTP\/1.1 (\d+)/.exec(answer)[1]);
}

/** A charger of OCPP 1.6 that sends what a test says. `answers` has the payloads of its answers, or functions of the request, by action. */
export class Charger {
  static async connect(wattpost, id, { password } = {}) {
    const self = new Charger();
    self.next = 0;
    self.waiting = new Map();
    self.answers = {};
    self.socket = new WebSocket(`${wattpost.ocpp}/${encodeURIComponent(id)}`, ['ocpp1.6'], password && { auth: `${id}:${password}` });
    self.socket.on('message', (data) => {
      const [type, id, payload, asked] = JSON.parse(data);
      if (type === 2) {
        const answer = self.answers[payload];
        const told = typeof answer === 'function' ? answer(asked) : answer;
        self.socket.send(JSON.stringify(told === undefined ? [4, id, 'NotImplemented', '', {}] : [3, id, told]));
        return;
      }
      self.waiting.get(id)?.(payload);
      self.waiting.delete(id);
    });
    await new Promise((done, fail) => {
      self.socket.once('open', done);
      self.socket.once('error', fail);
    });
    return self;
  }

  call(action, payload) {
    const id = `m${(this.next += 1)}`;
    const answered = new Promise((done) => this.waiting.set(id, done));
    this.socket.send(JSON.stringify([2, id, action, payload]));
    return answered;
  }

  close() {
    this.socket.terminate();
  }
}

/** A relay in front of a process, whose connections a test can cut. */
export class Relay {
  static async start(port) {
    const self = new Relay();
    self.sockets = new Set();
    self.open = true;
    self.server = createServer((client) => {
      if (!self.open) return client.destroy();
      const server = connect(port, '127.0.0.1');
      for (const socket of [client, server]) {
        self.sockets.add(socket);
        socket.on('error', () => socket.destroy());
        socket.on('close', () => self.sockets.delete(socket));
      }
      client.pipe(server).pipe(client);
    }).listen(0, '127.0.0.1');
    await new Promise((done) => self.server.once('listening', done));
    self.url = `http://127.0.0.1:${self.server.address().port}`;
    return self;
  }

  cut() {
    this.open = false;
    for (const socket of this.sockets) socket.destroy();
  }

  mend() {
    this.open = true;
  }

  stop() {
    this.cut();
    this.server.close();
  }
}

/** A receiver of webhooks, which answers with the status that a test says. */
export class Receiver {
  static async start() {
    const self = new Receiver();
    self.status = 204;
    self.got = [];
    self.server = createHttpServer((request, response) => {
      let body = '';
      request.on('data', (data) => (body += data));
      request.on('end', () => {
        self.got.push({ path: request.url, body, status: self.status });
        response.writeHead(self.status).end();
      });
    }).listen(0, '127.0.0.1');
    await new Promise((done) => self.server.once('listening', done));
    self.url = `http://127.0.0.1:${self.server.address().port}`;
    return self;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

export function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  // Chromium's sandbox needs rights that a container does not have.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** Pages of the running test. */
let opened = [];
// Every test that opens a page ends with the check of its console, whether it says so or not.
afterEach(async () => {
  const pages = opened;
  opened = [];
  for (const page of pages) {
    page.assertClean();
    await page.context().close();
  }
});

/** A page whose console is watched until the end of the test. `allowed` are the texts of errors that a test causes itself. */
export async function openPage(browser, { allowed = [], ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  const faults = [];
  const foreign = [];
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    const text = `${message.text()} ${message.location().url}`;
    if (!allowed.some((one) => one.test(text))) faults.push(text);
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol.startsWith('http') && hostname !== '127.0.0.1') foreign.push(request.url());
  });
  page.assertClean = () => {
    assert.deepEqual(faults, [], 'the console has errors');
    assert.deepEqual(foreign, [], 'other hosts were contacted');
  };
  opened.push(page);
  return page;
}

/**
 * Takes a picture of README.md or docs/ in both themes, of the page loaded anew (`isReloaded`) or as it has become; `shows` waits
 * until it shows what the picture is about. With WATTPOST_WRITE_DOCS=1 it replaces the one in docs/.
 */
export async function picture(page, name, shows, { isReloaded = true } = {}) {
  assert.ok(PICTURES.includes(name), `${name} is not in PICTURES`);
  mkdirSync(SCREENSHOTS, { recursive: true });
  const { width, height } = page.viewportSize();
  await page.setViewportSize({ width: 1280, height: 800 });
  for (const colorScheme of THEMES) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    if (isReloaded) await page.reload();
    await shows();
    const file = `${name}-${colorScheme}.png`;
    await page.screenshot({ path: join(SCREENSHOTS, file) });
    if (process.env.WATTPOST_WRITE_DOCS === '1') copyFileSync(join(SCREENSHOTS, file), join(ROOT, 'docs', file));
  }
  await page.setViewportSize({ width, height });
}

/** The page shows hostile texts as text: none has run or become an element, in both themes and on a telephone. */
export async function assertHarmless(page, text) {
  const { width, height } = page.viewportSize();
  for (const colorScheme of THEMES) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const size of [{ width, height }, { width: 360, height: 740 }]) {
      await page.setViewportSize(size);
      const where = `${page.url()}, ${colorScheme}, ${size.width} pixels`;
      await until(`${where} shows ${text}`, async () => text.test(await page.locator('main').innerText()));
      if (size.width === width) assert.deepEqual(await violations(page), [], where);
      assert.equal(await page.evaluate(() => window.hacked), undefined, `${where}: a text has run`);
      assert.equal(await page.locator('main img, main script, main b b, nav img, nav script, dialog img, dialog script').count(), 0, `${where}: a text is an element`);
      await until(`${where} is as wide as its window`, () => page.evaluate((most) => document.documentElement.scrollWidth <= most, size.width));
    }
  }
  await page.setViewportSize({ width, height });
}

/** Presses Tab until an element has the focus, with a mark that shows it. Fails if Tab does not reach it. */
export async function tabTo(page, target) {
  await target.waitFor();
  for (let presses = 0; presses < 200; presses += 1) {
    await page.keyboard.press('Tab');
    const reached = await target.evaluate((element) => element === document.activeElement);
    if (!reached) continue;
    const marked = await target.evaluate((element) => getComputedStyle(element).outlineStyle !== 'none');
    assert.ok(marked, `${target} does not show that it has the focus`);
    return;
  }
  assert.fail(`Tab does not reach ${target}`);
}

/** The page as it is now has no violation of WCAG 2.2 AA, in both themes, on a screen and on a telephone. */
export async function assertAccessible(page) {
  const { width, height } = page.viewportSize();
  for (const size of [{ width, height }, { width: 360, height: 740 }]) {
    await page.setViewportSize(size);
    for (const colorScheme of THEMES) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      // The other theme has the same page in other colours.
      const rules = colorScheme === 'light' ? undefined : ['color-contrast'];
      const where = `${page.url()}, ${colorScheme}, ${size.width} pixels`;
      // What follows the size of its content does so a moment later.
      await until(`no violation at ${where}`, async () => {
        assert.deepEqual(await violations(page, rules), [], where);
        return true;
      }, 10_000);
    }
  }
  await page.setViewportSize({ width, height });
}

/** Violations of WCAG 2.2 AA on the page as it is now; of these rules of axe only, if there are some. */
export async function violations(page, rules) {
  // The policy of the page permits no inline script; the debugger's evaluation is not subject to it.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  const found = await page.evaluate(async (rules) => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const result = await window.axe.run(document, { runOnly: rules ? { type: 'rule', values: rules } : { type: 'tag', values: tags } });
    return result.violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary?.slice(0, 200)}`).join(' | ')}`);
  }, rules);
  return found;
}
