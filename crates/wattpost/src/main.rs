//! The `wattpost` binary.
fn main() {}
