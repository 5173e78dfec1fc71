//! Jobs: what a command begins and what takes its time, with a status notification at each step.

use super::Kept;
use super::reset::BootReason;
use crate::charger::message::Action;
use crate::charger::payload::StopReason;
use crate::charger::{Charger, Count, Output};
use crate::timestamp::TimestampUs;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// Simulated seconds from one step to the next.
const STEP_S: f64 = 5.0;
/// The least time from one step to the next.
const STEP_MIN: Duration = Duration::from_millis(50);

/// The kinds of jobs. A charger has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    /// Updates the firmware and reports it with this action.
    Firmware(Action),
    /// Uploads a log and reports it with this action.
    Log(Action),
    /// Publishes firmware to other chargers.
    Publish,
    /// Swaps a battery.
    BatterySwap,
}

impl JobKind {
    pub(super) const fn action(self) -> Action {
        match self {
            Self::Firmware(action) | Self::Log(action) => action,
            Self::Publish => Action::PublishFirmwareStatusNotification,
            Self::BatterySwap => Action::BatterySwap,
        }
    }

    /// Whether only one of the two can run at a time.
    const fn excludes(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Firmware(_), Self::Firmware(_))
                | (Self::Log(_), Self::Log(_))
                | (Self::Publish, Self::Publish)
                | (Self::BatterySwap, Self::BatterySwap)
        )
    }
}

/// One step of a job.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Sends this status.
    Say(&'static str),
    /// Waits until no transaction runs.
    WhenIdle,
    /// Restarts the charger.
    Reboot,
}

/// A job: its next step is due at `at`, but not before the charger is connected and accepted.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) kind: JobKind,
    pub(super) request_id: Option<Value>,
    /// Members of its messages besides the status and the request id.
    pub(super) extra: Value,
    pub(super) at: TimestampUs,
    pub(super) steps: VecDeque<Step>,
    /// The last status that was sent.
    status: &'static str,
}

impl Kept {
    /// The status of the running job of this kind, and its request id.
    pub(super) fn job_status(&self, kind: JobKind) -> Option<(&'static str, Option<&Value>)> {
        let job = self.jobs.iter().find(|job| job.kind.excludes(kind))?;
        (!job.status.is_empty()).then_some((job.status, job.request_id.as_ref()))
    }

    pub(super) fn has_job(&self, kind: JobKind) -> bool {
        self.jobs.iter().any(|job| job.kind.excludes(kind))
    }
}

impl Charger {
    /// Begins a job at `at`. A running job of the same kind ends without further messages; the id of its request is
    /// returned.
    pub(super) fn begin_job(
        &mut self,
        kind: JobKind,
        request_id: Option<Value>,
        extra: Value,
        steps: impl IntoIterator<Item = Step>,
        at: TimestampUs,
    ) -> Option<Option<Value>> {
        let jobs = &mut self.kept().jobs;
        let running = jobs.iter().position(|job| job.kind.excludes(kind));
        let ended = running.map(|index| jobs.remove(index).request_id);
        jobs.push(Job {
            kind,
            request_id,
            extra,
            at,
            steps: steps.into_iter().collect(),
            status: "",
        });
        ended
    }

    pub(super) fn jobs_deadline(&self) -> Option<TimestampUs> {
        if !self.is_ready() {
            return None;
        }
        self.kept.as_ref()?.jobs.iter().map(|job| job.at).min()
    }

    pub(super) fn drive_jobs(&mut self, now: TimestampUs) {
        while self.is_ready() {
            let jobs = &mut self.kept().jobs;
            let Some(index) = jobs.iter().position(|job| job.at <= now) else {
                return;
            };
            let mut job = jobs.remove(index);
            // A lower bound, so that a great `speed_up` does not make a waiting job use the CPU.
            let step = self.settings.scaled(STEP_S).max(STEP_MIN);
            job.at = now.plus(step);
            match job.steps.pop_front() {
                None => continue,
                Some(Step::WhenIdle) if self.connectors.iter().any(|one| one.is_charging()) => {
                    job.steps.push_front(Step::WhenIdle);
                }
                Some(Step::WhenIdle) => job.at = now,
                Some(Step::Say(status)) => {
                    job.status = status;
                    self.tell_job(&job, now);
                }
                Some(Step::Reboot) => {
                    self.kept().jobs.push(job);
                    self.stop_all_transactions(StopReason::Reboot, now);
                    self.power_cycle(BootReason::FirmwareUpdate, now);
                    return;
                }
            }
            if !job.steps.is_empty() {
                self.kept().jobs.push(job);
            }
        }
    }

    fn tell_job(&mut self, job: &Job, now: TimestampUs) {
        let mut payload = json!({ "status": job.status });
        if job.kind == JobKind::BatterySwap {
            payload = json!({ "eventType": job.status });
        }
        if let Some(id) = &job.request_id {
            payload["requestId"] = id.clone();
        }
        for (name, value) in job.extra.as_object().into_iter().flatten() {
            // The places of published firmware are known when it is published.
            if name != "location" || job.status == "Published" {
                payload[name] = value.clone();
            }
        }
        self.push_pending(job.kind.action(), payload.to_string(), 0, now);
    }

    /// Sends a SEND of 2.1, which has no answer.
    pub(super) fn send_unconfirmed(&mut self, action: &str, payload: &Value) {
        let id = self.next_id();
        let id = ocpp::frame::MessageId::from(id.as_str());
        let text = ocpp::frame::write_send(&id, action, &payload.to_string());
        self.outputs.push_back(Output::Send(text));
        self.count(Count::SentUnconfirmed);
    }
}
