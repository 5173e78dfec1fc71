//! What the path of a request names: a charger, a command, a transaction. A handler gets it decoded and with its type, so
//! that no handler forgets that a client may send any bytes there.

use crate::error::ApiError;
use axum::extract::{FromRequestParts, OriginalUri, Path};
use axum::http::request::Parts;
use central::RecordId;
use central::model::{BatchId, CommandId, WebhookId};
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The parameters of a route's path. The rejection is the error to answer: `bad_encoding` if a parameter is not UTF-8
/// after percent-decoding, else what [`Named::named`] says. A path has at most 64 KiB, as the head of each request has.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub(crate) T);

/// What the parameters of a path can name.
pub(crate) trait Named: Sized {
    /// The parameters: a text, or one text for each.
    type Texts: DeserializeOwned + Send;

    /// What they name.
    ///
    /// # Errors
    /// The answer if they cannot name anything of this type.
    fn named(texts: Self::Texts) -> Result<Self, ApiError>;
}

impl<S, T> FromRequestParts<S> for InPath<T>
where
    S: Send + Sync,
    T: Named,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Ok(Path(texts)) = Path::<T::Texts>::from_request_parts(parts, state).await else {
            let uri = parts.extensions.get::<OriginalUri>();
            let uri = uri.map_or(&parts.uri, |OriginalUri(uri)| uri);
            return Err(ApiError::undecodable("path", uri.path()));
        };
        T::named(texts).map(Self)
    }
}

/// The identity of a charger or a token, or the name of an API key, a user or a site: any text may be one.
impl Named for String {
    type Texts = Self;

    fn named(text: Self) -> Result<Self, ApiError> {
        Ok(text)
    }
}

/// A version of OCPP and an action.
impl Named for (String, String) {
    type Texts = Self;

    fn named(texts: Self) -> Result<Self, ApiError> {
        Ok(texts)
    }
}

impl Named for RecordId {
    type Texts = (String, String);

    fn named((gateway, seq): (String, String)) -> Result<Self, ApiError> {
        let id = format!("{gateway}/{seq}");
        id.parse().map_err(|()| ApiError::bad_record_id(&id))
    }
}

/// The `key` of a transaction.
#[derive(Debug)]
pub(crate) struct TransactionKey(pub(crate) Uuid);

/// The `id` of an alert.
#[derive(Debug)]
pub(crate) struct AlertId(pub(crate) Uuid);

/// The `id` of a silence.
#[derive(Debug)]
pub(crate) struct SilenceId(pub(crate) Uuid);

/// The `no` of a refused handshake.
#[derive(Debug)]
pub(crate) struct HandshakeNo(pub(crate) i64);

/// The `key` of an unknown token.
#[derive(Debug)]
pub(crate) struct UnknownTokenKey(pub(crate) Uuid);

macro_rules! named_by_one_text {
    ($($id:ident, $otherwise:ident;)*) => {
        $(
            impl Named for $id {
                type Texts = String;

                fn named(text: String) -> Result<Self, ApiError> {
                    let id = text.parse().map(Self);
                    id.map_err(|_| ApiError::$otherwise(&text))
                }
            }
        )*
    };
}

named_by_one_text! {
    TransactionKey, bad_transaction_key;
    CommandId, unknown_command;
    BatchId, unknown_batch;
    WebhookId, unknown_webhook;
    AlertId, unknown_alert;
    SilenceId, unknown_silence;
    HandshakeNo, unknown_handshake;
    UnknownTokenKey, not_listed_token;
}
