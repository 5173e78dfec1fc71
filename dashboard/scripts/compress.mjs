// Writes a Brotli and a gzip copy beside each file of the build, so that the server compresses nothing while it serves.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const COMPRESSIBLE = /\.(html|js|css|svg)$/;
/** Bytes of the first load at most, compressed. */
const FIRST_LOAD_MAX = 200 * 1024;

const folder = new URL('../dist', import.meta.url).pathname;
// What the first page needs: its script and style, the fonts, the icon. Pages that are loaded when they are opened come later.
const index = readFileSync(join(folder, 'index.html'), 'utf8');
let first = 0;
let total = 0;
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || /\.(br|gz)$/.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const bytes = readFileSync(path);
  let sent = bytes;
  if (COMPRESSIBLE.test(entry.name)) {
    sent = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
    writeFileSync(`${path}.br`, sent);
    writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
  }
  total += sent.length;
  if (!/\.(js|css)$/.test(entry.name) || index.includes(entry.name)) first += sent.length;
}
console.log(`dashboard: ${(first / 1024).toFixed(1)} KiB compressed at first (bound: ${FIRST_LOAD_MAX / 1024} KiB), ${(total / 1024).toFixed(1)} KiB in all`);
if (first > FIRST_LOAD_MAX) {
  console.error('dashboard: the first load is above its bound');
  process.exit(1);
}
