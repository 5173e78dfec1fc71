import { ApiProblem, get } from './api';
import { time } from './format';
import { known } from './known.svelte';
import { live } from './live.svelte';
import { Polled } from './polled.svelte';
import type { Pipeline } from './types';

/** While a page shows the pipeline. */
const EVERY_MS = 1000;
/** While none does, and every gateway reports: how fresh the other pages are follows from it. */
const SLOWLY_MS = 5000;
/** The answer is made from memory. One that has not come after so long does not come: the process hangs, or the way to it is cut. */
const ANSWER_WITHIN_MS = 5000;
/** Samples that are kept: one hour, while a page shows the pipeline. */
const KEPT = 3600;
/** Samples further apart than this have a gap between them. */
const GAP_MS = 5000;

/** The parts in words. */
export const PART_NAMES: Record<string, string> = {
  chargers: 'Chargers', gateways: 'Gateways', journal: 'Journal', rabbitmq: 'RabbitMQ', consumers: 'Consumers', database: 'Database', bypass: 'Bypass',
};

export interface Sample {
  at: number;
  waiting: number | null;
  rate: number | null;
  worst: string;
}

type OrUnknown<T extends { state: string }> = Omit<T, 'state'> & { state: T['state'] | 'unknown' };
/** The pipeline as it is shown: while the API gives no answer, the state of each part and process is unknown. */
export interface ShownPipeline extends Omit<Pipeline, 'processes' | 'watermarks'> {
  processes: OrUnknown<Pipeline['processes'][number]>[];
  watermarks: OrUnknown<Pipeline['watermarks'][number]>[];
}

/**
 * The pipeline, read while the dashboard is open, and every second while a page shows it, or a gateway does not report: that it
 * reports again has no event, and until a page has read it, nothing of its chargers is shown. Not while updates are paused or
 * the tab is hidden.
 */
class PipelineFeed {
  history = $state.raw<Sample[]>([]);
  /** When the last answer came. */
  readAt = $state(0);
  #readers = 0;
  readonly #polled = new Polled<Pipeline>((signal) => this.#read(signal), () => (this.#readers > 0 || known.silent.size > 0 ? EVERY_MS : SLOWLY_MS));
  readonly now: ShownPipeline | null = $derived.by(() => {
    const read = this.#polled.value;
    return read && this.error ? unknown(read, this.error, this.readAt) : read;
  });

  /** Why the last request failed; null if it did not. */
  get error(): unknown {
    return this.#polled.error;
  }

  /** Reads slowly. Returns what ends it. */
  watch(): () => void {
    return this.#polled.follow();
  }

  /** Reads every second. Returns what ends it. */
  follow(): () => void {
    this.#readers += 1;
    if (this.#readers === 1) this.#polled.sooner();
    return () => {
      this.#readers -= 1;
    };
  }

  async #read(signal: AbortSignal): Promise<Pipeline> {
    const now = await get<Pipeline>('/api/v1/pipeline', {}, signal, ANSWER_WITHIN_MS);
    if (this.error) live.reconnect();
    this.readAt = Date.now();
    known.reported(now);
    const waits = now.parts.map((part) => part.waiting_records).filter((value) => typeof value === 'number');
    const gateways = now.parts.find((part) => part.part === 'gateways');
    const sample: Sample = {
      at: Date.now(),
      waiting: waits.length && isCounted(now) ? waits.reduce((sum, value) => sum + value, 0) : null,
      rate: gateways?.in_per_s ?? null,
      worst: now.parts.some((part) => part.state === 'down') ? 'down' : now.parts.every((part) => part.state === 'works') ? 'works' : 'unknown',
    };
    if (this.#readers > 0) this.history = [...this.history.slice(1 - KEPT), sample];
    return now;
  }
}

/** Whether every gateway reports: else the balance is that of the last reports. */
export function isCounted(shown: ShownPipeline | null): boolean {
  return shown?.parts.every((part) => part.part !== 'gateways' || part.state === 'works') ?? false;
}

/** What was read, of which nothing is known to be so now. */
function unknown(read: Pipeline, error: unknown, readAt: number): ShownPipeline {
  const since = time(new Date(readAt).toISOString());
  const why = error instanceof ApiProblem && error.status > 0 ? `not read since ${since}` : `no answer since ${since}`;
  const nothing = { in_per_s: null, out_per_s: null, waiting_records: null, waiting_bytes: null, oldest_waiting_s: null, full_in_s: null };
  const members = Object.fromEntries([...Object.keys(nothing), 'since'].map((name) => [name, why]));
  return {
    ...read,
    parts: read.parts.map((part) => ({ ...part, ...nothing, state: 'unknown', since: null, detail: why, faults: [], unknown: members })),
    processes: read.processes.map((one) => ({ ...one, state: 'unknown', parts: [] })),
    watermarks: read.watermarks.map((one) => ({ ...one, state: 'unknown' })),
    balance: { acknowledged: null, stored: null, dead_letters: null, journal: null, rabbitmq: null, difference: null, unexplained_since: null, unknown: { difference: why } },
  };
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
