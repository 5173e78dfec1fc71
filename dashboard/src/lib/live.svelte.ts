import { ApiProblem, get } from './api';
import { known } from './known.svelte';
import { session } from './session.svelte';
import type { WattpostEvent } from './types';

/** The types of events that the API has. */
export const TYPES = [
  'charger.connected', 'charger.disconnected', 'charger.booted', 'charger.set', 'charger.removed',
  'connector.status_changed',
  'transaction.started', 'transaction.updated', 'transaction.ended', 'transaction.closed', 'transaction.reconciled',
  'command.sent', 'command.finished', 'command.effect_seen',
  'dead_letter.added', 'dead_letter.applied', 'dead_letter.discarded', 'security.event', 'firmware.status', 'charger.refused', 'token.refused', 'token.set', 'token.removed',
  'alert.firing', 'alert.acknowledged', 'alert.resolved', 'pipeline.part_down', 'pipeline.part_up',
];
/** The page changes at most four times a second. */
const PAINT_MS = 250;
/** Events that are held while paused. With more, the lists are read again instead. */
const HELD_MAX = 20_000;

/** A page that nobody sees gives its connection back after so long: a browser has six to one address, for all its tabs. */
const UNSEEN_MS = 10_000;

type Listener = (events: WattpostEvent[]) => void;
export type LiveState = 'connecting' | 'live' | 'reconnecting' | 'paused';

/**
 * The stream of events. It continues after the last event that it got, so that a lost connection loses no event; an event
 * that comes twice is taken once.
 */
class Live {
  state = $state<LiveState>('connecting');
  /** Events that wait while the page is paused. */
  held = $state(0);
  /** From the recording of the newest event to its arrival here, in ms. */
  lagMs = $state(0);
  /** When it arrived. */
  takenAt = $state(0);
  /** When updates were paused last. */
  pausedAt = $state(0);
  /** Rises when events were lost, because they are no longer kept: then all lists are read again. */
  epoch = $state(0);
  /** Events taken since the page was opened. */
  taken = $state(0);
  /** Since when there is no connection. */
  lostAt = $state<number | null>(null);
  #paused = false;
  #overflowed = false;
  #last: string | null = null;
  #source: EventSource | null = null;
  #waiting: WattpostEvent[] = [];
  #paint: ReturnType<typeof setTimeout> | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #retryMs = 500;
  #unseen: ReturnType<typeof setTimeout> | null = null;
  /** It has given its connection back, and takes one when the page is seen. */
  #rests = false;
  #listeners = new Set<Listener>();

  /** Calls this with each batch of events. Returns what ends it. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async start(): Promise<void> {
    this.stop();
    try {
      if (this.#last === null) {
        const page = await get<{ last_id: string }>('/api/v1/events', { after: 'latest', limit: 1 });
        this.#last = page.last_id;
      }
      this.#open();
    } catch (error) {
      if (error instanceof ApiProblem && error.status === 401) return;
      this.#lost();
    }
  }

  stop(): void {
    this.#source?.close();
    this.#source = null;
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
    this.#rests = false;
  }

  /** Follows whether somebody sees the page. Returns what ends it. */
  followSight(): () => void {
    const change = () => {
      this.#see();
      if (document.hidden) this.#restSoon();
      else if (this.#rests) void this.start();
    };
    document.addEventListener('visibilitychange', change);
    return () => {
      document.removeEventListener('visibilitychange', change);
      this.#see();
    };
  }

  #see(): void {
    if (this.#unseen) clearTimeout(this.#unseen);
    this.#unseen = null;
  }

  #restSoon(): void {
    this.#unseen ??= setTimeout(() => {
      this.#unseen = null;
      this.stop();
      this.#rests = true;
      if (!this.#paused) this.state = 'reconnecting';
    }, UNSEEN_MS);
  }

  get lastId(): string | null {
    return this.#last;
  }

  pause(): void {
    if (!this.#paused) this.pausedAt = Date.now();
    this.#paused = true;
    this.state = 'paused';
  }

  /** Opens the stream again after the last event: what cut requests off may have cut it off too, without a word. */
  reconnect(): void {
    if (this.#source) void this.start();
  }

  resume(): void {
    this.#paused = false;
    this.state = this.#source?.readyState === EventSource.OPEN ? 'live' : 'reconnecting';
    this.held = 0;
    if (this.#overflowed) {
      this.#overflowed = false;
      this.#waiting = [];
      this.epoch += 1;
    }
    this.#schedule();
  }

  #open(): void {
    const source = new EventSource(`/api/v1/events?after=${encodeURIComponent(this.#last ?? 'latest')}`);
    this.#source = source;
    if (document.hidden) this.#restSoon();
    source.onopen = () => {
      this.#retryMs = 500;
      this.lostAt = null;
      if (!this.#paused) this.state = 'live';
    };
    source.onerror = () => {
      if (this.#source !== source) return;
      source.close();
      this.#lost();
    };
    for (const type of TYPES) {
      source.addEventListener(type, (message) => this.#take(JSON.parse((message as MessageEvent<string>).data)));
    }
    source.addEventListener('gap', () => (this.epoch += 1));
    source.addEventListener('cut_off', () => {
      source.close();
      this.#lost();
    });
  }

  /** Connects again after the last event, later each time. */
  #lost(): void {
    this.stop();
    this.lostAt ??= Date.now();
    if (!this.#paused) this.state = 'reconnecting';
    this.#retry = setTimeout(async () => {
      await session.load();
      if (session.open) void this.start();
    }, this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, 5000);
  }

  #take(event: WattpostEvent): void {
    if (this.#last !== null && !isAfter(event.id, this.#last)) return;
    this.#last = event.id;
    this.takenAt = Date.now();
    this.lagMs = Math.max(0, this.takenAt - known.skewMs - Date.parse(event.recorded_at));
    this.#waiting.push(event);
    if (this.#paused) {
      if (this.#waiting.length > HELD_MAX) {
        this.#waiting = [];
        this.#overflowed = true;
      }
      this.held += 1;
      return;
    }
    this.#schedule();
  }

  #schedule(): void {
    this.#paint ??= setTimeout(() => {
      this.#paint = null;
      if (this.#paused) return;
      const events = this.#waiting;
      this.#waiting = [];
      if (events.length === 0) return;
      this.taken += events.length;
      for (const listener of this.#listeners) listener(events);
    }, PAINT_MS);
  }
}

/** Ids are POSITION-MILLISECONDS. A lower position with a later time is one of another log: the database was restored. */
function isAfter(id: string, last: string): boolean {
  const [position = 0, at = 0] = id.split('-').map(Number);
  const [lastPosition = 0, lastAt = 0] = last.split('-').map(Number);
  return position > lastPosition || at > lastAt + 1000;
}

export const live = new Live();
