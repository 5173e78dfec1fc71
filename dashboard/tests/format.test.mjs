// The texts of time axes: round times in the viewer's zone, also where a day has 25 hours. The hours of a day in the list of chargers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './support.mjs';

process.env.TZ = 'Europe/Berlin';
const { STEPS_S, counted, roundTimes, shortened, tickTexts } = await load('format');
const { ticksOf } = await load('day');
const axis = (from, to) => tickTexts(roundTimes(Date.parse(from), Date.parse(to), 6));

test('an axis has round times, seconds only where they differ, and days where there is more than one', () => {
  assert.deepEqual(axis('2026-03-10T12:03:17+01:00', '2026-03-10T12:03:41+01:00'), ['12:03:20', '12:03:25', '12:03:30', '12:03:35', '12:03:40']);
  assert.deepEqual(axis('2026-03-10T12:03:17+01:00', '2026-03-10T12:59:00+01:00'), ['12:10', '12:20', '12:30', '12:40', '12:50']);
  assert.deepEqual(axis('2026-03-10T18:20:00+01:00', '2026-03-11T18:20:00+01:00'), ['00:00', '06:00', '12:00', '18:00']);
  // The night of 25 October has an hour twice.
  assert.deepEqual(axis('2026-10-23T18:20:00+02:00', '2026-10-26T12:00:00+01:00'), ['24 Oct', '12:00', '25 Oct', '12:00', '26 Oct', '12:00']);
  assert.deepEqual(axis('2026-10-01T18:20:00+02:00', '2026-10-30T12:00:00+01:00'), ['06 Oct', '11 Oct', '16 Oct', '21 Oct', '26 Oct']);
  assert.deepEqual(tickTexts([Date.parse('2026-10-23T20:00:00+02:00'), Date.parse('2026-10-24T08:00:00+02:00')]), ['23 Oct 20:00', '24 Oct 08:00']);
  assert.deepEqual(tickTexts([]), []);
});

test('of the id of a process a sentence has the end', () => {
  assert.equal(shortened('gateway 01a229c4-22a8-75b1-bf95-0727041b6258 on vm, gateway on b'), 'gateway …1b6258 on vm, gateway on b');
  assert.equal(shortened('01a229c4-22a8'), '01a229c4-22a8');
});

test('one thing is not told as many', () => {
  assert.deepEqual([0, 1, 2, 12_300].map((one) => counted(one, 'charger')), ['0 chargers', '1 charger', '2 chargers', '12,300 chargers']);
  assert.deepEqual([1, 2].map((one) => counted(one, 'message waits', 'messages wait')), ['1 message waits', '2 messages wait']);
});

test('a tick that is alone has a time of day, and no step of an axis is shorter than a second', () => {
  assert.deepEqual(tickTexts([Date.parse('2026-11-29T20:30:05+01:00')]), ['20:30:05']);
  assert.deepEqual(tickTexts([Date.parse('2026-11-29T20:30:00+01:00')]), ['20:30']);
  assert.deepEqual(tickTexts([Date.parse('2026-11-29T00:00:00+01:00')]), ['00:00']);
  // A session of six seconds, and one of less than a second: no text is there twice.
  assert.deepEqual(axis('2026-11-29T20:30:02.400+01:00', '2026-11-29T20:30:08.400+01:00'), ['20:30:03', '20:30:04', '20:30:05', '20:30:06', '20:30:07', '20:30:08']);
  assert.deepEqual(axis('2026-11-29T20:30:07.600+01:00', '2026-11-29T20:30:08.400+01:00'), ['20:30:08']);
  assert.equal(STEPS_S[0], 1);
  assert.ok(STEPS_S.every((step, index) => index === 0 || step > STEPS_S[index - 1]));
});

test('an hour in which a charger was away for a part is told from one in which it was away, and both from one that is not known', () => {
  const at = (hour) => new Date(Date.parse('2026-03-10T00:00:00Z') + hour * 3_600_000).toISOString();
  const gap = (kind, from, to) => ({ kind, from: at(from), to: at(to), duration_ms: (to - from) * 3_600_000 });
  const kinds = (from, gaps, omitted = 0) => ticksOf({ from: at(from), to: at(24), gaps, gaps_omitted: omitted });
  const expected = (...changes) => Object.assign(Array(24).fill('up'), Object.fromEntries(changes));
  assert.deepEqual(kinds(0, []), expected());
  assert.deepEqual(kinds(0, [gap('down', 21, 22.5), gap('unknown', 3, 4)]), expected([21, 'down'], [22, 'both'], [3, 'unknown']));
  // It was away for a part of an hour of which the rest is not known.
  assert.deepEqual(kinds(0, [gap('down', 21.5, 22), gap('unknown', 21, 21.5)]), expected([21, 'down']));
  // Nothing is known of the time before the first connection that was read, or before the oldest gap of many.
  assert.deepEqual(kinds(2, []), expected([0, 'unknown'], [1, 'unknown']));
  assert.deepEqual(kinds(0, [gap('down', 2, 3)], 7), expected([0, 'unknown'], [1, 'unknown'], [2, 'down']));
});
