//! Accepts connections and serves each in its own task. It limits the number of connections, the time for the head of a
//! request, and the time for which a client may leave an answer unread. When all connections are in use, health checks
//! are still answered ([`crate::health_reserve`]).

use crate::config::ApiConfig;
use crate::health_reserve::HealthReserve;
use crate::write_timeout::WriteTimeout;
use crate::wrong_port::Client;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Maximum length of the request line and the headers, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Timeout of the head of the first request on a new connection.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file handles, most likely), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Signals that end the accept loop and its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// No new connections; requests in progress are finished.
    pub(crate) graceful: CancellationToken,
    /// Remaining connections are dropped.
    pub(crate) immediate: CancellationToken,
}

/// The routers of the two kinds of connections.
#[derive(Clone)]
pub(crate) struct Services {
    /// For an ordinary connection: all routes.
    pub(crate) all: Router,
    /// For a reserved connection: health and metrics.
    pub(crate) reserved: Router,
}

/// Accepts until stopped. Runs as one task; its connections run in `tasks`.
pub(crate) async fn accept(
    listener: Arc<TcpListener>,
    services: Services,
    config: ApiConfig,
    stop: Stop,
    tasks: TaskTracker,
) {
    let permits = Arc::new(Semaphore::new(config.connections_max));
    let mut reserve = HealthReserve::default();
    loop {
        let accepted = select! {
            biased;
            () = stop.graceful.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok((stream, address)) => (stream, Client(address)),
            Err(error) => {
                warn!(%error, "failed to accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let permit = Arc::clone(&permits).try_acquire_owned().ok();
        let is_reserved = permit.is_none();
        if is_reserved {
            // Meanwhile, new connections wait in the kernel's backlog, without memory of this process.
            select! {
                biased;
                () = stop.graceful.cancelled() => return,
                () = reserve.make_room() => {}
            }
        }
        let router = if is_reserved {
            &services.reserved
        } else {
            &services.all
        };
        let connection = serve(
            stream,
            client,
            router.clone(),
            is_reserved,
            config.clone(),
            stop.clone(),
        );
        let task = tasks.spawn(async move {
            let _counted = Counted::new();
            connection.await;
            drop(permit);
        });
        if is_reserved {
            reserve.hold(task);
        }
    }
}

/// Counts one open connection in the metrics until it is dropped, also if its task is aborted.
struct Counted(metrics::Gauge);

impl Counted {
    fn new() -> Self {
        let open = metrics::gauge!("wattpost_api_connections");
        open.increment(1);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

async fn serve(
    stream: TcpStream,
    client: Client,
    router: Router,
    is_reserved: bool,
    config: ApiConfig,
    stop: Stop,
) {
    // Otherwise small answers on a kept-alive connection wait 40 ms for a delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    let first_request = CancellationToken::new();
    let (request_began, service) = (first_request.clone(), TowerToHyperService::new(router));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request_began.cancel();
        request.extensions_mut().insert(client);
        service.call(request)
    });
    let stream = WriteTimeout::new(stream, config.idle_timeout());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // RFC 9110, section 6.6.1: no date without a clock.
        .auto_date_header(common::clock::is_set())
        .header_read_timeout(config.idle_timeout())
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(!is_reserved)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let first_head_timeout = async {
        let first = tokio::time::timeout(FIRST_HEAD_TIMEOUT, first_request.cancelled()).await;
        if first.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let served = select! {
        biased;
        served = connection.as_mut() => served,
        () = first_head_timeout => {
            debug!("closed an HTTP connection that sent no complete request head in time");
            return;
        }
        () = stop.graceful.cancelled() => {
            connection.as_mut().graceful_shutdown();
            select! {
                biased;
                served = connection => served,
                () = stop.immediate.cancelled() => return,
            }
        }
    };
    if let Err(error) = served {
        debug!(%error, "an HTTP connection ended with an error");
    }
}
