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

/// The condition of `If-Match`; `None` if the request has none. A weak tag never matches, as the standard demands.
pub(crate) fn condition(values: GetAll<'_, HeaderValue>) -> Result<Option<Condition>, ApiError> {
    let mut texts = Vec::new();
    for value in values {
        let text = value.to_str().map_err(|_| ApiError::bad_if_match())?;
        texts.extend(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()));
    }
    match texts.as_slice() {
        [] => return Ok(None),
        ["*"] => return Ok(Some(Condition::Exists)),
        _ => {}
    }
    let mut versions = Vec::new();
    for text in texts {
        if text.starts_with("W/") {
            continue;
        }
        let tag = text.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let tag = tag.ok_or_else(ApiError::bad_if_match)?;
        // A tag that this API never gave is that of no version.
        let version = tag.split('.').next().unwrap_or_default();
        versions.extend(version.parse::<u64>().ok());
    }
    Ok(Some(Condition::Versions(versions)))
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
        for tag in ["W/\"7\"", "\"x\"", "\"\"", "\"-1\""] {
            assert_eq!(
                read(&[tag]),
                Ok(Some(Condition::Versions(Vec::new()))),
                "{tag}"
            );
        }
    }

    #[test]
    fn a_tag_without_quotation_marks_is_refused() {
        for tag in ["7", "\"7", "*, 7"] {
            assert!(read(&[tag]).is_err(), "{tag}");
        }
    }

    #[test]
    fn the_tag_changes_with_the_body() {
        assert_ne!(of_version_and_body(1, b"a"), of_version_and_body(1, b"b"));
    }
}
