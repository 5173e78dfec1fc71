//! A charger asks whether a token is welcome (1.6).

use crate::json::{Raw, ReadError};
use std::borrow::Cow;

/// `Authorize.req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorize<'a> {
    /// The token, as it was written (quirk 13: also over-long or with control characters).
    pub id_tag: Option<Cow<'a, str>>,
}

impl<'a> Authorize<'a> {
    /// Reads the request's payload; see [`crate::v16`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| {
            if name == "idTag" {
                view.id_tag = value.text();
            }
        })?;
        Ok(view)
    }
}
