//! Assets by identity. A venue may rename a coin; the coin stays the same asset.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A currency or coin, by its canonical code: `BTC`, never `XBT`; `POL`, never `MATIC`.
///
/// Parsing folds the names that venues use or used into one identity. Names that are only
/// spellings of one venue's interface (`XXBT`, `ZUSD`) belong to that venue's adapter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Asset(Box<str>);

/// A text that cannot be the code of an asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an asset code: use 1 to 16 of A-Z and 0-9")]
pub struct InvalidAsset {
    text: String,
}

/// A name an asset goes by somewhere, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// As it is written; matched exactly, upper case.
    pub name: &'static str,
    /// The canonical code that is stored and shown instead. Never itself an alias.
    pub identity: &'static str,
    /// The day from which the name is history; `None` while it is still in use.
    pub retired: Option<Date>,
}

/// Every alias that is folded. Renames carry the day on which the new name took over.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "XBT",
        identity: "BTC",
        retired: None,
    },
    Alias {
        name: "XDG",
        identity: "DOGE",
        retired: None,
    },
    Alias {
        name: "MATIC",
        identity: "POL",
        retired: Some(date(2024, 9, 4)),
    },
];

impl Asset {
    /// US dollars, the currency of every limit.
    pub fn usd() -> Self {
        Self("USD".into())
    }

    /// The canonical code.
    pub fn code(&self) -> &str {
        &self.0
    }

    /// Whether this is US dollars themselves, whose price needs no reference.
    pub fn is_usd(&self) -> bool {
        &*self.0 == "USD"
    }

    /// Every other name this asset goes by or went by.
    pub fn aliases(&self) -> impl Iterator<Item = &'static Alias> {
        ALIASES.iter().filter(|alias| alias.identity == &*self.0)
    }
}

impl FromStr for Asset {
    type Err = InvalidAsset;
    fn from_str(text: &str) -> Result<Self, InvalidAsset> {
        let fits = (1..=16).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !fits {
            return Err(InvalidAsset {
                text: text.chars().take(40).collect(),
            });
        }
        let alias = ALIASES.iter().find(|alias| alias.name == text);
        Ok(Self(alias.map_or(text, |alias| alias.identity).into()))
    }
}

impl TryFrom<String> for Asset {
    type Error = InvalidAsset;
    fn try_from(text: String) -> Result<Self, InvalidAsset> {
        text.parse()
    }
}

impl From<Asset> for String {
    fn from(asset: Asset) -> Self {
        asset.0.into()
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_a_renamed_asset_stays_the_same_asset() {
        assert_eq!("MATIC".parse::<Asset>().unwrap(), "POL".parse().unwrap());
        assert_eq!("XBT".parse::<Asset>().unwrap().code(), "BTC");
        assert_eq!("XDG".parse::<Asset>().unwrap().code(), "DOGE");
    }

    #[test]
    fn names_that_begin_with_x_or_z_are_left_alone() {
        for code in ["XTZ", "ZRX", "XRP", "ZEC", "XCN", "ZETA"] {
            assert_eq!(code.parse::<Asset>().unwrap().code(), code);
        }
    }

    #[test]
    fn no_alias_leads_to_another_alias() {
        for alias in ALIASES {
            assert_eq!(alias.identity.parse::<Asset>().unwrap().code(), alias.identity);
        }
    }

    #[test]
    fn lower_case_spaces_and_empty_are_refused() {
        for text in ["", "btc", "BT C", "BTC-USD", "ABCDEFGHIJKLMNOPQ"] {
            assert!(text.parse::<Asset>().is_err(), "`{text}` was accepted");
        }
    }
}
