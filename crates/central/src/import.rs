//! Imports of files: CSV or NDJSON becomes lines, and each line gets a verdict. Pure, so that the API and the command line
//! judge alike, and a dry run says exactly what the import will do.
//!
//! A column that the file does not have leaves the member of a stored object as it is; an empty cell, or `null`, removes
//! its value. CSV may have commas, semicolons or tabs, a line `sep=;`, a byte order mark, or be in UTF-16, as
//! spreadsheets write it. Columns that only an export has are skipped, and a `'` that protects a formula there is removed.

use crate::field_error::FieldError;
use crate::ports::Once;
use crate::secret::HIDDEN;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;

/// Bytes of an import at most: 8 MiB.
pub const IMPORT_BYTES_MAX: usize = 8 << 20;
/// Lines of an import at most.
pub const IMPORT_LINES_MAX: usize = 20_000;

/// The form of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A header, and a token per line.
    Csv,
    /// A JSON object per line.
    Ndjson,
}

/// Why nothing of an import can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ImportError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and what to do.
    pub why: String,
}

/// One line of an import.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub line: u64,
    /// The id of the object that it is about, if it names one and can be read.
    pub id: Option<String>,
    /// The members that it sets; `None` removes a value. Or why it is refused.
    pub members: Result<Vec<(&'static str, Option<String>)>, FieldError>,
}

impl fmt::Debug for Line {
    /// Without the values: one of them may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.members.as_ref();
        let names =
            members.map(|members| members.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        f.debug_struct("Line")
            .field("line", &self.line)
            .field("id", &self.id)
            .field("members", &names)
            .finish()
    }
}

/// The columns that a file may have.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// What a line is about, for error messages.
    pub object: &'static str,
    /// The names of the columns.
    pub names: &'static [&'static str],
    /// The column that every file has: the id.
    pub id: &'static str,
    /// Columns that only an export has: they may be there, and are skipped.
    pub read_only: &'static [&'static str],
    /// Columns whose value in NDJSON may be a number.
    pub numbers: &'static [&'static str],
    /// Whether a column has secrets: errors then show no part of a line that cannot be read.
    pub has_secrets: bool,
}

impl Columns {
    /// The column of this name; letter case is ignored.
    fn name_of(&self, text: &str) -> Option<&'static str> {
        let mut names = self.names.iter().copied();
        names.find(|name| name.eq_ignore_ascii_case(text))
    }

    fn is_read_only(&self, text: &str) -> bool {
        let mut names = self.read_only.iter();
        names.any(|name| name.eq_ignore_ascii_case(text))
    }

    fn names(&self) -> String {
        self.names.join(", ")
    }

    /// A part of a file for an error message.
    fn shown(&self, text: &str) -> String {
        match self.has_secrets {
            true => HIDDEN.to_owned(),
            false => text.chars().take(300).collect(),
        }
    }
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The object does not exist yet.
    Created,
    /// The object exists, and a member changes.
    Updated,
    /// The object exists as the line has it.
    Unchanged,
    /// The line is not valid.
    Refused,
}

/// The verdicts of an import without an idempotency key, made or refused.
pub(crate) fn verdicts_of(import: Once<Vec<Verdict>, Vec<Verdict>>) -> Vec<Verdict> {
    match import {
        Once::Done(verdicts) | Once::Repeated(verdicts) | Once::Refused(verdicts) => verdicts,
        // Only a request with a key has one of these.
        Once::Mismatch | Once::InUse => Vec::new(),
    }
}

/// The verdict on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The line's number in the file, from 1.
    pub line: u64,
    /// The id as the line has it.
    pub id: Option<String>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The members that change.
    pub changes: Vec<&'static str>,
    /// The column that is refused.
    pub column: Option<&'static str>,
    /// The refused value, at most 300 characters of it.
    pub value: Option<String>,
    /// What to do instead.
    pub cure: Option<String>,
}

impl Verdict {
    fn refused(line: &Line, error: FieldError) -> Self {
        Self {
            line: line.line,
            id: line.id.clone(),
            outcome: Outcome::Refused,
            changes: Vec::new(),
            column: Some(error.field),
            value: Some(error.value),
            cure: Some(error.cure),
        }
    }
}

/// What an import did, as it is kept under the idempotency key of its request: a few bytes for each line, because the
/// lines themselves come with a repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The columns to which the bits in `lines` belong, the lowest bit first.
    columns: Vec<String>,
    /// For each line the columns that changed, as bits: 0 if none did, [`CREATED`](Self::CREATED) if the object is new.
    lines: Vec<i64>,
}

impl Applied {
    const CREATED: i64 = -1;

    /// What is kept of the verdicts on an import that was applied: none of them is a refusal.
    #[must_use]
    pub fn of(columns: &Columns, verdicts: &[Verdict]) -> Self {
        let bits = |verdict: &Verdict| {
            let bits = columns.names.iter().enumerate();
            let changed = bits.filter(|(_, name)| verdict.changes.contains(name));
            changed.fold(0, |bits, (bit, _)| bits | (1 << bit))
        };
        Self {
            columns: columns.names.iter().map(ToString::to_string).collect(),
            lines: verdicts
                .iter()
                .map(|verdict| match verdict.outcome {
                    Outcome::Created => Self::CREATED,
                    Outcome::Updated | Outcome::Unchanged | Outcome::Refused => bits(verdict),
                })
                .collect(),
        }
    }

    /// The verdicts again, from the lines of the same file.
    #[must_use]
    pub fn verdicts(&self, columns: &Columns, lines: &[Line]) -> Vec<Verdict> {
        let judged = lines.iter().zip(&self.lines);
        judged
            .map(|(line, bits)| Verdict {
                line: line.line,
                id: line.id.clone(),
                outcome: match *bits {
                    Self::CREATED => Outcome::Created,
                    0 => Outcome::Unchanged,
                    _ => Outcome::Updated,
                },
                changes: match *bits {
                    Self::CREATED => Vec::new(),
                    bits => self.changes(columns, bits),
                },
                column: None,
                value: None,
                cure: None,
            })
            .collect()
    }

    fn changes(&self, columns: &Columns, bits: i64) -> Vec<&'static str> {
        let names = self.columns.iter().enumerate();
        names
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .filter_map(|(_, name)| columns.name_of(name))
            .collect()
    }
}

/// What is kept of an import whose lines were judged; `Err` with the verdicts, if a line is refused.
///
/// # Errors
/// The verdicts, if a line is refused.
pub fn applied(columns: &Columns, verdicts: Vec<Verdict>) -> Result<Applied, Vec<Verdict>> {
    let is_refused = |verdict: &Verdict| verdict.outcome == Outcome::Refused;
    match verdicts.iter().any(is_refused) {
        true => Err(verdicts),
        false => Ok(Applied::of(columns, &verdicts)),
    }
}

/// The verdicts on the lines of an import from what came of its request.
#[must_use]
pub fn verdicts(
    columns: &Columns,
    lines: &[Line],
    done: Once<Applied, Vec<Verdict>>,
) -> Once<Vec<Verdict>, Vec<Verdict>> {
    let shown = |applied: Applied| applied.verdicts(columns, lines);
    match done {
        Once::Done(applied) => Once::Done(shown(applied)),
        Once::Repeated(applied) => Once::Repeated(shown(applied)),
        Once::Refused(verdicts) => Once::Refused(verdicts),
        Once::Mismatch => Once::Mismatch,
        Once::InUse => Once::InUse,
    }
}

/// An object that an import creates or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported<T> {
    /// As it is stored; `None` if it is new.
    pub before: Option<T>,
    /// As it will be.
    pub after: T,
}

/// Makes the object after a line from its id, the object as it is stored, and what the line sets.
type After<'a, T> = dyn Fn(&str, Option<&T>, &Members) -> Result<T, FieldError> + 'a;

/// How lines about one kind of object are judged.
pub(crate) struct Rules<'a, K, T> {
    pub(crate) columns: Columns,
    /// Equal keys are one object.
    pub(crate) key_of: fn(&str) -> K,
    pub(crate) id_of: fn(&T) -> &str,
    /// The object after a line; `None`: there is none yet.
    pub(crate) after: &'a After<'a, T>,
    pub(crate) changes: fn(&T, &T) -> Vec<&'static str>,
}

/// The members that a line sets; `None` removes a value.
pub type Members = [(&'static str, Option<String>)];

/// Judges lines against what is stored; returns what changes only if no line is refused.
pub(crate) fn judge<K: Eq + Hash, T: Clone>(
    lines: &[Line],
    stored: &HashMap<K, T>,
    rules: &Rules<'_, K, T>,
) -> (Vec<Verdict>, Vec<Imported<T>>) {
    let mut first_lines = HashMap::new();
    let mut imported = Vec::new();
    let mut verdicts = Vec::with_capacity(lines.len());
    for line in lines {
        match judge_line(line, stored, rules, &mut first_lines) {
            Err(error) => verdicts.push(Verdict::refused(line, error)),
            Ok((before, after, changes)) => {
                let outcome = match (before, changes.is_empty()) {
                    (None, _) => Outcome::Created,
                    (Some(_), true) => Outcome::Unchanged,
                    (Some(_), false) => Outcome::Updated,
                };
                verdicts.push(Verdict {
                    line: line.line,
                    id: Some((rules.id_of)(&after).to_owned()),
                    outcome,
                    changes,
                    column: None,
                    value: None,
                    cure: None,
                });
                if outcome != Outcome::Unchanged {
                    let before = before.cloned();
                    imported.push(Imported { before, after });
                }
            }
        }
    }
    if verdicts
        .iter()
        .any(|verdict| verdict.outcome == Outcome::Refused)
    {
        imported.clear();
    }
    (verdicts, imported)
}

type Judged<'a, T> = (Option<&'a T>, T, Vec<&'static str>);

fn judge_line<'a, K: Eq + Hash, T>(
    line: &Line,
    stored: &'a HashMap<K, T>,
    rules: &Rules<'_, K, T>,
    first_lines: &mut HashMap<K, u64>,
) -> Result<Judged<'a, T>, FieldError> {
    let members = line.members.as_ref().map_err(Clone::clone)?;
    let id = line.id.as_deref().unwrap_or_default();
    let key = (rules.key_of)(id);
    let before = stored.get(&key);
    let after = (rules.after)(id, before, members)?;
    match first_lines.entry(key) {
        Entry::Occupied(first) => {
            return Err(FieldError {
                field: rules.columns.id,
                value: id.to_owned(),
                cure: format!(
                    "line {} has the same {} (letter case is ignored); leave one of the lines out",
                    first.get(),
                    rules.columns.object,
                ),
            });
        }
        Entry::Vacant(place) => {
            place.insert(line.line);
        }
    }
    let changes = match before {
        None => Vec::new(),
        Some(before) => (rules.changes)(before, &after),
    };
    Ok((before, after, changes))
}

/// Reads the lines of an import.
///
/// # Errors
/// When the whole file is wrong: its encoding, its header, or its length.
pub fn read(columns: &Columns, format: Format, bytes: &[u8]) -> Result<Vec<Line>, ImportError> {
    let text = decoded(bytes)?;
    let lines = match format {
        Format::Csv => read_csv(columns, &text)?,
        Format::Ndjson => read_ndjson(columns, &text)?,
    };
    if lines.is_empty() {
        return Err(ImportError {
            line: 1,
            why: format!("there is no {} in it", columns.object),
        });
    }
    Ok(lines)
}

/// What a column of CSV sets: a member, or nothing.
type Column = Option<&'static str>;

type ReadMembers = Result<Vec<(&'static str, Option<String>)>, FieldError>;

fn line_of(known: &Columns, line: u64, members: ReadMembers) -> Line {
    let id = members.as_ref().ok().and_then(|members| {
        let (_, value) = members.iter().find(|(name, _)| *name == known.id)?;
        value.clone()
    });
    Line { line, id, members }
}

/// The text of the bytes: UTF-8 with or without a byte order mark, or UTF-16 with one.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, ImportError> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, _) = rest.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
        String::from_utf16(&units)
            .map(Cow::Owned)
            .map_err(|_| ImportError {
                line: 1,
                why: "it is not valid UTF-16; save it as \"CSV UTF-8\"".to_owned(),
            })
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        rest => utf8(rest),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, ImportError> {
    std::str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let ends = before.iter().filter(|byte| **byte == b'\n').count();
            ImportError {
                line: ends as u64 + 1,
                why: "it is not UTF-8; save the file as \"CSV UTF-8\"".to_owned(),
            }
        })
}

fn too_many(line: u64) -> ImportError {
    ImportError {
        line,
        why: format!("an import has at most {IMPORT_LINES_MAX} lines; split the file"),
    }
}

fn read_csv(known: &Columns, text: &str) -> Result<Vec<Line>, ImportError> {
    // A spreadsheet's line that names the separator is not part of the table.
    let first = text.lines().next().unwrap_or_default();
    let (separator, table, skipped) = match first.strip_prefix("sep=").map(str::as_bytes) {
        Some([separator]) => {
            let table = text.split_once('\n').map_or("", |(_, rest)| rest);
            (*separator, table, 1)
        }
        _ => (separator_of(first), text, 0),
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .from_reader(table.as_bytes());
    let mut columns: Vec<Column> = Vec::new();
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    let mut counter = LineCounter {
        text: table,
        at: 0,
        line: 1 + skipped,
    };
    loop {
        let start = reader.position().byte();
        let is_read = reader.read_record(&mut record);
        let line = counter.line_of(start);
        let is_read = is_read.map_err(|error| ImportError {
            line,
            why: error.to_string(),
        })?;
        if !is_read {
            return Ok(lines);
        }
        if columns.is_empty() {
            columns = header(known, &record, line)?;
            continue;
        }
        // A spreadsheet writes lines of separators for empty rows.
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if lines.len() == IMPORT_LINES_MAX {
            return Err(too_many(line));
        }
        lines.push(line_of(known, line, cells(known, &columns, &record)));
    }
}

/// Numbers of lines by their position. The parser's own are one too small where lines end with CR and LF.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl LineCounter<'_> {
    /// The line of the first character at `start` or later that does not end a line. `start` never decreases.
    fn line_of(&mut self, start: u64) -> u64 {
        let bytes = self.text.as_bytes();
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        while let Some(byte) = bytes.get(self.at) {
            if self.at >= start && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

/// The separator that the header has most of.
fn separator_of(header: &str) -> u8 {
    let count = |separator: u8| header.bytes().filter(|byte| *byte == separator).count();
    let mut best = b',';
    for separator in [b';', b'\t'] {
        if count(separator) > count(best) {
            best = separator;
        }
    }
    best
}

fn header(
    known: &Columns,
    record: &csv::StringRecord,
    line: u64,
) -> Result<Vec<Column>, ImportError> {
    let names = known.names();
    let wrong = |why: String| ImportError { line, why };
    let mut columns = Vec::new();
    for (number, text) in (1..).zip(record) {
        let text = text.trim();
        if known.is_read_only(text) {
            columns.push(None);
            continue;
        }
        let name = known.name_of(text).ok_or_else(|| {
            let text = match known.has_secrets {
                true => format!("cell {number}"),
                false => format!("{text:?}"),
            };
            wrong(format!(
                "{text} is not a column; the first line has the names of the columns, which can be {names}"
            ))
        })?;
        if columns.contains(&Some(name)) {
            return Err(wrong(format!("the column {name} is there twice")));
        }
        columns.push(Some(name));
    }
    if !columns.contains(&Some(known.id)) {
        return Err(wrong(format!(
            "there is no column {}; the columns can be {names}",
            known.id
        )));
    }
    Ok(columns)
}

fn cells(known: &Columns, columns: &[Column], record: &csv::StringRecord) -> ReadMembers {
    if record.len() != columns.len() {
        return Err(FieldError {
            field: known.id,
            value: known.shown(record.get(0).unwrap_or_default()),
            cure: format!(
                "the line has {} cells and the header has {}; put cells that contain the separator in quotation marks",
                record.len(),
                columns.len()
            ),
        });
    }
    let values = columns.iter().zip(record).filter_map(|(name, cell)| {
        let value = Some(unprotected(cell)).filter(|cell| !cell.is_empty());
        Some(((*name)?, value.map(str::to_owned)))
    });
    Ok(values.collect())
}

/// The cell without the `'` that keeps a spreadsheet from running it as a formula.
fn unprotected(cell: &str) -> &str {
    let is_formula = cell
        .trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r']);
    cell.strip_prefix('\'')
        .filter(|_| is_formula)
        .unwrap_or(cell)
}

fn read_ndjson(known: &Columns, text: &str) -> Result<Vec<Line>, ImportError> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        if lines.len() == IMPORT_LINES_MAX {
            return Err(too_many(number));
        }
        lines.push(line_of(known, number, json_members(known, line)));
    }
    Ok(lines)
}

fn json_members(known: &Columns, line: &str) -> ReadMembers {
    let wrong = |value: &str, cure: String| FieldError {
        field: known.id,
        value: known.shown(value),
        cure,
    };
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(wrong(line, "give a JSON object on each line".to_owned())),
        Err(error) => return Err(wrong(line, format!("give valid JSON ({error})"))),
    };
    let mut members = Vec::new();
    for (name, value) in object {
        if known.is_read_only(&name) {
            continue;
        }
        let found = known.names.iter().copied().find(|found| *found == name);
        let found = found.ok_or_else(|| FieldError {
            field: known.id,
            value: name.chars().take(300).collect(),
            cure: format!("give only the members {}", known.names()),
        })?;
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            Value::Number(number) if known.numbers.contains(&found) => Some(number.to_string()),
            other => {
                return Err(FieldError {
                    field: found,
                    value: known.shown(&other.to_string()),
                    cure: "give a text in quotation marks, or null".to_owned(),
                });
            }
        };
        members.push((found, value));
    }
    if !members.iter().any(|(name, _)| *name == known.id) {
        return Err(wrong(line, format!("give the member {}", known.id)));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_before_a_formula_is_removed() {
        for (cell, text) in [
            ("'=1+1", "=1+1"),
            ("''=1", "'=1"),
            ("'a", "'a"),
            ("-5", "-5"),
            ("''-5", "'-5"),
        ] {
            assert_eq!(unprotected(cell), text);
        }
    }
}
