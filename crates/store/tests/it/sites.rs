//! The port `Sites`, and the chargers that belong to sites and groups.

use crate::common::{
    Adapter, PostgresDatabase, apply, call, id, on_every_adapter, origin, put_profile,
    remove_profile,
};
use central::model::{ChargerProfile, SettingsPatch, Site, SitePatch, SiteView};
use central::ports::{
    ChangeKind, ChangeRequest, ChargerAdmin, ChargerChange, Condition, DirectorySource,
    Idempotency, NotChanged, Once, SiteChange, SiteNotChanged, Sites,
};
use central::query::{AuditFilter, ChargerFilter, PageRequest, QueryStore};

on_every_adapter!(
    a_site_is_created_changed_and_removed_on_condition,
    sites_are_listed_page_by_page_with_their_chargers,
    a_charger_belongs_only_to_a_site_that_exists,
    a_gateway_learns_nothing_of_label_site_and_group,
    chargers_are_selected_by_site_group_and_label,
);

/// For the test of the rights that a running Wattpost needs.
pub(crate) fn uses_every_call(store: &impl Sites) {
    done(store, ChangeKind::Set, "s", named("S"));
    assert_eq!(
        store
            .site_page(&PageRequest::default())
            .unwrap()
            .items
            .len(),
        1
    );
    let removed = store.remove_site("s", &ChangeRequest::of(origin()));
    assert_eq!(removed.unwrap(), Ok(()));
}

fn named(name: &str) -> SitePatch {
    SitePatch {
        name: Some(name.to_owned()),
        ..SitePatch::default()
    }
}

fn change(kind: ChangeKind, id: &str, patch: SitePatch) -> SiteChange {
    SiteChange {
        id: id.to_owned(),
        kind,
        patch,
        request: ChangeRequest::of(origin()),
    }
}

fn done(store: &impl Sites, kind: ChangeKind, id: &str, patch: SitePatch) -> SiteView {
    match store.change_site(&change(kind, id, patch)).unwrap() {
        Once::Done(view) => view,
        other => panic!("not done: {other:?}"),
    }
}

fn put_at(store: &impl ChargerAdmin, charger: &str, site: Option<&str>) {
    let profile = ChargerProfile {
        site: site.map(str::to_owned),
        ..ChargerProfile::new(charger)
    };
    put_profile(store, &profile);
}

fn a_site_is_created_changed_and_removed_on_condition<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let refused = |kind, id: &str, patch| match store.change_site(&change(kind, id, patch)) {
        Ok(Once::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    };
    let unknown = refused(ChangeKind::Update, "depot", named("x"));
    assert_eq!(unknown, SiteNotChanged::Unknown);
    let mut create = change(ChangeKind::Create, "depot", named("Depot \"7\", Süd"));
    create.request.idempotency = Some(Idempotency {
        key: "k".to_owned(),
        digest: [1; 32],
    });
    let Ok(Once::Done(created)) = store.change_site(&create) else {
        panic!("not created");
    };
    let repeated = store.change_site(&create).unwrap();
    assert_eq!(repeated, Once::Repeated(created.clone()));
    let exists = refused(ChangeKind::Create, "depot", named("x"));
    assert_eq!(exists, SiteNotChanged::Exists);
    let half = SitePatch {
        latitude: Some(Some(1.0)),
        ..SitePatch::default()
    };
    let half = refused(ChangeKind::Update, "depot", half);
    assert_eq!(half, SiteNotChanged::HalfPosition);

    let moved = SitePatch {
        address: Some(Some("Hafenstraße 1".to_owned())),
        time_zone: Some(Some("Europe/Berlin".to_owned())),
        latitude: Some(Some(52.520_006_6)),
        longitude: Some(Some(-13.404_954)),
        ..SitePatch::default()
    };
    let moved = done(&store, ChangeKind::Update, "depot", moved);
    assert_eq!(store.site("depot").unwrap().unwrap(), moved);
    assert_eq!(moved.site.latitude, Some(52.520_006_6));
    assert_eq!(moved.site.name, created.site.name);

    let stale = ChangeRequest {
        condition: Condition::Versions(vec![created.site.version()]),
        ..ChangeRequest::of(origin())
    };
    let removed = store.remove_site("depot", &stale).unwrap();
    assert_eq!(removed, Err(SiteNotChanged::OtherVersion));
    let current = ChangeRequest {
        condition: Condition::Versions(vec![moved.site.version()]),
        ..stale
    };
    assert_eq!(store.remove_site("depot", &current).unwrap(), Ok(()));
    assert_eq!(store.site("depot").unwrap(), None);
    let again = store.remove_site("depot", &ChangeRequest::of(origin()));
    assert_eq!(again.unwrap(), Err(SiteNotChanged::Unknown));

    let entries = store.audit(&AuditFilter::default(), &PageRequest::default());
    let actions: Vec<String> = entries
        .unwrap()
        .items
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    // What was refused or repeated has no entry.
    assert_eq!(actions, ["site.removed", "site.set", "site.set"]);
}

fn sites_are_listed_page_by_page_with_their_chargers<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for id in ["b", "c", "a"] {
        done(&store, ChangeKind::Create, id, named(id));
    }
    for (charger, site) in [
        ("CP-1", Some("b")),
        ("CP-2", Some("b")),
        ("CP-3", Some("c")),
        ("CP-4", None),
    ] {
        put_at(&store, charger, site);
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.site_page(&PageRequest { after, limit: 2 }).unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let shown: Vec<(&str, u64)> = found
        .iter()
        .map(|view| (view.site.id.as_str(), view.chargers))
        .collect();
    assert_eq!(shown, [("a", 0), ("b", 2), ("c", 1)]);
    let alien = store
        .chargers(
            &ChargerFilter::default(),
            &PageRequest {
                after: None,
                limit: 1,
            },
        )
        .unwrap()
        .next;
    assert!(alien.is_some());
    let page = PageRequest {
        after: alien,
        limit: 1,
    };
    assert!(store.site_page(&page).is_err());
}

fn a_charger_belongs_only_to_a_site_that_exists<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let at = |site: &str| ChargerChange {
        charger_id: "CP-1".to_owned(),
        kind: ChangeKind::Set,
        patch: SettingsPatch {
            site: Some(Some(site.to_owned())),
            ..SettingsPatch::default()
        },
        request: ChangeRequest::of(origin()),
    };
    let refused = store.change_charger(&at("depot")).unwrap();
    assert_eq!(refused, Once::Refused(NotChanged::NoSuchSite));
    assert_eq!(store.charger("CP-1").unwrap(), None);
    done(&store, ChangeKind::Create, "depot", named("Depot"));
    let Ok(Once::Done(settings)) = store.change_charger(&at("depot")) else {
        panic!("not changed");
    };
    assert_eq!(settings.site.as_deref(), Some("depot"));
    let request = ChangeRequest::of(origin());
    let kept = store.remove_site("depot", &request).unwrap();
    assert_eq!(kept, Err(SiteNotChanged::HasChargers(1)));
    remove_profile(&store, "CP-1").unwrap();
    assert_eq!(store.remove_site("depot", &request).unwrap(), Ok(()));
}

fn a_gateway_learns_nothing_of_label_site_and_group<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    done(&store, ChangeKind::Create, "depot", named("Depot"));
    let plain = ChargerProfile::new("CP-1");
    put_profile(&store, &plain);
    let before = store.load(None).unwrap().unwrap();
    let placed = ChargerProfile {
        label: Some("North gate".to_owned()),
        site: Some("depot".to_owned()),
        group: Some("fleet".to_owned()),
        ..plain
    };
    put_profile(&store, &placed);
    assert_eq!(store.charger_profiles().unwrap(), [placed]);
    // A gateway compares the profiles of two snapshots: equal ones change nothing for a connection.
    let after = store.load(None).unwrap().unwrap();
    assert_eq!(after.chargers, before.chargers);
    let entries = store.audit(
        &AuditFilter::default(),
        &PageRequest {
            after: None,
            limit: 1,
        },
    );
    let shown = entries.unwrap().items[0].after.clone().unwrap();
    assert_eq!(shown["label"], "North gate");
    assert_eq!(
        (&shown["site"], &shown["group"]),
        (&"depot".into(), &"fleet".into())
    );
}

fn chargers_are_selected_by_site_group_and_label<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for site in ["a", "b"] {
        done(&store, ChangeKind::Create, site, named(site));
    }
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    for (id, label, site, group) in [
        ("CP-1", "Süd Tor", "a", "fleet"),
        ("CP-2", "", "a", "Fleet"),
        ("CP-3", "", "b", "fleet"),
        ("CP-4", "cp-1 beside", "", ""),
    ] {
        put_profile(
            &store,
            &ChargerProfile {
                label: text(label),
                site: text(site),
                group: text(group),
                ..ChargerProfile::new(id)
            },
        );
    }
    // One charger has only connected.
    apply(&store, &[call(id(0, 1), "CP-5", 1, "Heartbeat", "{}")]).unwrap();
    let found = |set: &dyn Fn(&mut ChargerFilter)| {
        let mut filter = ChargerFilter::default();
        set(&mut filter);
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.chargers(&filter, &PageRequest { after, limit: 1 });
            let page = page.unwrap();
            ids.extend(page.items.into_iter().map(|item| item.charger.charger_id));
            after = page.next;
            if after.is_none() {
                return ids;
            }
        }
    };
    let site = |site: &str| {
        let site = Some(site.to_owned());
        found(&|filter| filter.site.clone_from(&site))
    };
    assert_eq!(site("a"), ["CP-1", "CP-2"]);
    assert_eq!(site("b"), ["CP-3"]);
    assert_eq!(site("c"), [""; 0]);
    assert_eq!(site(""), ["CP-4", "CP-5"]);
    let group = |group: &str| {
        let group = Some(group.to_owned());
        found(&|filter| filter.group.clone_from(&group))
    };
    assert_eq!(group("fleet"), ["CP-1", "CP-3"]);
    assert_eq!(group(""), ["CP-4", "CP-5"]);
    let both = found(&|filter| {
        filter.site = Some("a".to_owned());
        filter.group = Some("Fleet".to_owned());
    });
    assert_eq!(both, ["CP-2"]);
    let search = |text: &str, searches_labels| {
        found(&|filter| {
            filter.search = Some(text.to_owned());
            filter.searches_labels = searches_labels;
        })
    };
    assert_eq!(search("SÜD", true), ["CP-1"]);
    assert_eq!(search("SÜD", false), [""; 0]);
    assert_eq!(search("cp-1", true), ["CP-1", "CP-4"]);
    assert_eq!(search("cp-1", false), ["CP-1"]);
    let of_site = found(&|filter| {
        filter.search = Some("tor".to_owned());
        filter.searches_labels = true;
        filter.site = Some("a".to_owned());
    });
    assert_eq!(of_site, ["CP-1"]);
}

#[test]
fn a_site_and_its_chargers_are_changed_one_after_the_other() {
    let database = PostgresDatabase::new();
    let store = database.open();
    done(&store, ChangeKind::Create, "depot", named("Depot"));
    // Whichever comes first, no charger belongs to a site that is gone.
    std::thread::scope(|scope| {
        let (remover, putter) = (database.open(), database.open());
        scope.spawn(move || remover.remove_site("depot", &ChangeRequest::of(origin())));
        scope.spawn(move || {
            let change = ChargerChange {
                charger_id: "CP-1".to_owned(),
                kind: ChangeKind::Create,
                patch: SettingsPatch {
                    site: Some(Some("depot".to_owned())),
                    ..SettingsPatch::default()
                },
                request: ChangeRequest::of(origin()),
            };
            putter.change_charger(&change)
        });
    });
    let site: Option<Site> = store.site("depot").unwrap().map(|view| view.site);
    let charger = store.charger("CP-1").unwrap();
    assert_eq!(site.is_some(), charger.is_some());
}
