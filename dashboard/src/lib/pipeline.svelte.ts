import { get } from './api';
import type { Pipeline } from './types';

const EVERY_MS = 1000;
/** Samples that are kept: one hour, while a page shows the pipeline. */
const KEPT = 3600;
/** Samples further apart than this have a gap between them. */
const GAP_MS = 5000;

export interface Sample {
  at: number;
  waiting: number | null;
  rate: number | null;
  worst: string;
}

/** The pipeline, read every second while a page shows it. */
class PipelineFeed {
  now = $state<Pipeline | null>(null);
  error = $state<unknown>(null);
  readAt = $state(0);
  history = $state.raw<Sample[]>([]);
  #readers = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** Begins to read. Returns what ends it. */
  follow(): () => void {
    this.#readers += 1;
    if (this.#readers === 1) void this.#read();
    return () => {
      this.#readers -= 1;
      if (this.#readers === 0 && this.#timer) clearTimeout(this.#timer);
    };
  }

  async #read(): Promise<void> {
    try {
      const now = await get<Pipeline>('/api/v1/pipeline');
      this.now = now;
      this.readAt = Date.now();
      this.error = null;
      const waits = now.parts.map((part) => part.waiting_records).filter((value) => typeof value === 'number');
      const gateways = now.parts.find((part) => part.part === 'gateways');
      const sample: Sample = {
        at: Date.now(),
        waiting: waits.length ? waits.reduce((sum, value) => sum + value, 0) : null,
        rate: gateways?.in_per_s ?? null,
        worst: now.parts.some((part) => part.state === 'down') ? 'down' : now.parts.every((part) => part.state === 'works') ? 'works' : 'unknown',
      };
      this.history = [...this.history.slice(1 - KEPT), sample];
    } catch (error) {
      this.error = error;
    }
    if (this.#readers > 0) this.#timer = setTimeout(() => void this.#read(), EVERY_MS);
  }
}

/**
 * One figure of the samples in `parts` equal parts of the time from the oldest one until now, the largest of each part. A part
 * in which nothing was read is null; a part between two samples that follow one another has the value of the earlier one.
 */
export function drawn(history: Sample[], now: number, of: (sample: Sample) => number | null, parts = 360): (number | null)[] {
  const oldest = history[0]?.at ?? now;
  const wide = Math.max(60_000, now - oldest) / parts;
  const from = now - wide * parts;
  const values: (number | null)[] = Array.from({ length: parts }, () => null);
  history.forEach((sample, index) => {
    const value = of(sample);
    if (value === null) return;
    const next = history[index + 1]?.at ?? now;
    const until = next - sample.at > GAP_MS ? sample.at : next;
    const last = Math.min(parts - 1, Math.floor((until - from) / wide));
    for (let part = Math.max(0, Math.floor((sample.at - from) / wide)); part <= last; part += 1) values[part] = Math.max(values[part] ?? 0, value);
  });
  return values;
}

export const pipeline = new PipelineFeed();
