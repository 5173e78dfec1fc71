//! Private RabbitMQ and PostgreSQL servers, and processes of Wattpost, for tests, drills and benchmarks.
//!
//! A promise such as "nothing is lost when RabbitMQ is killed" must be tested with a real RabbitMQ. So this crate starts
//! real servers from the installed programs, each with its data in a directory of the caller and on free loopback ports.
//! They can be killed, restarted and disconnected. Servers that run on the machine already are not affected, and nothing
//! is left running: a server is killed when its value is dropped, and by the kernel when this process ends.
//!
//! - [`RabbitMq`]: one node. [`RabbitCluster`]: several nodes in a cluster.
//! - [`Postgres`]: one server with an empty database `wattpost`.
//! - [`Servers`]: one of each, with a virtual host and a database for each test.
//! - [`Deployment`] and [`Role`]: settings, commands and processes of Wattpost.
//! - [`Process`]: any other program.
//! - [`SmallDisk`]: a file system that can be filled up.
//! - [`Proxy`]: a TCP proxy that can delay, drop and break connections.
//! - [`commands`]: the comparison of commands that are shown with what chargers received.
//! - [`sessions`]: sessions of chargers, with what must be shown.
//!
//! Every call blocks; in an async program use `spawn_blocking`. The order of calls on a server is: `start`, then `kill` or
//! `stop`, then `restart` (or `start_again`, which does not wait, and `wait_ready`), repeatedly.

mod cluster;
pub mod commands;
mod deployment;
mod epmd;
pub mod http;
mod orphan;
mod ports;
mod postgres;
mod process;
mod programs;
mod proxy;
mod rabbit;
mod rabbit_home;
mod ready;
mod role;
mod server;
mod servers;
pub mod sessions;
mod small_disk;
mod spawner;

pub use cluster::RabbitCluster;
pub use deployment::Deployment;
pub use orphan::Orphan;
pub use ports::spare_port;
pub use postgres::{Postgres, psql};
pub use process::{Process, address_after, is_alive, tail, until};
pub use programs::installed;
pub use proxy::Proxy;
pub use rabbit::RabbitMq;
pub use role::Role;
pub use server::Server;
pub use servers::{Servers, Tenant};
pub use small_disk::SmallDisk;
