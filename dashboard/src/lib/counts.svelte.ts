import { fleet, kindNow, sockets, type Kind } from './fleet.svelte';
import type { Connector } from './types';

/** Kinds of connectors, those that need attention first. */
export const ORDER: Kind[] = ['faulted', 'unavailable', 'unknown', 'busy', 'charging', 'available'];

export interface Counts {
  total: number;
  connected: number;
  /** Their gateway does not report. */
  notReporting: number;
  offline: number;
  kinds: Record<Kind, number>;
  ticks: { connector: Connector; kind: Kind }[];
  connectors: number;
  watts: number;
  /** Open sessions without a value of power. */
  silent: number;
  open: number;
}

/** What all chargers are doing now, with `ticksMax` connectors by trouble. */
export function countFleet(ticksMax: number): Counts {
  void fleet.version;
  let connected = 0;
  let notReporting = 0;
  const kinds: Record<Kind, number> = { charging: 0, available: 0, busy: 0, unavailable: 0, faulted: 0, unknown: 0 };
  const byKind: Record<Kind, Connector[]> = { charging: [], available: [], busy: [], unavailable: [], faulted: [], unknown: [] };
  let connectors = 0;
  for (const charger of fleet.chargers.values()) {
    if (charger.connection === 'open') connected += 1;
    if (charger.connection === 'unknown') notReporting += 1;
    for (const connector of sockets(charger)) {
      const kind = kindNow(connector);
      kinds[kind] += 1;
      connectors += 1;
      if (byKind[kind].length < ticksMax) byKind[kind].push(connector);
    }
  }
  const ticks = ORDER.flatMap((kind) => byKind[kind].map((connector) => ({ connector, kind }))).slice(0, ticksMax);
  let watts = 0;
  let silent = 0;
  for (const transaction of fleet.open.values()) {
    if (transaction.power_w === null || transaction.power_w === undefined) silent += 1;
    else watts += transaction.power_w;
  }
  const total = fleet.chargers.size;
  return { total, connected, notReporting, offline: total - connected - notReporting, kinds, ticks, connectors, watts, silent, open: fleet.open.size };
}
