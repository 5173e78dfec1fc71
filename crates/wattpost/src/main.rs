//! The binary `wattpost`: settings, wiring, signals; one file per subcommand.
//!
//! Exit codes: 0 success; 1 failure, with one sentence on stderr that names the cause and the remedy; 2 wrong command
//! line.

// Commands print with `output::print_line`, which does not panic when the reader closes the pipe.
#![deny(clippy::print_stdout)]

mod alerts;
mod apikey;
mod audit;
mod backup;
mod charger;
mod check;
mod command;
mod config;
mod consistency_check;
mod data_dir;
mod database;
mod deadletters;
mod disk;
mod drill_access;
mod export;
mod hint;
mod import;
mod journal;
mod journal_extract;
mod local_list;
mod migrate;
mod open_files;
mod origin;
mod output;
mod replay;
mod restore;
mod retire;
mod serve;
mod simulate;
mod site;
mod status;
mod telemetry;
mod token;
mod transaction;
mod user;
mod webhook;

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
/// Start with `wattpost serve`: chargers connect to `ws://HOST:9000/ocpp/IDENTITY`, the API answers on
/// `http://127.0.0.1:8080`, and all data is kept in ./wattpost-data.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: gateway, database, API (and consumer, with RabbitMQ).
    ///
    /// Needs no settings: the database is then a SQLite file, and there is no RabbitMQ. With `broker.url`
    /// and `database.url` it uses RabbitMQ and PostgreSQL, and migrates the database at the start.
    ///
    /// Ctrl-C or SIGTERM stops it: no new connections are accepted, running answers are finished,
    /// connections are closed with 1001, the journal is synced. After kill -9, too, no acknowledged
    /// message is lost.
    Serve(serve::ServeArgs),
    /// Run only the gateway: it holds the chargers' connections and delivers to RabbitMQ.
    ///
    /// Several gateways may share the load; each needs its own data directory. If RabbitMQ is unavailable
    /// for longer than `gateway.broker_grace_s`, records are delivered to the database directly.
    Gateway(serve::ServeArgs),
    /// Run only the consumer: it stores records from RabbitMQ. Several consumers share the partitions.
    Consumer(serve::ServeArgs),
    /// Run only the HTTP API.
    Api(serve::ServeArgs),
    /// Migrate the database to the schema of this version. May run concurrently and repeatedly.
    Migrate(migrate::MigrateArgs),
    /// List, retry or discard records that could not be applied.
    #[command(subcommand)]
    Deadletters(deadletters::DeadLettersCommand),
    /// Back up the data directory while `serve` runs, or verify a backup.
    ///
    /// For `serve` with SQLite and without RabbitMQ. The backup is a new directory: a consistent copy of the
    /// database, the acknowledged records that are not stored yet, and what the gateway keeps beside them. It is
    /// complete once it has its name; a run that was killed leaves only NAME.partial, which the next one removes.
    ///
    /// Examples:
    ///   wattpost backup /backups/wattpost-2026-01-31
    ///   wattpost backup verify /backups/wattpost-2026-01-31
    #[command(verbatim_doc_comment)]
    Backup(backup::BackupArgs),
    /// Restore a backup into an empty data directory.
    ///
    /// The restored gateway begins a new journal under a new gateway id, so that no record number is used twice.
    /// A backup that is damaged, incomplete or of a newer version is refused before anything is written. A run
    /// that was killed can be repeated; until then nothing starts with this data directory.
    ///
    /// Example:
    ///   wattpost restore /backups/wattpost-2026-01-31 --data-dir /var/lib/wattpost
    #[command(verbatim_doc_comment)]
    Restore(restore::RestoreArgs),
    /// Inspect or repair the journal of a stopped gateway.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Mark all chargers of a gateway that will never start again as disconnected.
    ///
    /// A gateway that still runs is not stopped; its chargers count as connected again once they
    /// reconnect.
    RetireGateway(retire::RetireArgs),
    /// Simulate chargers against any OCPP central system.
    Simulate(simulate::SimulateArgs),
    /// Export messages or transactions as NDJSON or CSV; may run while `serve` runs.
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Build a new database from the records of another, or from an export: with the projections of this
    /// version, and on PostgreSQL or SQLite.
    #[command(
        verbatim_doc_comment,
        after_help = "Examples:\n  wattpost replay --to postgres://USER:PASSWORD@HOST/NEW\n  wattpost replay --database-url postgres://USER:PASSWORD@HOST/OLD --to sqlite:new.db\n  wattpost replay --from-export messages.ndjson --to sqlite:new.db"
    )]
    Replay(replay::ReplayArgs),
    /// Compare the ledger file of `simulate --ledger` with the database: is any message lost, duplicated
    /// or out of order?
    Audit(audit::AuditArgs),
    /// Test on this machine that no acknowledged message is lost when processes, servers, network or disk
    /// fail.
    Drill(drill::DrillArgs),
    /// Add, change, list or remove chargers: registration, password, payload checks.
    #[command(subcommand)]
    Charger(charger::ChargerCommand),
    /// Add, change, list or remove sites: the places where chargers stand.
    #[command(subcommand)]
    Site(site::SiteCommand),
    /// Add, change, import, list or remove tokens (idTag, idToken).
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Bring tokens to the chargers' local authorization lists.
    #[command(subcommand)]
    LocalList(local_list::LocalListCommand),
    /// Send commands to chargers (`Reset`, `GetConfiguration`, …), list, show or cancel them.
    #[command(subcommand, name = "command")]
    ToCharger(command::CommandCommand),
    /// Make, list or revoke keys of the HTTP API.
    #[command(subcommand)]
    Apikey(apikey::ApiKeyCommand),
    /// Users who sign in to the dashboard with a password: add, list, enable, disable, remove, set a
    /// password
    #[command(subcommand)]
    User(user::UserCommand),
    /// Alerts: list, acknowledge, silence, and the rules.
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// Webhooks, to which events are sent: add, list, change, test, rotate the secret, send again, remove.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// List transactions, and close those whose stop will not come.
    #[command(subcommand)]
    Transaction(transaction::TransactionCommand),
    /// Show the state of all processes: what works, what waits, and the last fault of each part.
    ///
    /// It asks `/health` of the processes on this machine, and reads the reports of all others from the
    /// database; each of the two may be unavailable. The exit code is 0 if every process works.
    #[command(
        after_help = "Examples:\n  wattpost status\n  wattpost status --watch\n  wattpost status --health 10.0.0.7:8081 --json"
    )]
    Status(status::StatusArgs),
    /// Check the settings, the database, RabbitMQ and the ports; print each error with its remedy.
    Check(check::CheckArgs),
}

/// The flags for settings; the same for every command that reads settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsArgs {
    /// Settings file [default: ./wattpost.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "WATTPOST_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of the journal and the SQLite database [default: ./wattpost-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port for chargers [default: 0.0.0.0:9000]
    #[arg(long, value_name = "ADDR:PORT")]
    ocpp_listen: Option<SocketAddr>,
    /// Address and port for HTTP: API, health, metrics [default: 127.0.0.1:8080; port 8081 for
    /// `gateway`, 8082 for `consumer`]
    #[arg(long, value_name = "ADDR:PORT")]
    http_listen: Option<SocketAddr>,
    /// Database: `postgres://USER:PASSWORD@HOST/NAME` or `sqlite:PATH` [default: wattpost.db in the
    /// data directory]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// RabbitMQ: `amqp://USER:PASSWORD@HOST:5672/%2f` or `amqps://…` [default: none]
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
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Journal(command) => journal::run(&command),
        Command::RetireGateway(args) => retire::run(&args),
        Command::Simulate(args) => simulate::run(args),
        Command::Export(command) => export::run(&command),
        Command::Replay(args) => replay::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Drill(args) => drill::run(
            &args,
            drill::Access {
                database: drill_access::database,
                journal: drill_access::journal,
            },
        ),
        Command::Charger(command) => charger::run(&command),
        Command::Site(command) => site::run(&command),
        Command::Token(command) => token::run(&command),
        Command::LocalList(command) => local_list::run(&command),
        Command::ToCharger(command) => command::run(&command),
        Command::Apikey(command) => apikey::run(&command),
        Command::User(command) => user::run(&command),
        Command::Alerts(command) => alerts::run(&command),
        Command::Webhook(command) => webhook::run(&command),
        Command::Transaction(command) => transaction::run(&command),
        Command::Status(args) => status::run(&args),
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
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    /// What a command writes to the audit log, or why nothing.
    enum Audited {
        Entry(&'static str),
        Nothing(&'static str),
    }

    const READS: Audited = Audited::Nothing("changes nothing in the database");
    const RUNS: Audited = Audited::Nothing("a process: those who use it are named in its changes");
    const COMMAND: Audited = Audited::Nothing(
        "the row of the command names who requested it and what became of it; --no-check has an entry",
    );

    /// The decision for each command. `tests/stories/audit_entries.rs` makes each change that has an entry.
    const AUDITED: &[(&str, Audited)] = &[
        ("alerts ack", Audited::Entry("alert.acknowledged")),
        ("alerts list", READS),
        ("alerts rules", READS),
        ("alerts silence", Audited::Entry("alert_silence.added")),
        ("alerts silences", READS),
        ("alerts test-mail", READS),
        ("alerts unsilence", Audited::Entry("alert_silence.removed")),
        ("api", RUNS),
        ("apikey add", Audited::Entry("api_key.added")),
        ("apikey list", READS),
        ("apikey revoke", Audited::Entry("api_key.revoked")),
        ("audit", READS),
        ("backup verify", READS),
        ("charger add", Audited::Entry("charger.set")),
        (
            "charger disconnect",
            Audited::Entry("charger.disconnect_requested"),
        ),
        ("charger import", Audited::Entry("charger.set")),
        ("charger list", READS),
        ("charger password", READS),
        ("charger remove", Audited::Entry("charger.removed")),
        (
            "charger rotate-password",
            Audited::Entry("charger.password_rotation_started"),
        ),
        ("check", READS),
        ("command batch cancel", Audited::Entry("batch.cancelled")),
        ("command batch create", Audited::Entry("batch.created")),
        ("command batch list", READS),
        ("command batch pause", Audited::Entry("batch.paused")),
        ("command batch resume", Audited::Entry("batch.resumed")),
        ("command batch show", READS),
        ("command cancel", COMMAND),
        ("command list", READS),
        ("command report", READS),
        ("command send", COMMAND),
        ("command show", READS),
        ("consumer", RUNS),
        (
            "deadletters discard",
            Audited::Entry("dead_letter.discarded"),
        ),
        ("deadletters list", READS),
        ("deadletters retry", Audited::Entry("dead_letter.applied")),
        ("drill", Audited::Nothing("its databases are its own")),
        ("export connectors", READS),
        ("export messages", READS),
        ("export transactions", READS),
        ("gateway", RUNS),
        ("journal inspect", READS),
        (
            "journal salvage",
            Audited::Nothing("changes the journal, not the database"),
        ),
        ("local-list list", READS),
        ("local-list remove", Audited::Entry("local_list.removed")),
        ("local-list set", Audited::Entry("local_list.set")),
        (
            "migrate",
            Audited::Nothing("changes the schema, and rows only as its version says"),
        ),
        (
            "replay",
            Audited::Nothing("fills a new database, with the audit log of the source"),
        ),
        ("restore", Audited::Entry("gateway.retired")),
        ("retire-gateway", Audited::Entry("gateway.retired")),
        ("serve", RUNS),
        ("simulate", READS),
        ("site add", Audited::Entry("site.set")),
        ("site list", READS),
        ("site remove", Audited::Entry("site.removed")),
        ("status", READS),
        ("token add", Audited::Entry("token.set")),
        ("token import", Audited::Entry("token.set")),
        ("token list", READS),
        ("token remove", Audited::Entry("token.removed")),
        ("token unknown", READS),
        ("transaction close", Audited::Entry("transaction.closed")),
        ("transaction list", READS),
        ("user add", Audited::Entry("user.added")),
        ("user disable", Audited::Entry("user.changed")),
        ("user enable", Audited::Entry("user.changed")),
        ("user list", READS),
        ("user password", Audited::Entry("user.changed")),
        ("user remove", Audited::Entry("user.removed")),
        ("webhook add", Audited::Entry("webhook.set")),
        ("webhook deliveries", READS),
        ("webhook disable", Audited::Entry("webhook.set")),
        ("webhook enable", Audited::Entry("webhook.set")),
        ("webhook list", READS),
        ("webhook redeliver", Audited::Entry("webhook.redelivered")),
        ("webhook remove", Audited::Entry("webhook.removed")),
        ("webhook rotate", Audited::Entry("webhook.secret_rotated")),
        ("webhook set", Audited::Entry("webhook.set")),
        ("webhook show", READS),
        ("webhook test", READS),
    ];

    #[test]
    fn every_command_has_a_decision_about_the_audit_log() {
        let mut commands = Vec::new();
        leaves(&Cli::command(), "", &mut commands);
        commands.sort();
        let decided: Vec<&str> = AUDITED.iter().map(|(command, _)| *command).collect();
        assert_eq!(
            commands, decided,
            "say in AUDITED what a new command writes to the audit log; if it changes the database, add it to \
             tests/stories/audit_entries.rs"
        );
        for (command, decision) in AUDITED {
            match decision {
                Audited::Entry(action) => assert!(
                    include_str!("../tests/stories/audit_entries.rs").contains(action)
                        || *command == "deadletters retry",
                    "no test makes the change of {command}; a retry is in crates/store/tests/it/event_log.rs"
                ),
                Audited::Nothing(why) => assert!(!why.is_empty(), "{command}"),
            }
        }
    }

    /// The commands without subcommands, by their words.
    fn leaves(command: &clap::Command, words: &str, found: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            let words = format!("{words} {}", sub.get_name()).trim().to_owned();
            match sub.has_subcommands() {
                true => leaves(sub, &words, found),
                false => found.push(words),
            }
        }
    }
}
