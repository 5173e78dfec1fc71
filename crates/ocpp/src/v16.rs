//! What a central system acts on in 1.6, as lenient views of the payloads.
//!
//! Strict typing must not stand between a charger and the journal: firmware writes numbers as
//! strings, invents statuses, leaves required members out. So every member is optional, numbers
//! and booleans are read also when they are strings (see [`crate::json::Raw`]), enumerations stay
//! text, and what is unknown or of a wrong type is passed over. What is missing shows in
//! [`crate`]'s checks, not here. Texts borrow from the payload.

mod boot_notification;
mod meter_values;
mod start_transaction;
mod status_notification;
mod stop_transaction;

pub use boot_notification::BootNotification;
pub use meter_values::MeterValues;
pub use start_transaction::StartTransaction;
pub use status_notification::StatusNotification;
pub use stop_transaction::StopTransaction;
