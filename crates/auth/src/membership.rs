//! An account shared with somebody who does not own it.

use bursar_model::{AccountId, Rights, UserId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::Account;

/// Whether a membership counts.
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
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum MembershipStatus {
    /// It counts, until its end.
    Active,
    /// It does not count for now.
    Suspended,
    /// It does not count any more.
    Revoked,
}

/// The rights of one user on one account of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Membership {
    /// The one account that is shared.
    pub account: AccountId,
    /// Who does not own it. A membership of the owner adds nothing.
    pub user: UserId,
    /// What it gives while it counts; several memberships add up.
    pub rights: Rights,
    /// What somebody decided about it; the end of its time is in [`until`](Self::until).
    pub status: MembershipStatus,
    /// When it was given; it counts already before that.
    pub since: Timestamp,
    /// The moment from which it counts no longer, whatever its status says.
    pub until: Option<Timestamp>,
}

impl Membership {
    /// Whether it is active and its end, if it has one, is after `now`.
    pub fn counts(&self, now: Timestamp) -> bool {
        let current = self.until.is_none_or(|until| now < until);
        self.status == MembershipStatus::Active && current
    }
}

/// What `user` may do on `account` now: everything as its owner, else what active memberships give.
///
/// No membership at all gives [`Rights::NONE`], which a caller must answer as if the account did
/// not exist.
pub fn rights_on(account: &Account, user: &UserId, memberships: &[Membership], now: Timestamp) -> Rights {
    if account.owner() == user {
        return Rights::ALL;
    }
    let granted = memberships
        .iter()
        .filter(|membership| membership.account == *account.id() && membership.user == *user)
        .filter(|membership| membership.counts(now));
    Rights::of(granted.flat_map(|membership| membership.rights.list()))
}

#[cfg(test)]
mod tests {
    use bursar_model::{AccountMode, AccountRole};

    use super::*;
    use crate::NewAccount;

    fn account() -> Account {
        let new = NewAccount {
            id: "kraken-ilves".parse().unwrap(),
            owner: "mara_ilves".parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            role: AccountRole::User,
            mode: AccountMode::Paper,
            nickname: None,
        };
        Account::made(new, Timestamp::UNIX_EPOCH)
    }

    fn membership(rights: &str) -> Membership {
        Membership {
            account: "kraken-ilves".parse().unwrap(),
            user: "tomas_brandt".parse().unwrap(),
            rights: rights.parse().unwrap(),
            status: MembershipStatus::Active,
            since: Timestamp::UNIX_EPOCH,
            until: None,
        }
    }

    fn rights_of(user: &str, memberships: &[Membership], at_s: i64) -> String {
        let now = Timestamp::from_second(at_s).unwrap();
        rights_on(&account(), &user.parse().unwrap(), memberships, now).to_string()
    }

    #[test]
    fn own6_an_owner_has_all_rights_and_keeps_them() {
        let mut lowered = membership("view");
        lowered.user = "mara_ilves".parse().unwrap();
        lowered.status = MembershipStatus::Revoked;

        assert_eq!(rights_of("mara_ilves", &[lowered], 0), "view,trade,manage");
    }

    #[test]
    fn own7_a_member_has_what_was_granted_and_a_stranger_nothing() {
        assert_eq!(rights_of("tomas_brandt", &[membership("trade")], 0), "view,trade");
        assert_eq!(rights_of("ops_desk", &[membership("trade")], 0), "none");
        let mut elsewhere = membership("trade");
        elsewhere.account = "coinbase-brandt".parse().unwrap();
        assert_eq!(rights_of("tomas_brandt", &[elsewhere], 0), "none");
    }

    #[test]
    fn own16_only_active_memberships_count() {
        for status in [MembershipStatus::Suspended, MembershipStatus::Revoked] {
            let mut stopped = membership("trade");
            stopped.status = status;
            assert_eq!(rights_of("tomas_brandt", &[stopped], 0), "none");
        }
    }

    #[test]
    fn a_membership_ends_at_its_moment() {
        let mut ends = membership("view");
        ends.until = Some(Timestamp::from_second(100).unwrap());

        assert_eq!(rights_of("tomas_brandt", &[ends.clone()], 99), "view");
        assert_eq!(rights_of("tomas_brandt", &[ends], 100), "none");
    }
}
