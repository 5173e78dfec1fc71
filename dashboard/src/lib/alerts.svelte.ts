import { ApiProblem, get } from './api';
import { live } from './live.svelte';
import { Polled } from './polled.svelte';
import type { Alert, Page } from './types';

/** Alerts that are read for the count and for the page Now. */
const FIRING_MAX = 1000;
const EVERY_MS = 15_000;

/** What fires is read for the whole dashboard, so that the navigation has its number on each page. */
export const firing = new Polled(async (signal) => {
  try {
    const page = await get<Page<Alert>>('/api/v1/alerts', { state: 'firing', limit: FIRING_MAX }, signal);
    return { items: page.items, isCut: Boolean(page.next) };
  } catch (why) {
    // Whoever may not read alerts has none to look at.
    if (why instanceof ApiProblem && why.status === 403) return { items: [], isCut: false };
    throw why;
  }
}, EVERY_MS);

/** Follows what fires. Returns what ends it. */
export function followAlerts(): () => void {
  const ends = [firing.follow(), live.listen((events) => events.some((event) => event.type.startsWith('alert.')) && firing.soon())];
  return () => ends.forEach((end) => end());
}

const byCharger = $derived.by(() => {
  const found = new Map<string, Alert[]>();
  for (const alert of firing.value?.items ?? []) {
    if (!alert.charger_id) continue;
    const alerts = found.get(alert.charger_id);
    if (alerts) alerts.push(alert);
    else found.set(alert.charger_id, [alert]);
  }
  return found;
});

/** What fires about a charger, of the first `FIRING_MAX` alerts. */
export function alertsOf(chargerId: string): Alert[] {
  return byCharger.get(chargerId) ?? [];
}

/** The rules that fire about chargers. */
export function rulesOfChargers(): string[] {
  return [...new Set([...byCharger.values()].flat().map((alert) => alert.name))].sort();
}

/** Those that a person should look at: nobody has taken note of them, no silence is on them, and no other alert explains them. */
export function isNew(alert: Alert): boolean {
  return alert.state === 'firing' && !alert.acknowledged && !alert.silenced_by && !alert.inhibited_by;
}

export const SEVERITIES: Record<string, [string, string, number]> = { page: ['page', 'bad', 0], ticket: ['ticket', 'warn', 1], info: ['information', '', 2] };

/** The name of a rule in words: `ChargerOffline` is "Charger offline". */
export function inWords(name: string): string {
  const words = name.replace(/([a-z])([A-Z])/g, '$1 $2').split(' ');
  return words.map((word, index) => (index === 0 ? word : word.toLowerCase())).join(' ');
}

/** Those that nobody has taken note of first, then by severity, then the oldest. */
export function worstFirst(alerts: Alert[]): Alert[] {
  const rank = (alert: Alert) => (isNew(alert) ? 0 : 10) + (SEVERITIES[alert.severity]?.[2] ?? 9);
  return alerts.toSorted((a, b) => rank(a) - rank(b) || (a.active_at < b.active_at ? -1 : 1));
}

export interface Group {
  name: string;
  severity: string;
  alerts: Alert[];
}

/** Alerts of one rule and severity together, those that wake people first, then those of the most subjects. */
export function grouped(alerts: Alert[]): Group[] {
  const groups = new Map<string, Group>();
  for (const alert of alerts) {
    const key = `${alert.name} ${alert.severity}`;
    const group = groups.get(key) ?? { name: alert.name, severity: alert.severity, alerts: [] };
    group.alerts.push(alert);
    groups.set(key, group);
  }
  const rank = (group: Group) => SEVERITIES[group.severity]?.[2] ?? 9;
  return [...groups.values()].sort((a, b) => rank(a) - rank(b) || b.alerts.length - a.alerts.length);
}
