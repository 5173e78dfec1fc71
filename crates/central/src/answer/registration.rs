//! BootNotification and Heartbeat: alike in every version (ocpp-rules 2.6).

use super::{Decision, Scene};
use crate::ports::Registration;

/// Nothing in the payload decides the answer, so a boot with broken content is answered like any
/// other: to refuse it would lock the charger out (F-12).
pub(crate) fn boot_notification(scene: &Scene<'_>) -> Decision {
    let (status, interval_s) = match scene.registration {
        Registration::Accepted => ("Accepted", scene.policy.heartbeat_interval_s.max(1)),
        Registration::Pending => ("Pending", spread(scene)),
        Registration::Rejected => ("Rejected", spread(scene)),
    };
    let now = scene.now;
    let answer =
        format!(r#"{{"currentTime":"{now}","interval":{interval_s},"status":"{status}"}}"#);
    Decision::Answer(answer.into())
}

pub(crate) fn heartbeat(scene: &Scene<'_>) -> Decision {
    Decision::Answer(format!(r#"{{"currentTime":"{}"}}"#, scene.now).into())
}

/// Between once and twice the interval, so that a fleet that boots together does not come back
/// together (H-9).
fn spread(scene: &Scene<'_>) -> u32 {
    let base = scene.policy.pending_interval_s.max(1);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is at most a u32"
    )]
    let more = (scene.random % (u64::from(base) + 1)) as u32;
    base.saturating_add(more)
}
