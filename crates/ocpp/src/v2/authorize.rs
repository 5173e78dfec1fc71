//! A charger asks whether a token is welcome (2.x).

use super::IdToken;
use crate::json::{Raw, ReadError};
use std::borrow::Cow;

/// `AuthorizeRequest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorize<'a> {
    /// The contract certificate (ISO 15118), PEM.
    pub certificate: Option<Cow<'a, str>>,
    /// What the certificate's status is asked by.
    pub certificate_hash_data: Option<Raw<'a>>,
    /// The token.
    pub id_token: Option<IdToken<'a>>,
}

impl<'a> Authorize<'a> {
    /// Reads the request's payload; see [`crate::v2`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "certificate" => view.certificate = value.text(),
            "iso15118CertificateHashData" => view.certificate_hash_data = Some(value),
            "idToken" => view.id_token = IdToken::read(value),
            _ => {}
        })?;
        Ok(view)
    }
}
