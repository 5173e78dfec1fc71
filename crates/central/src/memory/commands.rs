//! The queue of commands in memory.

use super::MemoryStore;
use crate::effect::{ClaimedCommand, EffectIndex};
use crate::model::{
    ChargerKey, Claim, Command, CommandId, CommandStage, CommandView, NotSent, Recheck, Refusal,
    StoredCommand,
};
use crate::ports::{
    Cancelled, CommandQueue, Commands, Created, IDEMPOTENCY_KEPT_MS, Idempotency, NewCommand,
    OpenClaim, QUEUED_PER_CHARGER_MAX, QueryError, Unavailable,
};
use crate::project::Changes;
use crate::query::{CommandFilter, Page, PageRequest, Place};
use crate::record::{Epoch, GatewayId, RecordId, Seq};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Requests in the order of their creation, and idempotency keys by requester and key.
#[derive(Debug, Default)]
pub(super) struct Requests {
    rows: Vec<StoredCommand>,
    /// When a report is looked at for missing pages.
    rechecks: BTreeMap<CommandId, Timestamp>,
    keys: BTreeMap<(String, String), ([u8; 32], CommandId, Timestamp)>,
}

impl Requests {
    fn find(&mut self, id: CommandId) -> Option<&mut StoredCommand> {
        self.rows.iter_mut().find(|row| row.command.id == id)
    }

    fn created_before(
        &mut self,
        requested_by: &str,
        idempotency: &Idempotency,
        states: &Changes,
        now: Timestamp,
    ) -> Option<Created> {
        let key = (requested_by.to_owned(), idempotency.key.clone());
        let known = self.keys.get(&key).copied();
        let kept = known.filter(|(_, _, at)| at.plus_millis(IDEMPOTENCY_KEPT_MS) >= now);
        let (digest, id, _) = kept?;
        Some(match self.find(id) {
            Some(row) if digest == idempotency.digest => {
                Created::Repeated(joined(row, states).view(now))
            }
            _ => Created::Mismatch,
        })
    }

    /// The commands that effects can be joined with.
    pub(super) fn claimed(&self) -> Vec<ClaimedCommand> {
        let claimed = self.rows.iter().filter_map(|row| {
            let CommandStage::Claimed(claim) = row.stage else {
                return None;
            };
            Some(ClaimedCommand {
                id: row.command.id,
                charger: ChargerKey::of(&row.command.charger_id),
                action: row.command.action.clone(),
                payload: row.command.payload.clone(),
                claim,
                until: EffectIndex::of(&row.command)?.until,
            })
        });
        claimed.collect()
    }
}

/// The row with its progress and its effect.
fn joined(row: &StoredCommand, states: &Changes) -> StoredCommand {
    let id = row.command.id;
    let progress = states.commands.get(&id).cloned();
    let mut effect = states.effects.get(&id).cloned().unwrap_or_default();
    let charger = ChargerKey::of(&row.command.charger_id);
    let wire_ids: Vec<String> = effect.transaction_ids().map(str::to_owned).collect();
    for wire_id in wire_ids {
        if let Some(state) = states.transactions.get(&(charger.clone(), wire_id.clone())) {
            effect.add_key(charger.as_str(), &wire_id, state);
        }
    }
    StoredCommand {
        progress: progress.unwrap_or_default(),
        effect,
        ..row.clone()
    }
}

fn is_claimable(row: &StoredCommand, states: &Changes, now: Timestamp) -> bool {
    row.stage == CommandStage::Queued
        && row.command.send_before > now
        && !states.commands.contains_key(&row.command.id)
}

impl Commands for MemoryStore {
    fn create(&self, new: &NewCommand) -> Result<Created, Unavailable> {
        let states = self.contents().states;
        let mut requests = self.requests();
        let now = new.created_at;
        if let Some(row) = requests.find(new.command.id) {
            return Ok(Created::Repeated(joined(row, &states).view(now)));
        }
        if let Some(idempotency) = &new.idempotency {
            let before = requests.created_before(&new.requested_by, idempotency, &states, now);
            if let Some(created) = before {
                return Ok(created);
            }
        }
        let charger = ChargerKey::of(&new.command.charger_id);
        let of_charger = |row: &&StoredCommand| {
            row.stage == CommandStage::Queued && ChargerKey::of(&row.command.charger_id) == charger
        };
        let queued = requests.rows.iter().filter(of_charger).count() as u64;
        if new.not_sent.is_none() && queued >= QUEUED_PER_CHARGER_MAX {
            return Ok(Created::QueueFull);
        }
        if let Some(idempotency) = &new.idempotency {
            let key = (new.requested_by.clone(), idempotency.key.clone());
            let value = (idempotency.digest, new.command.id, now);
            requests.keys.insert(key, value);
        }
        let row = StoredCommand {
            command: new.command.clone(),
            created_at: now,
            requested_by: new.requested_by.clone(),
            waits_when_offline: new.waits_when_offline,
            stage: match &new.not_sent {
                None => CommandStage::Queued,
                Some(refusal) => CommandStage::NotSent {
                    refusal: refusal.clone(),
                    at: now,
                },
            },
            progress: Default::default(),
            effect: Default::default(),
            repeats: None,
            repeated_by: None,
            traceparent: new.traceparent.clone(),
            charger_is_absent: false,
        };
        let view = joined(&row, &states).view(now);
        let index = EffectIndex::of(&row.command).filter(|_| new.not_sent.is_none());
        if let Some(at) = index.and_then(|index| index.recheck_at(now)) {
            requests.rechecks.insert(row.command.id, at);
        }
        requests.rows.push(row);
        Ok(Created::New(view))
    }

    fn created_before(
        &self,
        requested_by: &str,
        idempotency: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Created>, Unavailable> {
        let states = self.contents().states;
        Ok(self
            .requests()
            .created_before(requested_by, idempotency, &states, now))
    }

    fn cancel(&self, id: CommandId, now: Timestamp) -> Result<Cancelled, Unavailable> {
        let states = self.contents().states;
        let mut requests = self.requests();
        let Some(row) = requests.find(id) else {
            return Ok(Cancelled::Unknown);
        };
        let is_sent = states.commands.contains_key(&id);
        if row.stage != CommandStage::Queued || is_sent {
            return Ok(Cancelled::TooLate(joined(row, &states).view(now)));
        }
        row.stage = CommandStage::NotSent {
            refusal: Refusal::new(NotSent::Cancelled, ""),
            at: now,
        };
        Ok(Cancelled::Done(joined(row, &states).view(now)))
    }

    fn command(&self, id: CommandId, now: Timestamp) -> Result<Option<CommandView>, Unavailable> {
        let states = self.contents().states;
        let mut requests = self.requests();
        Ok(requests.find(id).map(|row| joined(row, &states).view(now)))
    }

    fn commands(
        &self,
        filter: &CommandFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<CommandView>, QueryError> {
        let before = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => usize::MAX,
            Some(Place::Command(no)) => usize::try_from(no).unwrap_or(0),
            Some(_) => return Err(QueryError::BadCursor),
        };
        let states = self.contents().states;
        let requests = self.requests();
        let charger = filter.charger.as_deref().map(ChargerKey::of);
        let matches = |row: &StoredCommand| {
            let key = ChargerKey::of(&row.command.charger_id);
            charger.as_ref().is_none_or(|wanted| *wanted == key)
                && filter
                    .action
                    .as_ref()
                    .is_none_or(|wanted| *wanted == row.command.action)
                && filter
                    .queued
                    .is_none_or(|wanted| wanted == (row.stage == CommandStage::Queued))
        };
        let shows = |row: &StoredCommand| {
            filter
                .effect
                .is_none_or(|wanted| joined(row, &states).view(now).effect.state == wanted)
        };
        let mut found = requests.rows.iter().enumerate().rev();
        let mut items = Vec::new();
        let mut last = 0;
        let next = loop {
            match found.next() {
                None => break None,
                Some((at, row)) if at < before && matches(row) && shows(row) => {
                    if items.len() == page.rows() {
                        break Some(Place::Command(last).to_cursor());
                    }
                    last = i64::try_from(at).unwrap_or(i64::MAX);
                    items.push(joined(row, &states).view(now));
                }
                Some(_) => {}
            }
        };
        Ok(Page { items, next })
    }
}

impl CommandQueue for MemoryStore {
    fn waiting(
        &self,
        after: Option<&ChargerKey>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ChargerKey>, Unavailable> {
        let states = self.contents().states;
        let requests = self.requests();
        let rows = requests.rows.iter();
        let mut keys: Vec<ChargerKey> = rows
            .filter(|row| is_claimable(row, &states, now))
            .map(|row| ChargerKey::of(&row.command.charger_id))
            .filter(|key| after.is_none_or(|after| key > after))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(limit);
        Ok(keys)
    }

    fn claim(&self, claim: Claim, chargers: &[ChargerKey]) -> Result<Vec<Command>, Unavailable> {
        let states = self.contents().states;
        let mut requests = self.requests();
        let mut wanted: Vec<&ChargerKey> = chargers.iter().collect();
        let mut claimed = Vec::new();
        for row in &mut requests.rows {
            if !is_claimable(row, &states, claim.at) {
                continue;
            }
            let key = ChargerKey::of(&row.command.charger_id);
            if let Some(at) = wanted.iter().position(|wanted| **wanted == key) {
                wanted.swap_remove(at);
                row.stage = CommandStage::Claimed(claim);
                claimed.push(row.command.clone());
            }
        }
        Ok(claimed)
    }

    fn release(&self, claim: Claim, ids: &[CommandId]) -> Result<(), Unavailable> {
        self.end_claim(claim, ids, &CommandStage::Queued);
        Ok(())
    }

    fn refuse(
        &self,
        claim: Claim,
        id: CommandId,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let stage = CommandStage::NotSent {
            refusal: refusal.clone(),
            at: now,
        };
        self.end_claim(claim, &[id], &stage);
        Ok(())
    }

    fn claims(
        &self,
        gateway: GatewayId,
        started: Epoch,
        limit: usize,
    ) -> Result<Vec<OpenClaim>, Unavailable> {
        let states = self.contents().states;
        let requests = self.requests();
        let open = requests.rows.iter().filter_map(|row| {
            let row = joined(row, &states);
            let CommandStage::Claimed(claim) = row.stage else {
                return None;
            };
            let is_open =
                claim.gateway == gateway && claim.started <= started && !row.progress.is_settled();
            is_open.then_some(OpenClaim {
                claim,
                command: row.command,
                sent: row.progress.sent,
            })
        });
        Ok(open.take(limit).collect())
    }

    fn expire(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        let states = self.contents().states;
        let mut requests = self.requests();
        requests
            .keys
            .retain(|_, (_, _, at)| at.plus_millis(IDEMPOTENCY_KEPT_MS) >= now);
        let is_open = |row: &&StoredCommand| {
            matches!(row.stage, CommandStage::Claimed(_))
                && !joined(row, &states).progress.is_settled()
        };
        let busy: Vec<ChargerKey> = requests
            .rows
            .iter()
            .filter(is_open)
            .map(|row| ChargerKey::of(&row.command.charger_id))
            .collect();
        let due = |row: &&mut StoredCommand| {
            row.stage == CommandStage::Queued && row.command.send_before <= now
        };
        let mut expired = 0;
        for row in requests.rows.iter_mut().filter(due).take(limit) {
            let is_busy = busy.contains(&ChargerKey::of(&row.command.charger_id));
            let reason = match row.waits_when_offline || is_busy {
                true => NotSent::Expired,
                false => NotSent::ChargerOffline,
            };
            row.stage = CommandStage::NotSent {
                refusal: Refusal::new(reason, ""),
                at: now,
            };
            expired += 1;
        }
        Ok(expired)
    }

    fn ask_again(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable> {
        let states = self.contents().states;
        let due: Vec<CommandId> = {
            let requests = self.requests();
            let due = requests.rechecks.iter().filter(|(_, at)| **at <= now);
            due.map(|(id, _)| *id).take(limit).collect()
        };
        let mut created = 0;
        for id in due {
            let recheck = match self.requests().find(id) {
                Some(row) => joined(row, &states).recheck(now),
                None => Recheck::Done,
            };
            match recheck {
                Recheck::At(at) => {
                    self.requests().rechecks.insert(id, at);
                }
                Recheck::Done => {
                    self.requests().rechecks.remove(&id);
                }
                Recheck::AskAgain(new) => {
                    let again = new.command.id;
                    if matches!(self.create(&new)?, Created::New(_)) {
                        let mut requests = self.requests();
                        requests.rechecks.remove(&id);
                        if let Some(row) = requests.find(id) {
                            row.repeated_by = Some(again);
                        }
                        if let Some(row) = requests.find(again) {
                            row.repeats = Some(id);
                        }
                        created += 1;
                    }
                }
            }
        }
        Ok(created)
    }

    fn has_all(&self, gateway: GatewayId, from: Seq, to: Seq) -> Result<bool, Unavailable> {
        let contents = self.contents();
        let has = |seq| {
            let id = RecordId {
                gateway,
                seq: Seq(seq),
            };
            contents.records.contains_key(&id) || contents.dead.contains_key(&id)
        };
        Ok((from.0..to.0).all(has))
    }
}

impl MemoryStore {
    fn end_claim(&self, claim: Claim, ids: &[CommandId], stage: &CommandStage) {
        let states = self.contents().states;
        let mut requests = self.requests();
        for row in &mut requests.rows {
            let is_held = row.stage == CommandStage::Claimed(claim);
            let is_sent = states.commands.contains_key(&row.command.id);
            if is_held && !is_sent && ids.contains(&row.command.id) {
                row.stage = stage.clone();
            }
        }
    }
}
