//! `BootNotification` (1.6).

use crate::json::{Raw, ReadError};
use std::borrow::Cow;

/// `BootNotification.req`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootNotification<'a> {
    /// The vendor.
    pub charge_point_vendor: Option<Cow<'a, str>>,
    /// The model.
    pub charge_point_model: Option<Cow<'a, str>>,
    /// The serial number of the charger.
    pub charge_point_serial_number: Option<Cow<'a, str>>,
    /// The serial number of the charge box inside it (deprecated).
    pub charge_box_serial_number: Option<Cow<'a, str>>,
    /// The version of its firmware.
    pub firmware_version: Option<Cow<'a, str>>,
    /// The ICCID of its SIM card.
    pub iccid: Option<Cow<'a, str>>,
    /// The IMSI of its SIM card.
    pub imsi: Option<Cow<'a, str>>,
    /// The main meter's type.
    pub meter_type: Option<Cow<'a, str>>,
    /// The main meter's serial number.
    pub meter_serial_number: Option<Cow<'a, str>>,
}

impl<'a> BootNotification<'a> {
    /// Reads the request's payload as leniently as [`crate::v16`] says.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "chargePointVendor" => view.charge_point_vendor = value.text(),
            "chargePointModel" => view.charge_point_model = value.text(),
            "chargePointSerialNumber" => view.charge_point_serial_number = value.text(),
            "chargeBoxSerialNumber" => view.charge_box_serial_number = value.text(),
            "firmwareVersion" => view.firmware_version = value.text(),
            "iccid" => view.iccid = value.text(),
            "imsi" => view.imsi = value.text(),
            "meterType" => view.meter_type = value.text(),
            "meterSerialNumber" => view.meter_serial_number = value.text(),
            _ => {}
        })?;
        Ok(view)
    }
}
