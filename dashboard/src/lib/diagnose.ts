// The check of one charger: three commands that change nothing at it, and what their outcomes mean in words.
import { sockets } from './fleet.svelte';
import type { Charger, Command } from './types';

export interface Step {
  name: string;
  action: string;
  payload: Record<string, unknown>;
  /** What it finds out. */
  asks: string;
}

/** The variables of 2.x that the check reads. Every charger has the required ones; an unknown one is answered so, and harms nothing. */
const VARIABLES: [string, string][] = [
  ['ClockCtrlr', 'DateTime'],
  ['SecurityCtrlr', 'SecurityProfile'],
  ['OCPPCommCtrlr', 'HeartbeatInterval'],
  ['OCPPCommCtrlr', 'NetworkConfigurationPriority'],
  ['SampledDataCtrlr', 'TxUpdatedInterval'],
];

export function stepsOf(charger: Charger): Step[] {
  const is16 = charger.ocpp_version === '1.6';
  const place = sockets(charger)[0];
  const status = is16 ? {} : { evse: { id: place?.evse || 1, connectorId: place?.connector || 1 } };
  return [
    { name: 'Heartbeat', action: 'TriggerMessage', payload: { requestedMessage: 'Heartbeat' }, asks: 'whether it answers, and sends what it is asked for' },
    { name: 'Status', action: 'TriggerMessage', payload: { requestedMessage: 'StatusNotification', ...status }, asks: 'whether it reports the state of its connectors' },
    is16
      ? { name: 'Settings', action: 'GetConfiguration', payload: {}, asks: 'whether its settings can be read, and what they say' }
      : {
          name: 'Settings',
          action: 'GetVariables',
          payload: { getVariableData: VARIABLES.map(([component, variable]) => ({ component: { name: component }, variable: { name: variable } })) },
          asks: 'whether its variables can be read, and what they say',
        },
  ];
}

export interface Finding {
  kind: 'works' | 'degraded' | 'down' | 'idle';
  says: string;
  /** What to do about it. */
  cure?: string;
}

/** What a step has found; null while it runs. */
export function findingOf(step: Step, command: Command): Finding | null {
  const { outcome, effect } = command;
  if (!outcome) return null;
  if (outcome.class === 'not_sent') {
    if (outcome.reason === 'not_supported_by_charger') {
      return { kind: 'degraded', says: `OCPP ${step.action} is not part of what this charger supports.`, cure: 'Nothing has to be done: it reports without being asked.' };
    }
    return { kind: 'down', says: `It was not sent: ${outcome.detail ?? outcome.reason ?? 'the charger is not connected'}.`, cure: 'Bring the charger to connect first. If it tries, the waiting room says why it is refused.' };
  }
  if (outcome.class === 'uncertain') {
    return {
      kind: 'down',
      says: `It was sent, and no answer came (${outcome.reason ?? 'unknown reason'}).`,
      cure: 'The network may drop what is sent to the charger: look at the time limit for idle connections of its router, and at the last message below. If the charger still sends, restart it.',
    };
  }
  if (outcome.error) {
    const code = Array.isArray(outcome.error) ? String(outcome.error[0]) : '';
    return /NotImplemented|NotSupported/.test(code)
      ? { kind: 'degraded', says: `The charger does not know ${step.action} (${code}).`, cure: 'Newer firmware may. Without it, state is known only when the charger reports by itself.' }
      : { kind: 'degraded', says: `The charger answered with the error ${code}.`, cure: 'The command’s page has the whole error. Send it to the maker of the charger with the firmware version.' };
  }
  if (step.name === 'Settings') return settings(step, command);
  if (outcome.status === 'NotImplemented') return { kind: 'degraded', says: `It cannot be asked for ${step.payload.requestedMessage}.`, cure: 'Newer firmware may. It still reports by itself.' };
  if (outcome.status !== 'Accepted') return { kind: 'degraded', says: `It refused: ${outcome.status}.`, cure: 'Chargers refuse while they boot, update or are out of order. Run the check again later; look at the timeline.' };
  if (effect.state === 'expected') return null;
  if (effect.state === 'not_seen') {
    return { kind: 'degraded', says: `It accepted, and did not send ${step.payload.requestedMessage} within a minute.`, cure: 'What is shown as its state may be old. Compare it with the display of the charger.' };
  }
  return { kind: 'works', says: `It answered, and sent ${effect.status ?? step.payload.requestedMessage}.` };
}

function settings(step: Step, command: Command): Finding {
  const answer = command.outcome?.payload as { configurationKey?: { key: string; value?: string }[]; getVariableResult?: Result[] } | null;
  const doubts: string[] = [];
  if (step.action === 'GetConfiguration') {
    const keys = answer?.configurationKey ?? [];
    if (keys.length === 0) return { kind: 'degraded', says: 'It answered without a single setting.', cure: 'Some firmware lists only keys that are named: read them by name on the page of commands.' };
    const value = (key: string) => keys.find((one) => one.key.toLowerCase() === key.toLowerCase())?.value;
    if (value('MeterValueSampleInterval') === '0') doubts.push('MeterValueSampleInterval is 0: sessions have no curve. 60 is usual.');
    if (value('HeartbeatInterval') === '0') doubts.push('HeartbeatInterval is 0: its clock is set only when it boots.');
    return found(`It has ${keys.length} settings.`, doubts);
  }
  const results = answer?.getVariableResult ?? [];
  const read = results.filter((one) => one.attributeStatus === 'Accepted');
  if (read.length === 0) return { kind: 'degraded', says: 'It answered, and gave no value.', cure: 'The command’s page has its answer for each variable.' };
  const value = (name: string) => read.find((one) => one.variable?.name === name)?.attributeValue;
  const clock = Date.parse(value('DateTime') ?? '');
  const answered = Date.parse(command.answered_at ?? '');
  if (Number.isFinite(clock) && Number.isFinite(answered) && Math.abs(clock - answered) > 60_000) {
    doubts.push(`Its clock is ${Math.round(Math.abs(clock - answered) / 1000)} s ${clock < answered ? 'behind' : 'ahead'}: times of its sessions are wrong by as much. Restarting it sets the clock.`);
  }
  if (value('TxUpdatedInterval') === '0') doubts.push('SampledDataCtrlr.TxUpdatedInterval is 0: sessions have no curve. 60 is usual.');
  return found(`It gave ${read.length} of ${results.length} variables.`, doubts);
}

interface Result {
  attributeStatus?: string;
  attributeValue?: string;
  variable?: { name?: string };
}

function found(says: string, doubts: string[]): Finding {
  return doubts.length ? { kind: 'degraded', says, cure: doubts.join(' ') } : { kind: 'works', says };
}

/** The verdict over all steps. */
export function verdict(findings: (Finding | null)[]): Finding {
  const known = findings.filter((one) => one !== null);
  const worst = (kind: Finding['kind']) => known.some((one) => one.kind === kind);
  if (worst('down')) return { kind: 'down', says: 'The charger cannot be reached by commands. What it sends by itself still counts.' };
  if (worst('degraded')) return { kind: 'degraded', says: 'The charger answers. Not everything works, and each step says what to try.' };
  return { kind: 'works', says: 'The charger answers, reports what it is asked for, and its settings can be read.' };
}
