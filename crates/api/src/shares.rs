//! How many calls of the database one caller may have at once: a key whose lists are slow must not keep the database from
//! all others.
//!
//! Each caller has half of the calls (`http.database_calls_max`). Its further requests wait for its own, and not in the
//! queue of all. A caller is a key, a user, or the address of a request without a key. What the process does by itself
//! (webhooks, batches, alerts) is no caller.

use crate::auth::Caller;
use crate::wrong_port::Client;
use axum::extract::Request;
use common::lock::lock;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// Callers without a call that are remembered.
const IDLE_MAX: usize = 1_024;

tokio::task_local! {
    /// Who has sent the request that this task answers.
    static CALLER: Arc<str>;
}

/// The calls of each caller.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Calls that one caller may have at once.
    pub(crate) each: usize,
    callers: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

impl Shares {
    /// Shares of so many calls.
    pub(crate) fn of(calls_max: usize) -> Self {
        Self {
            each: (calls_max / 2).max(1),
            callers: Mutex::default(),
        }
    }

    /// The calls of the caller whose request this task answers; `None` if it answers none.
    pub(crate) fn of_caller(&self) -> Option<Arc<Semaphore>> {
        let caller = current()?;
        let mut callers = lock(&self.callers);
        if callers.len() >= IDLE_MAX && !callers.contains_key(&caller) {
            // One that a request waits for or holds is referred to by it too.
            callers.retain(|_, calls| Arc::strong_count(calls) > 1);
        }
        let calls = callers
            .entry(caller)
            .or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Some(Arc::clone(calls))
    }
}

/// Who sends this request.
pub(crate) fn caller(request: &Request) -> Arc<str> {
    let named = request.extensions().get::<Caller>();
    let named = named.and_then(|Caller(actor)| Some((actor.kind, actor.name.as_deref()?)));
    if let Some((kind, name)) = named {
        return format!("{kind:?} {name}").into();
    }
    let client = request.extensions().get::<Client>();
    client.map_or_else(
        || "address".into(),
        |Client(address)| format!("address {}", network(address.ip())).into(),
    )
}

/// The address; of IPv6 the /64, which one client can have whole.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The caller whose request this task answers.
pub(crate) fn current() -> Option<Arc<str>> {
    CALLER.try_with(Arc::clone).ok()
}

/// Answers a request of this caller. A task of its own, which answers it further, is given [`current`].
pub(crate) async fn answering<F: Future>(caller: Arc<str>, answer: F) -> F::Output {
    CALLER.scope(caller, answer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_has_half_of_the_calls_and_idle_callers_are_forgotten() {
        let shares = Shares::of(4);
        assert!(shares.of_caller().is_none());
        let of = |name: String| answering(name.into(), async { shares.of_caller() });
        let calls = of("a".to_owned()).await.expect("a caller");
        let both = Arc::clone(&calls).acquire_many_owned(2).await;
        assert_eq!(calls.available_permits(), 0);
        drop(calls);
        for number in 0..3 * IDLE_MAX {
            let other = of(format!("caller {number}")).await.expect("a caller");
            assert_eq!(other.available_permits(), 2);
        }
        assert!(lock(&shares.callers).len() <= IDLE_MAX);
        // A caller that has calls is not forgotten: it would get as many again.
        let again = of("a".to_owned()).await.expect("a caller");
        assert_eq!(again.available_permits(), 0);
        drop(both);
        assert_eq!(again.available_permits(), 2);
        assert_eq!(Shares::of(1).each, 1);
    }
}
