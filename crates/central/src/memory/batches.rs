//! Batches in memory.

use super::MemoryStore;
use crate::model::{
    BATCHES_KEPT, BATCHES_OPEN_MAX, BatchCounts, BatchId, BatchState, BatchView, CommandId,
    ItemState, ItemView,
};
use crate::ports::{
    BatchCreated, Batches, Commands, Created, IDEMPOTENCY_KEPT_MS, ItemEnd, NewBatch, NewCommand,
    QueryError, Unavailable,
};
use crate::query::{Page, PageRequest, Place};
use crate::time::Timestamp;
use uuid::Uuid;

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
            created_at: self.new.created_at,
            by: self.new.requested_by.clone(),
        }
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
    fn create_batch(&self, new: &NewBatch) -> Result<BatchCreated, Unavailable> {
        let mut batches = self.batches_held();
        if let Some(stored) = batches.iter().find(|stored| stored.new.id == new.id) {
            return Ok(BatchCreated::Repeated(stored.view()));
        }
        if let Some(wanted) = &new.idempotency {
            let earlier = batches.iter().find(|stored| {
                let is_recent =
                    stored.new.created_at.plus_millis(IDEMPOTENCY_KEPT_MS) >= new.created_at;
                let key = stored.new.idempotency.as_ref().map(|known| &known.key);
                is_recent && stored.new.requested_by == new.requested_by && key == Some(&wanted.key)
            });
            if let Some(earlier) = earlier {
                return Ok(match earlier.new.idempotency.as_ref() == Some(wanted) {
                    true => BatchCreated::Repeated(earlier.view()),
                    false => BatchCreated::Mismatch,
                });
            }
        }
        if batches.iter().filter(|one| !one.is_finished()).count() >= BATCHES_OPEN_MAX {
            return Ok(BatchCreated::TooMany);
        }
        let stored = StoredBatch {
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
        let view = stored.view();
        batches.push(stored);
        while batches.len() > BATCHES_KEPT {
            match batches.iter().position(StoredBatch::is_finished) {
                Some(oldest) => drop(batches.remove(oldest)),
                None => break,
            }
        }
        Ok(BatchCreated::New(view))
    }

    fn batch(&self, id: BatchId) -> Result<Option<BatchView>, Unavailable> {
        let batches = self.batches_held();
        let found = batches.iter().find(|stored| stored.new.id == id);
        Ok(found.map(StoredBatch::view))
    }

    fn batches(&self, page: &PageRequest) -> Result<Page<BatchView>, QueryError> {
        let before = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => i64::MAX,
            Some(Place::Batch(no)) => no,
            Some(_) => return Err(QueryError::BadCursor),
        };
        let batches = self.batches_held();
        let mut found = batches.iter().rev().filter(|stored| stored.no < before);
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
            let found = batches.iter().find(|stored| stored.new.id == id);
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
        let found = batches.iter_mut().find(|stored| stored.new.id == id);
        Ok(found.map(|stored| {
            let is_changed = from.contains(&stored.state);
            if is_changed {
                if stored.state == BatchState::Halted && to == BatchState::Running {
                    let counts = stored.view().counts;
                    stored.ignored = [counts.succeeded, counts.failed];
                }
                stored.state = to;
                stored.detail = detail.to_owned();
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
        for stored in batches.iter_mut().filter(|stored| !stored.is_finished()) {
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
        let held = batches.iter_mut().find(|stored| {
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
