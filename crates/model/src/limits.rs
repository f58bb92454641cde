//! What a user may hold and lose: the same four figures for a tier, a user and a preference.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::account::word;
use crate::{Asset, Pair, Usd};

/// Which pairs may be traded. A list that is empty allows none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PairRule {
    /// Every pair that the venue offers.
    All,
    /// Every pair whose base is one of these assets, whatever it is priced in.
    Bases(BTreeSet<Asset>),
    /// These pairs and no others.
    Only(BTreeSet<Pair>),
}

impl PairRule {
    /// Whether the pair is in the list. Case and old names do not matter: a [`Pair`] has one spelling.
    pub fn allows(&self, pair: &Pair) -> bool {
        match self {
            Self::All => true,
            Self::Bases(bases) => bases.contains(pair.base()),
            Self::Only(pairs) => pairs.contains(pair),
        }
    }

    /// Whether everything that this allows is allowed by `wider` too.
    pub fn is_within(&self, wider: &Self) -> bool {
        match (self, wider) {
            (_, Self::All) => true,
            (Self::All, _) => false,
            (Self::Bases(ours), Self::Bases(theirs)) => ours.is_subset(theirs),
            (Self::Bases(ours), Self::Only(_)) => ours.is_empty(),
            (Self::Only(pairs), _) => pairs.iter().all(|pair| wider.allows(pair)),
        }
    }
}

impl fmt::Display for PairRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: Vec<String>| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        match self {
            Self::All => f.write_str("all"),
            Self::Bases(bases) => f.write_str(&list(bases.iter().map(ToString::to_string).collect())),
            Self::Only(pairs) => f.write_str(&list(pairs.iter().map(ToString::to_string).collect())),
        }
    }
}

/// Limits on what a user's accounts may do: of a position in each account by itself, of losses and of the
/// number of positions over all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserLimits {
    /// The most an order may cost, and the most a position may have cost.
    pub max_position: Usd,
    /// The loss of one trading day at which entries stop; zero means that no loss is allowed.
    pub max_daily_loss: Usd,
    /// How many positions may be open at once, over all accounts of the user; zero allows none.
    pub max_positions: u32,
    /// Which pairs may be entered. A position is left whatever this says.
    pub pairs: PairRule,
}

/// Something by which a user may do more than before, or is protected less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loosening {
    /// The limit or setting, in words for people, for example `max position`.
    pub what: &'static str,
    /// The value so far, in words and with its unit.
    pub before: String,
    /// The value that is wanted, written like `before`.
    pub after: String,
}

impl fmt::Display for Loosening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} instead of {}", self.what, self.after, self.before)
    }
}

word! {
    /// What happens when the loss of a trading day reaches its limit. No new risk in any case.
    LossPolicy {
        /// Positions stay, and may be closed.
        ReduceOnly,
        /// Nothing is sent but cancels.
        Halt,
        /// Positions are closed by the gateway itself.
        Flatten,
    }
}
