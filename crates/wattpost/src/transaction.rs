//! `wattpost transaction`: lists the sessions that have no stop, and closes those whose stop will not come.
//!
//! A charger that was replaced or that has lost a session never sends its stop. A later session on the same connector ends
//! it; where none follows, a person does. The entry is kept beside what the charger reported: no message is invented, and if
//! the stop still arrives, the end and the energy follow from it.

use crate::SettingsArgs;
use crate::config::Settings;
use crate::database::{self, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::Timestamp;
use central::model::{ClosedBy, TransactionView};
use central::ports::{CLOSING_REASON_CHARS_MAX, ChangeRequest, CloseRequest, NotClosed, Once};
use central::query::{self, TransactionFilter, parameters};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use uuid::Uuid;

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
    let reason = bounded("--reason", &args.reason, CLOSING_REASON_CHARS_MAX)?;
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
    let wanted = CloseRequest {
        key: args.key,
        ended_at: at,
        who,
        reason,
        is_forced: args.force,
        request: ChangeRequest::of(command_line()),
    };
    let closing = match database.closings.close_session(&wanted)? {
        Once::Done(closing) | Once::Repeated(closing) => closing,
        Once::Refused(refused) => bail!("{}", advice(&refused)),
        Once::Mismatch | Once::InUse => {
            bail!("the transaction was not closed; repeat the command")
        }
    };
    let shown = match database.queries.transaction(closing.key)? {
        Some(view) => shown(&view, closing.ended_at),
        None => format!("ended {}", closing.ended_at),
    };
    print_line!("{}: closed by {}; {shown}", closing.key, closing.who);
    Ok(())
}

/// Why the transaction was not closed, and what to do.
fn advice(refused: &NotClosed) -> String {
    match refused {
        NotClosed::Unknown { .. } => {
            format!("{refused}; `wattpost transaction list --open` prints the keys")
        }
        NotClosed::MayRun { .. } => {
            format!("{refused}; wait, or repeat the command with --force")
        }
        NotClosed::InFuture { .. } | NotClosed::BeforeStart { .. } => format!("--at {refused}"),
        NotClosed::Superseded { .. }
        | NotClosed::ClosedBefore { .. }
        | NotClosed::Stopped { .. }
        | NotClosed::Ended { .. } => refused.to_string(),
    }
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

    #[test]
    fn a_refusal_says_which_flag_helps() {
        let recent = NotClosed::MayRun {
            charger_id: "CP-1".to_owned(),
            key: Uuid::from_u128(1),
            last_at: NOW,
        };
        assert!(advice(&recent).ends_with("--force"), "{}", advice(&recent));
        let future = advice(&NotClosed::InFuture { at: NOW });
        assert!(future.starts_with("--at 2026-"), "{future}");
        let unknown = advice(&NotClosed::Unknown { key: Uuid::nil() });
        assert!(unknown.contains("list --open"), "{unknown}");
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
        let mut view = open(900_000);
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
