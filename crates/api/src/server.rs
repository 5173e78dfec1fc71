//! Accepting connections and serving each in a task of its own, within bounds: how many at once, how
//! long a request's head may take, how long our answer may lie unread. When all places are taken,
//! whoever watches over the process is still let in ([`crate::reserve`]).

use crate::config::ApiConfig;
use crate::reserve::Reserve;
use crate::stall::WriteStall;
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

/// Longest request line plus headers, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A new connection must have sent its first request's head within this time.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file handles, most likely), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the accept loop and its connections are told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// No new connections; finish the requests in hand.
    pub(crate) gently: CancellationToken,
    /// Drop what is left.
    pub(crate) now: CancellationToken,
}

/// What connections are answered with.
pub(crate) struct Services {
    /// On a place of its own: everything.
    pub(crate) all: Router,
    /// In the reserve: how the process is.
    pub(crate) watch: Router,
}

/// Accepts until told to stop. Runs as one task; its connections run in `tasks`.
pub(crate) async fn accept(
    listener: TcpListener,
    services: Services,
    config: ApiConfig,
    stop: Stop,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let mut reserve = Reserve::default();
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
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let is_extra = place.is_none();
        if is_extra {
            // Callers wait in the kernel's queue meanwhile instead of in our memory.
            select! {
                biased;
                () = stop.gently.cancelled() => return,
                () = reserve.make_room() => {}
            }
        }
        let router = if is_extra {
            &services.watch
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
            drop(place);
        });
        if is_extra {
            reserve.hold(task);
        }
    }
}

/// One open connection in the figures, also when its task is ended from outside.
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
    let stream = WriteStall::new(stream, config.idle_timeout());
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
