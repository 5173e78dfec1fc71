//! Firmware updates, and the publishing of firmware to other chargers (2.x).

use super::jobs::{JobKind, Step};
use super::{Answer, time};
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};

use Step::{Reboot, Say, WhenIdle};

/// Maximum number of firmware files that a charger publishes.
const PUBLISHED_MAX: usize = 10;

impl Charger {
    pub(super) fn update_firmware_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let at = time(&payload["retrieveDate"]).unwrap_or(now).max(now);
        let steps = [
            Say("Downloading"),
            Say("Downloaded"),
            WhenIdle,
            Say("Installing"),
            Reboot,
            Say("Installed"),
        ];
        let kind = JobKind::Firmware(Action::FirmwareStatusNotification);
        self.begin_job(kind, None, Value::Null, steps, at);
        Answer::empty()
    }

    pub(super) fn update_signed_firmware(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        self.update_firmware(payload, Action::SignedFirmwareStatusNotification, now)
    }

    pub(super) fn update_firmware_2(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        self.update_firmware(payload, Action::FirmwareStatusNotification, now)
    }

    fn update_firmware(&mut self, payload: &Value, action: Action, now: TimestampUs) -> Answer {
        let firmware = &payload["firmware"];
        let certificate = firmware["signingCertificate"].as_str();
        if certificate.is_some_and(|pem| !super::certificates::is_certificate(pem)) {
            return Answer::status("InvalidCertificate");
        }
        let at = time(&firmware["retrieveDateTime"]).unwrap_or(now).max(now);
        let mut steps = Vec::new();
        if at > now {
            steps.push(Say("DownloadScheduled"));
        }
        steps.extend([Say("Downloading"), Say("Downloaded")]);
        if firmware.get("signature").is_some() {
            steps.push(Say("SignatureVerified"));
        }
        steps.extend([
            WhenIdle,
            Say("Installing"),
            Say("InstallRebooting"),
            Reboot,
            Say("Installed"),
        ]);
        let first = if at > now {
            Some(steps.remove(0))
        } else {
            None
        };
        let request_id = payload.get("requestId").cloned();
        let kind = JobKind::Firmware(action);
        let canceled = self.begin_job(kind, request_id.clone(), Value::Null, steps, at);
        if let (Some(Say(status)), Some(id)) = (first, request_id) {
            let update = json!({"status": status, "requestId": id});
            self.push_pending(action, update.to_string(), 0, now);
        }
        Answer::status_if(canceled.is_some(), "AcceptedCanceled", "Accepted")
    }

    pub(super) fn publish_firmware(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let checksum = payload["checksum"].as_str().unwrap_or_default().to_owned();
        let kept = self.kept();
        let is_known = kept.published.contains(&checksum);
        if !is_known && kept.published.len() >= PUBLISHED_MAX {
            return self.status_because("Rejected", "OutOfStorage");
        }
        if !is_known {
            kept.published.push(checksum);
        }
        let steps = [
            Say("Downloading"),
            Say("Downloaded"),
            Say("ChecksumVerified"),
            Say("Published"),
        ];
        let place = json!({"location": ["http://192.168.1.1/firmware.bin"]});
        let request_id = payload.get("requestId").cloned();
        self.begin_job(JobKind::Publish, request_id, place, steps, now);
        Answer::accepted()
    }

    pub(super) fn unpublish_firmware(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let checksum = payload["checksum"].as_str().unwrap_or_default();
        let kept = self.kept();
        if kept.has_job(JobKind::Publish) {
            return Answer::status("DownloadOngoing");
        }
        let before = kept.published.len();
        kept.published.retain(|one| one != checksum);
        Answer::status_if(kept.published.len() < before, "Unpublished", "NoFirmware")
    }
}
