// The pictures of README.md and docs/: the tests before this one have made all of them, and nothing refers to another one.
// `npm run screenshots` replaces those in docs/.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PICTURES, ROOT, SCREENSHOTS, THEMES } from './support.mjs';

const BYTES_MAX = 200_000;
const files = PICTURES.flatMap((name) => THEMES.map((theme) => `${name}-${theme}.png`)).sort();

/** Width and height, which a PNG file has at this place. */
function sizeOf(path) {
  const bytes = readFileSync(path);
  assert.equal(bytes.toString('latin1', 1, 4), 'PNG', path);
  assert.ok(bytes.length <= BYTES_MAX, `${path} has ${bytes.length} bytes`);
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

test('each picture was made by this run, and is small', () => {
  for (const file of files) {
    const path = join(SCREENSHOTS, file);
    assert.ok(existsSync(path), `no test has made ${path}`);
    assert.deepEqual(sizeOf(path), [1280, 800], path);
  }
});

test('README.md and docs/ refer to the pictures that tests make, in both themes, and to no other', () => {
  const docs = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  const texts = [['README.md', 'docs/'], ...docs.map((name) => [`docs/${name}`, ''])];
  const named = new Set();
  for (const [name, folder] of texts) {
    const text = readFileSync(join(ROOT, name), 'utf8');
    for (const [, attribute, link] of text.matchAll(/(?:src|srcset)="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)/g)) {
      const target = attribute ?? link;
      assert.ok(target.startsWith(folder) && files.includes(target.slice(folder.length)), `${name} refers to ${target}, which no test makes`);
      named.add(target.slice(folder.length));
    }
  }
  assert.deepEqual([...named].sort(), files, 'README.md and docs/ show each picture in both themes');
  const committed = readdirSync(join(ROOT, 'docs')).filter((name) => /\.(png|jpe?g|gif|webp)$/.test(name));
  assert.deepEqual(committed.sort(), files, 'docs/ has each picture; run `npm run screenshots` in dashboard/');
  for (const file of files) assert.deepEqual(sizeOf(join(ROOT, 'docs', file)), [1280, 800], file);
});
