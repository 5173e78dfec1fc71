// What the other tests rely on.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

test('a test fails if the console of its page has an error, although it does not look', () => {
  // The variable makes a runner within a runner report to its parent instead of by its exit code.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const fixture = fileURLToPath(new URL('fixtures/no-check.mjs', import.meta.url));
  const run = spawnSync(process.execPath, ['--test', fixture], { env, encoding: 'utf8', timeout: 60_000 });
  assert.equal(run.status, 1, run.stdout + run.stderr);
  assert.match(run.stdout, /the console has errors/);
  assert.match(run.stdout, /a fault of the page/);
});
