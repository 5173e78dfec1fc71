//! `wattpost site`: the places where chargers stand. `wattpost charger set --site` puts a charger there.

use crate::SettingsArgs;
use crate::config::Settings;
use crate::database::{self, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Result, bail};
use central::model::{
    ADDRESS_EXPECTED, LABEL_EXPECTED, LATITUDE_EXPECTED, LONGITUDE_EXPECTED, SITE_ID_EXPECTED,
    SITES_MAX, SitePatch, SiteView, TIME_ZONE_EXPECTED, is_address, is_label, is_latitude,
    is_longitude, is_site_id, is_time_zone,
};
use central::ports::{ChangeKind, ChangeRequest, Once, SiteChange, SiteNotChanged};
use central::query::PageRequest;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Subcommands of `wattpost site`.
#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// Add a site, or change one; values that are not named stay as they are, and an empty text removes a value.
    ///
    /// Examples:
    ///   wattpost site add depot-7 --name "Depot 7" --time-zone Europe/Berlin
    ///   wattpost site set depot-7 --latitude 52.52 --longitude 13.405
    ///   wattpost charger set CP-17 --site depot-7
    #[command(verbatim_doc_comment, visible_alias = "set")]
    Add(AddArgs),
    /// List the sites: id, name, number of chargers.
    List(SettingsArgs),
    /// Remove a site that has no chargers.
    Remove(OneArgs),
}

/// Flags of `site add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Id, which never changes: letters a-z, digits, '-', '_' and '.'
    id: String,
    /// Name that people see [default for a new site: its id]
    #[arg(long)]
    name: Option<String>,
    /// Postal address, on one line; empty removes it
    #[arg(long)]
    address: Option<String>,
    /// Name of the time zone, such as Europe/Berlin; empty removes it
    #[arg(long)]
    time_zone: Option<String>,
    /// Degrees north, with --longitude; empty removes it
    #[arg(long, allow_hyphen_values = true, requires = "longitude")]
    latitude: Option<String>,
    /// Degrees east, with --latitude; empty removes it
    #[arg(long, allow_hyphen_values = true, requires = "latitude")]
    longitude: Option<String>,
}

/// Flags of `site remove`.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Id
    id: String,
}

/// Prints the site after the change.
pub(crate) fn run(command: &SiteCommand) -> Result<ExitCode> {
    match command {
        SiteCommand::Add(args) => add(args)?,
        SiteCommand::List(settings) => list(&settings.load()?)?,
        SiteCommand::Remove(args) => remove(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    let id = args.id.trim();
    if !is_site_id(id) {
        bail!(
            "{:?} cannot be the id of a site; give {SITE_ID_EXPECTED}",
            args.id
        );
    }
    let patch = SitePatch {
        name: match &args.name {
            Some(name) if !is_label(name) => bail!("--name {name:?}: give {LABEL_EXPECTED}"),
            name => name.clone(),
        },
        address: text("--address", &args.address, ADDRESS_EXPECTED, is_address)?,
        time_zone: text(
            "--time-zone",
            &args.time_zone,
            TIME_ZONE_EXPECTED,
            is_time_zone,
        )?,
        latitude: degrees("--latitude", &args.latitude, LATITUDE_EXPECTED, is_latitude)?,
        longitude: degrees(
            "--longitude",
            &args.longitude,
            LONGITUDE_EXPECTED,
            is_longitude,
        )?,
    };
    let change = SiteChange {
        id: id.to_owned(),
        kind: ChangeKind::Set,
        patch,
        request: ChangeRequest::of(command_line()),
    };
    let chargers = database::open(&args.settings.load()?, Use::Change)?.chargers;
    match chargers.change_site(&change)? {
        Once::Done(site) | Once::Repeated(site) => print_line!("{}", line(&site)),
        Once::Refused(SiteNotChanged::HalfPosition) => {
            bail!("--latitude and --longitude must be given together, or removed together")
        }
        Once::Refused(SiteNotChanged::TooMany) => bail!(
            "there are {SITES_MAX} sites, which is the maximum; remove some with `wattpost site remove`"
        ),
        // It has neither a condition nor an idempotency key, and the site may exist.
        other => bail!("the site was not changed: {other:?}"),
    }
    Ok(())
}

/// A value that is set; an empty text removes it.
fn text(
    flag: &str,
    given: &Option<String>,
    expected: &str,
    is_valid: fn(&str) -> bool,
) -> Result<Option<Option<String>>> {
    match given.as_deref() {
        None => Ok(None),
        Some("") => Ok(Some(None)),
        Some(value) if is_valid(value) => Ok(Some(Some(value.to_owned()))),
        Some(value) => bail!("{flag} {value:?}: give {expected}, or an empty text"),
    }
}

fn degrees(
    flag: &str,
    given: &Option<String>,
    expected: &str,
    is_valid: fn(f64) -> bool,
) -> Result<Option<Option<f64>>> {
    match given.as_deref() {
        None => Ok(None),
        Some("") => Ok(Some(None)),
        Some(value) => match value.parse().ok().filter(|degrees| is_valid(*degrees)) {
            Some(degrees) => Ok(Some(Some(degrees))),
            None => bail!("{flag} {value:?}: give {expected}, or an empty text"),
        },
    }
}

fn list(settings: &Settings) -> Result<()> {
    let chargers = database::open(settings, Use::Read)?.chargers;
    let mut page = PageRequest::default();
    loop {
        let found = chargers.site_page(&page)?;
        for site in &found.items {
            print_line!("{}", line(site));
        }
        match found.next {
            None => return Ok(()),
            next => page.after = next,
        }
    }
}

fn remove(args: &OneArgs) -> Result<()> {
    let chargers = database::open(&args.settings.load()?, Use::Change)?.chargers;
    let request = ChangeRequest::of(command_line());
    match chargers.remove_site(&args.id, &request)? {
        Ok(()) => print_line!("{}: removed", args.id),
        Err(SiteNotChanged::HasChargers(count)) => bail!(
            "chargers belong to the site {:?}: {count}; give them another site with `wattpost charger set ID --site SITE`, or \
             none with --no-site",
            args.id
        ),
        Err(_) => bail!("there is no site {:?}", args.id),
    }
    Ok(())
}

fn line(view: &SiteView) -> String {
    let site = &view.site;
    let mut line = format!("{}: {}, chargers: {}", site.id, site.name, view.chargers);
    for text in [&site.address, &site.time_zone].into_iter().flatten() {
        line.push_str(&format!(", {text}"));
    }
    if let (Some(latitude), Some(longitude)) = (site.latitude, site.longitude) {
        line.push_str(&format!(", {latitude} {longitude}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_removes_a_value_and_a_wrong_one_is_named() {
        let zone = |given: &str| {
            let given = Some(given.to_owned());
            text("--time-zone", &given, TIME_ZONE_EXPECTED, is_time_zone)
        };
        assert_eq!(zone("").unwrap(), Some(None));
        assert_eq!(zone("UTC").unwrap(), Some(Some("UTC".to_owned())));
        let error = zone("Berlin").unwrap_err().to_string();
        assert!(error.contains("--time-zone \"Berlin\""), "{error}");
        let north = |given: &str| {
            let given = Some(given.to_owned());
            degrees("--latitude", &given, LATITUDE_EXPECTED, is_latitude)
        };
        assert_eq!(north("-52.5").unwrap(), Some(Some(-52.5)));
        for bad in ["91", "NaN", "inf", "north", "52,5"] {
            assert!(
                north(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("from -90 to 90")
            );
        }
    }
}
