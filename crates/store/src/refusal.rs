//! Maps SQLite's errors to what the caller does: wait and retry, or give this record up.

use crate::sqlite::schema;
use central::ports::{Unavailable, UnavailableKind};
use rusqlite::ErrorCode;

/// Why the database refused an operation.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A retry may succeed; the member gives the kind of outage.
    Unavailable(Unavailable),
    /// It was not done in time; a smaller batch may be.
    Late(String),
    /// The database refuses this record permanently and works otherwise.
    Poison(String),
    /// The schema is newer than this build.
    Newer {
        /// The schema's version.
        found: u32,
    },
    /// The file is a database of another program.
    OtherProgram,
}

impl Refusal {
    /// A refusal of the given kind.
    pub(crate) fn away(kind: UnavailableKind, detail: impl Into<String>) -> Self {
        Self::Unavailable(Unavailable {
            component: "database",
            kind,
            detail: detail.into(),
        })
    }

    /// For callers that can only wait and retry.
    pub(crate) fn into_away(self) -> Unavailable {
        let (kind, detail) = match self {
            Self::Unavailable(away) => return away,
            Self::Late(detail) | Self::Poison(detail) => (UnavailableKind::Unreachable, detail),
            Self::Newer { found } => (
                UnavailableKind::Unreachable,
                format!(
                    "its schema is version {found}, this program knows up to {}; use a newer program",
                    schema::LATEST
                ),
            ),
            Self::OtherProgram => (
                UnavailableKind::Unreachable,
                "the file belongs to another program".to_owned(),
            ),
        };
        Unavailable {
            component: "database",
            kind,
            detail,
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        let detail = error.to_string();
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return match error {
                // A stored value has a type that no build has ever written.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..) => Self::away(UnavailableKind::Corrupt, detail),
                rusqlite::Error::ToSqlConversionFailure(..) => Self::Poison(detail),
                _ => Self::away(UnavailableKind::Unreachable, detail),
            };
        };
        match failure.code {
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed => Self::away(UnavailableKind::Locked, detail),
            ErrorCode::DiskFull => Self::away(UnavailableKind::Full, detail),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Self::away(UnavailableKind::Corrupt, detail)
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                Self::away(UnavailableKind::ReadOnly, detail)
            }
            ErrorCode::ConstraintViolation
            | ErrorCode::TooBig
            | ErrorCode::TypeMismatch
            | ErrorCode::ParameterOutOfRange => Self::Poison(detail),
            _ => Self::away(UnavailableKind::Unreachable, detail),
        }
    }
}
