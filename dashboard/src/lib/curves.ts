import type { Transaction, WattpostEvent } from './types';

export const POINTS = 48;
/** Spans of a curve: with too many events in one, the next shorter one is shown, and so where nothing older is known. */
export const SPANS_MS = [86_400_000, 21_600_000, 3_600_000, 600_000] as const;

export interface Curve {
  /** For how long back, in ms; 0 while it is not known. */
  span: number;
  /** At {@link POINTS} times, the last one now. Null where it is not known. */
  values: (number | null)[];
}
export const NONE: Curve = { span: 0, values: [] };

export interface Kept {
  /** All events since then are known, in ms; 0 if none are. */
  from: number;
  events: WattpostEvent[];
}

/** What a curve needs to know of a charger. */
export interface Known {
  charger_id: string;
  first_seen_at?: string | null;
  /** Whether its newest connection has no known end. */
  isConnected: boolean;
}

/**
 * The time of the first that is known of this installation, in ms: a charger, or an event, for example of a charger that was
 * removed. Before it, there is nothing that could have been counted. Infinity if nothing is known.
 */
export function firstKnown(chargers: Iterable<Known>, all: Kept[]): number {
  let first = Infinity;
  const take = (at: string | null | undefined) => (first = Math.min(first, Date.parse(at ?? '') || Infinity));
  for (const charger of chargers) take(charger.first_seen_at);
  // A charger may name any time for what it reports; when that was recorded is known.
  for (const { events } of all) for (const event of events) take(event.recorded_at);
  return first;
}

/** The shortest span that contains this time. */
export function spanSince(first: number, now: number): number {
  return SPANS_MS.findLast((span) => now - span <= first) ?? SPANS_MS[0];
}

/** A curve without the points before a time and after another one, where it is not known; none if no point is left. */
export function cut({ span, values }: Curve, now: number, first: number, until: number): Curve {
  const at = (index: number) => now - (span * (POINTS - 1 - index)) / POINTS;
  const left = values.map((value, index) => (at(index) < first || at(index) > until ? null : value));
  return left.some((value) => value !== null) ? { span, values: left } : NONE;
}

/** The times of the points, the last one now. */
function points(from: number, now: number): number[] {
  return Array.from({ length: POINTS }, (_, index) => from + ((now - from) * (index + 1)) / POINTS);
}

/** How many were connected. From the state of each charger now and its changes: between two of them it had what the first one says. */
export function connectedCurve(chargers: Map<string, Known>, events: WattpostEvent[], from: number, now: number): Curve {
  const steps: [number, number][] = [];
  const first = new Map<string, boolean>();
  const latest = new Map<string, boolean>();
  for (const event of events) {
    if (!event.charger_id) continue;
    const is = event.type === 'charger.connected';
    const was = latest.get(event.charger_id);
    if (was === undefined) first.set(event.charger_id, is);
    if (was !== is) steps.push([Date.parse(event.occurred_at), is ? 1 : -1]);
    latest.set(event.charger_id, is);
  }
  // Before its first change, a charger had the other state; without one, it has had its present state since it is known.
  let at = 0;
  for (const [id, is] of first) if (!is && chargers.has(id)) at += 1;
  for (const charger of chargers.values()) if (!first.has(charger.charger_id) && charger.isConnected) at += 1;
  steps.sort(([one], [other]) => one - other);
  let index = 0;
  const values = points(from, now).map((time) => {
    for (; index < steps.length && (steps[index]?.[0] ?? 0) <= time; index += 1) at += steps[index]?.[1] ?? 0;
    return Math.max(0, at);
  });
  return { span: now - from, values };
}

/** Reports of a fault in each interval. */
export function faultCurve(events: WattpostEvent[], from: number, now: number): Curve {
  const values = new Array<number>(POINTS).fill(0);
  for (const event of events) {
    if ((event.data as { status?: string }).status !== 'Faulted') continue;
    const index = Math.ceil(((Date.parse(event.occurred_at) - from) / (now - from)) * POINTS) - 1;
    if (index >= 0 && index < POINTS) values[index] = (values[index] ?? 0) + 1;
  }
  return { span: now - from, values };
}

/** How many sessions ran. Those that ended before `pastFrom` are not all known. */
export function sessionCurve(past: Transaction[], open: Iterable<Transaction>, pastFrom: number, from: number, now: number): Curve {
  const spans = new Map<string, [number, number]>();
  for (const one of past) {
    const end = one.ended_at ?? one.closed?.at;
    if (one.started_at && end) spans.set(one.key, [Date.parse(one.started_at), Date.parse(end)]);
  }
  for (const one of open) if (one.started_at) spans.set(one.key, [Date.parse(one.started_at), Infinity]);
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
