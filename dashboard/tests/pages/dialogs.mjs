// Dialogs: each has an address, and its request can be copied for a terminal, without a secret in it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { openPage, until, violations } from '../support.mjs';
import { batch, browser, evil, running, wattpost, webhook } from './system.mjs';

/** What the button has copied. */
async function copied(page, button) {
  await page.evaluate(() => navigator.clipboard.writeText(''));
  await page.getByRole('dialog').getByRole('button', { name: button }).click();
  return until(`${button} has copied`, () => page.evaluate(() => navigator.clipboard.readText()));
}

test('a link opens a dialog, and its request is copied for a terminal', async () => {
  const page = await openPage(browser, { permissions: ['clipboard-read', 'clipboard-write'] });
  // The tokens of the simulated chargers were not added.
  const [unknown] = (await wattpost.get('/api/v1/unknown-tokens?limit=1')).items;
  const dialogs = [
    ['/chargers?q=EVIL&dialog=add', 'POST /api/v1/chargers'],
    [`/chargers/${evil}?dialog=reset`, `POST /api/v1/chargers/${evil}/reset`],
    [`/chargers/${evil}?dialog=disconnect`, `POST /api/v1/chargers/${evil}/disconnect`],
    [`/chargers/${evil}?dialog=status`, `POST /api/v1/chargers/${evil}/trigger`],
    [`/transactions/${running.key}?dialog=stop`, `POST /api/v1/transactions/${running.key}/stop`],
    [`/transactions/${running.key}?dialog=close`, `POST /api/v1/transactions/${running.key}/close`],
    ['/tokens?dialog=change:04A2', 'PUT /api/v1/tokens/04A2'],
    ['/tokens?q=none&dialog=remove:04A2', 'DELETE /api/v1/tokens/04A2'],
    [`/tokens?dialog=dismiss:${unknown.key}`, `DELETE /api/v1/unknown-tokens/${unknown.key}`],
    ['/alerts?tab=silences&dialog=add', 'POST /api/v1/silences'],
    ['/dead-letters?dialog=discard-all', 'POST /api/v1/dead-letters/discard'],
    ['/keys?dialog=add', 'POST /api/v1/api-keys'],
    ['/users?dialog=add', 'POST /api/v1/users'],
    ['/webhooks?dialog=add', 'POST /api/v1/webhooks'],
    [`/webhooks/${webhook.id}?dialog=change`, `PATCH /api/v1/webhooks/${webhook.id}`],
    [`/webhooks/${webhook.id}?dialog=rotate`, `POST /api/v1/webhooks/${webhook.id}/rotate`],
  ];
  for (const [path, request] of dialogs) {
    await page.goto(wattpost.url + path);
    await page.getByRole('dialog').waitFor();
    await until(`${path} has a request`, () => page.getByRole('dialog').getByRole('button', { name: 'Copy as curl' }).isVisible());
    assert.deepEqual(await violations(page), [], path);
    const [method, target] = request.split(' ');
    const line = await copied(page, 'Copy as curl');
    // A quotation mark in an address is written as the shell wants it.
    const address = `'${(wattpost.url + target).replaceAll("'", "'\\''")}'`;
    assert.ok(line.startsWith(`curl -X ${method} `) && line.endsWith(` ${address}`), `${path}: ${line}`);
    assert.equal(await copied(page, 'Copy link'), page.url());
    await page.keyboard.press('Escape');
    await until('the address has no dialog', () => !page.url().includes('dialog'));
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  }
  // A dialog that is not possible now does not open: the batch has ended.
  await page.goto(`${wattpost.url}/batches/${batch.id}?dialog=pause`);
  await page.getByText(/have ended/).waitFor();
  assert.equal(await page.getByRole('dialog').count(), 0);
  page.assertClean();
  await page.context().close();
});

test('a copied request does what the button does, and holds no password', async () => {
  const page = await openPage(browser, { permissions: ['clipboard-read', 'clipboard-write'] });
  const dialog = page.getByRole('dialog');
  const run = (line) => JSON.parse(execFileSync('sh', ['-c', `${line} -sf`], { encoding: 'utf8' }));
  await page.goto(`${wattpost.url}/tokens?dialog=add`);
  await dialog.getByLabel('Id', { exact: true }).fill("04C'URL");
  await dialog.getByLabel(/^Note/).fill("it's <b>a</b> $(note)");
  const token = run(await copied(page, 'Copy as curl'));
  assert.deepEqual([token.id, token.note], ["04C'URL", "it's <b>a</b> $(note)"]);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('cell', { name: "04C'URL", exact: true }).waitFor();

  await page.goto(`${wattpost.url}/chargers?dialog=add`);
  await dialog.getByLabel('Identity').fill('CURL-1');
  await dialog.getByLabel(/^Password/).fill('a-secret-password');
  const line = await copied(page, 'Copy as curl');
  assert.ok(line.includes('CURL-1') && line.includes('"password":"PUT-IT-HERE"'), line);
  assert.ok(!(await page.content()).includes('a-secret-password'), 'the page shows the password');
  // The same request twice is one charger.
  const first = run(line);
  assert.deepEqual(run(line), first);
  await page.goto(`${wattpost.url}/chargers/CURL-1?dialog=place`);
  await dialog.getByLabel('Label').fill('Gate 7');
  run(await copied(page, 'Copy as curl'));
  assert.equal((await wattpost.get('/api/v1/chargers/CURL-1')).settings.label, 'Gate 7');

  // A new batch can be copied before any charger matches: then its request has the filter.
  const batch = async (query, wanted) => {
    await page.goto(`${wattpost.url}/batches/new?${query}`);
    await page.getByText('No charger passes the filters.').or(page.getByText('No charger is selected.')).waitFor();
    await page.evaluate(() => navigator.clipboard.writeText(''));
    await page.getByRole('button', { name: 'Copy as curl' }).click();
    const copy = await until('it is copied', () => page.evaluate(() => navigator.clipboard.readText()));
    assert.ok(copy.startsWith('curl -X POST ') && copy.endsWith(`'${wattpost.url}/api/v1/batches'`), copy);
    for (const part of wanted) assert.ok(copy.includes(part), `${copy} has not ${part}`);
  };
  await batch('q=none-of-them&online=true&send=trigger', ['"operation":"trigger"', '"filter":{"q":"none-of-them","online":true}']);
  await batch('q=none-of-them', ['"operation":"PUT-IT-HERE"', '"filter":{"q":"none-of-them"}']);
  // The API has no such filter.
  await batch('q=none-of-them&alert=any&send=trigger', ['"chargers":["PUT-IT-HERE"]']);
  await batch('selected=yes&send=trigger', ['"chargers":["PUT-IT-HERE"]']);
  page.assertClean();
  await page.context().close();
  for (const path of ['chargers/CURL-1', "tokens/04C'URL"]) await fetch(`${wattpost.url}/api/v1/${path}`, { method: 'DELETE' });
});
