//! The table of outcomes: Markdown, with ✅ and ❌.

use super::verdict::Outcome;
use std::fmt::Write as _;

const HEAD: [&str; 12] = [
    "#",
    "Scenario",
    "durability",
    "sent",
    "acknowledged",
    "stored",
    "lost",
    "duplicated",
    "out of order",
    "longest without answer",
    "time to recover",
    "",
];
/// The number of columns with text, which are left-aligned; the others are numbers.
const WORDS: usize = 3;

/// All outcomes as a Markdown table, aligned for reading as plain text.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let rows: Vec<[String; HEAD.len()]> = outcomes.iter().map(row).collect();
    let mut widths = HEAD.map(|word| word.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let last = HEAD.len() - 1;
    // The last column is not padded: an emoji is two columns wide, and the text after it varies.
    widths[last] = 2;
    let mut text = String::new();
    line(&mut text, &HEAD.map(str::to_owned), &widths);
    for (index, width) in widths.iter().enumerate() {
        let dashes = "-".repeat(*width + 1);
        let right = index >= WORDS && index < last;
        text.push_str(&if right {
            format!("|{dashes}:")
        } else {
            format!("|-{dashes}")
        });
    }
    text.push_str("|\n");
    for row in &rows {
        line(&mut text, row, &widths);
    }
    for outcome in outcomes {
        for note in outcome.notes.iter().chain(&outcome.audit_faults) {
            let _ = writeln!(
                text,
                "  {} ({}): {note}",
                outcome.scenario, outcome.durability
            );
        }
    }
    text
}

fn line(text: &mut String, cells: &[String; HEAD.len()], widths: &[usize; HEAD.len()]) {
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        let is_word = index < WORDS || index == HEAD.len() - 1;
        let _ = if is_word {
            write!(text, "| {cell}{padding} ")
        } else {
            write!(text, "| {padding}{cell} ")
        };
    }
    text.push_str("|\n");
}

fn row(outcome: &Outcome) -> [String; HEAD.len()] {
    [
        outcome.scenario.to_owned(),
        outcome.title.to_owned(),
        outcome.durability.to_owned(),
        outcome.sent.to_string(),
        outcome.acknowledged.to_string(),
        outcome.stored.to_string(),
        outcome.lost.to_string(),
        outcome.duplicated.to_string(),
        outcome.out_of_order.to_string(),
        seconds(outcome.longest_without_answer().as_secs_f64()),
        outcome
            .recovery_s
            .map_or_else(|| "never".to_owned(), seconds),
        if outcome.passed() {
            "✅".to_owned()
        } else {
            format!("❌ {}", outcome.faults.join(", "))
        },
    ]
}

fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ms", value * 1e3)
    } else {
        format!("{value:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::Scenario;
    use super::super::verdict::Measured;
    use super::*;
    use simulator::audit::Report;
    use std::time::Duration;

    fn outcome(missing: u64) -> Outcome {
        let report = Report {
            acknowledged: 5_000,
            missing,
            faults: vec![format!("SIM-1 misses {missing}")],
            ..Report::default()
        };
        let measured = Measured {
            chargers: 50,
            sent: 5_002,
            longest_wait: Duration::from_millis(42),
            longest_gap: Duration::from_millis(7),
            recovery: Some(Duration::from_millis(6_340)),
            unexpected_ends: 0,
            drained: true,
            is_ready: true,
            had_effect: true,
            broken_promises: Vec::new(),
            notes: Vec::new(),
            api_differs: 0,
            false_outcomes: 0,
            kept_apart: 0,
        };
        let second = Duration::from_secs(1);
        Outcome::judge(Scenario::Rabbit, false, "broker", &report, measured, second)
    }

    #[test]
    fn table_is_markdown_with_a_verdict_per_scenario() {
        let text = table(&[outcome(0), outcome(4)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("| # | Scenario"), "{text}");
        assert!(lines[1].starts_with("|---|"), "{text}");
        for part in ["| broker ", " 5002 |", " 42 ms |", " 6.3 s |", "✅"] {
            assert!(lines[2].contains(part), "{part} in {text}");
        }
        assert!(
            lines[3].contains(" 4996 |") && lines[3].contains("❌ 4 lost"),
            "{text}"
        );
        assert!(text.contains("2 (broker): SIM-1 misses 4"), "{text}");
        let bars = |line: &str| line.matches('|').count();
        assert!(lines[..4].iter().all(|line| bars(line) == HEAD.len() + 1));
    }
}
