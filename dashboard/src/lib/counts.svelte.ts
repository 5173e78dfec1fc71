import { connectionsNow, fleet, kindHeard, sockets, type Kind } from './fleet.svelte';
import { freshness } from './freshness.svelte';
import type { Connector } from './types';

/** Kinds of connectors, those that need attention first. */
export const ORDER: Kind[] = ['faulted', 'unavailable', 'unknown', 'busy', 'charging', 'available'];

/** What the chargers of one site are doing. */
export interface SiteCounts {
  site: string;
  total: number;
  connected: number;
  /** It is not known whether they are connected. With all of them so, the other numbers say nothing. */
  unknown: number;
  charging: number;
  faulted: number;
  watts: number;
}

export interface Counts {
  total: number;
  connected: number;
  /** It is not known whether they are connected. */
  unknown: number;
  /** So it is with all of them: then no number says anything. */
  isUnknown: boolean;
  offline: number;
  kinds: Record<Kind, number>;
  ticks: { connector: Connector; kind: Kind }[];
  connectors: number;
  /** Null if nothing is known of any session. */
  watts: number | null;
  /** Open sessions without a value of power. */
  silent: number;
  /** Open sessions of chargers that are not connected: their last values are not those of now. */
  unheard: number;
  /** Open sessions of chargers of which it is not known whether they are connected. */
  unsure: number;
  open: number;
  /** The sites of chargers that have one, those with trouble first. */
  sites: SiteCounts[];
}

/** What all chargers are doing now, with `ticksMax` connectors by trouble. */
export function countFleet(ticksMax: number): Counts {
  void fleet.version;
  let connected = 0;
  let unknown = 0;
  const connectionNow = connectionsNow();
  const kinds: Record<Kind, number> = { charging: 0, available: 0, busy: 0, unavailable: 0, faulted: 0, unknown: 0 };
  const byKind: Record<Kind, Connector[]> = { charging: [], available: [], busy: [], unavailable: [], faulted: [], unknown: [] };
  let connectors = 0;
  const sites = new Map<string, SiteCounts>();
  // A number of some of them would be wrong.
  const chargers = fleet.loaded ? [...fleet.chargers.values()] : [];
  for (const charger of chargers) {
    const connection = connectionNow(charger);
    const site = siteOf(sites, charger.settings?.site);
    if (site) {
      site.total += 1;
      site.connected += Number(connection === 'open');
      site.unknown += Number(connection === 'unknown');
    }
    if (connection === 'open') connected += 1;
    if (connection === 'unknown') unknown += 1;
    for (const connector of sockets(charger)) {
      const kind = connection === 'open' ? kindHeard(connector) : 'unknown';
      kinds[kind] += 1;
      if (site && kind === 'charging') site.charging += 1;
      if (site && kind === 'faulted') site.faulted += 1;
      connectors += 1;
      if (byKind[kind].length < ticksMax) byKind[kind].push(connector);
    }
  }
  const ticks = ORDER.flatMap((kind) => byKind[kind].map((connector) => ({ connector, kind }))).slice(0, ticksMax);
  let watts = 0;
  let silent = 0;
  let unheard = 0;
  let unsure = 0;
  for (const transaction of fleet.open.values()) {
    const charger = fleet.chargers.get(transaction.charger_id);
    const connection = charger ? connectionNow(charger) : freshness.isBlind ? 'unknown' : 'open';
    if (connection !== 'open') {
      if (connection === 'closed') unheard += 1;
      else unsure += 1;
      continue;
    }
    if (transaction.power_w === null || transaction.power_w === undefined) silent += 1;
    else watts += transaction.power_w;
    const site = sites.get(charger?.settings?.site ?? '');
    if (site) site.watts += transaction.power_w ?? 0;
  }
  const total = chargers.length;
  const isUnknown = total > 0 && unknown === total;
  return { total, connected, unknown, isUnknown, offline: total - connected - unknown, kinds, ticks, connectors, watts: isUnknown || (unheard + unsure > 0 && unheard + unsure === fleet.open.size) ? null : watts, silent, unheard, unsure, open: fleet.open.size, sites: [...sites.values()].sort((a, b) => trouble(b) - trouble(a) || (a.site < b.site ? -1 : 1)) };
}

function siteOf(sites: Map<string, SiteCounts>, name: string | null | undefined): SiteCounts | undefined {
  if (!name) return undefined;
  let site = sites.get(name);
  if (!site) sites.set(name, (site = { site: name, total: 0, connected: 0, unknown: 0, charging: 0, faulted: 0, watts: 0 }));
  return site;
}

function trouble(site: SiteCounts): number {
  return site.faulted + site.total - site.connected;
}
