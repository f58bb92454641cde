//! What people type less often: keys, the key store, users, copies of the trail.

use bursar_keystore::{SlotKind, Vault};
use bursar_model::UserId;

use crate::hand::{Hand, Line};
use crate::stage::{self, REENTERED, USERS};

/// An exchange key as it is entered.
#[derive(Clone, Debug)]
pub(crate) struct Entered {
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Entered {
    pub(crate) fn document(&self) -> String {
        serde_json::json!({ "api_key": self.key, "api_secret": self.secret }).to_string()
    }
}

impl Hand {
    pub(crate) async fn chore(&mut self, login: &str) -> Line {
        let (user, account, _) = *self.dice.one_of(&USERS);
        let typed = |words: String| Line::typed(login, &words);
        let number = self.dice.below(1_000_000);
        match self.dice.below(17) {
            0..=2 => typed(format!("credentials rotate {REENTERED} --yes")).with_input(Some(self.a_key())),
            3 => typed(format!("credentials rotate {REENTERED} --undo")),
            4 => typed(format!("credentials check {account}")),
            5 => typed("import-env".to_owned()).with_key(self.dice.one_of(&self.keys)),
            6 => {
                let key = *self.dice.one_of(&["api-key-pepper", "pseudonym-key"]);
                typed(format!("keystore rotate {key} --reason rehearsal"))
            }
            7 => {
                let left_out: String = self
                    .spare_slots()
                    .await
                    .iter()
                    .map(|slot| format!(" --leave-out {slot}"))
                    .collect();
                typed(format!(
                    "keystore rotate root{left_out} --recovery-file home/recovery-{number} --reason rehearsal --yes"
                ))
            }
            8 => match self.spare_slots().await.first() {
                Some(slot) => typed(format!("keystore slot remove {slot} --reason rehearsal --yes")),
                None => typed(format!("keystore slot add file home/spare-{number}")),
            },
            9 if self.dice.once_in(2) => typed("keystore seal --reason rehearsal".to_owned()),
            9 | 10 => typed(format!("errors reset {user} --reason rehearsal")),
            11 => typed(format!("user set-email {user} {user}-{number}@example.com")),
            12 => {
                let tier = *self.dice.one_of(&["basic", "pro", "enterprise"]);
                typed(format!("user set-tier guest-of-all {tier} --yes"))
            }
            13 | 14 => match self.a_guest().await {
                Some(guest) => typed(format!("user delete {guest} --reason rehearsal --yes")),
                None => typed(format!(
                    "user add guest-{number} --email guest-{number}@example.com --tier basic"
                )),
            },
            15 => typed(format!("audit export trail-{number}.jsonl")),
            _ => match stage::published_backups(&self.folder).pop() {
                Some(file) => typed(format!("backup verify {}", file.display())),
                None => typed(format!("loss show {user}")),
            },
        }
    }

    /// One of the keys of the account whose key is entered anew.
    pub(crate) fn a_key(&mut self) -> String {
        self.dice.one_of(&self.keys).document()
    }

    /// The slots with a file beside the one that the daemon unlocks the store with, which is the oldest.
    async fn spare_slots(&self) -> Vec<String> {
        let header = self.store.load_header().await.unwrap().unwrap();
        let files = header.slots.iter().filter(|slot| slot.kind == SlotKind::File);
        files.skip(1).map(|slot| slot.id.to_string()).collect()
    }

    /// Somebody who was added for nothing else.
    async fn a_guest(&mut self) -> Option<UserId> {
        let mut users = bursar_auth::Directory::users(self.store.as_ref()).await.unwrap();
        users.retain(|user| is_numbered(user.id.as_str()) && user.deleted_at.is_none());
        if users.is_empty() {
            return None;
        }
        Some(self.dice.one_of(&users).id.clone())
    }
}

fn is_numbered(user: &str) -> bool {
    user.strip_prefix("guest-")
        .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
