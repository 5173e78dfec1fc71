//! The journal's promises, on a simulated disk and on real files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

mod common;

mod bit_rot;
mod disk_errors;
mod disk_full;
mod live;
mod model;
mod opening;
mod power_cut;
mod reading;
mod real_files;
mod restart;
