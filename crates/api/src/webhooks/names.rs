//! Resolves the names of receivers, so that a name that is never resolved delays no other.
//!
//! A query of the operating system cannot be cancelled, and with name servers that do not answer it takes minutes. So each
//! query has a thread of its own, which neither the tasks of other webhooks nor the end of the process wait for, and there is
//! at most one query for a name: a caller that asks while it runs waits for its result. A webhook has one name, so it has at
//! most one thread.

use common::lock::lock;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Queries that run at once at most: one for each webhook, and more for URLs that were changed while a query ran.
pub(super) const QUERIES_MAX: usize = central::model::WEBHOOKS_MAX + 28;

/// What resolves one name. It blocks.
pub type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    /// What the operating system says.
    #[error("the name cannot be resolved: {0}")]
    Failed(String),
    /// The bound is reached.
    #[error(
        "the name is not resolved: the name servers do not answer {QUERIES_MAX} queries that run already"
    )]
    TooMany,
}

type Resolved = Result<Vec<SocketAddr>, NameError>;
type Queries = Mutex<HashMap<String, watch::Receiver<Option<Resolved>>>>;

/// Resolves names.
pub(super) struct Names {
    lookup: Arc<Lookup>,
    queries: Arc<Queries>,
}

/// Asks the operating system.
pub(super) fn system(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((name, 0).to_socket_addrs()?.collect())
}

impl Names {
    pub(super) fn new(lookup: Arc<Lookup>) -> Self {
        Self {
            lookup,
            queries: Arc::default(),
        }
    }

    /// The addresses of a host with this port. It has no bound in time; a caller that gives up leaves the query running.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Resolved {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut query = self.query(host.to_ascii_lowercase())?;
        let ended = query.wait_for(Option::is_some).await;
        let resolved = ended.ok().and_then(|resolved| resolved.clone());
        let failed = || Err(NameError::Failed("the query has panicked".to_owned()));
        let mut addresses = resolved.unwrap_or_else(failed)?;
        for address in &mut addresses {
            address.set_port(port);
        }
        Ok(addresses)
    }

    /// The query of this name that runs, or a new one.
    fn query(&self, name: String) -> Result<watch::Receiver<Option<Resolved>>, NameError> {
        let mut queries = lock(&self.queries);
        let running = queries.len();
        let vacant = match queries.entry(name.clone()) {
            Entry::Occupied(query) => return Ok(query.get().clone()),
            Entry::Vacant(_) if running >= QUERIES_MAX => return Err(NameError::TooMany),
            Entry::Vacant(vacant) => vacant,
        };
        let (ended, query) = watch::channel(None);
        vacant.insert(query.clone());
        // If no thread starts, `listed` below is dropped, which takes the lock to remove the query.
        drop(queries);
        let listed = Listed {
            queries: Arc::clone(&self.queries),
            name,
        };
        let lookup = Arc::clone(&self.lookup);
        let run = move || {
            let resolved = lookup(&listed.name);
            let resolved = resolved.map_err(|error| NameError::Failed(error.to_string()));
            drop(listed);
            ended.send_replace(Some(resolved));
        };
        std::thread::Builder::new()
            .name("webhook-name".to_owned())
            .spawn(run)
            .map_err(|error| NameError::Failed(format!("no thread: {error}")))?;
        Ok(query)
    }
}

/// Removes a query from the list when it has ended, also by a panic.
struct Listed {
    queries: Arc<Queries>,
    name: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.queries).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// A resolver that answers nothing until it is opened.
    #[derive(Default)]
    struct Closed {
        asked: AtomicUsize,
        is_open: Mutex<bool>,
        opened: Condvar,
    }

    impl Closed {
        fn names(self: &Arc<Self>) -> Names {
            let closed = Arc::clone(self);
            Names::new(Arc::new(move |_| {
                closed.asked.fetch_add(1, Ordering::SeqCst);
                let mut is_open = lock(&closed.is_open);
                while !*is_open {
                    is_open = common::lock::wait(&closed.opened, is_open);
                }
                Ok(vec![(Ipv4Addr::LOCALHOST, 0).into()])
            }))
        }

        fn open(&self) {
            *lock(&self.is_open) = true;
            self.opened.notify_all();
        }
    }

    /// Whether the name is resolved within a short time; never while the resolver is closed.
    async fn is_answered(names: &Names, name: &str) -> bool {
        let resolved = names.resolve(name, 80);
        tokio::time::timeout(Duration::from_millis(20), resolved)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn callers_of_a_name_share_one_query_and_its_result() {
        let closed = Arc::new(Closed::default());
        let names = closed.names();
        for name in ["hook.example", "HOOK.example", "hook.example"] {
            assert!(!is_answered(&names, name).await, "{name}");
        }
        let (one, other) = (
            names.resolve("hook.example", 443),
            names.resolve("hook.example", 80),
        );
        let open = async { closed.open() };
        let (one, other, ()) = tokio::join!(one, other, open);
        assert_eq!(one, Ok(vec![(Ipv4Addr::LOCALHOST, 443).into()]));
        assert_eq!(other, Ok(vec![(Ipv4Addr::LOCALHOST, 80).into()]));
        assert_eq!(closed.asked.load(Ordering::SeqCst), 1);
        // What was found is not kept: the next attempt asks again.
        assert!(names.resolve("hook.example", 80).await.is_ok());
        assert_eq!(closed.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn queries_are_bounded_and_addresses_need_none() {
        let closed = Arc::new(Closed::default());
        let names = closed.names();
        for number in 0..QUERIES_MAX {
            let query = names.query(format!("{number}.example"));
            assert!(query.is_ok(), "{number}: {query:?}");
        }
        let refused = names.resolve("one-more.example", 80).await;
        assert_eq!(refused, Err(NameError::TooMany));
        let address = names.resolve("192.0.2.1", 80).await;
        assert_eq!(address, Ok(vec![(Ipv4Addr::new(192, 0, 2, 1), 80).into()]));
        closed.open();
        assert!(names.resolve("0.example", 80).await.is_ok());
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while names.resolve("one-more.example", 80).await.is_err() {
            assert!(
                std::time::Instant::now() < deadline,
                "the queries have ended"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn failed_query_and_one_that_panics_are_errors_and_the_name_is_asked_for_again() {
        let asked = AtomicUsize::new(0);
        let names = Names::new(Arc::new(move |_| {
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("as wanted"),
                1 => Err(io::Error::other("no such name")),
                _ => Ok(Vec::new()),
            }
        }));
        for wanted in [
            Err(NameError::Failed("the query has panicked".to_owned())),
            Err(NameError::Failed("no such name".to_owned())),
            Ok(Vec::new()),
        ] {
            assert_eq!(names.resolve("hook.example", 80).await, wanted);
        }
    }
}
