//! What SQLite's errors mean for the one who asked: wait and try again, or give this record up.

use crate::sqlite::schema;
use central::ports::{Unavailable, UnavailableKind};
use rusqlite::ErrorCode;

/// Why the database did not do what we asked.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It may do it later; says how.
    Unavailable(Unavailable),
    /// It was not done in time; with less to do it may be.
    Late(String),
    /// It will never do this, but may do everything else: one record's fault, not the database's.
    Poison(String),
    /// The schema is newer than this build.
    Newer {
        /// The schema's version.
        found: u32,
    },
    /// The file is a database of some other program.
    Foreign,
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

    /// For callers that cannot do more than wait.
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
            Self::Foreign => (
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
                // What is stored has another type than every build has ever written.
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
