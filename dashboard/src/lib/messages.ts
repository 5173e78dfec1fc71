import { listeners } from './listeners.svelte';
import { all, get, getText } from './api';
import type { Deviation, Message } from './types';

/** Kinds of records that are a call, whose answer or reply is shown beside it. */
const REPLIES = ['call_result', 'call_error', 'call_unanswered'];

/** What was asked and what was answered. A charger's reply to a command shows the command and itself. */
export function exchange(one: Message): { asked: unknown; answered: unknown; askedBy: Message; repliedBy: Message | null } {
  const pair = one.pair ?? null;
  if (REPLIES.includes(one.kind) && pair) return { asked: pair.payload, answered: one.kind === 'call_unanswered' ? null : one.payload, askedBy: pair, repliedBy: one };
  if (one.kind === 'call_to_charger') return { asked: one.payload, answered: pair?.kind === 'call_unanswered' ? null : (pair?.payload ?? null), askedBy: one, repliedBy: pair };
  return { asked: one.payload, answered: one.answer, askedBy: one, repliedBy: null };
}

/** The message as it was on the wire. `payload` is its text where that is known byte for byte. */
export function frame(one: Message, payload = JSON.stringify(one.payload ?? {})): string | null {
  const id = JSON.stringify(one.message_id);
  switch (one.kind) {
    case 'call':
    case 'call_to_charger':
      return `[2,${id},${JSON.stringify(one.action)},${payload}]`;
    case 'send':
      return `[6,${id},${JSON.stringify(one.action)},${payload}]`;
    case 'call_result':
      return `[3,${id},${payload}]`;
    case 'call_error':
    case 'call_result_error':
      return `[${one.kind === 'call_error' ? 4 : 5},${id},${Array.isArray(one.payload) ? payload.trim().slice(1, -1) : payload}]`;
    default:
      return null;
  }
}

/** A command for a terminal that connects as this charger and sends the message. */
export function wscat(one: Message, text: string): string {
  const quoted = text.replaceAll("'", "'\\''");
  return `wscat -c '${listeners.base}/${encodeURIComponent(one.charger_id).replaceAll("'", '%27')}' -s ocpp${one.ocpp_version} -x '${quoted}'`;
}

/** The message as a test vector: the frame, the answer's frame, and what Wattpost noted. */
export function vector(one: Message, text: string): string {
  const isError = Array.isArray(one.answer);
  const answer = one.answer === null ? null : isError ? [4, one.message_id, ...(one.answer as unknown[])] : [3, one.message_id, one.answer];
  return JSON.stringify({ ocpp_version: one.ocpp_version, direction: one.direction, frame: text, answer, notes: one.notes, reason: one.reason }, null, 2);
}

/** The text of a member of a JSON object, byte for byte; null if it has no such member. */
export function memberText(json: string, name: string): string | null {
  let depth = 0;
  let key: string | null = null;
  let from = -1;
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at];
    if (char === '"') {
      const begin = at;
      for (at += 1; json[at] !== '"' && at < json.length; at += 1) if (json[at] === '\\') at += 1;
      if (depth === 1 && from < 0 && key === null) key = JSON.parse(json.slice(begin, at + 1)) as string;
    } else if (char === '{' || char === '[') depth += 1;
    else if (char === '}' || char === ']') {
      depth -= 1;
      if (depth === 0 && key === name && from >= 0) return json.slice(from, at).trim();
    } else if (depth === 1 && char === ':' && from < 0) from = at + 1;
    else if (depth === 1 && char === ',') {
      if (key === name && from >= 0) return json.slice(from, at).trim();
      key = null;
      from = -1;
    }
  }
  return null;
}

export interface Whole {
  message: Message;
  deviations: Deviation[];
  /** Byte for byte. */
  payload: string | null;
  answer: string | null;
}

/** One record with what belongs to it, and its texts as they were sent. */
export async function readWhole(record: string, signal?: AbortSignal): Promise<Whole> {
  const text = await getText(`/api/v1/messages/${record}`, signal);
  const message = JSON.parse(text) as Message & { deviations: Deviation[] };
  const written = (name: string, value: unknown) => (value === null ? null : typeof value === 'string' ? value : memberText(text, name));
  return { message, deviations: message.deviations, payload: written('payload', message.payload), answer: written('answer', message.answer) };
}

/** Spans in which the message before is looked for, each only if the one before had none. */
const BACK_MS = [600_000, 7_200_000, 86_400_000, 7 * 86_400_000];
const BACK_MESSAGES_MAX = 3000;

/** The message before this one of the same charger, action and kind; null if there is none within seven days. */
export async function previousOf(one: Message, signal?: AbortSignal): Promise<Message | null> {
  const at = Date.parse(one.received_at);
  const mine = { charger: one.charger_id, action: one.action, kind: one.kind, to: new Date(at + 1).toISOString() };
  for (const span of BACK_MS) {
    const found = await all<Message>('/api/v1/messages', { ...mine, from: new Date(at - span).toISOString() }, BACK_MESSAGES_MAX, undefined, signal);
    const before = found.filter((other) => other.record_id !== one.record_id && (other.received_at < one.received_at || (other.gateway_id === one.gateway_id && other.seq < one.seq)));
    const [newest] = before.sort((a, b) => (a.received_at < b.received_at ? 1 : a.received_at > b.received_at ? -1 : b.seq - a.seq));
    if (newest) return get<Message>(`/api/v1/messages/${newest.record_id}`, {}, signal);
  }
  return null;
}

/** Each value that is no object and no list, by its place. */
function leaves(value: unknown, place = '', into = new Map<string, string>()): Map<string, string> {
  if (value !== null && typeof value === 'object' && Object.keys(value).length > 0) {
    for (const [name, inner] of Object.entries(value)) leaves(inner, place ? `${place}.${name}` : name, into);
  } else into.set(place, value === undefined ? '' : JSON.stringify(value));
  return into;
}

export interface Difference {
  place: string;
  before: string | null;
  now: string | null;
}

export function differences(before: unknown, now: unknown): { changed: Difference[]; equal: number } {
  const [old, fresh] = [leaves(before), leaves(now)];
  const changed: Difference[] = [];
  let equal = 0;
  for (const place of new Set([...fresh.keys(), ...old.keys()])) {
    const [was, is] = [old.get(place) ?? null, fresh.get(place) ?? null];
    if (was === is) equal += 1;
    else changed.push({ place, before: was, now: is });
  }
  return { changed, equal };
}

export interface FieldFilter {
  path: string[];
  /** null: the member only has to be there. */
  wanted: string | null;
  isNot: boolean;
}

/** `connectorId=2`, `meterValue.sampledValue.measurand=SoC`, `status!=Available`, or only a path. Null if there is none. */
export function fieldFilter(text: string): FieldFilter | null {
  const [, path, sign, wanted] = /^\s*([^=!]+?)\s*(?:(!?=)\s*(.*?)\s*)?$/.exec(text) ?? [];
  if (!path) return null;
  const segments = path.replace(/^\//, '').split(/[./]/).filter(Boolean);
  return segments.length ? { path: segments, wanted: sign ? (wanted ?? '').replace(/^"(.*)"$/, '$1').toLowerCase() : null, isNot: sign === '!=' } : null;
}

/** Whether a value has the path, at its top or anywhere in it: `connectorId` is also found in the `evse` of 2.x. */
export function hasField(value: unknown, filter: FieldFilter): boolean {
  if (hasFieldAt(value, filter, 0)) return true;
  return value !== null && typeof value === 'object' && Object.values(value).some((inner) => hasField(inner, filter));
}

/** A list is passed through without a number: any of its items will do. */
function hasFieldAt(value: unknown, filter: FieldFilter, from: number): boolean {
  const name = filter.path[from];
  if (name === undefined) {
    if (filter.wanted === null) return true;
    const text = (typeof value === 'string' ? value : JSON.stringify(value ?? null)).toLowerCase();
    return (text === filter.wanted) !== filter.isNot;
  }
  if (Array.isArray(value)) {
    if (/^\d+$/.test(name)) return Number(name) < value.length && hasFieldAt(value[Number(name)], filter, from + 1);
    return value.some((item) => hasFieldAt(item, filter, from));
  }
  if (value === null || typeof value !== 'object') return false;
  const [, inner] = Object.entries(value).find(([member]) => member.toLowerCase() === name.toLowerCase()) ?? [];
  return inner !== undefined && hasFieldAt(inner, filter, from + 1);
}
