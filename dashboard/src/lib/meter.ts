import type { Message } from './types';

/** One reading of a curve; `late` if it arrived more than a minute after it was taken. */
export interface Reading {
  at: number;
  late: boolean;
  power: number | null;
  energy: number | null;
  soc: number | null;
  offered: number | null;
  currents: (number | null)[];
}

interface Sample {
  value?: unknown;
  measurand?: string;
  phase?: string;
  unit?: string;
  unitOfMeasure?: { unit?: string; multiplier?: number };
}

/** The number of a sample in W, Wh, A or percent. */
function valueOf(sample: Sample): number | null {
  const number = Number(sample.value);
  if (!Number.isFinite(number) || sample.value === '' || sample.value === null) return null;
  const multiplier = 10 ** (sample.unitOfMeasure?.multiplier ?? 0);
  const unit = sample.unit ?? sample.unitOfMeasure?.unit ?? '';
  return number * multiplier * (/^k/.test(unit) ? 1000 : 1);
}

/** The phase that a sample is of; -1 for none. */
function phaseOf(sample: Sample): number {
  return ['L1', 'L2', 'L3'].indexOf((sample.phase ?? '').slice(0, 2));
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** The readings of the messages of a transaction, by the charger's time. */
export function readings(messages: Message[]): Reading[] {
  const found: Reading[] = [];
  for (const message of messages) {
    const payload = record(message.payload);
    for (const list of [payload.meterValue, payload.transactionData]) {
      if (!Array.isArray(list)) continue;
      for (const value of list as { timestamp?: string; sampledValue?: Sample[] }[]) {
        const at = Date.parse(value.timestamp ?? '');
        if (!Number.isFinite(at) || !Array.isArray(value.sampledValue)) continue;
        const reading: Reading = {
          at,
          late: Date.parse(message.received_at) - at > 60_000,
          power: null, energy: null, soc: null, offered: null, currents: [null, null, null],
        };
        let sumOfPhases: number | null = null;
        for (const sample of value.sampledValue) {
          const number = valueOf(sample);
          if (number === null) continue;
          const phase = phaseOf(sample);
          switch (sample.measurand ?? 'Energy.Active.Import.Register') {
            case 'Power.Active.Import':
              if (phase < 0) reading.power = number;
              else sumOfPhases = (sumOfPhases ?? 0) + number;
              break;
            case 'Energy.Active.Import.Register':
              if (phase < 0) reading.energy = number;
              break;
            case 'SoC':
              reading.soc = number;
              break;
            case 'Power.Offered':
              reading.offered = number;
              break;
            case 'Current.Import':
              if (phase >= 0) reading.currents[phase] = number;
              break;
          }
        }
        reading.power ??= sumOfPhases;
        found.push(reading);
      }
    }
  }
  return found.sort((a, b) => a.at - b.at);
}
