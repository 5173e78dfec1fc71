//! `wattpost check`: are the settings sound and is everything reachable?
//!
//! It can be run while the roles run. Nothing that is there is changed, but for a SQLite file of an older
//! version; what RabbitMQ lacks is declared, as every role would.

use crate::SettingsArgs;
use crate::config::{DatabaseAt, Settings};
use crate::data_dir::DataDir;
use crate::database::{self, Use};
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
    /// Print the settings that hold, as TOML; passwords too
    #[arg(long)]
    show: bool,
}

/// One line per thing looked at; exit code 1 when one of them would stop the start.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    if args.show {
        print!(
            "{}",
            toml::to_string(&settings).context("write the settings as TOML")?
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("ok    settings: sound");
    let mut looks = vec![
        ("data_dir", data_dir(&settings)),
        ("database", database(&settings)),
    ];
    if settings.has_broker() {
        looks.push(("broker", broker(&settings)));
    }
    for listener in &settings.gateway.listeners {
        looks.push(("gateway.listeners", port(listener.address)));
    }
    looks.push(("http.listen", port(settings.http.listen)));
    if settings.has_broker() {
        // Where roles run alone.
        let health = &settings.health;
        looks.push(("health.gateway_listen", port(health.gateway_listen)));
        looks.push(("health.consumer_listen", port(health.consumer_listen)));
    }
    let mut sound = true;
    for (what, found) in looks {
        match found {
            Ok(found) => println!("ok    {what}: {found}"),
            Err(error) => {
                sound = false;
                println!("WRONG {what}: {error:#}");
            }
        }
    }
    Ok(if sound {
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
    DataDir::could_be_made(&settings.data_dir)?;
    Ok(format!("{path} is not there yet; `serve` makes it"))
}

fn database(settings: &Settings) -> Result<String> {
    if let DatabaseAt::Sqlite(path) = settings.database_at()?
        && !path.exists()
    {
        return Ok(format!(
            "{} is not there yet; `serve` makes it",
            path.display()
        ));
    }
    let database = database::open(settings, Use::Change)?;
    if let Some(why) = database.maintenance.lacks_durability()? {
        bail!("{why}");
    }
    Ok(format!("{} can be written", settings.database_shown()))
}

fn broker(settings: &Settings) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let report = runtime.block_on(Broker::check(&settings.broker))?;
    let mut said = format!("{}, {} records wait", report.node, report.waiting_records);
    if report.dead_records > 0 {
        said.push_str(&format!(", {} among the dead", report.dead_records));
    }
    if report.partitions_without_consumer > 0 {
        said.push_str(&format!(
            ", {} partitions have no consumer (is `wattpost consumer` running?)",
            report.partitions_without_consumer
        ));
    }
    Ok(said)
}

/// Whether this trouble with RabbitMQ passes by itself, so that a start need not wait for it.
pub(crate) const fn passes(error: &CheckError) -> bool {
    matches!(
        error.kind,
        CheckErrorKind::Unreachable | CheckErrorKind::Other
    )
}

fn port(address: SocketAddr) -> Result<String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            // `serve` itself may be what listens there, so look before calling it wrong.
            Err(error).with_context(|| {
                format!("listen on {address}; stop what listens there (is `wattpost serve` running?) or name another port")
            })
        }
        Err(error) => Err(error)
            .with_context(|| format!("listen on {address}; name an address of this machine and a port that this user may use")),
    }
}
