//! Benchmarks of Wattpost as ratios to a reference that is measured in the same run.
//!
//! Absolute numbers of a shared machine are not comparable. So the acknowledged messages per second are compared with
//! those of a bare WebSocket echo server on the same library, with the same client, in alternation. `make bench` runs
//! it; docs/benchmarks.md has the results.
//!
//! The program starts itself for the other processes that it needs (`echo`, `load`, `idle`, `fill`), so that CPU time and
//! memory are measured per process.

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
    about = "Compares Wattpost with a bare echo server; `chain` compares the whole pipeline with a Node.js process"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: report::Plan,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A bare WebSocket echo server on the library of the gateway
    Echo {
        /// Address and port
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Chargers with one unanswered message each; prints the result as one JSON object
    Load {
        /// Address of the server
        #[arg(long)]
        server: SocketAddr,
        /// Number of chargers
        #[arg(long)]
        chargers: u32,
        /// Seconds to measure, after one second of warm-up
        #[arg(long)]
        seconds: f64,
        /// Prefix of the identities
        #[arg(long, default_value = "B-")]
        prefix: String,
        /// Messages per second of all chargers together, whether or not the server answers in time (open loop)
        /// [default: each charger sends as soon as it is answered (closed loop)]
        #[arg(long)]
        rate: Option<f64>,
    },
    /// The whole pipeline (RabbitMQ, PostgreSQL, each role as a process) compared with a single Node.js process
    Chain(chain::ChainPlan),
    /// Opens idle connections and holds them until stdin is closed
    Idle {
        /// Address of the server
        #[arg(long)]
        server: SocketAddr,
        /// Number of connections
        #[arg(long)]
        chargers: u32,
    },
    /// Fills the journal of a data directory with undelivered records
    Fill {
        /// Data directory
        #[arg(long)]
        data_dir: PathBuf,
        /// Number of records
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
