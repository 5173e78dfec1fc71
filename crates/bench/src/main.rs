//! Measures Wattpost against what the machine can do at best, in one run, as ratios.
//!
//! Absolute numbers of a shared machine say little. So each cell is measured beside its own
//! yardstick: acknowledged messages per second beside a bare WebSocket echo server built on the same
//! library, by the same client, in turns. `make bench` runs it; docs/benchmarks.md keeps a table.
//!
//! The program starts itself again as the other processes that it needs (`echo`, `load`, `idle`), so
//! that CPU time and memory can be read per process.

mod chain;
mod echo;
mod fill;
mod load;
mod process;
mod report;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(
    about = "Measures Wattpost beside a bare echo server; `chain` measures all parts together"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: report::Plan,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A bare WebSocket echo server on the library that the gateway uses
    Echo {
        /// Address and port
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// A closed loop of chargers, one message outstanding each; prints one JSON object
    Load {
        /// Server
        #[arg(long)]
        server: SocketAddr,
        /// Chargers
        #[arg(long)]
        chargers: u32,
        /// Seconds to measure, after one second to warm up
        #[arg(long)]
        seconds: f64,
        /// What identities begin with
        #[arg(long, default_value = "B-")]
        prefix: String,
        /// Messages per second of all together, however the server answers [default: as fast as answers
        /// come]
        #[arg(long)]
        rate: Option<f64>,
    },
    /// The whole chain (RabbitMQ, PostgreSQL, every role a process) beside the founding architecture
    Chain(chain::ChainPlan),
    /// Connections that say nothing; holds them until its stdin closes
    Idle {
        /// Server
        #[arg(long)]
        server: SocketAddr,
        /// Connections
        #[arg(long)]
        chargers: u32,
    },
    /// Fills a data directory's journal with records that wait to be delivered
    Fill {
        /// Data directory
        #[arg(long)]
        data_dir: PathBuf,
        /// Records
        #[arg(long)]
        records: u64,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = |threads: usize| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .context("start the runtime")
    };
    match cli.command {
        None => report::run(&cli.plan),
        Some(Command::Echo { listen }) => runtime(2)?.block_on(echo::run(listen)),
        Some(Command::Load {
            server,
            chargers,
            seconds,
            prefix,
            rate,
        }) => runtime(2)?.block_on(load::run(server, chargers, seconds, &prefix, rate)),
        Some(Command::Chain(plan)) => chain::run(&plan),
        Some(Command::Idle { server, chargers }) => {
            runtime(1)?.block_on(load::idle(server, chargers))
        }
        Some(Command::Fill { data_dir, records }) => fill::run(&data_dir, records),
    }
}
