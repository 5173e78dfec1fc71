//! From a TCP connection to an admitted charger.

pub(crate) mod accept;
pub(crate) mod auth;
pub(crate) mod handshake;
pub(crate) mod pending;
pub(crate) mod unknown;
