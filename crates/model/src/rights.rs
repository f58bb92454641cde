//! Sets of rights on an account, and how they compare.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::account::{Rights, word};

word! {
    /// One right on one account.
    Right {
        /// See orders, positions, balances and results.
        View,
        /// Place and cancel orders, and pause.
        Trade,
        /// Share the account, set its limits, name it.
        Manage,
    }
}

/// A text that is not a list of rights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a right: write a list of view, trade and manage, such as view,trade")]
pub struct InvalidRights {
    text: String,
}

impl Rights {
    /// The smallest complete set with all of `rights`: trading and managing include viewing.
    pub fn of(rights: impl IntoIterator<Item = Right>) -> Self {
        rights.into_iter().fold(Self::NONE, |sum, right| match right {
            Right::View => Self { view: true, ..sum },
            Right::Trade => Self {
                view: true,
                trade: true,
                ..sum
            },
            Right::Manage => Self {
                view: true,
                manage: true,
                ..sum
            },
        })
    }

    /// Whether the right is in the set, by name or because another one includes it.
    pub const fn has(self, right: Right) -> bool {
        match right {
            Right::View => self.view || self.trade || self.manage,
            Right::Trade => self.trade,
            Right::Manage => self.manage,
        }
    }

    /// Whether it holds none of the three.
    pub const fn is_none(self) -> bool {
        !self.has(Right::View)
    }

    /// Whether everything in this is in `wider` too.
    pub fn is_within(self, wider: Self) -> bool {
        self.list().into_iter().all(|right| wider.has(right))
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::of(self.list().into_iter().filter(|right| other.has(*right)))
    }

    /// In the order view, trade, manage.
    pub fn list(self) -> Vec<Right> {
        [Right::View, Right::Trade, Right::Manage]
            .into_iter()
            .filter(|right| self.has(*right))
            .collect()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.list().into_iter().map(Into::into).collect();
        f.pad(&if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(",")
        })
    }
}

impl FromStr for Rights {
    type Err = InvalidRights;
    fn from_str(text: &str) -> Result<Self, InvalidRights> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let parse = |part: &str| {
            part.trim().parse::<Right>().map_err(|_| InvalidRights {
                text: part.chars().take(40).collect(),
            })
        };
        text.split(',')
            .map(parse)
            .collect::<Result<Vec<_>, _>>()
            .map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(text: &str) -> Rights {
        text.parse().unwrap()
    }

    const LATTICE: [&str; 5] = ["none", "view", "view,trade", "view,manage", "view,trade,manage"];

    #[test]
    fn d20_trade_and_manage_include_view_and_manage_is_not_trade() {
        assert_eq!(rights("trade"), rights("view,trade"));
        assert_eq!(rights("manage"), rights("view,manage"));
        assert!(!rights("manage").has(Right::Trade));
        assert!(!rights("trade").has(Right::Manage));
    }

    #[test]
    fn d20_there_are_five_sets_and_each_reads_back() {
        let all = [Right::View, Right::Trade, Right::Manage];
        let mut seen: Vec<String> = (0..8_usize)
            .map(|bits| (0..3).filter(move |i| bits >> i & 1 == 1).map(|i: usize| all[i]))
            .map(|chosen| Rights::of(chosen).to_string())
            .collect();
        seen.sort();
        seen.dedup();

        let mut expected = LATTICE.map(str::to_owned);
        expected.sort();
        assert_eq!(seen, expected);
        for text in LATTICE {
            assert_eq!(rights(text).to_string(), text);
        }
    }

    #[test]
    fn d20_a_set_that_was_not_completed_counts_as_complete() {
        let careless = Rights {
            view: false,
            trade: true,
            manage: false,
        };

        assert!(careless.has(Right::View));
        assert_eq!(careless.to_string(), "view,trade");
    }

    #[test]
    fn a_common_part_is_complete_too() {
        for a in LATTICE {
            for b in LATTICE {
                let both = rights(a).and(rights(b));
                assert_eq!(Rights::of(both.list()), both);
                assert!(both.is_within(rights(a)) && both.is_within(rights(b)));
            }
        }
    }

    #[test]
    fn what_is_no_right_is_refused() {
        for text in ["", "withdraw", "view,", "View", "view trade"] {
            assert!(text.parse::<Rights>().is_err(), "`{text}` was accepted");
        }
    }
}
