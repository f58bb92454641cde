//! Where a key comes in: a prompt, standard input or the environment. Never an argument.

use std::collections::BTreeSet;

use bursar_auth::{Account, Directory, NewAccount};
use bursar_keystore::{CredentialMaterial, Secret};
use bursar_model::{AccountId, AccountMode, AccountRole, BrokerId, UserId};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::session::{Opened, Session};
use crate::{Failure, prompt};

/// Key and secret, as they come in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnteredKey {
    #[serde(alias = "key")]
    api_key: Secret,
    #[serde(alias = "secret")]
    api_secret: Secret,
    #[serde(default)]
    passphrase: Option<Secret>,
    /// What `bursard sandbox` prints beside a key: its line is taken as it is.
    #[serde(default, rename = "customer")]
    _customer: IgnoredAny,
    #[serde(default, rename = "balances")]
    _balances: IgnoredAny,
    #[serde(default, rename = "rights")]
    _rights: IgnoredAny,
    #[serde(default, rename = "url")]
    _url: IgnoredAny,
}

impl EnteredKey {
    /// Reads the JSON that is piped in, and wipes it.
    pub fn parse(text: String) -> Result<Self, Failure> {
        let read = serde_json::from_str::<Self>(&text).map_err(|error| {
            let what = cause(&error);
            Failure::usage(
                format!(
                    "standard input is not a key: line {}, column {}{what}",
                    error.line(),
                    error.column()
                ),
                "pipe in {\"api_key\": \"…\", \"api_secret\": \"…\"}, or use `--from-env`",
            )
        });
        drop(Secret::from_text(text));
        read
    }

    pub fn material(self) -> CredentialMaterial {
        let material = CredentialMaterial::new(self.api_key, self.api_secret);
        match self.passphrase {
            None => material,
            Some(passphrase) => material.with_passphrase(passphrase),
        }
    }
}

/// What was wrong with a key, as `: …`, and nothing of it.
fn cause(error: &serde_json::Error) -> String {
    let message = error.to_string();
    if error.is_data() {
        // The reader's own message may repeat what it read.
        return without_what_was_read(&message);
    }
    // What it says of the form repeats nothing, and ends with the place, which is told already.
    let form = message.split(" at line ").next().unwrap_or_default();
    format!(": this is not JSON: {form}")
}

/// What of a reader's message names our own fields and nothing that was read: as `: …`, or nothing.
pub(crate) fn without_what_was_read(message: &str) -> String {
    match message.split('`').collect::<Vec<_>>().as_slice() {
        [what @ ("duplicate field " | "missing field "), field, ..] => format!(": {what}`{field}`"),
        ["unknown field ", ..] => ": a field that does not belong there".to_owned(),
        [what, ..] if what.starts_with("invalid ") || what.starts_with("expected a secret") => {
            ": a value of another kind than belongs there".to_owned()
        }
        _ => String::new(),
    }
}

pub(super) fn entered(session: &mut Session<'_>) -> Result<CredentialMaterial, Failure> {
    if session.console.can_ask() {
        let beforehand = "pipe JSON in, or use `--from-env`";
        let api_key = prompt::secret(session.console, "API key", beforehand)?;
        let api_secret = prompt::secret(session.console, "API secret", beforehand)?;
        return Ok(CredentialMaterial::new(api_key, api_secret));
    }
    let text = prompt::document(session.console, std::path::Path::new("-"))?;
    EnteredKey::parse(text).map(EnteredKey::material)
}

/// An account for which the environment may hold a key.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) account: AccountId,
    broker: BrokerId,
    role: AccountRole,
    owner: UserId,
}

impl Holder {
    /// `None` for an account that can have no key.
    pub(crate) fn of(account: &Account) -> Option<Self> {
        let has_key = account.is_open() && account.mode() != AccountMode::Paper;
        has_key.then(|| Self {
            account: account.id().clone(),
            broker: account.broker().clone(),
            role: account.role(),
            owner: account.owner().clone(),
        })
    }

    /// How the names of the variables may begin: with the user's whole id, or its first part.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.role {
            AccountRole::Master => vec![format!("{}_MASTER", in_variables(self.broker.as_str()))],
            AccountRole::User => names_of(&self.owner, &self.broker),
        }
    }
}

fn names_of(user: &UserId, broker: &BrokerId) -> Vec<String> {
    let (id, broker) = (user.as_str(), in_variables(broker.as_str()));
    let first = id.split(['_', '-']).next().unwrap_or(id);
    let mut names = vec![format!("{broker}_USER_{}", in_variables(id))];
    if first != id {
        names.push(format!("{broker}_USER_{}", in_variables(first)));
    }
    names
}

/// Everybody whom a variable could be meant for.
#[derive(Clone, Debug)]
pub(crate) struct Holders {
    /// Accounts that can have a key.
    accounts: Vec<Holder>,
    /// All users, also those who have no such account: their keys are no other's.
    users: BTreeSet<UserId>,
}

impl Holders {
    pub(crate) async fn all(opened: &Opened) -> Result<Self, Failure> {
        let accounts = opened.store.accounts().await?;
        let users = opened.store.users().await?;
        Ok(Self {
            accounts: accounts.iter().filter_map(Holder::of).collect(),
            users: users.into_iter().map(|user| user.id).collect(),
        })
    }

    /// Also an account that is about to be added, and its user.
    pub(crate) fn add(&mut self, new: &NewAccount) {
        self.users.insert(new.owner.clone());
        if new.mode != AccountMode::Paper {
            self.accounts.push(Holder {
                account: new.id.clone(),
                broker: new.broker.clone(),
                role: new.role,
                owner: new.owner.clone(),
            });
        }
    }

    pub(crate) fn accounts(&self) -> &[Holder] {
        &self.accounts
    }

    pub(crate) fn of(&self, account: &AccountId) -> Option<&Holder> {
        self.accounts.iter().find(|holder| holder.account == *account)
    }

    /// Whom else than `holder` a name fits.
    fn other(&self, name: &str, holder: &Holder) -> Option<String> {
        let fits = |names: Vec<String>| names.iter().any(|their| their == name);
        let mut accounts = self.accounts.iter();
        let account = accounts.find(|other| other.account != holder.account && fits(other.names()));
        if let Some(other) = account {
            return Some(format!("account `{}`", other.account));
        }
        // The whole id of the holder is what it says; its first part may be what another user is called.
        let is_whole = holder.names().first().is_some_and(|whole| whole == name);
        let mut users = self
            .users
            .iter()
            .filter(|user| **user != holder.owner && !is_whole);
        let user = users.find(|user| fits(names_of(user, &holder.broker)));
        user.map(|user| format!("user `{user}`"))
    }
}

/// A word as it stands in the name of a variable.
pub(crate) fn in_variables(word: &str) -> String {
    word.to_ascii_uppercase().replace('-', "_")
}

/// A key in the environment that is meant for one account and no other.
#[derive(Clone, Debug)]
pub(crate) struct NamedKey(String);

impl NamedKey {
    /// The key of `holder`, if the variables leave no doubt. `all`: whom else they could be for.
    pub(crate) fn of(holder: &Holder, all: &Holders, session: &Session<'_>) -> Result<Self, Failure> {
        let names = holder.names();
        let variable = |name: &str, part: &str| session.surroundings.variable(&format!("{name}_{part}"));
        let set: Vec<&String> = names
            .iter()
            .filter(|name| PARTS.iter().any(|part| variable(name, part).is_some()))
            .collect();
        let name = match set.as_slice() {
            [name] => name.as_str(),
            [] => {
                return Err(Failure::not_found(
                    format!("the environment holds no key for account `{}`", holder.account),
                    format!("set {}_API_KEY and …_API_SECRET", names.join("_API_KEY or ")),
                ));
            }
            _ => {
                return Err(Failure::refused(
                    format!(
                        "rule unambiguous-name: the environment holds {} keys for account `{}`",
                        set.len(),
                        holder.account
                    ),
                    format!("leave only one of {}_API_KEY set", names.join("_API_KEY, ")),
                ));
            }
        };
        // A name that fits two names none of them.
        if let Some(other) = all.other(name, holder) {
            return Err(Failure::refused(
                format!(
                    "rule unambiguous-name: `{name}_API_KEY` could be for account `{}` or for {other}",
                    holder.account
                ),
                match names.first() {
                    Some(whole) if whole != name => {
                        format!("name the user's whole id: `{whole}_API_KEY`; or enter the key at the prompt")
                    }
                    _ => "enter the key at the prompt, or pipe it in".to_owned(),
                },
            ));
        }
        for part in PARTS {
            if variable(name, part).is_none() {
                return Err(Failure::not_found(
                    format!("`{name}_{part}` is not set"),
                    "set both, the key and its secret",
                ));
            }
        }
        Ok(Self(name.to_owned()))
    }

    /// The variable that holds the key; its secret is beside it.
    pub(crate) fn variable(&self) -> String {
        format!("{}_API_KEY", self.0)
    }

    pub(crate) fn material(&self, session: &Session<'_>) -> CredentialMaterial {
        let part = |part: &str| {
            let value = session.surroundings.variable(&format!("{}_{part}", self.0));
            Secret::from_text(value.unwrap_or_default().to_owned())
        };
        CredentialMaterial::new(part("API_KEY"), part("API_SECRET"))
    }
}

/// How the names of the two variables of a key end.
pub(crate) const PARTS: [&str; 2] = ["API_KEY", "API_SECRET"];

pub(crate) async fn from_environment(
    account: &Account,
    opened: &Opened,
    session: &Session<'_>,
) -> Result<CredentialMaterial, Failure> {
    let all = Holders::all(opened).await?;
    let holder = all.of(account.id()).ok_or_else(|| {
        Failure::refused(
            format!("account `{}` holds no key", account.id()),
            "name an open account that is not on paper",
        )
    })?;
    Ok(NamedKey::of(holder, &all, session)?.material(session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_key_is_told_and_nothing_of_the_key() {
        let told = |text: &str| EnteredKey::parse(text.to_owned()).err().unwrap().to_string();

        let of_a_pem = told("-----BEGIN EC PRIVATE KEY-----");
        let cut = told("{\"api_key\": \"a\"");
        let of_another_kind = told("{\"api_key\": \"a\", \"api_secret\": 5417}");

        assert!(
            of_a_pem.ends_with("line 1, column 2: this is not JSON: invalid number"),
            "{of_a_pem}"
        );
        assert!(
            cut.ends_with("this is not JSON: EOF while parsing an object"),
            "{cut}"
        );
        assert!(
            of_another_kind.ends_with("a value of another kind than belongs there"),
            "{of_another_kind}"
        );
        assert!(!of_another_kind.contains("5417"), "{of_another_kind}");
    }
}
