import { alertsOf } from './alerts.svelte';
import { connectionOf, fleet, kindNow, sockets } from './fleet.svelte';
import { sites } from './sites.svelte';
import type { Charger } from './types';

/** The filters of the page Chargers, which are parameters of its address. */
export const FILTERS = ['q', 'online', 'status', 'session', 'version', 'vendor', 'model', 'firmware', 'admission', 'site', 'group', 'alert'] as const;
export type Filter = (typeof FILTERS)[number];
export type Filters = Record<Filter, string>;

export function filtersOf(query: URLSearchParams): Filters {
  const found = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ''])) as Filters;
  return { ...found, q: found.q.trim().toLowerCase() };
}

/** The value of a filter as a person reads it. */
export function filterInWords(name: string, value: string): string {
  return name === 'site' ? sites.name(value) : value;
}

/** Whether a charger passes all filters, or all but one. */
export function passes(charger: Charger, f: Filters, without?: Filter): boolean {
  const is = (name: Filter) => f[name] !== '' && name !== without;
  if (is('q')) {
    const texts = [charger.charger_id, charger.settings?.label, charger.boot?.vendor, charger.boot?.model, charger.boot?.serial, charger.remote];
    if (!texts.some((text) => text?.toLowerCase().includes(f.q))) return false;
  }
  // One whose connection is not known is neither.
  if (is('online') && connectionOf(charger) !== (f.online === 'true' ? 'open' : 'closed')) return false;
  if (is('version') && charger.ocpp_version !== f.version) return false;
  if (is('session') && !fleet.sessionsOf(charger.charger_id).length) return false;
  if (is('vendor') && (charger.boot?.vendor ?? '') !== f.vendor) return false;
  if (is('model') && (charger.boot?.model ?? '') !== f.model) return false;
  if (is('firmware') && (charger.boot?.firmware ?? '') !== f.firmware) return false;
  if (is('admission') && (charger.settings?.admission ?? 'not_added') !== f.admission) return false;
  if (is('site') && (charger.settings?.site ?? '') !== f.site) return false;
  if (is('group') && (charger.settings?.group ?? '') !== f.group) return false;
  if (is('alert') && !alertsOf(charger.charger_id).some((one) => f.alert === 'any' || one.name === f.alert)) return false;
  if (is('status') && !sockets(charger).some((one) => kindNow(one) === f.status)) return false;
  return true;
}

export function inOrder(chargers: Charger[]): Charger[] {
  return chargers.sort((a, b) => (a.charger_id < b.charger_id ? -1 : 1));
}
