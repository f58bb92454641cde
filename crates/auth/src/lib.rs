//! Who is calling, whose account it is, and what a member of an account may do there.
//!
//! Users and accounts live in a [`Directory`], a storage trait that a store implements. Every
//! operation that changes something takes an [`Act`] (who, why, when), because the store writes
//! the change and its audit record in one transaction.
//!
//! Not here: what an account may trade and how much (permissions and controls), exchange keys (the
//! key store), and, until programs call over HTTP, API keys, passwords and sessions.
//!
//! Start reading at [`Directory`]; the rules are pure functions: [`rights_on`], [`may_grant`] and
//! [`choose_default`].
//!
//! # Invariants
//!
//! - An account's mode (live, paper, shadow), owner, broker and role are fixed when it is made:
//!   there is no way to set them afterwards.
//! - Adding what exists is refused, never an update.
//! - Whoever may trade or manage an account may see it; managing is not trading.
//! - Nobody grants a right that they do not hold, and an owner always manages.

#![warn(missing_docs)]

pub mod account;
pub mod default_account;
pub mod directory;
pub mod membership;
pub mod principal;
pub mod rights;
pub mod text;
pub mod user;

pub use account::{Account, AccountChange, NewAccount};
pub use default_account::{ChosenBy, DefaultAccount, choose_default};
pub use directory::{Directory, DirectoryError, Record};
pub use membership::{Membership, MembershipStatus, rights_on};
pub use principal::{Act, InvalidPrincipal, Principal, PrincipalName};
pub use rights::may_grant;
pub use text::{DisplayName, Email, InvalidText};
pub use user::{AccountType, NewUser, User, UserChange};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
