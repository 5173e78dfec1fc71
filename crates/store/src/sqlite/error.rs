//! Maps SQLite's errors to what the caller does: wait and retry, or give this record up.

use crate::refusal::Refusal;
use central::ports::UnavailableKind;
use rusqlite::ErrorCode;
use std::path::PathBuf;

/// Why a database cannot be used; waiting does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqliteOpenError {
    /// Written by a newer program.
    #[error(
        "{path} has schema version {found}, and this program knows up to {known}; use the newer program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema's version.
        found: u32,
        /// The newest version that this build knows.
        known: u32,
    },
    /// A database of another program.
    #[error("{path} is a database, but not one of Wattpost's; choose another file")]
    OtherProgram {
        /// The file.
        path: PathBuf,
    },
    /// The directory is missing and cannot be created, or the path is not a file.
    #[error("cannot create a database at {path}: {reason}")]
    Path {
        /// The file.
        path: PathBuf,
        /// The operating system's message.
        reason: String,
    },
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
                | rusqlite::Error::Utf8Error(..) => Self::corrupt(detail),
                rusqlite::Error::ToSqlConversionFailure(..) => Self::Poison(detail),
                _ => Self::unreachable(detail),
            };
        };
        match failure.code {
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed => {
                Self::unavailable(UnavailableKind::Locked, detail)
            }
            ErrorCode::DiskFull => Self::unavailable(UnavailableKind::Full, detail),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::corrupt(detail),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                Self::unavailable(UnavailableKind::ReadOnly, detail)
            }
            ErrorCode::ConstraintViolation
            | ErrorCode::TooBig
            | ErrorCode::TypeMismatch
            | ErrorCode::ParameterOutOfRange => Self::Poison(detail),
            _ => Self::unreachable(detail),
        }
    }
}
