//! What a user may trade and lose, and what a user wishes for inside it.

use bursar::Exit;
use bursar_auth::{Membership, MembershipStatus, rights_on};
use bursar_model::Right;
use serde_json::{Value, json};

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn e3_the_limits_of_the_example_are_kept() {
    let mut office = Office::open().await;
    office.trader("mara_ilves", "pro", "kraken-ilves", "user").await;

    office
        .done(
            "permissions set mara_ilves --pairs BTC-USD,ETH-USD,SOL-USD --max-position-usd 200 \
             --max-daily-loss-usd 100 --max-positions 5 --trade-only",
        )
        .await;

    let shown = office.json("permissions show mara_ilves").await;
    let permissions = &shown["permissions"];
    assert_eq!(
        permissions["pairs"]["only"],
        json!(["BTC-USD", "ETH-USD", "SOL-USD"])
    );
    assert_eq!(permissions["max_position_usd"], json!("200"));
    assert_eq!(permissions["max_daily_loss_usd"], json!("100"));
    assert_eq!(permissions["max_positions"], json!(5));
    assert_eq!(permissions["trade_only"], json!(true));
    assert_eq!(
        office.json("user show mara_ilves").await["user"]["enabled"],
        json!(true)
    );
    // And they are what counts.
    let fits = office
        .broken("mara_ilves", "kraken-ilves", "SOL-USD", "190")
        .await;
    assert_eq!(fits, Vec::<String>::new());
    let too_much = office
        .broken("mara_ilves", "kraken-ilves", "SOL-USD", "210")
        .await;
    assert_eq!(too_much, ["order-size", "position-size"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn e5_a_change_is_checked_before_it_counts_and_counts_whole_or_not_at_all() {
    let mut office = Office::with_mara().await;
    let before = office.json("permissions show mara_ilves").await;

    for wrong in [
        "--max-position-usd 40 --max-positions 3",
        "--max-daily-loss-usd 26",
        "--pairs SOL-USD",
        "--pairs all",
    ] {
        let said = office
            .ends(&format!("permissions set mara_ilves {wrong}"), Exit::Refused)
            .await;
        assert!(said.contains("rule tier-ceiling"), "{wrong}: {said}");
    }
    for wrong in [
        "--max-position-usd -1",
        "--max-positions many",
        "--pairs BTC/",
        "",
    ] {
        office
            .ends(&format!("permissions set mara_ilves {wrong}"), Exit::Usage)
            .await;
    }

    assert_eq!(office.json("permissions show mara_ilves").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn e6_permissions_are_shown_to_people_and_to_programs() {
    let mut office = Office::with_mara().await;

    let text = office.done("permissions show mara_ilves").await;
    let document = office.json("permissions show mara_ilves").await;

    for (row, field) in [
        ("max position", "max_position_usd"),
        ("max daily loss", "max_daily_loss_usd"),
        ("max positions", "max_positions"),
    ] {
        let value = match &document["permissions"][field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let line = text.lines().find(|line| line.trim().starts_with(row)).unwrap();
        assert!(line.contains(&value), "{line}: {value}");
    }
    assert!(text.contains("BTC, ETH"), "{text}");
    office.ends("permissions show nobody", Exit::NotFound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e7_e13_only_listed_pairs_may_be_traded_and_obscure_ones_are_not_listed() {
    let mut office = Office::with_mara().await;
    office
        .trader("tomas_brandt", "pro", "kraken-brandt", "user")
        .await;

    for (user, account, pair, may) in [
        ("mara_ilves", "kraken-ilves", "BTC-USD", true),
        ("mara_ilves", "kraken-ilves", "ETH-USD", true),
        ("mara_ilves", "kraken-ilves", "SOL-USD", false),
        ("tomas_brandt", "kraken-brandt", "SOL-USD", true),
        // Of no list, so that nobody has it without having been given it.
        ("tomas_brandt", "kraken-brandt", "FLR-USD", false),
    ] {
        let broken = office.broken(user, account, pair, "40").await;
        let expected: &[&str] = if may { &[] } else { &["pair-allowed"] };
        assert_eq!(broken, expected, "{user}: {pair}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e9_a_limit_is_raised_at_once_and_a_tighter_wish_still_counts() {
    let mut office = Office::open().await;
    office.trader("mara_ilves", "pro", "kraken-ilves", "user").await;
    office
        .done("preferences set mara_ilves --max-position-usd 200")
        .await;
    let order = ("mara_ilves", "kraken-ilves", "BTC-USD", "250");
    let broken = office.broken(order.0, order.1, order.2, order.3).await;
    assert_eq!(broken, ["order-size", "position-size"]);

    office
        .done("permissions set mara_ilves --max-position-usd 300 --yes")
        .await;

    // The wish of before is a second limit, and must be changed too.
    let broken = office.broken(order.0, order.1, order.2, order.3).await;
    assert_eq!(broken, ["order-size", "position-size"]);
    office
        .done("preferences set mara_ilves --max-position-usd 300 --yes")
        .await;
    let broken = office.broken(order.0, order.1, order.2, order.3).await;
    assert_eq!(broken, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn e11_the_limit_holds_for_the_order_and_for_the_position() {
    let mut office = Office::with_mara().await;

    let one = office.broken("mara_ilves", "kraken-ilves", "BTC-USD", "60").await;
    assert_eq!(one, ["order-size", "position-size"]);
    office.mara_holds("BTC-USD", "30").await;

    let more = office.broken("mara_ilves", "kraken-ilves", "BTC-USD", "31").await;
    assert_eq!(more, ["position-size"], "the order alone would fit");
    let other = office.broken("mara_ilves", "kraken-ilves", "ETH-USD", "30").await;
    assert_eq!(other, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn e15_the_status_shows_every_permission() {
    let mut office = Office::with_mara().await;
    office
        .done(
            "permissions set mara_ilves --max-position-usd 41 --max-daily-loss-usd 19 --max-positions 1 \
             --pairs BTC-USD --trade-only false --yes",
        )
        .await;

    let text = office.done("status mara_ilves").await;

    for row in [
        "max position    41.00 USD",
        "max daily loss  19.00 USD",
        "max positions   1",
        "pairs           1: BTC-USD",
        "trade-only      no",
        "enabled       yes",
    ] {
        assert!(text.lines().any(|line| line.trim() == row), "{row}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e16_q1_what_was_allowed_changed_and_refused_is_recorded_of_each_user() {
    let mut office = Office::with_master_and_mara().await;
    office
        .done("permissions set mara_ilves --max-position-usd 40 --reason 'first month'")
        .await;
    let refused = office
        .run("order place kraken-ilves buy SOL-USD --usd 30 --wait-ms 0")
        .await;
    assert_eq!(refused.exit, Exit::Refused);
    office.place("kraken-main buy BTC-USD --usd 30").await;

    let trail = office.json("audit tail -n 100 --user mara_ilves").await;
    let records = trail["records"].as_array().unwrap();
    let actions: Vec<&str> = records
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect();
    for action in ["user.added", "user.enabled", "permissions.set", "intent.denied"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
    let text = trail.to_string();
    assert!(text.contains("first month"), "{text}");
    assert!(text.contains("pair-allowed"), "{text}");
    assert!(!text.contains("kraken-main"), "nothing of somebody else: {text}");
    office.done("audit verify").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e17_s7_a_rejected_order_is_explained_pair_first_then_size_then_hard_controls() {
    let mut office = Office::with_mara().await;
    office.fund("kraken-ilves", "USD", rust_decimal::dec!(100)).await;

    let answer = office.json("can mara_ilves kraken-ilves buy SOL-USD 60").await;

    assert_eq!(
        answer["broken_rules"],
        json!(["pair-allowed", "order-size", "position-size", "cap-order-equity"])
    );
    let placed = office
        .json("order place kraken-ilves buy SOL-USD --usd 60 --wait-ms 0")
        .await;
    assert_eq!(placed["order"]["state"], json!("denied"));
    for rule in placed["order"]["broken_rules"].as_array().unwrap() {
        for field in ["limit", "observed", "source", "hint"] {
            assert_ne!(rule[field], json!(""), "{field}: {rule:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e18_a_shared_account_is_viewed_traded_or_managed() {
    use bursar_auth::Directory;

    let office = Office::with_mara().await;
    let store = office.stage.store().unwrap();
    let account = store.account(&"kraken-ilves".parse().unwrap()).await.unwrap();
    let tomas = "tomas_brandt".parse().unwrap();
    let granted = |rights: &str| Membership {
        account: account.id().clone(),
        user: "tomas_brandt".parse().unwrap(),
        rights: rights.parse().unwrap(),
        status: MembershipStatus::Active,
        since: office.now(),
        until: None,
    };
    let allows = |memberships: &[Membership]| {
        let rights = rights_on(&account, &tomas, memberships, office.now());
        [Right::View, Right::Trade, Right::Manage].map(|right| rights.has(right))
    };

    assert_eq!(allows(&[]), [false, false, false]);
    assert_eq!(allows(&[granted("view")]), [true, false, false]);
    assert_eq!(allows(&[granted("trade")]), [true, true, false]);
    assert_eq!(allows(&[granted("manage")]), [true, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_the_wishes_of_the_example_are_kept() {
    let mut office = Office::open().await;
    office.trader("mara_ilves", "pro", "kraken-ilves", "user").await;

    office
        .done(
            "preferences set mara_ilves --max-position-usd 200.0 --max-positions 5 --risk-level medium \
             --trailing-stop on --take-profit on --auto-compound on --notify-on-trade on \
             --notify-on-profit-target on --notify-on-stop-loss on --yes",
        )
        .await;

    let shown = office.json("preferences show mara_ilves").await;
    let wishes = &shown["preferences"];
    let dollars: rust_decimal::Decimal = wishes["max_position_usd"].as_str().unwrap().parse().unwrap();
    assert_eq!(dollars, rust_decimal::dec!(200));
    assert_eq!(wishes["max_positions"], json!(5));
    assert_eq!(wishes["risk_level"], json!("medium"));
    for on in [
        "trailing_stop",
        "take_profit",
        "auto_compound",
        "notify_on_trade",
        "notify_on_profit_target",
        "notify_on_stop_loss",
    ] {
        assert_eq!(wishes[on], json!(true), "{on}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f6_a_wish_is_changed_read_and_taken_back() {
    let mut office = Office::with_mara().await;
    let untouched = office.json("preferences show mara_ilves").await;

    office
        .done("preferences set mara_ilves --max-position-usd 20 --max-positions 1")
        .await;
    let wished = office.json("preferences show mara_ilves").await;
    assert_eq!(wished["effective"]["max_position_usd"], json!("20"));
    assert!(!office.stops_mara().await.is_empty());

    office
        .done("preferences set mara_ilves --max-position-usd none --max-positions none --yes")
        .await;
    assert_eq!(office.json("preferences show mara_ilves").await, untouched);
    assert_eq!(office.stops_mara().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_of_two_limits_the_tighter_counts_and_a_wish_never_loosens() {
    let mut office = Office::with_mara().await;
    let refused = office
        .ends("preferences set mara_ilves --max-position-usd 60", Exit::Refused)
        .await;
    assert!(refused.contains("50"), "{refused}");

    office
        .done("preferences set mara_ilves --max-position-usd 30")
        .await;
    let shown = office.json("permissions show mara_ilves").await;
    assert_eq!(shown["permissions"]["max_position_usd"], json!("50"));
    assert_eq!(shown["permissions"]["effective"]["max_position_usd"], json!("30"));
    assert_eq!(office.stops_mara().await, ["order-size", "position-size"]);
    // Lowered below the wish, the permission is what counts.
    office
        .done("permissions set mara_ilves --max-position-usd 15")
        .await;
    let shown = office.json("permissions show mara_ilves").await;
    assert_eq!(shown["permissions"]["effective"]["max_position_usd"], json!("15"));
}
