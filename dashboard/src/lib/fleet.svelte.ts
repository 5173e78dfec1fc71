import { all, get } from './api';
import { time } from './format';
import { freshness } from './freshness.svelte';
import { known } from './known.svelte';
import { live } from './live.svelte';
import { pause } from './pause';
import type { Charger, Connector, Transaction, WattpostEvent } from './types';

const CHARGERS_MAX = 50_000;
const OPEN_MAX = 50_000;
/** Changed chargers that are read again each by itself. With more, the list is read. */
const REREAD_MAX = 20;
/** A gateway that reports again tells the database of it within this time: until then, its chargers are read as before. */
const RETURNED_MS = 12_000;
/** Events that are applied to the lists at once: with more, the page would not answer to input for longer than a moment. */
const SLICE = 500;
const FIELDS =
  'charger_id,ocpp_version,online,connection,gateway_id,remote,connected_at,disconnected_at,disconnect_reason,first_seen_at,last_seen_at,booted_at,boot,firmware_status,settings,connectors';

/** What a connector shows. A charger without a connection shows no status, whatever it said last. */
export type Kind = 'charging' | 'available' | 'busy' | 'unavailable' | 'faulted' | 'unknown';

export function kindOf(status: string | null | undefined): Kind {
  switch (status) {
    case 'Charging':
      return 'charging';
    case 'Available':
      return 'available';
    case 'Preparing':
    case 'Finishing':
    case 'SuspendedEV':
    case 'SuspendedEVSE':
    case 'Reserved':
    case 'Occupied':
      return 'busy';
    case 'Unavailable':
      return 'unavailable';
    case 'Faulted':
      return 'faulted';
    default:
      return 'unknown';
  }
}

/**
 * What is known of a charger's connection now. What was read last may be too old: an end that its gateway could not report has no
 * event, and without fresh data no change would be seen.
 */
export function connectionOf(charger: Charger): Charger['connection'] {
  return connectionsNow()(charger);
}

/** As {@link connectionOf} for many chargers: what it depends on is read once. */
export function connectionsNow(): (charger: Charger) => Charger['connection'] {
  const { isBlind } = freshness;
  const { silent } = known;
  return ({ connection, gateway_id }) => (isBlind || (connection === 'open' && silent.has(gateway_id ?? '')) ? 'unknown' : connection);
}

/** Whether the newest connection of a charger has no known end: for the times of which that is known, not for now. */
export function lastConnected({ connection }: Charger): boolean {
  return connection !== 'closed';
}

/** A charger's connection in words, beside other things that are found. */
export const CONNECTED: Record<Charger['connection'], string> = { open: 'charger, connected', closed: 'charger, not connected', unknown: 'charger, not known whether it is connected' };

/** Why the connection of so many chargers is not known. */
export function whyUnknown(chargers = 1): string {
  if (freshness.isBlind && freshness.unconfirmedSince) return `nothing was heard since ${time(new Date(freshness.unconfirmedSince).toISOString())}`;
  return `${chargers === 1 ? 'its' : 'their'} gateway does not report`;
}

/** Whether what a charger has said last is so now: it is connected, as far as is known. */
export function isHeard(id: string): boolean {
  const charger = fleet.chargers.get(id);
  return charger ? connectionOf(charger) === 'open' : !freshness.isBlind;
}

/** As {@link kindOf}; a charger of 2.x says Occupied while it charges, and its transaction says that it charges. */
export function kindNow(connector: Connector): Kind {
  return isHeard(connector.charger_id) ? kindHeard(connector) : 'unknown';
}

/** As {@link kindNow}, of a charger that is known to be connected. */
export function kindHeard(connector: Connector): Kind {
  const kind = kindOf(connector.status);
  if (kind !== 'busy') return kind;
  return fleet.isCharging(connector) ? 'charging' : kind;
}

/** The sockets: connector 0 is the whole charger, and counts only where nothing else was reported. */
export function sockets(charger: Charger): Connector[] {
  const own = charger.connectors.filter((one) => one.connector > 0);
  return own.length ? own : charger.connectors;
}

/**
 * All chargers and all open transactions, read once and then kept current by events. Pages share it, so that going from
 * one to another asks nothing.
 */
class Fleet {
  /** Rises when something has changed: what is derived from the maps depends on it. */
  version = $state(0);
  loaded = $state(false);
  error = $state<unknown>(null);
  /** Before all are `loaded`, those that have come: a list of them can be shown, and no number. */
  chargers = new Map<string, Charger>();
  open = new Map<string, Transaction>();
  /** The connectors whose transaction says that it charges, and the open transactions of each charger, with the version that they are of. */
  #running: { version: number; places: Set<string>; sessions: Map<string, Transaction[]> } = { version: -1, places: new Set(), sessions: new Map() };
  /** Events that came while the lists were read: they may be newer than the lists. */
  #early: WattpostEvent[] | null = null;
  #loading: AbortController | null = null;
  /** Chargers whose settings have changed since they were read. */
  readonly #stale = new Set<string>();
  #isRereading = false;
  #settledAt = 0;

  constructor() {
    live.listen((events) => {
      this.#early?.push(...events);
      this.#apply(events, this.chargers, this.open);
      this.#rereadChanged(events);
      this.version += 1;
    });
  }

  /** How many chargers there are, as far as they have been read. */
  get size(): number {
    void this.version;
    return this.chargers.size;
  }

  /** The open transactions of a charger. */
  sessionsOf(id: string): Transaction[] {
    return this.#byCharger().sessions.get(id) ?? [];
  }

  isCharging(connector: Connector): boolean {
    return this.#byCharger().places.has(`${connector.charger_id}/${connector.evse}/${connector.connector}`);
  }

  #byCharger() {
    if (this.#running.version !== this.version) {
      const places = new Set<string>();
      const sessions = new Map<string, Transaction[]>();
      for (const one of this.open.values()) {
        const others = sessions.get(one.charger_id);
        if (others) others.push(one);
        else sessions.set(one.charger_id, [one]);
        if (one.charging_state === 'Charging') places.add(`${one.charger_id}/${one.evse ?? 0}/${one.connector}`);
      }
      this.#running = { version: this.version, places, sessions };
    }
    return this.#running;
  }

  async load(): Promise<void> {
    this.#loading?.abort();
    const loading = new AbortController();
    this.#loading = loading;
    const early: WattpostEvent[] = [];
    this.#early = early;
    // The first time, the chargers that have come are listed while the rest is read. Later, new lists take the place of the old ones.
    const chargers = this.loaded ? new Map<string, Charger>() : this.chargers;
    const open = new Map<string, Transaction>();
    chargers.clear();
    let shown = 0;
    const take = (items: Charger[]) => {
      if (loading.signal.aborted) return;
      for (const one of items) chargers.set(one.charger_id, one);
      // What pages make of the fleet takes longer the more of it there is, so it is not made for each page of the list.
      if (this.loaded || chargers.size < 2 * shown) return;
      shown = chargers.size;
      this.version += 1;
    };
    try {
      await Promise.all([
        all<Charger>('/api/v1/chargers', { fields: FIELDS }, CHARGERS_MAX, take, loading.signal),
        all<Transaction>('/api/v1/transactions', { state: 'open' }, OPEN_MAX, (items) => items.forEach((one) => open.set(one.key, one)), loading.signal),
      ]);
      // While a part of the events is applied, more may come.
      for (let applied = 0; applied < early.length; ) {
        const slice = early.slice(applied, applied + SLICE);
        this.#apply(slice, chargers, open);
        applied += slice.length;
        await pause();
        if (loading.signal.aborted) return;
      }
      this.chargers = chargers;
      this.open = open;
      this.#rereadChanged(early);
      this.version += 1;
      await pause();
      if (loading.signal.aborted) return;
      this.loaded = true;
      this.error = null;
    } catch (error) {
      if (loading.signal.aborted) return;
      this.error = error;
      setTimeout(() => this.#loading === loading && void this.load(), 3000);
    } finally {
      if (this.#loading === loading) this.#early = null;
    }
  }

  /** Reads all again after a gateway has returned: it may have lost connections without an event. Returns what ends it. */
  catchUp(): () => void {
    void this.load();
    const timer = setTimeout(() => void this.load(), RETURNED_MS);
    return () => clearTimeout(timer);
  }

  /** Reads all again, if chargers were read as unknown and their gateway reports now: no event tells of that. */
  settle(): void {
    const now = Date.now();
    if (!this.loaded || known.databaseAwaySince !== null || now - this.#settledAt < RETURNED_MS) return;
    const isSettled = ({ connection, gateway_id }: Charger) => connection !== 'unknown' || !known.hears(gateway_id ?? '');
    if ([...this.chargers.values()].every(isSettled)) return;
    this.#settledAt = now;
    void this.load();
  }

  /** Reads one charger again, after a change that has no event with the whole charger. */
  async reread(id: string): Promise<void> {
    try {
      const charger = await get<Charger>(`/api/v1/chargers/${encodeURIComponent(id)}`);
      this.#keep(charger, this.chargers);
    } catch {
      this.chargers.delete(id);
    }
    this.version += 1;
  }

  /** One request at a time: an import changes thousands of chargers at once, and every open page hears of each. */
  #rereadChanged(events: WattpostEvent[]): void {
    for (const { type, charger_id: id } of events) if ((type === 'charger.set' || type === 'charger.removed') && id) this.#stale.add(id);
    if (this.#stale.size > 0 && !this.#isRereading) void this.#rereadStale();
  }
  async #rereadStale(): Promise<void> {
    this.#isRereading = true;
    while (this.#stale.size > 0) {
      const ids = [...this.#stale];
      this.#stale.clear();
      if (ids.length > REREAD_MAX) await this.load();
      else for (const id of ids) await this.reread(id);
    }
    this.#isRereading = false;
  }

  /** A removed charger is one of the fleet only while it is connected, as in the list of the API. */
  #keep(charger: Charger, chargers: Map<string, Charger>): void {
    if (charger.removed_at && !charger.online) chargers.delete(charger.charger_id);
    else chargers.set(charger.charger_id, charger);
  }

  #apply(events: WattpostEvent[], chargers: Map<string, Charger>, open: Map<string, Transaction>): void {
    for (const event of events) {
      switch (event.type) {
        case 'charger.connected':
        case 'charger.disconnected':
        case 'charger.booted': {
          this.#keep(event.data as Charger, chargers);
          break;
        }
        case 'connector.status_changed': {
          const connector = event.data as Connector;
          const charger = chargers.get(connector.charger_id);
          if (!charger) break;
          const others = charger.connectors.filter((one) => one.evse !== connector.evse || one.connector !== connector.connector);
          const connectors = [...others, connector].sort((a, b) => a.evse - b.evse || a.connector - b.connector);
          chargers.set(charger.charger_id, { ...charger, connectors, last_seen_at: newest(charger.last_seen_at, event.occurred_at) });
          break;
        }
        case 'transaction.started':
        case 'transaction.updated':
        case 'transaction.ended':
        case 'transaction.closed':
        case 'transaction.reconciled': {
          const transaction = event.data as Transaction;
          if (transaction.open) open.set(transaction.key, transaction);
          else open.delete(transaction.key);
          const charger = chargers.get(transaction.charger_id);
          if (charger && !event.late) {
            chargers.set(charger.charger_id, { ...charger, last_seen_at: newest(charger.last_seen_at, event.recorded_at) });
          }
          break;
        }
      }
    }
  }
}

function newest(one: string | null | undefined, other: string): string {
  return one && one > other ? one : other;
}

export const fleet = new Fleet();
