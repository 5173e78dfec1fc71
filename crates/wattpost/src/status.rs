//! `wattpost status`: the state of all processes in the terminal, for the moment in which something does not work.
//!
//! Two sources, since each may be unavailable just then: `/health` of the processes on this machine, at the addresses
//! of the settings, and the reports that every process stores in the database. A process that both know is shown as
//! `/health` says.

use crate::SettingsArgs;
use crate::config::Settings;
use crate::database::{self, Use};
use crate::output::{print_line, try_write_line};
use crate::serve::StopSignals;
use anyhow::{Context, Result, bail};
use central::model::ProcessReport;
use central::pipeline::{Observed, ProcessState};
use central::ports::KnownProcess;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// A process that has not answered by then is shown as not reachable.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A database that has not answered by then is shown as unavailable.
const DATABASE_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of an answer at most; a usual one has 4 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Moves the cursor to the first line and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What begins a line below a part.
const INDENT: &str = "                    ";

/// Flags of `wattpost status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Ask this process too, at the address of its `/health`; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    health: Vec<SocketAddr>,
    /// Show it again every SECONDS (2 if none are given), until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Only check that a process runs at one of the addresses (`/health/live`), as health checks of containers do; the
    /// database is not asked
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    live: bool,
}

/// Everything that was found.
struct Found {
    at: central::Timestamp,
    /// Each process as the object of `/health`, with `address`, or with `reported_ms_ago` if the database knows it.
    processes: Vec<Value>,
    /// Addresses where no process answers, with the reason.
    silent: Vec<(SocketAddr, String)>,
    /// Why the database says nothing.
    database_error: Option<String>,
}

/// Exit code 0 if every process works, or with `--live` if one runs; 1 otherwise.
pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    if args.live {
        let address = runtime.block_on(any_live(&all_addresses(&settings, &args.health)))?;
        print_line!("a process of Wattpost runs at {address}");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(seconds) = args.watch else {
        let found = runtime.block_on(look(&settings, &args.health));
        // What hangs in the database must not delay the end.
        runtime.shutdown_background();
        if found.processes.is_empty() {
            bail!("{}", found.nothing());
        }
        match args.json {
            true => print_line!("{}", found.json()),
            false => print_line!("{}", found.text().trim_end()),
        }
        return Ok(match found.all_work() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        });
    };
    let watching = watch(&settings, &args.health, Duration::from_secs(seconds));
    let watched = runtime.block_on(watching);
    runtime.shutdown_background();
    watched.map(|()| ExitCode::SUCCESS)
}

/// Shows it again and again until Ctrl-C, SIGTERM, or until nobody reads it any more.
async fn watch(settings: &Settings, more: &[SocketAddr], pause: Duration) -> Result<()> {
    // From the beginning, so that a signal counts also while the processes are asked.
    let mut stop = StopSignals::listen()?;
    loop {
        let found = tokio::select! {
            found = look(settings, more) => found,
            () = stop.recv() => return Ok(()),
        };
        let text = match found.processes.is_empty() {
            true => found.nothing(),
            false => found.text(),
        };
        if !try_write_line(format_args!("{CLEAR}{}", text.trim_end())) {
            return Ok(());
        }
        tokio::select! {
            () = stop.recv() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Asks all processes and the database at the same time.
async fn look(settings: &Settings, more: &[SocketAddr]) -> Found {
    let from_database = tokio::task::spawn_blocking({
        let settings = settings.clone();
        move || -> Result<Vec<KnownProcess>> {
            let database = database::open(&settings, Use::Read)?;
            Ok(database.processes.processes()?)
        }
    });
    let from_database = tokio::time::timeout(DATABASE_WITHIN, from_database);
    let addresses = all_addresses(settings, more);
    let asked: Vec<_> = addresses
        .iter()
        .map(|address| (*address, tokio::spawn(ask(*address))))
        .collect();
    let mut found = Found {
        at: database::now(),
        processes: Vec::new(),
        silent: Vec::new(),
        database_error: None,
    };
    for (address, answer) in asked {
        match answer.await {
            Ok(Ok(mut health)) => {
                health["address"] = json!(address.to_string());
                found.processes.push(health);
            }
            Ok(Err(error)) => found.silent.push((address, format!("{error:#}"))),
            Err(panic) => found.silent.push((address, panic.to_string())),
        }
    }
    match from_database.await {
        Ok(Ok(Ok(known))) => {
            for process in known {
                let id = json!(process.report.id);
                let is_known = |one: &Value| one["process"]["id"] == id;
                if !found.processes.iter().any(is_known) {
                    found.processes.push(reported(process));
                }
            }
        }
        Ok(Ok(Err(error))) => found.database_error = Some(format!("{error:#}")),
        Ok(Err(panic)) => found.database_error = Some(panic.to_string()),
        Err(_) => {
            let seconds = DATABASE_WITHIN.as_secs();
            found.database_error = Some(format!("it has not answered within {seconds} s"));
        }
    }
    found
}

/// The first address at which a process answers `GET /health/live` with 200.
///
/// # Errors
///
/// There is none; with the reason for each address.
async fn any_live(addresses: &BTreeSet<SocketAddr>) -> Result<SocketAddr> {
    let asked: Vec<_> = addresses
        .iter()
        .map(|address| (*address, tokio::spawn(get(*address, "/health/live"))))
        .collect();
    let mut reasons = Vec::new();
    for (address, answer) in asked {
        match answer.await? {
            Ok((status, _)) if status.is_success() => return Ok(address),
            Ok((status, _)) => reasons.push(format!("{address}: {status}")),
            Err(error) => reasons.push(format!("{address}: {error:#}")),
        }
    }
    bail!(
        "no process of Wattpost runs ({}; name the address of its health page with --health ADDR:PORT)",
        reasons.join("; ")
    )
}

/// Where to ask: the addresses of the settings, and those given.
fn all_addresses(settings: &Settings, more: &[SocketAddr]) -> BTreeSet<SocketAddr> {
    let more = more.iter().copied();
    addresses(settings)
        .into_iter()
        .chain(more)
        .map(local)
        .collect()
}

/// Where the processes of these settings serve `/health`.
fn addresses(settings: &Settings) -> Vec<SocketAddr> {
    let mut all = vec![settings.http.listen];
    if settings.has_broker() {
        // Used by roles that run alone.
        all.extend([
            settings.health.gateway_listen,
            settings.health.consumer_listen,
        ]);
    }
    all
}

/// The address to connect to for an address to listen on.
fn local(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// `GET /health`.
async fn ask(address: SocketAddr) -> Result<Value> {
    let (status, body) = get(address, "/health").await?;
    let health: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if !status.is_success() || !health["parts"].is_array() {
        bail!("something else than this version of Wattpost answers GET /health: {status}");
    }
    Ok(health)
}

/// Status and body of a `GET`.
async fn get(address: SocketAddr, path: &'static str) -> Result<(StatusCode, Bytes)> {
    let asking = async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", address.to_string())
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        connection.abort();
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok((status, body))
    };
    match tokio::time::timeout(ANSWER_WITHIN, asking).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer within {} s", ANSWER_WITHIN.as_secs()),
    }
}

/// A process that only the database knows, in the shape of `/health`.
fn reported(process: KnownProcess) -> Value {
    let KnownProcess {
        report,
        age_ms,
        is_retired,
        ..
    } = process;
    let observed = Observed {
        report,
        before: None,
        age_ms,
        heard_at: database::now().plus_millis(-age_ms),
        is_own: false,
        is_retired,
        counted: Err("not counted".to_owned()),
    };
    let state = observed.state();
    let report = observed.report;
    let works = report.parts.iter().all(|part| part.up);
    let status = match state {
        ProcessState::Running if works => "works",
        ProcessState::Running => "degraded",
        ProcessState::Gone => "gone",
        ProcessState::Stopped => "stopped",
        ProcessState::Retired => "retired",
    };
    let parts = report.parts.iter().map(|part| {
        let last_error = part.last_error.as_ref();
        json!({
            "part": part.part,
            "up": part.up,
            "detail": part.detail,
            "since": part.since.to_string(),
            "last_error": last_error.map(|error| json!({"at": error.at.to_string(), "detail": error.detail})),
            "figures": figures(&report, &part.part),
        })
    });
    json!({
        "status": status,
        "process": {
            "id": report.id,
            "role": report.role,
            "host": report.host,
            "version": report.version,
            "started_at": report.started_at.to_string(),
        },
        "parts": parts.collect::<Vec<_>>(),
        "reported_ms_ago": age_ms,
    })
}

/// The figures of a part that are in the report.
fn figures(report: &ProcessReport, part: &str) -> Map<String, Value> {
    let figures = match (part, &report.gateway) {
        ("gateway", Some(gateway)) => json!({"connections": gateway.connected}),
        ("journal", Some(gateway)) => {
            let mut figures = json!({
                "written_seq": gateway.written,
                "durable_seq": gateway.durable,
                "delivered_seq": gateway.delivered,
                "undelivered_records": report.undelivered(),
                "undelivered_bytes": gateway.undelivered_bytes,
                "bytes_max": gateway.bytes_max,
            });
            if let Some(ms) = gateway.oldest_age_ms {
                figures["oldest_undelivered_seconds"] = json!(ms as f64 / 1_000.0);
            }
            figures
        }
        ("rabbitmq", _) => {
            json!({"queued_records": report.queues.map(|queues| queues.waiting)})
        }
        _ => return Map::new(),
    };
    match figures {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl Found {
    /// Stopped and retired processes are meant to be so.
    fn all_work(&self) -> bool {
        self.processes.iter().all(|process| {
            matches!(
                process["status"].as_str(),
                Some("works" | "stopped" | "retired")
            )
        })
    }

    fn json(&self) -> Value {
        let silent = self
            .silent
            .iter()
            .map(|(address, why)| json!({"address": address.to_string(), "detail": why}));
        json!({
            "at": self.at.to_string(),
            "all_work": self.all_work(),
            "processes": self.processes,
            "not_reachable": silent.collect::<Vec<_>>(),
            "database_error": self.database_error,
        })
    }

    /// What to say where no process was found.
    fn nothing(&self) -> String {
        let mut text = "no process of Wattpost was found".to_owned();
        for (address, why) in &self.silent {
            text.push_str(&format!("; {address}: {why}"));
        }
        match &self.database_error {
            Some(error) => text.push_str(&format!("; database: {error}")),
            None => text.push_str("; the database knows none"),
        }
        text.push_str(
            " (start `wattpost serve`, or name the address of its health page with --health ADDR:PORT)",
        );
        text
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.at);
        for process in &self.processes {
            text.push('\n');
            text.push_str(&self.process(process));
        }
        // An address that nobody listens on is usual: not every role runs on every machine.
        for (address, why) in &self.silent {
            text.push_str(&format!("\n{address}: {why}\n"));
        }
        if let Some(error) = &self.database_error {
            text.push_str(&format!(
                "\nThe database was not read, so only processes that answer are shown: {error}\n"
            ));
        }
        text
    }

    fn process(&self, process: &Value) -> String {
        let about = &process["process"];
        let word = |value: &Value| plain(value.as_str().unwrap_or("?"));
        let started = word(&about["started_at"]);
        let from = match (&process["address"], &process["reported_ms_ago"]) {
            (Value::String(address), _) => address.clone(),
            (_, ago) => format!(
                "reported {} ago",
                duration(ago.as_f64().unwrap_or(0.0) / 1_000.0)
            ),
        };
        let mut text = format!(
            "{} {} on {}, version {}: {}\n  started {started}, {from}\n",
            word(&about["role"]),
            word(&about["id"]),
            word(&about["host"]),
            word(&about["version"]),
            word(&process["status"]).replace('_', " "),
        );
        for part in process["parts"].as_array().into_iter().flatten() {
            let mark = match part["up"].as_bool() {
                Some(true) => "works",
                Some(false) if part["ready"] == false => "DOWN ",
                Some(false) => "down ",
                None => "?    ",
            };
            text.push_str(&format!(
                "  {mark} {:<11} {}\n",
                word(&part["part"]),
                word(&part["detail"])
            ));
            // What was wrong before explains what is seen now; a part that is down says it itself.
            if let Some(error) = part["last_error"].as_object()
                && part["up"] == true
            {
                let (at, detail) = (word(&error["at"]), word(&error["detail"]));
                text.push_str(&format!("{INDENT}last fault {at}: {detail}\n"));
            } else if let (Some(since), false) = (part["since"].as_str(), part["up"] == true) {
                text.push_str(&format!("{INDENT}since {}\n", plain(since)));
            }
            if let Some(figures) = part["figures"].as_object().filter(|all| !all.is_empty()) {
                let figures: Vec<String> = figures
                    .iter()
                    .map(|(name, value)| figure(name, value))
                    .collect();
                text.push_str(&format!("{INDENT}{}\n", figures.join(", ")));
            }
        }
        text
    }
}

/// A figure in words: `undelivered records 310`, `oldest undelivered 2 s`.
fn figure(name: &str, value: &Value) -> String {
    let words = |name: &str| plain(&name.replace('_', " "));
    let seconds = name.strip_suffix("_seconds");
    let Some(number) = value.as_f64() else {
        return format!("{} unknown", words(seconds.unwrap_or(name)));
    };
    if let Some(name) = seconds {
        return format!("{} {}", words(name), duration(number));
    }
    if name.ends_with("bytes") || name.contains("bytes_") {
        return format!("{} {}", words(name), bytes(number));
    }
    format!(
        "{} {number:.0}",
        words(name.strip_suffix("_seq").unwrap_or(name))
    )
}

/// Text of another process: without control characters, which could write anything to the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.0} KiB", b / 1024.0),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{:.0} MiB", b / 1024.0 / 1024.0),
        b => format!("{:.1} GiB", b / 1024.0 / 1024.0 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_with_their_units() {
        for (name, value, expected) in [
            ("undelivered_records", json!(310), "undelivered records 310"),
            (
                "oldest_undelivered_seconds",
                json!(2.2),
                "oldest undelivered 2 s",
            ),
            ("sync_mean_seconds", json!(0.0004), "sync mean 400 µs"),
            ("age_seconds", json!(90_000), "age 25 h"),
            (
                "undelivered_bytes",
                json!(131_072),
                "undelivered bytes 128 KiB",
            ),
            ("bytes_max", json!(8_589_934_592_u64), "bytes max 8.0 GiB"),
            ("written_seq", json!(48_213), "written 48213"),
            ("queued_records", Value::Null, "queued records unknown"),
            ("lag_seconds", Value::Null, "lag unknown"),
            ("lag_seconds", json!(0.0), "lag 0 s"),
        ] {
            assert_eq!(figure(name, &value), expected);
        }
    }

    #[test]
    fn text_of_a_process_cannot_control_the_terminal() {
        let found = Found {
            at: central::Timestamp(0),
            processes: vec![json!({
                "status": "works",
                "process": {"id": "1", "role": "api", "host": "a\u{1b}[2Jb", "version": "0", "started_at": "x"},
                "parts": [{"part": "database", "up": true, "detail": "it\nanswers", "figures": {"lag_\u{7}seconds": 1}}],
                "address": "127.0.0.1:8080",
            })],
            silent: Vec::new(),
            database_error: None,
        };
        let text = found.text();
        let controls: Vec<char> = text
            .chars()
            .filter(|char| char.is_control() && *char != '\n')
            .collect();
        assert!(controls.is_empty(), "{text:?}");
        assert!(text.contains("it answers"), "{text}");
        assert!(found.all_work());
    }

    #[test]
    fn an_address_to_listen_on_everywhere_is_asked_on_this_machine() {
        let asked = |text: &str| local(text.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(asked("[::]:8081"), "[::1]:8081");
        assert_eq!(asked("10.0.0.7:8082"), "10.0.0.7:8082");
    }
}
