//! The condition of the alert about a site whose chargers have lost their connections together. When a router or a fuse
//! fails, all chargers of a site are offline at once. This has one cause and is a page; a single charger is a ticket, a
//! quarter of an hour after it went offline.
//!
//! The condition depends only on what is stored of the chargers, so another process that goes on with the evaluation finds
//! the same. Connections that Wattpost or an operator has closed do not count, nor do those whose end is not recorded
//! because their gateway was killed: chargers that come back late after an outage of Wattpost are not a site without power.

use super::chargers::{Known, is_judged, is_long_offline, is_missed};
use super::machine::{Finding, names_of};
use super::{Severity, Thresholds};
use crate::Timestamp;
use crate::model::ConnectionState;
use crate::query::ChargerDetail;
use crate::station::CloseReason;
use std::collections::BTreeMap;

/// The name of the rule.
const NAME: &str = "SiteOffline";

/// What is known of the chargers of a site.
#[derive(Default)]
struct Seen<'a> {
    /// Those that somebody misses when they are away.
    chargers: usize,
    /// Those that are not connected.
    offline: Vec<&'a str>,
    /// When the connections ended of those that are not connected, without those that Wattpost or an operator has closed.
    gone_at: Vec<Timestamp>,
    /// Those of which it is not known whether they are connected.
    unknown: usize,
}

impl Seen<'_> {
    /// Whether the site is offline if so many of its chargers are.
    fn is_enough(&self, gone: usize, settings: &Thresholds) -> bool {
        gone >= settings.site_offline_min as usize
            && gone * 100 >= self.chargers * settings.site_offline_percent as usize
    }

    /// The largest number of chargers that have lost their connections within the time of the settings.
    fn gone_together(&mut self, settings: &Thresholds) -> usize {
        self.gone_at.sort_unstable();
        let within = i64::from(settings.site_offline_within_s) * 1_000;
        let mut first = 0;
        let mut most = 0;
        for (last, at) in self.gone_at.iter().enumerate() {
            while at.0.saturating_sub(self.gone_at[first].0) > within {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }
}

/// The findings of all sites. `fires` says whether the alert of a site fires: then it goes on while that many chargers are
/// offline, whenever they lost their connections, so that a router that fails again and again does not end it.
pub fn of_sites<'a>(
    details: impl IntoIterator<Item = &'a ChargerDetail>,
    known: &Known,
    fires: impl Fn(&str) -> bool,
    settings: &Thresholds,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    let mut sites: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    for detail in details {
        let site = detail.settings.as_ref().and_then(|one| one.site.as_deref());
        let Some(site) = site else { continue };
        let is_of_site = is_judged(detail)
            && is_missed(detail, settings)
            && !is_long_offline(detail, settings, now);
        if is_of_site {
            sites.entry(site).or_default().add(detail, known);
        }
    }
    for (site, mut seen) in sites {
        let gone = match fires(site) {
            true => seen.offline.len(),
            false => seen.gone_together(settings),
        };
        let holds = known.is_current && seen.is_enough(gone, settings);
        // With those of which nothing is known, it may be so.
        if !holds && !seen.is_enough(gone + seen.unknown, settings) {
            continue;
        }
        let words = in_words(site, &seen);
        found.push(Finding {
            holds,
            site: Some(site.to_owned()),
            ..Finding::new(NAME, Severity::Page, words).about(site)
        });
    }
}

impl<'a> Seen<'a> {
    fn add(&mut self, detail: &'a ChargerDetail, known: &Known) {
        let charger = &detail.charger;
        self.chargers += 1;
        match charger.connection {
            ConnectionState::Open if known.has(charger.gateway_id) => {}
            ConnectionState::Closed if known.has(charger.gateway_id) => {
                self.offline.push(&charger.charger_id);
                let reason = charger.disconnect_reason.as_deref().unwrap_or_default();
                let at = charger.disconnected_at;
                let at = at.filter(|_| !CloseReason::is_of_central_system(reason));
                self.gone_at.extend(at);
            }
            ConnectionState::Open | ConnectionState::Closed | ConnectionState::Unknown => {
                self.unknown += 1;
            }
        }
    }
}

fn in_words(site: &str, seen: &Seen<'_>) -> String {
    format!(
        "{} of {} chargers of site {site} are offline: {}",
        seen.offline.len(),
        seen.chargers,
        names_of(&seen.offline)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GatewayId;
    use crate::memory::sample;
    use crate::model::{ChargerSettings, Registration};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const SECOND: i64 = 1_000;

    fn known() -> Known {
        Known {
            is_current: true,
            ..Known::default()
        }
    }

    /// A charger of the site `depot`, which lost its connection so many seconds ago, or is connected.
    fn charger(no: usize, gone_s: Option<i64>) -> ChargerDetail {
        let id = format!("CP-{no:02}");
        let mut charger = sample::charger(&id, gone_s.is_none());
        charger.gateway_id = Some(GatewayId(Uuid::from_u128(1)));
        charger.connected_at = Some(NOW.plus_millis(-3_600 * SECOND));
        charger.disconnected_at = gone_s.map(|gone| NOW.plus_millis(-gone * SECOND));
        charger.disconnect_reason = gone_s.map(|_| "no pong in time".to_owned());
        ChargerDetail {
            charger,
            settings: Some(ChargerSettings {
                charger_id: id,
                admission: Registration::Accepted,
                has_password: false,
                check: None,
                frame_bytes_max: None,
                label: None,
                site: Some("depot".to_owned()),
                group: None,
                close_style: None,
                version: 1,
            }),
            removed_at: None,
            removed_by: None,
            connectors: Vec::new(),
        }
    }

    /// Chargers that lost their connections so many seconds ago, and so many that are connected.
    fn site(gone_s: &[i64], connected: usize) -> Vec<ChargerDetail> {
        let gone = gone_s.iter().enumerate();
        let gone = gone.map(|(no, seconds)| charger(no, Some(*seconds)));
        let connected = (gone_s.len()..gone_s.len() + connected).map(|no| charger(no, None));
        gone.chain(connected).collect()
    }

    /// Whether the condition holds; `None` if there is nothing to tell.
    fn holds(details: &[ChargerDetail], known: &Known, fires: bool) -> Option<bool> {
        let mut found = Vec::new();
        let settings = Thresholds::default();
        of_sites(details, known, |_| fires, &settings, NOW, &mut found);
        assert!(found.len() <= 1, "{found:?}");
        let one = found.pop()?;
        assert_eq!((one.name, one.severity), ("SiteOffline", Severity::Page));
        assert_eq!(one.subject, "depot");
        assert_eq!(one.site.as_deref(), Some("depot"));
        Some(one.holds)
    }

    #[test]
    fn a_site_is_offline_when_half_of_its_chargers_and_three_have_gone_within_five_minutes() {
        assert_eq!(holds(&site(&[10, 20, 310], 3), &known(), false), Some(true));
        assert_eq!(holds(&site(&[10, 20, 311], 3), &known(), false), None);
        assert_eq!(holds(&site(&[10, 20, 30], 4), &known(), false), None);
        assert_eq!(holds(&site(&[10, 20], 0), &known(), false), None);
        // Also later, and with others that went before.
        let later = site(&[900, 4_000, 4_100, 4_300, 90_000], 1);
        assert_eq!(holds(&later, &known(), false), Some(true));
    }

    #[test]
    fn it_goes_on_until_more_than_half_are_back_however_they_come_and_go() {
        let at_odds = site(&[10, 2_000, 4_000], 3);
        assert_eq!(holds(&at_odds, &known(), false), None);
        assert_eq!(holds(&at_odds, &known(), true), Some(true));
        assert_eq!(holds(&site(&[10, 20], 4), &known(), true), None);
    }

    #[test]
    fn connections_that_we_have_ended_have_not_gone() {
        let mut ours = site(&[10, 20, 30, 40], 2);
        for (detail, reason) in ours.iter_mut().zip([
            Some(CloseReason::Shutdown.as_text()),
            Some(CloseReason::NotDurable.as_text()),
            None,
        ]) {
            detail.charger.disconnect_reason = reason.as_ref().map(ToString::to_string);
            if reason.is_none() {
                // Its gateway was killed and started again: the end is not recorded.
                detail.charger.disconnected_at = None;
            }
        }
        assert_eq!(holds(&ours, &known(), false), None);
    }

    #[test]
    fn nothing_begins_or_ends_while_it_is_not_known() {
        let gone = Known {
            gone: [GatewayId(Uuid::from_u128(1))].into(),
            ..known()
        };
        let late = Known {
            is_current: false,
            ..known()
        };
        let half = site(&[10, 20, 30], 3);
        for known in [&gone, &late] {
            assert_eq!(holds(&half, known, false), Some(false));
            assert_eq!(holds(&half, known, true), Some(false));
        }
        let mut silent = site(&[10, 20], 4);
        silent[3].charger.connection = ConnectionState::Unknown;
        assert_eq!(holds(&silent, &known(), true), Some(false));
    }

    #[test]
    fn chargers_that_are_out_of_use_are_not_of_the_site() {
        let week = 8 * 24 * 3_600;
        let mut old = site(&[10, 20, 30, week, week, week, week], 3);
        assert_eq!(holds(&old, &known(), false), Some(true));
        old[0].removed_at = Some(NOW);
        assert_eq!(holds(&old, &known(), false), None);
    }

    #[test]
    fn the_first_twenty_are_named() {
        let mut found = Vec::new();
        let settings = Thresholds::default();
        let many = site(&[10; 25], 5);
        of_sites(&many, &known(), |_| false, &settings, NOW, &mut found);
        let words = &found[0].summary;
        assert!(
            words.starts_with("25 of 30 chargers of site depot are offline: CP-00, CP-01, "),
            "{words}"
        );
        assert!(words.ends_with(", CP-19 and 5 more"), "{words}");
    }
}
