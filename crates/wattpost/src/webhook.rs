//! `wattpost webhook`: where events are sent, with the checks of the API.
//!
//! It writes to the database. A process with the API sends the events: it looks for webhooks that are due four times a
//! second. Only `test` sends, from this machine.

use crate::SettingsArgs;
use crate::config::Settings;
use crate::database::{self, Use};
use crate::origin::{command_line, machine};
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use api::webhooks::client::Client;
use api::webhooks::{new_secret, send_test};
use central::model::{
    CHARGER_ID_EXPECTED, WEBHOOK_SECRET_EXPECTED, WEBHOOKS_MAX, Webhook, WebhookId, WebhookPatch,
    WebhookSecret, WebhookView, is_charger_id,
};
use central::ports::{
    ChangeRequest, NewWebhook, NotRedelivered, Once, Unavailable, WebhookNotAdded, Webhooks,
};
use central::query::{PAGE_MAX, PageRequest};
use central::webhook_fields::{self, SINCE_EXPECTED};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use uuid::Uuid;

/// Bytes of stdin that are read for a secret: more than the longest one.
const SECRET_BYTES_MAX: u64 = 256;

/// Subcommands of `wattpost webhook`.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Add a webhook and print its secret, with which the receiver verifies messages. The secret is shown once.
    ///
    /// Its first event is the next one that is recorded. A process with the API (`wattpost serve`, `wattpost api`)
    /// sends it. What may be reached is in the settings `webhooks.allow_http` and `webhooks.allowed_networks`, which
    /// must be the same here and there.
    #[command(
        after_help = "Examples:\n  wattpost webhook add https://example.com/hook\n  wattpost webhook add https://example.com/hook --type 'transaction.*' --type charger.booted\n  wattpost webhook add https://example.com/hook --charger CP-17 --description billing"
    )]
    Add(AddArgs),
    /// List the webhooks, the oldest first: id, state, URL, events that wait.
    List(ListArgs),
    /// Show one webhook as JSON: what it sends, how far it is, its latest error.
    Show(OneArgs),
    /// Change what a webhook sends and where. Only what is given changes; its failed attempts are forgotten.
    Set(SetArgs),
    /// Make a new secret and print it. It is shown once.
    ///
    /// Messages are signed with both secrets for a while, so that the receiver can change over without losing one.
    Rotate(RotateArgs),
    /// Send one `webhook.test` message now and print what came of it as JSON.
    ///
    /// It is sent from this machine with the settings of this command; no API needs to run. Events are sent by the
    /// processes with the API, which may be on other machines; `POST /api/v1/webhooks/ID/test` sends a test from there.
    /// Exit code 0: the receiver accepted the message. 1: it did not.
    Test(OneArgs),
    /// Print the latest attempts to deliver events, the newest first, one JSON object per line.
    Deliveries(DeliveriesArgs),
    /// Send the events since an event or a time again, also those that were delivered.
    ///
    /// They have the `webhook-id` of their first delivery, so a receiver recognises them.
    #[command(
        after_help = "Examples:\n  wattpost webhook redeliver 0198c0de-0000-7000-8000-000000000001 --since 2026-01-31T12:00:00Z\n  wattpost webhook redeliver 0198c0de-0000-7000-8000-000000000001 --since 1042-1769860802000"
    )]
    Redeliver(RedeliverArgs),
    /// Send events again, beginning with those that were recorded while the webhook was disabled.
    Enable(OneArgs),
    /// Send nothing until the webhook is enabled. Its place in the log of events stays.
    Disable(OneArgs),
    /// Remove a webhook and the list of its attempts.
    Remove(OneArgs),
}

/// Flags of `webhook add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Where events are sent: https, without a user, a password and a fragment
    url: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Add it disabled; `wattpost webhook enable` begins with the first event after it was added
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    secret: SecretArgs,
}

/// What a webhook sends.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only events of this type, such as `charger.booted` or `transaction.*`; may be given several times [default: all]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of this charger [default: all]
    #[arg(long, value_name = "IDENTITY")]
    charger: Option<String>,
    /// A text that helps people to recognise it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// Flags about a new secret.
#[derive(Debug, Args)]
struct SecretArgs {
    /// Read the secret from the first line of stdin, instead of making one: whsec_ and the Base64 text of 24 to 64 bytes
    #[arg(long)]
    secret_stdin: bool,
    /// Print the webhook with its secret as one JSON object, instead of the secret alone
    #[arg(long)]
    json: bool,
}

/// Flags of `webhook list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// As JSON, one webhook per line
    #[arg(long)]
    json: bool,
}

/// A webhook.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The webhook's id
    id: Uuid,
}

/// Flags of `webhook set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Where events are sent
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Events of all types
    #[arg(long, conflicts_with = "types")]
    all_types: bool,
    /// Events of all chargers
    #[arg(long, conflicts_with = "charger")]
    all_chargers: bool,
}

/// Flags of `webhook rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    one: OneArgs,
    /// For how long messages are signed with the former secret too [default: 86400]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    former_valid_s: Option<i64>,
    #[command(flatten)]
    secret: SecretArgs,
}

/// Flags of `webhook deliveries`.
#[derive(Debug, Args)]
pub(crate) struct DeliveriesArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Attempts at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Flags of `webhook redeliver`.
#[derive(Debug, Args)]
pub(crate) struct RedeliverArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The id of the first event, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "EVENT|TIME")]
    since: String,
}

/// Prints the list, the webhook, or what was done; a secret alone on stdout.
pub(crate) fn run(command: &WebhookCommand) -> Result<ExitCode> {
    match command {
        WebhookCommand::Add(args) => add(args)?,
        WebhookCommand::List(args) => {
            let webhooks = database::open(&args.settings.load()?, Use::Read)?.webhooks;
            for webhook in webhooks.webhooks()? {
                match args.json {
                    true => print(&webhook)?,
                    false => print_line!("{}", line(&webhook)),
                }
            }
        }
        WebhookCommand::Show(args) => {
            let (webhooks, id) = open(args, Use::Read)?;
            print(&webhooks.webhook(id)?.with_context(|| unknown(id))?)?;
        }
        WebhookCommand::Set(args) => set(args)?,
        WebhookCommand::Rotate(args) => rotate(args)?,
        WebhookCommand::Test(args) => return test(args),
        WebhookCommand::Deliveries(args) => deliveries(args)?,
        WebhookCommand::Redeliver(args) => redeliver(args)?,
        WebhookCommand::Enable(args) => enable(args, true)?,
        WebhookCommand::Disable(args) => enable(args, false)?,
        WebhookCommand::Remove(args) => {
            let (webhooks, id) = open(args, Use::Change)?;
            if webhooks.remove_webhook(id, &request())?.is_err() {
                bail!(unknown(id));
            }
            print_line!("{id}: removed");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    let settings = args.settings.load()?;
    let patch = WebhookPatch {
        url: Some(url(&settings, &args.url)?),
        enabled: Some(!args.disabled),
        ..args.filter.patch()?
    };
    let secret = args.secret.read()?;
    let webhooks = database::open(&settings, Use::Change)?.webhooks;
    let new = NewWebhook {
        id: WebhookId(common::id::new_v7()),
        settings: patch.into_settings().context("--url is missing")?,
        secret: secret.clone(),
        request: request(),
    };
    match webhooks.add_webhook(&new)? {
        Once::Done(webhook) | Once::Repeated(webhook) => args.secret.print(&webhook, &secret),
        Once::Refused(WebhookNotAdded::TooMany) => bail!(
            "there are {WEBHOOKS_MAX} webhooks, which is the maximum; remove some (`wattpost webhook list` shows all)"
        ),
        // It has no idempotency key.
        Once::Refused(WebhookNotAdded::Removed(_)) | Once::Mismatch | Once::InUse => {
            bail!("the webhook was not added; try again")
        }
    }
}

fn set(args: &SetArgs) -> Result<()> {
    let settings = args.one.settings.load()?;
    let mut patch = args.filter.patch()?;
    if let Some(text) = &args.url {
        patch.url = Some(url(&settings, text)?);
    }
    if args.all_types {
        patch.types = Some(Vec::new());
    }
    if args.all_chargers {
        patch.charger_id = Some(None);
    }
    if patch == WebhookPatch::default() {
        bail!(
            "nothing is to be changed; give --url, --type, --all-types, --charger, --all-chargers or --description"
        );
    }
    change(&args.one, &patch)
}

fn enable(args: &OneArgs, enabled: bool) -> Result<()> {
    let patch = WebhookPatch {
        enabled: Some(enabled),
        ..WebhookPatch::default()
    };
    change(args, &patch)
}

fn change(args: &OneArgs, patch: &WebhookPatch) -> Result<()> {
    let (webhooks, id) = open(args, Use::Change)?;
    let changed = webhooks.change_webhook(id, patch, &request());
    print(&done(id, changed)?)
}

fn rotate(args: &RotateArgs) -> Result<()> {
    let request = request();
    let seconds = args.former_valid_s;
    let former_until = webhook_fields::former_until(seconds, request.origin.at);
    let former_until = former_until.with_context(|| {
        format!(
            "--former-valid-s is {}; give {}",
            seconds.unwrap_or_default(),
            webhook_fields::former_valid_expected()
        )
    })?;
    let secret = args.secret.read()?;
    let (webhooks, id) = open(&args.one, Use::Change)?;
    let rotated = webhooks.rotate_webhook(id, &secret, former_until, &request);
    args.secret.print(&done(id, rotated)?, &secret)
}

fn test(args: &OneArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    let webhooks = database::open(&settings, Use::Read)?.webhooks;
    let id = WebhookId(args.id);
    let found = webhooks.webhook_secrets(id)?;
    let (webhook, secrets) = found.with_context(|| unknown(id))?;
    let client = Client::new(settings.webhooks.client()).map_err(anyhow::Error::msg)?;
    eprintln!("sent from this machine ({})", machine());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let tested = runtime.block_on(send_test(&client, &webhook, &secrets, database::now()));
    // Resolving a name cannot be cancelled, and is not waited for.
    runtime.shutdown_background();
    print_line!("{}", serde_json::to_string(&tested).context("write JSON")?);
    Ok(match tested.delivered {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn deliveries(args: &DeliveriesArgs) -> Result<()> {
    let (webhooks, id) = open(&args.one, Use::Read)?;
    webhooks.webhook(id)?.with_context(|| unknown(id))?;
    let mut left = args.limit;
    let mut page = PageRequest {
        after: None,
        limit: args.limit.clamp(1, PAGE_MAX),
    };
    while left > 0 {
        let read = webhooks.webhook_attempts(id, &page, database::now())?;
        for attempt in read.items.iter().take(left) {
            print_line!("{}", serde_json::to_string(attempt).context("write JSON")?);
        }
        left = left.saturating_sub(read.items.len());
        page.after = read.next;
        if page.after.is_none() {
            break;
        }
    }
    Ok(())
}

fn redeliver(args: &RedeliverArgs) -> Result<()> {
    let from = webhook_fields::since(&args.since)
        .with_context(|| format!("--since is {:?}; give {SINCE_EXPECTED}", args.since))?;
    let (webhooks, id) = open(&args.one, Use::Change)?;
    match webhooks.redeliver_webhook(id, from, &request())? {
        Once::Done(webhook) | Once::Repeated(webhook) => print(&webhook),
        Once::Refused(NotRedelivered::UnknownEvent) => bail!(
            "the event {:?} is not in the log, or no longer kept; give a time to begin with the oldest event since then",
            args.since
        ),
        Once::Refused(NotRedelivered::Webhook(_)) => bail!(unknown(id)),
        // It has no idempotency key.
        Once::Mismatch | Once::InUse => bail!("nothing is sent again; try again"),
    }
}

impl FilterArgs {
    fn patch(&self) -> Result<WebhookPatch> {
        let types = (!self.types.is_empty()).then(|| self.types.clone());
        if !webhook_fields::are_types(&self.types) {
            bail!(
                "--type is {:?}; give {}",
                self.types.join(", "),
                webhook_fields::types_expected()
            );
        }
        if let Some(id) = self.charger.as_deref().filter(|id| !is_charger_id(id)) {
            bail!("--charger is {id:?}; give {CHARGER_ID_EXPECTED}");
        }
        let text = self.description.as_deref().unwrap_or_default();
        if !webhook_fields::is_description(text) {
            bail!(
                "--description has {} characters; give {}",
                text.chars().count(),
                webhook_fields::description_expected()
            );
        }
        Ok(WebhookPatch {
            types,
            charger_id: self.charger.clone().map(Some),
            description: self.description.clone(),
            ..WebhookPatch::default()
        })
    }
}

impl SecretArgs {
    fn read(&self) -> Result<WebhookSecret> {
        if !self.secret_stdin {
            return new_secret().context("get random bytes from the operating system");
        }
        let mut text = String::new();
        let mut stdin = std::io::stdin().lock().take(SECRET_BYTES_MAX);
        stdin
            .read_to_string(&mut text)
            .context("read the secret from stdin")?;
        let text = text.lines().next().unwrap_or_default();
        WebhookSecret::from_text(text).with_context(|| {
            format!("the first line of stdin is no secret; give {WEBHOOK_SECRET_EXPECTED}")
        })
    }

    /// Prints the webhook, and the secret in such a way that a script can store it.
    fn print(&self, webhook: &Webhook, secret: &WebhookSecret) -> Result<()> {
        #[derive(Serialize)]
        struct WithSecret {
            #[serde(flatten)]
            webhook: WebhookView,
            secret: String,
        }
        let secret = secret.expose();
        if self.json {
            let webhook = webhook.view(database::now());
            let shown = serde_json::to_string(&WithSecret { webhook, secret });
            print_line!("{}", shown.context("write JSON")?);
            return Ok(());
        }
        eprintln!(
            "{}\nThis is the only time that the secret is shown:",
            line(webhook)
        );
        print_line!("{secret}");
        Ok(())
    }
}

fn open(args: &OneArgs, purpose: Use) -> Result<(Arc<dyn Webhooks>, WebhookId)> {
    let database = database::open(&args.settings.load()?, purpose)?;
    Ok((database.webhooks, WebhookId(args.id)))
}

fn request() -> ChangeRequest {
    ChangeRequest::of(command_line())
}

fn done<R>(id: WebhookId, once: Result<Once<Webhook, R>, Unavailable>) -> Result<Webhook> {
    match once? {
        Once::Done(webhook) | Once::Repeated(webhook) => Ok(webhook),
        // Without a condition, only a webhook that does not exist is not changed.
        Once::Refused(_) => bail!(unknown(id)),
        // It has no idempotency key.
        Once::Mismatch | Once::InUse => bail!("webhook {id} was not changed; try again"),
    }
}

fn url(settings: &Settings, text: &str) -> Result<String> {
    match settings.webhooks.client().reach.target(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => bail!("the URL cannot be used: {error}"),
    }
}

fn unknown(id: WebhookId) -> String {
    format!("there is no webhook {id}; `wattpost webhook list` shows all")
}

fn print(webhook: &Webhook) -> Result<()> {
    let view = webhook.view(database::now());
    print_line!("{}", serde_json::to_string(&view).context("write JSON")?);
    Ok(())
}

fn line(webhook: &Webhook) -> String {
    let settings = &webhook.settings;
    let mut line = format!(
        "{}: {}, {}, {} events wait",
        webhook.id,
        webhook.state().as_str(),
        settings.url,
        webhook.waiting
    );
    if !settings.types.is_empty() {
        line.push_str(&format!(", only {}", settings.types.join(" ")));
    }
    if let Some(charger) = &settings.charger_id {
        line.push_str(&format!(", of charger {charger}"));
    }
    if !settings.description.is_empty() {
        line.push_str(&format!(", {}", settings.description));
    }
    line
}
