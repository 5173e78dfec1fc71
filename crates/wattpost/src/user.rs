//! `wattpost user`: the local users of the dashboard.
//!
//! It writes to the database, which running APIs read every few seconds.

use crate::SettingsArgs;
use crate::apikey::ScopeArg;
use crate::database::{self, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::model::{
    USER_NAME_EXPECTED, USER_PASSWORD_EXPECTED, User, UserPasswordHash, is_user_password, user_name,
};
use central::ports::{USERS_MAX, UserChange, UserNotAdded};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Characters of a password that is made: 20 of base 62 are more than 100 random bits.
const MADE_CHARACTERS: usize = 20;

/// Subcommands of `wattpost user`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, who signs in to the dashboard with a name and a password. Without --password-stdin, a password is made
    /// and printed; it is shown once: only a hash of it is stored.
    ///
    /// From then on, the API answers no request without a key or a session (except health and metrics).
    ///
    /// Examples:
    ///   wattpost user add anna --scope operate
    ///   wattpost user add anna --scope admin --password-stdin < anna.password
    #[command(verbatim_doc_comment)]
    Add(AddArgs),
    /// List the users: name, scope, when they were added, the latest sign-in.
    List(SettingsArgs),
    /// Let a disabled user sign in again.
    Enable(OneArgs),
    /// Keep a user from signing in. The sessions of the user end within a few seconds.
    Disable(OneArgs),
    /// Remove a user. The sessions of the user end within a few seconds.
    Remove(OneArgs),
    /// Set a new password. The sessions of the user end within a few seconds.
    Password(PasswordArgs),
}

/// Flags of `user add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    user: PasswordArgs,
    /// What the user may do; each scope includes those before it
    #[arg(long, value_enum, default_value_t = ScopeArg::Read)]
    scope: ScopeArg,
}

/// Flags of `user password`.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Name with which the user signs in; letter case is ignored
    name: String,
    /// Read the password from the first line of stdin, instead of making one
    #[arg(long)]
    password_stdin: bool,
}

/// Flags of `user enable`, `user disable` and `user remove`.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Name
    name: String,
}

/// Prints the list, or what was done; a password that was made alone on stdout.
pub(crate) fn run(command: &UserCommand) -> Result<ExitCode> {
    match command {
        UserCommand::Add(args) => add(args)?,
        UserCommand::List(settings) => {
            let users = database::open(&settings.load()?, Use::Read)?.users;
            for (user, _) in users.users()? {
                print_line!("{}", line(&user));
            }
        }
        UserCommand::Enable(args) => set_disabled(args, false)?,
        UserCommand::Disable(args) => set_disabled(args, true)?,
        UserCommand::Remove(args) => {
            let name = name(&args.name)?;
            let users = database::open(&args.settings.load()?, Use::Change)?.users;
            if users.remove_user(&name, false, &command_line())?.is_err() {
                bail!("there is no user {name:?}; `wattpost user list` shows all");
            }
            print_line!("{name}: removed");
        }
        UserCommand::Password(args) => set_password(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    let name = name(&args.user.name)?;
    let password = Password::read(&args.user)?;
    let users = database::open(&args.user.settings.load()?, Use::Change)?.users;
    let origin = command_line();
    let user = User {
        id: common::id::new_v7(),
        name,
        scope: args.scope.scope(),
        created_at: origin.at,
        disabled_at: None,
        password_changed_at: origin.at,
        last_sign_in_at: None,
    };
    match users.add_user(&user, &password.hash()?, &origin)? {
        Ok(()) => {}
        Err(UserNotAdded::NameTaken) => bail!(
            "there is a user {:?} already; choose another name, or set a new password with `wattpost user password`",
            user.name
        ),
        Err(UserNotAdded::TooMany) => bail!(
            "there are {USERS_MAX} users, which is the maximum; remove some (`wattpost user list` shows all)"
        ),
    }
    eprintln!("{}", line(&user));
    password.print_made();
    Ok(())
}

fn set_password(args: &PasswordArgs) -> Result<()> {
    let name = name(&args.name)?;
    let password = Password::read(args)?;
    let users = database::open(&args.settings.load()?, Use::Change)?.users;
    let change = UserChange {
        password: Some(password.hash()?),
        ..UserChange::default()
    };
    if users.change_user(&name, &change, &command_line())?.is_err() {
        bail!("there is no user {name:?}; `wattpost user list` shows all");
    }
    eprintln!("{name}: the password is set");
    password.print_made();
    Ok(())
}

fn set_disabled(args: &OneArgs, is_disabled: bool) -> Result<()> {
    let name = name(&args.name)?;
    let users = database::open(&args.settings.load()?, Use::Change)?.users;
    let change = UserChange {
        is_disabled: Some(is_disabled),
        ..UserChange::default()
    };
    let changed = users.change_user(&name, &change, &command_line())?;
    let Ok((user, _)) = changed else {
        bail!("there is no user {name:?}; `wattpost user list` shows all");
    };
    print_line!("{}", line(&user));
    Ok(())
}

/// A password that was given or made. It has no `Debug`, so that it cannot get into a log by accident.
struct Password {
    text: String,
    is_made: bool,
}

impl Password {
    fn read(args: &PasswordArgs) -> Result<Self> {
        if !args.password_stdin {
            return Ok(Self {
                text: made()?,
                is_made: true,
            });
        }
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .context("read the password from stdin")?;
        let text = line.trim_end_matches(['\r', '\n']).to_owned();
        if !is_user_password(&text) {
            bail!(
                "the password has {} characters; give {USER_PASSWORD_EXPECTED}",
                text.chars().count()
            );
        }
        Ok(Self {
            text,
            is_made: false,
        })
    }

    fn hash(&self) -> Result<UserPasswordHash> {
        api::hash_password(&self.text)
            .map_err(|error| anyhow::anyhow!("failed to hash the password: {error}"))
    }

    /// The password alone on stdout, so that a script can store it.
    fn print_made(&self) {
        if self.is_made {
            eprintln!("This is the only time that the password is shown:");
            print_line!("{}", self.text);
        }
    }
}

fn made() -> Result<String> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::new();
    while text.len() < MADE_CHARACTERS {
        let mut random = [0_u8; 64];
        getrandom::fill(&mut random).context("get random bytes from the operating system")?;
        // Bytes above the largest multiple of 62 are left out, so that all characters are equally frequent.
        let digits = random.iter().filter(|byte| **byte < 248);
        let digits = digits.map(|byte| char::from(ALPHABET[usize::from(*byte % 62)]));
        text.extend(digits.take(MADE_CHARACTERS - text.len()));
    }
    Ok(text)
}

fn name(text: &str) -> Result<String> {
    user_name(text).with_context(|| {
        format!("{text:?} cannot be the name of a user: give {USER_NAME_EXPECTED}")
    })
}

fn line(user: &User) -> String {
    let mut line = format!("{}: {}, added {}", user.name, user.scope, user.created_at);
    if let Some(at) = user.disabled_at {
        line.push_str(&format!(", disabled {at}"));
    }
    match user.last_sign_in_at {
        Some(at) => line.push_str(&format!(", last signed in {at}")),
        None => line.push_str(", never signed in"),
    }
    line
}
