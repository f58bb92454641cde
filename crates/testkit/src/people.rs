//! Invented people and their accounts, with defaults for everything. A name that is no name is a
//! mistake in a test and ends it.
#![expect(clippy::expect_used, reason = "a test that names nobody cannot go on")]

use bursar_auth::{Act, NewAccount, NewUser, Principal};
use bursar_model::{AccountMode, AccountRole, Tier};
use jiff::Timestamp;

/// An act of the person at the machine.
pub fn act(at: Timestamp) -> Act {
    Act::new(Principal::operator("ops_desk").expect("a name"), at)
}

/// A user of the pro tier with an address of their own.
pub fn user(id: &str) -> NewUser {
    NewUser {
        id: id.parse().expect("a user id"),
        email: format!("{id}@example.com").parse().expect("an address"),
        name: None,
        tier: Tier::Pro,
        account_type: bursar_auth::AccountType::default(),
    }
}

/// A live user account at Kraken.
pub fn account(id: &str, owner: &str) -> NewAccount {
    NewAccount {
        id: id.parse().expect("an account id"),
        owner: owner.parse().expect("a user id"),
        broker: "kraken".parse().expect("a broker id"),
        role: AccountRole::User,
        mode: AccountMode::Live,
        nickname: None,
    }
}

/// The operator's own account at Kraken.
pub fn master(id: &str, owner: &str) -> NewAccount {
    NewAccount {
        role: AccountRole::Master,
        ..account(id, owner)
    }
}
