//! `wattpost transaction`: lists the sessions that have no stop, and closes those whose stop will not come.
//!
//! A charger that was replaced or that has lost a session never sends its stop. A later session on the same connector ends
//! it; where none follows, a person does. The entry is kept beside what the charger reported: no message is invented, and if
//! the stop still arrives, the end and the energy follow from it.

use crate::SettingsArgs;
use crate::config::Settings;
use crate::database::{self, Database, Use};
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::Timestamp;
use central::model::{ClosedBy, TransactionView};
use central::ports::{Closing, ClosingOutcome};
use central::query::{self, TransactionFilter, parameters};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use uuid::Uuid;

/// A session with a message more recent than this, in milliseconds, is closed only with `--force`.
const SILENT_MS_MIN: i64 = 15 * 60_000;

/// Characters of a reason at most.
const REASON_CHARS_MAX: usize = 1_000;

/// Characters of a name at most.
const WHO_CHARS_MAX: usize = 100;

/// Variables of the environment that name the account that runs the command, the first one first.
const ACCOUNT_VARIABLES: [&str; 4] = ["SUDO_USER", "USER", "LOGNAME", "USERNAME"];

/// Subcommands of `wattpost transaction`.
#[derive(Debug, Subcommand)]
pub(crate) enum TransactionCommand {
    /// List transactions, the latest start first: key, charger, connector, start, last message, energy.
    List(ListArgs),
    /// Close a transaction that has no stop, because it will not come; may run while `serve` runs.
    ///
    /// The transaction is no longer open, and shows who closed it, when and why. No message is invented: if the stop
    /// still arrives, the end and the energy follow from it.
    ///
    /// Examples:
    ///   wattpost transaction list --open
    ///   wattpost transaction close 9d2f9f0e-3a55-5c7c-8f0c-7f6a5c1b2d3e --reason "charger replaced"
    #[command(verbatim_doc_comment)]
    Close(CloseArgs),
}

/// Flags of `transaction list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only open ones
    #[arg(long)]
    open: bool,
    /// Only those of this charger, in any letter case
    #[arg(long, value_name = "IDENTITY")]
    charger: Option<String>,
    /// Print one JSON object a line, as `wattpost export transactions` does
    #[arg(long)]
    json: bool,
}

/// Flags of `transaction close`.
#[derive(Debug, Args)]
pub(crate) struct CloseArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Key, as `list` prints it
    key: Uuid,
    /// Why it is closed
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// When it ended: RFC 3339 or milliseconds since 1970-01-01 UTC [default: the last message of it]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Who closes it; needed where the environment does not name the account that runs this command [default: that account]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Close it although the charger sent a message about it within the last 15 minutes
    #[arg(long)]
    force: bool,
}

/// Prints the list, or the closed transaction.
pub(crate) fn run(command: &TransactionCommand) -> Result<ExitCode> {
    match command {
        TransactionCommand::List(args) => list(args)?,
        TransactionCommand::Close(args) => close(args, &args.settings.load()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs) -> Result<()> {
    if args.charger.as_deref().is_some_and(str::is_empty) {
        bail!("--charger is empty: name a charger, or leave the flag out");
    }
    let database = database::open(&args.settings.load()?, Use::Read)?;
    let filter = TransactionFilter {
        charger: args.charger.clone(),
        open: args.open.then_some(true),
        ..TransactionFilter::default()
    };
    let mut count = 0;
    for view in query::all_transactions(&*database.queries, &filter) {
        let view = view?;
        count += 1;
        if args.json {
            print_line!("{}", serde_json::to_string(&view).context("write JSON")?);
        } else {
            print_line!("{}", line(&view));
        }
    }
    if count == 0 && !args.json {
        eprintln!("no {}transactions", if args.open { "open " } else { "" });
    }
    Ok(())
}

fn close(args: &CloseArgs, settings: &Settings) -> Result<()> {
    let reason = bounded("--reason", &args.reason, REASON_CHARS_MAX)?;
    let who = who(args.who.as_deref(), |name| std::env::var(name).ok())?;
    let at = args
        .at
        .as_deref()
        .map(|at| {
            parameters::time(at).with_context(|| {
                format!("--at {at:?} is no time: give {}", parameters::TIME_EXPECTED)
            })
        })
        .transpose()?;
    let database = database::open(settings, Use::Change)?;
    let now = database::now();
    let Some(view) = database.queries.transaction(args.key)? else {
        bail!(
            "there is no transaction {}; `wattpost transaction list --open` prints the keys",
            args.key
        );
    };
    let ended_at = check(&view, at, now, args.force)?;
    let closing = Closing {
        // Of a transaction that was found by an earlier key.
        key: view.key,
        ended_at,
        who,
        reason,
        noted_at: now,
    };
    close_in(&database, &view, &closing)
}

fn close_in(database: &Database, view: &TransactionView, closing: &Closing) -> Result<()> {
    match database.closings.close_session(closing)? {
        ClosingOutcome::Closed => {
            print_line!(
                "{}: closed by {}; {}",
                view.key,
                closing.who,
                shown(view, closing.ended_at)
            );
            Ok(())
        }
        ClosingOutcome::NotOpen => bail!(
            "transaction {} is no longer open: its stop arrived, or it was closed, a moment ago",
            view.key
        ),
    }
}

/// When the transaction ended, if it may be closed.
fn check(
    view: &TransactionView,
    at: Option<Timestamp>,
    now: Timestamp,
    force: bool,
) -> Result<Timestamp> {
    if let Some(closed) = view.closed.as_ref().filter(|_| view.ended_at.is_none()) {
        match &closed.by {
            ClosedBy::Superseded { transaction } => bail!(
                "transaction {} is closed already: transaction {transaction} started on its connector at {}",
                view.key,
                closed.at
            ),
            ClosedBy::Person { who, noted_at, .. } => bail!(
                "transaction {} is closed already: by {who} at {noted_at}",
                view.key
            ),
        }
    }
    if !view.open {
        match view.ended_at {
            Some(at) => bail!("transaction {} has ended: its stop says {at}", view.key),
            None => bail!("transaction {} has ended", view.key),
        }
    }
    if let Some(last_at) = view.last_at.filter(|_| !force)
        && now.as_millis() - last_at.as_millis() < SILENT_MS_MIN
    {
        bail!(
            "charger {} sent a message about transaction {} at {last_at}, less than 15 minutes ago: it may still run; wait, or \
             repeat the command with --force",
            view.charger_id,
            view.key
        );
    }
    let at = at.or(view.last_at).or(view.started_at).unwrap_or(now);
    if at > now {
        bail!("--at {at} is in the future: give the time at which the transaction ended");
    }
    if let Some(started_at) = view.started_at.filter(|started_at| at < *started_at) {
        bail!("--at {at} is before the start of the transaction at {started_at}");
    }
    Ok(at)
}

/// A text of a person, without blanks at its ends.
fn bounded(flag: &str, text: &str, chars_max: usize) -> Result<String> {
    let text = text.trim();
    let chars = text.chars().count();
    if chars == 0 {
        bail!("{flag} is empty: write a few words");
    }
    if chars > chars_max || text.contains(char::is_control) {
        bail!(
            "{flag} has {chars} characters: give at most {chars_max}, without line ends and control characters"
        );
    }
    Ok(text.to_owned())
}

/// Who closes the session: `--who`, else the account that runs this command, which `variable` of the environment names.
fn who(given: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<String> {
    if let Some(given) = given {
        return bounded("--who", given, WHO_CHARS_MAX);
    }
    ACCOUNT_VARIABLES
        .iter()
        .filter_map(|name| variable(name))
        .find_map(|name| bounded("the account", &name, WHO_CHARS_MAX).ok())
        .with_context(|| {
            format!(
                "the account that runs this command is not known ({} are not set or unusable): give --who NAME, the person \
                 who closes the session",
                ACCOUNT_VARIABLES.join(", ")
            )
        })
}

fn line(view: &TransactionView) -> String {
    let place = match (view.evse, view.connector) {
        (Some(evse), Some(connector)) => format!("EVSE {evse} connector {connector}"),
        (Some(evse), None) => format!("EVSE {evse}"),
        (None, Some(connector)) => format!("connector {connector}"),
        (None, None) => "connector not known".to_owned(),
    };
    let state = match (&view.closed, view.ended_at) {
        (_, Some(at)) => format!("ended {at}"),
        (Some(closed), None) => match &closed.by {
            ClosedBy::Superseded { .. } => format!("superseded {}", closed.at),
            ClosedBy::Person { who, .. } => format!("closed by {who}"),
        },
        (None, None) if view.open => "open".to_owned(),
        (None, None) => "ended".to_owned(),
    };
    format!(
        "{}  {}  {place}  {state}  started {}  last message {}  {}",
        view.key,
        view.charger_id,
        time(view.started_at),
        time(view.last_at),
        energy(view)
    )
}

fn shown(view: &TransactionView, ended_at: Timestamp) -> String {
    format!(
        "charger {}, started {}, ended {ended_at}, {}",
        view.charger_id,
        time(view.started_at),
        energy(view)
    )
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "not known".to_owned(), |at| at.to_string())
}

fn energy(view: &TransactionView) -> String {
    match view.energy_wh {
        Some(wh) => format!("{wh} Wh"),
        None => "energy not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::memory::sample::transaction;

    const NOW: Timestamp = Timestamp(1_770_000_000_000);

    fn open(last_ms_ago: i64) -> TransactionView {
        let mut view = transaction("CP-1", 1, true);
        view.open = true;
        view.ended_at = None;
        view.closed = None;
        view.started_at = Some(NOW.plus_millis(-3 * 3_600_000));
        view.last_at = Some(NOW.plus_millis(-last_ms_ago));
        view
    }

    fn refusal(view: &TransactionView, at: Option<Timestamp>) -> String {
        check(view, at, NOW, false)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn an_open_transaction_ends_at_its_last_message_or_at_the_given_time() {
        let view = open(SILENT_MS_MIN);
        assert_eq!(check(&view, None, NOW, false).ok(), view.last_at);
        let at = Some(NOW.plus_millis(-3_600_000));
        assert_eq!(check(&view, at, NOW, false).ok(), at);
    }

    #[test]
    fn a_transaction_with_a_recent_message_is_closed_only_by_force() {
        let view = open(SILENT_MS_MIN - 1);
        let text = refusal(&view, None);
        assert!(text.contains("CP-1") && text.contains("--force"), "{text}");
        assert!(check(&view, None, NOW, true).is_ok());
    }

    #[test]
    fn a_time_before_the_start_or_in_the_future_is_refused() {
        let view = open(SILENT_MS_MIN);
        assert!(refusal(&view, Some(NOW.plus_millis(1))).contains("future"));
        let before = NOW.plus_millis(-4 * 3_600_000);
        assert!(refusal(&view, Some(before)).contains("before the start"));
    }

    #[test]
    fn an_ended_or_closed_transaction_is_refused_with_its_end() {
        let mut ended = open(SILENT_MS_MIN);
        ended.open = false;
        ended.ended_at = Some(NOW.plus_millis(-60_000));
        assert!(refusal(&ended, None).contains("its stop says"));
        let mut superseded = open(SILENT_MS_MIN);
        superseded.supersede(Uuid::from_u128(5), NOW.plus_millis(-5), NOW);
        assert!(refusal(&superseded, None).contains("started on its connector"));
        let mut closed = open(SILENT_MS_MIN);
        let by = ClosedBy::Person {
            who: "alice".to_owned(),
            reason: "r".to_owned(),
            noted_at: NOW,
        };
        closed.close(by, NOW);
        assert!(refusal(&closed, None).contains("by alice"));
    }

    #[test]
    fn who_closes_is_given_or_the_account_and_never_invented() {
        let user = |name: &str| (name == "USER").then(|| "alice".to_owned());
        assert_eq!(who(None, user).ok().as_deref(), Some("alice"));
        assert_eq!(who(Some("bob"), user).ok().as_deref(), Some("bob"));
        assert!(who(Some(" "), user).is_err());
        for variable in [None, Some(String::new()), Some("x".repeat(101))] {
            let error = who(None, |_| variable.clone()).expect_err("not known");
            assert!(error.to_string().contains("give --who NAME"), "{error}");
        }
    }

    #[test]
    fn energy_that_is_not_known_is_not_shown_as_0() {
        let mut view = open(SILENT_MS_MIN);
        view.energy_wh = None;
        for text in [line(&view), shown(&view, NOW)] {
            assert!(text.ends_with("energy not known"), "{text}");
        }
        view.energy_wh = Some(0.0);
        assert!(line(&view).ends_with("  0 Wh"));
    }

    #[test]
    fn texts_are_bounded() {
        assert_eq!(
            bounded("--reason", "  a b ", 3).ok().as_deref(),
            Some("a b")
        );
        for text in ["", "  ", "abcd", "a\nb"] {
            assert!(bounded("--reason", text, 3).is_err(), "{text:?}");
        }
    }
}
