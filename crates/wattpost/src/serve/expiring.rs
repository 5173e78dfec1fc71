//! Ends queued commands whose time has passed and changes of passwords that were refused, and asks for missing pages of
//! reports, in processes without a gateway.
//!
//! Gateways do so too. But if no gateway runs, a command that waits for none of them would be shown as queued after it
//! can no longer be sent.

use crate::database::Database;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How often it looks: one lookup in an index of queued commands.
const EVERY: Duration = Duration::from_secs(1);
/// Commands that one database transaction ends.
const AT_ONCE: usize = 1_000;

/// Ends expired commands until it is aborted. A database that is unavailable is tried again at the next turn.
pub(super) fn start(database: &Database) -> JoinHandle<()> {
    let queue = database.command_queue.clone();
    let rotations = database.rotations.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let (queue, rotations) = (queue.clone(), rotations.clone());
            let ended = tokio::task::spawn_blocking(move || {
                let now = queue.time()?;
                queue.expire(now, AT_ONCE)?;
                queue.ask_again(now, AT_ONCE)?;
                rotations.settle_rotations(now, AT_ONCE)
            });
            let ended = ended.await;
            if let Ok(Err(error)) = ended {
                tracing::debug!(%error, "cannot end the commands whose time has passed");
            }
        }
    })
}
