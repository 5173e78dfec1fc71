import { get } from './api';
import { SPAN_MS, ticksOf, type TickKind } from './day';
import { duration } from './format';
import { live } from './live.svelte';
import type { Page, Uptime } from './types';

/** What was read is read again after this time, or soon after the charger has connected or gone. */
const FRESH_MS = 60_000;
const CHECK_MS = 5000;
/** After the list has moved: not each row that passes is asked for. */
const SETTLED_MS = 200;
/** Chargers of one request at most, and the length of their names in its address. */
const CHARGERS_MAX = 100;
const NAMES_MAX = 6000;
/** Chargers that are kept at most, besides those in sight. */
const KEPT_MAX = 1000;

export interface Day {
  ticks: TickKind[];
  label: string;
}

function dayOf(one: Uptime): Day {
  const label = one.uptime_percent === null || one.uptime_percent === undefined
    ? 'The last 24 hours: not known'
    : `The last 24 hours: connected ${one.uptime_percent.toFixed(1)} % of the known time, not connected for ${duration(one.down_ms / 1000)}`;
  return { ticks: ticksOf(one), label };
}

/** The connections of the last 24 hours of the chargers in sight: one request for all of them, whatever the list has. */
class ConnectionTicks {
  /** Rises when something was read. */
  version = $state(0);
  readonly #known = new Map<string, { at: number; day: Day }>();
  #wanted: string[] = [];
  #soon: ReturnType<typeof setTimeout> | null = null;
  #request: AbortController | null = null;

  of(id: string): Day | undefined {
    void this.version;
    return this.#known.get(id)?.day;
  }

  /** Says which chargers are in sight. */
  show(ids: string[]): void {
    this.#wanted = ids;
    this.#settle();
  }

  /** Keeps what is in sight current. Returns what ends it. */
  follow(): () => void {
    const ends = live.listen((events) => {
      for (const event of events) {
        const known = /^charger\.(dis)?connected$/.test(event.type) && event.charger_id ? this.#known.get(event.charger_id) : undefined;
        if (known) known.at = 0;
      }
    });
    const timer = setInterval(() => this.#settle(), CHECK_MS);
    return () => {
      ends();
      clearInterval(timer);
      if (this.#soon) clearTimeout(this.#soon);
      this.#soon = null;
      this.#request?.abort();
      this.#request = null;
    };
  }

  #settle(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      void this.#read();
    }, SETTLED_MS);
  }

  async #read(): Promise<void> {
    if (this.#request || document.hidden || live.state === 'paused') return;
    const asked = this.#due();
    if (asked.length === 0) return;
    const request = new AbortController();
    this.#request = request;
    try {
      const to = Date.now();
      const query = { chargers: asked.join('/'), from: new Date(to - SPAN_MS).toISOString(), fields: 'charger_id,from,to,uptime_percent,up_ms,down_ms,gaps,gaps_omitted' };
      const { items } = await get<Page<Uptime>>('/api/v1/uptime', query, request.signal);
      if (request.signal.aborted) return;
      const found = new Map(items.map((item) => [item.charger_id, dayOf(item)]));
      for (const id of asked) {
        this.#known.delete(id);
        const day = found.get(id);
        if (day) this.#known.set(id, { at: to, day });
      }
      for (const id of this.#known.keys()) {
        if (this.#known.size <= KEPT_MAX) break;
        this.#known.delete(id);
      }
      this.version += 1;
      this.#request = null;
      // The list may have moved meanwhile, or has more than one request may ask for.
      if (found.size > 0 && this.#due().length > 0) this.#settle();
    } catch {
      // What is drawn stays as it is, and the next check asks again. The page says itself that the API does not answer.
      if (this.#request === request) this.#request = null;
    }
  }

  /** Those in sight that were not read, or too long ago. */
  #due(): string[] {
    const old = Date.now() - FRESH_MS;
    const due: string[] = [];
    let length = 0;
    for (const id of this.#wanted) {
      if ((this.#known.get(id)?.at ?? 0) > old) continue;
      length += encodeURIComponent(id).length + 3;
      if (due.length >= CHARGERS_MAX || length > NAMES_MAX) break;
      due.push(id);
    }
    return due;
  }
}

export const connectionTicks = new ConnectionTicks();
