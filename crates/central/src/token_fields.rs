//! The members of a token as texts: one place where the API, the command line and imports check them, so that each
//! refuses the same values with the same words.

use crate::Timestamp;
use crate::field_error::{FieldError, refused};
use crate::model::{ConcurrentTransactions, Token, TokenStatus};

/// The members, in the order in which lists and exports have them.
pub const NAMES: [&str; 7] = [
    "id",
    "status",
    "type",
    "expires_at",
    "group",
    "concurrent_transactions",
    "note",
];

/// The members that only lists and exports have. An import and a request may hold them, and they change nothing, so that
/// what was read can be sent back.
pub const READ_ONLY: [&str; 3] = ["last_used_at", "last_used_by", "last_used_connector"];

/// The most characters of an idTag (OCPP 1.6), of an idToken of 2.0.1, and of one of 2.1.
const LENGTHS: [(usize, &str); 3] = [(20, "1.6"), (36, "2.0.1"), (255, "2.1")];
/// Characters and bytes of an id or a group at most: the longest that a version of OCPP allows.
const ID_MAX: usize = 255;
/// Characters of a note at most.
const NOTE_CHARS_MAX: usize = 500;
/// Characters of a type at most (2.1: `IdTokenType.type`).
const TYPE_CHARS_MAX: usize = 20;

/// Sets a member; `None` removes its value.
///
/// # Errors
/// When the value is not valid.
pub fn set(token: &mut Token, field: &'static str, value: Option<&str>) -> Result<(), FieldError> {
    match field {
        "id" => {
            let id = value.unwrap_or_default();
            check_id("id", id)?;
            id.clone_into(&mut token.id);
        }
        "status" => token.status = status(value.unwrap_or("Accepted"))?,
        "type" => token.token_type = value.map(token_type).transpose()?,
        "expires_at" => token.expires_at = value.map(expiry).transpose()?,
        "group" => {
            if let Some(group) = value {
                check_id("group", group)?;
            }
            token.group_id = value.map(str::to_owned);
        }
        "concurrent_transactions" => token.concurrent = value.map(concurrent).transpose()?,
        _ => token.note = value.map(note).transpose()?,
    }
    Ok(())
}

/// The text of a member; `None` without a value.
#[must_use]
pub fn get(token: &Token, field: &str) -> Option<String> {
    match field {
        "id" => Some(token.id.clone()),
        "status" => Some(token.status.as_str().to_owned()),
        "type" => token.token_type.clone(),
        "expires_at" => token.expires_at.map(|at| at.to_string()),
        "group" => token.group_id.clone(),
        "concurrent_transactions" => token.concurrent.map(|rule| rule.as_str().to_owned()),
        _ => token.note.clone(),
    }
}

/// The versions of OCPP whose chargers cannot send an id or a group of this length; empty for most.
#[must_use]
pub fn versions_without(id: &str) -> Vec<&'static str> {
    let length = id.chars().count();
    LENGTHS
        .iter()
        .filter(|(longest, _)| length > *longest)
        .map(|(_, version)| *version)
        .collect()
}

fn check_id(field: &'static str, id: &str) -> Result<(), FieldError> {
    if id.is_empty() || id.chars().count() > ID_MAX || id.len() > ID_MAX {
        return Err(refused(field, id, format!("give 1 to {ID_MAX} characters")));
    }
    if id.trim() != id || id.contains(char::is_control) {
        return Err(refused(
            field,
            id,
            "leave out blanks at its ends, line ends and control characters",
        ));
    }
    if is_rounded_number(id) {
        return Err(refused(
            field,
            id,
            "a spreadsheet has changed it to a rounded number; format the column as text and enter the ids again",
        ));
    }
    Ok(())
}

/// Whether a spreadsheet made this text from a long number or from digits around an `E`, such as `4.12E+13`.
fn is_rounded_number(id: &str) -> bool {
    let Some((mantissa, exponent)) = id.split_once("E+").or_else(|| id.split_once("e+")) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = mantissa.replace([',', '.'], "");
    is_number(&digits) && is_number(exponent)
}

fn status(text: &str) -> Result<TokenStatus, FieldError> {
    TokenStatus::ALL
        .into_iter()
        .find(|status| status.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| refused("status", text, "give Accepted, Blocked, Expired or Invalid"))
}

fn token_type(text: &str) -> Result<String, FieldError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let length = text.len();
    if length == 0 || length > TYPE_CHARS_MAX || !text.bytes().all(is_name) {
        return Err(refused(
            "type",
            text,
            format!(
                "give a type of OCPP 2.x such as ISO14443, Central or eMAID, of 1 to {TYPE_CHARS_MAX} letters and digits"
            ),
        ));
    }
    Ok(text.to_owned())
}

fn expiry(text: &str) -> Result<Timestamp, FieldError> {
    let read = ocpp::timestamp::read(text).map(|(at, _)| Timestamp::from(at));
    read.ok_or_else(|| {
        refused(
            "expires_at",
            text,
            "give a time such as 2026-12-31T23:59:59Z",
        )
    })
}

fn concurrent(text: &str) -> Result<ConcurrentTransactions, FieldError> {
    let rules = [
        ConcurrentTransactions::Allow,
        ConcurrentTransactions::Refuse,
    ];
    rules
        .into_iter()
        .find(|rule| rule.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            refused(
                "concurrent_transactions",
                text,
                "give allow or refuse, or no value",
            )
        })
}

fn note(text: &str) -> Result<String, FieldError> {
    let is_bad = |c: char| c.is_control() && c != '\n';
    if text.chars().count() > NOTE_CHARS_MAX || text.contains(is_bad) {
        return Err(refused(
            "note",
            text,
            format!("give at most {NOTE_CHARS_MAX} characters, without control characters"),
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: &'static str, value: &str) -> Result<(), FieldError> {
        set(&mut Token::accepted("A"), field, Some(value))
    }

    #[test]
    fn ids_that_no_charger_can_send_are_refused() {
        for id in ["04A1B2C3", "a b", "E+5", "4E5", &"x".repeat(255)] {
            assert_eq!(check("id", id), Ok(()), "{id}");
        }
        for id in [
            "",
            " 04A1",
            "04A1 ",
            "04\n",
            "04\u{7}A1",
            "4.12E+13",
            "4,1e+07",
            &"x".repeat(256),
            &"ä".repeat(200),
        ] {
            let why = check("id", id).expect_err(id);
            assert_eq!(why.field, "id");
            assert!(why.to_string().contains("id cannot be "), "{why}");
        }
    }

    #[test]
    fn each_member_refuses_wrong_values_and_says_what_to_give() {
        for (field, value, cure) in [
            ("status", "ok", "Accepted, Blocked"),
            ("type", "", "ISO14443"),
            ("type", "a b", "ISO14443"),
            ("type", &"x".repeat(21), "20"),
            ("expires_at", "31.12.2026", "2026-12-31T23:59:59Z"),
            ("expires_at", "", "2026-12-31T23:59:59Z"),
            ("group", "", "1 to 255"),
            ("concurrent_transactions", "no", "allow or refuse"),
            ("note", &"x".repeat(501), "500"),
            ("note", "a\u{0}b", "control characters"),
        ] {
            let why = check(field, value).expect_err(value);
            assert_eq!(why.field, field);
            assert!(why.cure.contains(cure), "{why}");
        }
    }

    #[test]
    fn every_member_reads_back_as_it_was_set() {
        let mut token = Token::accepted("A");
        for (field, value) in NAMES.into_iter().zip([
            "04A1",
            "Blocked",
            "ISO14443",
            "2026-12-31T23:59:59.000Z",
            "FLEET",
            "refuse",
            "line 1\nline 2",
        ]) {
            set(&mut token, field, Some(value)).expect(field);
            assert_eq!(get(&token, field).as_deref(), Some(value));
        }
        for field in &NAMES[1..] {
            set(&mut token, field, None).expect(field);
        }
        assert_eq!(token, Token::accepted("04A1"));
    }

    #[test]
    fn lengths_that_a_version_lacks_are_named() {
        assert_eq!(versions_without("04A1"), [""; 0]);
        assert_eq!(versions_without(&"x".repeat(21)), ["1.6"]);
        assert_eq!(versions_without(&"x".repeat(37)), ["1.6", "2.0.1"]);
    }
}
