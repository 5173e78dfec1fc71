//! Opens one connection step by step, so that an error names its step; and keeps a handle that can end the
//! connection when the network is silent.
//!
//! The client library waits without a timeout when the network drops packets. So every step has a timeout, and a
//! second handle on the socket is kept: shutting that down makes the library's thread notice the end of the
//! connection and stop.

use crate::Config;
use crate::address::Address;
use common::lock::lock;
use lapin::tcp::RustlsConnector;
use lapin::types::ShortString;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

/// The steps of connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Resolving the host and connecting to its port.
    Connect,
    /// TLS.
    Tls,
    /// Protocol, user, virtual host.
    Login,
    /// Channels, exchanges, queues, bindings.
    Declare,
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(crate) struct DialError {
    pub(crate) step: Step,
    /// RabbitMQ's reply code (403, 404, 406, 530, …), if it sent one.
    pub(crate) code: Option<u16>,
    pub(crate) detail: String,
}

impl DialError {
    pub(crate) fn new(step: Step, detail: impl std::fmt::Display) -> Self {
        Self {
            step,
            code: None,
            detail: detail.to_string(),
        }
    }

    pub(crate) fn of(step: Step, error: &lapin::Error) -> Self {
        let (code, detail) = match error.kind() {
            lapin::ErrorKind::ProtocolError(amqp) => {
                (Some(amqp.get_id()), amqp.get_message().to_string())
            }
            _ => (None, error.to_string()),
        };
        Self { step, code, detail }
    }
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Ends a connection whatever the state of the network.
pub(crate) struct SocketHandle(std::net::TcpStream);

impl SocketHandle {
    pub(crate) fn shutdown(&self) {
        // An error means that it has ended already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Drop for SocketHandle {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A connection and the handle to end it.
pub(crate) struct RawConnection {
    pub(crate) connection: Connection,
    pub(crate) socket: SocketHandle,
}

/// Connects to one node.
pub(crate) async fn dial(
    address: &Address,
    config: &Config,
    role: &str,
) -> Result<RawConnection, DialError> {
    let runtime =
        lapin::runtime::default_runtime().map_err(|error| DialError::new(Step::Connect, error))?;
    let found = tokio::net::lookup_host((address.host(), address.port()))
        .await
        .map_err(|error| DialError::new(Step::Connect, error))?
        .collect::<Vec<_>>();
    let plain = AsyncTcpStream::connect(&runtime, found)
        .await
        .map_err(|error| DialError::new(Step::Connect, error))?;
    let socket = match &plain {
        AsyncTcpStream::Plain(stream) => stream
            .get_ref()
            .as_fd()
            .try_clone_to_owned()
            .map(|socket| SocketHandle(socket.into()))
            .map_err(|error| DialError::new(Step::Connect, error))?,
        _ => {
            return Err(DialError::new(
                Step::Connect,
                "a connection of another sort",
            ));
        }
    };
    let stream = if address.is_tls() {
        let connector = tls(config).map_err(|error| DialError::new(Step::Tls, error))?;
        plain
            .into_rustls(&connector, address.host())
            .await
            .map_err(|error| DialError::new(Step::Tls, error))?
    } else {
        plain
    };
    // The library takes a function that connects; it is called once, because reconnecting is off.
    let ready = Arc::new(Mutex::new(Some(stream)));
    let connection = Connection::connector(
        address.uri.clone(),
        runtime,
        async move |_, _| {
            let stream = lock(&ready).take();
            stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into())
        },
        properties(role),
    )
    .await
    .map_err(|error| DialError::of(Step::Login, &error))?;
    Ok(RawConnection { connection, socket })
}

fn properties(role: &str) -> ConnectionProperties {
    let version = env!("CARGO_PKG_VERSION");
    ConnectionProperties::default()
        .with_connection_name(format!("wattpost {role}").into())
        .with_client_property(ShortString::from("product"), "wattpost".into())
        .with_client_property(ShortString::from("version"), version.into())
}

/// The cryptography provider is chosen explicitly, so that no other part of the process makes the choice
/// ambiguous.
fn tls(config: &Config) -> Result<RustlsConnector, String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = &config.ca_file {
        let file = path.display();
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("broker.ca_file {file} cannot be read: {error}"))?;
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| format!("broker.ca_file {file}: {error}"))?;
        }
        if roots.is_empty() {
            return Err(format!("broker.ca_file {file} holds no certificate"));
        }
    } else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            return Err("the operating system has no certificates; name a broker.ca_file".into());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(RustlsConnector::from(client))
}
