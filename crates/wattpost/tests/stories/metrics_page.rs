//! `docs/metrics.md`, and how it differs from what running processes export.

use std::collections::{BTreeMap, BTreeSet};

/// One metric: a row of the page, or a family in the answers to `GET /metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// What is exported, by name: the union of several processes.
#[derive(Debug, Default)]
pub(crate) struct Exported(BTreeMap<String, Metric>);

impl Exported {
    /// Adds the answer of one process to `GET /metrics`, in Prometheus' text format.
    pub(crate) fn add(&mut self, answer: &str) {
        for line in answer.lines().filter(|line| !line.is_empty()) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                    self.0.entry(name.to_owned()).or_default().help = help.to_owned();
                }
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    self.0.entry(name.to_owned()).or_default().kind = kind.to_owned();
                }
                _ => self.add_sample(line),
            }
        }
    }

    fn add_sample(&mut self, line: &str) {
        let end = line.find(['{', ' ']).expect("a name and a value");
        let (name, rest) = line.split_at(end);
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|end| name.strip_suffix(end))
            .find(|name| self.0.contains_key(*name));
        let metric = self.0.entry(of_histogram.unwrap_or(name).to_owned());
        let labels = &mut metric.or_default().labels;
        for part in rest.split("=\"").collect::<Vec<_>>().iter().rev().skip(1) {
            let label = part.rsplit([',', '{']).next().expect("a label");
            if label != "le" {
                labels.insert(label.to_owned());
            }
        }
    }

    /// How the page differs from it; empty when the two are equal. `absent`: the rows that these processes cannot
    /// export, with the reason. A name that ends with `*` stands for all that begin like it.
    pub(crate) fn differences(&self, absent: &[(&str, &str)]) -> Vec<String> {
        let rows = rows();
        let mut found = Vec::new();
        for (name, metric) in &self.0 {
            match rows.get(name) {
                None => found.push(format!("{name} has no row")),
                Some(row) if row != metric => {
                    found.push(format!("{name} is {metric:?}, but its row is {row:?}"));
                }
                Some(_) => {}
            }
        }
        let is_absent = |name: &str| {
            absent
                .iter()
                .any(|(pattern, _)| match pattern.strip_suffix('*') {
                    Some(beginning) => name.starts_with(beginning),
                    None => name == *pattern,
                })
        };
        for name in rows.keys() {
            match (self.0.contains_key(name), is_absent(name)) {
                (false, false) => found.push(format!("{name} is not exported")),
                (true, true) => found.push(format!("{name} is exported after all")),
                _ => {}
            }
        }
        found
    }
}

/// The rows of the page, by name.
fn rows() -> BTreeMap<String, Metric> {
    let page = include_str!("../../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [name, kind, _unit, labels, help] = cells[..] else {
            panic!("{row:?} has not five cells");
        };
        let labels = labels
            .split(", ")
            .map(|label| label.trim_matches(['`', ' ']));
        let metric = Metric {
            kind: kind.to_owned(),
            help: help.to_owned(),
            labels: labels
                .filter(|label| !label.is_empty())
                .map(str::to_owned)
                .collect(),
        };
        (name.trim_end_matches('`').to_owned(), metric)
    })
    .collect()
}

#[test]
fn labels_are_read_from_samples() {
    let mut exported = Exported::default();
    exported.add(
        "# HELP a_seconds Time\n# TYPE a_seconds histogram\n\
         a_seconds_bucket{route=\"/x/{id},\",le=\"0.1\"} 1\na_seconds_sum{route=\"/x\"} 1\n",
    );
    let metric = &exported.0["a_seconds"];
    assert_eq!(exported.0.len(), 1);
    assert_eq!(
        (metric.kind.as_str(), metric.help.as_str()),
        ("histogram", "Time")
    );
    assert_eq!(metric.labels, BTreeSet::from(["route".to_owned()]));
}
