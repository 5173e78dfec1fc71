//! The house: settings, wiring, signals; one file per subcommand.
//!
//! `main` turns one result into one exit code: 0 done, 1 it failed (one sentence on stderr says
//! what and how to cure it), 2 the command line is wrong.

mod audit;
mod charger;
mod check;
mod config;
mod consistency_check;
mod data_dir;
mod database;
mod deadletters;
mod drill_access;
mod export;
mod journal;
mod migrate;
mod open_files;
mod retire;
mod serve;
mod simulate;
mod telemetry;
mod token;

use clap::{Args, Parser, Subcommand};
use config::{Overrides, Settings};
use serve::Roles;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wattpost: an OCPP central system that never loses a charger's message.
///
/// Start with `wattpost serve`: chargers connect to `ws://HOST:9000/ocpp/IDENTITY`, and
/// `http://127.0.0.1:8080` shows what they said. Everything is kept in ./wattpost-data.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: the door for chargers, the journal, the database, the API.
    ///
    /// Works with no settings at all. Ctrl-C (or SIGTERM) stops it cleanly: no new sockets, answers in
    /// hand finish, chargers are told to come back, the journal is synced. kill -9 loses nothing that
    /// was acknowledged either.
    ///
    /// With `broker.url` and `database.url` in the settings it does the same over RabbitMQ and with
    /// PostgreSQL, which it brings up to date by itself.
    Serve(serve::ServeArgs),
    /// Run only the gateway: the door for chargers, the journal, the road to RabbitMQ.
    ///
    /// Any number of gateways may share the load, each with a data directory of its own. While RabbitMQ
    /// is away for longer than `gateway.broker_grace_s`, records go straight to the database.
    Gateway(serve::ServeArgs),
    /// Run only the consumer: from RabbitMQ into the database. Several share the partitions.
    Consumer(serve::ServeArgs),
    /// Run only the API, which shows the database.
    Api(serve::ServeArgs),
    /// Bring the database to the schema of this version. Safe to run by several at once, and again.
    Migrate(migrate::MigrateArgs),
    /// Records that could not be applied: list them, try them again, discard them.
    #[command(subcommand)]
    Deadletters(deadletters::DeadLettersCommand),
    /// A gateway's journal: look at what waits in it, go on when a part of it is damaged.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// A gateway is gone for good: its chargers no longer count as connected to it.
    ///
    /// One that still runs is not stopped; chargers that are connected to it are shown again once they reconnect.
    RetireGateway(retire::RetireArgs),
    /// Simulate a fleet of chargers against a central system.
    Simulate(simulate::SimulateArgs),
    /// Write messages or transactions to stdout or a file, as NDJSON or CSV; also while `serve` runs.
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Compare the ledger of `simulate --ledger` with what is stored: is anything lost, doubled, out
    /// of order?
    Audit(audit::AuditArgs),
    /// Kill everything that can die, one after the other, on this machine: is anything acknowledged lost?
    Drill(drill::DrillArgs),
    /// Manage chargers: who is known, who needs a password, how strictly they are checked.
    #[command(subcommand)]
    Charger(charger::ChargerCommand),
    /// Manage tokens (idTag, idToken): who may charge.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Are the settings sound and is everything reachable? Says what is wrong and how to cure it.
    Check(check::CheckArgs),
}

/// Where the settings come from; the same for every command that reads them.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsArgs {
    /// Settings file. Without it, ./wattpost.toml is read where it exists.
    #[arg(long, value_name = "FILE", env = "WATTPOST_CONFIG")]
    config: Option<PathBuf>,
    /// Where journal and database live [default: ./wattpost-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port for chargers [default: 0.0.0.0:9000]
    #[arg(long, value_name = "ADDR:PORT")]
    ocpp_listen: Option<SocketAddr>,
    /// Address and port for HTTP: the API, or the health of a role that runs alone [default:
    /// 127.0.0.1:8080; 8081 for `gateway`, 8082 for `consumer`]
    #[arg(long, value_name = "ADDR:PORT")]
    http_listen: Option<SocketAddr>,
    /// Database, `postgres://USER:PASSWORD@HOST/NAME` or `sqlite:PATH` [default: wattpost.db in the
    /// data directory]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// RabbitMQ, `amqp://USER:PASSWORD@HOST:5672/%2f` or `amqps://…` [default: none]
    #[arg(long, value_name = "URL")]
    broker_url: Option<String>,
}

impl SettingsArgs {
    /// Reads the settings: defaults, file, environment, these flags.
    pub(crate) fn load(&self) -> anyhow::Result<Settings> {
        Settings::load(
            self.config.as_deref(),
            Overrides {
                data_dir: self.data_dir.clone(),
                ocpp_listen: self.ocpp_listen,
                http_listen: self.http_listen,
                database_url: self.database_url.clone(),
                broker_url: self.broker_url.clone(),
            },
        )
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args, Roles::All),
        Command::Gateway(args) => serve::run(&args, Roles::Gateway),
        Command::Consumer(args) => serve::run(&args, Roles::Consumer),
        Command::Api(args) => serve::run(&args, Roles::Api),
        Command::Migrate(args) => migrate::run(&args),
        Command::Deadletters(command) => deadletters::run(&command),
        Command::Journal(command) => journal::run(&command),
        Command::RetireGateway(args) => retire::run(&args),
        Command::Simulate(args) => simulate::run(args),
        Command::Export(command) => export::run(&command),
        Command::Audit(args) => audit::run(&args),
        Command::Drill(args) => drill::run(
            &args,
            drill::Access {
                database: drill_access::database,
                journal: drill_access::journal,
            },
        ),
        Command::Charger(command) => charger::run(&command),
        Command::Token(command) => token::run(&command),
        Command::Check(args) => check::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wattpost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
