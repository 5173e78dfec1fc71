//! `wattpost retire-gateway`: marks the connections of a gateway that will never start again as ended.
//!
//! A gateway that was killed records the end of its connections at its next start. Without a next start they stay open
//! in the database until each charger connects to another gateway. This command ends them.

use crate::SettingsArgs;
use crate::database::{self, Database, Use};
use crate::origin;
use crate::output::print_line;
use anyhow::{Result, bail};
use central::model::{ConnectionState, GatewayState};
use central::project::Changes;
use central::query::{ChargerFilter, PageRequest, QueryStore};
use central::{Epoch, GatewayId};
use clap::Args;
use std::process::ExitCode;
use uuid::Uuid;

/// Flags of `wattpost retire-gateway`.
#[derive(Debug, Args)]
pub(crate) struct RetireArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The gateway's id: the content of `gateway-id` in its data directory, and `gateway_id` of a charger in the API
    #[arg(value_name = "GATEWAY_UUID")]
    id: Uuid,
}

/// Prints how many chargers counted as connected to it.
pub(crate) fn run(args: &RetireArgs) -> Result<ExitCode> {
    let database = database::open(&args.settings.load()?, Use::Change)?;
    let chargers = retire(&database, GatewayId(args.id))?;
    print_line!(
        "gateway {}: {chargers} chargers no longer count as connected there",
        args.id
    );
    Ok(ExitCode::SUCCESS)
}

/// Ends the connections of a gateway that will never start again; returns how many chargers counted as connected there.
///
/// # Errors
/// When the database knows no such gateway, or cannot be used.
pub(crate) fn retire(database: &Database, gateway: GatewayId) -> Result<u64> {
    let (chargers, newest) = connected(&*database.queries, gateway)?;
    let processes = database.processes.processes()?;
    // One whose records never arrived has only reported.
    let has_reported = processes.iter().any(|one| one.report.id == gateway.0);
    if chargers == 0 && !has_reported && database.maintenance.last_seq(gateway)?.is_none() {
        bail!(
            "the database knows no gateway {}; `gateway_id` of a charger (GET /api/v1/chargers) names one",
            gateway.0
        );
    }
    let now = database::now();
    let state = GatewayState {
        // Greater than the epoch of each of its connections, even if its clock was wrong.
        started_epoch: Epoch(now.as_millis().unsigned_abs().max(newest + 1)),
        started_at: now,
        alive_at: None,
    };
    let mut changes = Changes::default();
    changes.gateways.insert(gateway, state);
    database.store.apply(&[], &changes, &[])?;
    let origin = origin::command_line();
    database
        .processes
        .retire_process(gateway, chargers, &origin)?;
    Ok(chargers)
}

/// How many chargers count as connected to this gateway, and the newest epoch of their connections.
fn connected(database: &dyn QueryStore, gateway: GatewayId) -> Result<(u64, u64)> {
    let filter = ChargerFilter::default();
    let (mut count, mut newest) = (0, 0);
    let mut page = PageRequest::default();
    loop {
        let found = database.chargers(&filter, &page)?;
        for detail in found.items {
            let charger = detail.charger;
            let is_open = charger.connection != ConnectionState::Closed;
            if is_open && charger.gateway_id == Some(gateway) {
                count += 1;
                let began = charger.connected_at.map_or(0, |at| at.as_millis());
                newest = newest.max(began.unsigned_abs());
            }
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok((count, newest)),
        }
    }
}
