//! The token that a driver presents (2.x).

use crate::json::Raw;
use std::borrow::Cow;

/// `IdTokenType`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdToken<'a> {
    /// The token as written; letter case does not matter in comparisons.
    pub id_token: Option<Cow<'a, str>>,
    /// `ISO14443`, `eMAID`, `Central`, …
    pub token_type: Option<Cow<'a, str>>,
}

impl<'a> IdToken<'a> {
    /// Also reads a string in place of the object. `None` for null, and for a list.
    pub(super) fn read(raw: Raw<'a>) -> Option<Self> {
        let mut view = Self::default();
        if !raw.is_object() {
            view.id_token = Some(raw.text()?);
            return Some(view);
        }
        let _ = raw.members(|name, value| match name {
            "idToken" => view.id_token = value.text(),
            "type" => view.token_type = value.text(),
            _ => {}
        });
        Some(view)
    }
}
