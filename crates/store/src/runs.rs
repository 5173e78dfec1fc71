//! The times in which a gateway ran, the same for both databases.

use central::query::GatewayRun;
use central::{GatewayId, Timestamp};

/// A start of a gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) at: Timestamp,
    /// When the record before it was received.
    pub(crate) last_before: Option<Timestamp>,
}

/// The runs of a gateway whose first record is from `begun` and whose last sign of life is `last`. `starts` are its starts
/// in a range, in order; what it did between two earlier starts does not matter there.
pub(crate) fn runs_of(
    gateway: GatewayId,
    begun: Timestamp,
    starts: &[Start],
    last: Option<Timestamp>,
) -> Vec<GatewayRun> {
    let begins = std::iter::once(begun).chain(starts.iter().map(|start| start.at));
    let ends = starts.iter().map(|start| start.last_before);
    let runs = begins.zip(ends.chain([last]));
    runs.filter_map(|(from, to)| {
        let to = to.filter(|to| *to >= from)?;
        Some(GatewayRun { gateway, from, to })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_run_ends_with_the_last_record_before_the_next_start() {
        let gateway = GatewayId(Uuid::from_u128(1));
        let start = |at, last_before: Option<i64>| Start {
            at: Timestamp(at),
            last_before: last_before.map(Timestamp),
        };
        let times = |begun, starts: &[Start], last| -> Vec<(i64, i64)> {
            let runs = runs_of(gateway, Timestamp(begun), starts, Some(Timestamp(last)));
            runs.iter().map(|run| (run.from.0, run.to.0)).collect()
        };
        assert_eq!(times(5, &[], 90), [(5, 90)]);
        let starts = [start(40, Some(30)), start(60, Some(55))];
        assert_eq!(times(5, &starts, 90), [(5, 30), (40, 55), (60, 90)]);
        // The first record that is kept is that of a start.
        assert_eq!(times(40, &[start(40, None)], 90), [(40, 90)]);
    }
}
