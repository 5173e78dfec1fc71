//! Which tokens are in a transaction, for tokens that may be in one only. [`RunningTokens`] decides what counts; here it
//! is refreshed from the database and asked by connections. While no token has that rule, nothing is read and no lock
//! is taken.

use crate::clock::wall_clock;
use crate::connection::registry::Registry;
use crate::directory::Directory;
use central::Timestamp;
use central::model::{ChargerKey, ConcurrentTransactions, Token};
use central::policy::Policy;
use central::ports::DirectorySource;
use central::running::{Beginning, RunningTokens, SessionNews, is_refused_twice};
use central::station::TokenAnswer;
use common::lock::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What this gateway knows of running transactions.
pub(crate) struct Running {
    policy: Arc<Policy>,
    registry: Arc<Registry>,
    known: Mutex<RunningTokens>,
    /// Whether anything is known.
    is_used: AtomicBool,
}

impl Running {
    pub(crate) fn new(policy: Arc<Policy>, registry: Arc<Registry>) -> Self {
        Self {
            policy,
            registry,
            known: Mutex::default(),
            is_used: AtomicBool::new(false),
        }
    }

    /// The answer about a known token with which this charger begins a transaction, if it begins one.
    pub(crate) fn answer(
        &self,
        token: Token,
        charger: &ChargerKey,
        begins: Option<&Beginning>,
        now: Timestamp,
    ) -> TokenAnswer {
        let Some(beginning) = begins.filter(|_| is_refused_twice(&token, &self.policy, now)) else {
            return TokenAnswer::Known(token);
        };
        let mut known = lock(&self.known);
        let age_max_ms = self.policy.concurrent_ms_max();
        let is_connected = |key: &ChargerKey| self.registry.find(key).is_some();
        let is_in_use = known.begin(&token.id, charger, beginning, now, age_max_ms, is_connected);
        self.is_used.store(true, Ordering::Relaxed);
        match is_in_use {
            true => TokenAnswer::InUse(token),
            false => TokenAnswer::Known(token),
        }
    }

    /// What a message of this charger says about its transactions.
    pub(crate) fn learn(&self, charger: &ChargerKey, news: &SessionNews, now: Timestamp) {
        if self.is_used.load(Ordering::Relaxed) {
            lock(&self.known).learn(charger, news, now);
        }
    }

    /// Reads the open transactions again and again while a token may be in one only; never returns. While they cannot
    /// be read, what was read last becomes too old to count.
    pub(crate) async fn keep_fresh(
        self: Arc<Self>,
        source: Arc<dyn DirectorySource>,
        directory: Arc<Directory>,
        every: Duration,
    ) {
        let is_default_refuse =
            self.policy.concurrent_transactions == ConcurrentTransactions::Refuse;
        loop {
            if is_default_refuse || directory.has_refusing_token() {
                let source = Arc::clone(&source);
                let began = wall_clock();
                let since = began.plus_millis(-self.policy.concurrent_ms_max());
                let read = move || source.running(is_default_refuse, since);
                if let Ok(Ok(transactions)) = tokio::task::spawn_blocking(read).await {
                    let mut known = lock(&self.known);
                    known.refresh(transactions, began);
                    self.is_used.store(!known.is_empty(), Ordering::Relaxed);
                }
            }
            tokio::time::sleep(every).await;
        }
    }
}
