//! What the process says about itself: logs on stderr, figures for `/metrics`.

use crate::config::{LogFormat, LogSettings};
use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging to stderr. `RUST_LOG` wins over the settings, so that one module can be
/// looked at closely without touching a file.
///
/// # Errors
/// When `log.level` is not a filter that `tracing` understands.
pub(crate) fn start_logging(settings: &LogSettings) -> Result<()> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) => EnvFilter::try_new(without_libraries(&directives))
            .context("read the filter in RUST_LOG")?,
        Err(_) => filter(&settings.level)?,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => builder.compact().init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// What `log.level` means. A bare word that is no level would be taken for the name of a module, and
/// silence everything else, so it is refused.
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

/// The filter without what libraries say of outages, unless they are asked for by name: our own supervisors
/// tell it, once and with what it means.
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

/// Installs the recorder behind the `metrics` macros and returns what renders it.
///
/// # Errors
/// When one is installed already, which only a second call in the same process can cause.
pub(crate) fn start_metrics() -> Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets(&LATENCY_BUCKETS_SECONDS)
        .context("set the buckets of the histograms")?
        .install_recorder()
        .context("install the recorder of metrics")
}

/// Sorts what the histograms have taken in into their buckets every few seconds. Without it they keep
/// every single figure until somebody asks for `/metrics`, which may be never. Runs for ever.
pub(crate) async fn keep_metrics_small(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(5));
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// From a tenth of a millisecond (one sync on a quick disk) to the ten seconds after which no
/// answer of ours should come.
const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Brings the journal's figures up to date; called when somebody asks for `/metrics`.
pub(crate) fn show_journal(status: &journal::Status) {
    let seconds = |gauge: &'static str, duration: std::time::Duration| {
        metrics::gauge!(gauge).set(duration.as_secs_f64());
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "figures for people, not for sums"
    )]
    let number = |gauge: &'static str, value: u64| metrics::gauge!(gauge).set(value as f64);
    number("wattpost_journal_used_bytes", status.used_bytes);
    number("wattpost_journal_max_bytes", status.max_bytes);
    number("wattpost_journal_disk_bytes", status.disk_bytes);
    number(
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
    number("wattpost_journal_full", status.full.is_some().into());
}
