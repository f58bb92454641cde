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
    AccountStatus { Active, Suspended, Closed }
}

word! {
    /// A user's tier: a set of default limits and a ceiling, both in the settings.
    Tier { Basic, Pro, Enterprise }
}

/// What somebody may do with an account. Trade includes view; manage includes view, not trade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Rights {
    pub view: bool,
    pub trade: bool,
    pub manage: bool,
}

impl Rights {
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
    Low,
    /// Also read from the word `moderate`.
    #[default]
    #[serde(alias = "moderate")]
    #[strum(to_string = "medium", serialize = "moderate")]
    Medium,
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
