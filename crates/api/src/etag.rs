//! Entity tags of objects that clients change (RFC 9110, 8.8.3).
//!
//! A tag begins with the version of what a client can change. An object that also shows live state has a second part, a
//! hash of the whole answer: `"17.5f3a…"`. `If-None-Match` compares the whole tag. `If-Match` compares the version alone,
//! so that a charger that reports a new status does not invalidate the tag of a client that changes its settings.

use crate::error::ApiError;
use axum::http::HeaderValue;
use axum::http::header::GetAll;
use central::ports::Condition;

/// The tag of an object that consists of what a client can change.
pub(crate) fn of_version(version: u64) -> String {
    format!("\"{version}\"")
}

/// The tag of an object that shows more than what a client can change.
pub(crate) fn of_version_and_body(version: u64, body: &[u8]) -> String {
    let hash = blake3::hash(body).to_hex();
    format!("\"{version}.{}\"", &hash[..32])
}

/// Whether `If-None-Match` names the tag of an answer (RFC 9110, 13.1.2). The list counts as far as it can be read.
pub(crate) fn is_known(values: GetAll<'_, HeaderValue>, tag: &HeaderValue) -> bool {
    let tag = tag.as_bytes();
    let tag = tag.strip_prefix(b"\"").unwrap_or(tag);
    let tag = tag.strip_suffix(b"\"").unwrap_or(tag);
    values.iter().any(|value| {
        let mut rest = value.as_bytes();
        while let Ok(Some(member)) = next_member(&mut rest) {
            match member {
                Member::Any => return true,
                Member::Weak(known) | Member::Strong(known) if known == tag => return true,
                Member::Weak(_) | Member::Strong(_) => {}
            }
        }
        false
    })
}

/// The condition of `If-Match`; `None` if the request has none. A weak tag never matches, as the standard demands.
pub(crate) fn condition(values: GetAll<'_, HeaderValue>) -> Result<Option<Condition>, ApiError> {
    let mut members = Vec::new();
    for value in values {
        let mut rest = value.as_bytes();
        while let Some(member) = next_member(&mut rest)? {
            members.push(member);
        }
    }
    match members.as_slice() {
        [] => return Ok(None),
        [Member::Any] => return Ok(Some(Condition::Exists)),
        _ => {}
    }
    let mut versions = Vec::new();
    for member in members {
        match member {
            Member::Any => return Err(ApiError::bad_if_match()),
            Member::Weak(_) => {}
            // A tag that this API never gave is that of no version.
            Member::Strong(tag) => versions.extend(version_of(tag)),
        }
    }
    Ok(Some(Condition::Versions(versions)))
}

/// A member of the list in `If-Match` or `If-None-Match`. A tag is what is between the quotation marks.
enum Member<'a> {
    Any,
    Weak(&'a [u8]),
    Strong(&'a [u8]),
}

/// Takes the next member and the comma after it; `None` at the end. A tag may hold any byte but a quotation mark, also a
/// comma and bytes that are not ASCII (RFC 9110, 8.8.3). Members may be empty (5.6.1).
fn next_member<'a>(rest: &mut &'a [u8]) -> Result<Option<Member<'a>>, ApiError> {
    while let [b' ' | b'\t' | b',', after @ ..] = *rest {
        *rest = after;
    }
    let (is_weak, quoted) = match *rest {
        [] => return Ok(None),
        [b'*', after @ ..] => {
            *rest = end_of_member(after)?;
            return Ok(Some(Member::Any));
        }
        [b'W', b'/', b'"', after @ ..] => (true, after),
        [b'"', after @ ..] => (false, after),
        _ => return Err(ApiError::bad_if_match()),
    };
    let end = quoted.iter().position(|byte| *byte == b'"');
    let parts = end.and_then(|end| quoted.split_at_checked(end));
    let Some((tag, [_, after @ ..])) = parts else {
        return Err(ApiError::bad_if_match());
    };
    *rest = end_of_member(after)?;
    Ok(Some(match is_weak {
        true => Member::Weak(tag),
        false => Member::Strong(tag),
    }))
}

/// What follows the comma after a member; nothing else may follow it.
fn end_of_member(after: &[u8]) -> Result<&[u8], ApiError> {
    match after.trim_ascii_start() {
        [] => Ok(&[]),
        [b',', after @ ..] => Ok(after),
        _ => Err(ApiError::bad_if_match()),
    }
}

fn version_of(tag: &[u8]) -> Option<u64> {
    let version = std::str::from_utf8(tag).ok()?.split('.').next()?;
    version.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, header::IF_MATCH};

    fn read(values: &[&str]) -> Result<Option<Condition>, ApiError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, value.parse().expect("a value"));
        }
        condition(headers.get_all(IF_MATCH))
    }

    #[test]
    fn a_tag_is_read_as_it_is_given() {
        let both = [of_version(7), of_version_and_body(9, b"{}")].join(", ");
        assert_eq!(read(&[&both]), Ok(Some(Condition::Versions(vec![7, 9]))));
        assert_eq!(read(&["\"7\"", "\"9\""]), read(&["\"7\",\"9\""]));
        assert_eq!(read(&["*"]), Ok(Some(Condition::Exists)));
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn a_weak_or_foreign_tag_is_that_of_no_version() {
        for tag in [
            "W/\"7\"",
            "\"x\"",
            "\"\"",
            "\"-1\"",
            "\"7,9\"",
            "\",7,\"",
            "\", *, \"",
        ] {
            assert_eq!(
                read(&[tag]),
                Ok(Some(Condition::Versions(Vec::new()))),
                "{tag}"
            );
        }
    }

    #[test]
    fn a_tag_without_quotation_marks_is_refused() {
        for tag in [
            "7",
            "\"7",
            "*, 7",
            "*, \"7\"",
            "\"7\" \"9\"",
            "\"7\"9",
            "w/\"7\"",
            "W/7",
            "\"7\",9",
            "**",
        ] {
            assert!(read(&[tag]).is_err(), "{tag}");
        }
    }

    #[test]
    fn a_comma_in_a_tag_does_not_end_it() {
        let seven = Ok(Some(Condition::Versions(vec![7])));
        assert_eq!(read(&["\"a,b\", \"7\""]), seven);
        assert_eq!(read(&["W/\"a, \",\"7\",,"]), seven);
        assert_eq!(read(&[" ,\t\"7.5,9\" ,"]), seven);
        let mut headers = HeaderMap::new();
        let not_ascii = HeaderValue::from_bytes(b"\"\xfc\", \"7\"").expect("a value");
        headers.append(IF_MATCH, not_ascii);
        assert_eq!(condition(headers.get_all(IF_MATCH)), seven);
    }

    #[test]
    fn a_known_tag_is_found_in_the_list_and_not_within_another_tag() {
        let tag: HeaderValue = of_version_and_body(7, b"{}").parse().expect("a value");
        let ours = tag.to_str().expect("ASCII");
        let found = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(IF_MATCH, value.parse().expect("a value"));
            is_known(headers.get_all(IF_MATCH), &tag)
        };
        assert!(found(ours) && found("*"));
        assert!(found(&format!("W/{ours}")) && found(&format!("\"a,b\" , {ours}, x")));
        assert!(!found("\"7\"") && !found("\"a, *, b\"") && !found("7") && !found(""));
    }

    #[test]
    fn the_tag_changes_with_the_body() {
        assert_ne!(of_version_and_body(1, b"a"), of_version_and_body(1, b"b"));
    }
}
