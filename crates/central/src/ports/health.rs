//! The health of each component, for `/health/ready`.

use serde::Serialize;

/// The health of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `gateway`, `journal`, `database`, …
    pub part: &'static str,
    /// Whether it works.
    pub up: bool,
    /// What is wrong, or a short description.
    pub detail: String,
}

/// A component whose health can be read at any time, without waiting.
pub trait HealthProbe: Send + Sync + 'static {
    /// Its health now.
    fn health(&self) -> Vec<Health>;
}
