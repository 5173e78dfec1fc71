const NUMBER = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : NUMBER.format(value);
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
  return `${size.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

/** A duration in its two largest units. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  const s = Math.max(0, Math.round(seconds));
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

export function connectorName(evse: number | null | undefined, connector: number | null | undefined): string {
  if (evse) return connector && connector !== 1 ? `${evse}·${connector}` : String(evse);
  return connector === null || connector === undefined ? '–' : String(connector);
}

/** The same request for a terminal. */
export function curl(method: string, path: string, body?: unknown, headers: Record<string, string> = {}, hasKey = false): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ['curl'];
  if (method !== 'GET') parts.push('-X', method);
  if (hasKey) parts.push('-H', '"Authorization: Bearer $WATTPOST_KEY"');
  for (const [name, value] of Object.entries(headers)) parts.push('-H', quote(`${name}: ${value}`));
  if (body !== undefined) {
    parts.push('-H', quote('Content-Type: application/json'), '-d', quote(typeof body === 'string' ? body : JSON.stringify(body)));
  }
  parts.push(quote(location.origin + path));
  return parts.join(' ');
}
