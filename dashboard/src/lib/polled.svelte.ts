import { live } from './live.svelte';

/** Changes that follow one another within this time are read once. */
const SOON_MS = 1000;

/**
 * What a page reads again on a timer, because no event tells of all its changes.
 *
 * There is one request at a time: a request begins `everyMs` after the end of the one before, so a slow API is not asked
 * more often. Nothing is read while updates are paused or the tab is hidden. When the tab is shown again, it is read at once.
 */
export class Polled<T> {
  /** What was read last. An error leaves it as it is. */
  value = $state.raw<T | null>(null);
  /** Why the last request failed; null if it did not. */
  error = $state<unknown>(null);
  /** Whether the first request has ended, with or without an error. */
  loaded = $state(false);
  readonly #read: (signal: AbortSignal) => Promise<T>;
  readonly #everyMs: (value: T | null) => number | null;
  #request: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #soon: ReturnType<typeof setTimeout> | null = null;
  #isFollowed = false;
  /** Whether to read once more after the request that is under way. */
  #isOutdated = false;

  /**
   * `everyMs` is the time between two requests in milliseconds, or a function of what was read last; null means that it does
   * not change any more.
   */
  constructor(read: (signal: AbortSignal) => Promise<T>, everyMs: number | ((value: T | null) => number | null)) {
    this.#read = read;
    this.#everyMs = typeof everyMs === 'number' ? () => everyMs : everyMs;
  }

  /**
   * Begins to read; returns what ends it: `$effect(() => polled.follow())`. It begins again when events were lost, and when a
   * state changes that `read` uses before it waits for the first time.
   */
  follow(): () => void {
    void live.epoch;
    this.#isFollowed = true;
    void this.again();
    const shown = () => document.hidden || void this.again();
    document.addEventListener('visibilitychange', shown);
    return () => {
      this.#isFollowed = false;
      this.#stop();
      if (this.#soon) clearTimeout(this.#soon);
      this.#soon = null;
      document.removeEventListener('visibilitychange', shown);
    };
  }

  /** Reads now. A request that is under way is given up: its answer may be older than what asks for this one. */
  readonly again = async (): Promise<void> => {
    this.#stop();
    this.#isOutdated = false;
    const request = new AbortController();
    this.#request = request;
    try {
      const value = await this.#read(request.signal);
      if (request.signal.aborted) return;
      this.value = value;
      this.error = null;
    } catch (why) {
      if (request.signal.aborted) return;
      this.error = why;
    }
    this.loaded = true;
    this.#request = null;
    if (this.#isOutdated) this.soon();
    else this.#wait();
  };

  /** Reads now unless a request is under way: the time between two requests has become shorter. */
  sooner(): void {
    if (this.#isFollowed && !this.#request && !isStill()) void this.again();
  }

  /** Reads within a second, or after the request that is under way: many events ask for one request. */
  soon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      if (!this.#isFollowed) return;
      if (this.#request) this.#isOutdated = true;
      else void this.again();
    }, SOON_MS);
  }

  #wait(): void {
    const everyMs = this.#everyMs(this.value);
    if (!this.#isFollowed || everyMs === null) return;
    this.#timer = setTimeout(() => {
      if (isStill()) this.#wait();
      else void this.again();
    }, everyMs);
  }

  #stop(): void {
    this.#request?.abort();
    this.#request = null;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** Whether nothing is read by itself: updates are paused, or nobody sees the page. */
export function isStill(): boolean {
  return live.state === 'paused' || document.hidden;
}
