// The curves of the page Now: what is not known is a gap, never a zero. Captions: a number and its unit stay on one line.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './support.mjs';

const { NONE, POINTS, connectedCurve, cut, faultCurve, firstKnown, sessionCurve, spanSince } = await load('curves');
const { bytes, duration, tied } = await load('format');
const NOW = Date.parse('2026-03-10T12:00:00Z');
const DAY = 86_400_000;
const ago = (hours) => new Date(NOW - hours * 3_600_000).toISOString();
const fleet = (...all) => new Map(all.map(([charger_id, hours, isConnected]) => [charger_id, { charger_id, first_seen_at: hours === null ? null : ago(hours), isConnected }]));
const event = (type, charger_id, hours, data) => ({ id: `${type}${charger_id}${hours}`, type, charger_id, occurred_at: ago(hours), recorded_at: ago(hours), late: false, data });
const from = NOW - DAY;

test('before the first charger that is known, or the first event, no number was counted', () => {
  const chargers = fleet(['CP-1', 6, true], ['CP-2', 3, true], ['NEVER', null, false]);
  const events = [event('charger.connected', 'CP-1', 6), event('charger.connected', 'CP-2', 3)];
  const first = firstKnown(chargers.values(), [{ from, events }]);
  assert.equal(first, Date.parse(ago(6)));
  const { values } = cut(connectedCurve(chargers, events, from, NOW), NOW, first, Infinity);
  // Two points are an hour.
  assert.deepEqual(values.slice(0, 35), Array(35).fill(null));
  assert.deepEqual(values.slice(35), [...Array(6).fill(1), ...Array(7).fill(2)]);
  const faults = [event('connector.status_changed', 'CP-1', 1, { status: 'Faulted' })];
  assert.deepEqual(cut(faultCurve(faults, from, NOW), NOW, first, Infinity).values.map((value) => value ?? '–').join(''), `${'–'.repeat(35)}0000000000100`);
  const session = { key: 'a', started_at: ago(2), ended_at: ago(1) };
  assert.deepEqual(cut(sessionCurve([session], [], 0, from, NOW), NOW, first, Infinity).values.map((value) => value ?? '–').join(''), `${'–'.repeat(35)}0000000011000`);
  // A charger that was removed is known by its events, by the time when they were recorded: its own clock may be wrong.
  const removed = { ...event('charger.connected', 'OLD', 30), recorded_at: ago(9) };
  assert.equal(firstKnown(chargers.values(), [{ from, events: [removed] }]), Date.parse(ago(9)));
});

test('what was connected before the events begin was so all the time, also if it is not known now', () => {
  const chargers = fleet(['CP-1', 100, true], ['CP-2', 90, false]);
  const first = firstKnown(chargers.values(), []);
  assert.deepEqual(cut(connectedCurve(chargers, [event('charger.disconnected', 'CP-2', 12)], from, NOW), NOW, first, Infinity).values, [...Array(23).fill(2), ...Array(25).fill(1)]);
  // From the time on when its gateway does not report, nothing is drawn.
  const { values } = cut(connectedCurve(chargers, [], from, NOW), NOW, first, NOW - 3_600_000);
  assert.deepEqual(values.slice(-3), [1, null, null]);
});

test('a curve of which nothing is known is none, and a young installation has a short one', () => {
  const nothing = firstKnown([], []);
  assert.equal(nothing, Infinity);
  assert.equal(cut(connectedCurve(fleet(), [], from, NOW), NOW, nothing, Infinity), NONE);
  assert.equal(cut(sessionCurve([], [], Infinity, from, NOW), NOW, NOW - DAY, Infinity), NONE);
  const minutes = (value) => spanSince(NOW - value * 60_000, NOW) / 60_000;
  assert.deepEqual([0, 9, 11, 61, 400, 1500].map(minutes), [10, 10, 60, 360, 1440, 1440]);
  // At least the point of now is drawn.
  const young = cut(connectedCurve(fleet(['CP-1', 0, true]), [], NOW - 600_000, NOW), NOW, NOW, Infinity);
  assert.deepEqual(young.values, [...Array(POINTS - 1).fill(null), 1]);
});

test('a number and its unit are not parted at the end of a line', () => {
  assert.equal(tied('chargers connected, 24 h'), 'chargers connected, 24\u00a0h');
  assert.equal(tied('the last 2 h 5 min, 7.0 kW, 95 %'), 'the last 2\u00a0h 5\u00a0min, 7.0\u00a0kW, 95\u00a0%');
  assert.deepEqual([0, 65, 7500, 180_000].map(duration), ['0\u00a0s', '1\u00a0min 5\u00a0s', '2\u00a0h 5\u00a0min', '2\u00a0d 2\u00a0h']);
  assert.equal(bytes(2048), '2.0\u00a0KiB');
  assert.equal(tied('8 sessions, 3 hours, 4 by hand'), '8 sessions, 3 hours, 4 by hand');
});
