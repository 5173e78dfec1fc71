//! What outgrows one line of make. A library, so that tests can ask whether what was generated is
//! still fresh.

pub mod codegen;
pub mod guard;
