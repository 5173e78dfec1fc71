//! BootNotification: the answer is the same in every version (rules B-1 to B-6); what the charger reports about
//! itself is read by [`super::v16`] and [`super::v2`].

use super::{Action, Repeats};
use crate::answer::{Decision, Scene};
use crate::model::Boot;
use crate::ports::Registration;
use crate::project::charger::member;
use crate::project::{Changes, Source};
use std::borrow::Cow;

/// The action with this projection.
pub(super) const fn action(project: fn(&mut Changes, &Source<'_>)) -> Action {
    Action {
        answer,
        project,
        repeats: Repeats::Never,
        is_boot: true,
        ..Action::plain("BootNotification")
    }
}

/// The answer does not depend on the payload, so a broken boot is answered like any other: refusing it would lock the
/// charger out (F-12).
fn answer(scene: &Scene<'_>) -> Decision {
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

/// Projects a boot with the answer that the charger got.
pub(super) fn project(changes: &mut Changes, source: &Source<'_>, mut boot: Boot) {
    boot.answered = member(source.record.answer, "status").map(Cow::into_owned);
    let stamp = source.stamp(source.record.received_at, 0);
    changes.charger(source.charger).boot.set(stamp, boot);
}

/// Between once and twice the interval, so that chargers that boot together do not boot again together (H-9).
fn spread(scene: &Scene<'_>) -> u32 {
    let base = scene.policy.pending_interval_s.max(1);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is at most a u32"
    )]
    let more = (scene.random % (u64::from(base) + 1)) as u32;
    base.saturating_add(more)
}
