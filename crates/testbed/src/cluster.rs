//! Several RabbitMQ nodes in one cluster, to test that a majority of them is enough.

use crate::RabbitMq;
use crate::epmd::Epmd;
use anyhow::{Context as _, bail};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FORM_TIMEOUT: Duration = Duration::from_secs(240);
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// A private cluster. Dropping it kills all nodes.
#[derive(Debug)]
pub struct RabbitCluster {
    /// The nodes, each with its own data directory. Clients may connect to any of them.
    pub nodes: Vec<RabbitMq>,
}

impl RabbitCluster {
    /// Starts `count` nodes with their data below `dir`, and waits until they form one cluster: about half a minute for
    /// three nodes on two cores.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::start`]; or they do not form a cluster within four minutes.
    pub fn start(dir: &Path, count: usize) -> anyhow::Result<Self> {
        let deadline = Instant::now() + FORM_TIMEOUT;
        let cookie: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(20)
            .collect();
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let epmd = Arc::new(Epmd::start(dir)?);
        let mut nodes: Vec<RabbitMq> = Vec::new();
        for index in 0..count {
            nodes.push(RabbitMq::spawn_node(
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
            bail!("a cluster needs at least one node");
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

    /// The URL of node `index` (from 0).
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

    /// Starts one node again with its data; waits until it accepts connections and has joined the other running nodes.
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
        self.wait_members(running, Instant::now() + FORM_TIMEOUT)
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
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }
}

/// The number of running nodes that `node` sees, including itself.
fn running_members(node: &RabbitMq) -> anyhow::Result<usize> {
    let printed = node.ctl(&["eval", "length(rabbit_nodes:all_running())."])?;
    printed
        .trim()
        .parse()
        .with_context(|| format!("parse the number of nodes in {printed:?}"))
}
