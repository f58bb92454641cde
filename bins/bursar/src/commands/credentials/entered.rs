//! Where a key comes in: a prompt, standard input or the environment. Never an argument.

use bursar_auth::{Account, Directory, User};
use bursar_keystore::{CredentialMaterial, Secret};
use bursar_model::{AccountMode, AccountRole};
use serde::Deserialize;

use crate::session::{Opened, Session};
use crate::{Failure, prompt};

/// Key and secret, as they come in.
#[derive(Deserialize)]
pub struct EnteredKey {
    #[serde(alias = "key")]
    api_key: Secret,
    #[serde(alias = "secret")]
    api_secret: Secret,
    #[serde(default)]
    passphrase: Option<Secret>,
}

impl EnteredKey {
    /// Reads the JSON that is piped in, and wipes it.
    pub fn parse(text: String) -> Result<Self, Failure> {
        let read = serde_json::from_str::<Self>(&text).map_err(|error| {
            // The reader's own message may repeat what it read; only the place is told.
            Failure::usage(
                format!(
                    "standard input is not a key: line {}, column {}",
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

/// The names under which the environment may hold the key of an account.
fn names_in_environment(account: &Account, owner: &User) -> Vec<String> {
    let upper = |text: &str| text.to_ascii_uppercase().replace('-', "_");
    let broker = upper(account.broker().as_str());
    match account.role() {
        AccountRole::Master => vec![format!("{broker}_MASTER")],
        AccountRole::User => {
            let id = owner.id.as_str();
            let first = id.split(['_', '-']).next().unwrap_or(id);
            let mut names = vec![format!("{broker}_USER_{}", upper(id))];
            if first != id {
                names.push(format!("{broker}_USER_{}", upper(first)));
            }
            names
        }
    }
}

pub(crate) async fn from_environment(
    account: &Account,
    owner: &User,
    opened: &Opened,
    session: &Session<'_>,
) -> Result<CredentialMaterial, Failure> {
    let names = names_in_environment(account, owner);
    let is_set = |name: &String| {
        session
            .surroundings
            .variable(&format!("{name}_API_KEY"))
            .is_some()
            || session
                .surroundings
                .variable(&format!("{name}_API_SECRET"))
                .is_some()
    };
    let set: Vec<&String> = names.iter().filter(|name| is_set(name)).collect();
    let name = match set.as_slice() {
        [name] => name.as_str(),
        [] => {
            return Err(Failure::not_found(
                format!("the environment holds no key for account `{}`", account.id()),
                format!("set {}_API_KEY and …_API_SECRET", names.join("_API_KEY or ")),
            ));
        }
        _ => {
            return Err(Failure::refused(
                format!(
                    "rule unambiguous-name: the environment holds {} keys for account `{}`",
                    set.len(),
                    account.id()
                ),
                format!("leave only one of {} set", names.join(", ")),
            ));
        }
    };
    refuse_shared_name(name, account, opened).await?;
    let part = |suffix: &str| {
        let variable = format!("{name}_{suffix}");
        let value = session.surroundings.variable(&variable).map(str::to_owned);
        value.map(Secret::from_text).ok_or_else(|| {
            Failure::not_found(
                format!("`{variable}` is not set"),
                "set both, the key and its secret",
            )
        })
    };
    Ok(CredentialMaterial::new(part("API_KEY")?, part("API_SECRET")?))
}

/// A name that fits two accounts names none of them.
async fn refuse_shared_name(name: &str, account: &Account, opened: &Opened) -> Result<(), Failure> {
    for other in opened.store.accounts().await? {
        if other.id() == account.id() || !other.is_open() || other.mode() == AccountMode::Paper {
            continue;
        }
        let owner = opened.store.user(other.owner()).await?;
        if names_in_environment(&other, &owner)
            .iter()
            .any(|theirs| theirs == name)
        {
            return Err(Failure::refused(
                format!(
                    "rule unambiguous-name: `{name}_API_KEY` could be for `{}` or for `{}`",
                    account.id(),
                    other.id()
                ),
                "enter the key at the prompt, or pipe it in",
            ));
        }
    }
    Ok(())
}
