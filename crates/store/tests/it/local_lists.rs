//! The port `LocalLists`: wishes, and how far each charger's list is.

use crate::common::{
    Adapter, apply, at, event, heartbeat, id, on_every_adapter, origin, put_profile,
};
use central::local_list::{Content, LocalList, Phase, Wish};
use central::model::Token;
use central::ports::{ChangeRequest, ChargerAdmin, ChargerProfile, LocalListFilter, LocalLists};
use central::query::{AuditFilter, PageRequest, QueryStore};
use central::{RecordKind, Timestamp};
use ocpp::Version;
use std::sync::atomic::{AtomicUsize, Ordering};

on_every_adapter!(
    a_wish_of_a_charger_precedes_that_of_all,
    of_those_who_save_from_one_state_one_succeeds,
    a_new_wish_is_not_overwritten_by_a_step_of_the_old_one,
    lists_are_due_at_their_time_and_hastened_when_tokens_change,
    a_list_that_waits_for_its_charger_is_due_when_it_connects,
    contents_are_kept_while_a_list_refers_to_them,
    a_removed_charger_has_neither_a_wish_nor_a_list,
);

const NOW: Timestamp = Timestamp(1_000_000);

fn ids(lists: &[LocalList]) -> Vec<(&str, &Wish)> {
    lists
        .iter()
        .map(|list| (list.charger_id.as_str(), &list.wish))
        .collect()
}

fn all<S: LocalLists>(store: &S) -> Vec<LocalList> {
    let (mut lists, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { after, limit: 1 };
        let page = store
            .local_list_page(&LocalListFilter::default(), &page)
            .unwrap();
        lists.extend(page.items);
        after = page.next;
        if after.is_none() {
            return lists;
        }
    }
}

fn a_removed_charger_has_neither_a_wish_nor_a_list<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1"), heartbeat(2, "CP-2")]).unwrap();
    put_profile(&store, &ChargerProfile::new("CP-1"));
    let set = |charger, wish| store.set_list_wish(charger, wish, &origin()).unwrap();
    set(Some("CP-1"), Some(&Wish::All));
    set(Some("CP-2"), Some(&Wish::All));
    let removal = ChangeRequest::of(origin());
    assert_eq!(store.remove_charger("cp-1", &removal).unwrap(), Ok(()));
    assert_eq!(store.list_wish(Some("CP-1")).unwrap(), None);
    assert_eq!(ids(&all(&store)), [("CP-2", &Wish::All)]);
    let filter = AuditFilter {
        action: Some("local_list.removed".to_owned()),
        ..AuditFilter::default()
    };
    let entries = store.audit(&filter, &PageRequest::default()).unwrap().items;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].subject, "CP-1");

    // The wish of all chargers does not hold for it either, until it is added again.
    set(None, Some(&Wish::None));
    store.adopt_lists(NOW).unwrap();
    assert_eq!(ids(&all(&store)), [("CP-2", &Wish::All)]);
    put_profile(&store, &ChargerProfile::new("CP-1"));
    store.adopt_lists(NOW).unwrap();
    let both = [("CP-1", &Wish::None), ("CP-2", &Wish::All)];
    assert_eq!(ids(&all(&store)), both);
    assert_eq!(store.remove_charger("CP-1", &removal).unwrap(), Ok(()));
    store.adopt_lists(NOW).unwrap();
    assert_eq!(ids(&all(&store)), both[1..]);
    // Its list again, because somebody wants that of this identity.
    set(Some("CP-1"), Some(&Wish::All));
    store.adopt_lists(NOW).unwrap();
    assert_eq!(all(&store).len(), 2);
}

fn a_wish_of_a_charger_precedes_that_of_all<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1"), heartbeat(2, "CP-2")]).unwrap();
    store.adopt_lists(NOW).unwrap();
    assert_eq!(all(&store), []);

    let group = Wish::Group("G".to_owned());
    let set = |charger, wish| store.set_list_wish(charger, wish, &origin()).unwrap();
    assert!(!set(Some("cp-1"), Some(&group)));
    assert!(!set(Some("CP-9"), Some(&Wish::None)));
    assert!(!set(None, Some(&Wish::All)));
    store.adopt_lists(NOW).unwrap();
    store.adopt_lists(NOW).unwrap();
    assert_eq!(
        ids(&all(&store)),
        [
            ("cp-1", &group),
            ("CP-2", &Wish::All),
            ("CP-9", &Wish::None)
        ]
    );
    let filter = LocalListFilter {
        phase: Some(Phase::Unknown),
        search: Some("P-2".to_owned()),
    };
    let found = store
        .local_list_page(&filter, &PageRequest::default())
        .unwrap();
    assert_eq!(ids(&found.items), [("CP-2", &Wish::All)]);
    assert_eq!(
        store.list_wish(Some("CP-1")).unwrap().as_ref(),
        Some(&group)
    );
    assert_eq!(store.list_wish(Some("CP-2")).unwrap(), None);
    assert_eq!(store.list_wish(None).unwrap(), Some(Wish::All));

    assert!(set(None, None));
    assert!(!set(None, None));
    store.adopt_lists(NOW).unwrap();
    assert_eq!(all(&store).len(), 2);
    assert_eq!(store.local_list("CP-2").unwrap(), None);
    assert!(store.local_list("CP-1").unwrap().is_some());

    let audit = store
        .audit(&AuditFilter::default(), &PageRequest::default())
        .unwrap();
    let audited: Vec<_> = audit
        .items
        .iter()
        .map(|entry| (entry.action.as_str(), entry.subject.as_str()))
        .collect();
    assert_eq!(
        audited,
        [
            ("local_list.removed", "*"),
            ("local_list.set", "*"),
            ("local_list.set", "CP-9"),
            ("local_list.set", "cp-1"),
        ]
    );
}

fn of_those_who_save_from_one_state_one_succeeds<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store
        .set_list_wish(Some("CP-1"), Some(&Wish::All), &origin())
        .unwrap();
    let saved = AtomicUsize::new(0);
    let state = store.local_list("CP-1").unwrap().unwrap();
    std::thread::scope(|scope| {
        for number in 1..=4 {
            let (database, saved) = (&database, &saved);
            let mut list = state.clone();
            scope.spawn(move || {
                list.progress.attempt = number;
                let store = database.open();
                let is_saved = loop {
                    // A writer that waits too long for the others' lock is refused.
                    if let Ok(is_saved) = store.save_list(&list, NOW) {
                        break is_saved;
                    }
                };
                saved.fetch_add(usize::from(is_saved), Ordering::SeqCst);
            });
        }
    });
    assert_eq!(saved.load(Ordering::SeqCst), 1);
    let list = store.local_list("CP-1").unwrap().unwrap();
    assert!((1..=4).contains(&list.progress.attempt));
}

fn a_new_wish_is_not_overwritten_by_a_step_of_the_old_one<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let set = |charger, wish| store.set_list_wish(charger, Some(wish), &origin()).unwrap();
    set(Some("CP-1"), &Wish::All);
    let old = store.local_list("CP-1").unwrap().unwrap();
    set(Some("CP-1"), &Wish::All);
    assert!(!store.save_list(&old, NOW).unwrap());
    let again = store.local_list("CP-1").unwrap().unwrap();
    assert!(again.wished_at > old.wished_at, "set again begins anew");
    set(None, &Wish::None);
    assert!(!store.save_list(&again, NOW).unwrap());
}

fn lists_are_due_at_their_time_and_hastened_when_tokens_change<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for charger in ["CP-1", "CP-2", "CP-3"] {
        store
            .set_list_wish(Some(charger), Some(&Wish::All), &origin())
            .unwrap();
    }
    let phases = [Phase::InSync, Phase::Sending, Phase::InSync];
    for ((mut list, phase), minutes) in all(&store).into_iter().zip(phases).zip([5, 1, 3]) {
        list.progress.phase = phase;
        let due_at = NOW.plus_millis(minutes * 60_000);
        assert!(store.save_list(&list, due_at).unwrap());
    }
    let due = |minutes: i64, limit| {
        let now = NOW.plus_millis(minutes * 60_000);
        let due = store.due_lists(now, limit).unwrap();
        due.into_iter()
            .map(|list| list.charger_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(due(0, 9), [""; 0]);
    assert_eq!(due(5, 2), ["CP-2", "CP-3"]);
    store.hasten_lists(NOW).unwrap();
    let mut hastened = due(0, 9);
    hastened.sort();
    assert_eq!(hastened, ["CP-1", "CP-3"]);
}

fn a_list_that_waits_for_its_charger_is_due_when_it_connects<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for charger in ["CP-1", "CP-2", "CP-3"] {
        store
            .set_list_wish(Some(charger), Some(&Wish::All), &origin())
            .unwrap();
    }
    let waits = Phase::WaitingForCharger;
    for (mut list, phase) in all(&store).into_iter().zip([waits, Phase::Sending, waits]) {
        list.progress.phase = phase;
        assert!(store.save_list(&list, at(5)).unwrap());
    }
    assert_eq!(store.due_lists(at(0), 9).unwrap(), []);
    let connected = ["cp-1", "CP-2", "CP-9"].map(|charger| {
        let number = u64::from(charger.as_bytes()[3]);
        event(id(0, number), RecordKind::Connected, charger, 0, 1)
    });
    let read = all(&store);
    apply(&store, &connected).unwrap();
    let due = store.due_lists(at(0), 9).unwrap();
    assert_eq!(ids(&due), [("CP-1", &Wish::All)]);
    // A step that was decided when the charger was not connected yet is decided again.
    assert!(!store.save_list(&read[0], at(0)).unwrap());
}

fn contents_are_kept_while_a_list_refers_to_them<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let content = |id: &str| {
        let token = Token::accepted(id);
        Content::wanted(&Wish::All, [(&token.key(), &token)], Version::V16, NOW)
    };
    store
        .set_list_wish(Some("CP-1"), Some(&Wish::All), &origin())
        .unwrap();
    let mut list = store.local_list("CP-1").unwrap().unwrap();
    list.progress.content = Some(content("A").digest);
    assert!(store.save_list(&list, NOW).unwrap());
    for id in ["A", "B", "C"] {
        store.keep_content(&content(id), NOW).unwrap();
    }
    let later = NOW.plus_millis(1);
    store.keep_content(&content("C"), later).unwrap();
    store.forget_contents(later).unwrap();
    let kept = |id: &str| store.content(&content(id).digest).unwrap();
    assert_eq!(kept("A"), Some(content("A")));
    assert_eq!(kept("B"), None);
    assert_eq!(kept("C"), Some(content("C")));
}
