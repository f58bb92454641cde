//! `bursar setup`: a list of users, each told in four steps: account, keys, permissions, settings. What exists is used
//! and updated.

mod done;

use bursar_auth::Directory;
use bursar_execution::Conditions;
use bursar_model::PairRule;
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::onboarding::{KeyOutcome, Keys, ListArguments, Row};
use crate::commands::setup::done::{Done, DoneDocument};
use crate::render::{Page, bad, bold, caution, harmless, moment};
use crate::session::{Opened, Session};
use crate::{Exit, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
The file holds one user or a list of users, as JSON or TOML:
  [{\"user_id\": \"mara_ilves\", \"name\": \"Mara Ilves\", \"account_type\": \"retail\",
    \"broker_type\": \"kraken\", \"enabled\": true, \"description\": \"first customer\",
    \"email\": \"mara@example.com\", \"tier\": \"basic\", \"mode\": \"paper\",
    \"pairs\": [\"BTC-USD\"], \"max_position_usd\": \"40\"}]

What a user has and the file does not name stays, the exchange key too. All of it is written
or nothing, and then the exchange is asked about each new key. What would change is shown by
`bursar apply FILE --plan`.

Examples:
  bursar setup config/users/retail_kraken.json
  generate-user | bursar setup -")]
pub struct Setup {
    #[command(flatten)]
    list: ListArguments,
}

/// Users that were set up, in the order of the file.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SetUp<'a> {
    users: Vec<DoneDocument<'a>>,
}

impl Setup {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let (opened, list) = self.list.looked_at(session).await?;
        list.ask_about_looser(session)?;
        let (rows, mut keys) = list.write(&opened, session).await?;
        let mut page = Page::new();
        let mut all = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let done = tell(index, row, &mut keys, &opened, session).await?;
            done.describe(&mut page);
            all.push(done);
        }
        let exit = if all.iter().all(Done::has_key) {
            Exit::Done
        } else {
            Exit::Partial
        };
        let users = all.iter().map(Done::json).collect();
        session.console.answer(&page, &SetUp { users });
        Ok(exit)
    }
}

/// What was done for one user, and the key that is still to be shown to its exchange.
async fn tell(
    index: usize,
    row: &Row,
    keys: &mut Keys,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Done, Failure> {
    let id = &row.plan.entry.user_id;
    let user = opened.store.user(id).await?;
    let account = opened.store.account(&row.plan.account_id).await?;
    session.console.say(&bold(&format!("Setting up {id}")));

    session.console.step(1, 4, "Account");
    session
        .console
        .confirm(&match (row.changes.user_is_new, row.changes.has_any()) {
            (true, _) => format!(
                "user `{id}` created: {}, tier {}, {}",
                user.email,
                user.tier,
                moment(user.created_at)
            ),
            (false, true) => format!("user `{id}` exists and was updated"),
            (false, false) => format!("user `{id}` exists and is used"),
        });
    session.console.confirm(&if row.changes.account_is_new {
        format!(
            "account `{}` created at {}, role {}, mode {}",
            account.id(),
            account.broker(),
            account.role(),
            account.mode()
        )
    } else {
        format!("account `{}` exists and is used", account.id())
    });

    session.console.step(2, 4, "Credentials");
    let key = keys.admit(index, row, opened, session).await?;
    match &key {
        KeyOutcome::NotNeeded => session.console.confirm("a paper account needs no exchange key"),
        KeyOutcome::Kept(hint) => session
            .console
            .confirm(&format!("the sealed key …{hint} is kept")),
        KeyOutcome::Missing => session.console.say(&caution("no key was given; enter one later")),
        KeyOutcome::Failed(failure) => {
            session
                .console
                .say(&bad(&harmless(&format!("the key was not stored: {failure}"))));
            session.console.say(&harmless(&format!("  {}", failure.hint())));
        }
        KeyOutcome::Stored(stored) => {
            session.console.confirm(&format!(
                "the exchange says what the key may do: {}",
                stored.facts.key_rights
            ));
            session.console.confirm(&format!(
                "key …{} sealed and stored; user `{id}` can trade at {}",
                stored.facts.public_key_hint,
                account.broker()
            ));
        }
    }

    session.console.step(3, 4, "Permissions");
    let permissions = opened.store.permissions(id).await?;
    let limits = &permissions.limits;
    session.console.confirm(&format!(
        "position {}, daily loss {}, {} positions, trade-only {}",
        limits.max_position,
        limits.max_daily_loss,
        limits.max_positions,
        if permissions.trade_only { "yes" } else { "no" }
    ));
    session.console.confirm(&pairs_line(&limits.pairs));
    if let Some(reason) = &permissions.exceeds_tier {
        session
            .console
            .confirm(&format!("above the tier's ceiling, because: {reason}"));
    }

    session.console.step(4, 4, "Settings");
    let preferences = opened.store.preferences(id).await?;
    session.console.confirm(&format!(
        "risk level {}, trailing stop {}, take profit {}, auto-compound {}",
        preferences.risk_level,
        on_off(preferences.trailing_stop),
        on_off(preferences.take_profit),
        on_off(preferences.auto_compound)
    ));
    if user.enabled {
        session.console.confirm("user enabled");
    }
    Ok(Done {
        user,
        account,
        permissions,
        preferences,
        user_is_new: row.changes.user_is_new,
        account_is_new: row.changes.account_is_new,
        key,
    })
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn pairs_line(pairs: &PairRule) -> String {
    match pairs {
        PairRule::All => "pairs: all that the exchange offers".to_owned(),
        PairRule::Bases(bases) => format!("pairs of {} assets: {pairs}", bases.len()),
        PairRule::Only(only) => format!("{} pairs: {pairs}", only.len()),
    }
}
