//! Keys are admitted, not just stored: the exchange is asked what a key may do.

use bursar_broker::KeyRights;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// A key that the exchange says is fit for trading, and nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AdmittedKey {
    /// When the exchange said so.
    pub checked_at: Timestamp,
    /// The account at the exchange that the key belongs to, when the exchange tells.
    pub venue_account_id: Option<String>,
    /// The exchange's own names of the rights.
    pub rights: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A key that must not be stored or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key is refused: {reason}")]
pub struct KeyRefused {
    /// What stands against it, for people: the first thing that was found.
    pub reason: String,
}

impl KeyRefused {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        "make a key at the exchange that may read and trade, but not withdraw or transfer, and run `bursar credentials set ACCOUNT`"
    }
}

/// Admits a key that may read and trade and nothing more.
///
/// # Errors
///
/// When it may do less, or could withdraw or transfer, or when the exchange does not say.
pub fn admit_key(rights: &KeyRights) -> Result<AdmittedKey, KeyRefused> {
    if let Some(reason) = rights.refusal() {
        return Err(KeyRefused { reason });
    }
    Ok(AdmittedKey {
        checked_at: rights.checked_at,
        venue_account_id: rights.venue_account_id.clone(),
        rights: rights.rights.clone(),
        warnings: rights.warnings.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(can_withdraw: Option<bool>) -> KeyRights {
        KeyRights {
            can_trade: true,
            can_read: true,
            can_withdraw,
            rights: vec!["trade".to_owned(), "query".to_owned()],
            warnings: vec!["no address restriction".to_owned()],
            venue_account_id: Some("AA12N84GQRSTUVWX".to_owned()),
            checked_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn d13_a_key_that_can_withdraw_is_not_admitted() {
        let refused = admit_key(&rights(Some(true))).unwrap_err();

        assert_eq!(
            refused.to_string(),
            "the key is refused: the key can withdraw or transfer"
        );
        assert!(refused.hint().contains("not withdraw"));
        assert!(admit_key(&rights(None)).is_err());
    }

    #[test]
    fn d6_a_key_that_reads_and_trades_is_admitted_with_its_warnings() {
        let admitted = admit_key(&rights(Some(false))).unwrap();

        assert_eq!(admitted.warnings, ["no address restriction"]);
        assert_eq!(admitted.venue_account_id.as_deref(), Some("AA12N84GQRSTUVWX"));
        assert_eq!(admitted.rights, ["trade", "query"]);
    }
}
