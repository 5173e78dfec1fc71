//! A page of a report on the device model (2.x).

use crate::json::{Raw, ReadError};
use jiff::Timestamp;

/// `NotifyReportRequest`, as far as its paging goes. The other paged messages (monitoring report,
/// customer information, charging profiles, display messages) number their pages alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyReport<'a> {
    /// Which request of ours it answers.
    pub request_id: Option<i64>,
    /// When it was put together.
    pub generated_at: Option<Timestamp>,
    /// Which page; the first is 0.
    pub seq_no: Option<i64>,
    /// Whether more pages follow; absent means no.
    pub tbc: Option<bool>,
    /// The page's content.
    pub report_data: Option<Raw<'a>>,
}

impl<'a> NotifyReport<'a> {
    /// Reads the request's payload; see [`crate::v2`] for how leniently.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn read(payload: &'a str) -> Result<Self, ReadError> {
        let mut view = Self::default();
        Raw::new(payload).members(|name, value| match name {
            "requestId" => view.request_id = value.integer(),
            "generatedAt" => view.generated_at = value.timestamp(),
            "seqNo" => view.seq_no = value.integer(),
            "tbc" => view.tbc = value.boolean(),
            "reportData" => view.report_data = Some(value),
            _ => {}
        })?;
        Ok(view)
    }
}
