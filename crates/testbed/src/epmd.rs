//! A private epmd, Erlang's port mapper daemon. It tells `rabbitmqctl` and the other nodes of a cluster the port on which a
//! RabbitMQ node accepts Erlang distribution. The usual epmd, on port 4369, is shared by all Erlang programs of the
//! machine; a private one keeps the test nodes apart from them.

use crate::process::{Process, child_command};
use crate::{ports, programs};
use anyhow::Context as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Epmd {
    pub(crate) port: u16,
    _process: Process,
}

impl Epmd {
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        let port = ports::spare_port().context("find a port for epmd")?;
        let mut command = child_command(&programs::EPMD.path()?, None)?;
        command
            .arg("-port")
            .arg(port.to_string())
            .args(["-address", "127.0.0.1"]);
        let process = Process::start(command, "epmd", &dir.join("epmd.log"))?;
        let deadline = Instant::now() + START_TIMEOUT;
        process.wait_until(deadline, None, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}
