//! How users, accounts, orders and switches look: as rows for people, as JSON for programs.

mod accounts;
mod halting;
mod notices;
mod orders;
mod people;
mod switches;

pub(crate) use accounts::*;
pub(crate) use halting::*;
pub(crate) use notices::*;
pub(crate) use orders::*;
pub(crate) use people::*;
pub(crate) use switches::*;

use bursar_execution::holdings::{Unmanaged, unmanaged};
use bursar_execution::{Conditions, Journal};
use bursar_model::AccountId;

use crate::Failure;
use crate::render::{Cell, Tone};
use crate::session::Opened;

pub(crate) fn yes_no(yes: bool) -> Cell {
    if yes {
        Cell::new("yes").tone(Tone::Good)
    } else {
        Cell::new("no").tone(Tone::Dim)
    }
}

fn or_dash(text: Option<impl ToString>) -> Cell {
    text.map_or_else(|| Cell::new("-").tone(Tone::Dim), Cell::new)
}

/// What an account holds that was not bought through the gateway, as of its last balance.
pub(crate) async fn unmanaged_of(account: &AccountId, opened: &Opened) -> Result<Vec<Unmanaged>, Failure> {
    let Some(known) = opened.store.balances(account).await? else {
        return Ok(Vec::new());
    };
    let positions = opened.store.positions(account).await?;
    let unresolved = opened.store.unresolved(account).await?;
    Ok(unmanaged(&known.balances, &positions, &unresolved))
}
