//! The scenarios, in the order and with the numbers of the founding document and of what was added to it.

use anyhow::{Result, bail};
use std::fmt;

/// What dies or breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    Gateway,
    Consumer,
    Api,
    Ours,
    Rabbit,
    Database,
    RabbitAndDatabase,
    Everything,
    AgainAndAgain,
    Blocked,
    BlackHole,
    DiskFull,
    BlockedBacklog,
    SlowDatabase,
    Depot,
    UpkeepMissed,
    Rotten,
}

impl Scenario {
    pub(crate) const ALL: [Self; 17] = [
        Self::Gateway,
        Self::Consumer,
        Self::Api,
        Self::Ours,
        Self::Rabbit,
        Self::Database,
        Self::RabbitAndDatabase,
        Self::Everything,
        Self::AgainAndAgain,
        Self::Blocked,
        Self::BlackHole,
        Self::DiskFull,
        Self::BlockedBacklog,
        Self::SlowDatabase,
        Self::Depot,
        Self::UpkeepMissed,
        Self::Rotten,
    ];

    /// What `--scenario` calls it by number.
    pub(crate) const fn number(self) -> &'static str {
        match self {
            Self::Gateway => "1a",
            Self::Consumer => "1b",
            Self::Api => "1c",
            Self::Ours => "1d",
            Self::Rabbit => "2",
            Self::Database => "3",
            Self::RabbitAndDatabase => "4",
            Self::Everything => "5",
            Self::AgainAndAgain => "6",
            Self::Blocked => "7",
            Self::BlackHole => "8",
            Self::DiskFull => "9",
            Self::BlockedBacklog => "10",
            Self::SlowDatabase => "11",
            Self::Depot => "12",
            Self::UpkeepMissed => "13",
            Self::Rotten => "14",
        }
    }

    /// What `--scenario` calls it by name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Consumer => "consumer",
            Self::Api => "api",
            Self::Ours => "ours",
            Self::Rabbit => "rabbitmq",
            Self::Database => "database",
            Self::RabbitAndDatabase => "rabbitmq-and-database",
            Self::Everything => "everything",
            Self::AgainAndAgain => "again-and-again",
            Self::Blocked => "blocked",
            Self::BlackHole => "black-hole",
            Self::DiskFull => "disk-full",
            Self::BlockedBacklog => "blocked-with-backlog",
            Self::SlowDatabase => "slow-database",
            Self::Depot => "offline-depot",
            Self::UpkeepMissed => "upkeep-missed",
            Self::Rotten => "rotten-record",
        }
    }

    /// What happens, in a few words.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Gateway => "gateway killed",
            Self::Consumer => "consumer killed",
            Self::Api => "API killed",
            Self::Ours => "all of ours killed",
            Self::Rabbit => "RabbitMQ killed, back later",
            Self::Database => "database killed, back later",
            Self::RabbitAndDatabase => "RabbitMQ and database down",
            Self::Everything => "everything killed at once",
            Self::AgainAndAgain => "gateway killed again and again",
            Self::Blocked => "RabbitMQ blocks (memory alarm)",
            Self::BlackHole => "network to RabbitMQ swallows all",
            Self::DiskFull => "disk of the gateway full",
            Self::BlockedBacklog => "RabbitMQ blocks, queues not empty",
            Self::SlowDatabase => "database slow (1 to 50 ms)",
            Self::Depot => "depot back, stops without an id",
            Self::UpkeepMissed => "partitions of today missing",
            Self::Rotten => "journal damaged, then salvaged",
        }
    }

    /// The same without RabbitMQ, PostgreSQL and processes of one's own for each role.
    pub(crate) const fn title_embedded(self) -> &'static str {
        match self {
            Self::Ours => "serve killed",
            Self::Database => "database locked",
            Self::Everything => "serve killed, database locked",
            Self::AgainAndAgain => "serve killed again and again",
            Self::DiskFull => "disk full",
            other => other.title(),
        }
    }

    /// Whether there is such a thing in the all-in-one with SQLite.
    pub(crate) const fn applies_embedded(self) -> bool {
        matches!(
            self,
            Self::Ours
                | Self::Database
                | Self::Everything
                | Self::AgainAndAgain
                | Self::DiskFull
                | Self::Depot
        )
    }

    /// Whether chargers must notice nothing, because nothing between them and their answer dies.
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
                | Self::UpkeepMissed
        )
    }

    /// The scenarios that `wanted` names, by number, name, or first digit; all that apply when it names none.
    ///
    /// # Errors
    /// When there is none of that name, or it does not apply.
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
                    "--scenario is {word:?}, which there is not; `wattpost drill --list` shows numbers and names"
                );
            }
            if embedded {
                meant.retain(|one| one.applies_embedded());
                if meant.is_empty() {
                    bail!(
                        "--scenario {word} needs RabbitMQ and processes of its own for each role; leave out --embedded"
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
    fn scenarios_are_chosen_by_number_name_and_group() {
        assert_eq!(chosen(&["3", "rabbitmq"], false), ["2", "3"]);
        assert_eq!(chosen(&["1"], false), ["1a", "1b", "1c", "1d"]);
        assert_eq!(chosen(&["1B"], false), ["1b"]);
        assert_eq!(chosen(&[], false).len(), Scenario::ALL.len());
        assert_eq!(chosen(&[], true), ["1d", "3", "5", "6", "9", "12"]);
        assert_eq!(chosen(&["12", "9"], true), ["9", "12"]);
        assert_eq!(chosen(&["1", "ours"], true), ["1d"]);
    }

    #[test]
    fn what_there_is_not_is_said() {
        let error = |word: &str, embedded| {
            Scenario::choose(&[word.to_owned()], embedded)
                .unwrap_err()
                .to_string()
        };
        assert!(error("flood", false).contains("--list"));
        assert!(error("2", true).contains("--embedded"));
    }
}
