//! A store in memory that can be made to fail, block or panic.

use central::memory::{BeforeQuery, MemoryRows};
use central::ports::Unavailable;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What happens to each query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Behaviour {
    #[default]
    Answers,
    Unavailable(Unavailable),
    /// Queries wait until the behaviour changes.
    Blocks,
    Panics,
}

/// Changes the behaviour of a store while the API uses it.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    state: Mutex<State>,
    changed: Condvar,
}

/// A query blocks for so long at most: the runtime of a test that has failed waits for it.
const BLOCKED_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    blocked: usize,
}

impl Switch {
    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.state.lock().expect("not poisoned").behaviour = behaviour;
        self.changed.notify_all();
    }

    /// The number of queries that are blocked now.
    pub(crate) fn blocked(&self) -> usize {
        self.state.lock().expect("not poisoned").blocked
    }

    fn before_query(&self) -> Result<(), Unavailable> {
        let mut state = self.state.lock().expect("not poisoned");
        while state.behaviour == Behaviour::Blocks {
            state.blocked += 1;
            let (woken, waited) = self
                .changed
                .wait_timeout(state, BLOCKED_MAX)
                .expect("not poisoned");
            state = woken;
            state.blocked -= 1;
            if waited.timed_out() {
                break;
            }
        }
        let behaviour = state.behaviour.clone();
        drop(state);
        match behaviour {
            Behaviour::Unavailable(unavailable) => Err(unavailable),
            Behaviour::Panics => panic!("the test makes this query panic"),
            Behaviour::Answers | Behaviour::Blocks => Ok(()),
        }
    }
}

/// An empty store with the switch of its behaviour.
pub(crate) fn switched() -> (Arc<MemoryRows>, Arc<Switch>) {
    let switch = Arc::new(Switch::default());
    let shared = Arc::clone(&switch);
    let before_query: BeforeQuery = Box::new(move |_| shared.before_query());
    let rows = MemoryRows {
        before_query: Some(before_query),
        ..MemoryRows::default()
    };
    (Arc::new(rows), switch)
}
