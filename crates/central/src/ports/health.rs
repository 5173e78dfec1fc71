//! The health of each component, for `/health` and `/health/ready`.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// The health of one component.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// `gateway`, `journal`, `database`, …
    pub part: &'static str,
    /// Whether it works.
    pub up: bool,
    /// Whether the process can do new work, as far as this part is concerned. A part that does not work need not
    /// prevent it: a gateway serves chargers while RabbitMQ and the database are unavailable.
    pub ready: bool,
    /// What is wrong, or a short description.
    pub detail: String,
    /// Its figures now, for `/health` only.
    #[serde(skip)]
    pub figures: Figures,
}

impl Health {
    /// A part without figures that never prevents new work.
    #[must_use]
    pub fn new(part: &'static str, up: bool, detail: impl Into<String>) -> Self {
        Self {
            part,
            up,
            ready: true,
            detail: detail.into(),
            figures: Figures::default(),
        }
    }

    /// The process can do new work only while `ready`.
    #[must_use]
    pub const fn ready_if(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }

    /// With a figure. Its name ends in its unit: `_records`, `_bytes`, `_seconds`, `_seq`. `None`: not known.
    #[must_use]
    pub fn figure(mut self, name: &'static str, value: impl Into<Option<Figure>>) -> Self {
        self.figures.0.push((name, value.into()));
        self
    }
}

/// The figures of a part by name, in the order in which they are shown; serialised as an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures(Vec<(&'static str, Option<Figure>)>);

impl Figures {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of another view of the same part.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// A count, a position or bytes.
    Whole(u64),
    /// Seconds, with their fraction.
    Seconds(f64),
}

impl From<u64> for Figure {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<std::time::Duration> for Figure {
    /// Rounded to microseconds.
    fn from(value: std::time::Duration) -> Self {
        Self::Seconds((value.as_secs_f64() * 1e6).round() / 1e6)
    }
}

/// A component whose health can be read at any time, without waiting.
pub trait HealthProbe: Send + Sync + 'static {
    /// Its health now.
    fn health(&self) -> Vec<Health>;
}
