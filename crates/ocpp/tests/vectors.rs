//! Texts as chargers send them: `vectors/VERSION/ACTION/KIND/NAME.json`, one frame per file.
//!
//! - `ok`: valid. No quirk, no violation, and the view has the essential members.
//! - `tolerated`: wrong, and every essential member can still be read.
//! - `broken`: not tolerated, because it is not JSON or violates the schema too much; the id and the action must still be
//!   readable.
//!
//! Every action that a charger may send has at least one `ok`. To add a text, add a file.

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use ocpp::frame::{self, Frame, FrameErrorKind};
use ocpp::{Version, action, check, v2, v16};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

struct Vector {
    version: Version,
    /// The action's name as folders spell it: `boot_notification`.
    folder: String,
    kind: String,
    path: PathBuf,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    let name = path.file_name().expect("a name");
    name.to_str().expect("plain letters").to_owned()
}

fn vectors() -> Vec<Vector> {
    let mut found = Vec::new();
    for (version, folder) in [
        (Version::V16, "v16"),
        (Version::V201, "v201"),
        (Version::V21, "v21"),
    ] {
        for of_action in entries(&root().join(folder)) {
            for of_kind in entries(&of_action) {
                for path in entries(&of_kind) {
                    found.push(Vector {
                        version,
                        folder: name(&of_action),
                        kind: name(&of_kind),
                        text: std::fs::read_to_string(&path).expect("UTF-8"),
                        path,
                    });
                }
            }
        }
    }
    found
}

/// `Get15118EVCertificate` → `get_15118_ev_certificate`.
fn snake_case(action: &str) -> String {
    let chars: Vec<char> = action.chars().collect();
    let mut out = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1);
        let begins_word = before.is_some_and(|before| {
            (c.is_ascii_uppercase() && !before.is_ascii_uppercase())
                || (c.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
                || (c.is_ascii_digit() && !before.is_ascii_digit())
        });
        if begins_word {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The members that a central system needs, per action, with whether the view has them.
fn essentials(version: Version, action: &str, payload: &str) -> Vec<(&'static str, bool)> {
    if version == Version::V16 {
        essentials_16(action, payload)
    } else {
        essentials_2(action, payload)
    }
}

fn essentials_16(action: &str, payload: &str) -> Vec<(&'static str, bool)> {
    match action {
        "BootNotification" => {
            let view = v16::BootNotification::read(payload).expect("a view");
            vec![
                ("vendor", view.charge_point_vendor.is_some()),
                ("model", view.charge_point_model.is_some()),
            ]
        }
        "StartTransaction" => {
            let view = v16::StartTransaction::read(payload).expect("a view");
            vec![
                ("connector_id", view.connector_id.is_some()),
                ("id_tag", view.id_tag.is_some()),
                ("meter_start", view.meter_start.is_some()),
                ("timestamp", view.timestamp.is_some()),
            ]
        }
        "StopTransaction" => {
            let view = v16::StopTransaction::read(payload).expect("a view");
            vec![
                ("transaction_id", view.transaction_id.is_some()),
                ("meter_stop", view.meter_stop.is_some()),
                ("timestamp", view.timestamp.is_some()),
            ]
        }
        "MeterValues" => {
            let view = v16::MeterValues::read(payload).expect("a view");
            vec![
                ("connector_id", view.connector_id.is_some()),
                ("meter_value", !view.meter_value.is_empty()),
                (
                    "moments",
                    view.meter_value
                        .iter()
                        .all(|value| value.timestamp.is_some()),
                ),
            ]
        }
        "StatusNotification" => {
            let view = v16::StatusNotification::read(payload).expect("a view");
            vec![
                ("connector_id", view.connector_id.is_some()),
                ("status", view.status.is_some()),
                ("error_code", view.error_code.is_some()),
            ]
        }
        _ => vec![],
    }
}

fn essentials_2(action: &str, payload: &str) -> Vec<(&'static str, bool)> {
    match action {
        "BootNotification" => {
            let view = v2::BootNotification::read(payload).expect("a view");
            vec![
                ("reason", view.reason.is_some()),
                ("vendor_name", view.vendor_name.is_some()),
                ("model", view.model.is_some()),
            ]
        }
        "TransactionEvent" => {
            let view = v2::TransactionEvent::read(payload).expect("a view");
            vec![
                ("event_type", view.event_type.is_some()),
                ("timestamp", view.timestamp.is_some()),
                ("seq_no", view.seq_no.is_some()),
                ("transaction_id", view.transaction_id.is_some()),
                ("evse", view.evse.is_none_or(|evse| evse.id.is_some())),
            ]
        }
        "MeterValues" => {
            let view = v2::MeterValues::read(payload).expect("a view");
            let mut values = view.meter_value.iter();
            vec![
                ("evse_id", view.evse_id.is_some()),
                ("timestamp", values.all(|value| value.timestamp.is_some())),
                ("meter_value", !view.meter_value.is_empty()),
            ]
        }
        "StatusNotification" => {
            let view = v2::StatusNotification::read(payload).expect("a view");
            vec![
                ("evse_id", view.evse_id.is_some()),
                ("connector_id", view.connector_id.is_some()),
                ("connector_status", view.connector_status.is_some()),
                ("timestamp", view.timestamp.is_some()),
            ]
        }
        "NotifyEvent" => {
            let view = v2::NotifyEvent::read(payload).expect("a view");
            let event = view.event_data.first().expect("an event");
            vec![
                ("generated_at", view.generated_at.is_some()),
                ("component", event.component.is_some()),
                ("variable", event.variable.is_some()),
                ("actual_value", event.actual_value.is_some()),
            ]
        }
        _ => vec![],
    }
}

/// Action and payload of a CALL or SEND; `None` for other frames.
fn request<'a>(frame: &'a Frame<'a>) -> Option<(&'a str, &'a str)> {
    match frame {
        Frame::Call(call) => Some((&call.action, call.payload)),
        Frame::Send(send) => Some((&send.action, send.payload)),
        Frame::CallResult(_) | Frame::CallError(_) | Frame::CallResultError(_) => None,
    }
}

/// How an `ok` or `tolerated` text is handled wrongly; empty if it is handled correctly.
fn complaint_if_usable(vector: &Vector) -> String {
    let parsed = frame::parse_noting(&vector.text, vector.version);
    let frame = match &parsed.frame {
        Ok(frame) => frame,
        Err(error) => return format!("is not read: {error}"),
    };
    let Some((action, payload)) = request(frame) else {
        return "is neither a CALL nor a SEND".to_owned();
    };
    if snake_case(action) != vector.folder {
        return format!("holds {action}");
    }
    if !action::lookup(vector.version, action).is_some_and(action::ActionInfo::is_to_central) {
        return format!("{action} is not an action of chargers");
    }
    let missing: Vec<_> = essentials(vector.version, action, payload)
        .into_iter()
        .filter_map(|(what, there)| (!there).then_some(what))
        .collect();
    if !missing.is_empty() {
        return format!("the view lacks {missing:?}");
    }
    let violations = check::request(vector.version, action, payload);
    let clean = parsed.quirks.is_empty() && violations.is_empty();
    match vector.kind.as_str() {
        "ok" if !clean => format!("has faults: {:?} {violations:?}", parsed.quirks),
        "tolerated" if clean => "has no fault".to_owned(),
        "tolerated" if violations.iter().any(|violation| !violation.is_tolerated()) => {
            format!("has a fault that is not tolerated: {violations:?}")
        }
        _ => String::new(),
    }
}

/// As [`complaint_if_usable`], for a `broken` text.
fn complaint_if_broken(vector: &Vector) -> String {
    match frame::parse(&vector.text, vector.version) {
        Ok(frame) => {
            let Some((action, payload)) = request(&frame) else {
                return "is neither a CALL nor a SEND".to_owned();
            };
            if snake_case(action) != vector.folder {
                return format!("holds {action}");
            }
            let violations = check::request(vector.version, action, payload);
            if violations.iter().all(check::Violation::is_tolerated) {
                return format!("is read and tolerated: {violations:?}");
            }
            String::new()
        }
        Err(error) => {
            let id_is_the_fault = matches!(
                error.kind,
                FrameErrorKind::NoId | FrameErrorKind::BadShape(_)
            );
            if id_is_the_fault {
                return String::new();
            }
            let action = error.action.as_deref().map(snake_case);
            if error.id.is_none() || action.as_deref() != Some(vector.folder.as_str()) {
                return format!("id or action could not be read: {error:?}");
            }
            String::new()
        }
    }
}

#[test]
fn every_vector_is_handled_as_its_folder_says() {
    let vectors = vectors();
    assert!(vectors.len() > 200, "only {} vectors", vectors.len());
    let complaints: Vec<_> = vectors
        .iter()
        .filter_map(|vector| {
            let complaint = match vector.kind.as_str() {
                "ok" | "tolerated" => complaint_if_usable(vector),
                "broken" => complaint_if_broken(vector),
                other => format!("{other} is no kind"),
            };
            let shown = vector.path.strip_prefix(root()).unwrap_or(&vector.path);
            (!complaint.is_empty()).then(|| format!("{}: {complaint}", shown.display()))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_action_of_a_charger_has_a_good_vector() {
    let covered: BTreeSet<_> = vectors()
        .into_iter()
        .filter(|vector| vector.kind == "ok")
        .map(|vector| (vector.version, vector.folder))
        .collect();
    for version in Version::ALL {
        for row in action::all(version) {
            let there = covered.contains(&(version, snake_case(row.name)));
            assert_eq!(there, row.is_to_central(), "{version} {}", row.name);
        }
    }
}
