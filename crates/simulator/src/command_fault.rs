//! Faults of chargers in answering commands: which commands a charger rejects, delays or leaves unanswered.

use crate::config::setting_error;
use common::settings::SettingError;
use fastrand::Rng;
use ocpp::Version;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longer delays can only be a mistake, in seconds.
const DELAY_S_MAX: f64 = 3600.0;

/// A fault, written `FAULT[=ACTION,ACTION…][:PROBABILITY]`, for example `reject=Reset`, `silent:0.1` or
/// `delay@2=GetLog,Reset:0.5`. Without actions it concerns all commands, without a probability each of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandFault {
    /// What the charger does.
    pub kind: FaultOrDelay,
    /// The actions that it concerns; empty = all.
    pub actions: Vec<String>,
    /// From 0 to 1.
    pub probability: f64,
}

/// What a charger does with a command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultOrDelay {
    /// It ends as this fault.
    Fault(FaultKind),
    /// It is carried out and answered after this many seconds, which `speed_up` does not divide.
    DelayS(f64),
}

/// How a command ends that is not carried out and answered correctly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is not carried out, and answered with status `Rejected`, or another refusal if the action's response has no such
    /// status, or CALLERROR if the response has no status.
    Reject,
    /// It is not carried out, and answered with CALLERROR `InternalError`.
    Error,
    /// It is carried out and not answered.
    Silent,
    /// It is carried out, and the connection is lost before the answer.
    Drop,
}

impl FaultKind {
    const ALL: [(Self, &str); 4] = [
        (Self::Reject, "reject"),
        (Self::Error, "error"),
        (Self::Silent, "silent"),
        (Self::Drop, "drop"),
    ];

    /// The name on the command line and in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }
}

/// What is done with one command.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Plan {
    pub(crate) delay: Option<Duration>,
    pub(crate) fault: Option<FaultKind>,
}

/// The plan for a command of this action. The faults are tried in order: delays add up. Of the other faults, the
/// first one that its probability selects is used.
pub(crate) fn plan(faults: &[CommandFault], action: &str, rng: &mut Rng) -> Plan {
    let mut plan = Plan::default();
    for one in faults {
        let concerns = one.actions.is_empty() || one.actions.iter().any(|name| name == action);
        if !concerns || one.probability < 1.0 && rng.f64() >= one.probability {
            continue;
        }
        match one.kind {
            FaultOrDelay::DelayS(seconds) => {
                let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                plan.delay = Some(plan.delay.unwrap_or_default() + wait);
            }
            FaultOrDelay::Fault(kind) => {
                plan.fault.get_or_insert(kind);
            }
        }
    }
    plan
}

impl FromStr for CommandFault {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let bad = |expected: &str| setting_error("command_faults", format!("{text:?}"), expected);
        let (rest, probability) = match text.rsplit_once(':') {
            None => (text, 1.0),
            Some((rest, number)) => {
                let number: f64 = number.trim().parse().unwrap_or(f64::NAN);
                if !(0.0..=1.0).contains(&number) {
                    return Err(bad(
                        "FAULT[=ACTION,…][:PROBABILITY] with a probability from 0 to 1",
                    ));
                }
                (rest, number)
            }
        };
        let (kind, actions) = match rest.split_once('=') {
            None => (rest, Vec::new()),
            Some((kind, names)) => (kind, names.split(',').map(str::trim).collect()),
        };
        let kind = match kind.trim().split_once('@') {
            Some(("delay", seconds)) => {
                let seconds: f64 = seconds.parse().unwrap_or(f64::NAN);
                if !(0.0..=DELAY_S_MAX).contains(&seconds) {
                    return Err(bad("delay@SECONDS with 0 to 3600 seconds, such as delay@2"));
                }
                FaultOrDelay::DelayS(seconds)
            }
            _ => {
                let found = FaultKind::ALL
                    .into_iter()
                    .find(|(_, name)| *name == kind.trim());
                let (kind, _) = found.ok_or_else(|| {
                    bad("reject, error, silent, drop or delay@SECONDS, then =ACTION,… and :PROBABILITY if wanted, such as reject=Reset:0.5")
                })?;
                FaultOrDelay::Fault(kind)
            }
        };
        if actions.iter().any(|action| !is_command(action)) {
            return Err(bad(
                "the names of actions of a central system, as OCPP spells them, such as reject=Reset,GetLog",
            ));
        }
        Ok(Self {
            kind,
            actions: actions.into_iter().map(str::to_owned).collect(),
            probability,
        })
    }
}

/// Whether the central system sends this action in any version.
fn is_command(action: &str) -> bool {
    Version::ALL.into_iter().any(|version| {
        ocpp::action::lookup(version, action).is_some_and(ocpp::action::ActionInfo::is_to_charger)
    })
}

impl fmt::Display for CommandFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FaultOrDelay::Fault(kind) => f.write_str(kind.as_str())?,
            FaultOrDelay::DelayS(seconds) => write!(f, "delay@{seconds}")?,
        }
        if !self.actions.is_empty() {
            write!(f, "={}", self.actions.join(","))?;
        }
        if self.probability < 1.0 {
            write!(f, ":{}", self.probability)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for CommandFault {
    type Error = SettingError;

    fn try_from(text: String) -> Result<Self, SettingError> {
        text.parse()
    }
}

impl From<CommandFault> for String {
    fn from(fault: CommandFault) -> Self {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> CommandFault {
        text.parse().unwrap()
    }

    #[test]
    fn a_fault_is_read_and_displayed_in_the_same_way() {
        for text in [
            "silent",
            "reject=Reset",
            "drop=UnlockConnector,Reset:0.5",
            "delay@2.5:0.25",
            "error=GetVariables",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn an_invalid_fault_is_refused_with_the_way_to_write_it() {
        for text in [
            "",
            "Reset",
            "reject=",
            "reject=Rest",
            "reject=BootNotification",
            "silent:2",
            "silent:x",
            "delay",
            "delay@-1",
            "delay@x",
            "delay@9999",
            "drop@3",
        ] {
            let error = text.parse::<CommandFault>().unwrap_err();
            assert_eq!(error.key, "simulator.command_faults", "{text}");
            assert!(error.to_string().contains("must be"), "{error}");
        }
    }

    #[test]
    fn delays_add_up_and_the_first_fault_decides() {
        let faults: Vec<_> = ["delay@1", "reject=Reset", "silent", "delay@2=GetLog"]
            .map(parse)
            .into();
        let mut rng = Rng::with_seed(1);
        let reset = plan(&faults, "Reset", &mut rng);
        assert_eq!(reset.delay, Some(Duration::from_secs(1)));
        assert_eq!(reset.fault, Some(FaultKind::Reject));
        let log = plan(&faults, "GetLog", &mut rng);
        assert_eq!(log.delay, Some(Duration::from_secs(3)));
        assert_eq!(log.fault, Some(FaultKind::Silent));
        assert_eq!(plan(&[], "Reset", &mut rng), Plan::default());
    }

    #[test]
    fn a_probability_is_that_share_of_the_commands() {
        let faults = [parse("silent:0.25")];
        let mut rng = Rng::with_seed(7);
        let count = (0..10_000)
            .filter(|_| plan(&faults, "Reset", &mut rng).fault.is_some())
            .count();
        assert!((2_300..2_700).contains(&count), "{count}");
        assert_eq!(plan(&[parse("silent:0")], "Reset", &mut rng).fault, None);
    }
}
