//! Batches in memory.

use super::MemoryStore;
use crate::model::{
    BATCHES_KEPT, BATCHES_OPEN_MAX, BatchChange, BatchCounts, BatchId, BatchState, BatchView,
    CommandId, ItemState, ItemView,
};
use crate::ports::{
    BatchNotChanged, BatchNotCreated, Batches, ChangeRequest, Commands, Created,
    IDEMPOTENCY_KEPT_MS, ItemEnd, NewBatch, NewCommand, Once, QueryError, Unavailable,
};
use crate::query::{Page, PageRequest, Place};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use uuid::Uuid;

/// All batches, and the idempotency keys of requests about them.
#[derive(Debug, Default)]
pub(super) struct StoredBatches {
    rows: Vec<StoredBatch>,
    /// By requester and key: the digest, the batch and the time.
    keys: BTreeMap<(String, String), ([u8; 32], BatchId, Timestamp)>,
}

impl StoredBatches {
    fn row(&mut self, id: BatchId) -> Option<&mut StoredBatch> {
        self.rows.iter_mut().find(|stored| stored.new.id == id)
    }

    /// The batch of an earlier request under the key of this one: the first batch, or that the requests differ.
    fn known(&self, request: &ChangeRequest) -> Option<Result<BatchId, ()>> {
        let wanted = request.idempotency.as_ref()?;
        let key = (request.requested_by().to_owned(), wanted.key.clone());
        let (digest, id, at) = self.keys.get(&key)?;
        let is_recent = at.plus_millis(IDEMPOTENCY_KEPT_MS) >= request.origin.at;
        is_recent.then_some(match *digest == wanted.digest {
            true => Ok(*id),
            false => Err(()),
        })
    }

    fn keep(&mut self, request: &ChangeRequest, id: BatchId) {
        if let Some(wanted) = &request.idempotency {
            let key = (request.requested_by().to_owned(), wanted.key.clone());
            self.keys
                .insert(key, (wanted.digest, id, request.origin.at));
        }
    }

    fn created_before(
        &mut self,
        request: &ChangeRequest,
    ) -> Option<Once<BatchView, BatchNotCreated>> {
        Some(match self.known(request)? {
            Err(()) => Once::Mismatch,
            Ok(id) => match self.row(id) {
                Some(stored) => Once::Repeated(stored.view()),
                None => Once::Refused(BatchNotCreated::Deleted(id)),
            },
        })
    }
}

/// A batch with its chargers.
#[derive(Debug)]
pub(super) struct StoredBatch {
    new: NewBatch,
    no: i64,
    state: BatchState,
    detail: String,
    items: Vec<Item>,
    lease: Option<(Uuid, Timestamp)>,
    ignored: [u64; 2],
}

#[derive(Debug)]
struct Item {
    state: ItemState,
    detail: String,
    command: Option<CommandId>,
}

impl StoredBatch {
    fn view(&self) -> BatchView {
        let mut counts = BatchCounts::default();
        for item in &self.items {
            *counts.of(item.state) += 1;
        }
        BatchView {
            id: self.new.id,
            state: self.state,
            detail: self.detail.clone(),
            plan: self.new.plan.clone(),
            total: self.items.len() as u64,
            counts,
            ignored: self.ignored,
            created_at: self.new.request.origin.at,
            by: self.new.request.requested_by().to_owned(),
        }
    }

    fn set(&mut self, to: BatchState, detail: &str) {
        if self.state == BatchState::Halted && to == BatchState::Running {
            let counts = self.view().counts;
            self.ignored = [counts.succeeded, counts.failed];
        }
        self.state = to;
        self.detail = detail.to_owned();
    }

    fn is_finished(&self) -> bool {
        let has = |state| self.items.iter().any(|item| item.state == state);
        let is_ended = matches!(self.state, BatchState::Done | BatchState::Cancelled);
        is_ended && !has(ItemState::Pending) && !has(ItemState::Started)
    }

    fn is_held_by(&self, holder: Uuid, now: Timestamp) -> bool {
        self.lease
            .is_some_and(|(by, until)| by == holder && until > now)
    }
}

impl Batches for MemoryStore {
    fn create_batch(
        &self,
        new: &NewBatch,
    ) -> Result<Once<BatchView, BatchNotCreated>, Unavailable> {
        let mut stored = self.batches_held();
        if let Some(before) = stored.created_before(&new.request) {
            return Ok(before);
        }
        if let Some(known) = stored.row(new.id) {
            return Ok(Once::Done(known.view()));
        }
        let batches = &mut stored.rows;
        if batches.iter().filter(|one| !one.is_finished()).count() >= BATCHES_OPEN_MAX {
            return Ok(Once::Refused(BatchNotCreated::TooMany));
        }
        let row = StoredBatch {
            no: batches.last().map_or(1, |last| last.no + 1),
            state: BatchState::Running,
            detail: String::new(),
            items: new
                .chargers
                .iter()
                .map(|_| Item {
                    state: ItemState::Pending,
                    detail: String::new(),
                    command: None,
                })
                .collect(),
            lease: None,
            ignored: [0, 0],
            new: new.clone(),
        };
        let view = row.view();
        batches.push(row);
        while batches.len() > BATCHES_KEPT {
            match batches.iter().position(StoredBatch::is_finished) {
                Some(oldest) => drop(batches.remove(oldest)),
                None => break,
            }
        }
        stored.keep(&new.request, new.id);
        Ok(Once::Done(view))
    }

    fn batch_created_before(
        &self,
        request: &ChangeRequest,
    ) -> Result<Option<Once<BatchView, BatchNotCreated>>, Unavailable> {
        Ok(self.batches_held().created_before(request))
    }

    fn change_batch(
        &self,
        id: BatchId,
        change: BatchChange,
        request: &ChangeRequest,
    ) -> Result<Once<BatchView, BatchNotChanged>, Unavailable> {
        let mut stored = self.batches_held();
        let known = stored.known(request);
        if known == Some(Err(())) {
            return Ok(Once::Mismatch);
        }
        let Some(row) = stored.row(id) else {
            return Ok(Once::Refused(BatchNotChanged::Unknown));
        };
        if known.is_some() {
            return Ok(Once::Repeated(row.view()));
        }
        if !change.is_possible(row.state) {
            return Ok(Once::Refused(BatchNotChanged::Ended(row.state)));
        }
        if row.state != change.to() {
            row.set(change.to(), "");
        }
        let view = row.view();
        stored.keep(request, id);
        Ok(Once::Done(view))
    }

    fn batch(&self, id: BatchId) -> Result<Option<BatchView>, Unavailable> {
        let batches = self.batches_held();
        let found = batches.rows.iter().find(|stored| stored.new.id == id);
        Ok(found.map(StoredBatch::view))
    }

    fn batches(&self, page: &PageRequest) -> Result<Page<BatchView>, QueryError> {
        let before = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => i64::MAX,
            Some(Place::Batch(no)) => no,
            Some(_) => return Err(QueryError::BadCursor),
        };
        let batches = self.batches_held();
        let mut found = batches
            .rows
            .iter()
            .rev()
            .filter(|stored| stored.no < before);
        let items: Vec<&StoredBatch> = found.by_ref().take(page.rows()).collect();
        let has_more = found.next().is_some();
        let last = items.last().filter(|_| has_more);
        Ok(Page {
            next: last.map(|last| Place::Batch(last.no).to_cursor()),
            items: items.into_iter().map(StoredBatch::view).collect(),
        })
    }

    fn batch_items(
        &self,
        id: BatchId,
        state: Option<ItemState>,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<ItemView>, QueryError> {
        let after = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => -1,
            Some(Place::BatchItem(place)) => place,
            Some(_) => return Err(QueryError::BadCursor),
        };
        let mut items = Vec::new();
        {
            let batches = self.batches_held();
            let found = batches.rows.iter().find(|stored| stored.new.id == id);
            let rows = found.into_iter().flat_map(|stored| {
                let rows = stored.items.iter().zip(&stored.new.chargers);
                (0_u32..).zip(rows)
            });
            for (place, (item, charger)) in rows {
                let is_wanted = state.is_none_or(|wanted| wanted == item.state);
                if i64::from(place) > after && is_wanted {
                    let view = ItemView {
                        place,
                        charger_id: charger.clone(),
                        state: item.state,
                        detail: item.detail.clone(),
                        command: None,
                    };
                    items.push((item.command, view));
                }
            }
        }
        let has_more = items.len() > page.rows();
        items.truncate(page.rows());
        let last = items.last().filter(|_| has_more);
        let next = last.map(|(_, item)| Place::BatchItem(i64::from(item.place)).to_cursor());
        let mut shown = Vec::with_capacity(items.len());
        for (command, mut item) in items {
            if let Some(id) = command {
                item.command = self.command(id, now)?;
            }
            shown.push(item);
        }
        Ok(Page { items: shown, next })
    }

    fn set_batch_state(
        &self,
        id: BatchId,
        from: &[BatchState],
        to: BatchState,
        detail: &str,
    ) -> Result<Option<(bool, BatchView)>, Unavailable> {
        let mut batches = self.batches_held();
        Ok(batches.row(id).map(|stored| {
            let is_changed = from.contains(&stored.state);
            if is_changed {
                stored.set(to, detail);
            }
            (is_changed, stored.view())
        }))
    }

    fn lease_batches(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<BatchView>, Unavailable> {
        let mut batches = self.batches_held();
        let mut leased = Vec::new();
        for stored in batches
            .rows
            .iter_mut()
            .filter(|stored| !stored.is_finished())
        {
            let is_free = stored
                .lease
                .is_none_or(|(by, until)| by == holder || until <= now);
            if is_free {
                stored.lease = Some((holder, until));
                leased.push(stored.view());
            }
        }
        Ok(leased)
    }

    fn start_items(
        &self,
        id: BatchId,
        holder: Uuid,
        commands: &[(u32, NewCommand)],
        now: Timestamp,
    ) -> Result<Vec<u32>, Unavailable> {
        let mut batches = self.batches_held();
        let held = batches.rows.iter_mut().find(|stored| {
            stored.new.id == id
                && stored.state == BatchState::Running
                && stored.is_held_by(holder, now)
        });
        let mut started = Vec::new();
        let Some(stored) = held else {
            return Ok(started);
        };
        for (place, new) in commands {
            let item = stored.items.get_mut(*place as usize);
            let Some(item) = item.filter(|item| item.state == ItemState::Pending) else {
                continue;
            };
            match self.create(new)? {
                Created::QueueFull | Created::Mismatch => {
                    item.state = ItemState::Failed;
                    item.detail = QUEUE_FULL.to_owned();
                }
                Created::New(_) | Created::Repeated(_) => {
                    item.state = ItemState::Started;
                    item.command = Some(new.command.id);
                    started.push(*place);
                }
            }
        }
        Ok(started)
    }

    fn end_items(
        &self,
        id: BatchId,
        holder: Uuid,
        ends: &[ItemEnd],
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let mut batches = self.batches_held();
        let held = batches
            .rows
            .iter_mut()
            .find(|stored| stored.new.id == id && stored.is_held_by(holder, now));
        let Some(stored) = held else {
            return Ok(());
        };
        for end in ends {
            let item = stored.items.get_mut(end.place as usize);
            let is_open =
                |item: &&mut Item| matches!(item.state, ItemState::Pending | ItemState::Started);
            if let Some(item) = item.filter(is_open) {
                item.state = end.state;
                item.detail.clone_from(&end.detail);
            }
        }
        Ok(())
    }
}

/// Why a charger whose queue is full has failed.
pub(crate) const QUEUE_FULL: &str = "too many commands wait for the charger";
