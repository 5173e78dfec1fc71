/** The name of each part of the pipeline in a sentence. */
export const PARTS: Record<string, string> = {
  chargers: 'the chargers', gateways: 'the gateways', journal: 'the journal', rabbitmq: 'RabbitMQ', bypass: 'the bypass', consumers: 'the consumers', database: 'the database',
};

/** The rules of alerts about each part: what each says to do is the part's runbook. A rule about several parts is at each. */
export const RULES: Record<string, string[]> = {
  chargers: ['FleetDrop', 'ConnectStorm', 'WrongPasswords'],
  gateways: ['PartGone', 'RestartLoop', 'AnsweredTooLate', 'NotDurableClosed', 'DirectoryUnknown', 'DirectoryOld', 'ClockWrong', 'Paced', 'ConnectStorm'],
  journal: ['JournalFull', 'JournalFilling', 'JournalOld', 'JournalDamaged', 'SyncSlow', 'NotDurableClosed', 'DiskLow', 'MessagesMissing'],
  rabbitmq: ['BrokerLost', 'BrokerBlocked', 'BrokerRefuses', 'BrokerQueueDeep', 'Unroutable', 'DurabilityFallback', 'MessagesMissing'],
  bypass: ['BypassActive', 'BrokerLost'],
  consumers: ['NoConsumer', 'PartGone', 'RestartLoop', 'StoredTooLate', 'StoredTooLateSlow', 'DeadLetters', 'Paced'],
  database: ['DatabaseLost', 'DatabaseNotDurable', 'StoredTooLate', 'StoredTooLateSlow', 'MaintenanceOverdue', 'EventsLate', 'DiskLow', 'MessagesMissing', 'DeadLetters'],
};

/** Whether a rule is about a part. */
export function isAbout(rule: string, part: string): boolean {
  return RULES[part]?.includes(rule) ?? false;
}

/** The page with what to do about a part. */
export function runbookOf(part: string): string {
  return `/alerts?tab=rules&part=${part}`;
}
