//! What an account is, apart from what it holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            schemars::JsonSchema, Display, EnumString, EnumIter, IntoStaticStr,
        )]
        #[serde(rename_all = "kebab-case")]
        #[strum(serialize_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
    };
}
pub(crate) use word;

word! {
    /// Where an account stands in its broker's hierarchy. Never renamed by circumstances.
    AccountRole {
        /// Primary: the operator's own account at the broker.
        Master,
        /// Secondary: an additional account, traded on its own.
        User,
    }
}

word! {
    /// Whether orders reach a venue. Fixed when the account is made.
    AccountMode {
        /// Orders go to the venue.
        Live,
        /// Orders go to the paper exchange. Cannot hold a live key.
        Paper,
        /// Every check runs on live data; what would have been sent is recorded, nothing is sent.
        Shadow,
    }
}

word! {
    /// Whether an account takes part at all.
    AccountStatus {
        /// As it was made: whatever is permitted may be ordered.
        Active,
        /// Takes only orders that are proven to reduce a position. Can be taken back.
        Suspended,
        /// Trades nothing any more, not even to reduce. Never taken back.
        Closed,
    }
}

word! {
    /// A user's tier: a set of default limits and a ceiling, both in the settings.
    Tier {
        /// `tiers.basic` of the settings, as the other two have theirs. That one tier allows more than another
        /// is nowhere required.
        Basic,
        /// `tiers.pro` of the settings.
        Pro,
        /// `tiers.enterprise` of the settings.
        Enterprise,
    }
}

/// What somebody may do with an account. Trade includes view; manage includes view, not trade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Rights {
    /// See its orders, positions, balances and results.
    pub view: bool,
    /// Place and cancel its orders, and pause it.
    pub trade: bool,
    /// Share it, set its limits and name it; not trade it.
    pub manage: bool,
}

impl Rights {
    /// What somebody without a membership may do: nothing.
    pub const NONE: Self = Self {
        view: false,
        trade: false,
        manage: false,
    };
    /// An owner's rights.
    pub const ALL: Self = Self {
        view: true,
        trade: true,
        manage: true,
    };
}

/// How much of an account a strategy may risk at once.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RiskLevel {
    /// How many percent of the equity that is, per trade and per position, is in the settings, under
    /// `risk.low`; that it is less than the others is not checked.
    Low,
    /// Also read from the word `moderate`.
    #[default]
    #[serde(alias = "moderate")]
    #[strum(to_string = "medium", serialize = "moderate")]
    Medium,
    /// `risk.high` of the settings.
    High,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d10_moderate_is_read_as_medium() {
        assert_eq!("moderate".parse::<RiskLevel>().unwrap(), RiskLevel::Medium);
        assert_eq!(
            serde_json::from_str::<RiskLevel>("\"moderate\"").unwrap(),
            RiskLevel::Medium
        );
        assert_eq!(RiskLevel::Medium.to_string(), "medium");
    }

    #[test]
    fn c3_there_are_three_tiers() {
        let tiers: Vec<String> = <Tier as strum::IntoEnumIterator>::iter()
            .map(|tier| tier.to_string())
            .collect();

        assert_eq!(tiers, ["basic", "pro", "enterprise"]);
    }
}
