//! What `token import` and `charger import` have in common: the file, and the verdicts that are printed.

use crate::SettingsArgs;
use crate::database::Use;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::import::{Format, IMPORT_BYTES_MAX, ImportError, Line, Outcome, Verdict};
use clap::Args;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `token import` and `charger import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// The file; `.ndjson` and `.jsonl` are NDJSON, others CSV
    file: PathBuf,
    /// Print the verdicts and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl ImportArgs {
    /// The lines of the file, as `read` reads them.
    pub(crate) fn lines(
        &self,
        read: fn(Format, &[u8]) -> Result<Vec<Line>, ImportError>,
    ) -> Result<Vec<Line>> {
        let bytes = read_bounded(&self.file)?;
        let extension = self.file.extension().unwrap_or_default();
        let is_ndjson = ["ndjson", "jsonl"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known));
        let format = match is_ndjson {
            true => Format::Ndjson,
            false => Format::Csv,
        };
        read(format, &bytes).with_context(|| format!("read {}", self.file.display()))
    }

    /// What the database is opened for.
    pub(crate) const fn purpose(&self) -> Use {
        match self.dry_run {
            true => Use::Read,
            false => Use::Change,
        }
    }

    /// Prints the verdicts; the exit code is 1 if a line is refused.
    pub(crate) fn print(&self, verdicts: &[Verdict]) -> ExitCode {
        let count = |outcome| {
            verdicts
                .iter()
                .filter(|verdict| verdict.outcome == outcome)
                .count()
        };
        for verdict in verdicts {
            if verdict.outcome != Outcome::Unchanged {
                print_line!("{}", verdict_line(verdict));
            }
        }
        let refused = count(Outcome::Refused);
        print_line!(
            "{} created, {} updated, {} unchanged, {refused} refused{}",
            count(Outcome::Created),
            count(Outcome::Updated),
            count(Outcome::Unchanged),
            match (self.dry_run, refused) {
                (true, _) => "; nothing was changed (--dry-run)",
                (false, 0) => "",
                (false, _) => "; nothing was changed, because a line is refused",
            }
        );
        match refused {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

fn read_bounded(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = File::open(file).with_context(|| format!("open {}", file.display()))?;
    let bound = IMPORT_BYTES_MAX as u64 + 1;
    opened
        .take(bound)
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {}", file.display()))?;
    if bytes.len() > IMPORT_BYTES_MAX {
        bail!(
            "{} is longer than {} MiB; split it",
            file.display(),
            IMPORT_BYTES_MAX >> 20
        );
    }
    Ok(bytes)
}

fn verdict_line(verdict: &Verdict) -> String {
    let id = verdict.id.as_deref().unwrap_or("(no id)");
    let mut line = format!("line {}: {id}: ", verdict.line);
    match verdict.outcome {
        Outcome::Created => line.push_str("created"),
        Outcome::Updated => line.push_str(&format!("updated ({})", verdict.changes.join(", "))),
        Outcome::Unchanged => line.push_str("unchanged"),
        Outcome::Refused => line.push_str(&format!(
            "refused: {} cannot be {:?}: {}",
            verdict.column.unwrap_or_default(),
            verdict.value.as_deref().unwrap_or_default(),
            verdict.cure.as_deref().unwrap_or_default()
        )),
    }
    line
}
