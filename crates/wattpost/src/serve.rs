//! `wattpost serve`: every role in one process, with nothing else installed.
//!
//! ```text
//! start:  identity → journal → database → applier → gateway → API      ("bind early")
//! stop:   accept → connections (1001, in slices) → forwarder → applier → journal (drain, sync) → API
//! ```
//! The API stops last, so that `/health/live` answers while the rest winds down.

use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::{SettingsArgs, belonging, telemetry};
use anyhow::{Context, Result};
use central::ports::{HealthProbe, Store};
use clap::Args;
use consumer::Applier;
use gateway::{Gateway, GatewayDeps};
use journal::Journal;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::SqliteStore;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Flags of `wattpost serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs until a signal or until the journal can keep no promise any more.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    telemetry::start_logging(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wattpost")
        .build()
        .context("start the runtime")?;
    let code = runtime.block_on(serve(&settings));
    // Whatever still blocks (a database that hangs) is not waited for: all that matters is synced.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(settings: &Settings) -> Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let metrics = telemetry::start_metrics()?;
    tokio::spawn(telemetry::keep_metrics_small(metrics.clone()));
    let data = DataDir::prepare(&settings.data_dir)?;
    data.forget_identity_without_journal()?;
    let (journal, recovery) = Journal::open(&data.journal(), settings.journal.options())
        .with_context(|| format!("open the journal in {}", data.journal().display()))?;
    tracing::info!(
        records_waiting = recovery.durable_seq - recovery.cursor,
        took_ms = recovery.took.as_millis(),
        cut = ?recovery.cut,
        "journal opened"
    );
    let gateway_id = data.gateway_id()?;

    let store = Arc::new(SqliteStore::open(
        &settings.database_path()?,
        store::Options::default(),
    )?);
    let applier = Arc::new(Applier::start(
        Arc::clone(&store) as Arc<dyn Store>,
        settings.applier.clone(),
    )?);

    belonging::check(&journal, gateway_id, &store, &*applier).await?;

    let gateway = Gateway::start(
        settings.gateway.clone(),
        GatewayDeps {
            journal: journal.clone(),
            gateway_id,
            sink: Arc::clone(&applier) as _,
            directory: Arc::clone(&store) as _,
            policy: Arc::new(settings.policy.clone()),
            data_dir: settings.data_dir.clone(),
            announcements: None,
        },
    )
    .await
    .context("start the gateway")?;

    let probes: Vec<Arc<dyn HealthProbe>> = vec![gateway.probe(), Arc::clone(&applier) as _];
    let api = api::Api::start(
        settings.http.clone(),
        api::ApiDeps {
            ledger: Some(Arc::clone(&store) as _),
            probes,
            metrics: Arc::new({
                let journal = journal.clone();
                move || {
                    telemetry::show_journal(&journal.status());
                    metrics.render()
                }
            }),
            version: env!("CARGO_PKG_VERSION"),
        },
    )
    .await
    .context("start the API")?;

    announce(&format!(
        "wattpost {} serves\n  chargers  ws://{}/ocpp/IDENTITY\n  API       http://{}\n  data      {} (gateway {gateway_id})\n",
        env!("CARGO_PKG_VERSION"),
        gateway.local_addr(),
        api.local_addr(),
        settings.data_dir.display(),
    ));

    let failure = tokio::select! {
        () = stop.recv() => None,
        why = gateway.failed() => Some(why),
    };
    match &failure {
        None => tracing::info!("stopping: no new chargers, answers in hand finish"),
        Some(why) => tracing::error!(%why, "stopping: no promise can be kept any more"),
    }
    let grace = settings.gateway.shutdown_grace();
    tokio::select! {
        () = gateway.shutdown(grace) => {}
        () = stop.recv() => tracing::warn!("second signal: stopping at once"),
    }
    // It finishes the batch in hand. A database that hangs is not waited for: what is not applied is
    // still in the journal.
    let closing = tokio::task::spawn_blocking(move || applier.close());
    if tokio::time::timeout(Duration::from_secs(5), closing)
        .await
        .is_err()
    {
        tracing::warn!(
            "the database does not answer; what it has not applied stays in the journal"
        );
    }
    let waiting = journal.status();
    let closed = tokio::task::spawn_blocking(move || journal.close()).await;
    api.shutdown(Duration::from_secs(1)).await;

    if let Some(why) = failure {
        anyhow::bail!("{why}; start again once the cause is gone, nothing acknowledged is lost");
    }
    closed
        .context("close the journal")?
        .context("close the journal")?;
    announce(&format!(
        "wattpost stopped; {} records wait in the journal for the next start\n",
        waiting.durable_seq.saturating_sub(waiting.cursor)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Says something to the person at the terminal, or to the script that reads stdout. A reader that
/// went away is no reason to stop serving.
fn announce(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// SIGINT and SIGTERM.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        })
    }

    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
