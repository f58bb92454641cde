//! Accounts beside each other, and keys that must not be used.

use bursar_auth::Directory;
use bursar_broker::{ErrorClass, PlaceError};
use bursar_execution::{Attempt, Dispatch, Journal, Reports};
use bursar_model::{AccountId, IntentState, Right, Rights};
use bursar_permissions::Caller;
use bursar_sandbox::{CustomerSpec, ExchangeSettings, LimitTier, Permission, UnknownPair};
use bursar_testkit::people;
use bursar_tests::orders::{bid, buy, sell};
use bursar_tests::watching::intent;
use bursar_tests::{NotConnected, Plan};
use futures_util::future::join;
use rust_decimal::dec;

use crate::time::{stage, story};

#[tokio::test]
async fn c28_a31_each_account_has_its_own_money_and_positions() {
    let (_time, stage) = story().await;
    let before = stage.funds_of("ops_desk", "USD");

    let (mara, ops) = join(
        stage.order_until("kraken-ilves", buy("0.01"), IntentState::Filled),
        stage.order_until("kraken-main", buy("0.02"), IntentState::Filled),
    )
    .await;
    stage
        .order_until("kraken-ilves", sell("0.004"), IntentState::Filled)
        .await;

    assert_eq!(stage.held("kraken-ilves").await, dec!(0.006));
    assert_eq!(stage.held("kraken-main").await, dec!(0.02));
    let of_mara = stage.fills("kraken-ilves").await;
    assert!(
        of_mara
            .iter()
            .all(|row| row.fill.account.as_str() == "kraken-ilves")
    );
    assert!(of_mara.iter().all(|row| row.intent != ops.id));
    assert!(
        stage
            .fills("kraken-main")
            .await
            .iter()
            .all(|row| row.intent != mara.id)
    );
    // What the one has is not what the other may sell.
    assert!(
        stage
            .refused("kraken-ilves", sell("0.01"))
            .await
            .contains(&"reduces-position".to_owned())
    );
    let spent = before - stage.funds_of("ops_desk", "USD");
    assert!(
        spent > dec!(1_200) && spent < dec!(1_210),
        "the master paid for its own order: {spent}"
    );
    stage.close().await;
}

#[tokio::test]
async fn a33_what_goes_wrong_on_one_account_touches_no_other() {
    let (_time, stage) = story().await;
    stage.crash("kraken-ilves").await;
    stage
        .kill("account:kraken-ilves", bursar_controls::LatchMode::Halt)
        .await;

    stage
        .order_until("kraken-main", buy("0.01"), IntentState::Filled)
        .await;

    let main: AccountId = "kraken-main".parse().unwrap();
    assert_eq!(stage.store().intents(Some(&main), 10).await.unwrap().len(), 1);
    assert_eq!(stage.orders_of("mara_ilves").len(), 0);
    stage.close().await;
}

#[tokio::test]
async fn i18_a_pair_that_is_delisted_takes_the_prices_of_the_others_from_nobody() {
    delisted(UnknownPair::RefusesAll).await;
}

#[tokio::test]
async fn i18_nor_does_one_that_kraken_leaves_out_of_its_answer() {
    delisted(UnknownPair::IsLeftOut).await;
}

/// Both accounts trade on when a pair is gone, and after a restart.
async fn delisted(unknown_pair: UnknownPair) {
    let exchange = ExchangeSettings {
        unknown_pair,
        ..ExchangeSettings::default()
    };
    let plan = Plan {
        exchange,
        ..Plan::default()
    };
    let (_time, mut stage) = crate::time::stage(plan).await;
    stage.connect("kraken-main").await;
    stage.connect("kraken-ilves").await;
    let mut bid_for_ether = bid("0.1", "2500");
    bid_for_ether.pair = "ETH-USD".parse().unwrap();
    let resting = stage
        .order_until("kraken-ilves", bid_for_ether, IntentState::Open)
        .await;

    stage.delist("ETHUSD");
    // Longer than any price is believed.
    stage
        .until_after(stage.now() + jiff::SignedDuration::from_mins(2))
        .await;

    for account in ["kraken-main", "kraken-ilves"] {
        stage.order_until(account, buy("0.01"), IntentState::Filled).await;
        stage
            .order_until(account, sell("0.01"), IntentState::Filled)
            .await;
    }
    stage.until_state(resting.id, IntentState::Cancelled).await;

    // Who starts now has never heard of the pair, and reads an order of his own in it.
    stage.restart().await;
    for account in ["kraken-main", "kraken-ilves"] {
        stage.connect(account).await;
        stage.order_until(account, buy("0.01"), IntentState::Filled).await;
    }
    stage.close().await;
}

/// The adapter knows whose connection it is.
#[tokio::test]
async fn i10_an_order_of_one_account_is_not_sent_over_the_connection_of_another() {
    let (_time, stage) = story().await;
    stage.rest("kraken-ilves").await;
    let order = stage.order("kraken-ilves", buy("0.01")).await;
    let attempt = Attempt {
        token: [7; 16],
        sent_at: stage.now(),
        acceptance_bound: stage.now() + jiff::SignedDuration::from_secs(5),
    };
    let ticket = bursar_broker::OrderTicket {
        intent: order.id,
        client_order_id: order.client_order_id.clone(),
        acceptance_bound: attempt.acceptance_bound,
        still_wanted: bursar_broker::StillWanted::always(),
    };
    let Dispatch::Send(approved) = stage
        .store()
        .dispatch(order.id, attempt, stage.now())
        .await
        .unwrap()
    else {
        panic!("not sent")
    };

    let placed = stage
        .broker("kraken-main")
        .await
        .unwrap()
        .place(*approved, &ticket)
        .await;

    assert!(
        matches!(
            placed,
            Err(PlaceError::NotSent {
                class: ErrorClass::LocalFault,
                ..
            })
        ),
        "{placed:?}"
    );
    assert_eq!(stage.book().orders, []);
    let token = [7; 16];
    let not_sent = bursar_execution::Outcome::NotSent {
        token,
        reason: "wrong connection".into(),
    };
    stage
        .store()
        .conclude(order.id, not_sent, stage.now())
        .await
        .unwrap();
    stage.gateway().cancel(order.id, &stage.act()).await.unwrap();
    stage.close().await;
}

#[tokio::test]
async fn d13_a_key_that_can_withdraw_is_refused_and_not_stored() {
    let rights = Permission::TRADING.into_iter().chain([Permission::WithdrawFunds]);
    let tomas = CustomerSpec::named("tomas_brandt")
        .with_limit_tier(LimitTier::Pro)
        .with_rights(rights);
    let (_time, stage) = stage(Plan {
        customers: vec![tomas],
        ..Plan::default()
    })
    .await;
    stage
        .store()
        .add_user(people::user("tomas_brandt"), &stage.act())
        .await
        .unwrap();
    let account = people::account("kraken-brandt", "tomas_brandt");
    stage.store().add_account(account, &stage.act()).await.unwrap();

    let refused = stage
        .try_store_key("kraken-brandt", "tomas_brandt")
        .await
        .unwrap_err();

    assert_eq!(
        refused.to_string(),
        "the key is refused: the key can withdraw or transfer"
    );
    let id: AccountId = "kraken-brandt".parse().unwrap();
    assert_eq!(stage.store().credential_of(&id).await.unwrap(), None);
    assert_eq!(stage.book().funding_write_attempts, 0, "asked about, never tried");
    stage.close().await;
}

#[tokio::test]
async fn d13_a_key_that_cannot_trade_is_refused() {
    let rights = [
        Permission::QueryFunds,
        Permission::QueryOpenTrades,
        Permission::QueryClosedTrades,
    ];
    let tomas = CustomerSpec::named("tomas_brandt")
        .with_limit_tier(LimitTier::Pro)
        .with_rights(rights);
    let (_time, stage) = stage(Plan {
        customers: vec![tomas],
        ..Plan::default()
    })
    .await;
    stage
        .store()
        .add_user(people::user("tomas_brandt"), &stage.act())
        .await
        .unwrap();
    let account = people::account("kraken-brandt", "tomas_brandt");
    stage.store().add_account(account, &stage.act()).await.unwrap();

    let refused = stage
        .try_store_key("kraken-brandt", "tomas_brandt")
        .await
        .unwrap_err();

    assert_eq!(refused.to_string(), "the key is refused: the key cannot trade");
    stage.close().await;
}

#[tokio::test]
async fn an_account_without_a_key_is_not_connected_and_says_so() {
    let (_time, stage) = stage(Plan::default()).await;
    stage
        .store()
        .add_user(people::user("tomas_brandt"), &stage.act())
        .await
        .unwrap();
    let account = people::account("kraken-brandt", "tomas_brandt");
    stage.store().add_account(account, &stage.act()).await.unwrap();

    assert!(matches!(
        stage.try_connect("kraken-brandt").await,
        Err(NotConnected::NoKey)
    ));
    let refused = stage.refused("kraken-brandt", buy("0.01")).await;
    assert!(refused.contains(&"key-admitted".to_owned()), "{refused:?}");
    assert!(refused.contains(&"user-enabled".to_owned()), "{refused:?}");
    stage.close().await;
}

/// Somebody with a right to look has none to trade, and an owner has.
#[tokio::test]
async fn d20_only_who_may_trade_an_account_trades_it() {
    let (_time, stage) = story().await;
    let as_member = |user: &str, rights| bursar_execution::OrderIntent {
        caller: Caller::Member {
            user: user.parse().unwrap(),
            rights,
        },
        ..intent("kraken-ilves", bid("0.01", "50000"))
    };

    let looks = stage
        .gateway()
        .submit(as_member("tomas_brandt", Rights::of([Right::View])))
        .await
        .unwrap();
    let owns = stage
        .gateway()
        .submit(as_member("mara_ilves", Rights::ALL))
        .await
        .unwrap();

    assert_eq!(bursar_tests::watching::broken(looks.intent()), ["trade-right"]);
    stage.until_state(owns.intent().id, IntentState::Open).await;
    assert_eq!(stage.orders_of("mara_ilves").len(), 1);
    stage.close().await;
}

/// What one has reserved is the other's to keep.
#[tokio::test]
async fn i10_reservations_belong_to_their_account() {
    let (_time, stage) = story().await;
    stage
        .order_until("kraken-ilves", bid("0.05", "50000"), IntentState::Open)
        .await;

    let mara = stage
        .store()
        .reservations(Some(&"kraken-ilves".parse().unwrap()))
        .await
        .unwrap();
    let ops = stage
        .store()
        .reservations(Some(&"kraken-main".parse().unwrap()))
        .await
        .unwrap();

    assert!(!mara.is_empty() && ops.is_empty());
    stage
        .order_until("kraken-main", buy("0.05"), IntentState::Filled)
        .await;
    stage.close().await;
}
