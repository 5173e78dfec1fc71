// What the tests of the dashboard share: processes of Wattpost on free ports, simulated chargers, a browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';

const BINARY = resolve(process.env.WATTPOST ?? '../target/ci/wattpost');
export const AXE = readFileSync(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const TIMEOUT_MS = 60_000;

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

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
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
    const ended = new Promise((done) => this.process.once('exit', done));
    this.process.kill('SIGKILL');
    await ended;
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
    for (const child of [...this.children, this.process]) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A charger of OCPP 1.6 that sends what a test says. */
export class Charger {
  static async connect(wattpost, id) {
    const self = new Charger();
    self.next = 0;
    self.waiting = new Map();
    self.socket = new WebSocket(`${wattpost.ocpp}/${encodeURIComponent(id)}`, ['ocpp1.6']);
    self.socket.on('message', (data) => {
      const [, id, payload] = JSON.parse(data);
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

export function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  // Chromium's sandbox needs rights that a container does not have.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** A page whose console is watched. `allowed` are the texts of errors that a test causes itself. */
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
  return page;
}

/** Violations of WCAG 2.2 AA on the page as it is now. */
export async function violations(page) {
  // The policy of the page permits no inline script; the debugger's evaluation is not subject to it.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const result = await window.axe.run(document, { runOnly: { type: 'tag', values: tags } });
    return result.violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary?.slice(0, 200)}`).join(' | ')}`);
  });
  return found;
}
