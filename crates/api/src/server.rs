//! Accepts connections and serves each in its own task, within limits: the number of connections, the time for a
//! request's head, and the time in which the client must read the answer. When all connections are in use,
//! health checks are still answered ([`crate::health_reserve`]).

use crate::config::ApiConfig;
use crate::health_reserve::HealthReserve;
use crate::write_timeout::WriteTimeout;
use axum::Router;
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
/// A new connection must have sent its first request's head within this time.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file handles, most likely), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Signals that end the accept loop and its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// No new connections; requests in progress are finished.
    pub(crate) gently: CancellationToken,
    /// Remaining connections are dropped.
    pub(crate) now: CancellationToken,
}

/// The routers of the two kinds of connections.
pub(crate) struct Services {
    /// For an ordinary connection: all routes.
    pub(crate) all: Router,
    /// For a reserved connection: health and metrics.
    pub(crate) reserved: Router,
}

/// Accepts until stopped. Runs as one task; its connections run in `tasks`.
pub(crate) async fn accept(
    listener: TcpListener,
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
            () = stop.gently.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "failed to accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let permit = Arc::clone(&permits).try_acquire_owned().ok();
        let is_extra = permit.is_none();
        if is_extra {
            // Clients wait in the kernel's backlog meanwhile and take no memory of this process.
            select! {
                biased;
                () = stop.gently.cancelled() => return,
                () = reserve.make_room() => {}
            }
        }
        let router = if is_extra {
            &services.reserved
        } else {
            &services.all
        };
        let connection = serve(
            stream,
            router.clone(),
            is_extra,
            config.clone(),
            stop.clone(),
        );
        let task = tasks.spawn(async move {
            let _counted = Counted::new();
            connection.await;
            drop(permit);
        });
        if is_extra {
            reserve.hold(task);
        }
    }
}

/// Counts one open connection in the metrics, also when its task is aborted.
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

async fn serve(stream: TcpStream, router: Router, is_extra: bool, config: ApiConfig, stop: Stop) {
    // Without this, small answers of a kept-alive connection wait 40 ms for a delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    let asked = CancellationToken::new();
    let (has_asked, service) = (asked.clone(), TowerToHyperService::new(router));
    let service = service_fn(move |request| {
        has_asked.cancel();
        service.call(request)
    });
    let stream = WriteTimeout::new(stream, config.idle_timeout());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout())
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(!is_extra)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let is_silent = async {
        let first = tokio::time::timeout(FIRST_HEAD_TIMEOUT, asked.cancelled()).await;
        if first.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let served = select! {
        biased;
        served = connection.as_mut() => served,
        () = is_silent => {
            debug!("HTTP connection is closed: it has not sent a whole request head in time");
            return;
        }
        () = stop.gently.cancelled() => {
            connection.as_mut().graceful_shutdown();
            select! {
                biased;
                served = connection => served,
                () = stop.now.cancelled() => return,
            }
        }
    };
    if let Err(error) = served {
        debug!(%error, "HTTP connection ended early");
    }
}
