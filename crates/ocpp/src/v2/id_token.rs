//! What a driver presents, in 2.x.

use crate::json::Raw;
use std::borrow::Cow;

/// `IdTokenType`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdToken<'a> {
    /// The token, as it was written; compared without regard to case.
    pub id_token: Option<Cow<'a, str>>,
    /// `ISO14443`, `eMAID`, `Central`, …
    pub token_type: Option<Cow<'a, str>>,
}

impl<'a> IdToken<'a> {
    /// A bare string where the object belongs is the token. `None` for null and other things.
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
