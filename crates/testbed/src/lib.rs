//! Private RabbitMQ and PostgreSQL servers, for tests, drills and benchmarks.
//!
//! A promise such as "nothing is lost when RabbitMQ dies" is worth what it was tried on. So whoever wants to try it
//! gets servers of his own: real ones, from the programs that the distribution installed, each with its data in a
//! directory of the caller's, on spare loopback ports, to be killed, restarted, cut off and thrown away. Nothing that
//! runs on the machine already is touched, and nothing stays behind: a server dies when its value is dropped, and
//! also when the process that holds it is killed.
//!
//! - [`RabbitMq`]: one node. [`RabbitCluster`]: several that form a cluster.
//! - [`Postgres`]: one server with an empty database `wattpost`.
//! - [`Process`]: any other program, as mortal as those.
//! - [`Proxy`]: a TCP proxy that can be broken and mended, to put between anything and anything.
//!
//! Every call blocks; in an async program use `spawn_blocking`. The order of calls is always the same: `start`, then
//! `kill` or `stop`, then `restart` (or `start_again`, which does not wait, and `wait_ready`), as often as you like.

mod cluster;
mod epmd;
mod keeper;
mod ports;
mod postgres;
mod process;
mod programs;
mod proxy;
mod rabbit;
mod rabbit_home;
mod ready;

pub use cluster::RabbitCluster;
pub use ports::spare_port;
pub use postgres::Postgres;
pub use process::{Process, address_after, until};
pub use programs::installed;
pub use proxy::Proxy;
pub use rabbit::RabbitMq;
