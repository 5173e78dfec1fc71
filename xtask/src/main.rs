//! What outgrows one line of make.
fn main() {}
