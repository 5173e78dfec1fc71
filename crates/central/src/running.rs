//! Which tokens are in a transaction, for tokens that may be in one only (ADR 0015).
//!
//! A gateway answers starts while the database may be unavailable, and other gateways answer other chargers. So it uses
//! two sources: the open transactions that were last read from the database, and the starts that it has answered itself
//! since. Both can be wrong, and a driver who is refused by mistake cannot charge; so everything here that is in doubt
//! counts as not running.

use crate::Timestamp;
use crate::model::{ChargerKey, ConcurrentTransactions, Token, TokenStatus};
use crate::natural_key::StableHasher;
use crate::policy::Policy;
use std::collections::{BTreeMap, HashMap};

/// An open transaction of a token, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTransaction {
    /// The token's key ([`Token::key_of`]).
    pub token: String,
    /// The charger.
    pub charger: ChargerKey,
    /// The id on the wire.
    pub transaction_id: String,
    /// The connector (1.6) or the EVSE (2.x), if it is known.
    pub place: Option<i64>,
    /// When it started.
    pub began_at: Timestamp,
}

/// The beginning of a transaction, as a message that presents a token reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The id on the wire; in 1.6 the one that the answer gives.
    pub transaction_id: String,
    /// The connector (1.6) or the EVSE (2.x), if the message names it.
    pub place: Option<i64>,
    /// Whether the message reports what happens now. A message that the charger kept while it was offline is about a
    /// transaction whose energy has flowed: it is not refused.
    pub is_live: bool,
}

/// What a message says about the transactions of its charger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionNews {
    /// A transaction has begun; an earlier one at its place is over.
    Began {
        /// The id on the wire.
        transaction_id: String,
        /// The connector (1.6) or the EVSE (2.x), if the message names it.
        place: Option<i64>,
    },
    /// A transaction has ended. A stop that names none may be of any transaction of its charger.
    Ended {
        /// The id on the wire.
        transaction_id: Option<String>,
    },
}

/// Whether a second transaction of this token is refused: it may charge now, and the token's rule, or else the policy,
/// says so.
#[must_use]
pub fn is_refused_twice(token: &Token, policy: &Policy, now: Timestamp) -> bool {
    let may_charge = token.status == TokenStatus::Accepted
        && token.expires_at.is_none_or(|expires_at| expires_at > now);
    let rule = token.concurrent.unwrap_or(policy.concurrent_transactions);
    may_charge && rule == ConcurrentTransactions::Refuse
}

/// How old the transactions of the database may be and still count, in milliseconds.
pub const STALE_MS: i64 = 60_000;
/// How long a start counts that this gateway has answered and the database does not have, in milliseconds. It is the
/// time in which a record reaches the database, and gateways read it again.
pub const UNCONFIRMED_MS: i64 = 120_000;
/// Starts of this gateway that are kept at most; beyond, the oldest is forgotten.
pub const OWN_MAX: usize = 65_536;
/// Starts of one charger that are kept at most; beyond, its oldest is forgotten.
pub const OWN_OF_CHARGER_MAX: usize = 32;
/// Transactions that are read from the database at most, the newest first.
pub const READ_MAX: usize = 50_000;
/// How long an end that this gateway has seen outweighs what is read from the database, in milliseconds at least.
const ENDED_MS: i64 = 600_000;

/// What one gateway knows of running transactions. Takes at most about 20 MiB; empty it takes nothing.
#[derive(Debug, Default)]
pub struct RunningTokens {
    /// From the database.
    read: Table,
    read_at: Option<Timestamp>,
    /// Starts that this gateway has answered.
    own: Table,
    /// Transactions that this gateway has seen end, by their hash, with the time. Only of those in a table.
    ended: HashMap<u64, Timestamp>,
}

/// Transactions by number, a newer one has a larger number.
#[derive(Debug, Default)]
struct Table {
    last_number: u64,
    all: BTreeMap<u64, Known>,
    by_token: HashMap<String, Vec<u64>>,
    by_charger: HashMap<ChargerKey, Vec<u64>>,
    /// How many transactions have this hash: a charger of 2.x may use an id again.
    hashes: HashMap<u64, u32>,
}

#[derive(Debug)]
struct Known {
    transaction: RunningTransaction,
    hash: u64,
    /// When this gateway learned of it.
    seen_at: Timestamp,
}

impl RunningTokens {
    /// Replaces what was read from the database. `read_at` is when reading began.
    pub fn refresh(&mut self, transactions: Vec<RunningTransaction>, read_at: Timestamp) {
        let mut read = Table::default();
        for transaction in transactions.into_iter().take(READ_MAX) {
            read.add(transaction, read_at);
        }
        self.ended
            .retain(|hash, ended_at| ended_at.plus_millis(ENDED_MS) > read_at || read.has(*hash));
        let ended = &self.ended;
        read.remove_where(|known| ended.contains_key(&known.hash));
        self.own.remove_where(|known| {
            known.seen_at.plus_millis(UNCONFIRMED_MS) <= read_at && !read.has(known.hash)
        });
        (self.read, self.read_at) = (read, Some(read_at));
    }

    /// A token that may be in one transaction begins one at this charger. Returns whether another one of it is running;
    /// if none is, this one is from now on. What does not count: the same transaction, one at the same place of the
    /// same charger (the new one supersedes it), one that began more than `age_max_ms` ago, one of the database while
    /// that was last read more than [`STALE_MS`] ago, and a start of this gateway that the database does not have, if
    /// it is older than [`UNCONFIRMED_MS`] although the database is read, or if its charger is no longer connected here
    /// (`is_connected`), because another gateway may have seen its end.
    pub fn begin(
        &mut self,
        token: &str,
        charger: &ChargerKey,
        beginning: &Beginning,
        now: Timestamp,
        age_max_ms: i64,
        is_connected: impl Fn(&ChargerKey) -> bool,
    ) -> bool {
        let token = Token::key_of(token);
        let transaction = RunningTransaction {
            token,
            charger: charger.clone(),
            transaction_id: beginning.transaction_id.clone(),
            place: beginning.place,
            began_at: now,
        };
        let hash = hash_of(charger, &transaction.transaction_id);
        let is_read_fresh = self
            .read_at
            .is_some_and(|read_at| read_at.plus_millis(STALE_MS) > now);
        let is_other = |known: &Known| {
            let other = &known.transaction;
            let is_superseded = other.charger == *charger
                && other.place.is_some()
                && other.place == transaction.place;
            known.hash != hash && !is_superseded && other.began_at.plus_millis(age_max_ms) > now
        };
        let counts = |known: &Known| {
            let is_young = known.seen_at.plus_millis(UNCONFIRMED_MS) > now;
            (is_read_fresh && self.read.has(known.hash))
                || ((is_young || !is_read_fresh) && is_connected(&known.transaction.charger))
        };
        let is_in_use = beginning.is_live
            && (self
                .own
                .of_token(&transaction.token)
                .any(|known| is_other(known) && counts(known))
                || (is_read_fresh && self.read.of_token(&transaction.token).any(is_other)));
        if is_in_use {
            return true;
        }
        self.ended.remove(&hash);
        if beginning.is_live {
            self.own
                .remove_where_of(charger, |known| known.hash == hash);
            self.own.add(transaction, now);
            self.own.forget_beyond(charger);
        }
        false
    }

    /// What a message of this charger says about its transactions.
    pub fn learn(&mut self, charger: &ChargerKey, news: &SessionNews, now: Timestamp) {
        let is_over = |known: &Known| {
            let other = &known.transaction;
            match news {
                SessionNews::Began {
                    transaction_id,
                    place,
                } => {
                    place.is_some()
                        && other.place == *place
                        && other.transaction_id != *transaction_id
                }
                SessionNews::Ended {
                    transaction_id: Some(id),
                } => other.transaction_id == *id,
                SessionNews::Ended {
                    transaction_id: None,
                } => true,
            }
        };
        for table in [&mut self.own, &mut self.read] {
            for hash in table.remove_where_of(charger, is_over) {
                self.ended.insert(hash, now);
            }
        }
    }

    /// Whether nothing is known, so that no news matters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.all.is_empty() && self.read.all.is_empty()
    }
}

impl Table {
    fn add(&mut self, transaction: RunningTransaction, seen_at: Timestamp) {
        self.last_number += 1;
        let number = self.last_number;
        let of_token = self.by_token.entry(transaction.token.clone());
        of_token.or_default().push(number);
        let of_charger = self.by_charger.entry(transaction.charger.clone());
        of_charger.or_default().push(number);
        let hash = hash_of(&transaction.charger, &transaction.transaction_id);
        *self.hashes.entry(hash).or_default() += 1;
        let known = Known {
            transaction,
            hash,
            seen_at,
        };
        self.all.insert(number, known);
    }

    fn of_token(&self, token: &str) -> impl Iterator<Item = &Known> {
        let numbers = self.by_token.get(token).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.all.get(number))
    }

    fn has(&self, hash: u64) -> bool {
        self.hashes.contains_key(&hash)
    }

    fn remove(&mut self, number: u64) -> Option<u64> {
        let known = self.all.remove(&number)?;
        let RunningTransaction { token, charger, .. } = &known.transaction;
        if let Some(numbers) = self.by_token.get_mut(token) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_token.remove(token);
            }
        }
        if let Some(numbers) = self.by_charger.get_mut(charger) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_charger.remove(charger);
            }
        }
        if let Some(count) = self.hashes.get_mut(&known.hash) {
            *count -= 1;
            if *count == 0 {
                self.hashes.remove(&known.hash);
            }
        }
        Some(known.hash)
    }

    fn remove_where(&mut self, is_removed: impl Fn(&Known) -> bool) {
        let removed = self.all.iter().filter(|(_, known)| is_removed(known));
        let numbers: Vec<u64> = removed.map(|(number, _)| *number).collect();
        for number in numbers {
            self.remove(number);
        }
    }

    /// Removes transactions of one charger, and returns their hashes.
    fn remove_where_of(
        &mut self,
        charger: &ChargerKey,
        is_removed: impl Fn(&Known) -> bool,
    ) -> Vec<u64> {
        let numbers = self.by_charger.get(charger).map_or(&[][..], Vec::as_slice);
        let is_removed = |number: &&u64| self.all.get(number).is_some_and(&is_removed);
        let numbers: Vec<u64> = numbers.iter().filter(is_removed).copied().collect();
        numbers
            .into_iter()
            .filter_map(|number| self.remove(number))
            .collect()
    }

    /// Keeps the bounds after a start of this charger was added.
    fn forget_beyond(&mut self, charger: &ChargerKey) {
        let of_charger = self.by_charger.get(charger).map_or(&[][..], Vec::as_slice);
        if of_charger.len() > OWN_OF_CHARGER_MAX
            && let Some(oldest) = of_charger.first().copied()
        {
            self.remove(oldest);
        }
        if self.all.len() > OWN_MAX
            && let Some(oldest) = self.all.keys().next().copied()
        {
            self.remove(oldest);
        }
    }
}

fn hash_of(charger: &ChargerKey, transaction_id: &str) -> u64 {
    let mut hasher = StableHasher::new("wattpost running transaction");
    hasher.add(charger.as_str()).add(transaction_id);
    hasher.finish_u64()
}
