//! The health of each component, for `/health/ready`.

use serde::Serialize;

/// One part's health, for `/health/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `gateway`, `journal`, `database`, …
    pub part: &'static str,
    /// Whether it does its work.
    pub up: bool,
    /// What is wrong, or a few words on how it is.
    pub detail: String,
}

/// Something whose health can be asked at any time, without waiting.
pub trait HealthProbe: Send + Sync + 'static {
    /// How it is now.
    fn health(&self) -> Vec<Health>;
}
