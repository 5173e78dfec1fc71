//! Imports of tokens: CSV or NDJSON becomes lines, and each line gets a verdict. Pure, so that the API and the command
//! line judge alike, and a dry run says exactly what the import will do.
//!
//! A column that the file does not have leaves the member of a stored token as it is; an empty cell, or `null`, removes
//! its value. CSV may have commas, semicolons or tabs, a line `sep=;`, a byte order mark, or be in UTF-16, as
//! spreadsheets write it. A `'` that protects a formula, as exports have it, is removed.

use crate::model::Token;
use crate::token_fields::{self, FieldError};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub line: u64,
    /// The members that it sets; `None` removes a value. Or why it is refused.
    pub members: Result<Vec<(&'static str, Option<String>)>, FieldError>,
}

impl Line {
    fn id(&self) -> Option<&str> {
        let members = self.members.as_ref().ok()?;
        let (_, value) = members.iter().find(|(name, _)| *name == "id")?;
        value.as_deref()
    }

    /// The key of the token that it is about, if it names one.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        self.id().map(Token::key_of)
    }
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The token does not exist yet.
    Created,
    /// The token exists, and a member changes.
    Updated,
    /// The token exists as the line has it.
    Unchanged,
    /// The line is not valid.
    Refused,
}

/// The verdict on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The line's number in the file, from 1.
    pub line: u64,
    /// The token's id as the line has it.
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
            id: line.id().map(str::to_owned),
            outcome: Outcome::Refused,
            changes: Vec::new(),
            column: Some(error.field),
            value: Some(error.value),
            cure: Some(error.cure),
        }
    }
}

/// A token that an import creates or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// As it is stored; `None` if it is new.
    pub before: Option<Token>,
    /// As it will be.
    pub after: Token,
}

/// Reads the lines of an import.
///
/// # Errors
/// When the whole file is wrong: its encoding, its header, or its length.
pub fn read(format: Format, bytes: &[u8]) -> Result<Vec<Line>, ImportError> {
    let text = decoded(bytes)?;
    let lines = match format {
        Format::Csv => read_csv(&text)?,
        Format::Ndjson => read_ndjson(&text)?,
    };
    if lines.is_empty() {
        return Err(ImportError {
            line: 1,
            why: "there is no token in it".to_owned(),
        });
    }
    Ok(lines)
}

/// Judges lines against what is stored; returns what changes only if no line is refused.
#[must_use]
pub fn judge(lines: &[Line], stored: &HashMap<String, Token>) -> (Vec<Verdict>, Vec<Imported>) {
    let mut first_lines = HashMap::new();
    let mut imported = Vec::new();
    let mut verdicts = Vec::with_capacity(lines.len());
    for line in lines {
        match judge_line(line, stored, &mut first_lines) {
            Err(error) => verdicts.push(Verdict::refused(line, error)),
            Ok((before, after, changes)) => {
                let outcome = match (before, changes.is_empty()) {
                    (None, _) => Outcome::Created,
                    (Some(_), true) => Outcome::Unchanged,
                    (Some(_), false) => Outcome::Updated,
                };
                verdicts.push(Verdict {
                    line: line.line,
                    id: Some(after.id.clone()),
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

type Judged<'a> = (Option<&'a Token>, Token, Vec<&'static str>);

fn judge_line<'a>(
    line: &Line,
    stored: &'a HashMap<String, Token>,
    first_lines: &mut HashMap<String, u64>,
) -> Result<Judged<'a>, FieldError> {
    let members = line.members.as_ref().map_err(Clone::clone)?;
    let id = line.id().unwrap_or_default();
    let key = Token::key_of(id);
    let before = stored.get(&key);
    let mut after = before.cloned().unwrap_or_else(|| Token::accepted(id));
    for (name, value) in members {
        token_fields::set(&mut after, name, value.as_deref())?;
    }
    match first_lines.entry(key) {
        Entry::Occupied(first) => {
            return Err(FieldError {
                field: "id",
                value: id.to_owned(),
                cure: format!(
                    "line {} has the same token (letter case is ignored); leave one of the lines out",
                    first.get()
                ),
            });
        }
        Entry::Vacant(place) => {
            place.insert(line.line);
        }
    }
    let changes = match before {
        None => Vec::new(),
        Some(before) => token_fields::NAMES
            .into_iter()
            .filter(|name| token_fields::get(before, name) != token_fields::get(&after, name))
            .collect(),
    };
    Ok((before, after, changes))
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

fn read_csv(text: &str) -> Result<Vec<Line>, ImportError> {
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
    let mut columns: Vec<&'static str> = Vec::new();
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
            columns = header(&record, line)?;
            continue;
        }
        // A spreadsheet writes lines of separators for empty rows.
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if lines.len() == IMPORT_LINES_MAX {
            return Err(too_many(line));
        }
        let members = cells(&columns, &record);
        lines.push(Line { line, members });
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

fn header(record: &csv::StringRecord, line: u64) -> Result<Vec<&'static str>, ImportError> {
    let names = token_fields::NAMES.join(", ");
    let wrong = |why: String| ImportError { line, why };
    let mut columns = Vec::new();
    for text in record {
        let text = text.trim();
        let name = token_fields::name_of(text).ok_or_else(|| {
            wrong(format!(
                "{text:?} is not a column; the first line has the names of the columns, which can be {names}"
            ))
        })?;
        if columns.contains(&name) {
            return Err(wrong(format!("the column {name} is there twice")));
        }
        columns.push(name);
    }
    if !columns.contains(&"id") {
        return Err(wrong(format!(
            "there is no column id; the columns can be {names}"
        )));
    }
    Ok(columns)
}

fn cells(
    columns: &[&'static str],
    record: &csv::StringRecord,
) -> Result<Vec<(&'static str, Option<String>)>, FieldError> {
    if record.len() != columns.len() {
        return Err(FieldError {
            field: "id",
            value: record.get(0).unwrap_or_default().to_owned(),
            cure: format!(
                "the line has {} cells and the header has {}; put cells that contain the separator in quotation marks",
                record.len(),
                columns.len()
            ),
        });
    }
    let values = columns.iter().zip(record).map(|(name, cell)| {
        let value = Some(unprotected(cell)).filter(|cell| !cell.is_empty());
        (*name, value.map(str::to_owned))
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

fn read_ndjson(text: &str) -> Result<Vec<Line>, ImportError> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        if lines.len() == IMPORT_LINES_MAX {
            return Err(too_many(number));
        }
        lines.push(Line {
            line: number,
            members: json_members(line),
        });
    }
    Ok(lines)
}

fn json_members(line: &str) -> Result<Vec<(&'static str, Option<String>)>, FieldError> {
    let wrong = |value: &str, cure: String| FieldError {
        field: "id",
        value: value.chars().take(300).collect(),
        cure,
    };
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(wrong(line, "give a JSON object on each line".to_owned())),
        Err(error) => return Err(wrong(line, format!("give valid JSON ({error})"))),
    };
    let mut members = Vec::new();
    for (name, value) in object {
        let known = token_fields::NAMES.into_iter().find(|known| *known == name);
        let known = known.ok_or_else(|| {
            let names = token_fields::NAMES.join(", ");
            wrong(&name, format!("give only the members {names}"))
        })?;
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => {
                return Err(FieldError {
                    field: known,
                    value: other.to_string().chars().take(300).collect(),
                    cure: "give a text in quotation marks, or null".to_owned(),
                });
            }
        };
        members.push((known, value));
    }
    if !members.iter().any(|(name, _)| *name == "id") {
        return Err(wrong(line, "give the member id".to_owned()));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TokenStatus;

    fn csv(text: &str) -> Vec<Line> {
        read(Format::Csv, text.as_bytes()).expect("a table")
    }

    fn stored(tokens: &[Token]) -> HashMap<String, Token> {
        tokens
            .iter()
            .map(|token| (token.key(), token.clone()))
            .collect()
    }

    fn outcomes(verdicts: &[Verdict]) -> Vec<Outcome> {
        verdicts.iter().map(|verdict| verdict.outcome).collect()
    }

    #[test]
    fn tables_of_spreadsheets_are_read_alike() {
        let plain = "id,group,note\r\n04A1,FLEET,\"a, b\"\r\n04A2,,\r\n";
        let expected = csv(plain);
        assert_eq!(expected.len(), 2);
        assert_eq!((expected[0].line, expected[1].line), (2, 3));
        assert_eq!(
            expected[1].members,
            Ok(vec![
                ("id", Some("04A2".to_owned())),
                ("group", None),
                ("note", None)
            ])
        );
        let semicolons = "id;group;note\n04A1;FLEET;a, b\n04A2;;\n";
        let tabs = "ID\tGroup\tnote\n04A1\tFLEET\ta, b\n04A2\t\t\n\t\t\n";
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(tabs.encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        let with_mark = format!("\u{feff}{semicolons}");
        for bytes in [
            semicolons.as_bytes(),
            tabs.as_bytes(),
            &utf16,
            with_mark.as_bytes(),
        ] {
            assert_eq!(read(Format::Csv, bytes).as_ref(), Ok(&expected));
        }
        let named = read(Format::Csv, format!("sep=;\n{semicolons}").as_bytes()).expect("a table");
        assert_eq!(named[0].members, expected[0].members);
        assert_eq!(named[0].line, 3);
    }

    #[test]
    fn a_file_that_is_wrong_as_a_whole_is_refused_with_the_line_and_the_cure() {
        for (bytes, line, why) in [
            (&b"04A1,Accepted\n"[..], 1, "\"04A1\" is not a column"),
            (b"id,id\nA,B\n", 1, "twice"),
            (b"group\nA\n", 1, "no column id"),
            (b"id\n", 1, "no token"),
            (b"", 1, "no token"),
            (b"id\nA\nB\xe4\n", 3, "UTF-8"),
            (b"\xff\xfe\x00\xd8", 1, "UTF-16"),
        ] {
            let error = read(Format::Csv, bytes).expect_err(why);
            assert_eq!(error.line, line, "{error}");
            assert!(error.why.contains(why), "{error}");
        }
        let many = format!("id\n{}", "A\n".repeat(IMPORT_LINES_MAX + 1));
        let error = read(Format::Csv, many.as_bytes()).expect_err("too many");
        assert_eq!(error.line, IMPORT_LINES_MAX as u64 + 2);
    }

    #[test]
    fn each_line_has_a_verdict_and_a_refused_line_stops_all() {
        let blocked = Token {
            status: TokenStatus::Blocked,
            group_id: Some("G".to_owned()),
            ..Token::accepted("04a2")
        };
        let known = stored(&[blocked.clone(), Token::accepted("04A3")]);
        let text = "id,status\n04A1,accepted\n04A2,Accepted\n04A3,\n";
        let (verdicts, imported) = judge(&csv(text), &known);
        assert_eq!(
            outcomes(&verdicts),
            [Outcome::Created, Outcome::Updated, Outcome::Unchanged]
        );
        assert_eq!(verdicts[1].changes, ["id", "status"]);
        assert_eq!(imported.len(), 2);
        assert_eq!(imported[1].before.as_ref(), Some(&blocked));
        assert_eq!(imported[1].after.group_id.as_deref(), Some("G"), "kept");

        let text =
            "id,status,expires_at\n04A1,ok,\n04a4,,2026\n04A4,,\n04A4,,\n,,2026-01-01T00:00Z\nX,\n";
        let (verdicts, imported) = judge(&csv(text), &known);
        let refused: Vec<_> = verdicts
            .iter()
            .map(|verdict| (verdict.line, verdict.column, verdict.value.as_deref()))
            .collect();
        assert_eq!(
            refused,
            [
                (2, Some("status"), Some("ok")),
                (3, Some("expires_at"), Some("2026")),
                (4, None, None),
                (5, Some("id"), Some("04A4")),
                (6, Some("id"), Some("")),
                (7, Some("id"), Some("X")),
            ]
        );
        assert!(
            verdicts[3]
                .cure
                .as_deref()
                .is_some_and(|cure| cure.contains("line 4"))
        );
        assert_eq!(imported, []);
    }

    #[test]
    fn ndjson_is_judged_as_csv_is() {
        let text = r#"{"id":"04A1","group":"FLEET","note":null}

{"id":5}
{"id":"A","colour":"red"}
[]
{"group":"G"}
not json"#;
        let lines = read(Format::Ndjson, text.as_bytes()).expect("lines");
        let (verdicts, _) = judge(&lines, &HashMap::new());
        assert_eq!(
            verdicts
                .iter()
                .map(|verdict| (verdict.line, verdict.outcome == Outcome::Refused))
                .collect::<Vec<_>>(),
            [
                (1, false),
                (3, true),
                (4, true),
                (5, true),
                (6, true),
                (7, true)
            ]
        );
    }

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
