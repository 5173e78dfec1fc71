import { get } from './api';
import type { Pipeline } from './types';

const EVERY_MS = 1000;
/** Samples that are kept: ten minutes. */
const KEPT = 600;

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
      this.history = [...this.history.slice(-KEPT), sample];
    } catch (error) {
      this.error = error;
    }
    if (this.#readers > 0) this.#timer = setTimeout(() => void this.#read(), EVERY_MS);
  }
}

export const pipeline = new PipelineFeed();
