//! `bursar credentials rotate`: another key of the same exchange account takes over, and can be sent back.

use bursar_accounts::AdmittedKey;
use bursar_keystore::{KeyStore, LoadError, StagedCredential, Vault};
use bursar_model::AccountId;
use bursar_store_sqlite::SupersededKey;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::erased::{Erased, ErasedDocument, superseded_of};
use super::{Incoming, StoredKey, StoredKeyDocument, entered, from_environment, keyed_account, stored_key};
use crate::render::{Page, moment};
use crate::session::{Opened, Session};
use crate::view::KeyDocument;
use crate::{Exit, Failure, brokers, prompt, view};

/// How long the key before is kept, so that the change can be taken back.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Args)]
#[command(after_help = "\
The exchange is asked what the new key may do and whose it is: one that can withdraw, or that belongs to another
exchange account, is refused and nothing changes. A running daemon connects the account anew with the new key;
requests under way end with the old one. The old key is kept, sealed and unused, for 24 hours and then erased.
Delete it at the exchange when the account trades with the new one.

Examples:
  bursar credentials rotate kraken-ilves < key.json     {\"api_key\": \"…\", \"api_secret\": \"…\"}
  bursar credentials rotate kraken-ilves --undo         the key before takes over again")]
pub struct Rotate {
    /// The account's id
    account: AccountId,
    /// From {BROKER}_MASTER_API_KEY or {BROKER}_USER_{NAME}_API_KEY, and …_API_SECRET of the same name
    #[arg(long, conflicts_with = "undo")]
    from_env: bool,
    /// The key that was there before takes over again
    #[arg(long)]
    undo: bool,
}

impl Rotate {
    pub(crate) async fn run(&self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let account = keyed_account(&self.account, &opened).await?;
        let current = stored_key(&self.account, &opened).await?;
        let now = session.surroundings.now();
        let before = self.key_before(&opened, now).await?;
        if let Some(before) = before.as_ref().filter(|_| !self.undo) {
            prompt::dangerous(
                session.console,
                session.global.yes,
                &format!(
                    "The key before (…{}) can take over again until {}. Erase it now, for another new key?",
                    before.facts.public_key_hint,
                    moment(before.kept_until)
                ),
            )?;
        }
        let (keys, _) = session.unlocked(&opened).await?;
        let staged = match &before {
            Some(before) if self.undo => stored_again(before, &keys, &opened).await?,
            _ if self.from_env => keys.stage(&from_environment(&account, &opened, session).await?)?,
            _ => keys.stage(&entered::entered(session)?)?,
        };
        let now_used = keys.load_signer(current.id, &current.place).await?;
        if now_used.public_key() == staged.signer().public_key() {
            return Err(Failure::refused(
                format!("rule another-key: this is the key that `{}` has", self.account),
                "make a new key at the exchange, and enter that one",
            ));
        }
        let settings = &opened.installation.settings;
        let known = match &account.venue_account_id {
            Some(id) => Some(id.clone()),
            None => brokers::key_rights(&account, now_used, settings, session.surroundings)
                .await
                .ok()
                .and_then(|rights| rights.venue_account_id),
        };
        // What is taken back is not erased: it is stored anew.
        let erased = if self.undo {
            Vec::new()
        } else {
            superseded_of(&self.account, &opened).await?
        };
        let incoming = Incoming::asked(staged, &account, &opened, session).await?;
        self.refuse_other_account(known.as_deref(), &incoming.admitted)?;
        let now = session.surroundings.now();
        let kept = SupersededKey {
            facts: current,
            kept_until: now.saturating_add(KEPT).unwrap_or(now),
        };
        let (previous, until) = (Some(&kept.facts), Some(kept.kept_until));
        let stored = incoming
            .store(&account, previous, until, &keys, &opened, session)
            .await?;
        opened.list_erased_keys().await?;
        let erased = Erased::all(erased, &opened).await?;
        self.tell(&stored, &kept, &erased, session);
        Ok(Exit::Done)
    }

    /// The key that the one in use took the place of; with `--undo` there has to be one.
    async fn key_before(&self, opened: &Opened, now: Timestamp) -> Result<Option<SupersededKey>, Failure> {
        let kept = opened.store.superseded_credentials().await?;
        let before = kept
            .into_iter()
            // One whose time is over is only not erased yet.
            .find(|old| old.facts.place.account == self.account && old.kept_until > now);
        if before.is_none() && self.undo {
            return Err(Failure::not_found(
                format!("no key before the present one of `{}` is kept", self.account),
                format!("enter a key with `bursar credentials rotate {}`", self.account),
            ));
        }
        Ok(before)
    }

    fn refuse_other_account(&self, known: Option<&str>, admitted: &AdmittedKey) -> Result<(), Failure> {
        let id = &self.account;
        let (why, hint) = match (known, admitted.venue_account_id.as_deref()) {
            (Some(known), Some(new)) if known == new => return Ok(()),
            (Some(known), Some(new)) => (
                format!("`{id}` is account `{known}` at its exchange, and the new key belongs to `{new}`"),
                "make the new key in the same exchange account".to_owned(),
            ),
            _ => (
                format!("the exchange does not say whether both keys belong to the account of `{id}`"),
                format!("where you know that they do, run `bursar credentials set {id}` with the new key"),
            ),
        };
        Err(Failure::refused(
            format!("rule same-exchange-account: {why}; nothing changed"),
            hint,
        ))
    }

    fn tell(&self, stored: &StoredKey, kept: &SupersededKey, erased: &[Erased], session: &mut Session<'_>) {
        let mut page = Page::new();
        page.line(format!(
            "`{}` is traded with another key of the same exchange account from now on",
            self.account
        ));
        page.facts(stored.facts());
        page.line(format!(
            "the key before (…{}) is kept sealed until {} and then erased",
            kept.facts.public_key_hint,
            moment(kept.kept_until)
        ));
        for key in erased {
            key.tell(("the one before that", ""), &mut page);
        }
        let undo = format!("bursar credentials rotate {} --undo", self.account);
        let status = format!("bursar account show {}", self.account);
        page.next_steps(
            "Next",
            [
                (
                    status.as_str(),
                    "ready again? then delete the old key at the exchange",
                ),
                (undo.as_str(), "the key before takes over again"),
            ],
        );
        for warning in &stored.admitted.warnings {
            session.console.warn(warning);
        }
        let document = Rotated {
            credential: stored.json(),
            superseded: SupersededDocument::of(kept),
            erased: erased.iter().map(Erased::json).collect(),
        };
        session.console.answer(&page, &document);
    }
}

async fn stored_again(
    before: &SupersededKey,
    keys: &KeyStore,
    opened: &Opened,
) -> Result<StagedCredential, Failure> {
    let record = opened.store.get(before.facts.id).await?;
    let record = record.ok_or_else(|| {
        Failure::not_found(
            "the key before was erased meanwhile",
            "enter a new key instead of `--undo`",
        )
    })?;
    if opened.store.is_erased(record.facts.id).await? {
        return Err(LoadError::Erased { id: record.facts.id }.into());
    }
    Ok(keys.stage_stored(&record)?)
}

/// A key that took the place of another.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyRotated")]
pub(crate) struct Rotated<'a> {
    credential: StoredKeyDocument<'a>,
    superseded: SupersededDocument<'a>,
    /// The key before that one, where it was still kept.
    erased: Vec<ErasedDocument<'a>>,
}

/// A key that another took the place of.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SupersededKey")]
pub(crate) struct SupersededDocument<'a> {
    #[serde(flatten)]
    key: KeyDocument<'a>,
    /// From then on the daemon erases it.
    kept_until: Timestamp,
}

impl<'a> SupersededDocument<'a> {
    pub(super) fn of(old: &'a SupersededKey) -> Self {
        Self {
            key: view::key_json(&old.facts),
            kept_until: old.kept_until,
        }
    }
}
