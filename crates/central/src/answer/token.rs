//! The status of a token, and how each version writes it (rules Q-19 to Q-22).

use crate::Timestamp;
use crate::policy::{Policy, UnknownToken};
use crate::ports::{Token, TokenStatus};
use crate::running::Beginning;
use crate::station::TokenAnswer;
use ocpp::Version;
use ocpp::json::write_string;
use std::borrow::Cow;

/// A token whose status must be asked for, and the form of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenQuestion {
    /// As the charger wrote it.
    pub(crate) id: String,
    pub(crate) form: TokenForm,
    /// The transaction that the message begins with this token, if it begins one.
    pub(crate) begins: Option<Beginning>,
}

/// The answer around the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenForm {
    /// Authorize.conf (1.6).
    Authorize,
    /// StartTransaction.conf (1.6): a start that is not accepted still gets its id (Q-19).
    Start { transaction_id: i32 },
    /// `AuthorizeResponse` and `TransactionEventResponse` (2.x).
    IdTokenInfo { version: Version },
}

/// The status of a token, with its expiry and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    status: &'static str,
    /// Until when the charger may cache it.
    expires_at: Option<Timestamp>,
    group_id: Option<String>,
    /// Whether it is accepted by policy although the token is not known.
    pub(crate) is_unverified: bool,
}

impl Verdict {
    /// Accepted, without expiry or group.
    pub(crate) const ACCEPTED: Self = Self::bare("Accepted");

    pub(crate) const fn bare(status: &'static str) -> Self {
        Self {
            status,
            expires_at: None,
            group_id: None,
            is_unverified: false,
        }
    }

    /// The verdict that follows from the directory's answer.
    pub(crate) fn of(
        answer: TokenAnswer,
        version: Version,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        match answer {
            TokenAnswer::Known(token) => Self::of_known(token, now),
            // It is over when the other transaction ends, so it must not stay in the charger's cache (Q-22).
            TokenAnswer::InUse(token) => Self {
                status: "ConcurrentTx",
                expires_at: Some(now),
                ..Self::of_known(token, now)
            },
            TokenAnswer::Unknown => match policy.unknown_token {
                UnknownToken::Accept => Self::unverified(),
                UnknownToken::Reject if version == Version::V16 => Self::bare("Invalid"),
                UnknownToken::Reject => Self::bare("Unknown"),
            },
            TokenAnswer::CannotAsk => match policy.unknown_token_offline {
                UnknownToken::Accept => Self::unverified(),
                // A refusal without knowledge must not stay in the charger's cache (Q-22), so it expires at once.
                UnknownToken::Reject => Self {
                    expires_at: Some(now),
                    ..Self::bare("Invalid")
                },
            },
        }
    }

    fn of_known(token: Token, now: Timestamp) -> Self {
        let is_over = token.expires_at.is_some_and(|end| end <= now);
        let status = match token.status {
            TokenStatus::Accepted if is_over => "Expired",
            TokenStatus::Accepted => "Accepted",
            TokenStatus::Blocked => "Blocked",
            TokenStatus::Expired => "Expired",
            TokenStatus::Invalid => "Invalid",
        };
        Self {
            status,
            expires_at: token.expires_at,
            group_id: token.group_id,
            is_unverified: false,
        }
    }

    fn unverified() -> Self {
        Self {
            is_unverified: true,
            ..Self::ACCEPTED
        }
    }
}

impl TokenForm {
    /// The answer's payload.
    pub(crate) fn write(self, verdict: &Verdict) -> Cow<'static, str> {
        let mut out = String::with_capacity(96);
        match self {
            Self::Authorize => {
                out.push_str(r#"{"idTagInfo":"#);
                write_id_tag_info(&mut out, verdict);
            }
            Self::Start { transaction_id } => {
                out.push_str(r#"{"idTagInfo":"#);
                write_id_tag_info(&mut out, verdict);
                out.push_str(r#","transactionId":"#);
                out.push_str(&transaction_id.to_string());
            }
            Self::IdTokenInfo { version } => {
                out.push_str(r#"{"idTokenInfo":"#);
                write_id_token_info(&mut out, version, verdict);
            }
        }
        out.push('}');
        out.into()
    }

    /// The version that the answer is written in.
    pub(crate) const fn version(self) -> Version {
        match self {
            Self::Authorize | Self::Start { .. } => Version::V16,
            Self::IdTokenInfo { version } => version,
        }
    }
}

/// Longest parentIdTag (1.6) and group token (2.0.1, 2.1), in characters. A longer one is left out; then the charger
/// knows no group, which is safe.
const GROUP_CHARS_MAX: [usize; 3] = [20, 36, 255];

fn group(verdict: &Verdict, version: Version) -> Option<&str> {
    verdict.group_id.as_deref().filter(|group| {
        !group.is_empty() && group.chars().count() <= GROUP_CHARS_MAX[version as usize]
    })
}

fn write_id_tag_info(out: &mut String, verdict: &Verdict) {
    out.push_str(r#"{"status":""#);
    out.push_str(verdict.status);
    out.push('"');
    if let Some(end) = verdict.expires_at {
        out.push_str(&format!(r#","expiryDate":"{end}""#));
    }
    if let Some(group) = group(verdict, Version::V16) {
        out.push_str(r#","parentIdTag":"#);
        write_string(out, group);
    }
    out.push('}');
}

fn write_id_token_info(out: &mut String, version: Version, verdict: &Verdict) {
    out.push_str(r#"{"status":""#);
    out.push_str(verdict.status);
    out.push('"');
    if let Some(end) = verdict.expires_at {
        out.push_str(&format!(r#","cacheExpiryDateTime":"{end}""#));
    }
    if let Some(group) = group(verdict, version) {
        out.push_str(r#","groupIdToken":{"idToken":"#);
        write_string(out, group);
        out.push_str(r#","type":"Central"}"#);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn token(status: TokenStatus, expires_at: Option<i64>) -> TokenAnswer {
        TokenAnswer::Known(Token {
            id: "A".into(),
            status,
            expires_at: expires_at.map(|offset| NOW.plus_millis(offset)),
            group_id: Some("FAMILY".into()),
            ..Token::accepted("")
        })
    }

    fn says(answer: TokenAnswer, form: TokenForm, policy: &Policy) -> String {
        form.write(&Verdict::of(answer, form.version(), policy, NOW))
            .into_owned()
    }

    #[test]
    fn the_answer_has_the_expiry_and_the_group_of_a_known_token() {
        let policy = Policy::default();
        let valid = token(TokenStatus::Accepted, Some(1));
        assert_eq!(
            says(
                valid.clone(),
                TokenForm::Start { transaction_id: 7 },
                &policy
            ),
            r#"{"idTagInfo":{"status":"Accepted","expiryDate":"2026-01-01T00:00:00.001Z","parentIdTag":"FAMILY"},"transactionId":7}"#
        );
        let version = Version::V21;
        assert_eq!(
            says(valid, TokenForm::IdTokenInfo { version }, &policy),
            r#"{"idTokenInfo":{"status":"Accepted","cacheExpiryDateTime":"2026-01-01T00:00:00.001Z","groupIdToken":{"idToken":"FAMILY","type":"Central"}}}"#
        );
    }

    #[test]
    fn a_token_is_expired_from_its_expiry_on() {
        let policy = Policy::default();
        for (expires, status) in [
            (Some(0), "Expired"),
            (Some(1), "Accepted"),
            (None, "Accepted"),
        ] {
            let text = says(
                token(TokenStatus::Accepted, expires),
                TokenForm::Authorize,
                &policy,
            );
            assert!(text.contains(&format!(r#""status":"{status}""#)), "{text}");
        }
        let blocked = says(
            token(TokenStatus::Blocked, Some(-1)),
            TokenForm::Authorize,
            &policy,
        );
        assert!(blocked.contains("Blocked"));
    }

    #[test]
    fn the_policy_decides_on_unknown_tokens() {
        let mut policy = Policy::default();
        for answer in [TokenAnswer::Unknown, TokenAnswer::CannotAsk] {
            let verdict = Verdict::of(answer, Version::V16, &policy, NOW);
            assert_eq!((verdict.status, verdict.is_unverified), ("Accepted", true));
        }
        policy.unknown_token = UnknownToken::Reject;
        policy.unknown_token_offline = UnknownToken::Reject;
        let said = |answer, version| Verdict::of(answer, version, &policy, NOW);
        assert_eq!(
            said(TokenAnswer::Unknown, Version::V16),
            Verdict::bare("Invalid")
        );
        assert_eq!(
            said(TokenAnswer::Unknown, Version::V201),
            Verdict::bare("Unknown")
        );
        let guess = said(TokenAnswer::CannotAsk, Version::V201);
        assert_eq!((guess.status, guess.expires_at), ("Invalid", Some(NOW)));
    }

    #[test]
    fn a_second_transaction_is_refused_for_this_moment_only() {
        let TokenAnswer::Known(known) = token(TokenStatus::Accepted, None) else {
            unreachable!("it is known");
        };
        let answer = TokenAnswer::InUse(known);
        assert_eq!(
            says(
                answer.clone(),
                TokenForm::Start { transaction_id: 7 },
                &Policy::default()
            ),
            r#"{"idTagInfo":{"status":"ConcurrentTx","expiryDate":"2026-01-01T00:00:00.000Z","parentIdTag":"FAMILY"},"transactionId":7}"#
        );
        let version = Version::V201;
        let text = says(
            answer,
            TokenForm::IdTokenInfo { version },
            &Policy::default(),
        );
        assert!(
            text.starts_with(r#"{"idTokenInfo":{"status":"ConcurrentTx","cacheExpiryDateTime""#),
            "{text}"
        );
    }

    #[test]
    fn a_group_that_is_too_long_is_left_out() {
        let mut long = Verdict::ACCEPTED;
        long.group_id = Some("g".repeat(21));
        assert!(!TokenForm::Authorize.write(&long).contains("parentIdTag"));
        let form = |version| TokenForm::IdTokenInfo { version };
        assert!(form(Version::V201).write(&long).contains("groupIdToken"));
    }
}
