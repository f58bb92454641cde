//! The one place of the command line that names an exchange.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bursar_auth::Account;
use bursar_broker::{
    Broker, BrokerProfile, ErrorClass, KeyRights, NonceFloor, NonceFloorError, ReadError, nonce_block,
};
use bursar_broker_kraken::{
    InvalidEndpoint, Kraken, KrakenAccount, KrakenEndpoint, KrakenPublic, KrakenSettings, KrakenSetupError,
    KrakenTier, kraken_profile,
};
use bursar_broker_paper::paper_profile;
use bursar_config::{RateTier, Settings};
use bursar_keystore::Signer;
use bursar_model::{AccountMode, BrokerId, CredentialId};

use crate::{Exit, Failure, Surroundings};

/// What is particular to each exchange there is an adapter for.
pub fn profiles() -> Vec<BrokerProfile> {
    vec![kraken_profile(), paper_profile(paper_broker())]
}

/// The broker of accounts that trade on paper alone.
#[expect(clippy::expect_used, reason = "the name is a constant; a test reads it")]
pub fn paper_broker() -> BrokerId {
    "paper".parse().expect("a plain name")
}

/// What each is called.
pub fn names() -> Vec<String> {
    profiles()
        .iter()
        .map(|profile| profile.broker.to_string())
        .collect()
}

/// Refuses a broker that there is no adapter for.
pub fn known(broker: &BrokerId) -> Result<(), Failure> {
    let known = names();
    if known.iter().any(|name| name == broker.as_str()) {
        Ok(())
    } else {
        Err(Failure::not_found(
            format!("there is no adapter for broker `{broker}`"),
            format!("this version trades at {}", known.join(", ")),
        ))
    }
}

/// Refuses a broker and a mode that do not go together: at a broker that is paper alone, there is
/// nothing to be live at.
pub fn fits(broker: &BrokerId, mode: AccountMode) -> Result<(), Failure> {
    known(broker)?;
    match mode {
        AccountMode::Live | AccountMode::Shadow if *broker == paper_broker() => Err(Failure::refused(
            format!("rule account-mode: an account at broker `{broker}` cannot be {mode}"),
            "add it with `--mode paper`",
        )),
        AccountMode::Live | AccountMode::Shadow | AccountMode::Paper => Ok(()),
    }
}

/// How Kraken is reached by these settings.
pub fn kraken_settings(settings: &Settings, broker: &BrokerId) -> Result<KrakenSettings, InvalidEndpoint> {
    let broker = settings.brokers.of(broker);
    let endpoint = match &broker.base_url {
        None => KrakenEndpoint::default(),
        Some(url) => KrakenEndpoint::at(url.as_str())?,
    };
    Ok(KrakenSettings {
        endpoint,
        connect_timeout: broker.connect_timeout_ms.duration(),
        request_timeout: broker.request_timeout_ms.duration(),
        public_per_second: broker.public_requests_per_s,
        ..KrakenSettings::default()
    })
}

/// How an account at Kraken is traded by these settings.
pub fn kraken_account(settings: &Settings, account: &Account, credential: CredentialId) -> KrakenAccount {
    let broker = settings.brokers.of(account.broker());
    KrakenAccount {
        account: account.id().clone(),
        mode: account.mode(),
        credential,
        tier: match broker.rate_tier {
            RateTier::Starter => KrakenTier::Starter,
            RateTier::Intermediate => KrakenTier::Intermediate,
            RateTier::Pro => KrakenTier::Pro,
        },
        flexible_is_spendable: broker.auto_earn_is_spendable,
    }
}

/// Asks the exchange what a key may do. Nothing is traded and nothing is stored.
pub(crate) async fn key_rights(
    account: &Account,
    signer: Arc<dyn Signer>,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Result<KeyRights, Failure> {
    fits(account.broker(), account.mode())?;
    let reach = kraken_settings(settings, account.broker()).map_err(|error| {
        Failure::of(
            Exit::Failed,
            &error,
            format!("correct `brokers.{}.base_url` in the settings", account.broker()),
        )
    })?;
    let clock = Arc::clone(&surroundings.clock);
    let public = KrakenPublic::new(reach, Arc::clone(&clock)).map_err(|error| setup(&error))?;
    let credential = CredentialId::random(surroundings.entropy.as_ref());
    let settings = kraken_account(settings, account, credential);
    let kraken =
        Kraken::new(settings, public, signer, Arc::new(ByTheClock), clock).map_err(|error| setup(&error))?;
    kraken
        .key_rights()
        .await
        .map_err(|error| unanswered(&error, account))
}

fn setup(error: &KrakenSetupError) -> Failure {
    let exit = match error {
        KrakenSetupError::Client(_) => Exit::Failed,
        KrakenSetupError::PaperAccount { .. } => Exit::Refused,
    };
    Failure::of(exit, error, error.hint())
}

fn unanswered(error: &ReadError, account: &Account) -> Failure {
    let hint = match error {
        ReadError::TryAgain {
            class: ErrorClass::LocalFault,
            ..
        } => "nothing was sent; copy key and secret from the exchange once more, whole, and try again"
            .to_owned(),
        ReadError::TryAgain {
            class: ErrorClass::Nonce,
            ..
        } => "another program uses the key, or the daemon's request numbers are ahead of the clock, which its log \
              says; the daemon looks at the key itself each day and whenever it connects"
            .to_owned(),
        ReadError::TryAgain { .. } => {
            "check the network and the exchange's status page, then try again".to_owned()
        }
        ReadError::Refused { .. } => format!(
            "check at the exchange that the key exists and may query funds and orders, then run \
             `bursar credentials set {}`",
            account.id()
        ),
        ReadError::Unreadable { .. } => {
            "the exchange may have changed its interface; update Bursar".to_owned()
        }
    };
    match error {
        // Nothing was read from the exchange: the fault is in what was entered, or on this machine.
        ReadError::TryAgain {
            class: ErrorClass::LocalFault,
            reason,
            ..
        } => Failure::new(
            Exit::Failed,
            format!("{} could not be asked: {reason}", account.broker()),
            hint,
        ),
        _ => Failure::of(Exit::Failed, error, hint),
    }
}

/// Request numbers by the clock alone.
///
/// A question here stands beside the running daemon, which numbers its requests by the clock too.
/// Reserving a block in the store would put the numbers of this process ahead of the daemon's, and
/// the exchange would refuse its next order.
struct ByTheClock;

#[async_trait]
impl NonceFloor for ByTheClock {
    async fn reserve(
        &self,
        _: CredentialId,
        at_least: u64,
        until: u64,
    ) -> Result<Range<u64>, NonceFloorError> {
        nonce_block(0, at_least, until).ok_or(NonceFloorError::UsedUp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broker_has_one_profile() {
        let names: Vec<String> = profiles()
            .iter()
            .map(|profile| profile.broker.to_string())
            .collect();

        assert_eq!(names, ["kraken", "paper"]);
    }

    #[test]
    fn d28_at_a_paper_broker_nothing_is_live() {
        assert!(fits(&paper_broker(), AccountMode::Paper).is_ok());
        assert!(fits(&paper_broker(), AccountMode::Live).is_err());
        assert!(fits(&"kraken".parse().unwrap(), AccountMode::Live).is_ok());
        assert!(fits(&"nowhere".parse().unwrap(), AccountMode::Paper).is_err());
    }
}
