import type { Batch } from './types';

/** The states of a batch in words, with the colour of the badge. */
export const BATCH_STATES: Record<string, [string, string]> = {
  running: ['running', 'good'], paused: ['paused', 'warn'], halted: ['halted', 'bad'], cancelled: ['cancelled', ''], done: ['done', ''],
};
/** The states of a charger of a batch. */
export const ITEM_STATES: Record<string, [string, string]> = {
  pending: ['waits for its turn', ''], started: ['command under way', 'good'], succeeded: ['succeeded', 'good'], failed: ['failed', 'bad'], not_started: ['not started', 'warn'],
};

export function hasEnded(batch: Batch): boolean {
  return batch.state === 'done' || batch.state === 'cancelled';
}

export function finished(batch: Batch): number {
  return batch.counts.succeeded + batch.counts.failed + batch.counts.not_started;
}

/** What a batch sends, such as `reset`. */
export function whatOf(batch: Batch): string {
  return batch.operation ?? batch.action ?? '';
}

export function stopRule(batch: Batch): string {
  const rules = [];
  if (batch.stop_after_failures) rules.push(`${batch.stop_after_failures} have failed`);
  if (batch.stop_at_failed_percent) rules.push(`${batch.stop_at_failed_percent} % of at least 10 finished ones have failed`);
  return rules.length ? `halts when ${rules.join(', or ')}` : 'none: it goes on whatever fails';
}
