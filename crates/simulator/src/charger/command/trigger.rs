//! `TriggerMessage` and `ExtendedTriggerMessage`: the charger sends the named message.

use super::Answer;
use super::jobs::JobKind;
use super::reset::BootReason;
use crate::charger::message::Action;
use crate::charger::payload::{self, Status};
use crate::charger::{Charger, Registration};
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde_json::{Value, json};

impl Charger {
    pub(super) fn trigger_message_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let wanted = match payload.get("connectorId") {
            None => Ok(None),
            Some(number) if number.as_u64() == Some(0) => Ok(None),
            Some(number) => self.connector_index(number).map(Some).ok_or(()),
        };
        self.trigger_message(payload, wanted, now)
    }

    pub(super) fn trigger_message_2(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let wanted = match payload.pointer("/evse/id") {
            None => Ok(None),
            Some(number) => self.connector_index(number).map(Some).ok_or(()),
        };
        self.trigger_message(payload, wanted, now)
    }

    /// `wanted` is the index of the connector that the command names.
    fn trigger_message(
        &mut self,
        payload: &Value,
        wanted: Result<Option<usize>, ()>,
        now: TimestampUs,
    ) -> Answer {
        let Ok(wanted) = wanted else {
            return self.status_because("Rejected", "UnknownEvse");
        };
        let message = payload["requestedMessage"].as_str().unwrap_or_default();
        let is_accepted = self.registration == Registration::Accepted;
        if message == "BootNotification" {
            // N-9: not after the charger is accepted.
            if is_accepted {
                return Answer::rejected();
            }
            self.registration = Registration::Due(now);
            self.boot_reason = BootReason::Triggered;
            return Answer::accepted();
        }
        if !is_accepted {
            return Answer::rejected();
        }
        match message {
            "Heartbeat" => self.push_pending(Action::Heartbeat, "{}".to_owned(), 0, now),
            "StatusNotification" => self.trigger_status(payload, wanted, now),
            "MeterValues" => self.trigger_meter_values(wanted, now),
            "TransactionEvent" => {
                for index in self.triggered_connectors(wanted) {
                    self.meter_triggered(index, now);
                }
            }
            "DiagnosticsStatusNotification" => {
                self.trigger_job(JobKind::Log(Action::DiagnosticsStatusNotification), now);
            }
            "LogStatusNotification" => {
                self.trigger_job(JobKind::Log(Action::LogStatusNotification), now);
            }
            "FirmwareStatusNotification" => {
                // ExtendedTriggerMessage of 1.6 means the signed update.
                let is_signed = self.version == Version::V16 && {
                    let kind = JobKind::Firmware(Action::SignedFirmwareStatusNotification);
                    let kept = self.kept.as_ref();
                    kept.is_some_and(|kept| kept.jobs.iter().any(|job| job.kind == kind))
                };
                let action = if is_signed {
                    Action::SignedFirmwareStatusNotification
                } else {
                    Action::FirmwareStatusNotification
                };
                self.trigger_job(JobKind::Firmware(action), now);
            }
            "PublishFirmwareStatusNotification" => self.trigger_job(JobKind::Publish, now),
            "SignChargePointCertificate" => self.trigger_certificate(None, now),
            "SignChargingStationCertificate" => {
                self.trigger_certificate(Some("ChargingStationCertificate"), now);
            }
            "SignV2GCertificate" => self.trigger_certificate(Some("V2GCertificate"), now),
            "SignV2G20Certificate" => self.trigger_certificate(Some("V2G20Certificate"), now),
            // One certificate for both purposes has no type.
            "SignCombinedCertificate" => self.trigger_certificate(None, now),
            _ => return Answer::status("NotImplemented"),
        }
        Answer::accepted()
    }

    fn triggered_connectors(&self, wanted: Option<usize>) -> Vec<usize> {
        match wanted {
            Some(index) => vec![index],
            None => (0..self.connectors.len()).collect(),
        }
    }

    /// N-6: without a connector, the charger and all connectors.
    fn trigger_status(&mut self, payload: &Value, wanted: Option<usize>, now: TimestampUs) {
        if self.version == Version::V16 && wanted.is_none() {
            let text = payload::status(self.version, 0, Status::Available, now);
            self.push_pending(Action::StatusNotification, text, 0, now);
        }
        let is_charger_only = payload["connectorId"].as_u64() == Some(0);
        if is_charger_only {
            return;
        }
        for index in self.triggered_connectors(wanted) {
            self.connectors[index].status_sent = None;
            self.send_status(index, now);
        }
    }

    /// 1.6: MeterValues of the transactions, and of connectors without one. 2.x: MeterValues never belong to a transaction.
    fn trigger_meter_values(&mut self, wanted: Option<usize>, now: TimestampUs) {
        for index in self.triggered_connectors(wanted) {
            if self.version == Version::V16 && self.connectors[index].is_charging() {
                self.meter_triggered(index, now);
            } else {
                self.meter_idle(index, now);
            }
        }
    }

    /// The status of a job, or `Idle`.
    fn trigger_job(&mut self, kind: JobKind, now: TimestampUs) {
        let status = self.kept.as_ref().and_then(|kept| kept.job_status(kind));
        let (status, request_id) = status.unwrap_or(("Idle", None));
        let mut update = json!({ "status": status });
        if let Some(id) = request_id {
            update["requestId"] = json!(id);
        }
        self.push_pending(kind.action(), update.to_string(), 0, now);
    }

    fn trigger_certificate(&mut self, kind: Option<&str>, now: TimestampUs) {
        let request = self.certificate_request(kind);
        self.push_pending(Action::SignCertificate, request.to_string(), 0, now);
    }
}
