import type { Pipeline } from './types';

/** For so long a refusal for want of the database outweighs a report that the database answers, and an answer from it the opposite one. */
const EVIDENCE_MS = 10_000;
/** While other requests are answered, one that is refused concerns what it asks for. */
const OTHERS_MS = 3000;
/** A request that failed says nothing of what is so after this time, if none has failed since. */
const FAILED_MS = 15_000;
/** The header `Date` has whole seconds, so a smaller difference of the clocks is none. */
const SKEW_MS_MIN = 2000;

/** The body of a refusal, as far as it is read here. */
interface Refusal {
  code?: string;
}

/**
 * What answers of the API say about themselves: whether the database gave them, by how much it is behind the chargers, and
 * which gateways report. All times are of this browser's clock, in ms.
 */
class Known {
  /** Since when the database does not answer; null while it does. */
  databaseAwaySince = $state<number | null>(null);
  /** Since when requests fail for another reason; null while they do not. */
  failingSince = $state<number | null>(null);
  /** By how many ms at most the database is behind what chargers were answered for; null if it is not known. */
  lagMs = $state<number | null>(0);
  /** The gateways that do not report: they may be dead, and their connections with them. */
  silent = $state.raw<ReadonlySet<string>>(new Set());
  /** Since when there is such a gateway. */
  silentSince = $state<number | null>(null);
  /** Rises when a gateway reports again, or was started again. */
  returns = $state(0);
  /** By how much this browser's clock is ahead of Wattpost's. */
  skewMs = 0;
  #databaseAnsweredAt = 0;
  #databaseRefusedAt = 0;
  #failedAt = 0;
  /** When the API answered last. */
  answeredAt = $state(Date.now());
  /** All gateways that were listed, with the time of their last start. */
  readonly #gateways = new Map<string, string>();

  /** The API has answered a request that began then. */
  answered(headers: Headers, began: number): void {
    const now = Date.now();
    this.answeredAt = now;
    const date = Date.parse(headers.get('date') ?? '');
    if (Number.isFinite(date)) {
      const skew = (began + now) / 2 - date - 500;
      this.skewMs = Math.abs(skew) < SKEW_MS_MIN ? 0 : skew;
    }
    const asOf = headers.get('wattpost-as-of');
    if (asOf === null) return;
    if (headers.has('wattpost-stale')) {
      this.#databaseRefusedAt = now;
      this.databaseAwaySince ??= Math.min(now, Date.parse(asOf) + this.skewMs || now);
      return;
    }
    this.#databaseAnsweredAt = now;
    this.databaseAwaySince = null;
    this.failingSince = null;
    const lag = headers.get('wattpost-lag-ms');
    if (lag !== null) this.lagMs = Number(lag);
  }

  /** A request got a refusal, or no answer (status 0). One that is the client's fault says nothing about Wattpost. */
  refused(status: number, refusal: Refusal): void {
    if (status >= 400 && status < 500) return;
    const now = Date.now();
    if (refusal.code === 'unavailable') {
      this.#databaseRefusedAt = now;
      this.databaseAwaySince ??= now;
      return;
    }
    if (status > 0 && now - this.#databaseAnsweredAt < OTHERS_MS) return;
    this.#failedAt = now;
    this.failingSince ??= Math.min(now, this.answeredAt);
  }

  /** The pipeline, which is made without the database, was read. */
  reported(pipeline: Pipeline): void {
    const now = Date.now();
    const database = pipeline.parts.find((part) => part.part === 'database');
    if (database?.state === 'down') {
      if (now - this.#databaseAnsweredAt > EVIDENCE_MS) this.databaseAwaySince ??= Math.min(now, Date.parse(database.since ?? '') + this.skewMs || now);
    } else if (now - this.#databaseRefusedAt > EVIDENCE_MS) {
      this.databaseAwaySince = null;
    }
    if (now - this.#failedAt > FAILED_MS) this.failingSince = null;
    const waits = pipeline.watermarks.some((mark) => mark.state !== 'retired' && (mark.undelivered > 0 || (mark.stored ?? -1) < mark.durable));
    this.lagMs = pipeline.lag_ms ?? (waits ? null : 0);
    this.#hear(pipeline, now);
  }

  /** Whether this gateway was listed and reports. */
  hears(gateway: string): boolean {
    return this.#gateways.has(gateway) && !this.silent.has(gateway);
  }

  #hear(pipeline: Pipeline, now: number): void {
    const reporting = new Set<string>();
    let isReturned = false;
    for (const one of pipeline.processes) {
      if (one.role !== 'gateway' && one.role !== 'serve') continue;
      const before = this.#gateways.get(one.id);
      // What it held before it was started again is gone.
      if (before !== undefined && before !== one.started_at) isReturned = true;
      this.#gateways.set(one.id, one.started_at);
      if (one.state === 'running') reporting.add(one.id);
    }
    const silent = [...this.#gateways.keys()].filter((id) => !reporting.has(id));
    isReturned ||= [...this.silent].some((id) => reporting.has(id));
    if (silent.length !== this.silent.size || silent.some((id) => !this.silent.has(id))) {
      this.silent = new Set(silent);
      this.silentSince = silent.length ? (this.silentSince ?? now) : null;
    }
    if (isReturned) this.returns += 1;
  }
}

export const known = new Known();
