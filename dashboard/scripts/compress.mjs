// Writes a Brotli and a gzip copy beside each file of the build, so that the server compresses nothing while it serves.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const COMPRESSIBLE = /\.(html|js|css|svg)$/;
/** Bytes of the first load at most, compressed. */
const FIRST_LOAD_MAX = 200 * 1024;

const folder = new URL('../dist', import.meta.url).pathname;
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
}
console.log(`dashboard: ${(total / 1024).toFixed(1)} KiB compressed, all files (bound: ${FIRST_LOAD_MAX / 1024} KiB)`);
if (total > FIRST_LOAD_MAX) {
  console.error('dashboard: the first load is above its bound');
  process.exit(1);
}
