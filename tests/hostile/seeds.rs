//! What the product writes itself, as beginnings for the search: a mutation of a whole record goes
//! deeper than a guess.

use std::sync::Arc;

use bursar::{Console, Exit};
use bursar_audit::checkpoint::TORN;
use bursar_audit::{
    Action, Actor, ActorKind, CheckpointFile, Data, Draft, Head, Origin, StoreId, Subject, chain,
};
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
use bursar_tests::hostile::beside;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};

/// Target, name, bytes.
type Seed = (&'static str, &'static str, Vec<u8>);

/// All of them.
pub(crate) async fn written() -> Vec<Seed> {
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
    .into_iter()
    .chain(kept_checkpoints())
    .chain(exports().await)
    .chain(stops())
    .chain(URLS.map(|(name, text)| ("webhook_addresses", name, text.as_bytes().to_vec())))
    .collect()
}

/// What lies in the copy elsewhere, whole and otherwise, and a note that others signed: the example of the format.
fn kept_checkpoints() -> Vec<Seed> {
    let known = beside::signed();
    let [first, second, third] = known.checkpoints.as_slice() else {
        panic!("three are signed")
    };
    let file: String = known.checkpoints.iter().map(CheckpointFile::entry).collect();
    let mended = format!(
        "{}\n{TORN}\n{}",
        &file[..file.len() * 2 / 3],
        CheckpointFile::entry(third)
    );
    let others = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    [
        ("written-key", known.key.to_string()),
        ("written-first", first.to_string()),
        ("written-file", file.clone()),
        ("torn-file", file[..file.len() - 40].to_owned()),
        ("mended-file", mended),
        ("other-size", first.to_string().replacen("\n1\n", "\n2\n", 1)),
        (
            "other-spelling",
            second.to_string().replacen("\n5\n", "\n05\n", 1),
        ),
        ("without-end", format!("{first}\n{second}")),
        (
            "signed-twice",
            format!("{second}{}\n", second.to_string().lines().last().unwrap()),
        ),
        ("of-others", others.to_owned()),
    ]
    .map(|(name, text)| ("checkpoints", name, text.into_bytes()))
    .to_vec()
}

/// What `bursar audit export` writes of a new installation, and what somebody could make of it.
async fn exports() -> Vec<Seed> {
    let folder = tempfile::tempdir().unwrap();
    let surroundings = beside::surroundings(folder.path());
    for line in [
        "init --yes --recovery-file recovery.txt",
        "user add mara_ilves --email mara@example.com --tier basic",
        "audit export trail.jsonl",
        "audit export --from 2 some.jsonl",
    ] {
        let silent = || Box::new(std::io::sink());
        let mut console = Console::with_streams(silent(), silent(), Box::new(std::io::empty()));
        let typed = ["bursar"].into_iter().chain(line.split(' ')).map(Into::into);
        let exit = bursar::execute(typed, &surroundings, &mut console).await;
        assert_eq!(exit, Exit::Done, "`{line}`");
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (whole, some) = (read("trail.jsonl"), read("some.jsonl"));
    let mut lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let doubled = [lines[0], lines[0]].concat();
    lines.swap(1, 2);
    let mixed_up = lines.concat();
    lines.remove(1);
    [
        ("written-trail", whole.clone()),
        ("written-some", some),
        ("cut", whole[..whole.len() - 7].to_owned()),
        ("other-words", whole.replacen("ops_desk", "ops_dask", 1)),
        ("other-spelling", whole.replacen(",\"", ", \"", 1)),
        ("left-out", lines.concat()),
        ("mixed-up", mixed_up),
        ("doubled", doubled),
        ("empty", String::new()),
        ("no-export", "{\"seq\":1,\"hash\":\"\u{1b}[2J\"}\n".to_owned()),
    ]
    .map(|(name, text)| ("audit_export", name, text.into_bytes()))
    .to_vec()
}

/// What the product writes when its store takes nothing, and what may come of it on a bad disk.
fn stops() -> Vec<Seed> {
    let line = |reason: &str| beside::stop(reason).line().unwrap().into_bytes();
    let (one, other) = (line("key compromised"), line("a\nreason\u{2028}of \"two\" lines"));
    vec![
        ("emergency_file", "written", [one.clone(), other.clone()].concat()),
        ("emergency_file", "being-written", one[..one.len() / 2].to_vec()),
        ("emergency_file", "without-end", one[..one.len() - 1].to_vec()),
        (
            "emergency_file",
            "killed-between",
            [&one[..40], b"\n", &other].concat(),
        ),
        (
            "emergency_file",
            "lost-to-zeros",
            [&one, &[0; 64][..], &other].concat(),
        ),
        (
            "emergency_file",
            "no-text",
            [&one, &b"\xff\xfe\n"[..], &other].concat(),
        ),
        (
            "emergency_file",
            "empty-lines",
            [b"\n \n", &one[..], b"\r\n"].concat(),
        ),
        (
            "emergency_file",
            "two-on-a-line",
            [&one[..one.len() - 1], &other].concat(),
        ),
    ]
}

/// A URL, and what a name server says of its host.
const URLS: [(&str, &str); 16] = [
    (
        "public-name",
        "https://hooks.example.com:8443/in?from=bursar\n192.0.2.1",
    ),
    ("public-address", "https://8.8.8.8/in"),
    ("this-machine", "http://127.0.0.1:4100/in"),
    (
        "this-machine-by-name",
        "http://localhost:4100/in\n127.0.0.1\n10.0.0.1",
    ),
    ("loopback-by-https", "https://localhost/in\n127.0.0.1\n::1"),
    (
        "name-of-metadata",
        "https://hooks.example.com/in\n169.254.169.254",
    ),
    (
        "name-of-two",
        "https://hooks.example.com/in\n2606:4700:4700::1111\n127.0.0.1",
    ),
    ("name-of-mapped", "https://hooks.example.com/in\n::ffff:127.0.0.1"),
    ("metadata", "https://169.254.169.254/latest/meta-data/"),
    ("in-one-number", "https://2130706433/"),
    ("in-octal", "https://0177.0.0.1/"),
    ("in-hexadecimal", "https://0x7f.1/"),
    ("short", "https://127.1/"),
    ("mapped", "https://[::ffff:10.0.0.1]/"),
    ("translated", "https://[64:ff9b::a9fe:a9fe]/"),
    ("with-a-user", "https://127.0.0.1@hooks.example.com/"),
];

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
