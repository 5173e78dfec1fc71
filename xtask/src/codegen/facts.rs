//! The facts of all schemas: every distinct object and enumeration once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Index into [`Facts::objects`].
pub(super) type ObjectId = usize;
/// Index into [`Facts::choices`].
pub(super) type ChoiceId = usize;

/// What a value must be. Bounds of numbers are stored as bits, so that shapes can be compared and hashed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Any,
    Boolean,
    Integer {
        min: Option<i64>,
        max: Option<i64>,
        point_zero: bool,
    },
    Number {
        min: Option<u64>,
        max: Option<u64>,
        tenths: bool,
    },
    Text {
        chars_max: Option<u32>,
    },
    Time16,
    Time2,
    Uri,
    Choice(ChoiceId),
    List {
        item: Box<Shape>,
        items_min: Option<u32>,
        items_max: Option<u32>,
    },
    Object(ObjectId),
}

/// The members of an object by name, with whether they are required.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) members: BTreeMap<String, (bool, Shape)>,
    pub(super) open: bool,
}

/// An object or enumeration, its name at its first use, and the versions that use it.
pub(super) struct Entry<T> {
    pub(super) content: T,
    pub(super) name: String,
    pub(super) versions: BTreeSet<usize>,
}

/// Who sends an action: `ocpp::action::Direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToCentral,
    ToCharger,
    Both,
}

/// What the sender does when it is not delivered: `ocpp::action::DeliveryClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    T,
    Q,
    N,
    S,
}

/// An action in one version.
#[derive(Default)]
pub(super) struct Action {
    pub(super) request: Option<ObjectId>,
    pub(super) response: Option<ObjectId>,
    /// Not in the schemas; `super::actions` fills it in.
    pub(super) sent: Option<(Direction, Class)>,
}

/// Everything that was read.
#[derive(Default)]
pub(super) struct Facts {
    /// Children come before their parents.
    pub(super) objects: Vec<Entry<Object>>,
    pub(super) choices: Vec<Entry<Vec<String>>>,
    /// By version, then by name.
    pub(super) actions: BTreeMap<usize, BTreeMap<String, Action>>,
    known_objects: HashMap<Object, ObjectId>,
    known_choices: HashMap<Vec<String>, ChoiceId>,
}

impl Facts {
    pub(super) fn object(&mut self, version: usize, name: &str, content: Object) -> ObjectId {
        let id = *self
            .known_objects
            .entry(content.clone())
            .or_insert(self.objects.len());
        note(&mut self.objects, id, version, name, content);
        id
    }

    pub(super) fn choice(&mut self, version: usize, name: &str, values: Vec<String>) -> ChoiceId {
        let id = *self
            .known_choices
            .entry(values.clone())
            .or_insert(self.choices.len());
        note(&mut self.choices, id, version, name, values);
        id
    }
}

fn note<T>(entries: &mut Vec<Entry<T>>, id: usize, version: usize, name: &str, content: T) {
    if id == entries.len() {
        entries.push(Entry {
            content,
            name: name.to_owned(),
            versions: BTreeSet::new(),
        });
    }
    entries[id].versions.insert(version);
}
