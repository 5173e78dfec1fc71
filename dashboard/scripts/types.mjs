// Generates src/lib/api-types.ts from the OpenAPI document of a running Wattpost: `npm run types -- http://127.0.0.1:8080`.
// Only the schemas are used: the answers of all routes would be 12,000 lines.
import { writeFileSync } from 'node:fs';
import openapiTS, { astToString } from 'openapi-typescript';

export async function typesOf(document) {
  const schemas = { openapi: document.openapi, info: document.info, paths: {}, components: { schemas: document.components.schemas } };
  const header = '// Generated from the OpenAPI document by `npm run types`. A test compares it with a running Wattpost.\n\n';
  return header + astToString(await openapiTS(schemas));
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const base = process.argv[2] ?? 'http://127.0.0.1:8080';
  const answer = await fetch(`${base}/api/openapi.json`);
  writeFileSync(new URL('../src/lib/api-types.ts', import.meta.url), await typesOf(await answer.json()));
}
