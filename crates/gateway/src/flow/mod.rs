//! How fast messages are taken in, and whether any are.

pub(crate) mod controller;
pub(crate) mod pace;
pub(crate) mod watch;
