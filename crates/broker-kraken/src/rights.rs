//! What a key may do, from what Kraken says of it.

use bursar_broker::KeyRights;
use jiff::Timestamp;

use crate::text::{Text, Unreadable};
use crate::wire::WireKeyInfo;

const TRADE: &[&str] = &["modify-trades"];
const READ: &[&str] = &["query-funds", "query-open-trades", "query-closed-trades"];
const HARMLESS: &[&str] = &[
    "close-trades",
    "query-ledger",
    "export-data",
    "create-ws-token",
    "add-funds",
];

/// Reads the answer of `GetApiKeyInfo`.
pub(crate) fn rights(info: &WireKeyInfo, now: Timestamp) -> Result<KeyRights, Unreadable> {
    let holds = |right: &&str| info.permissions.iter().any(|held| held == right);
    let moves_money = |held: &String| held.contains("withdraw") || held.contains("transfer");
    let until = moment(info.valid_until.as_ref())?;
    let expired = until.is_some_and(|until| until <= now);
    Ok(KeyRights {
        can_trade: TRADE.iter().all(holds) && !expired,
        can_read: READ.iter().all(holds) && !expired,
        can_withdraw: Some(info.permissions.iter().any(moves_money)),
        rights: info.permissions.clone(),
        warnings: warnings(info, until, expired)?,
        venue_account_id: info.iban.clone().filter(|iban| !iban.is_empty()),
        checked_at: now,
    })
}

fn warnings(info: &WireKeyInfo, until: Option<Timestamp>, expired: bool) -> Result<Vec<String>, Unreadable> {
    let mut warnings = Vec::new();
    match until {
        Some(until) if expired => warnings.push(format!("the key expired at {until}")),
        Some(until) => warnings.push(format!("the key expires at {until}")),
        None => {}
    }
    let addresses = info.ip_allowlist.iter().flatten();
    if addresses.filter(|address| !address.trim().is_empty()).count() == 0 {
        warnings.push("the key is not restricted to addresses".into());
    }
    match &info.nonce_window {
        Some(window) if !window.decimal()?.is_zero() => warnings.push(format!(
            "the key has a nonce window of {}: set it to 0, or a delayed copy of a request can still be executed",
            window.as_str()
        )),
        Some(_) => {}
        None => warnings.push("Kraken did not tell the key's nonce window: make sure that it is 0".into()),
    }
    if moment(info.query_from.as_ref())?.is_some() || moment(info.query_to.as_ref())?.is_some() {
        warnings.push("the key sees only a part of the account's history".into());
    }
    for right in &info.permissions {
        let known = [TRADE, READ, HARMLESS].concat().contains(&right.as_str());
        if !known {
            warnings.push(format!(
                "the key holds the right `{right}`, which trading does not need"
            ));
        }
    }
    Ok(warnings)
}

fn moment(text: Option<&Text>) -> Result<Option<Timestamp>, Unreadable> {
    text.map_or(Ok(None), Text::optional_moment)
}

/// What was learned by trying harmless calls, for an exchange that does not describe the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probed {
    pub(crate) can_trade: bool,
    pub(crate) can_read: bool,
    pub(crate) can_withdraw: Option<bool>,
}

impl Probed {
    pub(crate) fn rights(self, now: Timestamp) -> KeyRights {
        let named = [
            (self.can_trade, "close-trades or modify-trades (tried)"),
            (
                self.can_read,
                "query-funds, query-open-trades, query-closed-trades (tried)",
            ),
            (self.can_withdraw == Some(true), "withdraw-funds (tried)"),
        ];
        KeyRights {
            can_trade: self.can_trade,
            can_read: self.can_read,
            can_withdraw: self.can_withdraw,
            rights: named
                .iter()
                .filter(|(held, _)| *held)
                .map(|(_, name)| (*name).to_owned())
                .collect(),
            warnings: vec![
                "Kraken did not describe the key; its rights were tried, its restrictions are not known"
                    .into(),
            ],
            venue_account_id: None,
            checked_at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> KeyRights {
        let now = Timestamp::from_second(1_772_000_000).unwrap();
        rights(&serde_json::from_str(json).unwrap(), now).unwrap()
    }

    const FIT: &str = r#"{"apiKeyName":"gateway-01","nonce":"1772000000000000000","nonceWindow":0,
      "permissions":["query-funds","query-open-trades","query-closed-trades","modify-trades","close-trades","create-ws-token"],
      "iban":"AA11 N84G ABCD 1234","validUntil":"0","queryFrom":"0","queryTo":"0","ipAllowlist":["203.0.113.7"]}"#;

    #[test]
    fn a_key_for_trading_and_nothing_more_is_admitted_without_a_warning() {
        let rights = read(FIT);

        assert_eq!(rights.refusal(), None);
        assert_eq!(rights.warnings, Vec::<String>::new());
        assert_eq!(rights.venue_account_id.as_deref(), Some("AA11 N84G ABCD 1234"));
    }

    #[test]
    fn both_spellings_and_both_types_are_read() {
        let snake = FIT
            .replace("nonceWindow\":0", "nonce_window\":\"15\"")
            .replace("validUntil\":\"0\"", "valid_until\":1760000000")
            .replace("queryFrom\":\"0\"", "query_from\":\"1\"")
            .replace("ipAllowlist\":[\"203.0.113.7\"]", "ip_allowlist\":[\"\"]");
        let rights = read(&snake);

        assert_eq!(rights.warnings.len(), 4, "{:?}", rights.warnings);
        assert!(!rights.can_trade && rights.refusal().is_some());
    }

    #[test]
    fn d13_a_key_that_can_move_money_is_refused() {
        for right in [
            "withdraw-funds",
            "add-withdraw-address",
            "update-withdraw-address",
            "transfer-funds",
        ] {
            let rights = read(&FIT.replace("close-trades", right));

            assert!(rights.refusal().unwrap().contains("withdraw"), "{right}");
        }
        let earning = read(&FIT.replace("close-trades", "earn-funds"));
        assert_eq!(earning.refusal(), None);
        assert!(earning.warnings[0].contains("`earn-funds`"));
    }

    #[test]
    fn a_key_that_lacks_a_right_is_refused() {
        for right in [
            "query-funds",
            "query-open-trades",
            "query-closed-trades",
            "modify-trades",
        ] {
            assert!(
                read(&FIT.replace(right, "query-ledger")).refusal().is_some(),
                "{right}"
            );
        }
    }
}
