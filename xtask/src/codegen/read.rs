//! Reads schemas; an unknown keyword is an error.

use super::facts::{Facts, Object, ObjectId, Shape};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Keywords that do not restrict payloads.
const IGNORED: [&str; 8] = [
    "$schema",
    "$id",
    "title",
    "description",
    "comment",
    "javaType",
    "default",
    "definitions",
];

/// No schema nests deeper; bounds circular references.
const DEPTH_MAX: usize = 32;

/// Reads every schema in a folder.
pub(super) fn version(facts: &mut Facts, version: usize, folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".json") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    for name in names {
        let text = std::fs::read_to_string(folder.join(format!("{name}.json")))
            .with_context(|| format!("read {name}"))?;
        let root: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .with_context(|| format!("parse {name}"))?;
        let (action, is_response) = match name.strip_suffix("Response") {
            Some(action) => (action, true),
            None => (name.strip_suffix("Request").unwrap_or(&name), false),
        };
        let suffix = if is_response { "Response" } else { "Request" };
        let schema = Schema {
            version,
            draft_04: draft_04(&root).with_context(|| format!("read the draft of {name}"))?,
            root: &root,
        };
        let shape = schema
            .shape(facts, &root, &format!("{action}{suffix}"), 0)
            .with_context(|| format!("interpret {name}"))?;
        let Shape::Object(id) = shape else {
            bail!("{name} does not describe an object");
        };
        place(facts, version, action, is_response, id);
    }
    Ok(())
}

fn place(facts: &mut Facts, version: usize, action: &str, is_response: bool, id: ObjectId) {
    let actions = facts.actions.entry(version).or_default();
    let action = actions.entry(action.to_owned()).or_default();
    if is_response {
        action.response = Some(id);
    } else {
        action.request = Some(id);
    }
}

fn draft_04(root: &Value) -> Result<bool> {
    match root.get("$schema").and_then(Value::as_str) {
        Some("http://json-schema.org/draft-04/schema#") => Ok(true),
        Some("http://json-schema.org/draft-06/schema#") => Ok(false),
        other => bail!("unknown draft {other:?}"),
    }
}

/// One schema file.
struct Schema<'a> {
    version: usize,
    draft_04: bool,
    root: &'a Value,
}

impl Schema<'_> {
    fn shape(&self, facts: &mut Facts, schema: &Value, name: &str, depth: usize) -> Result<Shape> {
        ensure!(depth < DEPTH_MAX, "{name} nests too deep");
        let words = Words::of(schema, name)?;
        if let Some(reference) = words.text("$ref")? {
            words.only(&["$ref"])?;
            let definition = reference
                .strip_prefix("#/definitions/")
                .with_context(|| format!("{name} refers to {reference}"))?;
            let target = self
                .root
                .get("definitions")
                .and_then(|definitions| definitions.get(definition))
                .with_context(|| format!("{name} refers to {reference}, which is absent"))?;
            let name = definition.strip_suffix("Type").unwrap_or(definition);
            return self.shape(facts, target, name, depth + 1);
        }
        match words.text("type")? {
            None => {
                words.only(&[])?;
                Ok(Shape::Any)
            }
            Some("boolean") => {
                words.only(&["type"])?;
                Ok(Shape::Boolean)
            }
            Some("integer") => {
                words.only(&["type", "minimum", "maximum"])?;
                Ok(Shape::Integer {
                    min: words.whole("minimum")?,
                    max: words.whole("maximum")?,
                    point_zero: !self.draft_04,
                })
            }
            Some("number") => self.number(&words),
            Some("string") if words.get("enum").is_some() => self.choice(facts, &words),
            Some("string") => self.text(&words),
            Some("array") => {
                words.only(&["type", "items", "additionalItems", "minItems", "maxItems"])?;
                let item = words
                    .get("items")
                    .with_context(|| format!("{name} has no items"))?;
                let item_name = name.strip_suffix('s').unwrap_or(name);
                Ok(Shape::List {
                    item: Box::new(self.shape(facts, item, item_name, depth + 1)?),
                    items_min: words.count("minItems")?,
                    items_max: words.count("maxItems")?,
                })
            }
            Some("object") => self.object(facts, &words, depth),
            Some(other) => bail!("{name} has the type {other}"),
        }
    }

    fn number(&self, words: &Words<'_>) -> Result<Shape> {
        words.only(&["type", "minimum", "maximum", "multipleOf"])?;
        let tenths = match words.number("multipleOf")? {
            None => false,
            Some(0.1) => true,
            Some(step) => bail!("{} has the step {step}", words.name),
        };
        Ok(Shape::Number {
            min: words.number("minimum")?.map(f64::to_bits),
            max: words.number("maximum")?.map(f64::to_bits),
            tenths,
        })
    }

    fn text(&self, words: &Words<'_>) -> Result<Shape> {
        words.only(&["type", "maxLength", "format"])?;
        let chars_max = words.count("maxLength")?;
        let Some(format) = words.text("format")? else {
            return Ok(Shape::Text { chars_max });
        };
        ensure!(
            chars_max.is_none(),
            "{} has a format and a length",
            words.name
        );
        match format {
            // 1.6 takes ISO 8601, whichever draft a schema is written in.
            "date-time" if self.version == 0 => Ok(Shape::Time16),
            "date-time" => Ok(Shape::Time2),
            "uri" => Ok(Shape::Uri),
            other => bail!("{} has the format {other}", words.name),
        }
    }

    fn choice(&self, facts: &mut Facts, words: &Words<'_>) -> Result<Shape> {
        // Schemas also have additionalProperties here, where it has no meaning.
        words.only(&["type", "enum", "additionalProperties"])?;
        let mut values = words.texts("enum")?;
        values.sort();
        values.dedup();
        Ok(Shape::Choice(facts.choice(
            self.version,
            words.name,
            values,
        )))
    }

    fn object(&self, facts: &mut Facts, words: &Words<'_>, depth: usize) -> Result<Shape> {
        words.only(&["type", "properties", "required", "additionalProperties"])?;
        let open = match words.get("additionalProperties") {
            None | Some(Value::Bool(true)) => true,
            Some(Value::Bool(false)) => false,
            Some(other) => bail!("{} has additionalProperties {other}", words.name),
        };
        let mut members = BTreeMap::new();
        if let Some(properties) = words.get("properties") {
            let properties = properties
                .as_object()
                .with_context(|| format!("{} has properties that are not an object", words.name))?;
            for (member, schema) in properties {
                let shape = self.shape(facts, schema, member, depth + 1)?;
                members.insert(member.clone(), (false, shape));
            }
        }
        for required in words.texts("required")? {
            members
                .get_mut(&required)
                .with_context(|| format!("{} requires the unknown {required}", words.name))?
                .0 = true;
        }
        ensure!(members.len() <= 64, "{} has too many members", words.name);
        let object = Object { members, open };
        Ok(Shape::Object(facts.object(
            self.version,
            words.name,
            object,
        )))
    }
}

/// The keywords of one schema or subschema.
struct Words<'a> {
    words: &'a Map<String, Value>,
    name: &'a str,
}

impl<'a> Words<'a> {
    fn of(schema: &'a Value, name: &'a str) -> Result<Self> {
        let words = schema
            .as_object()
            .with_context(|| format!("{name} is not a schema"))?;
        Ok(Self { words, name })
    }

    fn get(&self, word: &str) -> Option<&'a Value> {
        self.words.get(word)
    }

    /// Fails if there is a keyword other than `known`, so that no fact is lost.
    fn only(&self, known: &[&str]) -> Result<()> {
        for word in self.words.keys() {
            ensure!(
                known.contains(&word.as_str()) || IGNORED.contains(&word.as_str()),
                "{} has the unknown keyword {word}",
                self.name
            );
        }
        Ok(())
    }

    fn text(&self, word: &str) -> Result<Option<&'a str>> {
        match self.get(word) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => bail!("{} has {word} {other}", self.name),
        }
    }

    fn texts(&self, word: &str) -> Result<Vec<String>> {
        let Some(values) = self.get(word) else {
            return Ok(Vec::new());
        };
        serde_json::from_value(values.clone())
            .with_context(|| format!("{} has {word} {values}", self.name))
    }

    fn number(&self, word: &str) -> Result<Option<f64>> {
        match self.get(word) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => bail!("{} has {word} {value}", self.name),
            },
        }
    }

    fn whole(&self, word: &str) -> Result<Option<i64>> {
        let Some(number) = self.number(word)? else {
            return Ok(None);
        };
        // Beyond 2^53 an f64 may have lost digits.
        ensure!(
            number.fract() == 0.0 && number.abs() < 9e15,
            "{} has {word} {number}",
            self.name
        );
        Ok(Some(number as i64))
    }

    fn count(&self, word: &str) -> Result<Option<u32>> {
        match self.whole(word)? {
            None => Ok(None),
            Some(count) => {
                Ok(Some(u32::try_from(count).with_context(|| {
                    format!("{} has {word} {count}", self.name)
                })?))
            }
        }
    }
}
