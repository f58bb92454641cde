//! Which account a caller gets who names none.

use bursar_model::{AccountId, Right, UserId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Account, Membership, rights_on};

/// Why an account is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChosenBy {
    /// The user set it.
    User,
    /// It is the oldest that the user owns.
    OldestOwned,
    /// The user owns none; it is the oldest that is shared with them.
    OldestShared,
}

/// The account a caller gets who names none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DefaultAccount {
    /// The account whose id stands in for the one that was not named.
    pub account: AccountId,
    /// For people, who ask why.
    pub chosen_by: ChosenBy,
    /// Whether it may be flagged as the user's primary account: a shared account never is.
    pub is_primary: bool,
}

/// Chooses the default account of `user` among `accounts`: the one that they set, else the oldest
/// they own, else the oldest shared with them, else none.
///
/// An account that is closed, or that the user can no longer see, is passed over even when it was
/// set. Of two accounts of the same age, the one whose id comes first is chosen.
pub fn choose_default(
    user: &UserId,
    set: Option<&AccountId>,
    accounts: &[Account],
    memberships: &[Membership],
    now: Timestamp,
) -> Option<DefaultAccount> {
    let mut reachable: Vec<&Account> = accounts
        .iter()
        .filter(|account| account.is_open())
        .filter(|account| rights_on(account, user, memberships, now).has(Right::View))
        .collect();
    reachable.sort_by_key(|account| (account.created_at(), account.id()));
    let is_owned = |account: &Account| account.owner() == user;

    let by_user = reachable.iter().find(|account| Some(account.id()) == set);
    let owned = || reachable.iter().find(|account| is_owned(account));
    let (account, chosen_by) = by_user
        .map(|account| (account, ChosenBy::User))
        .or_else(|| owned().map(|account| (account, ChosenBy::OldestOwned)))
        .or_else(|| reachable.first().map(|account| (account, ChosenBy::OldestShared)))?;
    Some(DefaultAccount {
        account: account.id().clone(),
        chosen_by,
        is_primary: is_owned(account),
    })
}

#[cfg(test)]
mod tests {
    use bursar_model::{AccountMode, AccountRole, AccountStatus};

    use super::*;
    use crate::{MembershipStatus, NewAccount};

    fn account(id: &str, owner: &str, age_s: i64) -> Account {
        let new = NewAccount {
            id: id.parse().unwrap(),
            owner: owner.parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            role: AccountRole::User,
            mode: AccountMode::Paper,
            nickname: None,
        };
        Account::made(new, Timestamp::from_second(age_s).unwrap())
    }

    fn shared(id: &str) -> Membership {
        Membership {
            account: id.parse().unwrap(),
            user: "mara_ilves".parse().unwrap(),
            rights: "view".parse().unwrap(),
            status: MembershipStatus::Active,
            since: Timestamp::UNIX_EPOCH,
            until: None,
        }
    }

    fn closed(mut account: Account) -> Account {
        account.status = AccountStatus::Closed;
        account
    }

    fn chosen(set: Option<&str>, accounts: &[Account], memberships: &[Membership]) -> String {
        let set: Option<AccountId> = set.map(|id| id.parse().unwrap());
        let user = "mara_ilves".parse().unwrap();
        let now = Timestamp::from_second(1_000).unwrap();
        choose_default(&user, set.as_ref(), accounts, memberships, now).map_or_else(
            || "none".to_owned(),
            |choice| {
                let primary = if choice.is_primary { ", primary" } else { "" };
                format!("{} by {:?}{primary}", choice.account, choice.chosen_by)
            },
        )
    }

    #[test]
    fn d16_which_default_account() {
        let own = || account("own", "mara_ilves", 20);
        let older = || account("own-older", "mara_ilves", 10);
        let twin = || account("own-b", "mara_ilves", 20);
        let theirs = || account("theirs", "tomas_brandt", 1);
        let theirs_newer = || account("theirs-newer", "tomas_brandt", 2);
        type Case = (&'static str, Option<&'static str>, Vec<Account>, Vec<Membership>);
        let cases: [Case; 11] = [
            ("nothing at all", None, vec![], vec![]),
            ("somebody else's only", None, vec![theirs()], vec![]),
            ("set", Some("own"), vec![own(), older()], vec![]),
            (
                "set, shared",
                Some("theirs"),
                vec![own(), theirs()],
                vec![shared("theirs")],
            ),
            (
                "set, no longer shared",
                Some("theirs"),
                vec![own(), theirs()],
                vec![],
            ),
            ("set, closed", Some("own"), vec![closed(own()), older()], vec![]),
            (
                "not set",
                None,
                vec![own(), older(), theirs()],
                vec![shared("theirs")],
            ),
            ("same age", None, vec![twin(), own()], vec![]),
            (
                "none owned",
                None,
                vec![theirs_newer(), theirs()],
                vec![shared("theirs-newer"), shared("theirs")],
            ),
            (
                "owned one closed",
                None,
                vec![closed(own()), theirs()],
                vec![shared("theirs")],
            ),
            ("all closed", Some("own"), vec![closed(own())], vec![]),
        ];

        let table: String = cases
            .iter()
            .map(|(case, set, accounts, memberships)| {
                format!("{case}: {}\n", chosen(*set, accounts, memberships))
            })
            .collect();

        insta::assert_snapshot!(table, @r"
        nothing at all: none
        somebody else's only: none
        set: own by User, primary
        set, shared: theirs by User
        set, no longer shared: own by OldestOwned, primary
        set, closed: own-older by OldestOwned, primary
        not set: own-older by OldestOwned, primary
        same age: own by OldestOwned, primary
        none owned: theirs by OldestShared
        owned one closed: theirs by OldestShared
        all closed: none
        ");
    }
}
