// What the server and the dashboard have in common: the types of objects, and the files.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { typesOf } from '../../scripts/types.mjs';
import { wattpost } from './system.mjs';

test('the client types are those of the OpenAPI document', async () => {
  const document = await wattpost.get('/api/openapi.json');
  const committed = readFileSync(new URL('../../src/lib/api-types.ts', import.meta.url), 'utf8');
  assert.equal(committed, await typesOf(document), 'run `npm run types -- URL` in dashboard/');
});

test('files are compressed, named by their content and kept; pages are asked for again', async () => {
  const headers = { Accept: 'text/html', 'Accept-Encoding': 'br' };
  const page = await fetch(`${wattpost.url}/chargers/x`, { headers });
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-security-policy'), /script-src 'self'/);
  const html = await page.text();
  const script = /src="(\/assets\/[^"]+\.js)"/.exec(html)[1];
  const asset = await fetch(wattpost.url + script, { headers });
  assert.equal(asset.headers.get('content-encoding'), 'br');
  assert.match(asset.headers.get('cache-control'), /immutable/);
  const again = await fetch(wattpost.url + script, { headers: { ...headers, 'If-None-Match': asset.headers.get('etag') } });
  assert.equal(again.status, 304);
  const index = await fetch(`${wattpost.url}/`, { headers: { Accept: 'application/json' } });
  assert.equal((await index.json()).name, 'Wattpost');
});
