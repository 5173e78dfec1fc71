//! The types of the generated tables: what a schema says about a value, as static data. The constructors have short
//! names to keep the tables compact; they run at compile time.

/// Members of an object at most: the engine keeps a bit for each.
const MEMBERS_MAX: usize = 64;

/// A JSON object: its members, at most [`MEMBERS_MAX`].
pub(crate) struct Object {
    pub(crate) members: &'static [Member],
    /// Whether members other than the known ones are allowed, as in `customData` (rule F-11).
    pub(crate) open: bool,
}

/// One member of an object.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: Shape,
}

/// What a value must be.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Any,
    Boolean,
    Integer {
        min: i64,
        max: i64,
        /// Whether `1.0` is an integer: draft-06 says yes, draft-04 no.
        point_zero: bool,
    },
    Number {
        min: f64,
        max: f64,
        /// Whether the number must be a multiple of 0.1; no schema has another step.
        tenths: bool,
    },
    Text {
        /// In Unicode characters.
        chars_max: u32,
        format: Format,
    },
    /// One of these texts; they are sorted.
    Choice(&'static [&'static str]),
    List {
        item: &'static Shape,
        items_min: u32,
        items_max: u32,
    },
    Object(&'static Object),
}

/// What a text must look like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Free,
    /// A date-time as 1.6 allows it: ISO 8601 (rule F-13).
    DateTime16,
    /// A date-time as 2.x allows it: RFC 3339, at most three decimals (rule F-13).
    DateTime2,
    /// A URI (RFC 3986).
    Uri,
}

pub(crate) const BOOLEAN: Shape = Shape::Boolean;
pub(crate) const ANY: Shape = Shape::Any;
pub(crate) const TEXT: Shape = text(u32::MAX);
pub(crate) const TIME_16: Shape = formatted(Format::DateTime16);
pub(crate) const TIME_2: Shape = formatted(Format::DateTime2);
pub(crate) const URI: Shape = formatted(Format::Uri);
pub(crate) const NUMBER: Shape = number(f64::NEG_INFINITY, f64::INFINITY);
pub(crate) const TENTHS: Shape = Shape::Number {
    min: f64::NEG_INFINITY,
    max: f64::INFINITY,
    tenths: true,
};
pub(crate) const INTEGER: Shape = integer(i64::MIN, i64::MAX);
/// An integer of draft-04.
pub(crate) const INTEGER_04: Shape = Shape::Integer {
    min: i64::MIN,
    max: i64::MAX,
    point_zero: false,
};

pub(crate) const fn text(chars_max: u32) -> Shape {
    Shape::Text {
        chars_max,
        format: Format::Free,
    }
}

const fn formatted(format: Format) -> Shape {
    Shape::Text {
        chars_max: u32::MAX,
        format,
    }
}

pub(crate) const fn number(min: f64, max: f64) -> Shape {
    Shape::Number {
        min,
        max,
        tenths: false,
    }
}

pub(crate) const fn integer(min: i64, max: i64) -> Shape {
    Shape::Integer {
        min,
        max,
        point_zero: true,
    }
}

pub(crate) const fn choice(values: &'static [&'static str]) -> Shape {
    Shape::Choice(values)
}

pub(crate) const fn list(item: &'static Shape, items_min: u32, items_max: u32) -> Shape {
    Shape::List {
        item,
        items_min,
        items_max,
    }
}

pub(crate) const fn object(object: &'static Object) -> Shape {
    Shape::Object(object)
}

pub(crate) const fn must(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        required: true,
        shape,
    }
}

pub(crate) const fn may(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        required: false,
        shape,
    }
}

pub(crate) const fn closed(members: &'static [Member]) -> Object {
    assert!(members.len() <= MEMBERS_MAX); // while compiling
    Object {
        members,
        open: false,
    }
}

pub(crate) const fn open(members: &'static [Member]) -> Object {
    assert!(members.len() <= MEMBERS_MAX); // while compiling
    Object {
        members,
        open: true,
    }
}
