//! `wattpost check`: are the settings sound and is everything reachable?
//!
//! It changes nothing that `serve` would not make at its first start, and can be run while `serve`
//! runs.

use crate::SettingsArgs;
use crate::config::Settings;
use crate::data_dir::DataDir;
use anyhow::{Context, Result};
use clap::Args;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

/// Flags of `wattpost check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print the settings that hold, as TOML
    #[arg(long)]
    show: bool,
}

/// One line per thing looked at; exit code 1 when one of them would stop the start.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    if args.show {
        print!("{}", toml::to_string(&settings).context("write the settings as TOML")?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("ok    settings: sound");
    let looks = [
        ("data_dir", data_dir(&settings)),
        ("database", database(&settings)),
        ("gateway.listen", port(settings.gateway.listen)),
        ("http.listen", port(settings.http.listen)),
    ];
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
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn data_dir(settings: &Settings) -> Result<String> {
    let data = DataDir::prepare(&settings.data_dir)?;
    Ok(match data.known_gateway_id()? {
        Some(id) => format!("{} (gateway {id})", settings.data_dir.display()),
        None => format!("{} (no gateway yet)", settings.data_dir.display()),
    })
}

fn database(settings: &Settings) -> Result<String> {
    let path = settings.database_path()?;
    let store = crate::charger::writable(settings)
        .with_context(|| format!("use the database {}", path.display()))?;
    Ok(format!("{} can be written", store.path().display()))
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
