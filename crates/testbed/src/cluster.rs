//! Several RabbitMQ nodes that form one cluster, to see that a majority carries on.

use crate::RabbitMq;
use crate::epmd::Epmd;
use anyhow::{Context as _, bail};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FORM_S_MAX: u64 = 240;
const POLL: Duration = Duration::from_millis(300);

/// A private cluster. Dropping it kills all nodes.
#[derive(Debug)]
pub struct RabbitCluster {
    /// The nodes, each with its own data in a directory of its own. All speak for the whole cluster.
    pub nodes: Vec<RabbitMq>,
}

impl RabbitCluster {
    /// Starts `count` nodes with their data below `dir`, and waits until all of them are one cluster: three take about
    /// half a minute on two cores.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::start`]; or they do not find each other within four minutes.
    pub fn start(dir: &Path, count: usize) -> anyhow::Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(FORM_S_MAX);
        let cookie: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(20)
            .collect();
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let epmd = Arc::new(Epmd::start(dir)?);
        let mut nodes: Vec<RabbitMq> = Vec::new();
        for index in 0..count {
            nodes.push(RabbitMq::spawn(
                &dir.join(format!("node-{index}")),
                Arc::clone(&epmd),
                &cookie,
                &[],
            )?);
        }
        for node in &nodes {
            node.wait_ready(deadline)?;
        }
        let cluster = Self { nodes };
        let Some((first, others)) = cluster.nodes.split_first() else {
            bail!("a cluster of no nodes");
        };
        for node in others {
            node.ctl(&["stop_app"])?;
            node.ctl(&["reset"])?;
            node.ctl(&["join_cluster", first.name()])?;
            node.ctl(&["start_app"])?;
            node.wait_ready(deadline)?;
        }
        cluster.wait_members(count, deadline)?;
        Ok(cluster)
    }

    /// Where to connect to node `index` (from 0).
    ///
    /// # Panics
    ///
    /// There is no such node.
    pub fn url(&self, index: usize) -> String {
        self.nodes[index].url()
    }

    /// SIGKILL to one node.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::kill`].
    ///
    /// # Panics
    ///
    /// There is no such node.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        self.nodes[index].kill()
    }

    /// Starts one node again with its data; waits until it takes connections and has joined the others that run.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::restart`].
    ///
    /// # Panics
    ///
    /// There is no such node.
    pub fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        self.nodes[index].restart()?;
        let running = self.nodes.iter().filter(|node| node.is_running()).count();
        self.wait_members(running, Instant::now() + Duration::from_secs(FORM_S_MAX))
    }

    /// Waits until each running node sees `count` running nodes.
    fn wait_members(&self, count: usize, deadline: Instant) -> anyhow::Result<()> {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            while running_members(node)? != count {
                if Instant::now() > deadline {
                    bail!(
                        "{} does not see {count} nodes: {}",
                        node.name(),
                        node.ctl(&["cluster_status"])?
                    );
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }
}

/// How many nodes `node` knows to run, itself included.
fn running_members(node: &RabbitMq) -> anyhow::Result<usize> {
    let printed = node.ctl(&["eval", "length(rabbit_nodes:all_running())."])?;
    printed
        .trim()
        .parse()
        .with_context(|| format!("read the number of nodes from {printed:?}"))
}
