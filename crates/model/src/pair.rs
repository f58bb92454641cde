//! What is traded against what.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Asset;

/// A base asset priced in a quote asset, written `BTC-USD`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Pair {
    base: Asset,
    quote: Asset,
}

/// A text that does not name a pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a pair: write two different assets such as BTC-USD")]
pub struct InvalidPair {
    text: String,
}

impl Pair {
    /// `None` when both sides are the same asset.
    pub fn new(base: Asset, quote: Asset) -> Option<Self> {
        (base != quote).then_some(Self { base, quote })
    }

    /// What is bought and sold; quantities are in it.
    pub const fn base(&self) -> &Asset {
        &self.base
    }

    /// What it is paid in; prices are in it, per unit of the base. Never the same as the base.
    pub const fn quote(&self) -> &Asset {
        &self.quote
    }
}

impl FromStr for Pair {
    type Err = InvalidPair;
    fn from_str(text: &str) -> Result<Self, InvalidPair> {
        let parse = || {
            let (base, quote) = text.split_once('-')?;
            Self::new(base.parse().ok()?, quote.parse().ok()?)
        };
        parse().ok_or_else(|| InvalidPair {
            text: text.chars().take(40).collect(),
        })
    }
}

impl TryFrom<String> for Pair {
    type Error = InvalidPair;
    fn try_from(text: String) -> Result<Self, InvalidPair> {
        text.parse()
    }
}

impl From<Pair> for String {
    fn from(pair: Pair) -> Self {
        pair.to_string()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.base, self.quote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_reads_and_writes_the_same() {
        let pair: Pair = "BTC-USD".parse().unwrap();

        assert_eq!(pair.to_string(), "BTC-USD");
        assert_eq!("XBT-USD".parse::<Pair>().unwrap(), pair);
    }

    #[test]
    fn half_a_pair_is_refused() {
        for text in [
            "",
            "BTC",
            "BTC-",
            "-USD",
            "BTC-BTC",
            "XBT-BTC",
            "BTC/USD",
            "btc-usd",
            "BTC-USD-X",
        ] {
            assert!(text.parse::<Pair>().is_err(), "`{text}` was accepted");
        }
    }
}
