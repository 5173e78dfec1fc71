//! Stories with the real binary: what an operator would see, told as tests.
//!
//! Each starts processes of its own on ports that the system picks. `WATTPOST_FULL=1` (`make stories`)
//! plays them at full length; without it they are as long as a build that everybody waits for allows.

#![expect(
    clippy::expect_used,
    reason = "a story that cannot go on says where it stopped"
)]

mod charger;
mod deployment;
mod http;
mod metrics_page;

mod flood;
mod graceful_stop;
mod handles;
mod killed;
mod metrics;
mod old_copies;
mod outages;
mod overload;
mod resent;
mod rotten;
mod strangers;
mod unknown;
mod wrong_settings;

/// Whether the stories are to be played at full length.
fn full_length() -> bool {
    std::env::var_os("WATTPOST_FULL").is_some_and(|value| value == "1")
}
