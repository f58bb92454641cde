//! A new broker adapter in a hundred lines, run through the contract of every broker and through what
//! makes an order's fate unknown.
//!
//! ```sh
//! cargo run -p bursar-broker-paper --example new_broker
//! ```
//!
//! Start reading at `adapter.rs`. The steps are those of `docs/adding-a-broker.md`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod adapter;
mod errors;
mod exchange;
mod world;

use std::error::Error;
use std::sync::Arc;

use bursar_broker::contract::{CHECKS, ContractWorld};
use bursar_broker::{Broker, ErrorClass, PlaceError};
use bursar_keystore::{
    CredentialMaterial, KeyStore, MemoryVault, NewSlot, PassphraseCost, Secret, StagedCredential,
    SystemEntropy,
};
use bursar_model::{Clock, OrderRequest, OrderSize, Side};
use jiff::{SignedDuration, Timestamp};

use crate::world::World;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = system_clock();
    let key = key(clock.now()).await?;
    let world = || World::open(key.signer(), Arc::clone(&clock));

    for check in CHECKS {
        check.run(&world().await?).await?;
        println!("held  {}", check.name.replace('_', " "));
    }

    // The exchange takes the order, and the connection is gone: unknown, and found when it is looked up.
    let world = world().await?;
    let since = clock.now() - SignedDuration::from_secs(60);
    let ticket = world.ticket().await;
    world.exchange.book.hang_up_next();
    let placed = world
        .broker
        .place(world.approve(buy(&world)).await?, &ticket)
        .await;
    assert!(matches!(placed, Err(PlaceError::Unknown { .. })), "{placed:?}");
    let found = world.broker.find(&ticket.client_order_id, since).await?;
    assert_eq!(found.len(), 1);
    println!("held  an answer that was lost is unknown, and the order is found by its id");

    // Nobody answers at the address: nothing can have been placed.
    let mut nowhere = World::open(key.signer(), Arc::clone(&clock)).await?;
    nowhere.broker.address = ([127, 0, 0, 1], 1).into();
    let order = nowhere.approve(buy(&nowhere)).await?;
    let placed = nowhere.broker.place(order, &nowhere.ticket().await).await;
    let is_unsent = matches!(
        placed,
        Err(PlaceError::NotSent {
            class: ErrorClass::Connect,
            ..
        })
    );
    assert!(is_unsent, "{placed:?}");
    println!("held  without a connection nothing was sent");

    // A text that nobody knows proves nothing; only the listed ones refuse.
    for (text, refuses) in [
        ("FUNDS", true),
        ("CLOSED", true),
        ("KEY", true),
        ("OUT OF ORDER", false),
        ("", false),
    ] {
        let meaning = errors::meaning(text.to_owned());
        assert_eq!(matches!(meaning, PlaceError::Refused { .. }), refuses, "{text}");
    }
    println!("held  a text that is not in the table refuses nothing");

    // A key that may withdraw is told as one, so that it is not admitted.
    world.exchange.book.grant(vec!["read", "trade", "withdraw"]);
    let refusal = world.broker.key_rights().await?.refusal();
    assert_eq!(refusal.as_deref(), Some("the key can withdraw or transfer"));
    println!("held  a key that can withdraw is refused");

    let lines = lines_of_code(include_str!("adapter.rs"));
    assert!(lines <= 100, "the adapter has {lines} lines");
    println!("{lines} lines of code in the adapter, its imports left out");
    Ok(())
}

fn buy(world: &World) -> OrderRequest {
    OrderRequest::market(world.pair(), Side::Buy, OrderSize::Quantity(world.quantity()))
}

/// A key as the key store holds it before it is stored: it signs, and nobody sees it.
async fn key(now: Timestamp) -> Result<StagedCredential, Box<dyn Error>> {
    let secret = |text: &str| Secret::from_text(text.to_owned());
    let slot = NewSlot::Passphrase {
        passphrase: secret("walnut harbour violin eleven"),
        cost: PassphraseCost::FLOOR,
    };
    let vault = Arc::new(MemoryVault::new());
    let new = KeyStore::init(vault, Arc::new(SystemEntropy), now, vec![slot]).await?;
    let code = Secret::from_text(new.recovery_code().reveal().to_string());
    let confirmed = new.recovery_code().confirm_whole(&code)?;
    let keys = new.finish(confirmed).await?;
    let material = CredentialMaterial::new(secret("TIDE-KEY-OF-MARA"), secret("what Tidewater gave out"));
    Ok(keys.stage(&material)?)
}

/// Without empty lines, comments and imports.
fn lines_of_code(text: &str) -> usize {
    let mut in_import = false;
    let is_code = |line: &&str| {
        let line = line.trim();
        in_import |= line.starts_with("use ");
        let counts = !in_import && !line.is_empty() && !line.starts_with("//");
        in_import &= !line.ends_with(';');
        counts
    };
    text.lines().filter(is_code).count()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is the one that knows the time"
)]
fn system_clock() -> Arc<dyn Clock> {
    Arc::new(Timestamp::now)
}

#[cfg(test)]
#[test]
fn the_example_holds() -> Result<(), Box<dyn Error>> {
    main()
}
