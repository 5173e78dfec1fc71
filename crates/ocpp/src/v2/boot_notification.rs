//! `BootNotification` (2.x).

use crate::json::{Raw, ReadError};
use std::borrow::Cow;

/// `BootNotificationRequest`, flattened: the members of `chargingStation` and `modem` are fields of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootNotification<'a> {
    /// `PowerUp`, `ApplicationReset`, …
    pub reason: Option<Cow<'a, str>>,
    /// The vendor.
    pub vendor_name: Option<Cow<'a, str>>,
    /// The model.
    pub model: Option<Cow<'a, str>>,
    /// The serial number.
    pub serial_number: Option<Cow<'a, str>>,
    /// The version of its firmware.
    pub firmware_version: Option<Cow<'a, str>>,
    /// The ICCID of its SIM card.
    pub iccid: Option<Cow<'a, str>>,
    /// The IMSI of its SIM card.
    pub imsi: Option<Cow<'a, str>>,
}

impl<'a> BootNotification<'a> {
    /// Reads the request's payload as leniently as [`crate::v2`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "reason" => view.reason = value.text(),
            "chargingStation" => view.read_charging_station(value),
            _ => {}
        })?;
        Ok(view)
    }
}

impl<'a> BootNotification<'a> {
    fn read_charging_station(&mut self, raw: Raw<'a>) {
        let _ = raw.members(|name, value| match name {
            "vendorName" => self.vendor_name = value.text(),
            "model" => self.model = value.text(),
            "serialNumber" => self.serial_number = value.text(),
            "firmwareVersion" => self.firmware_version = value.text(),
            "modem" => self.read_modem(value),
            _ => {}
        });
    }

    fn read_modem(&mut self, raw: Raw<'a>) {
        let _ = raw.members(|name, value| match name {
            "iccid" => self.iccid = value.text(),
            "imsi" => self.imsi = value.text(),
            _ => {}
        });
    }
}
