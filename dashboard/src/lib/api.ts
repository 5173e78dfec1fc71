import { known } from './known.svelte';
import { session } from './session.svelte';
import type { Page, Problem } from './types';

/** An answer of the API that is no success, or none at all. */
export class ApiProblem extends Error {
  constructor(
    /** The HTTP status; 0 if the API did not answer. */
    readonly status: number,
    readonly problem: Partial<Problem>,
  ) {
    super(problem.detail ?? 'The API does not answer.');
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

/** A path with a query; empty values are left out. */
export function address(path: string, query: Query = {}): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') text.set(name, String(value));
  }
  const all = text.toString();
  return all ? `${path}?${all}` : path;
}

/** `withinMs` is the time for the whole answer. */
export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal, withinMs?: number): Promise<T> {
  const { body } = await request<T>('GET', address(path, query), { signal, withinMs });
  return body;
}

/** As {@link get}, with the text of the answer: numbers and spaces stay as they were sent. */
export async function getText(path: string, signal?: AbortSignal): Promise<string> {
  const { body } = await request<string>('GET', path, { signal, asText: true });
  return body;
}

interface Sent {
  asText?: boolean;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  withinMs?: number;
}

/** What is read has come within this time, or it counts as not answered: else a page would wait for ever for a process that hangs. */
const READ_WITHIN_MS = 30_000;

/** One request. A change has the token of the session, which pages of other sites do not know. */
export async function request<T>(method: string, path: string, sent: Sent = {}): Promise<{ body: T; headers: Headers }> {
  const headers: Record<string, string> = { Accept: 'application/json', ...sent.headers };
  let body: BodyInit | undefined;
  if (sent.body !== undefined) {
    headers['Content-Type'] ??= 'application/json';
    body = typeof sent.body === 'string' ? sent.body : JSON.stringify(sent.body);
  }
  if (method !== 'GET' && session.now.csrf_token) headers['X-CSRF-Token'] = session.now.csrf_token;
  const signals = sent.signal ? [sent.signal] : [];
  if (method === 'GET') signals.push(AbortSignal.timeout(sent.withinMs ?? READ_WITHIN_MS));
  const began = Date.now();
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(path, { method, headers, body, signal: AbortSignal.any(signals), credentials: 'same-origin' });
    text = await answer.text();
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    known.refused(0, {});
    throw new ApiProblem(0, {});
  }
  const isJson = answer.headers.get('content-type')?.includes('json');
  const value: unknown = text && isJson && !(answer.ok && sent.asText) ? JSON.parse(text) : undefined;
  if (!answer.ok) {
    const problem = (value as Partial<Problem>) ?? {};
    known.refused(answer.status, problem);
    // A wrong password in a form of a signed-in user is refused with 401 too.
    if (answer.status === 401 && problem.code !== 'sign_in_refused') session.ended();
    throw new ApiProblem(answer.status, problem);
  }
  known.answered(answer.headers, began);
  return { body: (isJson && !sent.asText ? value : text) as T, headers: answer.headers };
}

/** All pages of a list, `max` items at most. */
export async function all<T>(path: string, query: Query, max: number, onPage?: (items: T[]) => void, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null | undefined;
  do {
    const page: Page<T> = await get(path, { limit: 1000, ...query, cursor }, signal);
    items.push(...page.items);
    onPage?.(page.items);
    cursor = page.next;
  } while (cursor && items.length < max);
  return items;
}

/** For how long a change is taken for a repetition of one whose answer is not known. */
const REPEATED_WITHIN_MS = 600_000;
/** Idempotency keys of changes whose answer is not known, by what they ask for. */
const unanswered = new Map<string, { key: string; at: number }>();

/**
 * A change that may be repeated: if the answer of one is lost, the same change gets the same `Idempotency-Key` again, so a
 * second click does not make a second command.
 */
export async function post<T>(path: string, sent: Sent = {}): Promise<{ body: T; headers: Headers }> {
  const change = `${path} ${JSON.stringify(sent.body ?? null)}`;
  const before = unanswered.get(change);
  const isRepeated = before !== undefined && Date.now() - before.at < REPEATED_WITHIN_MS;
  const { key, at } = isRepeated ? before : { key: newKey(), at: Date.now() };
  unanswered.set(change, { key, at });
  try {
    const answer = await request<T>('POST', path, { ...sent, headers: { ...sent.headers, 'Idempotency-Key': key } });
    unanswered.delete(change);
    return answer;
  } catch (error) {
    if (error instanceof ApiProblem && error.status >= 400 && error.status < 500) unanswered.delete(change);
    throw error;
  }
}

export function newKey(): string {
  // `randomUUID` exists only over TLS and on this machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
