//! Keys that a command erased, and until when backups have them.

use bursar_keystore::CredentialFacts;
use bursar_model::AccountId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Failure;
use crate::render::{Page, moment};
use crate::session::{LastBackup, Opened};
use crate::view::{KeyDocument, key_json};

/// A key that was erased.
pub(super) struct Erased {
    facts: CredentialFacts,
    /// The newest backup in which a sealed copy of it is.
    pub(super) backup: Option<LastBackup>,
}

impl Erased {
    /// Each of these, in their order.
    pub(super) async fn all(keys: Vec<CredentialFacts>, opened: &Opened) -> Result<Vec<Self>, Failure> {
        let mut all = Vec::new();
        for facts in keys {
            let backup = opened.last_backup(facts.created_at).await?;
            all.push(Self { facts, backup });
        }
        Ok(all)
    }

    /// `which`: what stands before the end of the key, and what after it.
    pub(super) fn tell(&self, (which, how): (&str, &str), page: &mut Page) {
        let line = format!("{which} (…{}) is erased {how}", self.facts.public_key_hint);
        page.line(line.trim_end());
        self.tell_backup(page);
    }

    pub(super) fn tell_backup(&self, page: &mut Page) {
        if let Some(backup) = &self.backup {
            page.line(format!(
                "a sealed copy of it is in the backup of {} and may be in older ones: delete them by {} \
                 (`backups.keep_days`)",
                moment(backup.at),
                backup.until.strftime("%F")
            ));
        }
    }

    pub(super) fn json(&self) -> ErasedDocument<'_> {
        ErasedDocument {
            key: key_json(&self.facts),
            last_backup_with_it: self.backup.map(|backup| backup.at),
            in_backups_until: self.backup.map(|backup| backup.until),
        }
    }
}

/// The keys of an account that others took the place of, newest first: they are erased with the next one.
pub(super) async fn superseded_of(
    account: &AccountId,
    opened: &Opened,
) -> Result<Vec<CredentialFacts>, Failure> {
    let superseded = opened.store.superseded_credentials().await?.into_iter().rev();
    let keys = superseded.map(|old| old.facts);
    Ok(keys.filter(|facts| facts.place.account == *account).collect())
}

/// A key that was erased.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ErasedKey")]
pub(crate) struct ErasedDocument<'a> {
    #[serde(flatten)]
    key: KeyDocument<'a>,
    /// The newest backup in which a sealed copy of it is.
    last_backup_with_it: Option<Timestamp>,
    /// When that backup has to be gone, by the settings: nobody opens the key any more then.
    in_backups_until: Option<Timestamp>,
}
