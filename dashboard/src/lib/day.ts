import type { Uptime } from './types';

export const TICKS = 24;
export const SPAN_MS = 86_400_000;
const TICK_MS = SPAN_MS / TICKS;
/** An hour of which less than this is known says nothing. */
const KNOWN_MS_MIN = 1000;

/** What a tick says of its hour. `both`: connected for a part of it. */
export type TickKind = 'up' | 'both' | 'down' | 'unknown';

/**
 * Whether a charger was connected in each of the 24 hours until `to`, the latest last. Of the time before `from`, and before the
 * oldest gap if others were left out, nothing is known.
 */
export function ticksOf(one: Pick<Uptime, 'from' | 'to' | 'gaps' | 'gaps_omitted'>): TickKind[] {
  const begin = Date.parse(one.to) - SPAN_MS;
  const known = Date.parse(one.gaps_omitted > 0 ? (one.gaps.at(-1)?.from ?? one.to) : one.from);
  const gaps = one.gaps.map((gap) => ({ from: Date.parse(gap.from), to: Date.parse(gap.to), isDown: gap.kind === 'down' }));
  gaps.push({ from: begin, to: known, isDown: false });
  return Array.from({ length: TICKS }, (_, index): TickKind => {
    const [from, until] = [begin + index * TICK_MS, begin + (index + 1) * TICK_MS];
    let [down, unknown] = [0, 0];
    for (const gap of gaps) {
      const within = Math.max(0, Math.min(until, gap.to) - Math.max(from, gap.from));
      if (gap.isDown) down += within;
      else unknown += within;
    }
    const up = TICK_MS - down - unknown;
    if (down > 0) return up > 0 ? 'both' : 'down';
    return up >= KNOWN_MS_MIN ? 'up' : 'unknown';
  });
}
