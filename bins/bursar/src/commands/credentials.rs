//! `bursar credentials`: exchange keys. A key is admitted, not just stored: the exchange is asked
//! what it may do, and one that can withdraw is refused.

mod entered;
mod erased;
pub(crate) mod rotate;

pub use entered::EnteredKey;
pub(crate) use entered::without_what_was_read;
pub(crate) use entered::{Holder, Holders, NamedKey, PARTS, from_environment, in_variables};

use std::iter;

use bursar_accounts::{AdmittedKey, KeyRefused, admit_key};
use bursar_audit::{Action, Draft, Subject};
use bursar_auth::{Account, Directory};
use bursar_broker::KeyRights;
use bursar_keystore::{CredentialFacts, CredentialMaterial, CredentialPlace, KeyStore, StagedCredential};
use bursar_model::{AccountId, AccountMode};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::credentials::erased::{Erased, ErasedDocument, superseded_of};
use crate::commands::credentials::rotate::SupersededDocument;
use crate::render::{Cell, Page, Table, Tone, moment};
use crate::session::{Opened, Session};
use crate::view::KeyDocument;
use crate::{Exit, Failure, brokers, prompt, view};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
The key store is unlocked with the unlock key that `bursar init` made, or with a passphrase
(`--passphrase-file FILE` in scripts).")]
pub enum Credentials {
    /// Enter a key; the exchange is asked what it may do before it is stored
    Set(Set),
    /// Another key of the same exchange account takes over; the one before is kept for a day
    Rotate(rotate::Rotate),
    /// Ask the exchange again what the stored key may do
    #[command(after_help = "Example:\n  bursar credentials check kraken-ilves")]
    Check(Named),
    /// Erase an account's key
    #[command(after_help = "Example:\n  bursar credentials delete kraken-ilves --reason compromised")]
    Delete(Named),
    /// Which accounts have a key, and what it may do
    #[command(after_help = "Example:\n  bursar credentials list")]
    List,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Key and secret are asked for, or read from standard input as JSON, or taken from the environment.
They are never arguments: everybody on the machine can read those.

Examples:
  bursar credentials set kraken-ilves
  bursar credentials set kraken-ilves < key.json      {\"api_key\": \"…\", \"api_secret\": \"…\"}
  bursar credentials set kraken-ilves --from-env      KRAKEN_USER_MARA_API_KEY, …_API_SECRET")]
pub struct Set {
    /// The account's id
    account: AccountId,
    /// From {BROKER}_MASTER_API_KEY or {BROKER}_USER_{NAME}_API_KEY, and …_API_SECRET of the same name
    #[arg(long)]
    from_env: bool,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The account's id
    account: AccountId,
}

impl Credentials {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Set(command) => set(&command, session).await,
            Self::Rotate(command) => command.run(session).await,
            Self::Check(command) => check(&command.account, session).await,
            Self::Delete(command) => delete(&command.account, session).await,
            Self::List => list(session).await,
        }
    }
}

async fn set(command: &Set, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let account = keyed_account(&command.account, &opened).await?;
    let owner = opened.store.user(account.owner()).await?;
    let previous = opened.store.credential_of(account.id()).await?;
    if let Some(previous) = &previous {
        prompt::dangerous(
            session.console,
            session.global.yes,
            &format!(
                "Account `{}` has a key already (…{}). Replace it?",
                account.id(),
                previous.public_key_hint
            ),
        )?;
    }
    let (keys, _) = session.unlocked(&opened).await?;
    let material = if command.from_env {
        from_environment(&account, &opened, session).await?
    } else {
        entered::entered(session)?
    };
    let mut replaced: Vec<CredentialFacts> = previous.iter().cloned().collect();
    if previous.is_some() {
        replaced.extend(superseded_of(account.id(), &opened).await?);
    }
    let stored = store(material, &account, previous.as_ref(), &keys, &opened, session).await?;

    let mut page = Page::new();
    page.line(format!(
        "the key of `{}` is sealed and stored; user `{}` can trade at {}",
        account.id(),
        account.owner(),
        account.broker()
    ));
    page.facts(stored.facts());
    let erased = Erased::all(replaced, &opened).await?;
    let first = ("the key before", "here; delete it at the exchange too");
    let words = iter::once(first).chain(iter::repeat(("the one before that", "with it")));
    for (key, words) in erased.iter().zip(words) {
        key.tell(words, &mut page);
    }
    for warning in &stored.admitted.warnings {
        session.console.warn(warning);
    }
    let enable = format!("bursar user enable {}", owner.id);
    if !owner.enabled {
        page.next_steps("Next", [(enable.as_str(), "the user is disabled")]);
    }
    let document = Entered {
        credential: stored.json(),
        erased: erased.iter().map(Erased::json).collect(),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// A key that was stored.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyStored")]
pub(crate) struct Entered<'a> {
    credential: StoredKeyDocument<'a>,
    /// The keys that it took the place of, newest first.
    erased: Vec<ErasedDocument<'a>>,
}

/// A key that was checked again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyChecked")]
pub(crate) struct Checked<'a> {
    credential: StoredKeyDocument<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AdmittedKey")]
pub(crate) struct StoredKeyDocument<'a> {
    #[serde(flatten)]
    key: KeyDocument<'a>,
    /// When the exchange was asked what it may do.
    checked_at: Timestamp,
    /// What the exchange calls the account, where it says so.
    broker_account_id: Option<&'a str>,
    warnings: &'a [String],
}

/// A key that was erased.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyDeleted")]
pub(crate) struct Deleted<'a> {
    deleted: KeyDocument<'a>,
    /// The key that it had taken the place of, where that was still kept.
    deleted_before_it: Option<ErasedDocument<'a>>,
    /// The newest backup in which a sealed copy of it is.
    last_backup_with_it: Option<Timestamp>,
    /// When that backup has to be gone, by the settings: nobody opens the key any more then.
    in_backups_until: Option<Timestamp>,
}

/// Every sealed key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Keys")]
pub(crate) struct Listed<'a> {
    credentials: Vec<KeyDocument<'a>>,
    /// Keys that others took the place of, kept for a while and not used.
    superseded: Vec<SupersededDocument<'a>>,
    accounts_without_key: Vec<&'a AccountId>,
}

/// The account, if it is one that can have a key.
async fn keyed_account(id: &AccountId, opened: &Opened) -> Result<Account, Failure> {
    let account = opened.store.account(id).await?;
    if !account.is_open() {
        return Err(Failure::refused(
            format!("rule account-open: account `{id}` is closed"),
            "add a new account with `bursar account add`",
        ));
    }
    match account.mode() {
        AccountMode::Live | AccountMode::Shadow => Ok(account),
        AccountMode::Paper => Err(Failure::refused(
            format!("rule paper-account: account `{id}` trades on paper and holds no key"),
            "the mode is fixed for ever; add a live account with `bursar account add`",
        )),
    }
}

/// A key that was stored, and what the exchange said of it.
pub(crate) struct StoredKey {
    pub facts: CredentialFacts,
    pub admitted: AdmittedKey,
}

impl StoredKey {
    pub(crate) fn facts(&self) -> Vec<(&'static str, Cell)> {
        vec![
            ("account", Cell::new(&self.facts.place.account)),
            ("ends with", Cell::new(&self.facts.public_key_hint)),
            ("rights", Cell::new(&self.facts.key_rights)),
            ("version", Cell::new(self.facts.version)),
            ("checked", Cell::new(moment(self.admitted.checked_at))),
        ]
    }

    fn json(&self) -> StoredKeyDocument<'_> {
        StoredKeyDocument {
            key: view::key_json(&self.facts),
            checked_at: self.admitted.checked_at,
            broker_account_id: self.admitted.venue_account_id.as_deref(),
            warnings: &self.admitted.warnings,
        }
    }
}

/// Asks the exchange what the key may do, and stores it sealed if that is to trade and no more.
pub(crate) async fn store(
    material: CredentialMaterial,
    account: &Account,
    previous: Option<&CredentialFacts>,
    keys: &KeyStore,
    opened: &Opened,
    session: &Session<'_>,
) -> Result<StoredKey, Failure> {
    let staged = keys.stage(&material)?;
    drop(material);
    let incoming = Incoming::asked(staged, account, opened, session).await?;
    let stored = incoming
        .store(account, previous, None, keys, opened, session)
        .await?;
    if previous.is_some() {
        opened.list_erased_keys().await?;
    }
    Ok(stored)
}

/// A key that the exchange was asked about, and that may be stored.
struct Incoming {
    staged: StagedCredential,
    rights: KeyRights,
    admitted: AdmittedKey,
}

impl Incoming {
    async fn asked(
        staged: StagedCredential,
        account: &Account,
        opened: &Opened,
        session: &Session<'_>,
    ) -> Result<Self, Failure> {
        let settings = &opened.installation.settings;
        let rights = brokers::key_rights(account, staged.signer(), settings, session.surroundings).await?;
        match admit_key(&rights) {
            Ok(admitted) => Ok(Self {
                staged,
                rights,
                admitted,
            }),
            Err(refused) => {
                record_refusal(account, &refused, opened, session).await?;
                Err(refusal(&refused, "nothing was stored"))
            }
        }
    }

    /// In the place of `previous`, if there is one, which is kept until then or erased now.
    async fn store(
        self,
        account: &Account,
        previous: Option<&CredentialFacts>,
        kept_until: Option<Timestamp>,
        keys: &KeyStore,
        opened: &Opened,
        session: &Session<'_>,
    ) -> Result<StoredKey, Failure> {
        let (staged, rights) = (self.staged, shown_rights(&self.rights));
        let act = session.act();
        let record = match previous {
            None => {
                let place = CredentialPlace {
                    account: account.id().clone(),
                    broker: account.broker().clone(),
                    mode: account.mode(),
                };
                keys.seal(staged, place, &rights, act.at)?
            }
            Some(previous) => keys.seal_successor(staged, previous, &rights, act.at)?,
        };
        let store = &opened.store;
        let identity = self.admitted.venue_account_id.as_deref();
        match previous {
            None => store.put_credential(&record, identity, &act).await?,
            Some(previous) => {
                store
                    .replace_credential(&record, previous, kept_until, identity, &act)
                    .await?;
            }
        }
        Ok(StoredKey {
            facts: record.facts,
            admitted: self.admitted,
        })
    }
}

fn shown_rights(rights: &KeyRights) -> String {
    rights.rights.join(", ")
}

fn refusal(refused: &KeyRefused, consequence: &str) -> Failure {
    Failure::refused(
        format!("rule key-rights: {refused}; {consequence}"),
        refused.hint(),
    )
}

async fn record_refusal(
    account: &Account,
    refused: &KeyRefused,
    opened: &Opened,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let act = session.act();
    let draft = Draft::new(session.actor()?, Action::CredentialRefused)
        .on(Subject::account(account.id()))
        .denied(&refused.reason);
    opened.store.record(draft, act.at).await?;
    Ok(())
}

async fn check(id: &AccountId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let account = keyed_account(id, &opened).await?;
    let facts = stored_key(id, &opened).await?;
    let (keys, _) = session.unlocked(&opened).await?;
    let signer = keys.load_signer(facts.id, &facts.place).await?;
    let settings = &opened.installation.settings;
    let rights = brokers::key_rights(&account, signer, settings, session.surroundings).await?;
    opened
        .store
        .put_key_rights(&facts, &rights, &session.act())
        .await?;
    match admit_key(&rights) {
        Err(refused) => Err(refusal(
            &refused,
            &format!("account `{id}` trades no more until it has another key"),
        )),
        Ok(admitted) => {
            for warning in &admitted.warnings {
                session.console.warn(warning);
            }
            let checked = StoredKey { facts, admitted };
            let mut page = Page::new();
            page.line(format!(
                "the key of `{id}` is fit for trading, and for nothing more"
            ));
            page.facts(checked.facts());
            let mut credential = checked.json();
            credential.key.rights = rights.rights.join(", ").into();
            session.console.answer(&page, &Checked { credential });
            Ok(Exit::Done)
        }
    }
}

async fn stored_key(id: &AccountId, opened: &Opened) -> Result<CredentialFacts, Failure> {
    opened.store.credential_of(id).await?.ok_or_else(|| {
        Failure::not_found(
            format!("account `{id}` has no key"),
            format!("enter one with `bursar credentials set {id}`"),
        )
    })
}

async fn delete(id: &AccountId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    opened.store.account(id).await?;
    let facts = stored_key(id, &opened).await?;
    prompt::dangerous(
        session.console,
        session.global.yes,
        &format!("Erase the key of account `{id}` (…{})?", facts.public_key_hint),
    )?;
    let mut erased = vec![facts.clone()];
    erased.extend(superseded_of(id, &opened).await?);
    opened
        .store
        .delete_credential(facts.id, facts.version, &session.act())
        .await?;
    opened.list_erased_keys().await?;
    let erased = Erased::all(erased, &opened).await?;
    let mut page = Page::new();
    page.line(format!(
        "the key of `{id}` is erased here; delete it at the exchange too"
    ));
    let mut erased = erased.iter();
    let backup = erased.next().and_then(|key| {
        key.tell_backup(&mut page);
        key.backup
    });
    let before = erased.next();
    if let Some(before) = before {
        before.tell(("the one before it", "with it"), &mut page);
    }
    let set = format!("bursar credentials set {id}");
    page.next_steps(
        "Next",
        [(set.as_str(), "a new key; until then the account does not trade")],
    );
    let document = Deleted {
        deleted: view::key_json(&facts),
        deleted_before_it: before.map(Erased::json),
        last_backup_with_it: backup.map(|backup| backup.at),
        in_backups_until: backup.map(|backup| backup.until),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

async fn list(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let keys = opened.store.current_credentials().await?;
    let superseded = opened.store.superseded_credentials().await?;
    let accounts = opened.store.accounts().await?;
    let mut table = Table::new(&[
        "ACCOUNT",
        "BROKER",
        "MODE",
        "ENDS WITH",
        "VERSION",
        "SINCE",
        "RIGHTS",
    ])
    .figures(&[4]);
    for key in &keys {
        table.row([
            Cell::new(&key.place.account),
            Cell::new(&key.place.broker),
            view::mode_cell(key.place.mode),
            Cell::new(format!("…{}", key.public_key_hint)),
            Cell::new(key.version),
            Cell::new(moment(key.created_at)),
            Cell::new(&key.key_rights),
        ]);
    }
    let missing: Vec<&AccountId> = accounts
        .iter()
        .filter(|account| account.is_open() && account.mode() != AccountMode::Paper)
        .filter(|account| view::key_of(account.id(), &keys).is_none())
        .map(Account::id)
        .collect();
    let mut page = Page::new();
    page.table(&table, "no key is stored");
    if !superseded.is_empty() {
        page.heading("Kept for a while, and not used");
        page.facts(superseded.iter().map(|old| {
            let text = format!("…{} until {}", old.facts.public_key_hint, moment(old.kept_until));
            (old.facts.place.account.as_str(), Cell::new(text).tone(Tone::Dim))
        }));
    }
    if !missing.is_empty() {
        page.heading("Accounts without a key");
        for id in &missing {
            page.facts([(
                "missing",
                Cell::new(format!("{id}  (bursar credentials set {id})")).tone(Tone::Caution),
            )]);
        }
    }
    let document = Listed {
        credentials: keys.iter().map(view::key_json).collect(),
        superseded: superseded.iter().map(SupersededDocument::of).collect(),
        accounts_without_key: missing,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}
