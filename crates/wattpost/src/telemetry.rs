//! Logs on stderr, and metrics for `/metrics`.

use crate::config::{LogFormat, LogSettings, Settings};
use crate::disk::DiskWatch;
use crate::serve::Roles;
use anyhow::{Context, Result};
use common::clock::now_ms;
use common::lock::lock;
use common::log_bound::cut;
use common::metrics::{Metric, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The latest warnings and errors of the log, for the support bundle.
static LAST_LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
/// Lines that are kept.
const LAST_LINES_MAX: usize = 200;
/// Characters that are kept of a line.
const LAST_LINE_CHARS_MAX: usize = 2_000;

/// Starts logging to stderr. `RUST_LOG` overrides `log.level`.
///
/// # Errors
/// When the filter is not one that `tracing` understands.
pub(crate) fn start_logging(settings: &LogSettings) -> Result<()> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) => EnvFilter::try_new(without_libraries(&directives))
            .context("read the filter in RUST_LOG")?,
        Err(_) => filter(&settings.level)?,
    };
    let stderr = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let stderr = match settings.format {
        LogFormat::Text => stderr.compact().boxed(),
        LogFormat::Json => {
            // Otherwise a panic is printed as several lines of text, which is right where the log has no errors.
            let as_text = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                match tracing::enabled!(tracing::Level::ERROR) {
                    true => tracing::error!("{panic}"),
                    false => as_text(panic),
                }
            }));
            stderr.json().boxed()
        }
    };
    let last = tracing_subscriber::fmt::layer()
        .compact()
        .with_ansi(false)
        .with_writer(|| LastLines)
        .with_filter(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(stderr)
        .with(last)
        .with(filter)
        .init();
    Ok(())
}

/// The latest warnings and errors that were logged, the oldest first: at most 200 lines of at most 2,000 characters. What
/// `log.level` leaves out is not among them.
pub(crate) fn last_lines() -> Vec<String> {
    lock(&LAST_LINES).iter().cloned().collect()
}

/// Takes the lines of the log, one with each write.
struct LastLines;

impl Write for LastLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let mut lines = lock(&LAST_LINES);
        if lines.len() >= LAST_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(cut(text.trim_end(), LAST_LINE_CHARS_MAX).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parses `log.level`. A single word that is not a level is refused: `tracing` would take it for the name of a module
/// and turn off all other logs.
///
/// # Errors
/// When it is not a filter.
pub(crate) fn filter(level: &str) -> Result<EnvFilter> {
    let wrong = || {
        format!(
            "log.level is {level:?}; give error, warn, info, debug, trace, off, or a filter such as \
             \"info,gateway=debug\""
        )
    };
    let bare_words = level.split(',').filter(|part| !part.contains(['=', '[']));
    for word in bare_words {
        word.trim()
            .parse::<tracing_subscriber::filter::LevelFilter>()
            .with_context(wrong)?;
    }
    EnvFilter::try_new(without_libraries(level)).with_context(wrong)
}

/// The filter without libraries' messages about lost connections, unless it names the library: this project's own
/// messages report each outage once.
fn without_libraries(filter: &str) -> String {
    const LIBRARIES: [(&str, &str); 2] = [("lapin", "off"), ("sqlx", "error")];
    let mut quieter = filter.to_owned();
    for (library, level) in LIBRARIES {
        if !filter.contains(library) {
            quieter.push_str(&format!(",{library}={level}"));
        }
    }
    quieter
}

/// Installs the recorder behind the `metrics` macros and returns what renders it. Counters and histograms of the crates
/// that this process uses are exported from the start.
///
/// # Errors
/// When a recorder is installed already, which only a second call in the same process can cause.
pub(crate) fn start_metrics(settings: &Settings, roles: Roles) -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&LATENCY_BUCKETS_SECONDS)
        .context("set the buckets of the histograms")?
        .install_recorder()
        .context("install the recorder of metrics")?;
    for (_, table) in METRIC_TABLES {
        common::metrics::describe(table);
    }
    for table in tables_of(settings, roles) {
        common::metrics::register(table);
    }
    Ok(handle)
}

/// The tables of the crates that a process with these roles uses.
fn tables_of(settings: &Settings, roles: Roles) -> Vec<&'static [Metric]> {
    let mut tables = vec![METRICS, api::METRICS];
    if roles.has_gateway() {
        tables.extend([gateway::METRICS, journal::METRICS]);
    }
    if roles != Roles::Api {
        tables.extend([consumer::METRICS, store::METRICS]);
        if settings.has_broker() {
            tables.push(broker::METRICS);
        }
    }
    tables
}

/// The metrics of the process itself.
const METRICS: &[Metric] = &[
    Metric::gauge(
        "wattpost_process_start_time_seconds",
        Unit::Seconds,
        "Unix time of the start of the process",
    ),
    Metric::gauge(
        "wattpost_process_data_dir_bytes",
        Unit::Bytes,
        "Size of the file system of the data directory",
    ),
    Metric::gauge(
        "wattpost_process_data_dir_free_bytes",
        Unit::Bytes,
        "Free bytes of the file system of the data directory that this process may use",
    ),
    Metric::gauge(
        "wattpost_process_data_dir_full_in_seconds",
        Unit::Seconds,
        "Time until the file system of the data directory is full at the growth of the last day: +Inf while it does not grow, NaN until there are samples of an hour",
    ),
];

/// The tables of all crates that export metrics, by crate.
const METRIC_TABLES: [(&str, &[Metric]); 7] = [
    ("process", METRICS),
    ("gateway", gateway::METRICS),
    ("journal", journal::METRICS),
    ("broker", broker::METRICS),
    ("consumer", consumer::METRICS),
    ("store", store::METRICS),
    ("api", api::METRICS),
];

/// Moves the histograms' samples into their buckets every five seconds. Otherwise every sample is kept until the next
/// request for `/metrics`, which may never come. Also measures the room on the disk of the data directory, if this
/// process has one. Never ends.
pub(crate) async fn run_upkeep(metrics: PrometheusHandle, disk: Option<Arc<DiskWatch>>) {
    set_number(
        "wattpost_process_start_time_seconds",
        now_ms().unsigned_abs() / 1_000,
    );
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(5));
    let mut measuring: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
        // A file system that hangs keeps one thread, and everything else goes on.
        if let Some(disk) = &disk
            && measuring.as_ref().is_none_or(|one| one.is_finished())
        {
            let disk = Arc::clone(disk);
            measuring = Some(tokio::task::spawn_blocking(move || disk.measure()));
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; above 2^53 the last digits do not matter"
)]
fn set_number(gauge: &'static str, value: u64) {
    metrics::gauge!(gauge).set(value as f64);
}

/// From 0.1 ms, a sync on a fast disk, to 10 s, which no answer should take.
const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Sets the journal's metrics; called at each request for `/metrics`.
pub(crate) fn set_journal_metrics(status: &journal::Status) {
    let seconds = |gauge: &'static str, duration: std::time::Duration| {
        metrics::gauge!(gauge).set(duration.as_secs_f64());
    };
    set_number("wattpost_journal_used_bytes", status.used_bytes);
    set_number("wattpost_journal_max_bytes", status.bytes_max);
    set_number("wattpost_journal_disk_bytes", status.disk_bytes);
    set_number(
        "wattpost_journal_waiting_records",
        status.durable_seq.saturating_sub(status.cursor),
    );
    seconds(
        "wattpost_journal_oldest_record_seconds",
        status.oldest_age.unwrap_or_default(),
    );
    metrics::counter!("wattpost_journal_syncs_total").absolute(status.syncs);
    metrics::counter!("wattpost_journal_synced_records_total").absolute(status.synced_records);
    seconds("wattpost_journal_sync_last_seconds", status.sync_last);
    seconds("wattpost_journal_sync_mean_seconds", status.sync_mean);
    seconds("wattpost_journal_sync_max_seconds", status.sync_max);
    metrics::counter!("wattpost_journal_segment_waits_total").absolute(status.segment_waits);
    set_number("wattpost_journal_full", status.full.is_some().into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Adds every metric name of a source file, without its table and its tests.
    fn names_in_file(path: &Path, names: &mut BTreeSet<String>) {
        let text = std::fs::read_to_string(path).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let mut parts = code.splitn(2, "pub const METRICS");
        let before = parts.next().unwrap_or_default();
        let after = parts.next().and_then(|rest| rest.split_once("\n];"));
        for part in [before, after.map_or("", |(_, after)| after)] {
            for name in part.split("\"wattpost_").skip(1) {
                let name = name.split('"').next().unwrap_or_default();
                names.insert(format!("wattpost_{name}"));
            }
        }
    }

    fn names_in_folder(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                names_in_folder(&path, names);
            } else if path.extension().is_some_and(|end| end == "rs") {
                names_in_file(&path, names);
            }
        }
    }

    #[test]
    fn metrics_in_the_code_are_those_in_the_tables() {
        let mut in_code = BTreeSet::new();
        for (krate, _) in METRIC_TABLES
            .iter()
            .filter(|(krate, _)| *krate != "process")
        {
            names_in_folder(&root().join("crates").join(krate).join("src"), &mut in_code);
        }
        for file in ["telemetry.rs", "consistency_check.rs"] {
            names_in_file(&root().join("crates/wattpost/src").join(file), &mut in_code);
        }
        let rows = METRIC_TABLES.iter().flat_map(|(_, table)| table.iter());
        let in_tables: BTreeSet<String> = rows.map(|metric| metric.name.to_owned()).collect();
        let without_row: Vec<_> = in_code.difference(&in_tables).collect();
        let without_code: Vec<_> = in_tables.difference(&in_code).collect();
        assert!(
            without_row.is_empty() && without_code.is_empty(),
            "without a row: {without_row:?}; without code: {without_code:?}"
        );
    }

    /// `WATTPOST_WRITE_DOCS=1` writes the files instead of comparing them.
    #[test]
    fn page_and_rules_of_alerts_are_generated_from_the_catalogue() {
        const BEGIN: &str = "<!-- generated by `make alerts-doc`: do not edit below -->\n\n";
        let page = root().join("docs/alerts.md");
        let text = std::fs::read_to_string(&page).expect("docs/alerts.md");
        let (by_hand, _) = text.split_once(BEGIN).expect("the mark in docs/alerts.md");
        let table = central::alert::alerts_page();
        let rules = root().join("packaging/prometheus/wattpost.rules.yml");
        for (path, wanted) in [
            (page, format!("{by_hand}{BEGIN}{table}")),
            (rules, central::alert::prometheus_rules()),
        ] {
            if std::env::var_os("WATTPOST_WRITE_DOCS").is_some() {
                std::fs::write(&path, wanted).expect("the file can be written");
                continue;
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == wanted,
                "{} is outdated: run `make alerts-doc`",
                path.display()
            );
        }
    }

    /// `WATTPOST_WRITE_DOCS=1` writes the page instead of comparing it.
    #[test]
    fn page_of_metrics_is_generated_from_the_tables() {
        let mut page = "# Metrics\n\nGenerated from the tables in `crates/*/src/metrics.rs` by `make metrics-doc`: do not edit.\n".to_owned();
        for (krate, table) in METRIC_TABLES {
            page.push_str(&format!(
                "\n## {krate}\n\n{}",
                common::metrics::markdown(table)
            ));
        }
        let path = root().join("docs/metrics.md");
        if std::env::var_os("WATTPOST_WRITE_DOCS").is_some() {
            std::fs::write(&path, page).expect("docs/metrics.md can be written");
            return;
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == page,
            "docs/metrics.md is outdated: run `make metrics-doc`"
        );
    }
}
