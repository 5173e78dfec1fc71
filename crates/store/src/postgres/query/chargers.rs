//! Chargers and their connectors.

use crate::directory::profile;
use crate::paging::{at_most, cut};
use crate::postgres::directory::NOW_MS;
use crate::postgres::error;
use crate::postgres::numbers::clean;
use crate::refusal::Refusal;
use crate::removed::removal;
use crate::state::{Gateways, Unreadable, last_spelling, or_leave_out, read_with, readable};
use central::model::{
    Actor, ChargerKey, ChargerSettings, ChargerState, ChargerView, ConnectorState, ConnectorView,
    GatewayState, UNKNOWN,
};
use central::query::{ChargerDetail, ChargerFilter, Page, Place};
use central::{GatewayId, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, FromRow, Row};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Rows fetched at a time, because only the state tells whether a row matches.
const CHUNK: usize = 1_000;

/// Upper bound of the rows that one page reads.
const ROWS_READ_MAX: usize = 20_000;

pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &ChargerFilter,
    after: &str,
    limit: usize,
) -> Result<Page<ChargerDetail>, Refusal> {
    let gateways = gateways(connection).await?;
    let search = filter.search.as_deref().map(ChargerKey::of);
    let search = search.map(|text| clean(text.as_str()).into_owned());
    let label = filter.label_search();
    let label = label.map(|text| clean(&text).into_owned());
    let needles = Needles::of(filter);
    let (keys, named) = match &needles {
        Some(needles) => needles.selected_keys(),
        None => selected_keys(filter),
    };
    let mut reached = clean(after).into_owned();
    let mut found = Vec::new();
    // If few match, more are read at a time.
    let (mut rows_read, mut chunk, mut scanned) = (0, CHUNK.min(limit + 1), None);
    while rows_read < ROWS_READ_MAX {
        let sql = format!(
            "WITH keys AS ({keys})
             SELECT k.key, c.no, c.state, p.id, p.registration, p.password_hash, p.check_mode, p.frame_bytes_max,
                 p.close_style,
                 p.version, p.label, p.site, p.charger_group, r.at, r.actor
             FROM keys k
             LEFT JOIN chargers c ON c.key = k.key AND c.state IS NOT NULL
             LEFT JOIN charger_profiles p ON p.key = k.key
             LEFT JOIN removed_chargers r ON r.key = k.key
             ORDER BY k.key"
        );
        let mut query = sqlx::query_as::<_, StoredRow>(AssertSqlSafe(sql))
            .bind(&reached)
            .bind(&search)
            .bind(at_most(chunk))
            .bind(&label);
        for text in &named {
            query = query.bind(text);
        }
        let rows = query
            .fetch_all(&mut *connection)
            .await
            .map_err(error::refusal)?;
        let mut is_last = rows.len() < chunk;
        if is_last
            && needles.is_some()
            && let Some(end) = end_of_scan(connection, &reached).await?
        {
            // No more of the rows that were looked at match, and there are more rows.
            (rows_read, is_last) = (ROWS_READ_MAX, false);
            scanned = Some(end);
        }
        rows_read += rows.len();
        chunk = (chunk * 4).min(CHUNK);
        let (mut places, mut selected) = (Vec::new(), Vec::new());
        for row in rows {
            reached.clone_from(&row.key);
            // What fails here are the settings: a state that cannot be read is as if there were none.
            let whose = format!("charger {reached}");
            let read = row.read(&gateways, Unreadable::IsNone);
            let Some(stored) = or_leave_out(read, &whose) else {
                continue;
            };
            if filter.has(&stored.charger, stored.settings.as_ref())
                && filter.has_removal(stored.removal.is_some(), stored.charger.online)
            {
                places.push(Place::Charger(ChargerKey::of(&reached)));
                selected.push(stored);
            }
        }
        let details = with_connectors(connection, selected, Unreadable::IsNone).await?;
        let details = places.into_iter().zip(details);
        found.extend(details.filter(|(_, detail)| filter.has_status(&detail.connectors)));
        if is_last || found.len() > limit {
            return Ok(cut(found, limit));
        }
        if let Some(end) = scanned.take() {
            reached = end;
        }
    }
    // The page has read as many rows as it may.
    Ok(Page {
        items: found.into_iter().map(|(_, charger)| charger).collect(),
        next: Some(Place::Charger(ChargerKey::of(&reached)).to_cursor()),
    })
}

/// Texts that the state of each selected charger contains, and that of one of its connectors. So most chargers that a filter
/// does not select are not read; whether one is selected is still decided by its state.
struct Needles {
    state: Vec<String>,
    connector: Option<String>,
}

impl Needles {
    /// `None` if there are none, or if an index selects the chargers.
    fn of(filter: &ChargerFilter) -> Option<Self> {
        if filter.search.is_some() || filter.needs_settings() {
            return None;
        }
        // A member as a state is written; control characters are not stored as they were sent.
        let member = |name: &str, text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty())?;
            let text = (!text.contains(char::is_control)).then_some(text)?;
            Some(format!("\"{name}\":{}", serde_json::to_string(text).ok()?))
        };
        // `Unknown` is shown of chargers that say nothing.
        let status = filter.status.as_deref().filter(|text| *text != UNKNOWN);
        let is_online = filter.online == Some(true) || status.is_some();
        let version = filter.version.map(|version| format!("\"{version}\""));
        let state: Vec<String> = [
            is_online.then(|| r#""online":true"#.to_owned()),
            version,
            member("vendor", &filter.vendor),
            member("model", &filter.model),
            member("firmware", &filter.firmware),
        ]
        .into_iter()
        .flatten()
        .collect();
        let connector = status.and_then(|status| serde_json::to_string(status).ok());
        (!state.is_empty()).then_some(Self { state, connector })
    }

    /// As [`selected_keys`]: of [`ROWS_READ_MAX`] chargers after $1 those with these texts, in the order of the index.
    fn selected_keys(&self) -> (String, Vec<String>) {
        let mut named = Vec::new();
        let mut conditions = "true".to_owned();
        for text in &self.state {
            named.push(text.clone());
            conditions.push_str(&format!(" AND strpos(r.state, ${}) > 0", named.len() + 4));
        }
        if let Some(text) = &self.connector {
            named.push(text.clone());
            conditions.push_str(&format!(
                " AND EXISTS (SELECT FROM connectors k WHERE k.charger_no = r.no AND strpos(k.state, ${}) > 0)",
                named.len() + 4
            ));
        }
        let keys = format!(
            "SELECT r.key FROM (
                 SELECT key, no, state FROM chargers
                 WHERE key > $1 AND state IS NOT NULL AND $2::text IS NULL AND $4::text IS NULL
                 ORDER BY key LIMIT {ROWS_READ_MAX}) r
             WHERE {conditions} ORDER BY r.key LIMIT $3"
        );
        (keys, named)
    }
}

/// The last charger that a query of [`Needles`] after this key has looked at; `None` if it has looked at all.
async fn end_of_scan(
    connection: &mut PgConnection,
    after: &str,
) -> Result<Option<String>, Refusal> {
    let sql = format!(
        "SELECT key FROM chargers WHERE key > $1 AND state IS NOT NULL ORDER BY key OFFSET {} LIMIT 1",
        ROWS_READ_MAX - 1
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(after)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)
}

/// The query of the keys of a page, and the texts that it takes from $5 on. Each part is read in the order of an index, up to
/// the limit. A site or a group has its own query, so that its chargers are found by its index; other chargers than those
/// that were added are in none.
fn selected_keys(filter: &ChargerFilter) -> (String, Vec<String>) {
    let mut added = "SELECT key FROM charger_profiles
         WHERE key > $1 AND ($2::text IS NULL OR strpos(key, $2) > 0 OR strpos(label_key, $4::text) > 0)"
        .to_owned();
    let mut named = Vec::new();
    for (column, text) in [("site", &filter.site), ("charger_group", &filter.group)] {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            named.push(clean(text).into_owned());
            added.push_str(&format!(" AND {column} = ${}", named.len() + 4));
        }
    }
    added.push_str(" ORDER BY key LIMIT $3");
    if filter.needs_settings() {
        return (added, named);
    }
    let keys = format!(
        "(SELECT key FROM chargers
          WHERE key > $1 AND state IS NOT NULL AND ($2::text IS NULL OR strpos(key, $2) > 0)
          ORDER BY key LIMIT $3)
         UNION ({added})
         ORDER BY key LIMIT $3"
    );
    (keys, named)
}

pub(super) async fn one(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Option<ChargerDetail>, Refusal> {
    let key = clean(ChargerKey::of(id).as_str()).into_owned();
    let row: Option<StoredRow> = sqlx::query_as(
        "SELECT k.key, c.no, c.state, p.id, p.registration, p.password_hash, p.check_mode, p.frame_bytes_max,
                 p.close_style,
             p.version, p.label, p.site, p.charger_group, r.at, r.actor
         FROM (SELECT $1::text AS key) k
         LEFT JOIN chargers c ON c.key = k.key AND c.state IS NOT NULL
         LEFT JOIN charger_profiles p ON p.key = k.key
         LEFT JOIN removed_chargers r ON r.key = k.key
         WHERE c.no IS NOT NULL OR p.id IS NOT NULL",
    )
    .bind(key)
    .fetch_optional(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let stored = row.read(&gateways(connection).await?, Unreadable::IsNone)?;
    let mut details = with_connectors(connection, vec![stored], Unreadable::IsNone).await?;
    Ok(details.pop())
}

/// A charger that has connected (the first members) or that the operator has added (the others).
struct StoredRow {
    key: String,
    no: Option<i32>,
    state: Option<String>,
    id: Option<String>,
    registration: Option<String>,
    password_hash: Option<String>,
    check_mode: Option<String>,
    frame_bytes_max: Option<i64>,
    close_style: Option<String>,
    version: Option<i64>,
    label: Option<String>,
    site: Option<String>,
    group: Option<String>,
    removed_at: Option<i64>,
    removed_by: Option<String>,
}

impl<'r> FromRow<'r, PgRow> for StoredRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            key: row.try_get(0)?,
            no: row.try_get(1)?,
            state: row.try_get(2)?,
            id: row.try_get(3)?,
            registration: row.try_get(4)?,
            password_hash: row.try_get(5)?,
            check_mode: row.try_get(6)?,
            frame_bytes_max: row.try_get(7)?,
            close_style: row.try_get(8)?,
            version: row.try_get(9)?,
            label: row.try_get(10)?,
            site: row.try_get(11)?,
            group: row.try_get(12)?,
            removed_at: row.try_get(13)?,
            removed_by: row.try_get(14)?,
        })
    }
}

/// A charger without its connectors.
struct Stored {
    /// Its number; `None` if it has never connected.
    no: Option<i32>,
    charger: ChargerView,
    settings: Option<ChargerSettings>,
    /// When it was removed, and by whom.
    removal: Option<(Timestamp, Actor)>,
}

impl StoredRow {
    fn read(self, gateways: &Gateways, unreadable: Unreadable) -> Result<Stored, Refusal> {
        let removal = removal(&self.key, self.removed_at, self.removed_by.as_deref());
        let settings = match (self.id, self.registration, self.version) {
            (Some(id), Some(registration), Some(version)) => {
                let row = (
                    self.key.clone(),
                    id,
                    registration,
                    self.password_hash,
                    self.check_mode,
                    self.frame_bytes_max,
                    self.close_style,
                    version,
                    self.label,
                    self.site,
                    self.group,
                );
                let (_, profile, version) = profile(row)?;
                Some(ChargerSettings::of(&profile, version))
            }
            _ => None,
        };
        let state = match &self.state {
            None => ChargerState::default(),
            Some(json) => read_with(json, &format_args!("charger {}", self.key), unreadable)?,
        };
        let spelling = settings.as_ref();
        let spelling = spelling.map_or(self.key.as_str(), |settings| &settings.charger_id);
        Ok(Stored {
            no: self.no,
            charger: gateways.view(spelling, &state),
            settings,
            removal,
        })
    }
}

/// These chargers, by their numbers; without those that nothing is known of. One that cannot be read is an error.
pub(in crate::postgres) async fn numbered(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<HashMap<i64, ChargerDetail>, Refusal> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let gateways = gateways(connection).await?;
    let rows: Vec<StoredRow> = sqlx::query_as(
        "SELECT c.key, c.no, c.state, p.id, p.registration, p.password_hash, p.check_mode, p.frame_bytes_max,
                 p.close_style,
             p.version, p.label, p.site, p.charger_group, r.at, r.actor
         FROM chargers c LEFT JOIN charger_profiles p ON p.key = c.key
         LEFT JOIN removed_chargers r ON r.key = c.key
         WHERE c.no = ANY($1::bigint[]::int[]) AND c.state IS NOT NULL",
    )
    .bind(numbers)
    .fetch_all(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let found = rows
        .into_iter()
        .map(|row| row.read(&gateways, Unreadable::Fails));
    let found = found.collect::<Result<Vec<Stored>, Refusal>>()?;
    let numbers: Vec<i64> = found
        .iter()
        .filter_map(|stored| stored.no.map(i64::from))
        .collect();
    let details = with_connectors(connection, found, Unreadable::Fails).await?;
    Ok(numbers.into_iter().zip(details).collect())
}

/// Reads the connectors of these chargers.
async fn with_connectors(
    connection: &mut PgConnection,
    chargers: Vec<Stored>,
    unreadable: Unreadable,
) -> Result<Vec<ChargerDetail>, Refusal> {
    let numbers: Vec<i32> = chargers.iter().filter_map(|stored| stored.no).collect();
    let rows: Vec<(i32, i64, i64, String)> = sqlx::query_as(
        "SELECT charger_no, evse, connector, state FROM connectors WHERE charger_no = ANY($1)
         ORDER BY charger_no, evse, connector",
    )
    .bind(numbers)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut by_charger: HashMap<i32, Vec<(i64, i64, String)>> = HashMap::new();
    for (no, evse, connector, json) in rows {
        by_charger
            .entry(no)
            .or_default()
            .push((evse, connector, json));
    }
    let detail = |stored: Stored| {
        let rows = stored.no.and_then(|no| by_charger.remove(&no));
        let (rows, charger) = (rows.unwrap_or_default(), stored.charger);
        let view = |(evse, connector, json): (i64, i64, String)| {
            let id = &charger.charger_id;
            let whose = format_args!("connector {evse}/{connector} of charger {id}");
            let state: ConnectorState = read_with(&json, &whose, unreadable)?;
            Ok(state.view(&charger, evse, connector))
        };
        let connectors: Result<Vec<ConnectorView>, Refusal> = rows.into_iter().map(view).collect();
        let (removed_at, removed_by) = stored.removal.unzip();
        Ok(ChargerDetail {
            removed_at,
            removed_by,
            connectors: connectors?,
            settings: stored.settings,
            charger,
        })
    };
    chargers.into_iter().map(detail).collect()
}

/// Which of these chargers are shown as not connected, also those of which nothing is known or can be read.
pub(in crate::postgres) async fn absent(
    connection: &mut PgConnection,
    mut keys: HashSet<String>,
) -> Result<HashSet<String>, Refusal> {
    if keys.is_empty() {
        return Ok(keys);
    }
    let gateways = gateways(connection).await?;
    let wanted: Vec<&String> = keys.iter().collect();
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT key, state FROM chargers WHERE key = ANY($1) AND state IS NOT NULL")
            .bind(wanted)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    for (key, json) in rows {
        let state: Option<ChargerState> = readable(&json, &format_args!("charger {key}"));
        if state.is_some_and(|state| gateways.view(&key, &state).online) {
            keys.remove(&key);
        }
    }
    Ok(keys)
}

/// The identities of chargers as they were spelled last.
pub(super) async fn spellings(
    connection: &mut PgConnection,
    numbers: &[i32],
) -> Result<HashMap<i32, String>, Refusal> {
    let rows: Vec<(i32, String, Option<String>)> =
        sqlx::query_as("SELECT no, id, state FROM chargers WHERE no = ANY($1)")
            .bind(numbers)
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    let mut spellings = HashMap::with_capacity(rows.len());
    for (no, id, json) in rows {
        spellings.insert(no, last_spelling(id, json.as_deref()));
    }
    Ok(spellings)
}

async fn gateways(connection: &mut PgConnection) -> Result<Gateways, Refusal> {
    let now: i64 = sqlx::query_scalar(NOW_MS)
        .fetch_one(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, state FROM gateways WHERE state IS NOT NULL")
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
    let mut states = HashMap::with_capacity(rows.len());
    for (id, json) in rows {
        let state: Option<GatewayState> = readable(&json, &format_args!("gateway {id}"));
        states.extend(state.map(|state| (GatewayId(id), state)));
    }
    Ok(Gateways {
        states,
        now: Timestamp(now),
    })
}
