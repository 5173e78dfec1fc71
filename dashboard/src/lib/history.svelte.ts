import { all, get } from './api';
import { NONE, SPANS_MS, connectedCurve, cut, faultCurve, firstKnown, sessionCurve, spanSince, type Curve, type Kept, type Known } from './curves';
import { fleet, lastConnected } from './fleet.svelte';
import { freshness } from './freshness.svelte';
import { known } from './known.svelte';
import { live } from './live.svelte';
import type { Page, Transaction, WattpostEvent } from './types';

const PAGES_MAX = 4;
const EVENTS_MAX = PAGES_MAX * 1000 * 2;
const SESSIONS_MAX = 5000;

/** How many chargers were connected, how many sessions ran and how many faults were reported, from what the API has kept. */
class History {
  connected = $state.raw<Curve>(NONE);
  sessions = $state.raw<Curve>(NONE);
  faults = $state.raw<Curve>(NONE);
  #connections: Kept = { from: 0, events: [] };
  #statuses: Kept = { from: 0, events: [] };
  #past: Transaction[] = [];
  /** From when on all sessions are known, in ms. */
  #pastFrom = Infinity;

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
    const chargers = new Map<string, Known>();
    for (const one of fleet.chargers.values()) chargers.set(one.charger_id, { charger_id: one.charger_id, first_seen_at: one.first_seen_at, isConnected: lastConnected(one) });
    const [connections, statuses] = [this.#connections, this.#statuses];
    const first = firstKnown(chargers.values(), [connections, statuses]);
    const begin = now - spanSince(first, now);
    const from = (kept: Kept) => Math.max(kept.from, begin);
    this.connected = connections.from ? cut(connectedCurve(chargers, connections.events, from(connections), now), now, first, until) : NONE;
    this.faults = statuses.from ? cut(faultCurve(statuses.events, from(statuses), now), now, first, until) : NONE;
    this.sessions = cut(sessionCurve(this.#past, fleet.open.values(), this.#pastFrom, begin, now), now, first, until);
  }
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

export const history = new History();
