//! Writes rows of the database to an output. The database, the output and the progress counter are arguments, so that
//! tests can replace them.

use super::Form;
use anyhow::{Context, Result};
use central::model::{ConnectorView, TransactionView};
use central::query::{self, MessageFilter, MessageRow, QueryError, QueryStore, TransactionFilter};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

/// Size of the buffer before each write.
const BUFFER_BYTES: usize = 64 * 1024;

/// How an export ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All rows are written.
    Complete,
    /// The reader closed the pipe (`| head`).
    ReaderClosed,
}

/// Writes the messages that match. `done` is called after each row with the number of rows so far.
///
/// # Errors
/// When the database cannot be read, or the output cannot be written; the error contains the number of rows written.
pub(crate) fn messages(
    store: &dyn QueryStore,
    filter: &MessageFilter,
    form: Form,
    out: &mut dyn Write,
    done: &mut dyn FnMut(u64),
) -> Result<Ended> {
    let rows = query::all_messages(store, filter);
    match form {
        Form::Ndjson => ndjson(rows, out, done),
        Form::Csv { escape_formulas } => {
            let fields = |out: &mut csv::Writer<&mut dyn Write>, row: &MessageRow| {
                message_fields(out, row, escape_formulas)
            };
            csv(&MessageRow::COLUMNS, rows, fields, out, done)
        }
    }
}

/// Writes the transactions that match. `done` is called after each row with the number of rows so far.
///
/// # Errors
/// As [`messages`].
pub(crate) fn transactions(
    store: &dyn QueryStore,
    filter: &TransactionFilter,
    form: Form,
    out: &mut dyn Write,
    done: &mut dyn FnMut(u64),
) -> Result<Ended> {
    let rows = query::all_transactions(store, filter);
    match form {
        Form::Ndjson => ndjson(rows, out, done),
        Form::Csv { escape_formulas } => {
            let fields = |out: &mut csv::Writer<&mut dyn Write>, row: &TransactionView| {
                member_fields(out, row, &TRANSACTION_COLUMNS, escape_formulas)
            };
            csv(&TRANSACTION_COLUMNS, rows, fields, out, done)
        }
    }
}

/// Writes the connectors, only those of `charger` if it is given. `done` is called after each row with the number of rows
/// so far.
///
/// # Errors
/// As [`messages`].
pub(crate) fn connectors(
    store: &dyn QueryStore,
    charger: Option<&str>,
    form: Form,
    out: &mut dyn Write,
    done: &mut dyn FnMut(u64),
) -> Result<Ended> {
    let rows = query::all_connectors(store, charger);
    match form {
        Form::Ndjson => ndjson(rows, out, done),
        Form::Csv { escape_formulas } => {
            let fields = |out: &mut csv::Writer<&mut dyn Write>, row: &ConnectorView| {
                member_fields(out, row, &CONNECTOR_COLUMNS, escape_formulas)
            };
            csv(&CONNECTOR_COLUMNS, rows, fields, out, done)
        }
    }
}

/// Columns of connectors in CSV: the members of a [`ConnectorView`], in the same order.
const CONNECTOR_COLUMNS: [&str; 11] = [
    "charger_id",
    "evse",
    "connector",
    "status",
    "since",
    "unknown_reason",
    "last_status",
    "last_status_at",
    "error_code",
    "info",
    "vendor_error_code",
];

/// Columns of transactions in CSV: the members of a [`TransactionView`], in the same order.
const TRANSACTION_COLUMNS: [&str; 30] = [
    "key",
    "charger_id",
    "transaction_id",
    "ocpp_version",
    "evse",
    "connector",
    "id_token",
    "token_type",
    "verdict",
    "started_at",
    "ended_at",
    "open",
    "last_at",
    "meter_start_wh",
    "meter_stop_wh",
    "energy_wh",
    "energy_confidence",
    "energy_from",
    "energy_to",
    "checks",
    "power_w",
    "soc_percent",
    "charging_state",
    "stop_reason",
    "remote_start_id",
    "reservation_id",
    "offline",
    "missing_seq",
    "conflicting_stops",
    "closed",
];

type Rows<'a, T> = &'a mut dyn Iterator<Item = Result<T, QueryError>>;

fn ndjson<T: Serialize>(
    mut rows: impl Iterator<Item = Result<T, QueryError>>,
    out: &mut dyn Write,
    done: &mut dyn FnMut(u64),
) -> Result<Ended> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    each(&mut rows, done, |row| match row {
        Some(row) => {
            serde_json::to_writer(&mut out, &row)?;
            out.write_all(b"\n")
        }
        None => out.flush(),
    })
}

fn csv<T>(
    columns: &[&str],
    mut rows: impl Iterator<Item = Result<T, QueryError>>,
    fields: impl Fn(&mut csv::Writer<&mut dyn Write>, &T) -> csv::Result<()>,
    out: &mut dyn Write,
    done: &mut dyn FnMut(u64),
) -> Result<Ended> {
    let mut out = csv::WriterBuilder::new()
        .buffer_capacity(BUFFER_BYTES)
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    let mut header = Some(columns);
    each(&mut rows, done, |row| {
        if let Some(columns) = header.take() {
            out.write_record(columns).map_err(io_error)?;
        }
        match row {
            Some(row) => fields(&mut out, &row).map_err(io_error),
            None => out.flush(),
        }
    })
}

/// The I/O error in a CSV error, so that its kind can be matched.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Calls `write` with each row, and with `None` at the end.
fn each<T>(
    rows: Rows<'_, T>,
    done: &mut dyn FnMut(u64),
    mut write: impl FnMut(Option<T>) -> io::Result<()>,
) -> Result<Ended> {
    let mut count = 0;
    loop {
        let row = match rows.next().transpose() {
            Ok(row) => row,
            Err(error) => {
                // The rows before the error are valid, so they are flushed.
                let _ = write(None);
                return Err(error).with_context(|| format!("export after row {count}"));
            }
        };
        let is_last = row.is_none();
        match write(row) {
            Ok(()) if is_last => return Ok(Ended::Complete),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Ended::ReaderClosed);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("write the export after row {count}"));
            }
        }
        count += 1;
        done(count);
    }
}

fn message_fields(
    out: &mut csv::Writer<&mut dyn Write>,
    row: &MessageRow,
    escape_formulas: bool,
) -> csv::Result<()> {
    let columns = row.columns();
    let fields = columns.iter().map(|column| field(column, escape_formulas));
    out.write_record(fields.map(Cow::into_owned))
}

/// Writes these members of a view.
fn member_fields<T: Serialize>(
    out: &mut csv::Writer<&mut dyn Write>,
    row: &T,
    columns: &[&str],
    escape_formulas: bool,
) -> csv::Result<()> {
    let members = serde_json::to_value(row).map_err(io::Error::from)?;
    let fields = columns
        .iter()
        .map(|column| field(&plain(&members[*column]), escape_formulas).into_owned());
    out.write_record(fields)
}

/// A field that a spreadsheet shows as it is: what it would run as a formula gets a `'` before it. A charger chooses
/// these texts.
fn field(text: &str, escape_formulas: bool) -> Cow<'_, str> {
    if escape_formulas {
        common::spreadsheet::escaped(text)
    } else {
        Cow::Borrowed(text)
    }
}

/// A JSON member as a CSV field: empty for null, strings without quotation marks, ranges as `3-5 9-9`,
/// checks as their codes, and by what a session was closed.
fn plain(member: &Value) -> String {
    match member {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let fields = items.iter().map(|item| match item {
                Value::Array(ends) => ends.iter().map(plain).collect::<Vec<_>>().join("-"),
                Value::Object(check) => check.get("code").map(plain).unwrap_or_default(),
                other => plain(other),
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        Value::Object(closed) => closed.get("by").map(plain).unwrap_or_default(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::memory::MemoryRows;
    use central::memory::sample::{START, charger, connector, message, transaction};
    use central::model::UnknownReason;
    use central::ports::{Unavailable, UnavailableKind};
    use central::{RecordKind, Timestamp};

    const CSV: Form = Form::Csv {
        escape_formulas: true,
    };

    fn exported(rows: &MemoryRows, filter: &MessageFilter, form: Form) -> String {
        let (mut out, mut seen) = (Vec::new(), 0);
        let ended = messages(rows, filter, form, &mut out, &mut |count| seen = count);
        assert_eq!(ended.expect("exported"), Ended::Complete);
        let text = String::from_utf8(out).expect("UTF-8");
        let header = usize::from(form != Form::Ndjson);
        assert_eq!(
            seen as usize,
            text.lines().count() - header,
            "the count after the last row"
        );
        text
    }

    fn sample() -> MemoryRows {
        let mut rows = MemoryRows {
            messages: (1..=2_345)
                .map(|seq| message("CP-1", seq, "Heartbeat"))
                .collect(),
            ..MemoryRows::default()
        };
        rows.messages[4].charger_id = "CP-2".to_owned();
        rows.messages[5].kind = RecordKind::CallError;
        rows.messages[6].action = "StopTransaction".to_owned();
        rows
    }

    #[test]
    fn ndjson_has_one_line_per_message_in_order() {
        let text = exported(&sample(), &MessageFilter::default(), Form::Ndjson);
        let mut seq = 0;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            seq += 1;
            assert_eq!(line["seq"], seq);
        }
        assert_eq!(seq, 2_345, "over several pages");
    }

    #[test]
    fn filters_select_messages() {
        let all = MessageFilter::default;
        let count =
            |filter: MessageFilter| exported(&sample(), &filter, Form::Ndjson).lines().count();
        assert_eq!(
            count(MessageFilter {
                charger: Some("cp-2".into()),
                ..all()
            }),
            1
        );
        assert_eq!(
            count(MessageFilter {
                kind: Some(RecordKind::CallError),
                ..all()
            }),
            1
        );
        assert_eq!(
            count(MessageFilter {
                action: Some("StopTransaction".into()),
                ..all()
            }),
            1
        );
        let (from, to) = (
            Some(Timestamp(START + 10_000)),
            Some(Timestamp(START + 20_000)),
        );
        assert_eq!(count(MessageFilter { from, to, ..all() }), 10);
    }

    #[test]
    fn csv_escapes_commas_quotes_and_line_breaks() {
        let mut rows = sample();
        rows.messages.truncate(2);
        rows.messages[1].payload = "{\"a\":\"x, y\",\r\n\"b\":\"ü\"}".to_owned();
        let text = exported_csv(&rows);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header: Vec<String> = headers(&mut reader);
        assert_eq!(header, MessageRow::COLUMNS);
        let records: Vec<csv::StringRecord> =
            reader.records().map(|row| row.expect("a row")).collect();
        assert_eq!(records.len(), 2);
        assert_eq!(&records[0][0], "00000000-0000-0000-0000-00000000feed/1");
        assert_eq!(&records[1][7], rows.messages[1].payload);
        assert_eq!(&records[1][9], "2026-01-01T00:00:02.000Z");
    }

    fn exported_csv(rows: &MemoryRows) -> String {
        let mut out = Vec::new();
        let filter = MessageFilter::default();
        messages(rows, &filter, CSV, &mut out, &mut |_| ()).expect("exported");
        String::from_utf8(out).expect("UTF-8")
    }

    fn headers(reader: &mut csv::Reader<&[u8]>) -> Vec<String> {
        let header = reader.headers().expect("a header");
        header.iter().map(str::to_owned).collect()
    }

    #[test]
    fn empty_export_has_no_lines_except_the_header_of_csv() {
        let empty = MemoryRows::default();
        let filter = MessageFilter::default();
        assert_eq!(exported(&empty, &filter, Form::Ndjson), "");
        let header = MessageRow::COLUMNS.join(",") + "\r\n";
        assert_eq!(exported(&empty, &filter, CSV), header);
    }

    #[test]
    fn transaction_has_the_same_members_in_both_formats() {
        let mut row = transaction("CP-1", 7, true);
        row.missing_seq = vec![(3, 5), (9, 9)];
        row.meter_start_wh = Some(100.5);
        let rows = MemoryRows {
            transactions: vec![row],
            ..MemoryRows::default()
        };
        let export = |form| {
            let (mut out, filter) = (Vec::new(), TransactionFilter::default());
            transactions(&rows, &filter, form, &mut out, &mut |_| ()).expect("exported");
            String::from_utf8(out).expect("UTF-8")
        };
        let line = export(Form::Ndjson);
        // Positions in the text, because the parsed value sorts its members.
        let places = TRANSACTION_COLUMNS.map(|name| line.find(&format!("\"{name}\":")));
        assert!(places.iter().all(Option::is_some), "{places:?} in {line}");
        assert!(places.is_sorted(), "{places:?} in {line}");
        let members: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            members.as_object().map(serde_json::Map::len),
            Some(TRANSACTION_COLUMNS.len())
        );

        let text = export(CSV);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(headers(&mut reader), TRANSACTION_COLUMNS);
        let row = reader.records().next().expect("a row").expect("sound");
        let field = |name: &str| {
            let place = TRANSACTION_COLUMNS
                .iter()
                .position(|column| *column == name);
            row[place.expect("a column")].to_owned()
        };
        assert_eq!(field("key"), "00000000-0000-0000-0000-000000000007");
        assert_eq!(field("missing_seq"), "3-5 9-9");
        assert_eq!(field("started_at"), "2026-01-01T00:00:07.000Z");
        assert_eq!(field("open"), "true");
        assert_eq!(field("meter_start_wh"), "100.5");
        assert_eq!(field("ended_at"), "");
    }

    #[test]
    fn connectors_are_exported_with_the_same_members_in_both_formats() {
        let mut unknown = connector("CP-2", 1);
        unknown.status = "Unknown".to_owned();
        unknown.unknown_reason = Some(UnknownReason::NotReportedSinceConnect);
        let rows = MemoryRows {
            chargers: vec![charger("CP-1", true), charger("CP-2", true)],
            connectors: vec![connector("CP-1", 1), connector("CP-1", 2), unknown],
            ..MemoryRows::default()
        };
        let export = |charger, form| {
            let mut out = Vec::new();
            connectors(&rows, charger, form, &mut out, &mut |_| ()).expect("exported");
            String::from_utf8(out).expect("UTF-8")
        };
        let lines = export(None, Form::Ndjson);
        assert_eq!(lines.lines().count(), 3);
        let last = lines.lines().last().expect("a line");
        let places = CONNECTOR_COLUMNS.map(|name| last.find(&format!("\"{name}\":")));
        assert!(places.iter().all(Option::is_some), "{places:?} in {last}");
        assert!(places.is_sorted(), "{places:?} in {last}");
        let members: Value = serde_json::from_str(last).expect("JSON");
        let count = members.as_object().map(serde_json::Map::len);
        assert_eq!(count, Some(CONNECTOR_COLUMNS.len()));

        let text = export(Some("cp-2"), CSV);
        let row = text.lines().nth(1).expect("a row");
        assert_eq!(
            row,
            "CP-2,0,1,Unknown,2026-01-01T00:00:00.000Z,not_reported_since_connect,Available,\
             2026-01-01T00:00:00.000Z,,,"
        );
        assert_eq!(text.lines().count(), 2);
        assert_eq!(export(Some("CP-3"), Form::Ndjson), "");
        let failing = MemoryRows {
            before_query: Some(Box::new(|_| {
                Err(Unavailable {
                    component: "database",
                    kind: UnavailableKind::Locked,
                    detail: "by the test".to_owned(),
                })
            })),
            ..MemoryRows::default()
        };
        for charger in [None, Some("CP-1")] {
            let ended = connectors(&failing, charger, CSV, &mut Vec::new(), &mut |_| ());
            let error = format!("{:#}", ended.expect_err("unavailable"));
            assert!(error.contains("is locked"), "{error}");
        }
    }

    /// An output that accepts `room` bytes, then fails.
    struct Full {
        room: usize,
        kind: io::ErrorKind,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(self.kind.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn closed_pipe_ends_the_export_without_an_error() {
        for form in [Form::Ndjson, CSV] {
            for room in [0, 1, 100, 70_000, 200_000] {
                let kind = io::ErrorKind::BrokenPipe;
                let mut out = Full { room, kind };
                let filter = MessageFilter::default();
                let ended = messages(&sample(), &filter, form, &mut out, &mut |_| ());
                assert_eq!(
                    ended.expect("no error"),
                    Ended::ReaderClosed,
                    "{form:?} {room}"
                );
            }
        }
    }

    #[test]
    fn full_output_is_an_error_with_the_number_of_rows() {
        for form in [Form::Ndjson, CSV] {
            let kind = io::ErrorKind::StorageFull;
            let mut out = Full {
                room: 100_000,
                kind,
            };
            let filter = MessageFilter::default();
            let why = messages(&sample(), &filter, form, &mut out, &mut |_| ());
            let why = format!("{:#}", why.expect_err("full"));
            assert!(why.starts_with("write the export after row "), "{why}");
        }
    }

    #[test]
    fn unavailable_database_is_an_error_with_the_number_of_rows() {
        let rows = MemoryRows {
            before_query: Some(Box::new(|start| match start {
                ..1_000 => Ok(()),
                _ => Err(Unavailable {
                    component: "database",
                    kind: UnavailableKind::Locked,
                    detail: "by the test".to_owned(),
                }),
            })),
            ..sample()
        };
        let (mut out, filter) = (Vec::new(), MessageFilter::default());
        let why = messages(&rows, &filter, Form::Ndjson, &mut out, &mut |_| ());
        let why = format!("{:#}", why.expect_err("unavailable"));
        assert!(
            why.contains("after row 1000: ") && why.contains("is locked"),
            "{why}"
        );
        assert_eq!(
            String::from_utf8(out).expect("UTF-8").lines().count(),
            1_000
        );
    }

    #[test]
    fn text_that_a_spreadsheet_would_run_is_escaped_unless_raw_is_given() {
        let formulas = ["=1+1", "+49", "-x", "@SUM(A1)", "\t=1"];
        for text in formulas
            .into_iter()
            .filter(|text| text.parse::<f64>().is_err())
        {
            assert_eq!(field(text, true), format!("'{text}"));
            assert_eq!(field(text, false), text);
        }
        for text in [
            "",
            "-5.5",
            "+49",
            "CP-17",
            "{\"a\":\"=1\"}",
            "2026-01-01T00:00:00Z",
        ] {
            assert_eq!(field(text, true), text);
        }

        let mut rows = sample();
        rows.messages.truncate(1);
        rows.messages[0].message_id = "=HYPERLINK(1)".to_owned();
        let export = |form| exported(&rows, &MessageFilter::default(), form);
        assert!(export(CSV).contains(",'=HYPERLINK(1),"));
        let raw = Form::Csv {
            escape_formulas: false,
        };
        assert!(export(raw).contains(",=HYPERLINK(1),"));
    }
}
