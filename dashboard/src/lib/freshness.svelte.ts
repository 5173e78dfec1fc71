import { clock } from './clock.svelte';
import { count, duration, time } from './format';
import { known } from './known.svelte';
import { live } from './live.svelte';

/** From which lag of the last event on the page says so. */
const BEHIND_MS = 3000;
/** The API's own figure is an upper bound, made of reports and counts that come every 5 seconds each: below this it is no lag. */
const BOUND_MS = 15_000;
/** For so long the lag of the last event counts: the API's own figure is newer after that. */
const EVENT_COUNTS_MS = 10_000;
/** What nothing has confirmed for so long is not known. The API says the same of a charger whose gateway is silent. */
const UNCONFIRMED_MS_MAX = 30_000;

/** The API is asked every few seconds. Without an answer for so long, the computer has slept, or the tab was hidden. */
const ASKED_MS_MAX = 15_000;

export type FreshnessKind = 'live' | 'behind' | 'away' | 'paused' | 'reconnecting' | 'connecting';

/** A time of this browser's clock in words, without the seconds. */
function at(ms: number): string {
  return time(new Date(ms).toISOString()).replace(/:\d\d$/, '');
}

/** How fresh what the page shows is, in one place: the pill and the wallboard say it, and states that are too old are shown as unknown. */
class Freshness {
  /** By how many ms the page is behind, as far as it is known. */
  readonly behindMs = $derived(Math.max(known.lagMs !== null && known.lagMs >= BOUND_MS ? known.lagMs : 0, clock.real - live.takenAt < EVENT_COUNTS_MS ? live.lagMs : 0));
  /** Since when what the page shows is confirmed by nothing; null while it is. */
  readonly unconfirmedSince = $derived.by(() => {
    const since = [live.lostAt, known.failingSince, known.databaseAwaySince].filter((one) => one !== null);
    if (this.behindMs > UNCONFIRMED_MS_MAX) since.push(clock.real - this.behindMs);
    return since.length ? Math.min(...since) : null;
  });
  /** Whether no state can be relied on, because all that is known is too old. While the page is paused, it shows what was so at its pause. */
  readonly isBlind = $derived(live.state !== 'paused' && this.unconfirmedSince !== null && clock.real - this.unconfirmedSince > UNCONFIRMED_MS_MAX);

  /** Whether what the page shows can be said to be of now. */
  get isFresh(): boolean {
    return this.words.kind === 'live' || (this.words.kind === 'behind' && known.lagMs !== null && this.behindMs < UNCONFIRMED_MS_MAX);
  }

  readonly words = $derived.by((): { kind: FreshnessKind; text: string; title: string } => {
    if (live.state === 'paused') {
      const text = live.lostAt ? 'Paused, not connected' : live.held ? `Paused, ${count(live.held)} new` : 'Paused';
      return { kind: 'paused', text, title: `The page shows what was so at ${time(new Date(live.pausedAt).toISOString())}, and does not change. No event is missed: they wait.` };
    }
    const away = known.databaseAwaySince;
    // While requests are answered, a stream that does not begin lacks the database too.
    if (away !== null && (live.state === 'live' || known.failingSince === null)) return { kind: 'away', text: `Database away since ${at(away)}`, title: 'The database does not answer. The page shows what was read before; what chargers send waits at the gateways and is shown when it is stored.' };
    if (live.state === 'reconnecting') {
      const text = `Reconnecting${live.lostAt ? ` for ${duration((clock.real - live.lostAt) / 1000)}` : ''}`;
      return { kind: 'reconnecting', text, title: 'No connection to Wattpost. What the page shows is of the time when it was lost; the stream continues after the last event, so none is missed.' };
    }
    if (live.state === 'connecting') return { kind: 'connecting', text: 'Connecting', title: 'The page connects to Wattpost.' };
    if (known.failingSince !== null) return { kind: 'away', text: `No answer since ${at(known.failingSince)}`, title: 'Wattpost does not answer requests of this page, or refuses them. What the page shows may be of that time.' };
    if (clock.real - known.answeredAt > ASKED_MS_MAX) return { kind: 'connecting', text: 'Catching up', title: `What the page shows is of ${time(new Date(known.answeredAt).toISOString())}. It asks for what is so now.` };
    if (known.lagMs === null) return { kind: 'behind', text: 'Behind', title: 'Messages of chargers wait to be stored. For how long is not known.' };
    if (this.behindMs >= BEHIND_MS) return { kind: 'behind', text: `${this.behindMs < 120_000 ? `${Math.round(this.behindMs / 1000)} s` : duration(this.behindMs / 1000)} behind`, title: 'What chargers sent within this time may not be shown yet: it waits to be stored.' };
    return { kind: 'live', text: 'Live', title: 'The page changes as events arrive. Press to pause it.' };
  });
}

export const freshness = new Freshness();
