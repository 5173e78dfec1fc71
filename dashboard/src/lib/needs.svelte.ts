import { get } from './api';
import { live } from './live.svelte';
import { Polled } from './polled.svelte';
import type { Command, DeadLetter, Handshake, Page } from './types';

const EVERY_MS = 10_000;
/** Of each list so many are counted. */
const LISTED_MAX = 100;
const COMMANDS_MAX = 5000;

/** The commands of the last 24 hours, the newest first, up to `COMMANDS_MAX`. */
async function commandsOfDay(signal: AbortSignal): Promise<{ items: Command[]; isCut: boolean }> {
  const dayAgo = Date.now() - 86_400_000;
  const isOfDay = (one: Command) => Date.parse(one.created_at) > dayAgo;
  const items: Command[] = [];
  let cursor: string | null | undefined;
  do {
    const page: Page<Command> = await get('/api/v1/commands', { limit: 1000, fields: 'created_at,outcome,safe_to_repeat', cursor }, signal);
    items.push(...page.items.filter(isOfDay));
    cursor = page.items.every(isOfDay) ? page.next : null;
  } while (cursor && items.length < COMMANDS_MAX);
  return { items, isCut: Boolean(cursor) };
}

/** The lists of what a person must look at, besides alerts, the pipeline and the fleet. */
export const needs = new Polled(async (signal) => {
  const [letters, refused, commands] = await Promise.all([
    get<Page<DeadLetter>>('/api/v1/dead-letters', { limit: LISTED_MAX, fields: 'record_id' }, signal),
    get<Page<Handshake>>('/api/v1/handshakes', { limit: LISTED_MAX }, signal),
    commandsOfDay(signal),
  ]);
  return {
    dead: letters.items.length,
    moreDead: Boolean(letters.next),
    refused: refused.items,
    moreRefused: Boolean(refused.next),
    uncertain: commands.items.filter((one) => one.outcome?.class === 'uncertain' && !one.safe_to_repeat).length,
    moreCommands: commands.isCut,
  };
}, EVERY_MS);

/** Follows the lists. Returns what ends it. */
export function followNeeds(): () => void {
  const isOfList = (event: { type: string }) => /^(dead_letter|charger\.(set|refused)|command\.finished)/.test(event.type);
  const ends = [needs.follow(), live.listen((events) => events.some(isOfList) && needs.soon())];
  return () => ends.forEach((end) => end());
}
