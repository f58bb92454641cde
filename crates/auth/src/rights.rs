//! What a member may do on an account: view, trade, manage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// One right on one account.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Right {
    /// See orders, positions, balances and results.
    View,
    /// Place and cancel orders, and pause.
    Trade,
    /// Share the account, set its limits, name it.
    Manage,
}

/// A set of rights that is always complete: trading and managing include viewing, and managing
/// does not include trading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Right>", into = "Vec<Right>")]
pub struct Rights {
    view: bool,
    trade: bool,
    manage: bool,
}

/// A text that is not a list of rights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a right: write a list of view, trade and manage, such as view,trade")]
pub struct InvalidRights {
    text: String,
}

impl Rights {
    pub const NONE: Self = Self {
        view: false,
        trade: false,
        manage: false,
    };

    /// What an owner holds, always.
    pub const ALL: Self = Self {
        view: true,
        trade: true,
        manage: true,
    };

    /// The smallest complete set with all of `rights`.
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

    pub const fn has(self, right: Right) -> bool {
        match right {
            Right::View => self.view,
            Right::Trade => self.trade,
            Right::Manage => self.manage,
        }
    }

    pub const fn is_none(self) -> bool {
        !self.view
    }

    /// Whether everything in this is in `wider` too.
    pub fn is_within(self, wider: Self) -> bool {
        self.list().into_iter().all(|right| wider.has(right))
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            view: self.view && other.view,
            trade: self.trade && other.trade,
            manage: self.manage && other.manage,
        }
    }

    /// In the order view, trade, manage.
    pub fn list(self) -> Vec<Right> {
        [Right::View, Right::Trade, Right::Manage]
            .into_iter()
            .filter(|right| self.has(*right))
            .collect()
    }
}

impl From<Vec<Right>> for Rights {
    fn from(rights: Vec<Right>) -> Self {
        Self::of(rights)
    }
}

impl From<Rights> for Vec<Right> {
    fn from(rights: Rights) -> Self {
        rights.list()
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

/// Whether somebody who holds `held` on an account may give somebody else `granted` on it: only
/// who manages may grant, and never more than they hold.
pub fn may_grant(held: Rights, granted: Rights) -> bool {
    held.has(Right::Manage) && granted.is_within(held)
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
        let mut seen: Vec<String> = (0..8)
            .map(|bits: usize| {
                Rights::of(
                    all.into_iter()
                        .enumerate()
                        .filter(|(i, _)| bits >> i & 1 == 1)
                        .map(|(_, r)| r),
                )
            })
            .map(|set| {
                assert_eq!(rights(&set.to_string()), set);
                set.to_string()
            })
            .collect();
        seen.sort();
        seen.dedup();

        let mut expected = LATTICE.map(str::to_owned);
        expected.sort();
        assert_eq!(seen, expected);
    }

    #[test]
    fn d20_only_who_manages_grants_and_never_more_than_they_hold() {
        let mut table = String::new();
        for held in LATTICE {
            for granted in LATTICE {
                if may_grant(rights(held), rights(granted)) {
                    table.push_str(&format!("{held} may grant {granted}\n"));
                }
            }
        }

        insta::assert_snapshot!(table, @r"
        view,manage may grant none
        view,manage may grant view
        view,manage may grant view,manage
        view,trade,manage may grant none
        view,trade,manage may grant view
        view,trade,manage may grant view,trade
        view,trade,manage may grant view,manage
        view,trade,manage may grant view,trade,manage
        ");
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
    fn json_is_a_list_and_is_completed_on_the_way_in() {
        let read: Rights = serde_json::from_str("[\"trade\"]").unwrap();

        assert_eq!(serde_json::to_string(&read).unwrap(), "[\"view\",\"trade\"]");
        assert!(serde_json::from_str::<Rights>("[\"withdraw\"]").is_err());
        assert!("".parse::<Rights>().is_err());
    }
}
