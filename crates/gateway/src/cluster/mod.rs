//! Several gateways that share chargers.

pub(crate) mod ownership;
