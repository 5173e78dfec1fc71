//! Compares a payload's text with a table in one pass, as serde visitors that build no values.
//!
//! There are two visitors: [`Value`] compares one value with its shape, [`Name`] finds a member's name among those of an
//! object. A value that does not fit is reported and skipped, so that one pass finds all violations. Skipping does not
//! recurse, so nesting cannot exhaust the stack.

use super::format::{is_date_time_2, is_date_time_16, is_uri};
use super::report::{Place, Report, Step, clip};
use super::shape::{Format, Object, Shape};
use super::{Violation, ViolationKind};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// An object with any members.
static UNKNOWN: Object = super::shape::open(&[]);

/// The violations in `payload`; without a table it must only be an object.
pub(crate) fn check(object: Option<&'static Object>, payload: &str) -> Vec<Violation> {
    let mut report = Report::default();
    let mut json = serde_json::Deserializer::from_str(payload);
    let root = Value {
        shape: Shape::Object(object.unwrap_or(&UNKNOWN)),
        at: None,
        report: &mut report,
    };
    match root.deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => report.into_violations(),
        Err(error) => {
            let mut report = Report::default();
            report.add(None, ViolationKind::NotJson, false, format_args!("{error}"));
            report.into_violations()
        }
    }
}

/// One value, its shape and its place; the payload itself has no place.
struct Value<'a> {
    shape: Shape,
    at: Option<&'a Place<'a>>,
    report: &'a mut Report,
}

impl Value<'_> {
    fn add(&mut self, kind: ViolationKind, detail: fmt::Arguments<'_>) {
        self.report.add(self.at, kind, true, detail);
    }

    /// The value is of the wrong JSON type.
    fn mismatch(&mut self, found: &str, tolerated: bool) {
        let wanted = wanted(&self.shape);
        let kind = match self.at {
            None => ViolationKind::NotObject,
            Some(_) => ViolationKind::Type,
        };
        self.report.add(
            self.at,
            kind,
            tolerated,
            format_args!("should be {wanted}, is {found}"),
        );
    }

    /// A number in place of another type; tolerated in place of a free text, since digits are a text.
    fn number_out_of_place(&mut self) {
        let is_tolerated = matches!(
            self.shape,
            Shape::Text {
                format: Format::Free,
                ..
            }
        );
        self.mismatch("a number", is_tolerated);
    }

    fn whole(&mut self, number: i128) {
        match self.shape {
            Shape::Any => {}
            // Every multiple of one is a multiple of a tenth.
            Shape::Number { min, max, .. } => self.bounds(number as f64, min, max),
            Shape::Integer { min, max, .. } => {
                if number < i128::from(min) && min != i64::MIN {
                    self.add(
                        ViolationKind::Range,
                        format_args!("{number} is below {min}"),
                    );
                }
                if number > i128::from(max) && max != i64::MAX {
                    self.add(
                        ViolationKind::Range,
                        format_args!("{number} is above {max}"),
                    );
                }
            }
            _ => self.number_out_of_place(),
        }
    }

    fn bounds(&mut self, number: f64, min: f64, max: f64) {
        if number < min {
            self.add(
                ViolationKind::Range,
                format_args!("{number} is below {min}"),
            );
        }
        if number > max {
            self.add(
                ViolationKind::Range,
                format_args!("{number} is above {max}"),
            );
        }
    }

    fn text(&mut self, text: &str) {
        match self.shape {
            Shape::Any => {}
            Shape::Text { chars_max, format } => self.free_text(text, chars_max, format),
            Shape::Choice(values) => {
                if values.binary_search(&text).is_err() {
                    let text = clip(text);
                    self.add(
                        ViolationKind::Enum,
                        format_args!("{text:?} is not one of the {} values", values.len()),
                    );
                }
            }
            Shape::Integer { .. } | Shape::Number { .. } => {
                let is_number = text.trim().parse().is_ok_and(f64::is_finite);
                self.mismatch("a text", is_number);
            }
            Shape::Boolean => {
                let is_boolean = ["true", "false"]
                    .iter()
                    .any(|word| text.trim().eq_ignore_ascii_case(word));
                self.mismatch("a text", is_boolean);
            }
            Shape::List { .. } | Shape::Object(_) => self.mismatch("a text", false),
        }
    }

    fn free_text(&mut self, text: &str, chars_max: u32, format: Format) {
        let chars_max = chars_max as usize;
        // A text has no more characters than bytes, so counting is rarely needed.
        if text.len() > chars_max && text.chars().count() > chars_max {
            self.add(
                ViolationKind::Length,
                format_args!(
                    "has {} characters, may have {chars_max}",
                    text.chars().count()
                ),
            );
        }
        let (fits, name) = match format {
            Format::Free => return,
            Format::DateTime16 => (is_date_time_16(text), "an ISO 8601 date-time with offset"),
            Format::DateTime2 => (
                is_date_time_2(text),
                "an RFC 3339 date-time with at most 3 decimals",
            ),
            Format::Uri => (is_uri(text), "a URI"),
        };
        if !fits {
            let text = clip(text);
            self.add(
                ViolationKind::Format,
                format_args!("{text:?} is not {name}"),
            );
        }
    }

    fn object<'de, A: MapAccess<'de>>(
        self,
        object: &'static Object,
        mut map: A,
    ) -> Result<(), A::Error> {
        let Self { at, report, .. } = self;
        let mut seen = 0_u64;
        let mut empty = true;
        let mut expected = 0;
        loop {
            let name = Name {
                object,
                expected,
                at,
                report: &mut *report,
            };
            let Some(found) = map.next_key_seed(name)? else {
                break;
            };
            empty = false;
            let Some((index, member)) =
                found.and_then(|index| Some((index, object.members.get(index)?)))
            else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            expected = index + 1;
            seen |= 1 << index;
            let place = Place {
                parent: at,
                step: Step::Member(member.name),
                optional: !member.required,
            };
            map.next_value_seed(Value {
                shape: member.shape,
                at: Some(&place),
                report: &mut *report,
            })?;
        }
        let tolerated = empty && at.is_some_and(|at| at.optional);
        missing(object, seen, at, tolerated, report);
        Ok(())
    }
}

fn missing(
    object: &Object,
    seen: u64,
    at: Option<&Place<'_>>,
    tolerated: bool,
    report: &mut Report,
) {
    for (index, member) in object.members.iter().enumerate() {
        if member.required && seen & (1 << index) == 0 {
            let place = Place {
                parent: at,
                step: Step::Member(member.name),
                optional: false,
            };
            report.add(
                Some(&place),
                ViolationKind::Missing,
                tolerated,
                format_args!("is required"),
            );
        }
    }
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Shape::Any => "any value",
        Shape::Boolean => "true or false",
        Shape::Integer { .. } => "an integer",
        Shape::Number { .. } => "a number",
        Shape::Text { .. } | Shape::Choice(_) => "a text",
        Shape::List { .. } => "a list",
        Shape::Object(_) => "an object",
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(wanted(&self.shape))
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        if !matches!(self.shape, Shape::Any | Shape::Boolean) {
            self.mismatch("true or false", false);
        }
        Ok(())
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        match (self.shape, self.at) {
            (Shape::Any, _) => {}
            // A payload of null counts as an empty one (rule F-5).
            (Shape::Object(object), None) => missing(object, 0, None, false, self.report),
            // An optional member should be absent rather than null (rule F-6).
            (_, at) => self.mismatch("null", at.is_some_and(|at| at.optional)),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<(), E> {
        self.whole(number.into());
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<(), E> {
        self.whole(number.into());
        Ok(())
    }

    /// A number with a point or an exponent, or one beyond 64 bits.
    fn visit_f64<E: Error>(mut self, number: f64) -> Result<(), E> {
        match self.shape {
            Shape::Any => {}
            Shape::Number { min, max, tenths } => {
                self.bounds(number, min, max);
                if tenths && !is_tenths(number) {
                    self.add(
                        ViolationKind::Range,
                        format_args!("{number} is not a multiple of 0.1"),
                    );
                }
            }
            Shape::Integer { .. } if number.fract() != 0.0 => {
                self.mismatch("a number with a fraction", true);
            }
            Shape::Integer {
                min,
                max,
                point_zero,
            } => {
                // serde_json also calls this for an integer beyond 64 bits, which may have been written without a point.
                if !point_zero && number.abs() < TWO_TO_63 {
                    self.mismatch("a number with a point", true);
                } else {
                    let min = if min == i64::MIN {
                        f64::MIN
                    } else {
                        min as f64
                    };
                    let max = if max == i64::MAX {
                        f64::MAX
                    } else {
                        max as f64
                    };
                    self.bounds(number, min, max);
                }
            }
            _ => self.number_out_of_place(),
        }
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let Shape::List {
            item,
            items_min,
            items_max,
        } = self.shape
        else {
            if !matches!(self.shape, Shape::Any) {
                self.mismatch("a list", false);
            }
            return IgnoredAny.visit_seq(seq).map(drop);
        };
        let mut count = 0;
        loop {
            let place = Place {
                parent: self.at,
                step: Step::Item(count),
                optional: false,
            };
            let value = Value {
                shape: *item,
                at: Some(&place),
                report: &mut *self.report,
            };
            if seq.next_element_seed(value)?.is_none() {
                break;
            }
            count += 1;
        }
        if count < items_min as usize {
            self.add(
                ViolationKind::Items,
                format_args!("has {count} items, should have at least {items_min}"),
            );
        }
        if count > items_max as usize {
            self.add(
                ViolationKind::Items,
                format_args!("has {count} items, may have {items_max}"),
            );
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        match self.shape {
            Shape::Object(object) => self.object(object, map),
            Shape::Any => IgnoredAny.visit_map(map).map(drop),
            _ => {
                self.mismatch("an object", false);
                IgnoredAny.visit_map(map).map(drop)
            }
        }
    }
}

/// The smallest positive number that an i64 cannot hold.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// Whether the shortest decimal notation of `number` has at most one decimal. Dividing by 0.1 would reject 0.3.
fn is_tenths(number: f64) -> bool {
    const WHOLE_BEYOND: f64 = 4_503_599_627_370_496.0; // 2^52
    number.abs() >= WHOLE_BEYOND || (number * 10.0).round() / 10.0 == number
}

/// Reads a member's name as its index; `None` if the object has no such member.
struct Name<'a> {
    object: &'static Object,
    /// The index to try first: members often come in the order of the table.
    expected: usize,
    at: Option<&'a Place<'a>>,
    report: &'a mut Report,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let (before, after) = self
            .object
            .members
            .split_at_checked(self.expected)
            .unwrap_or((&[], self.object.members));
        let found = match after.iter().position(|member| member.name == name) {
            Some(index) => Some(before.len() + index),
            None => before.iter().position(|member| member.name == name),
        };
        if found.is_none() && !self.object.open {
            let place = Place {
                parent: self.at,
                step: Step::Member(name),
                optional: true,
            };
            self.report.add(
                Some(&place),
                ViolationKind::Extra,
                true,
                format_args!("is not a member here"),
            );
        }
        Ok(found)
    }
}
