//! What the database wants done now and then: partitions made ahead, old ones dropped.

use crate::consumer::Ping;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(3_600);
/// After a round that failed: the database was away, most likely.
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

/// Calls `round` at once and then every hour until `stop`, on a blocking thread.
pub(crate) async fn maintain(round: Ping, stop: CancellationToken) {
    loop {
        let round = round.clone();
        let done = tokio::task::spawn_blocking(move || round());
        let pause = match done.await {
            Ok(Ok(())) => EVERY,
            Ok(Err(away)) => {
                tracing::warn!(%away, "the database's maintenance is put off");
                AFTER_A_FAILURE
            }
            Err(_) => {
                tracing::error!("the database's maintenance panicked; it is tried again");
                AFTER_A_FAILURE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
