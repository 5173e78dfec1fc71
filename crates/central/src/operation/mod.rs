//! Operations: commands in words that do not depend on the version of OCPP, such as *start* and *limit*.
//!
//! Versions name the same thing differently: a remote start is `RemoteStartTransaction` with `idTag` in 1.6 and
//! `RequestStartTransaction` with `idToken` in 2.x. A client gives one body ([`Request`]), and
//! [`Request::for_version`] makes the command of the charger's version from it. What a version cannot express is
//! refused with the member and what to do instead; nothing is dropped or converted.
//!
//! An EVSE of 2.x corresponds to a connector of 1.6: the member `evse` is either.

mod fields;
mod v16;
mod v2;

pub use fields::{Fault, Field, Kind, schema};

use crate::time::Timestamp;
use fields::Members;
use ocpp::Version;
use serde_json::{Map, Value};

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Starts a transaction.
    Start,
    /// Stops a transaction.
    Stop,
    /// Restarts the charger or an EVSE.
    Reset,
    /// Unlocks a connector.
    Unlock,
    /// Puts the charger, an EVSE or a connector into or out of operation.
    Availability,
    /// Asks for a message.
    Trigger,
    /// Reserves an EVSE.
    Reserve,
    /// Cancels a reservation.
    CancelReservation,
    /// Limits power or current.
    Limit,
    /// Sets a charging profile.
    ChargingProfile,
    /// Clears charging profiles.
    ClearChargingProfile,
    /// Sends the local authorization list.
    LocalList,
    /// Asks for the upload of a log.
    Diagnostics,
    /// Updates the firmware.
    Firmware,
    /// Sends data of a vendor.
    DataTransfer,
    /// Clears the authorization cache.
    ClearCache,
    /// Reads or changes configuration keys (1.6) or variables (2.x).
    Configuration,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 17] = [
        Self::Start,
        Self::Stop,
        Self::Reset,
        Self::Unlock,
        Self::Availability,
        Self::Trigger,
        Self::Reserve,
        Self::CancelReservation,
        Self::Limit,
        Self::ChargingProfile,
        Self::ClearChargingProfile,
        Self::LocalList,
        Self::Diagnostics,
        Self::Firmware,
        Self::DataTransfer,
        Self::ClearCache,
        Self::Configuration,
    ];

    /// The name: the last segment of its address in the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reset => "reset",
            Self::Unlock => "unlock",
            Self::Availability => "availability",
            Self::Trigger => "trigger",
            Self::Reserve => "reserve",
            Self::CancelReservation => "cancel-reservation",
            Self::Limit => "limit",
            Self::ChargingProfile => "charging-profile",
            Self::ClearChargingProfile => "clear-charging-profile",
            Self::LocalList => "local-list",
            Self::Diagnostics => "diagnostics",
            Self::Firmware => "firmware",
            Self::DataTransfer => "data-transfer",
            Self::ClearCache => "clear-cache",
            Self::Configuration => "configuration",
        }
    }

    /// The operation with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// What it does, as a sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Start => "starts a transaction (RemoteStartTransaction, RequestStartTransaction)",
            Self::Stop => {
                "stops a transaction (RemoteStopTransaction, RequestStopTransaction), by default the only open one"
            }
            Self::Reset => "restarts the charger or one EVSE (Reset)",
            Self::Unlock => "unlocks a connector (UnlockConnector)",
            Self::Availability => {
                "puts the charger, an EVSE or a connector into or out of operation (ChangeAvailability)"
            }
            Self::Trigger => {
                "asks the charger to send a message (TriggerMessage, ExtendedTriggerMessage)"
            }
            Self::Reserve => "reserves an EVSE for a token (ReserveNow)",
            Self::CancelReservation => "cancels a reservation (CancelReservation)",
            Self::Limit => {
                "limits power or current from now on, with one charging profile (SetChargingProfile)"
            }
            Self::ChargingProfile => "sets a charging profile (SetChargingProfile)",
            Self::ClearChargingProfile => "clears charging profiles (ClearChargingProfile)",
            Self::LocalList => "sends the local authorization list (SendLocalList)",
            Self::Diagnostics => "asks the charger to upload a log (GetDiagnostics, GetLog)",
            Self::Firmware => {
                "asks the charger to install firmware (UpdateFirmware, SignedUpdateFirmware)"
            }
            Self::DataTransfer => "sends data of a vendor (DataTransfer)",
            Self::ClearCache => "clears the charger's authorization cache (ClearCache)",
            Self::Configuration => {
                "reads or changes configuration keys of 1.6 (GetConfiguration, ChangeConfiguration) or variables of 2.x (GetVariables, SetVariables)"
            }
        }
    }

    /// The members of its body, in the order in which they are described.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        fields::of(self)
    }
}

/// The command that changes a charger's password: `ChangeConfiguration` of `AuthorizationKey` (1.6), or `SetVariables` of
/// `SecurityCtrlr.BasicAuthPassword` (2.x); rule S-20.
///
/// # Errors
/// What the version does not permit.
pub fn password_change(
    version: Version,
    password: &str,
    now: Timestamp,
) -> Result<Translated, Vec<Fault>> {
    let name = match version {
        Version::V16 => "AuthorizationKey",
        Version::V201 | Version::V21 => "SecurityCtrlr.BasicAuthPassword",
    };
    let mut members = Map::new();
    members.insert("write".to_owned(), serde_json::json!({ name: password }));
    // The context is not used by this operation.
    let context = Context { number: 1, now };
    Request::read(Operation::Configuration, members)?.for_version(version, &context)
}

/// What a request needs beside its body.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// A number for the command, from 1 on: the request id, remote start id, profile id or reservation id where the
    /// body gives none. Repeating the request must give the same number.
    pub number: i32,
    /// The time of the request.
    pub now: Timestamp,
}

/// The command of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// The action.
    pub action: &'static str,
    /// The payload, which conforms to the version's schema.
    pub payload: Value,
}

/// A body whose members are known and valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    operation: Operation,
    members: Map<String, Value>,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// Each member that is unknown, missing or not valid.
    pub fn read(operation: Operation, members: Map<String, Value>) -> Result<Self, Vec<Fault>> {
        fields::check(operation.fields(), &members)?;
        let request = Self { operation, members };
        match (operation, request.has("read"), request.has("write")) {
            (Operation::Configuration, false, false) => {
                Err(vec![Fault::new("/read", "give read or write")])
            }
            (Operation::Configuration, true, true) => Err(vec![Fault::new(
                "/write",
                "read and write are given; make two requests",
            )]),
            _ => Ok(request),
        }
    }

    /// The operation.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// The EVSE (2.x) or connector (1.6) that it names; `None` if none, or the whole charger.
    #[must_use]
    pub fn evse(&self) -> Option<i64> {
        let evse = self.members.get("evse").and_then(Value::as_i64);
        evse.filter(|evse| *evse > 0)
    }

    /// Whether it is about a transaction that it does not name: the only open one of the charger, or of its EVSE.
    #[must_use]
    pub fn needs_transaction(&self) -> bool {
        let is_about_one = match self.operation {
            Operation::Stop => true,
            Operation::Limit => self.members.get("purpose") == Some(&Value::from("transaction")),
            _ => false,
        };
        is_about_one && !self.has("transaction_id")
    }

    /// Sets the transaction that it is about, by its id on the wire, and its EVSE (2.x) or connector (1.6).
    pub fn set_transaction(&mut self, id: &str, evse: Option<i64>) {
        self.members.insert("transaction_id".to_owned(), id.into());
        if self.operation == Operation::Limit
            && !self.has("evse")
            && let Some(evse) = evse
        {
            self.members.insert("evse".to_owned(), evse.into());
        }
    }

    fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The command of this version.
    ///
    /// # Errors
    /// What the version cannot express, or does not permit.
    pub fn for_version(
        &self,
        version: Version,
        context: &Context,
    ) -> Result<Translated, Vec<Fault>> {
        let mut body = Members::new(&self.members, version);
        let (action, payload) = match version {
            Version::V16 => v16::translate(self.operation, &mut body, context),
            Version::V201 | Version::V21 => v2::translate(self.operation, &mut body, context),
        };
        if !body.faults.is_empty() {
            return Err(body.faults);
        }
        let violations = ocpp::check::request(version, action, &payload.to_string());
        if violations.is_empty() {
            return Ok(Translated { action, payload });
        }
        let fault = |violation: &ocpp::check::Violation| Fault {
            pointer: fields::origin(&self.members, &payload, &violation.path),
            detail: format!(
                "{} (member {} of {action} in OCPP {version})",
                violation.detail, violation.path
            ),
        };
        Err(violations.iter().map(fault).collect())
    }
}

#[cfg(test)]
mod tests;
