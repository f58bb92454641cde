//! What the product writes itself, as beginnings for the search: a mutation of a whole record goes
//! deeper than a guess.

use std::sync::Arc;

use bursar_audit::{Action, Actor, ActorKind, Data, Draft, Head, Origin, StoreId, Subject, chain};
use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_config::Settings;
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Policy, Scope, Sizing};
use bursar_execution::Intent;
use bursar_keystore::{
    CredentialMaterial, CredentialPlace, KeyStore, MemoryVault, NewSlot, PassphraseCost, Secret, Vault,
};
use bursar_model::{
    AccountMode, Check, IntentState, LatchId, Level, OrderKind, OrderRequest, OrderSize, OrderTerms, Side,
    TimeInForce, Usd, Verdict,
};
use bursar_permissions::Caller;
use bursar_testkit::SeededEntropy;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};

/// Target, name, bytes.
pub(crate) async fn written() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let json = |value: serde_json::Value| value.to_string().into_bytes();
    let (header, record) = sealed().await;
    vec![
        (
            "settings",
            "written-defaults",
            Settings::default().to_toml().into_bytes(),
        ),
        ("audit_record", "written-first", first_record(Data::new())),
        (
            "audit_record",
            "written-data",
            first_record(
                Data::new()
                    .text("pair", "BTC-USD")
                    .integer("age_ms", -7)
                    .flag("reducing", true)
                    .texts("rules", ["order-size", "collar"]),
            ),
        ),
        ("audit_record", "cut", first_record(Data::new())[..40].to_vec()),
        ("key_containers", "written-header", header),
        ("key_containers", "written-record", record),
        ("backup", "written", bursar_tests::hostile::backup::sealed().to_vec()),
        (
            "backup",
            "cut",
            bursar_tests::hostile::backup::sealed()[..100].to_vec(),
        ),
        (
            "backup",
            "lengthened",
            [bursar_tests::hostile::backup::sealed(), b"x"].concat(),
        ),
        (
            "user_lists",
            "one.json",
            br#"{"user_id": "mara_ilves", "email": "mara@example.com", "tier": "basic", "broker_type": "kraken",
                "pairs": ["BTC-USD"], "max_size": 50, "max_positions": 2, "trade_only": true}"#
                .to_vec(),
        ),
        (
            "user_lists",
            "wrong-name-that-steers.json",
            // One name holds a byte that a terminal obeys, and is far from every right one.
            br#"{"user_id": "mara_ilves", "p\u001b[2Jirs": ["BTC-USD"]}"#.to_vec(),
        ),
        (
            "user_lists",
            "two.toml",
            b"[[user]]\nuser_id = \"mara_ilves\"\ntier = \"basic\"\nbroker_type = \"kraken\"\n\n[[user]]\n\
              user_id = \"tomas_brandt\"\ntier = \"pro\"\nbroker_type = \"paper\"\nmax_daily_loss_usd = \"25.50\"\n"
                .to_vec(),
        ),
        (
            "user_lists",
            "with-a-key.json",
            br#"[{"user_id": "mara_ilves", "tier": "pro", "broker_type": "kraken",
                "credentials": {"api_key": "public", "api_secret": "c2VjcmV0"}, "max_position_usd": 1e30}]"#
                .to_vec(),
        ),
        (
            "stored_rows",
            "written-intent",
            json(serde_json::to_value(intent()).unwrap()),
        ),
        (
            "stored_rows",
            "written-request",
            json(serde_json::to_value(request()).unwrap()),
        ),
        (
            "stored_rows",
            "written-sizing",
            json(serde_json::to_value(sizing()).unwrap()),
        ),
        (
            "stored_rows",
            "written-terms",
            json(serde_json::to_value(sizing().terms).unwrap()),
        ),
        (
            "stored_rows",
            "written-trace",
            json(serde_json::to_value(trace()).unwrap()),
        ),
        (
            "stored_rows",
            "written-policy",
            json(serde_json::to_value(Policy::default()).unwrap()),
        ),
        (
            "stored_rows",
            "written-latch",
            json(serde_json::to_value(latch()).unwrap()),
        ),
        (
            "stored_rows",
            "written-order",
            json(serde_json::to_value(venue_order()).unwrap()),
        ),
    ]
}

fn at() -> Timestamp {
    "2026-11-20T09:30:00.123456Z".parse().unwrap()
}

fn first_record(data: Data) -> Vec<u8> {
    let origin = Origin {
        store: StoreId::random(&SeededEntropy::new(3)),
        node: "node-1".to_owned(),
        epoch: 3,
    };
    let draft = Draft::new(
        Actor::new(ActorKind::User, Some("mara_ilves")),
        Action::IntentDenied,
    )
    .on(Subject::user(&"mara_ilves".parse().unwrap()))
    .because("over the limit")
    .with(data);
    chain(&Head::EMPTY, &origin, at(), draft)
        .unwrap()
        .to_stored()
        .body
}

/// A header and a record of a key store, as JSON.
async fn sealed() -> (Vec<u8>, Vec<u8>) {
    let secret = |text: &str| Secret::from_text(text.to_owned());
    let slot = NewSlot::Passphrase {
        passphrase: secret("walnut harbour violin eleven"),
        cost: PassphraseCost::FLOOR,
    };
    let vault = Arc::new(MemoryVault::new());
    let new = KeyStore::init(vault.clone(), Arc::new(SeededEntropy::new(4)), at(), vec![slot])
        .await
        .unwrap();
    let code = new.recovery_code().reveal().to_string();
    let groups: Vec<&str> = code.split('-').collect();
    let confirmed = new
        .recovery_code()
        .confirm([(1, &secret(groups[0])), (2, &secret(groups[1]))])
        .unwrap();
    let store = new.finish(confirmed).await.unwrap();
    let material = CredentialMaterial::new(secret("KrakenPublicKeyId0123wxyz"), secret("SmVmZQ=="));
    let place = CredentialPlace {
        account: "kraken-ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        mode: AccountMode::Live,
    };
    let record = store
        .seal(store.stage(&material).unwrap(), place, "trade", at())
        .unwrap();
    let header = vault.load_header().await.unwrap().unwrap();
    (
        serde_json::to_vec(&header).unwrap(),
        serde_json::to_vec(&record).unwrap(),
    )
}

fn request() -> OrderRequest {
    OrderRequest::market(
        "BTC-USD".parse().unwrap(),
        Side::Buy,
        OrderSize::Usd("150.25".parse().unwrap()),
    )
}

fn sizing() -> Sizing {
    Sizing {
        terms: OrderTerms {
            pair: "BTC-USD".parse().unwrap(),
            side: Side::Buy,
            kind: OrderKind::StopLossLimit {
                trigger: "60000.1".parse().unwrap(),
                price: "60100".parse().unwrap(),
            },
            quantity: "0.0025".parse().unwrap(),
            time_in_force: TimeInForce::GoodTilDate(at()),
            post_only: false,
        },
        reference: None,
        notional: "150".parse().unwrap(),
        worst_cost: "151".parse().unwrap(),
        worst_cost_quote: dec!(151),
        worst_fee: "0.61".parse().unwrap(),
        rounded_off: Usd::ZERO,
        worst_rate: None,
    }
}

fn trace() -> Vec<Check> {
    vec![Check {
        rule: "order-size".to_owned(),
        level: Level::Tier,
        verdict: Verdict::Broken,
        limit: "100 USD".to_owned(),
        observed: "150.25 USD".to_owned(),
        source: "request".to_owned(),
        age_ms: Some(12),
        hint: "ask for less".to_owned(),
    }]
}

fn intent() -> Intent {
    Intent {
        id: "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap(),
        account: "kraken-ilves".parse().unwrap(),
        user: "mara_ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        caller: Caller::Strategy {
            name: "trend-momentum".to_owned(),
            exit: None,
        },
        request: request(),
        sizing: Some(sizing()),
        state: IntentState::Open,
        cause: String::new(),
        client_order_id: "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap(),
        venue_order_id: Some("OABCDE-FGHIJ-KLMNOP".parse().unwrap()),
        reducing: false,
        created_at: at(),
        updated_at: at(),
        valid_until: at(),
        dispatched_at: Some(at()),
        acceptance_bound: Some(at()),
        filled: dec!(0.001),
        venue_filled: dec!(0.002),
        closing: Some(VenueOrderStatus::Filled),
        trace: trace(),
    }
}

fn latch() -> Latch {
    Latch {
        id: LatchId::random(&SeededEntropy::new(5)),
        scope: Scope::User("mara_ilves".parse().unwrap()),
        mode: LatchMode::ReduceOnly,
        cause: LatchCause::DailyLoss,
        reason: "150 USD lost".to_owned(),
        tripped_by: "journal".to_owned(),
        tripped_at: at(),
        clear_rule: ClearRule::DayBoundary {
            day: "2026-11-20".to_owned(),
        },
    }
}

fn venue_order() -> VenueOrder {
    VenueOrder {
        id: "OABCDE-FGHIJ-KLMNOP".parse().unwrap(),
        client_order_id: None,
        pair: "ETH-USD".parse().unwrap(),
        side: Side::Sell,
        kind: None,
        quantity: "2".parse().unwrap(),
        filled: Decimal::ZERO,
        status: VenueOrderStatus::Live,
        opened_at: at(),
        reason: String::new(),
    }
}
