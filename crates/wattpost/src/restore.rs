//! `wattpost restore`: fills an empty data directory from a backup.
//!
//! A restored journal would go on at a number that other records have got since the backup: in exports, in webhooks, in
//! what other programs have stored. So the records of the backup that were not stored yet are applied to the restored
//! database under their own numbers, and the next start begins a new journal under a new gateway id. A record that is also
//! in the copy of the database is recognised, as after any redelivery.
//!
//! While the directory is filled it holds [`RESTORING`], with which nothing starts.

use crate::SettingsArgs;
use crate::backup::{
    DATABASE, GATEWAY_FILES, Manifest, each_record, embedded_database, is_named, parent,
};
use crate::config::Settings;
use crate::data_dir::{DataDir, RESTORING, sync_dir};
use crate::database::{self, Database, Use};
use crate::output::print_line;
use crate::retire::retire;
use anyhow::{Context, Result, bail, ensure};
use central::ports::{Batch, Sink};
use central::{GatewayId, Seq};
use clap::Args;
use consumer::Applier;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Most records and bytes of one transaction.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;

/// Flags of `wattpost restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The directory of the backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Restores; nothing is left half done that a later start would use.
pub(crate) fn run(args: &RestoreArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    let database = embedded_database(&settings)?;
    let backup = &args.backup;
    let manifest = Manifest::read(backup)?;
    for piece in &manifest.files {
        piece.check(backup)?;
    }
    let data_dir = &settings.data_dir;
    let _lock = clear_unfinished(data_dir, &database)?;
    refuse_used(data_dir, &database)?;
    DataDir::prepare(data_dir)?;
    let marker = data_dir.join(RESTORING);
    let _lock = begin(&marker, &database)?;

    let unfinished = beside(&database, ".restoring");
    for piece in &manifest.files {
        if piece.name == DATABASE {
            piece.copy(backup, &unfinished)?;
        } else if GATEWAY_FILES.contains(&piece.name.as_str()) {
            piece.copy(backup, &data_dir.join(&piece.name))?;
        }
    }
    let chargers = apply(&settings, &unfinished, backup, &manifest)?;
    // A log that was not written back belongs to the file.
    let log = beside(&unfinished, "-wal");
    if log.exists() {
        fs::rename(&log, beside(&database, "-wal"))
            .with_context(|| format!("rename {}", log.display()))?;
    }
    fs::rename(&unfinished, &database)
        .and_then(|()| sync_dir(parent(&database)))
        .and_then(|()| sync_dir(data_dir))
        .and_then(|()| fs::remove_file(&marker))
        .and_then(|()| sync_dir(data_dir))
        .with_context(|| format!("give the database its name, {}", database.display()))?;
    print_line!(
        "restored into {}: everything acknowledged until {}; {} records that were not stored yet are stored now, and \
         {chargers} chargers no longer count as connected",
        data_dir.display(),
        manifest.began_at,
        manifest.records
    );
    print_line!(
        "the next start has a new gateway id. Commands that were sent after the backup are queued again if they have not \
         expired: `wattpost command list --queued`"
    );
    Ok(ExitCode::SUCCESS)
}

/// A file beside `path`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(ending);
    name.into()
}

/// Makes the marker of this restore. The lock on it lasts as long as the process.
fn begin(marker: &Path, database: &Path) -> Result<File> {
    let failed = || format!("write {}", marker.display());
    let mut file = File::create_new(marker).with_context(failed)?;
    lock(&file, marker)?;
    // Before the lock, another restore may have taken it for one of an interrupted restore.
    ensure!(is_named(&file, marker), other(marker));
    file.write_all(&text_of(database))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_dir(parent(marker)))
        .with_context(failed)?;
    Ok(file)
}

/// What the marker says: the database that is being made.
fn text_of(database: &Path) -> Vec<u8> {
    let database = std::path::absolute(database).unwrap_or_else(|_| database.to_owned());
    let mut text = database.into_os_string().into_encoded_bytes();
    text.push(b'\n');
    text
}

fn other(marker: &Path) -> String {
    let directory = parent(marker).display();
    format!("another restore fills {directory}; wait for it")
}

fn lock(file: &File, marker: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => bail!(other(marker)),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock {}", marker.display()))
        }
    }
}

/// Removes what an interrupted restore has left. Returns the lock on its marker, which lasts until the next one is made.
fn clear_unfinished(data_dir: &Path, database: &Path) -> Result<Option<File>> {
    let marker = data_dir.join(RESTORING);
    let held = match File::open(&marker) {
        Ok(held) => held,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", marker.display())),
    };
    lock(&held, &marker)?;
    // Another restore may have ended since, with its database in place.
    if !is_named(&held, &marker) {
        return Ok(None);
    }
    let said = fs::read(&marker).with_context(|| format!("read {}", marker.display()))?;
    // Empty after a power cut: then nothing else was made.
    ensure!(
        said.is_empty() || said == text_of(database),
        "the restore into {} that has not finished made another database, {}; set database.url as it was then, or empty the \
         directory and remove that database",
        data_dir.display(),
        String::from_utf8_lossy(&said).trim_end()
    );
    if said.is_empty() {
        fs::remove_file(&marker).with_context(|| format!("remove {}", marker.display()))?;
        return Ok(Some(held));
    }
    let unfinished = beside(database, ".restoring");
    let mut left: Vec<PathBuf> = ["", "-wal", "-shm", "-journal"]
        .into_iter()
        .flat_map(|ending| [beside(&unfinished, ending), beside(database, ending)])
        .collect();
    left.extend(GATEWAY_FILES.map(|name| data_dir.join(name)));
    // The marker last: without it, what is left would count as data.
    left.push(marker);
    for path in left {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| {
                    format!("remove {} of an interrupted restore", path.display())
                });
            }
            _ => {}
        }
    }
    Ok(Some(held))
}

fn refuse_used(data_dir: &Path, database: &Path) -> Result<()> {
    match fs::read_dir(data_dir) {
        Ok(mut entries) => {
            if let Some(entry) = entries.next() {
                let entry = entry.with_context(|| format!("read {}", data_dir.display()))?;
                bail!(
                    "data_dir is {}, which is not empty (it has {}); stop Wattpost, move the directory away, and run this \
                     again",
                    data_dir.display(),
                    entry.file_name().to_string_lossy()
                );
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", data_dir.display())),
    }
    ensure!(
        !database.exists(),
        "{} exists; stop Wattpost, move the file away, and run this again",
        database.display()
    );
    Ok(())
}

/// Brings the copy of the database up to date, and applies the records to it that were not stored yet. Returns how many
/// chargers counted as connected to the gateway of the backup.
fn apply(settings: &Settings, file: &Path, backup: &Path, manifest: &Manifest) -> Result<u64> {
    let mut settings = settings.clone();
    settings.database.url = format!("sqlite:{}", file.display());
    let database = database::open(&settings, Use::Change)?;
    let Some(gateway) = manifest.gateway_id.map(GatewayId) else {
        return Ok(0);
    };
    if manifest.records > 0 {
        apply_records(&settings, &database, gateway, backup)?;
    }
    match database.maintenance.last_seq(gateway)? {
        Some(_) => retire(&database, gateway),
        None => Ok(0),
    }
}

fn apply_records(
    settings: &Settings,
    database: &Database,
    gateway: GatewayId,
    backup: &Path,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let applier = Applier::start(Arc::clone(&database.store), settings.consumer.clone())
        .context("start the applier")?;
    let deliver = |batch: Batch| {
        runtime
            .block_on(applier.deliver(Arc::new(batch)))
            .context("store the records of the backup")
    };
    let mut batch = Batch::new(gateway);
    let (mut records, mut bytes) = (0, 0);
    each_record(backup, |seq, record| {
        batch.push(Seq(seq), record);
        records += 1;
        bytes += record.len();
        if records < BATCH_RECORDS && bytes < BATCH_BYTES {
            return Ok(());
        }
        (records, bytes) = (0, 0);
        deliver(std::mem::replace(&mut batch, Batch::new(gateway)))
    })?;
    if !batch.is_empty() {
        deliver(batch)?;
    }
    applier.close();
    Ok(())
}
