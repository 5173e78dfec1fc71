//! Imports of tokens: what a line of a file ([`crate::import`]) makes of a token.

use crate::import::{self, Columns, Format, ImportError, Imported, Line, Rules, Verdict};
use crate::model::Token;
use crate::token_fields;
use std::collections::HashMap;

/// The columns that a file of tokens may have.
pub const COLUMNS: Columns = Columns {
    object: "token",
    names: &token_fields::NAMES,
    id: "id",
    read_only: &token_fields::READ_ONLY,
    numbers: &[],
    has_secrets: false,
};

/// Reads the lines of an import.
///
/// # Errors
/// When the whole file is wrong: its encoding, its header, or its length.
pub fn read(format: Format, bytes: &[u8]) -> Result<Vec<Line>, ImportError> {
    import::read(&COLUMNS, format, bytes)
}

/// The keys of the tokens that the lines are about.
pub fn keys(lines: &[Line]) -> impl Iterator<Item = String> + '_ {
    let ids = lines.iter().filter_map(|line| line.id.as_deref());
    ids.map(Token::key_of)
}

/// Judges lines against what is stored, by key; returns what changes only if no line is refused.
#[must_use]
pub fn judge(
    lines: &[Line],
    stored: &HashMap<String, Token>,
) -> (Vec<Verdict>, Vec<Imported<Token>>) {
    let rules = Rules {
        columns: COLUMNS,
        key_of: Token::key_of,
        id_of: |token: &Token| &token.id,
        after: &|id, before, members| {
            let mut after = before.cloned().unwrap_or_else(|| Token::accepted(id));
            for (name, value) in members {
                token_fields::set(&mut after, name, value.as_deref())?;
            }
            Ok(after)
        },
        changes: |before, after| {
            token_fields::NAMES
                .into_iter()
                .filter(|name| token_fields::get(before, name) != token_fields::get(after, name))
                .collect()
        },
    };
    import::judge(lines, stored, &rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{IMPORT_LINES_MAX, Outcome};
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
    fn columns_that_only_an_export_has_are_skipped() {
        let table = "Last_Used_At,id,last_used_by,note,last_used_connector\n\
                     2026-01-15T00:00:00Z,T,CP-1,van,7\n";
        let line = r#"{"id":"T","note":"van","last_used_at":null,"last_used_connector":7}"#;
        let ndjson = read(Format::Ndjson, line.as_bytes()).expect("a table");
        for lines in [csv(table), ndjson] {
            let (verdicts, imported) = judge(&lines, &HashMap::new());
            assert_eq!(verdicts[0].outcome, Outcome::Created, "{verdicts:?}");
            assert_eq!(imported[0].after.note.as_deref(), Some("van"));
        }
        let without_id = read(Format::Csv, b"last_used_at,note\na,b\n");
        assert!(without_id.is_err_and(|error| error.why.contains("no column id")));
        let short = csv("id,last_used_at\nT\n");
        assert!(short[0].members.is_err(), "a cell is missing");
    }
}
