//! The verdict of one rule on one order, in the words in which it is shown, stored and explained.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::account::word;

word! {
    /// Whose rule it is. The strictest level wins.
    Level {
        /// The installation's: hard caps and switches.
        System,
        /// The tier's of the account's owner. No rule of an order bears it: a tier's ceiling is held when the
        /// limits of a user are set.
        Tier,
        /// The owner's own: the limits, pairs and switches of the user, over all their accounts.
        User,
        /// The account's: its status, its switches and what it has at stake.
        Account,
        /// The membership through which somebody trades another's account.
        Grant,
        /// The exchange's own rules.
        Venue,
    }
}

word! {
    /// What a rule says of an order.
    Verdict {
        /// The order keeps to the rule.
        Passed,
        /// The order breaks the rule, or what the rule needs to know is not known.
        Broken,
        /// The rule does not apply, for example to an order proven to reduce a position.
        Exempt,
    }
}

/// What one rule said of one order. A refusal is a list of these; so is the trace of a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The rule's stable name, for example `order-size`.
    pub rule: String,
    /// Whose limit it is, which is whom to ask for more.
    pub level: Level,
    /// One broken check refuses the order.
    pub verdict: Verdict,
    /// What is allowed, with its unit.
    pub limit: String,
    /// What was found, with its unit.
    pub observed: String,
    /// Where the observed value comes from.
    pub source: String,
    /// How old the observed value was, in milliseconds; `None` for what cannot age.
    pub age_ms: Option<i64>,
    /// What the caller can do about it; empty when the rule passed.
    pub hint: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.rule, self.level, self.observed)?;
        if !self.limit.is_empty() {
            write!(f, ", allowed {}", self.limit)?;
        }
        write!(f, " [{}", self.source)?;
        if let Some(age) = self.age_ms {
            write!(f, ", {age} ms old")?;
        }
        write!(f, "]")
    }
}
