const NUMBER = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : NUMBER.format(value);
}

/** A number of things, as `1 charger` and `2 chargers`. `many` is the plural, if it is not made with an s; it may be more words. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A text in which a number and its unit stay on one line. */
export function tied(text: string): string {
  return text.replace(/(\d) (?=(?:ms|s|min|h|d|W|kW|MW|Wh|kWh|MWh|A|V|B|KiB|MiB|GiB|%)(?![\p{L}\d]))/gu, '$1\u00a0');
}

export function power(watts: number | null | undefined): string {
  if (watts === null || watts === undefined) return '–';
  if (Math.abs(watts) >= 1e6) return `${(watts / 1e6).toFixed(2)} MW`;
  return `${(watts / 1000).toFixed(1)} kW`;
}

export function energy(wh: number | null | undefined): string {
  if (wh === null || wh === undefined) return '–';
  if (Math.abs(wh) >= 1e6) return `${(wh / 1e6).toFixed(2)} MWh`;
  return `${(wh / 1000).toFixed(2)} kWh`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return tied(`${size.toFixed(unit ? 1 : 0)} ${units[unit]}`);
}

/** A duration in its two largest units. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  return tied(inUnits(Math.max(0, Math.round(seconds))));
}

function inUnits(s: number): string {
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 && s < 600 ? ` ${s % 60} s` : ''}`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });
const FULL = new Intl.DateTimeFormat('en-GB', {
  day: '2-digit', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
});

/** A time in the viewer's zone: without the date if it is today, without the year if it is of this year. */
export function time(text: string): string {
  const at = new Date(text);
  const now = new Date();
  if (at.toDateString() === now.toDateString()) return CLOCK.format(at);
  return (at.getFullYear() === now.getFullYear() ? DAY : FULL).format(at);
}

/** The day of a time in the viewer's zone as a field for dates wants it; empty for what is no time. */
export function localDay(text: string): string {
  const at = new Date(text);
  if (!text || Number.isNaN(at.getTime())) return '';
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, '0')}-${String(at.getDate()).padStart(2, '0')}`;
}

const MINUTE = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const DATE = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short' });
const DAY_S = 86_400;
/** Up to the one from which on the ticks are at midnight. */
const STEPS_TO_DAY_S = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY_S];
/** Steps of a time axis in seconds. The least is a second: with less, two ticks would have the same text. */
export const STEPS_S = [...STEPS_TO_DAY_S, ...[2, 5, 10, 20, 50, 100, 200, 500].map((days) => days * DAY_S)];

/** At most `max` round times between two times in ms, in the viewer's zone. */
export function roundTimes(from: number, to: number, max: number): number[] {
  const least = (to - from) / 1000 / max;
  const step = STEPS_TO_DAY_S.find((one) => one >= least) ?? Math.ceil(least / DAY_S) * DAY_S;
  const first = new Date(from);
  first.setHours(0, 0, 0, 0);
  const found: number[] = [];
  const before = Math.max(0, Math.floor((from - first.getTime()) / 1000 / step) - 2);
  for (let number = before; found.length < max; number += 1) {
    const at = new Date(first);
    // A day is not always of 24 hours.
    if (step >= 3600) at.setHours((number * step) / 3600);
    else at.setTime(at.getTime() + number * step * 1000);
    if (at.getTime() > to) break;
    if (at.getTime() >= from) found.push(at.getTime());
  }
  return found;
}

/**
 * The texts of the ticks of a time axis, in ms: seconds only where ticks are less than a minute apart, the day at the first tick of
 * each day where they are of more than one, and no time of day where ticks are days apart. A tick that is alone has a time of day:
 * a day alone would say nothing about an axis of minutes.
 */
export function tickTexts(times: number[]): string[] {
  const isAlone = times.length === 1;
  const gap = Math.min(...times.slice(1).map((at, index) => at - (times[index] ?? at)));
  const hasSeconds = isAlone ? times.some((at) => at % 60_000 !== 0) : gap < 60_000;
  const isOfDays = !isAlone && gap >= (DAY_S - 7200) * 1000;
  const days = times.map((at) => DATE.format(at));
  const hasDays = new Set(days).size > 1;
  return times.map((at, index) => {
    if (isOfDays) return days[index] ?? '';
    const clock = (hasSeconds ? CLOCK : MINUTE).format(at);
    if (!hasDays || days[index] === days[index - 1]) return clock;
    return clock === '00:00' ? (days[index] ?? '') : `${days[index]} ${clock}`;
  });
}

export function connectorName(evse: number | null | undefined, connector: number | null | undefined): string {
  if (evse) return connector && connector !== 1 ? `${evse}·${connector}` : String(evse);
  return connector === null || connector === undefined ? '–' : String(connector);
}

/** What a form asks the API for. */
export interface Asked {
  method: string;
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}
/** Stands for a secret in a copied request: a terminal keeps what was typed. */
export const SECRET = 'PUT-IT-HERE';

/** A JSON merge patch of an object, whatever its version is. */
export function mergePatch(path: string, body: unknown): Asked {
  return { method: 'PATCH', path, body, headers: { 'Content-Type': 'application/merge-patch+json', 'If-Match': '*' } };
}

/** A text in which each id of a process has only its end, which tells it from others: its beginning is a time. */
export function shortened(text: string): string {
  return text.replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{6}([0-9a-f]{6})/g, '…$1');
}

/** A text as one word of a shell, without quotes where none are needed. */
export function quoted(text: string): string {
  return /^[\w.,:@%+/][\w.,:@%+/-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The same request for a terminal. A body that begins with `@` is the name of a file. */
export function curl(method: string, path: string, body?: unknown, headers: Record<string, string> = {}, hasKey = false): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ['curl'];
  if (method !== 'GET') parts.push('-X', method);
  if (hasKey) parts.push('-H', '"Authorization: Bearer $WATTPOST_KEY"');
  for (const [name, value] of Object.entries(headers)) parts.push('-H', quote(`${name}: ${value}`));
  if (body !== undefined) {
    if (!('Content-Type' in headers)) parts.push('-H', quote('Content-Type: application/json'));
    const isFile = typeof body === 'string' && body.startsWith('@');
    parts.push(isFile ? '--data-binary' : '-d', quote(typeof body === 'string' ? body : JSON.stringify(body)));
  }
  parts.push(quote(location.origin + path));
  return parts.join(' ');
}

/** The end of the id of a gateway: its beginning is a time, which gateways that were set up together have in common. */
export const gatewayName = (id: string): string => id.slice(-6);
