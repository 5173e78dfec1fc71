//! Tokens that were refused, or not known, the same for both databases: what new records add to the counts of unknown
//! tokens, the page of the list, and which refusals have an event.
//!
//! A count is no state that can be merged twice, so a record is counted in the transaction that inserts its message, and
//! only if the insert was not a repetition.

use crate::paging::cut_readable;
use crate::quirks::NewRecords;
use crate::refusal::Refusal;
use crate::state::{last_spelling, or_leave_out};
use central::Timestamp;
use central::model::{
    AuditEntry, ChargerKey, Origin, PresentedToken, TOKEN_REFUSED_EVENTS_MAX,
    TOKEN_REFUSED_EVENTS_MS, UnknownTokenCount, UnknownTokenView, unknown_token_key,
};
use central::query::{Page, Place};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Rows that a page of the list reads at most. Rows of tokens that are in the directory by now, or were dismissed, are read
/// too.
pub(crate) const READ_MAX: i64 = 5_000;

/// Tokens of new records, each record once.
fn of_new<'a>(
    presented: &'a [(ChargerKey, PresentedToken)],
    new: &NewRecords,
) -> impl Iterator<Item = (&'a ChargerKey, &'a PresentedToken)> {
    // A record that comes twice in a batch is new once.
    let mut seen = BTreeSet::new();
    presented.iter().filter_map(move |(charger, token)| {
        (new.has(token.record) && seen.insert(token.record)).then_some((charger, token))
    })
}

/// What new records add to the counts, by charger, day and key.
pub(crate) fn added<'a>(
    presented: &'a [(ChargerKey, PresentedToken)],
    new: &NewRecords,
) -> BTreeMap<(&'a ChargerKey, i64, Uuid), UnknownTokenCount> {
    let mut counts: BTreeMap<_, UnknownTokenCount> = BTreeMap::new();
    for (charger, token) in of_new(presented, new).filter(|(_, token)| token.may_be_unknown) {
        let key = (charger, token.day(), unknown_token_key(&token.presented.id));
        let once = UnknownTokenCount::once(token);
        match counts.get_mut(&key) {
            Some(count) => count.add(once),
            None => {
                counts.insert(key, once);
            }
        }
    }
    counts
}

/// The refusals of new records, by charger.
pub(crate) fn refused<'a>(
    presented: &'a [(ChargerKey, PresentedToken)],
    new: &NewRecords,
) -> BTreeMap<&'a ChargerKey, Vec<&'a PresentedToken>> {
    let mut refused: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (charger, token) in of_new(presented, new).filter(|(_, token)| token.is_refused()) {
        refused.entry(charger).or_default().push(token);
    }
    refused
}

/// The hour of the latest of these refusals.
pub(crate) fn hour_of(refused: &[&PresentedToken]) -> i64 {
    let last = refused.iter().map(|token| token.at.0).max();
    last.unwrap_or_default().div_euclid(TOKEN_REFUSED_EVENTS_MS)
}

/// The refusals of one charger that get an event. `count` is that of the charger's hour, these included.
pub(crate) fn announced(
    refused: Vec<&PresentedToken>,
    count: i64,
) -> impl Iterator<Item = &PresentedToken> {
    let before = count.unsigned_abs().saturating_sub(refused.len() as u64);
    let room = TOKEN_REFUSED_EVENTS_MAX.saturating_sub(before);
    refused.into_iter().take(usize::try_from(room).unwrap_or(0))
}

/// The statements of the list, of which the databases write parameters (`p`) and the search in a text differently. The
/// parameters are those of a place of the list, the charger's key, and the text. `tail` ends the rows that are read.
fn rows_read(p: char, of_charger: bool, tail: &str) -> String {
    // The rows of one charger are few, and are sorted; all others come in the order of their index.
    let (charger, sort) = match of_charger {
        true => (
            format!("AND charger_no = (SELECT no FROM chargers WHERE key = {p}4)"),
            "last_at + 0",
        ),
        false => (format!("AND {p}4 = ''"), "last_at"),
    };
    format!(
        "SELECT key, charger_no, day, token_key, latest, last_at FROM unknown_tokens
         WHERE (last_at, key, charger_no) < ({p}1, {p}2, {p}3) {charger}
         ORDER BY {sort} DESC, key DESC, charger_no DESC {tail}"
    )
}

/// Reads the rows of [`UnknownRow`] of a page and one more. `position` finds a text in another one.
pub(crate) fn page_sql(p: char, position: &str, of_charger: bool) -> String {
    let rows = rows_read(p, of_charger, &format!("LIMIT {READ_MAX}"));
    format!(
        "SELECT u.last_at, u.key, u.charger_no, u.token_key, u.latest,
             (SELECT min(d.first_at) FROM unknown_tokens d WHERE d.key = u.key AND d.charger_no = u.charger_no),
             (SELECT CAST(sum(d.count) AS bigint) FROM unknown_tokens d
              WHERE d.key = u.key AND d.charger_no = u.charger_no),
             (SELECT c.id FROM chargers c WHERE c.no = u.charger_no),
             (SELECT c.state FROM chargers c WHERE c.no = u.charger_no)
         FROM ({rows}) u
         WHERE u.day = (SELECT max(d.day) FROM unknown_tokens d WHERE d.key = u.key AND d.charger_no = u.charger_no)
             AND (SELECT t.key FROM tokens t WHERE t.key = u.token_key) IS NULL
             AND u.last_at > coalesce((SELECT x.last_at FROM dismissed_tokens x WHERE x.key = u.key), u.last_at - 1)
             AND ({p}5 = '' OR {position}(u.token_key, {p}5) > 0)
         ORDER BY u.last_at DESC, u.key DESC, u.charger_no DESC LIMIT {p}6"
    )
}

/// Reads the place of the last row that a page reads, if it reads all that it may.
pub(crate) fn last_read_sql(p: char, of_charger: bool) -> String {
    let rows = rows_read(p, of_charger, &format!("LIMIT 1 OFFSET {}", READ_MAX - 1));
    format!("SELECT r.last_at, r.key, r.charger_no FROM ({rows}) r")
}

/// A row of the list: time, key, number of the charger, key of the token, the latest message, the first time, the count,
/// the charger's identity as it was spelled first, and its state.
pub(crate) struct UnknownRow {
    pub(crate) last_at: i64,
    pub(crate) key: Uuid,
    pub(crate) charger_no: i64,
    pub(crate) token_key: String,
    pub(crate) latest: String,
    pub(crate) first_at: i64,
    pub(crate) count: i64,
    pub(crate) charger: String,
    pub(crate) state: Option<String>,
}

impl UnknownRow {
    fn listed(self) -> (Place, Option<UnknownTokenView>) {
        let whose = format!("unknown token {}", self.key);
        let place = Place::UnknownToken(Timestamp(self.last_at), self.key, self.charger_no);
        let charger = last_spelling(self.charger, self.state.as_deref());
        let count = UnknownTokenCount {
            token_key: self.token_key,
            latest: self.latest,
            first_at: Timestamp(self.first_at),
            last_at: Timestamp(self.last_at),
            count: self.count.unsigned_abs(),
        };
        let view = UnknownTokenView::of(self.key, charger, count)
            .ok_or_else(|| Refusal::corrupt("its latest message cannot be read"));
        (place, or_leave_out(view, &whose))
    }
}

/// The page of these rows. `last_read` is the place of the last row that was read, if more may follow it.
pub(crate) fn page(
    rows: Vec<UnknownRow>,
    limit: usize,
    last_read: Option<(i64, Uuid, i64)>,
) -> Page<UnknownTokenView> {
    let rows = rows.into_iter().map(UnknownRow::listed);
    let mut page = cut_readable(rows.collect(), limit);
    if page.next.is_none() {
        page.next =
            last_read.map(|(at, key, no)| Place::UnknownToken(Timestamp(at), key, no).to_cursor());
    }
    page
}

/// The audit entry of a token that was dismissed. `latest` is its latest message.
pub(crate) fn dismissed(
    key: Uuid,
    latest: &str,
    last_at: i64,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    let latest: serde_json::Value = serde_json::from_str(latest).map_err(|error| {
        Refusal::corrupt(format!("the unknown token {key} cannot be read: {error}"))
    })?;
    let subject = latest["id"].as_str().unwrap_or_default();
    Ok(AuditEntry {
        origin: origin.clone(),
        action: "unknown_token.dismissed".to_owned(),
        subject: subject.to_owned(),
        before: Some(json!({
            "key": key,
            "id": subject,
            "answer": latest["status"],
            "last_at": Timestamp(last_at).to_string(),
        })),
        after: None,
    })
}
