import type { PipelinePart } from './types';

/** Processes that do not report, and the parts that do not work for want of exactly these. */
export interface Gone {
  /** Their ids. */
  key: string;
  names: string[];
  /** When the first of them reported last. */
  since: string;
  parts: PipelinePart[];
}

const WORSE = ['unknown', 'degraded', 'down'] as const;

/** The processes that do not report, each group of them once, with the parts that need all of them and nothing else. */
export function gone(parts: PipelinePart[]): Gone[] {
  const found = new Map<string, Gone>();
  for (const part of parts) {
    const faults = part.faults.filter((one) => one.is_gone);
    if (faults.length === 0 || part.state === 'works' || part.state === 'idle') continue;
    const key = faults.map((one) => one.process_id).sort().join(' ');
    const group = found.get(key) ?? { key, names: faults.map((one) => one.process_name), since: faults[0]?.since ?? '', parts: [] };
    group.parts.push(part);
    found.set(key, group);
  }
  return [...found.values()];
}

/** The worst state of the parts. */
export function worst(parts: PipelinePart[]): (typeof WORSE)[number] {
  return WORSE[Math.max(0, ...parts.map((part) => WORSE.findIndex((state) => state === part.state)))] ?? 'unknown';
}

/** Names in a sentence, of which at most four are said. */
export function joined(names: string[]): string {
  if (names.length > 4) return `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : (names[0] ?? '');
}

/** The processes because of which a part does not work, as they are named in a sentence; empty if there is none. */
export function causes(part: PipelinePart): string {
  return joined(part.faults.filter((one) => one.is_gone).map((one) => one.process_name));
}

/** What else is wrong with a part: what its processes report, or what is known of it without them. */
export function reported(part: PipelinePart): string {
  const faults = part.faults.filter((one) => !one.is_gone);
  const [first] = faults;
  if (first) return `${first.process_name}: ${first.detail}${faults.length > 1 ? ` (and ${faults.length - 1} more)` : ''}`;
  return part.faults.length ? '' : part.detail;
}
