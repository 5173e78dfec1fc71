//! Charging profiles: kept, reported, combined into the schedule that results, and obeyed by the simulated vehicle from one
//! meter value to the next.

use super::{Answer, items, time};
use crate::charger::Charger;
use crate::charger::message::Action;
use crate::timestamp::TimestampUs;
use ocpp::Version;
use serde_json::{Value, json};

/// Maximum number of profiles.
pub(super) const PROFILES_MAX: usize = 20;
/// Maximum number of periods of a schedule.
const PERIODS_MAX: usize = 24;
/// A longer profile is not kept, in bytes of JSON.
const PROFILE_BYTES_MAX: usize = 16 * 1024;
/// The highest stack level.
const STACK_LEVEL_MAX: i64 = 10;
/// What the connector can deliver.
const HARDWARE_A: f64 = 32.0;
/// The current of three phases as power.
const WATTS_PER_AMPERE: f64 = 3.0 * 230.0;
/// A composite schedule is no longer than a week.
const DURATION_S_MAX: i64 = 7 * 86_400;

/// A charging profile.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    /// The connector (1.6) or EVSE (2.x), from 1; 0 = the whole charger.
    evse: u64,
    purpose: String,
    stack_level: i64,
    text: String,
}

impl Profile {
    pub(super) fn bytes(&self) -> usize {
        self.purpose.len() + self.text.len()
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Which profiles a command is about.
#[derive(Debug, Default)]
struct Criteria<'a> {
    ids: Vec<i64>,
    evse: Option<u64>,
    purpose: Option<&'a str>,
    stack_level: Option<i64>,
}

impl Criteria<'_> {
    fn matches(&self, id: i64, profile: &Profile) -> bool {
        (self.ids.is_empty() || self.ids.contains(&id))
            && self.evse.is_none_or(|evse| evse == profile.evse)
            && self
                .purpose
                .is_none_or(|purpose| purpose == profile.purpose)
            && self
                .stack_level
                .is_none_or(|level| level == profile.stack_level)
    }
}

impl Charger {
    pub(super) fn set_charging_profile_16(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let profile = &payload["csChargingProfiles"];
        let transaction = profile["transactionId"].as_i64();
        let wire_ids = &self.state.wire_ids;
        let runs_at = transaction
            .map(|id| self.connector_of(|open| wire_ids.get(&open.number).copied() == Some(id)));
        self.set_charging_profile(
            &payload["connectorId"],
            profile,
            "chargingProfileId",
            runs_at,
        )
    }

    pub(super) fn set_charging_profile_2(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let profile = &payload["chargingProfile"];
        let transaction = profile["transactionId"].as_str();
        let runs_at = transaction.map(|id| self.connector_of(|open| open.id == id));
        self.set_charging_profile(&payload["evseId"], profile, "id", runs_at)
    }

    /// `runs_at` is the connector of the transaction that the profile names, if it names one.
    fn set_charging_profile(
        &mut self,
        evse: &Value,
        profile: &Value,
        id_member: &str,
        runs_at: Option<Option<usize>>,
    ) -> Answer {
        let Some(number) = self.evse_number(evse) else {
            return self.status_because("Rejected", "UnknownEvse");
        };
        let purpose = profile["chargingProfilePurpose"]
            .as_str()
            .unwrap_or_default();
        let index = usize::try_from(number)
            .ok()
            .and_then(|one| one.checked_sub(1));
        let is_allowed = match purpose {
            "ChargePointMaxProfile" | "ChargingStationMaxProfile" => number == 0,
            // Only the charger itself makes these.
            "ChargingStationExternalConstraints" => false,
            // 2.x demands the transaction's id (K01.FR.03).
            "TxProfile" => index.is_some_and(|index| {
                self.connectors[index].is_charging()
                    && match runs_at {
                        Some(connector) => connector == Some(index),
                        None => self.version == Version::V16,
                    }
            }),
            _ => true,
        };
        if !is_allowed {
            return self.status_because("Rejected", "InvalidProfile");
        }
        match self.keep_profile(number, profile, id_member) {
            Ok(()) => Answer::accepted(),
            Err(reason) => self.status_because("Rejected", reason),
        }
    }

    /// Keeps the profile of a remote start, which holds for its transaction only.
    pub(super) fn keep_profile_of_start(
        &mut self,
        connector: usize,
        profile: &Value,
        id_member: &str,
    ) -> bool {
        profile["chargingProfilePurpose"].as_str() == Some("TxProfile")
            && self
                .keep_profile(connector as u64 + 1, profile, id_member)
                .is_ok()
    }

    fn keep_profile(
        &mut self,
        evse: u64,
        profile: &Value,
        id_member: &str,
    ) -> Result<(), &'static str> {
        let (Some(id), Some(stack_level)) =
            (profile[id_member].as_i64(), profile["stackLevel"].as_i64())
        else {
            return Err("InvalidProfile");
        };
        let mut schedules = schedules(profile).into_iter();
        let is_too_long =
            schedules.any(|one| items(&one["chargingSchedulePeriod"]).count() > PERIODS_MAX);
        let kept = Profile {
            evse,
            purpose: profile["chargingProfilePurpose"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            stack_level,
            text: profile.to_string(),
        };
        if !(0..=STACK_LEVEL_MAX).contains(&stack_level) {
            return Err("InvalidStackLevel");
        }
        if is_too_long || kept.text.len() > PROFILE_BYTES_MAX {
            return Err("InvalidSchedule");
        }
        let version = self.version;
        let all = &mut self.kept().profiles;
        let is_same_place = |one: &Profile| {
            (one.evse, &one.purpose, one.stack_level) == (evse, &kept.purpose, stack_level)
        };
        let occupied = all
            .iter()
            .find(|(other, one)| **other != id && is_same_place(one))
            .map(|(other, _)| *other);
        let mut replaced = vec![id];
        match occupied {
            // 1.6 replaces a profile of the same purpose and level; 2.x keeps one TxProfile of each level and refuses others.
            Some(other) if version == Version::V16 || kept.purpose == "TxProfile" => {
                replaced.push(other);
            }
            Some(_) => return Err("DuplicateProfile"),
            None => {}
        }
        let before: Vec<_> = replaced
            .into_iter()
            .filter_map(|id| all.remove_entry(&id))
            .collect();
        let room = self.kept();
        if room.has_room(room.profiles.len(), PROFILES_MAX, kept.bytes()) {
            room.profiles.insert(id, kept);
            return Ok(());
        }
        room.profiles.extend(before);
        Err("OutOfStorage")
    }

    /// Removes the profiles of a transaction that has ended.
    pub(in crate::charger) fn forget_transaction_profiles(&mut self, connector: usize) {
        if let Some(kept) = &mut self.kept {
            let evse = connector as u64 + 1;
            kept.profiles
                .retain(|_, one| one.evse != evse || one.purpose != "TxProfile");
        }
    }

    pub(super) fn clear_charging_profile_16(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        self.clear_profiles(&Criteria {
            ids: payload["id"].as_i64().into_iter().collect(),
            evse: payload["connectorId"].as_u64(),
            purpose: payload["chargingProfilePurpose"].as_str(),
            stack_level: payload["stackLevel"].as_i64(),
        })
    }

    pub(super) fn clear_charging_profile_2(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let criteria = &payload["chargingProfileCriteria"];
        self.clear_profiles(&Criteria {
            ids: payload["chargingProfileId"].as_i64().into_iter().collect(),
            evse: criteria["evseId"].as_u64(),
            purpose: criteria["chargingProfilePurpose"].as_str(),
            stack_level: criteria["stackLevel"].as_i64(),
        })
    }

    fn clear_profiles(&mut self, criteria: &Criteria<'_>) -> Answer {
        let profiles = &mut self.kept().profiles;
        let before = profiles.len();
        profiles.retain(|id, profile| !criteria.matches(*id, profile));
        let is_cleared = profiles.len() < before;
        Answer::status_if(is_cleared, "Accepted", "Unknown")
    }

    pub(super) fn get_charging_profiles(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        const SOURCE: &str = "CSO";
        let asked = &payload["chargingProfile"];
        let criteria = Criteria {
            ids: items(&asked["chargingProfileId"])
                .filter_map(Value::as_i64)
                .collect(),
            evse: payload["evseId"].as_u64(),
            purpose: asked["chargingProfilePurpose"].as_str(),
            stack_level: asked["stackLevel"].as_i64(),
        };
        let mut sources = items(&asked["chargingLimitSource"]).peekable();
        let is_source = sources.peek().is_none() || sources.any(|one| one == SOURCE);
        let found: Vec<(u64, Value)> = self
            .kept()
            .profiles
            .iter()
            .filter(|(id, profile)| is_source && criteria.matches(**id, profile))
            .map(|(_, profile)| (profile.evse, profile.value()))
            .collect();
        let Some(last) = found.len().checked_sub(1) else {
            return Answer::status("NoProfiles");
        };
        for (number, (evse, profile)) in found.into_iter().enumerate() {
            let page = json!({
                "requestId": payload["requestId"],
                "chargingLimitSource": SOURCE,
                "evseId": evse,
                "chargingProfile": [profile],
                "tbc": number < last,
            });
            self.push_report(Action::ReportChargingProfiles, &page, now);
        }
        Answer::accepted()
    }

    pub(super) fn update_dynamic_schedule(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let id = payload["chargingProfileId"].as_i64().unwrap_or_default();
        let updated = self.kept().profiles.get(&id).and_then(|profile| {
            let mut value = profile.value();
            if value["chargingProfileKind"].as_str() != Some("Dynamic") {
                return None;
            }
            let period = value.pointer_mut("/chargingSchedule/0/chargingSchedulePeriod/0")?;
            for (name, limit) in payload["scheduleUpdate"].as_object()? {
                period[name] = limit.clone();
            }
            Some(value.to_string())
        });
        match (updated, self.kept().profiles.get_mut(&id)) {
            (Some(text), Some(profile)) if text.len() <= PROFILE_BYTES_MAX => {
                profile.text = text;
                Answer::accepted()
            }
            _ => self.status_because("Rejected", "InvalidProfile"),
        }
    }

    pub(super) fn has_priority_profile(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| {
            let mut profiles = kept.profiles.values();
            profiles.any(|one| one.purpose == "PriorityCharging")
        })
    }

    /// Whether a profile says how the charger follows a signal of the grid.
    pub(super) fn follows_signals(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| {
            let mut profiles = kept.profiles.values();
            profiles.any(|one| one.text.contains("v2xSignalWattCurve"))
        })
    }

    pub(super) fn composite_schedule_16(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let Some(evse) = self.evse_number(&payload["connectorId"]) else {
            return Answer::rejected();
        };
        let (unit, duration) = asked_schedule(payload);
        let periods = self.composite_periods(evse, unit, duration, now);
        Answer::Result(json!({
            "status": "Accepted",
            "connectorId": evse,
            "scheduleStart": now.to_string(),
            "chargingSchedule": {
                "duration": duration,
                "startSchedule": now.to_string(),
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": periods,
            },
        }))
    }

    pub(super) fn composite_schedule_2(&mut self, payload: &Value, now: TimestampUs) -> Answer {
        let Some(evse) = self.evse_number(&payload["evseId"]) else {
            return self.status_because("Rejected", "UnknownEvse");
        };
        let (unit, duration) = asked_schedule(payload);
        let periods = self.composite_periods(evse, unit, duration, now);
        Answer::Result(json!({
            "status": "Accepted",
            "schedule": {
                "evseId": evse,
                "duration": duration,
                "scheduleStart": now.to_string(),
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": periods,
            },
        }))
    }

    /// The power in watts that profiles allow a connector now.
    pub(in crate::charger) fn allowed_w(&self, connector: usize, now: TimestampUs) -> f64 {
        if self
            .kept
            .as_ref()
            .is_none_or(|kept| kept.profiles.is_empty())
        {
            return f64::INFINITY;
        }
        let charging_since = self.connectors[connector].charging_since();
        let limits = self.limits(connector as u64 + 1, charging_since, now);
        effective(&limits, 0).map_or(f64::INFINITY, |amperes| amperes * WATTS_PER_AMPERE)
    }

    /// The limits of all profiles of a connector or EVSE, and of the whole charger.
    fn limits(
        &self,
        evse: u64,
        charging_since: Option<TimestampUs>,
        now: TimestampUs,
    ) -> Vec<Limits> {
        let profiles = self.kept.iter().flat_map(|kept| kept.profiles.values());
        profiles
            .filter(|one| one.evse == evse || one.evse == 0)
            .map(|one| Limits::new(one, charging_since, now))
            .collect()
    }

    /// The number of a connector or EVSE, 0 included; `None` if there is none.
    fn evse_number(&self, evse: &Value) -> Option<u64> {
        let number = evse.as_u64()?;
        (number <= self.connectors.len() as u64).then_some(number)
    }

    /// The periods of the schedule that results from all profiles: the limit of the transaction (or the default one), but
    /// not more than that of the whole charger and of the hardware.
    fn composite_periods(
        &self,
        evse: u64,
        unit: &str,
        duration: i64,
        now: TimestampUs,
    ) -> Vec<Value> {
        let charging_since = usize::try_from(evse)
            .ok()
            .and_then(|one| one.checked_sub(1))
            .and_then(|index| self.connectors[index].charging_since());
        let limits = self.limits(evse, charging_since, now);
        let mut times: Vec<i64> = limits.iter().flat_map(Limits::changes).collect();
        times.push(0);
        times.retain(|at| (0..duration.max(1)).contains(at));
        times.sort_unstable();
        times.dedup();
        let hardware = match evse {
            0 => HARDWARE_A * self.connectors.len() as f64,
            _ => HARDWARE_A,
        };
        let mut periods: Vec<(i64, f64)> = Vec::new();
        for at in times {
            let limit = effective(&limits, at).map_or(hardware, |one| one.min(hardware));
            if periods.last().is_none_or(|(_, before)| *before != limit) {
                periods.push((at, limit));
            }
        }
        let in_unit = |amperes: f64| match unit {
            "W" => amperes * WATTS_PER_AMPERE,
            _ => amperes,
        };
        periods
            .into_iter()
            // The schemas of 1.6 allow one decimal.
            .map(|(at, limit)| (at, (in_unit(limit) * 10.0).round() / 10.0))
            .map(|(at, limit)| json!({"startPeriod": at, "limit": limit, "numberPhases": 3}))
            .collect()
    }
}

/// The unit and the duration that a command asks for.
fn asked_schedule(payload: &Value) -> (&str, i64) {
    let unit = payload["chargingRateUnit"].as_str().unwrap_or("A");
    let duration = payload["duration"].as_i64().unwrap_or(0);
    (unit, duration.clamp(0, DURATION_S_MAX))
}

/// The schedules of a profile: one in 1.6, some in 2.x.
fn schedules(profile: &Value) -> Vec<&Value> {
    match &profile["chargingSchedule"] {
        Value::Array(all) => all.iter().collect(),
        one => vec![one],
    }
}

/// The limit of all profiles in amperes, `at` seconds from now.
fn effective(limits: &[Limits], at: i64) -> Option<f64> {
    let highest = |purposes: &[&str]| {
        limits
            .iter()
            .filter(|one| purposes.contains(&one.purpose.as_str()))
            .filter_map(|one| Some((one.stack_level, one.at(at)?)))
            .max_by_key(|(level, _)| *level)
            .map(|(_, limit)| limit)
    };
    let charging = highest(&["TxProfile"]).or_else(|| highest(&["TxDefaultProfile"]));
    let whole = highest(&["ChargePointMaxProfile", "ChargingStationMaxProfile"]);
    match (charging, whole) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The limits of one profile. All times are in seconds from now.
#[derive(Debug)]
struct Limits {
    purpose: String,
    stack_level: i64,
    valid_from: i64,
    valid_to: i64,
    /// The starts of the schedule: two for a recurring profile.
    starts: Vec<i64>,
    duration: i64,
    /// Start and limit in amperes.
    periods: Vec<(i64, f64)>,
}

impl Limits {
    fn new(profile: &Profile, charging_since: Option<TimestampUs>, now: TimestampUs) -> Self {
        let value = profile.value();
        let schedules = schedules(&value);
        let schedule = schedules.first().copied().unwrap_or(&Value::Null);
        let from_now = |at: TimestampUs| (at.0 as i64 - now.0 as i64).div_euclid(1_000_000);
        let start = time(&schedule["startSchedule"]).map_or(0, from_now);
        let recurs_in = match value["recurrencyKind"].as_str() {
            Some("Weekly") => 7 * 86_400,
            _ => 86_400,
        };
        let starts = match value["chargingProfileKind"].as_str() {
            Some("Recurring") => {
                let last = -(-start).rem_euclid(recurs_in);
                vec![last, last + recurs_in]
            }
            Some("Relative") => vec![charging_since.map_or(0, from_now)],
            Some("Dynamic") => vec![0],
            _ => vec![start],
        };
        let is_watts = schedule["chargingRateUnit"].as_str() == Some("W");
        let periods = items(&schedule["chargingSchedulePeriod"]).filter_map(|period| {
            let limit = period["limit"].as_f64()?;
            let amperes = if is_watts {
                limit / WATTS_PER_AMPERE
            } else {
                limit
            };
            Some((period["startPeriod"].as_i64()?, amperes))
        });
        Self {
            purpose: profile.purpose.clone(),
            stack_level: profile.stack_level,
            valid_from: time(&value["validFrom"]).map_or(i64::MIN, from_now),
            valid_to: time(&value["validTo"]).map_or(i64::MAX, from_now),
            starts,
            duration: schedule["duration"].as_i64().unwrap_or(i64::MAX),
            periods: periods.collect(),
        }
    }

    /// The limit in amperes; `None` if the profile sets none.
    fn at(&self, at: i64) -> Option<f64> {
        if at < self.valid_from || at >= self.valid_to {
            return None;
        }
        let start = self.starts.iter().rfind(|start| **start <= at)?;
        let elapsed = at - start;
        if elapsed >= self.duration {
            return None;
        }
        let period = self.periods.iter().rfind(|(from, _)| *from <= elapsed)?;
        Some(period.1)
    }

    /// The times at which the limit may change.
    fn changes(&self) -> impl Iterator<Item = i64> {
        let ends = [self.valid_from, self.valid_to];
        let of_start = self.starts.iter().flat_map(|start| {
            let periods = self
                .periods
                .iter()
                .map(|(from, _)| start.saturating_add(*from));
            periods.chain([start.saturating_add(self.duration)])
        });
        of_start.chain(ends)
    }
}
