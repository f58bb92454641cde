//! `bursar user`: the people whose accounts are traded.

pub(crate) mod delete;

use bursar_auth::{AccountType, Directory, DisplayName, Email, NewUser, UserChange};
use bursar_config::Preferences;
use bursar_execution::Journal;
use bursar_model::{LatchId, Tier, UserId};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::Revision;
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::word;
use crate::commands::permissions::{ask_about_looser, preferences_without_effect, revise, within_tier};
use crate::commands::status;
use crate::render::{Cell, Page, Table, Tone};
use crate::session::Session;
use crate::view::{LatchDocument, PermissionsDocument, UserDocument};
use crate::{Exit, Failure, view};

#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user, disabled, with the limits of the tier
    Add(Add),
    /// All users
    #[command(after_help = "Example:\n  bursar user list")]
    List,
    /// Everything about a user
    #[command(after_help = "Example:\n  bursar user show mara_ilves")]
    Show(Named),
    /// Let a user's accounts trade; clears no switch
    #[command(after_help = "Example:\n  bursar user enable mara_ilves")]
    Enable(Named),
    /// Stop new entries of a user, softly
    #[command(after_help = "Example:\n  bursar user disable mara_ilves --reason holiday")]
    Disable(Named),
    /// Move a user to another tier: its limits take the place of the user's
    SetTier(SetTier),
    /// Close a user's accounts, erase the keys, and forget name and address, for good
    #[command(after_help = "\
Refused while an account has orders or positions. The id stays taken: orders, fills and the audit trail name it.

Example:
  bursar user delete mara_ilves --reason \"the contract ended\"")]
    Delete(Named),
    /// Where a user is reached from now on
    #[command(after_help = "Example:\n  bursar user set-email mara_ilves mara.ilves@example.com")]
    SetEmail(SetEmail),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The user's own limits become the defaults of the tier; what is looser then is shown and asked for. Whether the
user may change strategy settings and what happens at the limit of the day's loss stay as they are.

Examples:
  bursar user set-tier mara_ilves pro
  bursar user set-tier mara_ilves basic --keep-limits")]
pub struct SetTier {
    /// The user's id
    id: UserId,
    /// The tier from now on
    #[arg(value_parser = word::<Tier>())]
    tier: Tier,
    /// Leave the user's limits as they are; refused where they are above the ceiling of the tier
    #[arg(long)]
    keep_limits: bool,
}

#[derive(Debug, Args)]
pub struct SetEmail {
    /// The user's id
    id: UserId,
    /// The new address
    #[arg(value_name = "ADDRESS")]
    email: Email,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The id is given once and stays in the books when the user is deleted: choose one that is no name where that
matters. Records hold digests of name and address, which can be compared with a guess.

Example:
  bursar user add mara_ilves --email mara@example.com --tier basic --name \"Mara Ilves\"")]
pub struct Add {
    /// 1 to 64 of a-z, 0-9, - and _; orders and the audit trail name it also when the user is deleted
    id: UserId,
    /// Where to reach the user
    #[arg(long, value_name = "ADDRESS")]
    email: Email,
    /// Gives the default limits and their ceiling
    #[arg(long, value_parser = word::<Tier>())]
    tier: Tier,
    /// How people call the user
    #[arg(long)]
    name: Option<DisplayName>,
    /// What kind of customer the user is
    #[arg(long, value_parser = word::<AccountType>(), default_value = "retail")]
    account_type: AccountType,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The user's id
    id: UserId,
}

impl User {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Add(command) => add(command, session).await,
            Self::List => list(session).await,
            Self::Show(command) => status::of_user(&command.id, session).await,
            Self::Enable(command) => switch(&command.id, true, session).await,
            Self::Disable(command) => switch(&command.id, false, session).await,
            Self::Delete(command) => delete::run(&command.id, session).await,
            Self::SetTier(command) => set_tier(command, session).await,
            Self::SetEmail(command) => set_email(command, session).await,
        }
    }
}

async fn add(command: Add, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let limits = opened.installation.settings.tier(command.tier).default;
    let permissions = UserPermissions::new(limits);
    // Together: nobody is there without permissions, whatever ends this.
    let added = Revision {
        known: None,
        user: NewUser {
            id: command.id.clone(),
            email: command.email,
            name: command.name,
            tier: command.tier,
            account_type: command.account_type,
        },
        enabled: None,
        permissions: permissions.clone(),
        preferences: Preferences::default(),
        account: None,
    };
    revise(added, &opened, session).await?;
    let user = opened.store.user(&command.id).await?;

    let mut page = Page::new();
    page.line(format!("user `{}` added, disabled", user.id));
    page.facts(view::user_facts(&user));
    page.heading("Permissions");
    page.facts(view::limit_facts(&permissions, None));
    let account = format!(
        "bursar account add kraken-{} --user {} --broker kraken --role user",
        user.id, user.id
    );
    let enable = format!("bursar user enable {}", user.id);
    page.next_steps(
        "Next",
        [
            (account.as_str(), "the account that is traded"),
            (enable.as_str(), "trading begins when the account is connected"),
        ],
    );
    let document = Added {
        user: view::user_json(&user),
        permissions: view::permissions_json(&permissions, None),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// A user who was added.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserAdded")]
pub(crate) struct Added<'a> {
    user: UserDocument<'a>,
    permissions: PermissionsDocument<'a>,
}

/// All users.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Users")]
pub(crate) struct Listed<'a> {
    users: Vec<Row<'a>>,
    total_count: usize,
}

/// A user with the switches that stop them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserRow")]
struct Row<'a> {
    #[serde(flatten)]
    user: UserDocument<'a>,
    latches: Vec<LatchId>,
}

async fn list(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let users = opened.store.users().await?;
    let latches = opened.store.latches().await?;
    let mut table = Table::new(&["USER", "NAME", "TIER", "ENABLED", "SWITCHES", "E-MAIL", "CREATED"]);
    let mut rows = Vec::new();
    for user in &users {
        let stopping = view::latches_of_user(&latches, user, &opened.store.accounts_of(&user.id).await?);
        let (enabled, tone) = if user.enabled {
            ("yes", Tone::Good)
        } else {
            ("no", Tone::Dim)
        };
        let switches = match stopping.len() {
            0 => Cell::new("none").tone(Tone::Dim),
            on => Cell::new(format!("{on} on")).tone(Tone::Bad),
        };
        table.row([
            Cell::new(&user.id),
            Cell::new(user.name.as_ref().map_or("-", DisplayName::as_str)),
            Cell::new(user.tier),
            Cell::new(enabled).tone(tone),
            switches,
            Cell::new(&user.email),
            Cell::new(crate::render::moment(user.created_at)),
        ]);
        rows.push(Row {
            user: view::user_json(user),
            latches: stopping.iter().map(|latch| latch.id).collect(),
        });
    }
    let mut page = Page::new();
    page.table(&table, "there are no users; add one with `bursar user add`");
    let document = Listed {
        users: rows,
        total_count: users.len(),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

async fn switch(id: &UserId, enabled: bool, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let act = session.act();
    let before = opened
        .store
        .update_user(id, UserChange::Enabled(enabled), &act)
        .await?;
    let user = opened.store.user(id).await?;
    let accounts = opened.store.accounts_of(id).await?;
    let latches = opened.store.latches().await?;
    let stopping = view::latches_of_user(&latches, &user, &accounts);
    let word = if enabled { "enabled" } else { "disabled" };

    let mut page = Page::new();
    if before.enabled == enabled {
        page.line(format!("user `{id}` was {word} already"));
    } else {
        page.line(format!("user `{id}` is {word}"));
    }
    let open_accounts = accounts.iter().filter(|account| account.is_open()).count();
    let authorised = enabled && stopping.is_empty();
    let effect = match (enabled, stopping.is_empty(), open_accounts) {
        (false, ..) => "no new entries; positions can still be closed".to_owned(),
        (true, false, _) => "authorised, but switches that are on still stop the user".to_owned(),
        (true, true, 0) => "authorised; there is no account yet, so nothing is traded".to_owned(),
        (true, true, _) => "authorised; traded from now on while `bursard run` runs".to_owned(),
    };
    page.facts([
        ("user", Cell::new(user.shown_name())),
        ("e-mail", Cell::new(&user.email)),
        ("tier", Cell::new(user.tier)),
        ("enabled", view::yes_no(user.enabled)),
        ("trading authorised", view::yes_no(authorised)),
        ("effect", Cell::new(&effect)),
    ]);
    if !stopping.is_empty() && enabled {
        page.heading("Switches that still stop the user (enabling clears none)");
        page.table(&view::latch_table(stopping.iter().copied()), "");
        view::release_hints(&mut page, stopping.iter().copied());
    }
    let document = Switched {
        user: view::user_json(&user),
        changed: before.enabled != enabled,
        trading_authorised: authorised,
        effect: &effect,
        latches: view::latches_json(stopping),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// A user who was enabled or disabled.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserSwitched")]
pub(crate) struct Switched<'a> {
    user: UserDocument<'a>,
    /// Whether that was otherwise before.
    changed: bool,
    /// Whether neither the user nor a switch stands in the way of trading.
    trading_authorised: bool,
    /// The same in words.
    effect: &'a str,
    /// The switches that stop the user.
    latches: Vec<LatchDocument<'a>>,
}

/// A user who was moved to another tier.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserTier")]
pub(crate) struct Moved<'a> {
    user_id: &'a UserId,
    tier: Tier,
    tier_before: Tier,
    before: PermissionsDocument<'a>,
    permissions: PermissionsDocument<'a>,
    /// What lets more be done than before, or protects less.
    looser: Vec<&'a str>,
    /// The user's wishes that are looser than the permissions.
    preferences_without_effect: Vec<String>,
}

/// How a user is reached from now on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserEmail")]
pub(crate) struct Reached<'a> {
    user_id: &'a UserId,
    email: &'a Email,
    email_before: &'a Email,
    changed: bool,
}

async fn set_tier(command: SetTier, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let known = opened.store.known_user(&command.id).await?;
    let (user, before) = (&known.user, &known.permissions);
    let tier = opened.installation.settings.tier(command.tier);
    // What was allowed above another tier says nothing about this one.
    let usual = UserPermissions {
        limits: tier.default.clone(),
        exceeds_tier: None,
        ..before.clone()
    };
    let wanted = if command.keep_limits {
        UserPermissions {
            limits: before.limits.clone(),
            ..usual.clone()
        }
    } else {
        usual.clone()
    };
    let as_moved = bursar_auth::User {
        tier: command.tier,
        ..user.clone()
    };
    let after = within_tier(wanted, &usual, &as_moved, false, &opened, session).map_err(|failure| {
        let hint = format!(
            "leave out `--keep-limits`, or lower them first with `bursar permissions set {}`",
            user.id
        );
        Failure::new(failure.exit(), failure.message(), hint)
    })?;
    let looser = after.looser_than(before);
    ask_about_looser(user, &looser, session)?;
    let mut revision = known.revised(after.clone(), known.preferences.clone());
    revision.user.tier = command.tier;
    revise(revision, &opened, session).await?;
    let mut page = Page::new();
    page.line(format!(
        "user `{}` is of tier {}; it was of tier {}",
        user.id, command.tier, user.tier
    ));
    page.table(&view::limits_comparison(&before.limits, &after.limits), "");
    let without_effect = preferences_without_effect(&user.id, &after, &opened, session).await?;
    let document = Moved {
        user_id: &user.id,
        tier: command.tier,
        tier_before: user.tier,
        before: view::permissions_json(before, Some(&tier.ceiling)),
        permissions: view::permissions_json(&after, Some(&tier.ceiling)),
        looser: looser.iter().map(|looser| looser.what).collect(),
        preferences_without_effect: without_effect,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

async fn set_email(command: SetEmail, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let act = session.act();
    let change = UserChange::Email(command.email.clone());
    let before = opened.store.update_user(&command.id, change, &act).await?;
    let changed = before.email != command.email;
    let mut page = Page::new();
    if changed {
        page.line(format!(
            "`{}` is reached at {}; it was {}",
            command.id, command.email, before.email
        ));
    } else {
        page.line(format!(
            "`{}` was reached at {} already",
            command.id, command.email
        ));
    }
    let document = Reached {
        user_id: &command.id,
        email: &command.email,
        email_before: &before.email,
        changed,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}
