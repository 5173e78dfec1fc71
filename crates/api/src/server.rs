//! Accepting connections and serving each in a task of its own, within bounds: how many at once, how
//! long a request's head may take, how long our answer may lie unread.

use crate::config::ApiConfig;
use crate::stall::WriteStall;
use axum::Router;
use hyper::server::conn::http1;
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

/// Accepts until told to stop. Runs as one task; its connections run in `tasks`.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    config: ApiConfig,
    stop: Stop,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let service = TowerToHyperService::new(router);
    loop {
        // A place first: at the bound, callers wait in the kernel's queue instead of in our memory.
        let place = select! {
            biased;
            () = stop.gently.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { return };
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
        let (service, config, stop) = (service.clone(), config.clone(), stop.clone());
        tasks.spawn(async move {
            let open = metrics::gauge!("wattpost_api_connections");
            open.increment(1);
            serve(stream, service, &config, &stop).await;
            open.decrement(1);
            drop(place);
        });
    }
}

async fn serve(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    config: &ApiConfig,
    stop: &Stop,
) {
    // Without this, small answers of a kept-alive connection wait 40 ms for a delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    let stream = WriteStall::new(stream, config.idle_timeout());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout())
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = select! {
        biased;
        served = connection.as_mut() => served,
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
