//! `wattpost check`: are the settings valid, and are the database, RabbitMQ and the ports usable?
//!
//! It may run while the roles run. It changes two things, as every role does at its start: a SQLite file of an older
//! version is migrated, and missing exchanges and queues are declared in RabbitMQ.

use crate::SettingsArgs;
use crate::config::{DatabaseAt, Settings};
use crate::data_dir::DataDir;
use crate::database::{self, Use};
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use broker::{Broker, CheckError, CheckErrorKind};
use clap::Args;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

/// Flags of `wattpost check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print all settings that apply, as TOML, without passwords (`…`), and check nothing
    #[arg(long)]
    show: bool,
}

/// Prints one line per check; exit code 1 if one of them would prevent a start.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    if args.show {
        print_line!("{}", settings.shown()?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    print_line!("ok    settings: valid");
    let mut checks = vec![
        ("data_dir", data_dir(&settings)),
        ("database", database(&settings)),
    ];
    if settings.has_broker() {
        checks.push(("broker", broker(&settings)));
    }
    for listener in &settings.gateway.listeners {
        checks.push(("gateway.listeners", port(listener.address)));
    }
    checks.push(("retention", Ok(retention(&settings))));
    checks.push(("http.listen", port(settings.http.listen)));
    if settings.has_broker() {
        // Used by roles that run alone.
        let health = &settings.health;
        checks.push(("health.gateway_listen", port(health.gateway_listen)));
        checks.push(("health.consumer_listen", port(health.consumer_listen)));
    }
    let mut all_ok = true;
    for (what, result) in checks {
        match result {
            Ok(found) => print_line!("ok    {what}: {found}"),
            Err(error) => {
                all_ok = false;
                print_line!("WRONG {what}: {error:#}");
            }
        }
    }
    Ok(if all_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn data_dir(settings: &Settings) -> Result<String> {
    let path = settings.data_dir.display();
    if let Some(data) = DataDir::existing(&settings.data_dir)? {
        return Ok(match data.known_gateway_id()? {
            Some(id) => format!("{path} (gateway {id})"),
            None => format!("{path} (no gateway yet)"),
        });
    }
    DataDir::can_be_created(&settings.data_dir)?;
    Ok(format!("{path} does not exist yet; `serve` creates it"))
}

fn database(settings: &Settings) -> Result<String> {
    if let DatabaseAt::Sqlite(path) = settings.database_at()?
        && !path.exists()
    {
        return Ok(format!(
            "{} does not exist yet; `serve` creates it",
            path.display()
        ));
    }
    let database = database::open(settings, Use::Change)?;
    if let Some(why) = database.maintenance.lacks_durability()? {
        bail!("{why}");
    }
    Ok(format!("{} is usable", settings.redacted_database()))
}

/// How long the database keeps what.
fn retention(settings: &Settings) -> String {
    let kept = settings.database.retention();
    let days = |days: u32| match days {
        0 => "no limit".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    format!(
        "messages {}, commands {}, transactions {}, audit log {}, events {}",
        days(kept.records_days),
        days(kept.commands_days),
        days(kept.transactions_days),
        days(kept.audit_days),
        days(settings.events.retain_days)
    )
}

fn broker(settings: &Settings) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let report = runtime.block_on(Broker::check(&settings.broker))?;
    let mut found = format!("{}, {} records wait", report.node, report.waiting_records);
    if report.dead_records > 0 {
        found.push_str(&format!(
            ", {} in the dead-letter queue",
            report.dead_records
        ));
    }
    if report.partitions_without_consumer > 0 {
        found.push_str(&format!(
            ", {} partitions have no consumer (is `wattpost consumer` running?)",
            report.partitions_without_consumer
        ));
    }
    Ok(found)
}

/// Whether this error of RabbitMQ may end without a change of settings, so that it does not prevent a start.
pub(crate) const fn is_temporary(error: &CheckError) -> bool {
    matches!(
        error.kind,
        CheckErrorKind::Unreachable | CheckErrorKind::Other
    )
}

fn port(address: SocketAddr) -> Result<String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(error).with_context(|| {
                format!("listen on {address}; stop the process that listens there (is `wattpost serve` running?) or set another port")
            })
        }
        Err(error) => Err(error)
            .with_context(|| format!("listen on {address}; set an address of this machine and a port that this user may use")),
    }
}
