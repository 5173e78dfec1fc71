import { clock } from './clock.svelte';
import type { Transaction } from './types';

/** An open transaction of which nothing was heard for this long needs a person. */
export const SILENT_H = 48;

export function isSilent(one: Transaction): boolean {
  return clock.now - Date.parse(one.last_at ?? '') > SILENT_H * 3_600_000;
}
