//! The scenarios, with the numbers and names that `--scenario` accepts.

use anyhow::{Result, bail};
use std::fmt;

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    Gateway,
    Consumer,
    Api,
    AllRoles,
    Rabbit,
    Database,
    RabbitAndDatabase,
    Everything,
    Repeatedly,
    Blocked,
    BlackHole,
    DiskFull,
    BlockedBacklog,
    SlowDatabase,
    Depot,
    MaintenanceMissed,
    Damaged,
    Commands,
    Upgrade,
    Storm,
    Rolling,
}

impl Scenario {
    pub(crate) const ALL: [Self; 21] = [
        Self::Gateway,
        Self::Consumer,
        Self::Api,
        Self::AllRoles,
        Self::Rabbit,
        Self::Database,
        Self::RabbitAndDatabase,
        Self::Everything,
        Self::Repeatedly,
        Self::Blocked,
        Self::BlackHole,
        Self::DiskFull,
        Self::BlockedBacklog,
        Self::SlowDatabase,
        Self::Depot,
        Self::MaintenanceMissed,
        Self::Damaged,
        Self::Commands,
        Self::Upgrade,
        Self::Storm,
        Self::Rolling,
    ];

    /// Its number in `--scenario`.
    pub(crate) const fn number(self) -> &'static str {
        match self {
            Self::Gateway => "1a",
            Self::Consumer => "1b",
            Self::Api => "1c",
            Self::AllRoles => "1d",
            Self::Rabbit => "2",
            Self::Database => "3",
            Self::RabbitAndDatabase => "4",
            Self::Everything => "5",
            Self::Repeatedly => "6",
            Self::Blocked => "7",
            Self::BlackHole => "8",
            Self::DiskFull => "9",
            Self::BlockedBacklog => "10",
            Self::SlowDatabase => "11",
            Self::Depot => "12",
            Self::MaintenanceMissed => "13",
            Self::Damaged => "14",
            Self::Commands => "15",
            Self::Upgrade => "16",
            Self::Storm => "17",
            Self::Rolling => "18",
        }
    }

    /// Its name in `--scenario`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Consumer => "consumer",
            Self::Api => "api",
            Self::AllRoles => "all-roles",
            Self::Rabbit => "rabbitmq",
            Self::Database => "database",
            Self::RabbitAndDatabase => "rabbitmq-and-database",
            Self::Everything => "everything",
            Self::Repeatedly => "repeatedly",
            Self::Blocked => "blocked",
            Self::BlackHole => "black-hole",
            Self::DiskFull => "disk-full",
            Self::BlockedBacklog => "blocked-with-backlog",
            Self::SlowDatabase => "slow-database",
            Self::Depot => "offline-depot",
            Self::MaintenanceMissed => "maintenance-missed",
            Self::Damaged => "damaged-record",
            Self::Commands => "commands",
            Self::Upgrade => "upgrade",
            Self::Storm => "storm",
            Self::Rolling => "rolling",
        }
    }

    /// What happens, for the table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Gateway => "gateway killed",
            Self::Consumer => "consumer killed",
            Self::Api => "API killed",
            Self::AllRoles => "all Wattpost processes killed",
            Self::Rabbit => "RabbitMQ killed, restarted later",
            Self::Database => "database killed, restarted later",
            Self::RabbitAndDatabase => "RabbitMQ and database down",
            Self::Everything => "everything killed at once",
            Self::Repeatedly => "gateway killed repeatedly",
            Self::Blocked => "RabbitMQ blocks (memory alarm)",
            Self::BlackHole => "network to RabbitMQ drops everything",
            Self::DiskFull => "disk of the gateway full",
            Self::BlockedBacklog => "RabbitMQ blocks, queues not empty",
            Self::SlowDatabase => "database slow (1 to 50 ms)",
            Self::Depot => "depot offline, stops without an id",
            Self::MaintenanceMissed => "partitions of today missing",
            Self::Damaged => "journal damaged, then salvaged",
            Self::Commands => "parts killed while commands are sent",
            Self::Upgrade => "gateway upgraded five times",
            Self::Storm => "all chargers return at once",
            Self::Rolling => "all processes restarted in turn",
        }
    }

    /// The same with `--embedded`.
    pub(crate) const fn title_embedded(self) -> &'static str {
        match self {
            Self::AllRoles => "serve killed",
            Self::Database => "database locked",
            Self::Everything => "serve killed, database locked",
            Self::Repeatedly => "serve killed repeatedly",
            Self::DiskFull => "disk full",
            Self::Upgrade => "serve upgraded five times",
            other => other.title(),
        }
    }

    /// Whether it is possible with `--embedded`.
    pub(crate) const fn applies_embedded(self) -> bool {
        matches!(
            self,
            Self::AllRoles
                | Self::Database
                | Self::Everything
                | Self::Repeatedly
                | Self::DiskFull
                | Self::Depot
                | Self::Upgrade
                | Self::Storm
        )
    }

    /// Whether answers must continue during the fault, because no process fails that an answer needs.
    pub(crate) const fn answers_go_on(self) -> bool {
        matches!(
            self,
            Self::Consumer
                | Self::Api
                | Self::Rabbit
                | Self::Database
                | Self::RabbitAndDatabase
                | Self::Blocked
                | Self::BlackHole
                | Self::BlockedBacklog
                | Self::SlowDatabase
                | Self::MaintenanceMissed
                | Self::Upgrade
        )
    }

    /// Whether some charger must get an answer at any time, although each gateway is stopped once.
    pub(crate) const fn some_answers_go_on(self) -> bool {
        matches!(self, Self::Rolling)
    }

    /// The scenarios that `wanted` names by number, by name, or by a number without its letter; all that are possible if
    /// it is empty.
    ///
    /// # Errors
    /// When there is no such scenario, or it is not possible with `--embedded`.
    pub(crate) fn choose(wanted: &[String], embedded: bool) -> Result<Vec<Self>> {
        let mut chosen = Vec::new();
        for word in wanted {
            let word = word.to_ascii_lowercase();
            let mut meant: Vec<Self> = Self::ALL
                .into_iter()
                .filter(|one| {
                    let number = one.number();
                    one.name() == word
                        || number == word
                        || number.trim_end_matches(char::is_alphabetic) == word
                })
                .collect();
            if meant.is_empty() {
                bail!(
                    "--scenario is {word:?}, which does not exist; `wattpost drill --list` prints numbers and names"
                );
            }
            if embedded {
                meant.retain(|one| one.applies_embedded());
                if meant.is_empty() {
                    bail!(
                        "--scenario {word} needs RabbitMQ and a process for each role; remove --embedded"
                    );
                }
            }
            chosen.extend(meant);
        }
        if wanted.is_empty() {
            chosen.extend(
                Self::ALL
                    .into_iter()
                    .filter(|one| !embedded || one.applies_embedded()),
            );
        }
        chosen.sort();
        chosen.dedup();
        Ok(chosen)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str], embedded: bool) -> Vec<&'static str> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let chosen = Scenario::choose(&words, embedded).unwrap();
        chosen.into_iter().map(Scenario::number).collect()
    }

    #[test]
    fn scenarios_are_selected_by_number_name_and_group() {
        assert_eq!(chosen(&["3", "rabbitmq"], false), ["2", "3"]);
        assert_eq!(chosen(&["1"], false), ["1a", "1b", "1c", "1d"]);
        assert_eq!(chosen(&["1B"], false), ["1b"]);
        assert_eq!(chosen(&[], false).len(), Scenario::ALL.len());
        assert_eq!(
            chosen(&[], true),
            ["1d", "3", "5", "6", "9", "12", "16", "17"]
        );
        assert_eq!(chosen(&["12", "9"], true), ["9", "12"]);
        assert_eq!(chosen(&["1", "all-roles"], true), ["1d"]);
    }

    /// The table of README.md has each scenario, in their order; those of 1 are one row.
    #[test]
    fn the_readme_lists_each_scenario() {
        let text = include_str!("../../../README.md");
        let (_, table) = text.split_once("| # | scenario |").unwrap();
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let listed: Vec<(&str, &str)> = rows
            .map(|row| {
                let mut cells = row.split('|').skip(1).map(str::trim);
                (cells.next().unwrap(), cells.next().unwrap())
            })
            .collect();
        let mut expected = vec![("1", "gateway, consumer, API, or all of them killed")];
        let alone = Scenario::ALL
            .into_iter()
            .filter(|one| !one.number().starts_with("1") || one.number().parse::<u32>().is_ok());
        expected.extend(alone.map(|one| (one.number(), one.title())));
        assert_eq!(listed, expected);
    }

    #[test]
    fn unknown_and_impossible_scenarios_are_errors() {
        let error = |word: &str, embedded| {
            Scenario::choose(&[word.to_owned()], embedded)
                .unwrap_err()
                .to_string()
        };
        assert!(error("flood", false).contains("--list"));
        assert!(error("2", true).contains("--embedded"));
    }
}
