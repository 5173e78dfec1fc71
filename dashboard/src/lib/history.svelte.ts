import { all, get } from './api';
import { fleet } from './fleet.svelte';
import { freshness } from './freshness.svelte';
import { known } from './known.svelte';
import { live } from './live.svelte';
import type { Page, Transaction, WattpostEvent } from './types';

const POINTS = 48;
/** Spans that are tried: with too many events in one, the next shorter one is shown. */
const SPANS_MS = [86_400_000, 21_600_000, 3_600_000, 600_000];
const PAGES_MAX = 4;
const EVENTS_MAX = PAGES_MAX * 1000 * 2;
const SESSIONS_MAX = 5000;

export interface Curve {
  /** For how long back, in ms; 0 while it is not known. */
  span: number;
  values: (number | null)[];
}
const NONE: Curve = { span: 0, values: [] };

/** How many chargers were connected, how many sessions ran and how many faults were reported, from what the API has kept. */
class History {
  connected = $state.raw<Curve>(NONE);
  sessions = $state.raw<Curve>(NONE);
  faults = $state.raw<Curve>(NONE);
  #connections: Kept = { from: 0, events: [] };
  #statuses: Kept = { from: 0, events: [] };
  #past: Transaction[] = [];
  #pastFrom = 0;

  /** Reads the past once, and adds what happens. Returns what ends it. */
  follow(): () => void {
    const stop = new AbortController();
    // What happens while the past is read is in both: an event counts once by its id.
    const ends = live.listen((events) => {
      keep(this.#connections, events.filter((event) => /^charger\.(dis)?connected$/.test(event.type)));
      keep(this.#statuses, events.filter((event) => event.type === 'connector.status_changed'));
      for (const event of events) if (event.type === 'transaction.ended' || event.type === 'transaction.closed') this.#past.push(event.data as Transaction);
      if (this.#past.length > SESSIONS_MAX * 2) this.#past = this.#past.slice(-SESSIONS_MAX);
    });
    const read = async () => {
      const [connections, statuses] = [await readKept('charger.connected,charger.disconnected', 'id,type,occurred_at,recorded_at,charger_id', stop.signal), await readKept('connector.status_changed', 'id,type,occurred_at,recorded_at,data', stop.signal)];
      this.#connections = merge(connections, this.#connections);
      this.#statuses = merge(statuses, this.#statuses);
      const from = Date.now() - 2 * 86_400_000;
      const past = await all<Transaction>('/api/v1/transactions', { from: new Date(from).toISOString(), fields: 'key,started_at,ended_at,closed,open' }, SESSIONS_MAX, undefined, stop.signal);
      // The latest begun come first: with more than are read, the time before the oldest of them is not known.
      const oldest = past.at(-1)?.started_at;
      this.#pastFrom = past.length >= SESSIONS_MAX && oldest ? Date.parse(oldest) : 0;
      this.#past = [...past, ...this.#past];
      this.draw();
    };
    read().catch(() => undefined);
    const timer = setInterval(() => this.draw(), 30_000);
    return () => {
      stop.abort();
      ends();
      clearInterval(timer);
    };
  }

  /** Draws the curves again. The present state of the chargers must have been read. */
  draw(): void {
    if (!fleet.loaded) return;
    const now = Date.now();
    const since = [known.silentSince, freshness.isBlind ? freshness.unconfirmedSince : null].filter((one) => one !== null);
    const until = Math.min(...since);
    this.connected = cut(connectedCurve(this.#connections, now), now, until);
    this.faults = cut(faultCurve(this.#statuses, now), now, until);
    this.sessions = cut(sessionCurve(this.#past, this.#pastFrom, now), now, until);
  }
}

/** A curve without the points from a time on: from then it is not known. */
function cut({ span, values }: Curve, now: number, until: number): Curve {
  return { span, values: values.map((value, index) => (now - (span * (POINTS - 1 - index)) / POINTS > until ? null : value)) };
}

interface Kept {
  /** All events since then are known, in ms; 0 if none are. */
  from: number;
  events: WattpostEvent[];
}

function keep(kept: Kept, events: WattpostEvent[]): void {
  kept.events.push(...events);
  // Curves show a day at most, and fewer hours where there is more than can be held.
  if (kept.events.length > EVENTS_MAX) {
    const left = kept.events.slice(-EVENTS_MAX / 2);
    kept.events = left;
    kept.from = Date.parse(left[0]?.recorded_at ?? '') || kept.from;
  }
}

function merge(past: Kept, since: Kept): Kept {
  const known = new Set(past.events.map((event) => event.id));
  return { from: past.from, events: [...past.events, ...since.events.filter((event) => !known.has(event.id))] };
}

async function readKept(types: string, fields: string, signal: AbortSignal): Promise<Kept> {
  for (const span of SPANS_MS) {
    const from = Date.now() - span;
    const events: WattpostEvent[] = [];
    let after: string | null | undefined = new Date(from).toISOString();
    for (let read = 0; read < PAGES_MAX && after; read += 1) {
      const page: Page<WattpostEvent> = await get('/api/v1/events', { types, fields, after, limit: 1000 }, signal);
      events.push(...page.items);
      after = page.next;
      if (page.items.length === 0) after = null;
    }
    if (!after) return { from, events };
  }
  return { from: 0, events: [] };
}

/** The times of the points, the last one now. */
function points(from: number, now: number): number[] {
  return Array.from({ length: POINTS }, (_, index) => from + ((now - from) * (index + 1)) / POINTS);
}

/** From the state of each charger now and its changes: between two of them it had what the first one says. */
function connectedCurve(kept: Kept, now: number): Curve {
  if (kept.from === 0) return NONE;
  const from = Math.max(kept.from, now - 86_400_000);
  const steps: [number, number][] = [];
  const first = new Map<string, boolean>();
  const latest = new Map<string, boolean>();
  for (const event of kept.events) {
    if (!event.charger_id) continue;
    const is = event.type === 'charger.connected';
    const was = latest.get(event.charger_id);
    if (was === undefined) first.set(event.charger_id, is);
    if (was !== is) steps.push([Date.parse(event.occurred_at), is ? 1 : -1]);
    latest.set(event.charger_id, is);
  }
  // Before its first change, a charger had the other state; without one, it has had its present state since it is known.
  let at = 0;
  for (const [id, is] of first) if (!is && fleet.chargers.has(id)) at += 1;
  for (const charger of fleet.chargers.values()) if (!first.has(charger.charger_id) && charger.connection === 'open') at += 1;
  steps.sort(([one], [other]) => one - other);
  let index = 0;
  const values = points(from, now).map((time) => {
    for (; index < steps.length && (steps[index]?.[0] ?? 0) <= time; index += 1) at += steps[index]?.[1] ?? 0;
    return Math.max(0, at);
  });
  return { span: now - from, values };
}

/** Reports of a fault in each interval. */
function faultCurve(kept: Kept, now: number): Curve {
  if (kept.from === 0) return NONE;
  const from = Math.max(kept.from, now - 86_400_000);
  const values = new Array<number>(POINTS).fill(0);
  for (const event of kept.events) {
    if ((event.data as { status?: string }).status !== 'Faulted') continue;
    const index = Math.ceil(((Date.parse(event.occurred_at) - from) / (now - from)) * POINTS) - 1;
    if (index >= 0 && index < POINTS) values[index] = (values[index] ?? 0) + 1;
  }
  return { span: now - from, values };
}

function sessionCurve(past: Transaction[], pastFrom: number, now: number): Curve {
  const from = now - 86_400_000;
  const spans = new Map<string, [number, number]>();
  for (const one of past) {
    const end = one.ended_at ?? one.closed?.at;
    if (one.started_at && end) spans.set(one.key, [Date.parse(one.started_at), Date.parse(end)]);
  }
  for (const one of fleet.open.values()) if (one.started_at) spans.set(one.key, [Date.parse(one.started_at), Infinity]);
  const times = points(from, now);
  const values: (number | null)[] = times.map((time) => (time < pastFrom ? null : 0));
  const step = (now - from) / POINTS;
  for (const [begin, end] of spans.values()) {
    const first = Math.max(0, Math.ceil((begin - from) / step) - 1);
    const last = Math.min(POINTS - 1, Math.ceil((end - from) / step) - 2);
    for (let index = first; index <= last; index += 1) {
      const value = values[index];
      if (value !== null && value !== undefined) values[index] = value + 1;
    }
  }
  return { span: now - from, values };
}

export const history = new History();
