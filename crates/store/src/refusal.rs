//! Why a database refused an operation. The kind decides what the caller does next: it waits and retries, retries with a
//! smaller batch, or makes the record a dead letter. Each adapter maps the errors of its client library to these kinds.

use central::ports::{Unavailable, UnavailableKind};

/// Why the database refused an operation.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A retry may succeed; the member gives the kind of outage.
    Unavailable(Unavailable),
    /// It took too long; a smaller batch may be done in time.
    Late(String),
    /// The database refuses this record permanently and works otherwise.
    Poison(String),
    /// The schema is newer than this build.
    Newer {
        /// The schema's version.
        found: u32,
        /// The newest version that this build knows.
        known: u32,
    },
    /// It is a database of another program.
    OtherProgram,
}

impl Refusal {
    /// A refusal of the given kind.
    pub(crate) fn unavailable(kind: UnavailableKind, detail: impl Into<String>) -> Self {
        Self::Unavailable(Unavailable {
            component: "database",
            kind,
            detail: detail.into(),
        })
    }

    /// What is stored cannot be read.
    pub(crate) fn corrupt(detail: impl Into<String>) -> Self {
        Self::unavailable(UnavailableKind::Corrupt, detail)
    }

    /// The database does not answer, or refuses for a reason that has no kind of its own.
    pub(crate) fn unreachable(detail: impl Into<String>) -> Self {
        Self::unavailable(UnavailableKind::Unreachable, detail)
    }

    /// For callers that can only wait and retry.
    pub(crate) fn into_unavailable(self) -> Unavailable {
        let detail = match self {
            Self::Unavailable(unavailable) => return unavailable,
            Self::Late(detail) | Self::Poison(detail) => detail,
            Self::Newer { found, known } => format!(
                "its schema is version {found}, this program knows up to {known}; use a newer program"
            ),
            Self::OtherProgram => "it belongs to another program".to_owned(),
        };
        Unavailable {
            component: "database",
            kind: UnavailableKind::Unreachable,
            detail,
        }
    }

    /// Whether what is stored cannot be read; the database works otherwise.
    pub(crate) fn is_corrupt(&self) -> bool {
        matches!(self, Self::Unavailable(Unavailable { kind, .. }) if *kind == UnavailableKind::Corrupt)
    }

    /// Whether the connection must be closed: it is broken, or the operation may still be running on it.
    pub(crate) const fn breaks_connection(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Late(_) | Self::Newer { .. }
        )
    }
}
