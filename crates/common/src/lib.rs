//! Small helpers that several crates need, each defined once.
//!
//! - [`backoff`]: the delay before the next attempt.
//! - [`batch_rate`]: how often a batch that is not full may be sent.
//! - [`clock`]: the wall clock. The pure crates `ocpp` and `central` must not use this crate; they take time as
//!   an argument.
//! - [`id`]: new ids.
//! - [`lock`]: a mutex lock, and waits on its condition variable, that ignore poisoning.
//! - [`log_bound`]: a bound on log lines that any peer can cause.
//! - [`metrics`]: the table of a crate's metrics.
//! - [`password`]: hashes of passwords.
//! - [`restart`]: threads and tasks that run again after a panic.
//! - [`settings`]: the error of a setting that cannot work.
//! - [`spreadsheet`]: texts in CSV files that a spreadsheet must not run.

pub mod backoff;
pub mod batch_rate;
pub mod clock;
pub mod id;
pub mod lock;
pub mod log_bound;
pub mod metrics;
pub mod password;
pub mod restart;
pub mod settings;
pub mod spreadsheet;
