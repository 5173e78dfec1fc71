//! One attempt to deliver a message, which ends within a bounded time and reads a bounded answer, whatever the receiver does.
//!
//! Each attempt has its own connection: the name is resolved once, its addresses are checked, and one that was checked is
//! connected to. A receiver can keep nothing open. Redirects are not followed, and no proxy is used.

use super::address::{AddressError, Reach, Target};
use super::names::{self, Lookup, NameError, Names};
use super::retry;
use bytes::Bytes;
use central::model::{WEBHOOK_SECRET_PREFIX, WebhookSecret};
use central::secret::HIDDEN;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, DATE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Bytes of an answer that are read at most.
const ANSWER_BYTES: usize = 2_048;
/// Bytes of the head of an answer at most.
const HEAD_BYTES: usize = 16 * 1_024;
/// The time for the body of an answer after its head. The status has decided already.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Addresses of a name that are tried at most.
const ADDRESSES_MAX: usize = 4;
/// Bytes that are taken from a connection at most: those of a TLS handshake with long certificates, and of an answer. A
/// receiver that sends one interim answer after the other is cut off here.
const RECEIVED_BYTES: u64 = 256 * 1_024;

/// The settings of attempts.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// What may be reached.
    pub reach: Reach,
    /// The time for a TCP connection to one address.
    pub connect_timeout: Duration,
    /// The time for a whole attempt, from resolving the name to the head of the answer.
    pub timeout: Duration,
    /// Certificates of authorities, in PEM, in place of those of the operating system.
    pub ca_file: Option<PathBuf>,
}

/// Characters of a secret at the end of a text that are taken for a secret whose rest was not read.
const CUT_SECRET_MIN: usize = 6;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// The status of the answer, if one came in time.
    pub status: Option<u16>,
    /// The first bytes of the answer, as text without control characters and without the secrets of the message.
    pub answer: String,
    /// How long the receiver asks to wait, by the header `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Why there is no answer. It holds neither the URL nor a secret.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Attempted {
    /// Whether the receiver has accepted the message: its status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// The value of the label `result` of metrics.
    #[must_use]
    pub fn result(&self) -> &'static str {
        match self.status {
            Some(_) if self.is_success() => "delivered",
            Some(_) => "refused",
            None => "failed",
        }
    }
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id, the same in each attempt.
    pub id: String,
    /// When the attempt begins, in seconds since 1970.
    pub timestamp_s: i64,
    /// The value of the header `webhook-signature`.
    pub signature: String,
    /// JSON.
    pub body: Bytes,
    /// What is hidden in the answer: a receiver that fails may answer with its settings.
    pub secrets: Vec<WebhookSecret>,
}

impl Message {
    /// A text of the receiver without the secrets. Of a secret that is cut at the end of the text nothing is left either.
    fn hide_in(&self, mut text: String) -> String {
        for secret in &self.secrets {
            let digits = secret.expose();
            let digits = digits.trim_start_matches(WEBHOOK_SECRET_PREFIX);
            let digits = digits.trim_end_matches('=');
            let of_urls = digits.replace('+', "-").replace('/', "_");
            for form in [digits, of_urls.as_str()] {
                text = text.replace(form, HIDDEN);
                let cut = (CUT_SECRET_MIN..form.len())
                    .rev()
                    .find(|n| text.ends_with(&form[..*n]));
                if let Some(cut) = cut {
                    text.truncate(text.len() - cut);
                    text.push_str(HIDDEN);
                }
            }
        }
        text
    }
}

/// Why an attempt has no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the name is not resolved within {} s", .0.as_secs_f64())]
    NotResolved(Duration),
    #[error("the name has no address")]
    NoAddress,
    #[error("failed to connect to {0}: {1}")]
    Connect(SocketAddr, std::io::Error),
    #[error("TLS with {0} failed: {1}")]
    Tls(SocketAddr, std::io::Error),
    #[error("{0}")]
    Certificates(String),
    #[error("failed to send the request or to read the answer: {0}")]
    Http(String),
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
}

/// Sends messages. Attempts do not affect each other.
pub struct Client {
    config: ClientConfig,
    tls: Result<TlsConnector, String>,
    names: Names,
}

impl Client {
    /// Reads the certificates of the authorities. If the operating system has none, attempts by `https` fail and say so.
    ///
    /// # Errors
    /// When `ca_file` cannot be read.
    pub fn new(config: ClientConfig) -> Result<Self, String> {
        Self::with_lookup(config, Arc::new(names::system))
    }

    /// The same, and `lookup` resolves names in place of the operating system. It is called on threads of its own, for one
    /// name once at a time, and never for an address.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_lookup(config: ClientConfig, lookup: Arc<Lookup>) -> Result<Self, String> {
        let tls = connector(config.ca_file.as_deref());
        if config.ca_file.is_some()
            && let Err(error) = &tls
        {
            return Err(error.clone());
        }
        Ok(Self {
            config,
            tls,
            names: Names::new(lookup),
        })
    }

    /// The longest time that an attempt takes.
    #[must_use]
    pub fn time_max(&self) -> Duration {
        self.config.timeout + ANSWER_TIME
    }

    /// What may be reached.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.config.reach
    }

    /// Sends a message once. It ends within the configured time, plus 2 seconds for the body of the answer.
    pub async fn send(&self, url: &str, message: &Message) -> Attempted {
        let began = Instant::now();
        let mut retry_after = None;
        let (status, answer, error) = match self.exchange(url, message).await {
            Ok(exchange) => {
                let status = exchange.response.status().as_u16();
                retry_after = exchange.retry_after();
                (
                    Some(status),
                    message.hide_in(exchange.into_text().await),
                    None,
                )
            }
            Err(failure) => (None, String::new(), Some(shown(&failure.to_string()))),
        };
        Attempted {
            status,
            answer,
            retry_after,
            error,
            took: began.elapsed(),
        }
    }

    /// Sends the message, until the head of the answer has arrived or the time is over.
    async fn exchange(&self, url: &str, message: &Message) -> Result<Exchange, Failure> {
        let limit = self.config.timeout;
        let deadline = tokio::time::Instant::now() + limit;
        let target = self.config.reach.target(url)?;
        let resolved = timeout_at(deadline, self.names.resolve(&target.host, target.port));
        let resolved = resolved.await.map_err(|_| Failure::NotResolved(limit))?;
        let answered = timeout_at(deadline, self.request(&target, resolved?, message));
        answered.await.map_err(|_| Failure::Late(limit))?
    }

    async fn request(
        &self,
        target: &Target,
        addresses: Vec<SocketAddr>,
        message: &Message,
    ) -> Result<Exchange, Failure> {
        let (tcp, address) = self.connect(addresses).await?;
        let (reader, writer) = tcp.into_split();
        let tcp = tokio::io::join(reader.take(RECEIVED_BYTES), writer);
        if target.is_tls {
            let tls = self.tls.as_ref();
            let tls = tls.map_err(|error| Failure::Certificates(error.clone()))?;
            let failed = |error| Failure::Tls(address, error);
            let name = ServerName::try_from(target.host.clone())
                .map_err(|error| failed(std::io::Error::other(error)))?;
            let stream = tls.connect(name, tcp).await.map_err(failed)?;
            request(stream, target, message).await
        } else {
            request(tcp, target, message).await
        }
    }

    /// Connects to the first of these addresses that may be reached and answers.
    async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> Result<(TcpStream, SocketAddr), Failure> {
        let mut failure = Failure::NoAddress;
        let mut tried = 0;
        for address in addresses {
            if let Err(error) = self.config.reach.check(address.ip()) {
                if tried == 0 {
                    failure = error.into();
                }
                continue;
            }
            if tried == ADDRESSES_MAX {
                break;
            }
            tried += 1;
            let connected = timeout(self.config.connect_timeout, TcpStream::connect(address));
            let connected = connected
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            match connected {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => failure = Failure::Connect(address, error),
            }
        }
        Err(failure)
    }
}

/// An answer, and the task that reads it from the connection.
struct Exchange {
    response: Response<Incoming>,
    _connection: Connection,
}

/// Ends the connection when it is dropped.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn request<S>(stream: S, target: &Target, message: &Message) -> Result<Exchange, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| Failure::Http(chain(&error));
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(failed)?;
    let connection = Connection(tokio::spawn(async move {
        // Its error is that of the request.
        let _ = connection.await;
    }));
    let request = Request::builder()
        .method(Method::POST)
        .uri(target.path.as_str())
        .header(HOST, target.authority.as_str())
        .header(USER_AGENT, concat!("wattpost/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", message.id.as_str())
        .header("webhook-timestamp", message.timestamp_s)
        .header("webhook-signature", message.signature.as_str())
        .body(Full::new(message.body.clone()))
        .map_err(|error| Failure::Http(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    Ok(Exchange {
        response,
        _connection: connection,
    })
}

impl Exchange {
    fn retry_after(&self) -> Option<Duration> {
        let header = |name| {
            let value = self.response.headers().get(name);
            value.and_then(|value: &HeaderValue| value.to_str().ok())
        };
        retry::retry_after(header(RETRY_AFTER)?, header(DATE), SystemTime::now())
    }

    /// The first bytes of the body. What comes late or after them is not read.
    async fn into_text(mut self) -> String {
        let mut bytes = Vec::new();
        let body = self.response.body_mut();
        let read = async {
            while let Some(Ok(frame)) = body.frame().await {
                if let Some(data) = frame.data_ref() {
                    let rest = ANSWER_BYTES - bytes.len();
                    bytes.extend_from_slice(&data[..data.len().min(rest)]);
                }
                if bytes.len() == ANSWER_BYTES {
                    break;
                }
            }
        };
        // Late bytes are not part of the answer.
        let _ = timeout(ANSWER_TIME, read).await;
        shown(&String::from_utf8_lossy(&bytes))
    }
}

/// A text of the receiver without control characters, and of bounded length: a certificate can have thousands of names, and
/// an error of TLS lists them.
fn shown(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(ANSWER_BYTES * 3)];
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

/// An error with its causes: that of hyper alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = ca_file {
        let file = path.display();
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("webhooks.ca_file {file} cannot be read: {error}"))?;
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| format!("webhooks.ca_file {file}: {error}"))?;
        }
        if roots.is_empty() {
            return Err(format!("webhooks.ca_file {file} holds no certificate"));
        }
    } else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            let cure = "the operating system has no certificates; name a webhooks.ca_file";
            return Err(cure.to_owned());
        }
    }
    // The provider is named, so that no other part of the process makes the choice ambiguous.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
