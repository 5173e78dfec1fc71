//! Small numbers that stand for chargers and gateways in the rows of both databases.

/// With more identities than this, a writer's cache of numbers is cleared, and the numbers are read again.
pub(crate) const CHARGERS_CACHED_MAX: usize = 100_000;

/// A charger as a message refers to it; `N` is the type of its number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charger<N> {
    pub(crate) no: N,
    /// Whether the record spells the identity otherwise than `chargers.id`.
    pub(crate) spelled_otherwise: bool,
}

impl<N: Default> Charger<N> {
    /// The value for a record that has no charger: number 0.
    pub(crate) fn none() -> Self {
        Self {
            no: N::default(),
            spelled_otherwise: false,
        }
    }
}
