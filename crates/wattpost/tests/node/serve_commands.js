// A charger of the package `ocpp-rpc` serves every action that a central system may send.
//
// For each action, the smallest and the fullest payload that the package's schemas permit are sent over the API, and the
// charger answers with the smallest and the fullest valid answer. The package validates each call that it receives and
// each answer that it sends (strict mode). What the charger receives must be the payload that was sent, and the outcome
// that the API shows must be the charger's answer.
//
// Arguments: the URL for chargers, the URL of the API, the version. NODE_PATH names the directory with the package.
// Prints the actions that were served as JSON.

const { RPCClient } = require('ocpp-rpc');
const { randomUUID } = require('node:crypto');
const { isDeepStrictEqual } = require('node:util');

// Its schemas of 2.1 have no names by which it finds them, so it cannot be a strict charger of 2.1.
const SCHEMAS = { '1.6': 'ocpp1_6', '2.0.1': 'ocpp2_0_1' };

// The schemas of request and answer by action.
function schemas(version) {
  const found = {};
  for (const schema of require(`ocpp-rpc/lib/schemas/${SCHEMAS[version]}.json`)) {
    const [action, kind] = schema.$id.replace('urn:', '').split('.');
    (found[action] ??= {})[kind] = schema;
  }
  return found;
}

// A valid value: with all members, or with the required ones.
function valueOf(root, schema, isFull) {
  while (schema.$ref) schema = root.definitions[schema.$ref.split('/').at(-1)];
  switch (schema.type) {
    case 'object': {
      const required = schema.required ?? [];
      const members = Object.entries(schema.properties ?? {}).filter(([name]) => isFull || required.includes(name));
      return Object.fromEntries(members.map(([name, member]) => [name, valueOf(root, member, isFull)]));
    }
    case 'array':
      return Array.from({ length: Math.max(1, schema.minItems ?? 1) }, () => valueOf(root, schema.items, isFull));
    case 'string':
      if (schema.enum) return schema.enum[0];
      if (schema.format === 'date-time') return '2026-11-23T16:50:00Z';
      return schema.format === 'uri' ? 'ftp://files.example/logs' : 'x';
    case 'integer':
    case 'number':
      return Math.max(schema.minimum ?? 0, Math.min(0, schema.maximum ?? 0));
    case 'boolean':
      return true;
    default:
      return 'anything';
  }
}

// Status and body of an answer of the API.
async function request(method, url, body, headers = {}) {
  const answer = await fetch(url, {
    method,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(70_000),
  });
  return [answer.status, await answer.json()];
}

async function serve(url, api, version) {
  const identity = `NODE-${version}`;
  const charger = new RPCClient({
    endpoint: url, identity, protocols: [`ocpp${version}`], strictMode: true, reconnect: false,
  });
  const served = [];
  const faults = [];
  let answer;
  let received = [];
  charger.on('strictValidationFailure', ({ method, error }) => faults.push(`${method}: the package refused: ${error}`));
  charger.handle(({ method, params }) => {
    received.push([method, params]);
    return answer;
  });
  await charger.connect();
  const boot = version === '1.6'
    ? { chargePointVendor: 'V', chargePointModel: 'M' }
    : { chargingStation: { vendorName: 'V', model: 'M' }, reason: 'PowerUp' };
  const accepted = await charger.call('BootNotification', boot);
  if (accepted.status !== 'Accepted') throw new Error(`the boot was answered ${JSON.stringify(accepted)}`);
  const address = `${api}/api/v1/chargers/${identity}`;
  for (let tries = 0; tries < 200 && (await request('GET', address))[0] !== 200; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  for (const [action, { req, conf }] of Object.entries(schemas(version))) {
    if (!req || !conf) continue;
    for (const isFull of [false, true]) {
      const payload = valueOf(req, req, isFull);
      answer = valueOf(conf, conf, isFull);
      received = [];
      const [status, command] = await request('POST', `${address}/commands`, { action, payload }, {
        'Idempotency-Key': randomUUID(), Prefer: 'wait=30',
      });
      if (status === 422 && command.detail.includes('central system cannot send')) break;
      if (status !== 200) {
        faults.push(`${action}: ${status} ${JSON.stringify(command)}`);
      } else if (received.length !== 1 || !isDeepStrictEqual(received[0], [action, payload])) {
        faults.push(`${action}: received ${JSON.stringify(received)}, not ${JSON.stringify(payload)}`);
      } else if (command.outcome.class !== 'answered' || !isDeepStrictEqual(command.outcome.payload, answer)) {
        faults.push(`${action}: ${JSON.stringify(answer)} is shown as ${JSON.stringify(command.outcome)}`);
      } else if (isFull) {
        served.push(action);
      }
    }
  }
  await charger.close();
  if (faults.length > 0) throw new Error(faults.join('\n'));
  console.log(JSON.stringify(served));
}

serve(...process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
