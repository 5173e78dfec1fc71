//! Wishes for local lists in memory, for tests of the API. Nothing is brought to chargers.

use super::MemoryStore;
use crate::Timestamp;
use crate::local_list::{Content, LocalList, Progress, Wish};
use crate::model::{ChargerKey, Origin};
use crate::ports::{LocalListFilter, LocalLists, QueryError, Unavailable};
use crate::query::{Page, PageRequest, Place};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

/// Wishes by charger; that of all chargers has an empty key.
pub(super) type Wishes = BTreeMap<ChargerKey, LocalList>;

impl MemoryStore {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // Each change is one call of the map.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalLists for MemoryStore {
    fn set_list_wish(
        &self,
        charger_id: Option<&str>,
        wish: Option<&Wish>,
        origin: &Origin,
    ) -> Result<bool, Unavailable> {
        let charger_id = charger_id.unwrap_or_default();
        let charger = ChargerKey::of(charger_id);
        let list = wish.map(|wish| LocalList {
            charger: charger.clone(),
            charger_id: charger_id.to_owned(),
            wish: wish.clone(),
            wished_at: origin.at,
            progress: Progress::default(),
            revision: 1,
        });
        let mut wishes = self.wishes();
        let before = match list {
            Some(list) => wishes.insert(charger, list),
            None => wishes.remove(&charger),
        };
        Ok(before.is_some())
    }

    fn list_wish(&self, charger_id: Option<&str>) -> Result<Option<Wish>, Unavailable> {
        let key = ChargerKey::of(charger_id.unwrap_or_default());
        Ok(self.wishes().get(&key).map(|list| list.wish.clone()))
    }

    fn adopt_lists(&self, _: Timestamp) -> Result<(), Unavailable> {
        Ok(())
    }

    fn hasten_lists(&self, _: Timestamp) -> Result<(), Unavailable> {
        Ok(())
    }

    fn due_lists(&self, _: Timestamp, _: usize) -> Result<Vec<LocalList>, Unavailable> {
        Ok(Vec::new())
    }

    fn save_list(&self, list: &LocalList, _: Timestamp) -> Result<bool, Unavailable> {
        let mut wishes = self.wishes();
        let stored = wishes.get_mut(&list.charger);
        let Some(stored) = stored.filter(|stored| stored.revision == list.revision) else {
            return Ok(false);
        };
        stored.progress = list.progress.clone();
        stored.revision += 1;
        Ok(true)
    }

    fn keep_content(&self, _: &Content, _: Timestamp) -> Result<(), Unavailable> {
        Ok(())
    }

    fn content(&self, _: &str) -> Result<Option<Content>, Unavailable> {
        Ok(None)
    }

    fn forget_contents(&self, _: Timestamp) -> Result<(), Unavailable> {
        Ok(())
    }

    fn local_list(&self, charger_id: &str) -> Result<Option<LocalList>, Unavailable> {
        Ok(self.wishes().get(&ChargerKey::of(charger_id)).cloned())
    }

    fn local_list_page(
        &self,
        filter: &LocalListFilter,
        page: &PageRequest,
    ) -> Result<Page<LocalList>, QueryError> {
        let after = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => ChargerKey::of(""),
            Some(Place::Charger(key)) => key,
            Some(_) => return Err(QueryError::BadCursor),
        };
        let wishes = self.wishes();
        let mut rows = wishes.values().filter(|list| {
            list.charger > after
                && filter
                    .phase
                    .is_none_or(|phase| phase == list.progress.phase)
                && filter.search.as_ref().is_none_or(|text| {
                    let text = ChargerKey::of(text);
                    list.charger.as_str().contains(text.as_str())
                })
        });
        let items: Vec<LocalList> = rows.by_ref().take(page.rows()).cloned().collect();
        let next = match (items.last(), rows.next()) {
            (Some(last), Some(_)) => Some(Place::Charger(last.charger.clone()).to_cursor()),
            _ => None,
        };
        Ok(Page { items, next })
    }
}
