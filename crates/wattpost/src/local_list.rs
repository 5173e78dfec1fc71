//! `wattpost local-list`: which tokens the chargers' local authorization lists hold.
//!
//! The command line changes the wish only. A running gateway or consumer brings the lists to the chargers.

use crate::SettingsArgs;
use crate::database::{self, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::local_list::{LocalList, Wish};
use central::model::{CHARGER_ID_EXPECTED, Token, is_charger_id};
use central::ports::LocalListFilter;
use central::query::{PAGE_MAX, PageRequest};
use central::token_fields;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Subcommands of `wattpost local-list`.
#[derive(Debug, Subcommand)]
pub(crate) enum LocalListCommand {
    /// Set which tokens the list of a charger, or of all chargers without a wish of their own, holds.
    Set(SetArgs),
    /// Remove a wish; the list at the charger stays as it is.
    Remove(RemoveArgs),
    /// Show each charger's list: state, versions, and why.
    List(ListArgs),
}

/// One charger or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Identity of the charger; letter case is ignored
    charger: Option<String>,
    /// All chargers without a wish of their own
    #[arg(long)]
    all_chargers: bool,
}

/// Flags of `local-list set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    which: Which,
    /// all, none, or group:ID; only tokens that may charge are in a list
    #[arg(long, value_name = "all|none|group:ID")]
    tokens: String,
}

/// Flags of `local-list remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    which: Which,
}

/// Flags of `local-list list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// As JSON, one list per line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &LocalListCommand) -> Result<ExitCode> {
    match command {
        LocalListCommand::Set(args) => set(args)?,
        LocalListCommand::Remove(args) => remove(args)?,
        LocalListCommand::List(args) => list(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn set(args: &SetArgs) -> Result<()> {
    let wish = wish_of(&args.tokens)?;
    let charger = charger_of(&args.which)?;
    let lists = database::open(&args.settings.load()?, Use::Change)?.local_lists;
    lists.set_list_wish(charger, Some(&wish), &command_line())?;
    print_line!("{}: {}", charger.unwrap_or("all chargers"), args.tokens);
    Ok(())
}

fn remove(args: &RemoveArgs) -> Result<()> {
    let charger = charger_of(&args.which)?;
    let lists = database::open(&args.settings.load()?, Use::Change)?.local_lists;
    let name = charger.unwrap_or("all chargers");
    if !lists.set_list_wish(charger, None, &command_line())? {
        bail!("there is no wish for {name}");
    }
    print_line!("{name}: removed");
    Ok(())
}

fn list(args: &ListArgs) -> Result<()> {
    let lists = database::open(&args.settings.load()?, Use::Read)?.local_lists;
    let mut page = PageRequest {
        after: None,
        limit: PAGE_MAX,
    };
    loop {
        let found = lists.local_list_page(&LocalListFilter::default(), &page)?;
        for list in &found.items {
            match args.json {
                true => print_line!("{}", serde_json::to_string(&list.view())?),
                false => print_line!("{}", line(list)),
            }
        }
        page.after = found.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

fn charger_of(which: &Which) -> Result<Option<&str>> {
    match which.charger.as_deref() {
        None => Ok(None),
        Some(id) if is_charger_id(id) => Ok(Some(id)),
        Some(id) => bail!("{id:?} is not an identity; give {CHARGER_ID_EXPECTED}"),
    }
}

fn wish_of(text: &str) -> Result<Wish> {
    match text.split_once(':') {
        None if text == "all" => Ok(Wish::All),
        None if text == "none" => Ok(Wish::None),
        Some(("group", group)) => {
            token_fields::set(&mut Token::accepted(""), "group", Some(group))
                .context("read --tokens")?;
            Ok(Wish::Group(group.to_owned()))
        }
        _ => bail!("--tokens is {text:?}; give all, none or group:ID"),
    }
}

fn line(list: &LocalList) -> String {
    let view = list.view();
    let mut line = format!("{}: {}", view.charger_id, view.state.as_str());
    if let Some(entries) = view.entries_wanted {
        line.push_str(&format!(", {entries} tokens"));
    }
    if let Some(version) = view.version_at_charger {
        line.push_str(&format!(", version {version} at the charger"));
    }
    if let Some(why) = &view.why {
        line.push_str(&format!(": {why}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_all_none_or_a_group() {
        let read = |text: &str| wish_of(text).ok();
        assert_eq!(read("all"), Some(Wish::All));
        assert_eq!(read("none"), Some(Wish::None));
        assert_eq!(read("group:A:B"), Some(Wish::Group("A:B".to_owned())));
        for text in ["", "ALL", "group", "group:", "tokens:x", "group: x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
