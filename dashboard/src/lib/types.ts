import type { components } from './api-types';

type Schemas = components['schemas'];
export type Charger = Schemas['Charger'];
export type ChargerConnection = Schemas['ChargerConnection'];
export type Site = Schemas['Site'];
export type ChargerWithDetails = Schemas['ChargerWithDetails'];
export type Disconnect = Schemas['Disconnect'];
export type Uptime = Schemas['Uptime'];
export type Connector = Schemas['Connector'];
export type Transaction = Schemas['Transaction'];
export type Message = Schemas['ListedMessage'];
export type Trace = Schemas['Trace'];
export type Deviation = Schemas['Deviation'];
export type Command = Schemas['Command'];
export type Batch = Schemas['Batch'];
export type BatchItem = Schemas['BatchItem'];
export type Token = Schemas['Token'];
export type UnknownToken = Schemas['UnknownToken'];
export type DeadLetter = Schemas['DeadLetter'];
export type AuditEntry = Schemas['AuditEntry'];
export type ApiKey = Schemas['ApiKey'];
export type AddedApiKey = Schemas['AddedApiKey'];
export type User = Schemas['User'];
export type Pipeline = Schemas['Pipeline'];
export type PipelinePart = Schemas['PipelinePart'];
export type PasswordRotation = Schemas['PasswordRotation'];
export type Handshake = Schemas['RefusedHandshake'];
export type Action = Schemas['Action'];
export type Session = Schemas['Session'];
export type Webhook = Schemas['Webhook'];
export type WebhookDelivery = Schemas['WebhookDelivery'];
export type WebhookTested = Schemas['WebhookTested'];
export type WebhookWithSecret = Schemas['WebhookWithSecret'];
export type Problem = Schemas['Problem'];
export type LocalList = Schemas['LocalList'];
export type Import = Schemas['Import'];
export type Alert = Schemas['Alert'];
export type AlertRules = Schemas['AlertRules'];
export type Silence = Schemas['Silence'];
export type Quirk = Schemas['QuirkSummary'];

export interface Page<T> {
  items: T[];
  next?: string | null;
}

/** An entry of the log of events. */
export interface WattpostEvent {
  id: string;
  type: string;
  occurred_at: string;
  recorded_at: string;
  late: boolean;
  charger_id?: string | null;
  data: unknown;
}
