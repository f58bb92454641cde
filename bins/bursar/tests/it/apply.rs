//! Many users from one file: shown first, then written together or not at all.

use bursar::Exit;
use bursar_testkit::Canary;
use serde_json::{Value, json};

use crate::credentials::Venue;
use crate::desk::Desk;

const LIST: &str = r#"[
  {"user_id": "mara_ilves", "email": "mara@example.com", "tier": "basic", "broker_type": "kraken",
   "mode": "paper", "pairs": ["BTC-USD"], "max_size": 50, "max_positions": 2, "trade_only": true},
  {"user_id": "tomas_brandt", "email": "tomas@example.com", "tier": "pro", "broker_type": "kraken",
   "mode": "paper", "pairs": ["BTC-USD", "ETH-USD"], "max_size": 200, "max_positions": 3, "trade_only": true}
]"#;

fn document(out: &str) -> Value {
    serde_json::from_str(out).unwrap_or_else(|_| panic!("{out}"))
}

/// How many records of the trail are not about reading it.
async fn changes_recorded(desk: &Desk) -> usize {
    let tail = desk.done("audit tail").await;
    tail.lines().filter(|line| !line.contains("audit.read")).count()
}

#[tokio::test]
async fn c19_c20_c21_c22_every_user_of_a_list_gets_account_and_limits() {
    let desk = Desk::made().await;
    desk.write("users.json", &LIST.replace("_positions\": 2", "_positions\": 3"));

    // Three positions are more than the tier of the careful user allows, until somebody says why.
    let told = desk.ends("apply users.json", Exit::Refused).await;
    assert!(
        told.contains("max positions: 3 is above the tier's ceiling of 2"),
        "{told}"
    );
    let applied = desk
        .json("apply users.json --exceed-tier --reason 'agreed with both'")
        .await;

    assert_eq!(applied["written"], json!(true), "{applied:#}");
    let users = desk.json("user list").await;
    assert_eq!(users["total_count"], json!(2));
    assert_eq!(users["users"][0]["enabled"], json!(false));
    for (user, tier, size, pairs) in [
        ("mara_ilves", "basic", "50", json!(["BTC-USD"])),
        ("tomas_brandt", "pro", "200", json!(["BTC-USD", "ETH-USD"])),
    ] {
        let shown = desk.json(&format!("permissions show {user}")).await;
        assert_eq!(shown["tier"], json!(tier));
        let limits = &shown["permissions"];
        assert_eq!(limits["max_position_usd"], json!(size));
        assert_eq!(limits["max_positions"], json!(3));
        assert_eq!(limits["trade_only"], json!(true));
        assert_eq!(limits["pairs"]["only"], pairs);
        desk.done(&format!("account show kraken-{user}")).await;
    }
    desk.done("audit verify").await;
}

#[tokio::test]
async fn d3_a_plan_shows_what_is_new_and_writes_nothing() {
    let desk = Desk::made().await;
    desk.write("users.json", LIST);
    let before = changes_recorded(&desk).await;

    insta::assert_snapshot!(desk.done("apply users.json --plan").await);

    assert_eq!(
        desk.json("apply users.json --plan").await["written"],
        json!(false)
    );
    assert_eq!(desk.json("user list").await["total_count"], json!(0));
    assert_eq!(changes_recorded(&desk).await, before);
}

#[tokio::test]
async fn d3_c23_what_becomes_looser_is_shown_and_asked_about() {
    let desk = Desk::made().await;
    desk.write("users.json", LIST);
    desk.done("apply users.json").await;
    let wider = LIST
        .replace("\"max_size\": 50", "\"max_size\": 40")
        .replace("\"tier\": \"basic\"", "\"tier\": \"basic\", \"enabled\": true")
        .replace("[\"BTC-USD\"]", "[\"BTC-USD\", \"ETH-USD\"]")
        .replace(
            "\"max_positions\": 3, \"trade_only\": true}\n]",
            "\"max_positions\": 3, \"trade_only\": false}\n]",
        );
    desk.write("users.json", &wider);

    insta::assert_snapshot!(desk.done("apply users.json --plan").await);

    let asked = desk.ends("apply users.json", Exit::Usage).await;
    assert!(asked.contains("mara_ilves: enabled yes instead of no"), "{asked}");
    assert_eq!(
        desk.json("user show mara_ilves").await["user"]["enabled"],
        json!(false)
    );
    let done = desk.done("apply users.json --yes").await;
    assert!(
        done.contains("tomas_brandt: trade-only no instead of yes"),
        "{done}"
    );
    let shown = desk.json("user show mara_ilves").await;
    assert_eq!(shown["user"]["enabled"], json!(true));
    assert_eq!(shown["permissions"]["max_position_usd"], json!("40"));
}

#[tokio::test]
async fn c23_applying_a_file_again_changes_and_records_nothing() {
    let desk = Desk::made().await;
    desk.write("users.json", LIST);
    desk.done("apply users.json").await;
    let records = changes_recorded(&desk).await;

    let again = desk.json("apply users.json").await;

    assert_eq!(again["users"][0]["state"], json!("unchanged"), "{again:#}");
    assert_eq!(again["users"][1]["state"], json!("unchanged"));
    assert_eq!(changes_recorded(&desk).await, records);
}

#[tokio::test]
async fn d3_every_mistake_of_a_file_is_told_at_once_with_its_line() {
    let desk = Desk::made().await;
    let list = LIST
        .replace(
            "max_positions\": 2, \"trade_only\": true},",
            "max_positons\": 3},",
        )
        .replace("\"tier\": \"pro\"", "\"tier\": \"prro\"");

    let ran = desk.run_with("apply -", &list).await;

    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("line 3, column"), "{}", ran.err);
    assert!(ran.err.contains("did you mean `max_positions`?"), "{}", ran.err);
    assert!(ran.err.contains("line 4, column"), "{}", ran.err);
    assert!(ran.err.contains("did you mean `pro`?"), "{}", ran.err);

    // Of a file that can be read, what the rules and the store refuse.
    let list = LIST.replace("\"max_size\": 200", "\"max_size\": 9000").replace(
        "\"kraken\",\n   \"mode\": \"paper\", \"pairs\": [\"BTC-USD\"]",
        "\"nowhere\",\n   \"mode\": \"paper\", \"pairs\": [\"BTC-USD\"]",
    );
    let ran = desk.run_with("apply -", &list).await;
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.err);
    assert!(
        ran.err.contains("line 2, user `mara_ilves`: there is no adapter"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("line 4, user `tomas_brandt`: rule tier-ceiling"),
        "{}",
        ran.err
    );
    let list = LIST.replace("tomas@example.com", "mara@example.com");
    for command in ["apply - --plan", "apply -"] {
        let ran = desk.run_with(command, &list).await;
        assert_eq!(ran.exit, Exit::Refused, "{}", ran.err);
        assert!(
            ran.err
                .contains("line 4, user `tomas_brandt`: user with e-mail address"),
            "{}",
            ran.err
        );
    }
    assert_eq!(desk.json("user list").await["total_count"], json!(0));
}

#[tokio::test]
async fn d3_mistakes_in_toml_are_told_with_their_lines_too() {
    let desk = Desk::made().await;
    desk.write(
        "users.toml",
        "[[user]]\nuser_id = \"mara_ilves\"\nbroker_typ = \"kraken\"\n\n\
         [[user]]\nuser_id = \"tomas_brandt\"\nbroker_type = \"kraken\"\ntier = \"baisc\"\n",
    );

    let told = desk.ends("apply users.toml --plan", Exit::Usage).await;

    assert!(
        told.contains("line 3: unknown field `broker_typ`; did you mean `broker_type`?"),
        "{told}"
    );
    assert!(
        told.contains("line 8: unknown variant `baisc`; did you mean `basic`?"),
        "{told}"
    );
}

#[tokio::test]
async fn c23_a_user_may_have_two_accounts_in_one_file() {
    let desk = Desk::made().await;
    let list = r#"[
      {"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken", "mode": "paper"},
      {"user_id": "mara_ilves", "broker_type": "kraken", "mode": "paper", "account_id": "kraken-second",
       "enabled": true, "max_size": 30}]"#;

    for command in ["apply - --yes", "apply -"] {
        let ran = desk.run_with(command, list).await;
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    }

    let shown = desk.json("user show mara_ilves").await;
    assert_eq!(shown["accounts"].as_array().unwrap().len(), 2);
    assert_eq!(shown["permissions"]["max_position_usd"], json!("30"));
}

#[tokio::test]
async fn d27_a_file_that_holds_keys_is_refused() {
    let desk = Desk::made().await;
    desk.write(
        "users.json",
        r#"[{"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken",
            "credentials": {"api_key": "CANARYKEY", "api_secret": "CANARYSECRET"}}]"#,
    );

    for command in ["apply users.json", "apply users.json --plan"] {
        let told = desk.ends(command, Exit::Refused).await;
        assert!(told.contains("rule no-kept-keys"), "{told}");
        assert!(told.contains("line 1 (`mara_ilves`)"), "{told}");
        assert!(!told.contains("CANARY"), "{told}");
    }
    assert_eq!(desk.json("user list").await["total_count"], json!(0));
}

/// One with a key that may trade, one with a key that can withdraw.
fn piped(venue: &Venue, second: &str) -> String {
    let entry = |user: &str, mail: &str, customer: &str| {
        json!({
            "user_id": user, "email": mail, "broker_type": "kraken",
            "credentials": document(&venue.document(customer)),
        })
    };
    json!([
        entry("mara_ilves", "mara@example.com", "mara"),
        entry("tomas_brandt", "tomas@example.com", second),
    ])
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_d13_a_refused_key_leaves_the_rest_done_and_the_next_run_goes_on() {
    let desk = Desk::made().await;
    let venue = Venue::open(&desk).await;
    let list = piped(&venue, "careless");

    let planned = desk.run_with("apply - --plan", &list).await;
    let ran = desk.run_with("apply - --json", &list).await;

    assert_eq!(planned.exit, Exit::Done, "{}", planned.err);
    assert_eq!(ran.exit, Exit::Partial, "{}", ran.err);
    let users = document(&ran.out)["users"].clone();
    assert_eq!(users[0]["key"]["outcome"], json!("stored"), "{users:#}");
    assert_eq!(users[1]["key"]["outcome"], json!("failed"));
    let why = users[1]["key"]["error"]["message"].as_str().unwrap();
    assert!(why.contains("rule key-rights"), "{why}");
    let secret = document(&venue.document("careless"))["api_secret"].clone();
    for text in [&planned.out, &planned.err, &ran.out, &ran.err] {
        let canary = Canary::new("secret", secret.as_str().unwrap());
        assert_eq!(canary.find(text.as_bytes()), None, "{text}");
    }

    desk.later(1);
    let again = desk.run_with("apply - --json", &list).await;
    assert_eq!(again.exit, Exit::Partial, "{}", again.err);
    let users = document(&again.out)["users"].clone();
    assert_eq!(users[0]["state"], json!("unchanged"), "{users:#}");
    assert_eq!(users[0]["key"]["outcome"], json!("kept"));
    assert_eq!(
        desk.json("credentials list").await["accounts_without_key"],
        json!(["kraken-tomas_brandt"])
    );
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d27_keys_of_a_list_come_from_the_environment() {
    let mut desk = Desk::made().await;
    let venue = Venue::open(&desk).await;
    desk.write(
        "users.json",
        r#"[{"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken", "enabled": true}]"#,
    );

    let told = desk.ends("apply users.json --from-env", Exit::NotFound).await;
    assert!(told.contains("KRAKEN_USER_MARA_ILVES"), "{told}");
    assert_eq!(desk.json("user list").await["total_count"], json!(0));
    venue.name_key(&mut desk, "KRAKEN_USER_MARA", "mara");

    let applied = desk.json("apply users.json --from-env").await;

    assert_eq!(
        applied["users"][0]["key"]["outcome"],
        json!("stored"),
        "{applied:#}"
    );
    assert_eq!(applied["users"][0]["state"], json!("new"));
    venue.close().await;
}

async fn two_live_accounts() -> Desk {
    let desk = Desk::made().await;
    for (user, name, account, role) in [
        ("ops_desk", "ops", "kraken-main", "master"),
        ("mara_ilves", "mara", "kraken-ilves", "user"),
    ] {
        desk.done(&format!(
            "user add {user} --email {name}@example.com --tier basic"
        ))
        .await;
        desk.done(&format!(
            "account add {account} --user {user} --broker kraken --role {role}"
        ))
        .await;
    }
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn a41_a42_d27_the_keys_of_all_accounts_are_imported_at_once() {
    let mut desk = two_live_accounts().await;
    let venue = Venue::open(&desk).await;
    venue.name_key(&mut desk, "KRAKEN_MASTER", "mara");
    venue.name_key(&mut desk, "KRAKEN_USER_MARA", "careless");

    let planned = desk.json("import-env --plan").await;
    assert_eq!(planned["keys"][0]["variable"], json!("KRAKEN_USER_MARA_API_KEY"));
    assert_eq!(planned["keys"][0]["account_id"], json!("kraken-ilves"));
    assert_eq!(planned["keys"][1]["variable"], json!("KRAKEN_MASTER_API_KEY"));
    assert_eq!(planned["keys"][1]["outcome"], json!("planned"), "{planned:#}");
    assert_eq!(desk.json("credentials list").await["credentials"], json!([]));

    let ran = desk.run("import-env").await;

    // The one that can withdraw is refused, the other is there.
    assert_eq!(ran.exit, Exit::Partial, "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("rule key-rights"), "{}", ran.out);
    let stored = desk.json("credentials list").await;
    assert_eq!(stored["credentials"][0]["account_id"], json!("kraken-main"));
    assert_eq!(stored["accounts_without_key"], json!(["kraken-ilves"]));
    let again = desk.json("import-env").await;
    assert_eq!(again["keys"][1]["outcome"], json!("kept"), "{again:#}");
    venue.close().await;
}

#[tokio::test]
async fn d27_where_no_account_could_hold_a_key_the_import_says_so() {
    let mut desk = Desk::made().await;
    let told = desk.ends("import-env", Exit::NotFound).await;
    assert!(
        told.contains("hint: there is no account that could hold it: add one"),
        "{told}"
    );
    desk.set_variable("KRAKEN_MASTER_API_KEY", "CANARYSECRET");
    let told = desk.ends("import-env", Exit::NotFound).await;
    assert!(
        told.contains("hint: there is no account that could hold it: add one"),
        "{told}"
    );
}

#[tokio::test]
async fn d27_a_variable_that_fits_no_account_or_two_stops_the_import() {
    let mut desk = two_live_accounts().await;
    let told = desk.ends("import-env", Exit::NotFound).await;
    assert!(told.contains("KRAKEN_MASTER_API_KEY for `kraken-main`"), "{told}");
    for part in ["KEY", "SECRET"] {
        desk.set_variable(&format!("KRAKEN_USER_MAAR_API_{part}"), "CANARYSECRET");
        desk.set_variable(&format!("KRAKEN_USER_MARA_API_{part}"), "CANARYSECRET");
    }
    desk.set_variable("KRAKEN_MASTER_API_KEY", "CANARYSECRET");
    desk.done("user add mara_brandt --email brandt@example.com --tier basic")
        .await;
    desk.done("account add kraken-brandt --user mara_brandt --broker kraken --role user")
        .await;

    for command in ["import-env --plan", "import-env"] {
        let told = desk.run(command).await;

        assert_ne!(told.exit, Exit::Done);
        let told = told.err;
        for mistake in [
            "`KRAKEN_USER_MAAR_API_KEY` is for no account that holds a key; did you mean `KRAKEN_USER_MARA_API_KEY`?",
            "`KRAKEN_USER_MARA_API_KEY` could be for account `kraken-brandt` or for account `kraken-ilves`",
            "`KRAKEN_MASTER_API_SECRET` is not set",
        ] {
            assert!(told.contains(mistake), "{told}");
        }
        assert!(!told.contains("CANARYSECRET"), "{told}");
    }
    assert_eq!(desk.json("credentials list").await["credentials"], json!([]));
}

#[tokio::test]
async fn a_long_list_tells_how_far_it_is() {
    let desk = Desk::made().await;
    let entry = |number: u32| {
        json!({
            "user_id": format!("user_{number}"), "email": format!("user_{number}@example.com"),
            "tier": "basic", "broker_type": "kraken", "mode": "paper", "pairs": ["BTC-USD"],
        })
    };
    let list = |users: u32| json!((0..users).map(entry).collect::<Vec<_>>()).to_string();
    desk.write("many.json", &list(120));
    desk.write("few.json", &list(99));

    let many = desk.run("apply many.json --plan --json").await;
    let few = desk.run("apply few.json --plan").await;

    assert_eq!(
        (many.exit, few.exit),
        (Exit::Done, Exit::Done),
        "{}{}",
        many.err,
        few.err
    );
    assert_eq!(many.err.lines().count(), 10, "{}", many.err);
    assert!(
        many.err.ends_with("120 of 120 entries looked at\n"),
        "{}",
        many.err
    );
    assert_eq!(few.err, "");
}
