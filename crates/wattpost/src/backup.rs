//! `wattpost backup`: a copy of the data directory from which nothing acknowledged is missing, made while `serve` runs.
//!
//! A record that is acknowledged is in the journal until it is stored. The journal is read first and the database is copied
//! afterwards, so each record that was acknowledged before the backup began is in at least one of the two. The journal's
//! files are not copied, only the records in them: a restored journal would give numbers a second time that records have
//! which were acknowledged after the backup ([`crate::restore`]).

use crate::SettingsArgs;
use crate::config::{DatabaseAt, Settings};
use crate::data_dir::{DataDir, sync_dir, write_durably};
use crate::output::print_line;
use anyhow::{Context, Result, bail, ensure};
use central::GatewayId;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The format of the backups that this release writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// What describes a backup; it is written last.
const MANIFEST: &str = "manifest.json";
/// The copy of the database.
pub(crate) const DATABASE: &str = "wattpost.db";
/// The records that were not stored yet: for each its number, its length, its bytes.
pub(crate) const RECORDS: &str = "records";
/// Files of the gateway that are copied as they are.
pub(crate) const GATEWAY_FILES: [&str; 2] = ["directory.json", "new-passwords.json"];
/// Held while a backup is written.
const LOCK: &str = "lock";
/// Bytes that are copied at a time.
const COPIED_BYTES: usize = 1 << 20;
/// How often the progress is printed.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// No record of the journal is longer.
const RECORD_BYTES_MAX: u32 = 64 << 20;

/// Flags of `wattpost backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// The directory of the backup. It must not exist, and belongs on another disk
    #[arg(value_name = "DIR", required = true)]
    directory: Option<PathBuf>,
}

/// Subcommands of `wattpost backup`.
#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Check that a backup is complete and unchanged, and that its database is sound.
    Verify(VerifyArgs),
}

/// Flags of `backup verify`.
#[derive(Debug, Args)]
struct VerifyArgs {
    /// The directory of the backup
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The version of the program that wrote it.
    pub(crate) wattpost: String,
    /// When the backup began: what was acknowledged before is in it.
    pub(crate) began_at: String,
    /// The gateway whose records these are; `None` if none has run.
    pub(crate) gateway_id: Option<uuid::Uuid>,
    /// The version of the database's schema.
    pub(crate) schema: u32,
    /// How many records were not stored yet.
    pub(crate) records: u64,
    /// All other files.
    pub(crate) files: Vec<Piece>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// The BLAKE3 hash of its content, in hexadecimal digits.
    pub(crate) blake3: String,
}

/// Exit code 1 means that there is no backup, or that it is damaged.
pub(crate) fn run(args: &BackupArgs) -> Result<ExitCode> {
    match (&args.command, &args.directory) {
        (Some(BackupCommand::Verify(args)), _) => verify(&args.directory),
        (None, Some(directory)) => back_up(&args.settings.load()?, directory),
        (None, None) => bail!("name the directory of the backup"),
    }
}

fn back_up(settings: &Settings, directory: &Path) -> Result<ExitCode> {
    let database = embedded_database(settings)?;
    ensure!(
        database.exists(),
        "there is no database at {}; say where the data directory is with --data-dir",
        database.display()
    );
    ensure!(
        !directory.exists(),
        "{} exists; give the backup a new name",
        directory.display()
    );
    let (partial, lock) = partial_directory(directory)?;
    let manifest = fill(settings, &database, &partial)?;
    let text = serde_json::to_vec_pretty(&manifest).context("write the manifest as JSON")?;
    write_durably(&partial.join(MANIFEST), &text)
        .with_context(|| format!("write {}", partial.join(MANIFEST).display()))?;
    // Its name tells that it is complete, also after a power cut.
    fs::remove_file(partial.join(LOCK))
        .and_then(|()| sync_dir(&partial))
        .and_then(|()| fs::rename(&partial, directory))
        .and_then(|()| sync_dir(parent(directory)))
        .with_context(|| {
            format!(
                "give the backup its name, {}; it is complete in {}",
                directory.display(),
                partial.display()
            )
        })?;
    drop(lock);
    let bytes: u64 = manifest.files.iter().map(|piece| piece.bytes).sum();
    print_line!(
        "backup in {}: everything acknowledged until {}, {} MiB, of it {} records that were not stored yet",
        directory.display(),
        manifest.began_at,
        bytes.div_ceil(1 << 20),
        manifest.records
    );
    Ok(ExitCode::SUCCESS)
}

/// The database file of a `serve` without other servers.
pub(crate) fn embedded_database(settings: &Settings) -> Result<PathBuf> {
    ensure!(
        !settings.has_broker(),
        "broker.url is set, and records that wait in RabbitMQ would not be in the backup; `backup` and `restore` are for \
         `serve` with SQLite and without RabbitMQ, see docs/operations.md (Backup)"
    );
    match settings.database_at()? {
        DatabaseAt::Sqlite(path) => Ok(path),
        DatabaseAt::Postgres(_) => bail!(
            "database.url names PostgreSQL; back it up with pg_dump or continuous archiving, see docs/database.md \
             (Backup)"
        ),
    }
}

/// The directory in which the backup is written until it is complete, and the lock on it.
fn partial_directory(directory: &Path) -> Result<(PathBuf, File)> {
    let mut name = directory
        .file_name()
        .map(OsString::from)
        .with_context(|| format!("{} is not a name for a directory", directory.display()))?;
    name.push(".partial");
    let partial = directory.with_file_name(name);
    let create = |partial: &Path| DirBuilder::new().mode(0o700).create(partial);
    let failed = || {
        format!(
            "create {}; the directory above it must exist and be writable",
            partial.display()
        )
    };
    let mut held = None;
    match create(&partial) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Another backup writes it, or one was killed. The lock is held until there is a new one: a third run must not
            // get it meanwhile.
            held = Some(locked(&partial)?);
            fs::remove_dir_all(&partial)
                .with_context(|| format!("remove the incomplete {}", partial.display()))?;
            create(&partial).with_context(failed)?;
        }
        created => created.with_context(failed)?,
    }
    let lock = locked(&partial)?;
    drop(held);
    Ok((partial, lock))
}

fn locked(partial: &Path) -> Result<File> {
    let path = partial.join(LOCK);
    let lock = new_file(&path)?;
    let other = || format!("another backup writes {}; wait for it", partial.display());
    match lock.try_lock() {
        Ok(()) => {
            ensure!(is_named(&lock, &path), other());
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => bail!(other()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock {}", path.display()))
        }
    }
}

/// Whether `path` is still the name of this file. After another process has removed it, a lock on it says nothing.
pub(crate) fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(named)) => (file.dev(), file.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// The journal before the database: see the module.
fn fill(settings: &Settings, database: &Path, partial: &Path) -> Result<Manifest> {
    let began_at = crate::database::now().to_string();
    let data = DataDir::existing(&settings.data_dir)?;
    let gateway_id = match &data {
        Some(data) => data.known_gateway_id()?,
        None => None,
    };
    let records = match data.as_ref().map(DataDir::journal) {
        Some(journal) if journal.is_dir() => copy_records(&journal, gateway_id, partial)?,
        _ => copy_none(partial)?,
    };
    let copied = partial.join(DATABASE);
    drop(new_file(&copied)?);
    with_progress(&copied, || store::copy_sqlite(database, &copied))
        .with_context(|| format!("copy {} to {}", database.display(), copied.display()))?;
    let schema = store::check_sqlite(&copied)
        .with_context(|| format!("check the copy {}", copied.display()))?;
    let mut names = vec![RECORDS, DATABASE];
    for name in GATEWAY_FILES {
        let from = settings.data_dir.join(name);
        match File::open(&from) {
            Ok(mut from) => {
                let mut to = new_file(&partial.join(name))?;
                io::copy(&mut from, &mut to)
                    .and_then(|_| to.sync_all())
                    .with_context(|| format!("copy {name}"))?;
                names.push(name);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("read {}", from.display()));
            }
        }
    }
    let files = names
        .into_iter()
        .map(|name| Piece::of(partial, name))
        .collect::<Result<_>>()?;
    Ok(Manifest {
        format: FORMAT,
        wattpost: env!("CARGO_PKG_VERSION").to_owned(),
        began_at,
        gateway_id: gateway_id.map(|id| id.0),
        schema,
        records,
        files,
    })
}

fn copy_none(partial: &Path) -> Result<u64> {
    new_file(&partial.join(RECORDS))?
        .sync_all()
        .context("sync the records")?;
    Ok(0)
}

fn copy_records(journal: &Path, gateway: Option<GatewayId>, partial: &Path) -> Result<u64> {
    let mut out = BufWriter::new(new_file(&partial.join(RECORDS))?);
    let read = journal::read_live(journal, |seq, bytes| {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        out.write_all(&seq.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(bytes)
    })?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .context("write the records that are not stored yet")?;
    ensure!(
        read.records == 0 || gateway.is_some(),
        "{} has records, but the data directory has no gateway-id; start the gateway once",
        journal.display()
    );
    Ok(read.records)
}

/// Prints how much of `file` is written while `work` runs.
fn with_progress<T>(file: &Path, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(PROGRESS_EVERY) == Err(RecvTimeoutError::Timeout) {
                let bytes = fs::metadata(file).map_or(0, |file| file.len());
                eprintln!("{}: {} MiB written", file.display(), bytes >> 20);
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn new_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("create {}", path.display()))
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn verify(directory: &Path) -> Result<ExitCode> {
    let manifest = Manifest::read(directory)?;
    for piece in &manifest.files {
        piece.check(directory)?;
    }
    let records = manifest.check_content(directory)?;
    print_line!(
        "the backup in {} is complete: made by Wattpost {} of everything acknowledged until {}, {records} records that \
         were not stored yet",
        directory.display(),
        manifest.wattpost,
        manifest.began_at
    );
    Ok(ExitCode::SUCCESS)
}

impl Manifest {
    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// When there is none, or when it is of a newer release.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "{} is no backup, or one that was not completed: it has no {MANIFEST}; use another one, or make one with \
                 `wattpost backup`",
                directory.display()
            ),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
            wattpost: String,
        }
        let damaged = || format!("{} is damaged; use another backup", path.display());
        let Format { format, wattpost } = serde_json::from_slice(&text).with_context(damaged)?;
        ensure!(
            format <= FORMAT,
            "the backup in {} has format {format}, and this program reads formats up to {FORMAT}; use Wattpost {wattpost} \
             or newer",
            directory.display()
        );
        let manifest: Self = serde_json::from_slice(&text).with_context(damaged)?;
        let has = |name: &str| manifest.files.iter().any(|piece| piece.name == name);
        ensure!(has(DATABASE) && has(RECORDS), damaged());
        let is_known =
            |name: &str| [DATABASE, RECORDS].contains(&name) || GATEWAY_FILES.contains(&name);
        // A name is joined to paths.
        ensure!(
            manifest.files.iter().all(|piece| is_known(&piece.name)),
            damaged()
        );
        ensure!(
            manifest.schema <= store::SCHEMA_VERSION,
            "the database in {} has schema {}, and this program knows schemas up to {}; use Wattpost {} or newer",
            directory.display(),
            manifest.schema,
            store::SCHEMA_VERSION,
            manifest.wattpost
        );
        Ok(manifest)
    }

    /// Checks what the files hold; returns the number of records.
    fn check_content(&self, directory: &Path) -> Result<u64> {
        let database = directory.join(DATABASE);
        store::check_sqlite(&database).with_context(|| format!("check {}", database.display()))?;
        let mut records = 0;
        each_record(directory, |_, _| {
            records += 1;
            Ok(())
        })?;
        ensure!(
            records == self.records,
            "{} has {records} records instead of {}",
            directory.join(RECORDS).display(),
            self.records
        );
        Ok(records)
    }
}

/// Passes on the records of a backup that were not stored yet, in the order of their numbers.
///
/// # Errors
/// When the file cannot be read or is damaged, and every error of `each`.
pub(crate) fn each_record(
    directory: &Path,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let path = directory.join(RECORDS);
    let damaged = || format!("{} is damaged", path.display());
    let file = File::open(&path).with_context(|| format!("read {}", path.display()))?;
    let mut left = file.metadata().with_context(damaged)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut bytes = Vec::new();
    while left > 0 {
        let mut head = [0; 12];
        file.read_exact(&mut head).with_context(damaged)?;
        let (mut seq, mut length) = ([0; 8], [0; 4]);
        seq.copy_from_slice(&head[..8]);
        length.copy_from_slice(&head[8..]);
        let length = u32::from_le_bytes(length);
        ensure!(length <= RECORD_BYTES_MAX, damaged());
        bytes.resize(length as usize, 0);
        file.read_exact(&mut bytes).with_context(damaged)?;
        each(u64::from_le_bytes(seq), &bytes)?;
        left = left.saturating_sub(head.len() as u64 + u64::from(length));
    }
    Ok(())
}

impl Piece {
    fn of(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        let read = || format!("read {}", path.display());
        let mut file = File::open(&path).with_context(read)?;
        let mut hasher = blake3::Hasher::new();
        let bytes = io::copy(&mut file, &mut hasher).with_context(read)?;
        Ok(Self {
            name: name.to_owned(),
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        })
    }

    /// Checks that the file is as it was written.
    ///
    /// # Errors
    /// When it is not; the error names it.
    pub(crate) fn check(&self, directory: &Path) -> Result<()> {
        let found = Self::of(directory, &self.name)?;
        ensure!(
            found == *self,
            "{} is damaged: it has {} bytes with hash {} instead of {} bytes with hash {}; use another backup",
            directory.join(&self.name).display(),
            found.bytes,
            found.blake3,
            self.bytes,
            self.blake3
        );
        Ok(())
    }

    /// Copies the file to `to`, durably, and checks what was copied.
    ///
    /// # Errors
    /// When it cannot be copied, or is not as it was written.
    pub(crate) fn copy(&self, directory: &Path, to: &Path) -> Result<()> {
        let from = directory.join(&self.name);
        let read = || format!("read {}", from.display());
        let mut source = File::open(&from).with_context(read)?;
        let mut file = new_file(to)?;
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; COPIED_BYTES];
        loop {
            let length = source.read(&mut block).with_context(read)?;
            if length == 0 {
                break;
            }
            hasher.update(&block[..length]);
            file.write_all(&block[..length])
                .with_context(|| format!("write {}", to.display()))?;
        }
        file.sync_all()
            .with_context(|| format!("sync {}", to.display()))?;
        ensure!(
            hasher.finalize().to_hex().as_str() == self.blake3,
            "{} is damaged; use another backup",
            from.display()
        );
        Ok(())
    }
}
