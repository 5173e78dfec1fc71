//! What commands made a charger keep, with bounds, so that no central system can make a charger grow.
//!
//! It survives a reset, as the memory of a real charger does, and ends with the process of the simulator.

use super::Delayed;
use super::certificates::Certificate;
use super::der::DerControl;
use super::jobs::Job;
use super::monitoring::Monitor;
use super::profiles::Profile;
use super::reservations::Reservation;
use super::reset::ResetPlan;
use super::streams::Stream;
use super::tariffs::DefaultTariff;
use crate::timestamp::TimestampUs;
use std::collections::BTreeMap;

/// Maximum size of all that a charger keeps, in bytes of JSON.
pub(super) const KEPT_BYTES_MAX: usize = 256 * 1024;

/// What commands made a charger keep.
#[derive(Debug, Default)]
pub(in crate::charger) struct Kept {
    pub(super) delayed: Vec<Delayed>,
    pub(super) reset: Option<ResetPlan>,
    /// At most one of each kind.
    pub(super) jobs: Vec<Job>,
    /// Changed values of the device model, by the number of the variable.
    pub(super) values: BTreeMap<usize, String>,
    /// Values that take effect at the next reboot.
    pub(super) values_after_reboot: BTreeMap<usize, String>,
    /// At most one for each connector.
    pub(super) reservations: Vec<Reservation>,
    pub(super) profiles: BTreeMap<i64, Profile>,
    pub(super) list_version: i64,
    /// The local authorization list: token → its status.
    pub(super) list: BTreeMap<String, String>,
    pub(super) certificates: Vec<Certificate>,
    /// The number of the last request to sign a certificate (2.1).
    pub(super) certificate_requests: u32,
    /// Checksums of published firmware.
    pub(super) published: Vec<String>,
    pub(super) displays: BTreeMap<u64, String>,
    pub(super) monitors: BTreeMap<u64, Monitor>,
    pub(super) monitoring_base: Option<String>,
    pub(super) monitoring_level: Option<u64>,
    pub(super) streams: Vec<Stream>,
    pub(super) der_controls: BTreeMap<String, DerControl>,
    /// Default tariffs by EVSE, from 1.
    pub(super) tariffs: BTreeMap<u64, DefaultTariff>,
    /// The currencies of changed tariffs, by transaction.
    pub(super) transaction_currencies: BTreeMap<String, String>,
}

impl Kept {
    /// Whether `bytes` more may be kept in a collection of `count` items that has at most `max`.
    pub(super) fn has_room(&self, count: usize, max: usize, bytes: usize) -> bool {
        count < max && self.bytes() + bytes <= KEPT_BYTES_MAX
    }

    /// The size of everything that has no other bound.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.displays.values().map(String::len);
        let list = self
            .list
            .iter()
            .map(|(token, status)| token.len() + status.len());
        let profiles = self.profiles.values().map(Profile::bytes);
        let certificates = self.certificates.iter().map(Certificate::bytes);
        let monitors = self.monitors.values().map(Monitor::bytes);
        let controls = self.der_controls.values().map(DerControl::bytes);
        let tariffs = self.tariffs.values().map(DefaultTariff::bytes);
        let values = self.values.values().map(String::len);
        let after_reboot = self.values_after_reboot.values().map(String::len);
        texts
            .chain(list)
            .chain(profiles)
            .chain(certificates)
            .chain(monitors)
            .chain(controls)
            .chain(tariffs)
            .chain(values)
            .chain(after_reboot)
            .sum()
    }

    pub(super) fn reservations_deadline(&self) -> Option<TimestampUs> {
        self.reservations.iter().map(|one| one.expires_at).min()
    }

    /// Whether all collections are within their bounds.
    #[cfg(test)]
    pub(in crate::charger) fn is_bounded(&self) -> bool {
        self.bytes() <= KEPT_BYTES_MAX
            && self.profiles.len() <= super::profiles::PROFILES_MAX
            && self.displays.len() <= super::display::MESSAGES_MAX
            && self.monitors.len() <= super::monitoring::MONITORS_MAX
            && self.der_controls.len() <= super::der::CONTROLS_MAX
            && self.certificates.len() <= super::certificates::CERTIFICATES_MAX
            && self.list.len() <= super::local_list::ENTRIES_MAX
            && self.streams.len() <= super::streams::STREAMS_MAX
            && self.jobs.len() <= 4
    }
}
