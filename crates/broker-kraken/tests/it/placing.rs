//! One order: what is sent, how often, and what its answer proves.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bursar_broker::{
    Broker, CancelOutcome, ErrorClass, NonceFloor, NonceFloorError, PlaceError, Placed, StillWanted,
};
use bursar_broker_kraken::{Kraken, KrakenAccount, KrakenSetupError, KrakenTier};
use bursar_keystore::SecretEncoding;
use bursar_model::{AccountMode, Clock, CredentialId, Side};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::approval::{ACCOUNT, approved, approved_for, limit_buy, market};
use crate::world::{Call, Floors, SetClock, World, error, key, numbered, ok, public, ticket};

const ACCEPTED: &str =
    r#"{"descr":{"order":"buy 0.00100000 XBTUSD @ limit 60000.0"},"txid":["OABCDE-12345-FGHIJK"]}"#;

async fn placed_on(world: &World) -> Result<Placed, PlaceError> {
    let order = approved(limit_buy("0.001", "60000"), world.clock.now());
    world.kraken.place(order, &world.ticket()).await
}

/// Answers every order with `status` and `body`.
async fn placed(status: u16, body: String) -> (World, Result<Placed, PlaceError>) {
    let world = World::new(move |call| is_order(call).then(|| (status, body.clone()))).await;
    let outcome = placed_on(&world).await;
    (world, outcome)
}

fn is_order(call: &Call) -> bool {
    call.path == "/0/private/AddOrder"
}

fn class(outcome: Result<Placed, PlaceError>) -> ErrorClass {
    match outcome {
        Err(PlaceError::Unknown { class, .. }) => class,
        other => panic!("not unknown: {other:?}"),
    }
}

#[tokio::test]
async fn an_order_is_sent_once_with_its_id_and_its_deadline() {
    let (world, outcome) = placed(200, ok(ACCEPTED)).await;
    assert_eq!(outcome.unwrap().venue_order_id.as_str(), "OABCDE-12345-FGHIJK");

    let calls = world.calls("AddOrder");
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!(call.method, "POST");
    let nonce = call.nonce();
    assert_eq!(
        call.body,
        format!(
            "nonce={nonce}&pair=XBTUSD&type=buy&ordertype=limit&volume=0.001&price=60000&oflags=fciq\
             &cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876&deadline=2026-02-25T06%3A13%3A25Z"
        )
    );
    assert_eq!(call.headers["api-key"], "throwaway-public-key");
    assert_eq!(
        call.headers["user-agent"],
        concat!("bursar/", env!("CARGO_PKG_VERSION"))
    );
    let inner = Sha256::digest(format!("{nonce}{}", call.body));
    let signed = key()
        .await
        .signer()
        .hmac_sha512(SecretEncoding::Base64, &[b"/0/private/AddOrder", &inner])
        .unwrap();
    assert_eq!(call.headers["api-sign"], BASE64.encode(&signed));
}

#[tokio::test]
async fn a_proved_refusal_is_told_from_a_pause_and_from_an_order_that_is_there() {
    let (_, outcome) = placed(200, error("EOrder:Insufficient funds")).await;
    assert_eq!(
        outcome.unwrap_err(),
        PlaceError::Refused {
            class: ErrorClass::Business,
            code: "EOrder:Insufficient funds".into()
        }
    );
    let (_, outcome) = placed(200, error("EAPI:Invalid key")).await;
    assert_eq!(outcome.unwrap_err().class(), ErrorClass::Auth);
    let (_, outcome) = placed(200, error("EOrder:Rate limit exceeded")).await;
    assert!(matches!(outcome.unwrap_err(), PlaceError::Throttled { wait, .. } if wait.as_secs() >= 5));
    let (_, outcome) = placed(200, error("EGeneral:Invalid arguments:cl_ord_id not unique")).await;
    assert!(matches!(outcome.unwrap_err(), PlaceError::AlreadyThere { .. }));
}

#[tokio::test]
async fn i9_what_is_not_proved_is_unknown_and_never_sent_again() {
    let html = "<html>502 Bad Gateway</html>".to_owned();
    let cases = [
        (502, html.clone(), ErrorClass::Ambiguous),
        (520, error("EOrder:Insufficient funds"), ErrorClass::Ambiguous),
        (200, html, ErrorClass::Ambiguous),
        (200, r#"{"error":[]}"#.into(), ErrorClass::Ambiguous),
        (200, error("EService:Unavailable"), ErrorClass::Ambiguous),
        (200, error("EService:Deadline elapsed"), ErrorClass::Ambiguous),
        (200, error("EAPI:Invalid nonce"), ErrorClass::Nonce),
        // The second of two copies, when the first was accepted in silence.
        (200, error("EAPI:Rate limit exceeded"), ErrorClass::Rate),
        (200, error("EService:Throttled:1772000005"), ErrorClass::Rate),
        (200, error("EOrder:Something new"), ErrorClass::Ambiguous),
        (429, String::new(), ErrorClass::Rate),
        (307, String::new(), ErrorClass::Security),
        (200, "x".repeat(300 * 1024), ErrorClass::Ambiguous),
        (200, ok(ACCEPTED)[..60].to_owned(), ErrorClass::Ambiguous),
        (500, ok(ACCEPTED), ErrorClass::Ambiguous),
    ];
    for (status, body, expected) in cases {
        let (world, outcome) = placed(status, body.clone()).await;

        assert_eq!(
            class(outcome),
            expected,
            "{status} {}",
            &body[..body.len().min(60)]
        );
        assert_eq!(world.calls("AddOrder").len(), 1);
        assert!(world.calls("Elsewhere").is_empty(), "a redirect was followed");
    }
}

#[tokio::test]
async fn success_is_an_order_id_and_our_own_terms() {
    for answer in [
        r#"{"descr":{"order":"buy 0.00100000 XBTUSD @ limit 60000.0"}}"#,
        r#"{"descr":{"order":"buy 0.00100000 XBTUSD @ limit 60000.0"},"txid":[]}"#,
        r#"{"descr":{"order":"buy 0.00100000 XBTUSD @ limit 60000.0"},"txid":["OA","OB"]}"#,
        r#"{"descr":{"order":"sell 0.00100000 XBTUSD @ limit 60000.0"},"txid":["OABCDE-12345-FGHIJK"]}"#,
        r#"{"descr":{"order":"buy 0.01000000 XBTUSD @ limit 60000.0"},"txid":["OABCDE-12345-FGHIJK"]}"#,
        r#"{"descr":{"order":"buy 0.00100000 ETHUSD @ limit 60000.0"},"txid":["OABCDE-12345-FGHIJK"]}"#,
        r#"{"descr":{"order":"buy 0.00100000 XBTUSD @ market"},"txid":["OABCDE-12345-FGHIJK"]}"#,
        r#"{"txid":["OABCDE-12345-FGHIJK"]}"#,
    ] {
        let (_, outcome) = placed(200, ok(answer)).await;

        assert_eq!(class(outcome), ErrorClass::Contract, "{answer}");
    }
}

#[tokio::test]
async fn a_deadline_that_kraken_would_not_take_is_not_sent() {
    let world = World::new(|call| is_order(call).then(|| (200, ok(ACCEPTED)))).await;
    for ahead_ms in [-1_000, 0, 1_400, 61_000] {
        let order = approved(limit_buy("0.001", "60000"), world.clock.now());
        let outcome = world
            .kraken
            .place(order, &ticket(world.clock.now(), ahead_ms))
            .await;

        assert!(
            matches!(
                outcome,
                Err(PlaceError::NotSent {
                    class: ErrorClass::LocalFault,
                    ..
                })
            ),
            "{ahead_ms}: {outcome:?}"
        );
    }
    assert!(world.calls("AddOrder").is_empty());
}

#[tokio::test]
async fn a_clock_that_is_off_by_more_than_a_second_sends_nothing() {
    for ahead in [3, -3, 3600] {
        let world = World::with(AccountMode::Live, ahead, |call| {
            is_order(call).then(|| (200, ok(ACCEPTED)))
        })
        .await;
        let order = approved(limit_buy("0.001", "60000"), world.clock.now());
        let outcome = world
            .kraken
            .place(order, &ticket(world.clock.now(), 10_000))
            .await;

        assert!(
            matches!(outcome, Err(PlaceError::NotSent { .. })),
            "{ahead}: {outcome:?}"
        );
        assert!(world.calls("AddOrder").is_empty());
    }
}

#[tokio::test]
async fn d28_a_paper_account_gets_no_connection_and_a_shadow_account_sends_nothing() {
    let clock = SetClock::new();
    let settings = KrakenAccount {
        account: ACCOUNT.parse().unwrap(),
        mode: AccountMode::Paper,
        credential: "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap(),
        tier: KrakenTier::Starter,
        flexible_is_spendable: false,
    };
    let numbers: Arc<dyn NonceFloor> = Arc::new(Floors::default());
    let refused = Kraken::new(
        settings,
        public("http://127.0.0.1:9", &clock),
        key().await.signer(),
        numbers,
        clock,
    );
    assert!(matches!(refused, Err(KrakenSetupError::PaperAccount { .. })));

    let shadow = World::with(AccountMode::Shadow, 0, |call| {
        is_order(call).then(|| (200, ok(ACCEPTED)))
    })
    .await;
    assert!(matches!(
        placed_on(&shadow).await,
        Err(PlaceError::NotSent { .. })
    ));
    let id = shadow.ticket().client_order_id;
    assert_eq!(shadow.kraken.cancel(&id).await, Ok(CancelOutcome::NotWorking));
    assert!(shadow.all_calls().is_empty());
}

#[tokio::test]
async fn i10_an_order_of_another_account_is_not_sent() {
    let world = World::new(|call| is_order(call).then(|| (200, ok(ACCEPTED)))).await;
    let order = approved_for("kraken-main", limit_buy("0.001", "60000"), world.clock.now());
    let outcome = world.kraken.place(order, &world.ticket()).await;

    assert!(matches!(outcome, Err(PlaceError::NotSent { .. })), "{outcome:?}");
    assert!(world.calls("AddOrder").is_empty());
}

#[tokio::test]
async fn after_too_many_orders_the_next_waits_here_and_not_there() {
    let world = World::new(|call| is_order(call).then(|| (200, error("EOrder:Rate limit exceeded")))).await;
    assert!(matches!(
        placed_on(&world).await,
        Err(PlaceError::Throttled { .. })
    ));
    let outcome = placed_on(&world).await;

    assert!(
        matches!(
            outcome,
            Err(PlaceError::NotSent {
                class: ErrorClass::Rate,
                ..
            })
        ),
        "{outcome:?}"
    );
    assert_eq!(world.calls("AddOrder").len(), 1);
}

#[tokio::test]
async fn a_lockout_that_answers_a_cancel_or_the_timer_holds_orders_back() {
    for call in ["CancelOrder", "CancelAllOrdersAfter"] {
        let world = World::new(move |asked| match asked.path.as_str() {
            path if path.ends_with(call) => Some((200, error("EGeneral:Temporary lockout"))),
            "/0/private/AddOrder" => Some((200, ok(ACCEPTED))),
            _ => None,
        })
        .await;
        let id = world.ticket().client_order_id;
        let heard = match call {
            "CancelOrder" => world.kraken.cancel(&id).await.is_err(),
            _ => world
                .kraken
                .arm_dead_man(std::time::Duration::from_secs(60))
                .await
                .is_err(),
        };
        assert!(heard, "{call}");

        let outcome = placed_on(&world).await;

        let is_held = matches!(
            &outcome,
            Err(PlaceError::NotSent {
                class: ErrorClass::Rate,
                ..
            })
        );
        assert!(is_held, "{call}: {outcome:?}");
        assert!(world.calls("AddOrder").is_empty());
    }
}

#[tokio::test]
async fn a_cancel_names_our_id_and_goes_even_when_orders_must_wait() {
    let world = World::new(|call| match call.path.as_str() {
        "/0/private/AddOrder" => Some((200, error("EGeneral:Temporary lockout"))),
        "/0/private/CancelOrder" => Some((200, ok(r#"{"count":1}"#))),
        _ => None,
    })
    .await;
    assert_eq!(class(placed_on(&world).await), ErrorClass::Rate);
    let held = placed_on(&world).await;
    assert!(matches!(&held, Err(PlaceError::NotSent { .. })), "{held:?}");
    let id = world.ticket().client_order_id;

    assert_eq!(world.kraken.cancel(&id).await, Ok(CancelOutcome::Taken));
    assert_eq!(
        world.calls("CancelOrder")[0].parameters()["cl_ord_id"],
        id.as_str()
    );
}

#[tokio::test]
async fn a_market_sell_that_reduces_goes_with_the_worst_price_it_may_be_filled_at() {
    let answer =
        r#"{"descr":{"order":"sell 0.50000000 XBTUSD @ limit 58800.0"},"txid":["OABCDE-12345-FGHIJK"]}"#;
    let world = World::new(move |call| is_order(call).then(|| (200, ok(answer)))).await;
    let order = approved(market(Side::Sell, "0.5"), world.clock.now());
    assert!(order.is_reducing());

    assert!(world.kraken.place(order, &world.ticket()).await.is_ok());
    let sent = world.calls("AddOrder")[0].parameters();
    assert_eq!(sent["ordertype"], "limit");
    assert_eq!(sent["price"], "58800");
    assert_eq!(sent["timeinforce"], "IOC");
}

#[tokio::test]
async fn i12_numbers_arrive_in_order_however_many_ask_at_once() {
    let balance = ok(r#"{"ZUSD":{"balance":"1","hold_trade":"0"}}"#);
    let world = Arc::new(
        World::new(move |call| match call.path.as_str() {
            "/0/private/AddOrder" => Some((200, error("EOrder:Insufficient funds"))),
            "/0/private/CancelOrder" => Some((200, error("EOrder:Unknown order"))),
            "/0/private/BalanceEx" => Some((200, balance.clone())),
            _ => None,
        })
        .await,
    );
    let mut tasks = Vec::new();
    for turn in 0..30 {
        let world = world.clone();
        tasks.push(tokio::spawn(async move {
            let id = world.ticket().client_order_id;
            match turn % 3 {
                0 => drop(placed_on(&world).await),
                1 => drop(world.kraken.cancel(&id).await),
                _ if turn < 20 => drop(world.kraken.balances().await),
                _ => {}
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let numbers: Vec<u64> = world
        .all_calls()
        .iter()
        .filter(|call| call.path.contains("/private/"))
        .map(Call::nonce)
        .collect();

    assert!(numbers.len() > 20, "{}", numbers.len());
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}

/// A switch that is turned on while the request number is drawn: the last thing an order waits for.
#[derive(Default)]
struct TrippedMeanwhile {
    floors: Floors,
    tripped: Arc<AtomicBool>,
}

#[async_trait]
impl NonceFloor for TrippedMeanwhile {
    async fn reserve(
        &self,
        id: CredentialId,
        at_least: u64,
        until: u64,
    ) -> Result<Range<u64>, NonceFloorError> {
        tokio::task::yield_now().await;
        self.tripped.store(true, Ordering::SeqCst);
        self.floors.reserve(id, at_least, until).await
    }
}

#[tokio::test]
async fn i4_a_switch_that_is_turned_on_during_the_last_wait_keeps_the_order_from_being_written() {
    let world = World::new(|call| is_order(call).then(|| (200, ok(ACCEPTED)))).await;
    let floors = TrippedMeanwhile::default();
    let tripped = floors.tripped.clone();
    let kraken = numbered(AccountMode::Live, &world.public, &world.clock, Arc::new(floors)).await;
    let mut ticket = world.ticket();
    let asked = tripped.clone();
    ticket.still_wanted = StillWanted::asking(move || {
        if asked.load(Ordering::SeqCst) {
            Err("switch global is on (halt): drill".to_owned())
        } else {
            Ok(())
        }
    });

    let order = approved(limit_buy("0.001", "60000"), world.clock.now());
    let outcome = kraken.place(order, &ticket).await;

    assert!(tripped.load(Ordering::SeqCst), "the number was drawn");
    match outcome {
        Err(PlaceError::NotSent { reason, .. }) => assert!(reason.contains("switch global"), "{reason}"),
        other => panic!("not stopped: {other:?}"),
    }
    assert!(world.calls("AddOrder").is_empty());
}

#[tokio::test]
async fn the_dead_man_timer_is_set_in_seconds_and_its_answer_is_believed_only_when_it_fits() {
    let armed = r#"{"currentTime":"2026-02-25T06:13:20Z","triggerTime":"2026-02-25T06:14:20Z"}"#;
    let disarmed = r#"{"currentTime":"2026-02-25T06:13:20Z","triggerTime":"0"}"#;
    for (seconds, answer, fits) in [
        (60, armed, true),
        (0, disarmed, true),
        (60, disarmed, false),
        (0, armed, false),
    ] {
        let world = World::new(move |call| {
            (call.path == "/0/private/CancelAllOrdersAfter").then(|| (200, ok(answer)))
        })
        .await;

        let told = world
            .kraken
            .arm_dead_man(std::time::Duration::from_secs(seconds))
            .await;

        assert_eq!(told.is_ok(), fits, "{seconds} {told:?}");
        let calls = world.calls("CancelAllOrdersAfter");
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].parameters()["timeout"], seconds.to_string());
    }
}
