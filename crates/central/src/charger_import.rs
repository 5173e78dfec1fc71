//! Imports of chargers: what a line of a file ([`crate::import`]) makes of a charger's settings.
//!
//! An operator who takes over or installs a fleet has its identities, sites and passwords in a table. The passwords are
//! hashed before anything is stored ([`hash_password`]), and no verdict or error has one.

use crate::charger_fields::{self, PASSWORD};
use crate::field_error::{FieldError, refused};
use crate::import::{self, Columns, Format, ImportError, Imported, Line, Rules, Verdict};
use crate::model::{ChargerKey, ChargerProfile};
use crate::secret::HIDDEN;
use std::collections::{HashMap, HashSet};

/// The columns that a file of chargers may have.
pub const COLUMNS: Columns = Columns {
    object: "charger",
    names: &charger_fields::NAMES,
    id: "charger_id",
    read_only: &[],
    numbers: &["frame_bytes_max"],
    has_secrets: true,
};

/// Passwords in a file at most: each takes tens of milliseconds to hash.
pub const PASSWORDS_MAX: usize = 250;

/// Reads the lines of an import.
///
/// # Errors
/// When the whole file is wrong: its encoding, its header, its length, or more than [`PASSWORDS_MAX`] passwords.
pub fn read(format: Format, bytes: &[u8]) -> Result<Vec<Line>, ImportError> {
    let lines = import::read(&COLUMNS, format, bytes)?;
    let mut with_password = lines.iter().filter(|line| password(line).is_some());
    match with_password.nth(PASSWORDS_MAX) {
        None => Ok(lines),
        Some(line) => Err(ImportError {
            line: line.line,
            why: format!(
                "an import has at most {PASSWORDS_MAX} passwords, because each is hashed; split the file"
            ),
        }),
    }
}

/// Whether a line has a password.
#[must_use]
pub fn has_password(line: &Line) -> bool {
    password(line).is_some()
}

/// The keys of the chargers that the lines are about.
pub fn keys(lines: &[Line]) -> impl Iterator<Item = ChargerKey> + '_ {
    let ids = lines.iter().filter_map(|line| line.id.as_deref());
    ids.map(ChargerKey::of)
}

/// What is done with passwords.
#[derive(Debug, Clone, Copy)]
pub struct Passwords {
    /// What a password must be, for error messages.
    pub expected: &'static str,
    /// Whether a charger may have it.
    pub is_valid: fn(&str) -> bool,
    /// Whether it is the password of a hash.
    pub fits: fn(&str, &str) -> bool,
    /// Its hash.
    pub hash: fn(&str) -> Result<String, String>,
}

/// The hashes of the stored passwords.
#[must_use]
pub fn stored_hashes(stored: Vec<ChargerProfile>) -> HashMap<ChargerKey, String> {
    let hashes = stored.into_iter().filter_map(|charger| {
        let key = ChargerKey::of(&charger.charger_id);
        charger.password_hash.map(|hash| (key, hash))
    });
    hashes.collect()
}

/// Replaces the password of a line, if it has one, by its hash. A line with the password that the charger already has
/// leaves it as it is. Takes tens of milliseconds.
///
/// # Errors
/// When the password cannot be hashed.
pub fn hash_password(
    line: &mut Line,
    stored: &HashMap<ChargerKey, String>,
    passwords: &Passwords,
) -> Result<(), String> {
    let Some(password) = password(line) else {
        return Ok(());
    };
    if !(passwords.is_valid)(password) {
        let cure = format!("give {}", passwords.expected);
        line.members = Err(refused(PASSWORD, HIDDEN, cure));
        return Ok(());
    }
    let key = line.id.as_deref().map(ChargerKey::of);
    let stored = key.and_then(|key| stored.get(&key));
    let hash = match stored {
        Some(hash) if (passwords.fits)(password, hash) => hash.clone(),
        _ => (passwords.hash)(password)?,
    };
    set_password(line, hash);
    Ok(())
}

fn password(line: &Line) -> Option<&str> {
    let members = line.members.as_ref().ok()?;
    let (_, value) = members.iter().find(|(name, _)| *name == PASSWORD)?;
    value.as_deref()
}

fn set_password(line: &mut Line, hash: String) {
    if let Ok(members) = &mut line.members {
        for (name, value) in members {
            if *name == PASSWORD {
                *value = Some(hash.clone());
            }
        }
    }
}

/// Judges lines, whose passwords are hashed, against what is stored and the ids of the sites; returns what changes only if
/// no line is refused.
#[must_use]
pub fn judge(
    lines: &[Line],
    stored: &HashMap<ChargerKey, ChargerProfile>,
    sites: &HashSet<String>,
) -> (Vec<Verdict>, Vec<Imported<ChargerProfile>>) {
    let rules = Rules {
        columns: COLUMNS,
        key_of: ChargerKey::of,
        id_of: |charger: &ChargerProfile| &charger.charger_id,
        after: &|id, before, members| {
            let mut after = before.cloned().unwrap_or_else(|| ChargerProfile::new(id));
            for (name, value) in members {
                charger_fields::set(&mut after, name, value.as_deref())?;
            }
            match &after.site {
                Some(site) if !sites.contains(site) => Err(no_such_site(site)),
                _ => Ok(after),
            }
        },
        changes: charger_fields::changes,
    };
    import::judge(lines, stored, &rules)
}

fn no_such_site(site: &str) -> FieldError {
    let cure =
        "there is no site with this id; add it with `POST /api/v1/sites` or `wattpost site add`";
    refused("site", site, cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Outcome;
    use crate::model::Registration;

    const PASSWORDS: Passwords = Passwords {
        expected: "at least 8 bytes",
        is_valid: |password| password.len() >= 8,
        fits: |password, hash| hash == format!("hash of {password}"),
        hash: |password| Ok(format!("hash of {password}")),
    };

    fn judged(text: &str, stored: &[ChargerProfile]) -> (Vec<Verdict>, Vec<ChargerProfile>) {
        let mut lines = read(Format::Csv, text.as_bytes()).expect("a table");
        let hashes = stored_hashes(stored.to_vec());
        for line in &mut lines {
            hash_password(line, &hashes, &PASSWORDS).expect("a hash");
        }
        let by_key = stored
            .iter()
            .map(|charger| (ChargerKey::of(&charger.charger_id), charger.clone()));
        let sites = HashSet::from(["depot-7".to_owned()]);
        let (verdicts, imported) = judge(&lines, &by_key.collect(), &sites);
        (
            verdicts,
            imported.into_iter().map(|change| change.after).collect(),
        )
    }

    #[test]
    fn a_second_import_of_the_same_file_changes_nothing() {
        let text = "charger_id,admission,password,site\nCP-1,pending,secret-1,depot-7\nCP-2,,,\n";
        let (verdicts, chargers) = judged(text, &[]);
        assert!(
            verdicts
                .iter()
                .all(|verdict| verdict.outcome == Outcome::Created)
        );
        assert_eq!(chargers[0].registration, Registration::Pending);
        assert_eq!(
            chargers[0].password_hash.as_deref(),
            Some("hash of secret-1")
        );
        assert_eq!(chargers[0].site.as_deref(), Some("depot-7"));
        assert_eq!(chargers[1], ChargerProfile::new("CP-2"));
        let (verdicts, again) = judged(text, &chargers);
        assert!(
            verdicts
                .iter()
                .all(|verdict| verdict.outcome == Outcome::Unchanged)
        );
        assert_eq!(again, []);
        let (verdicts, changed) = judged("charger_id,password\ncp-1,secret-2\nCP-2,\n", &chargers);
        assert_eq!(verdicts[0].changes, ["charger_id", "password"]);
        assert_eq!(verdicts[1].outcome, Outcome::Unchanged);
        assert_eq!(
            changed[0].site.as_deref(),
            Some("depot-7"),
            "a column that the file lacks"
        );
    }

    #[test]
    fn no_verdict_and_no_error_has_a_password() {
        let texts = [
            "password,charger_id\nhunter2,CP-1\n",
            "password,charger_id\nhunter2hunter2,CP-1,x\n",
            "password,charger_id\nhunter2hunter2,a/b\nhunter2hunter2,CP-1\nhunter2hunter2,cp-1\n",
            "charger_id,password,site\nCP-1,hunter2hunter2,nowhere\n",
        ];
        for text in texts {
            let (verdicts, imported) = judged(text, &[]);
            assert!(
                verdicts
                    .iter()
                    .any(|verdict| verdict.outcome == Outcome::Refused)
            );
            assert!(
                imported.is_empty() && !format!("{verdicts:?}").contains("hunter2"),
                "{verdicts:?}"
            );
        }
        let json = "{\"charger_id\": \"CP-1\", \"password\": 123456789}\n{\"password\": \"hunter2hunter2\"}\nhunter2\n";
        let lines = read(Format::Ndjson, json.as_bytes()).expect("lines");
        let (verdicts, _) = judge(&lines, &HashMap::new(), &HashSet::new());
        let shown = format!("{verdicts:?}{lines:?}");
        assert!(
            verdicts
                .iter()
                .all(|verdict| verdict.outcome == Outcome::Refused)
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("123456789"),
            "{shown}"
        );
        let error = read(Format::Csv, b"hunter2hunter2,CP-1\n").expect_err("no header");
        assert!(
            error.why.contains("cell 1") && !error.why.contains("hunter2"),
            "{error}"
        );
        assert!(!format!("{:?}", read(Format::Csv, texts[0].as_bytes())).contains("hunter2"));
    }

    #[test]
    fn more_passwords_than_can_be_hashed_in_time_are_refused() {
        let lines: String = (0..=PASSWORDS_MAX)
            .map(|n| format!("CP-{n},secret-{n}\n"))
            .collect();
        let error = read(
            Format::Csv,
            format!("charger_id,password\n{lines}").as_bytes(),
        )
        .expect_err("too many");
        assert_eq!(error.line, PASSWORDS_MAX as u64 + 2);
        let without = lines.replace(",secret-", ",\nX");
        assert!(
            read(
                Format::Csv,
                format!("charger_id,password\n{without}").as_bytes()
            )
            .is_ok()
        );
    }
}
