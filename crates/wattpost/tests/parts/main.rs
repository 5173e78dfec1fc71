//! Stories of the parts as processes of their own: gateways, consumers and the API of the real binary,
//! with a real RabbitMQ and a real PostgreSQL, each of which may be wrong, late, killed or upgraded alone.
//!
//! RabbitMQ and PostgreSQL are started once; each story has a virtual host and a database of its own.

#![expect(
    clippy::expect_used,
    reason = "a story that cannot go on says where it stopped"
)]

#[path = "../stories/charger.rs"]
mod charger;
#[path = "../stories/http.rs"]
mod http;
#[path = "../stories/metrics_page.rs"]
mod metrics_page;
mod plant;

mod alone;
mod cluster;
mod dead_letters;
mod metrics;
mod restored;
mod several_gateways;
mod upkeep;
mod wrong_settings;
