//! Code generation and checks of the dependencies. A library, so that a test can compare generated files with the committed
//! ones.

pub mod codegen;
pub mod guard;
