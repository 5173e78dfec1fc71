//! Reports to the database that a gateway runs.
//!
//! A gateway that is killed cannot record that its connections ended. Without this report they would count as open until
//! its next start, and the last statuses of its chargers would be shown as if they were current.

use crate::database::{self, Database};
use central::GatewayId;
use central::model::{GATEWAY_ALIVE_EVERY_MS, GatewayState};
use central::ports::Unavailable;
use central::project::Changes;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Reports now and from then on, until it is aborted. A database that is unavailable is tried again at the next report.
pub(super) fn report(gateway: GatewayId, database: &Database) -> JoinHandle<()> {
    let database = database.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_millis(GATEWAY_ALIVE_EVERY_MS));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let database = database.clone();
            let reported = tokio::task::spawn_blocking(move || report_once(gateway, &database));
            if let Ok(Err(error)) = reported.await {
                tracing::debug!(%error, "cannot report to the database that this gateway runs");
            }
        }
    })
}

fn report_once(gateway: GatewayId, database: &Database) -> Result<(), Unavailable> {
    // The database's clock, because processes on other machines compare this time with theirs.
    let now = database.directory.clock()?.unwrap_or_else(database::now);
    let mut changes = Changes::default();
    changes.gateways.insert(
        gateway,
        GatewayState {
            alive_at: Some(now),
            ..GatewayState::default()
        },
    );
    database.store.apply(&[], &changes, &[])?;
    Ok(())
}
