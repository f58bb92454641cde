//! Keys are admitted, not just stored: against a local exchange over a real socket.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bursar::Exit;
use bursar_sandbox::{
    CustomerSpec, Customers, Exchange, ExchangeSettings, Market, Permission, SandboxServer,
};
use bursar_testkit::{Canary, TestClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

pub(crate) struct Venue {
    server: SandboxServer,
    shutdown: CancellationToken,
}

impl Venue {
    /// With three customers: one who may trade and has a second key, one whose key can withdraw, one who may
    /// only read.
    pub(crate) async fn open(desk: &Desk) -> Self {
        let customers = vec![
            CustomerSpec::named("mara"),
            CustomerSpec::named("careless").with_rights(withdrawing()),
            CustomerSpec::named("reader").with_rights([Permission::QueryFunds]),
            // What the exchange calls its first customer.
            CustomerSpec::named("second").with_iban("AA00 SAND BOX0 0001"),
        ];
        Self::with(customers, desk).await
    }

    async fn with(customers: Vec<CustomerSpec>, desk: &Desk) -> Self {
        let customers = Customers::new(customers).unwrap();
        let exchange =
            Exchange::new(ExchangeSettings::default(), Market::generated(1), customers, 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = CancellationToken::new();
        let clock = Arc::<TestClock>::clone(&desk.clock);
        let server = SandboxServer::start(listener, exchange, clock, shutdown.clone()).unwrap();
        desk.write(
            "bursar.toml",
            &format!(
                "[brokers.kraken]\nbase_url = \"{}\"\nallow_custom_url = true\n",
                server.url()
            ),
        );
        Self { server, shutdown }
    }

    fn key(&self, customer: &str) -> (String, String) {
        let key = self.server.with(|exchange| exchange.api_key(customer)).unwrap();
        (key.key.clone(), key.secret.to_base64())
    }

    pub(crate) fn document(&self, customer: &str) -> String {
        let (key, secret) = self.key(customer);
        json!({ "api_key": key, "api_secret": secret }).to_string()
    }

    /// Puts a customer's key into the environment under this name.
    pub(crate) fn name_key(&self, desk: &mut Desk, name: &str, customer: &str) {
        let (key, secret) = self.key(customer);
        desk.set_variable(&format!("{name}_API_KEY"), &key);
        desk.set_variable(&format!("{name}_API_SECRET"), &secret);
    }

    pub(crate) async fn close(self) {
        self.shutdown.cancel();
        self.server.stopped().await;
    }
}

fn withdrawing() -> impl Iterator<Item = Permission> {
    Permission::TRADING.into_iter().chain([Permission::WithdrawFunds])
}

async fn desk_with_live_account() -> Desk {
    let desk = Desk::made().await;
    desk.done("user add mara_ilves --email mara@example.com --tier basic")
        .await;
    desk.done("account add kraken-ilves --user mara_ilves --broker kraken --role user")
        .await;
    desk
}

fn document(out: &str) -> Value {
    serde_json::from_str(out).unwrap_or_else(|_| panic!("{out}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_trading_key_is_admitted_sealed_and_checked_again() {
    let desk = desk_with_live_account().await;
    let venue = Venue::open(&desk).await;

    let set = desk
        .run_with("credentials set kraken-ilves --json", &venue.document("mara"))
        .await;
    assert_eq!(set.exit, Exit::Done, "{}", set.err);
    let stored = document(&set.out);
    assert_eq!(stored["credential"]["version"], json!(1));
    let (key, secret) = venue.key("mara");
    assert_eq!(stored["credential"]["ends_with"], json!(&key[key.len() - 4..]));

    desk.later(1);
    let check = desk.run("credentials check kraken-ilves").await;
    assert_eq!(check.exit, Exit::Done, "{}", check.err);
    assert!(check.out.contains("fit for trading"), "{}", check.out);

    let listed = desk.done("credentials list").await;
    let status = desk.done("status mara_ilves").await;
    let tail = desk.done("audit tail").await;
    for action in ["credential.stored", "credential.checked"] {
        assert!(tail.contains(action), "{tail}");
    }
    for text in [
        &set.out, &set.err, &check.out, &check.err, &listed, &status, &tail,
    ] {
        for (name, canary) in [("key", &key), ("secret", &secret)] {
            assert_eq!(Canary::new(name, canary).find(text.as_bytes()), None, "{text}");
        }
    }
    for file in [
        "bursar-data/bursar.db",
        "bursar-data/bursar.db-wal",
        "bursar.toml",
    ] {
        let bytes = std::fs::read(desk.path(file)).unwrap_or_default();
        assert_eq!(Canary::new("key", &key).find(&bytes), None, "{file}");
        assert_eq!(Canary::new("secret", &secret).find(&bytes), None, "{file}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_that_a_local_exchange_prints_is_taken_as_it_is() {
    let desk = desk_with_live_account().await;
    let venue = Venue::open(&desk).await;
    let url = venue.server.url();
    let lines = venue.server.with(|exchange| exchange.announcements(&url));
    let line = lines.iter().find(|line| line.customer == "mara").unwrap();

    let set = desk
        .run_with("credentials set kraken-ilves", &line.to_line())
        .await;

    assert_eq!(set.exit, Exit::Done, "{}", set.err);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_a_key_that_can_withdraw_is_refused_and_not_stored() {
    let desk = desk_with_live_account().await;
    let venue = Venue::open(&desk).await;

    let ran = desk
        .run_with("credentials set kraken-ilves", &venue.document("careless"))
        .await;

    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.err.contains("rule key-rights"), "{}", ran.err);
    assert!(ran.err.contains("can withdraw or transfer"), "{}", ran.err);
    assert!(ran.err.contains("nothing was stored"), "{}", ran.err);
    let listed = desk.json("credentials list").await;
    assert_eq!(listed["credentials"], json!([]));
    assert_eq!(listed["accounts_without_key"], json!(["kraken-ilves"]));
    assert!(desk.done("audit tail").await.contains("credential.refused"));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_trade_is_refused() {
    let desk = desk_with_live_account().await;
    let venue = Venue::open(&desk).await;

    let ran = desk
        .run_with("credentials set kraken-ilves", &venue.document("reader"))
        .await;

    assert_eq!(ran.exit, Exit::Refused, "{}", ran.err);
    assert!(ran.err.contains("the key cannot"), "{}", ran.err);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d17_a_key_that_the_exchange_does_not_know_is_not_stored() {
    let desk = desk_with_live_account().await;
    let venue = Venue::open(&desk).await;
    let invented =
        r#"{"api_key": "NOTAKEYNOTAKEYNOTAKEY", "api_secret": "Q0FOQVJZU0VDUkVUQ0FOQVJZU0VDUkVU"}"#;

    let ran = desk.run_with("credentials set kraken-ilves", invented).await;

    assert_eq!(ran.exit, Exit::Failed, "{}", ran.err);
    assert!(ran.err.contains("EAPI:Invalid key"), "{}", ran.err);
    assert!(!ran.err.contains("Q0FOQVJZ"), "{}", ran.err);
    assert_eq!(desk.json("credentials list").await["credentials"], json!([]));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_a_key_is_replaced_and_erased() {
    let desk = desk_with_live_account().await;
    let venue = Venue::open(&desk).await;
    desk.run_with("credentials set kraken-ilves", &venue.document("mara"))
        .await;
    desk.later(1);

    // Replacing is asked about.
    let asked = desk
        .run_with("credentials set kraken-ilves", &venue.document("mara"))
        .await;
    assert_eq!(asked.exit, Exit::Usage, "{}", asked.err);
    let replaced = desk
        .run_with(
            "credentials set kraken-ilves --yes --json",
            &venue.document("mara"),
        )
        .await;
    assert_eq!(
        document(&replaced.out)["credential"]["version"],
        json!(2),
        "{}",
        replaced.err
    );

    desk.ends("credentials delete kraken-ilves", Exit::Usage).await;
    desk.done("credentials delete kraken-ilves --yes --reason 'key compromised'")
        .await;
    desk.ends("credentials check kraken-ilves", Exit::NotFound).await;
    let tail = desk.done("audit tail").await;
    assert!(
        tail.contains("credential.deleted") && tail.contains("key compromised"),
        "{tail}"
    );
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d27_a_key_is_taken_from_the_environment_when_its_name_is_clear() {
    let mut desk = desk_with_live_account().await;
    let venue = Venue::open(&desk).await;
    let (key, secret) = venue.key("mara");

    let nothing = desk
        .ends("credentials set kraken-ilves --from-env", Exit::NotFound)
        .await;
    assert!(nothing.contains("KRAKEN_USER_MARA"), "{nothing}");
    desk.set_variable("KRAKEN_USER_MARA_API_KEY", &key);
    desk.set_variable("KRAKEN_USER_MARA_API_SECRET", &secret);
    desk.done("user add mara_brandt --email brandt@example.com --tier basic")
        .await;
    desk.done("account add kraken-brandt --user mara_brandt --broker kraken --role user")
        .await;
    let ambiguous = desk
        .ends("credentials set kraken-ilves --from-env", Exit::Refused)
        .await;
    assert!(ambiguous.contains("rule unambiguous-name"), "{ambiguous}");
    // Without an account that could have a key the other user is still somebody whose name this is.
    desk.done("account close kraken-brandt --yes").await;
    let of_nobody = desk
        .ends("credentials set kraken-ilves --from-env", Exit::Refused)
        .await;
    assert!(of_nobody.contains("or for user `mara_brandt`"), "{of_nobody}");
    for (part, text) in [("KEY", &key), ("SECRET", &secret)] {
        desk.unset_variable(&format!("KRAKEN_USER_MARA_API_{part}"));
        desk.set_variable(&format!("KRAKEN_USER_MARA_ILVES_API_{part}"), text);
    }
    desk.done("credentials set kraken-ilves --from-env").await;
    assert_eq!(
        desk.json("credentials list").await["credentials"][0]["account_id"],
        json!("kraken-ilves")
    );
    venue.close().await;
}

#[tokio::test]
async fn d28_a_paper_account_holds_no_key() {
    let desk = Desk::with_mara().await;

    let ran = desk
        .run_with(
            "credentials set kraken-ilves",
            r#"{"api_key": "K", "api_secret": "CANARYSECRET"}"#,
        )
        .await;

    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.err.contains("rule paper-account"), "{}", ran.err);
    assert!(!ran.err.contains("CANARYSECRET"));
}

#[tokio::test]
async fn what_is_not_a_key_is_not_repeated() {
    let desk = desk_with_live_account().await;

    for text in [
        "",
        "CANARYSECRET",
        r#"{"api_key": "CANARYSECRET"}"#,
        r#"{"api_key": "K", "api_secret": 12345678, "x": "CANARYSECRET"}"#,
        r#"{"api_key": "two words", "api_secret": "CANARYSECRET"}"#,
        r#"{"api_key": "", "api_secret": "CANARYSECRET"}"#,
    ] {
        let ran = desk.run_with("credentials set kraken-ilves", text).await;
        assert_eq!(ran.exit, Exit::Usage, "{text}: {}", ran.err);
        assert!(!ran.err.contains("CANARYSECRET"), "{}", ran.err);
        assert!(!ran.err.contains("12345678"), "{}", ran.err);
        assert!(ran.err.contains("hint:"), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_missing_unlock_key_names_the_slot_and_stores_nothing() {
    let desk = desk_with_live_account().await;
    std::fs::remove_file(desk.path("home/.config/bursar/unlock.key")).unwrap();

    let ran = desk
        .run_with(
            "credentials set kraken-ilves",
            r#"{"api_key": "KEY", "api_secret": "c2VjcmV0"}"#,
        )
        .await;

    assert_eq!(ran.exit, Exit::Unavailable, "{}", ran.err);
    assert!(ran.err.contains("fingerprint"), "{}", ran.err);
    assert!(ran.err.contains("unlock.key"), "{}", ran.err);
    assert_eq!(desk.json("credentials list").await["credentials"], json!([]));
}

#[tokio::test]
async fn an_exchange_that_cannot_be_reached_stores_nothing() {
    let desk = desk_with_live_account().await;
    desk.write(
        "bursar.toml",
        "[brokers.kraken]\nbase_url = \"http://127.0.0.1:1\"\nallow_custom_url = true\n",
    );

    let ran = desk
        .run_with(
            "credentials set kraken-ilves",
            r#"{"api_key": "KEY", "api_secret": "c2VjcmV0"}"#,
        )
        .await;

    assert_eq!(ran.exit, Exit::Failed, "{}", ran.err);
    assert_eq!(desk.json("credentials list").await["credentials"], json!([]));
}

/// An account with a key, and more keys at the exchange: `second` and `greedy` are of the same account.
async fn desk_with_more_keys() -> (Desk, Venue) {
    let desk = desk_with_live_account().await;
    let same = |name: &str| CustomerSpec::named(name).with_iban("AA12 N84G QRST UVWX");
    let customers = vec![
        same("mara"),
        same("second"),
        same("greedy").with_rights(withdrawing()),
        CustomerSpec::named("stranger"),
    ];
    let venue = Venue::with(customers, &desk).await;
    let set = desk
        .run_with("credentials set kraken-ilves", &venue.document("mara"))
        .await;
    assert_eq!(set.exit, Exit::Done, "{}", set.err);
    (desk, venue)
}

impl Venue {
    fn ends_with(&self, customer: &str) -> Value {
        let (key, _) = self.key(customer);
        json!(&key[key.len() - 4..])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_another_key_of_the_same_exchange_account_takes_over() {
    let (desk, venue) = desk_with_more_keys().await;
    let records = desk.json("audit verify").await["records"].clone();

    for (key, rule) in [
        ("mara", "rule another-key"),
        ("stranger", "rule same-exchange-account"),
        ("greedy", "rule key-rights"),
    ] {
        let ran = desk
            .run_with("credentials rotate kraken-ilves", &venue.document(key))
            .await;
        assert_eq!(ran.exit, Exit::Refused, "{key}: {}", ran.err);
        assert!(ran.err.contains(rule), "{key}: {}", ran.err);
        assert!(ran.err.contains("hint: "), "{key}: {}", ran.err);
    }

    let listed = desk.json("credentials list").await;
    assert_eq!(listed["credentials"][0]["ends_with"], venue.ends_with("mara"));
    assert_eq!(listed["superseded"], json!([]));
    // The refusal of what the exchange said is on record, and nothing else.
    let after = desk.json("audit verify").await["records"].clone();
    assert_eq!(after.as_u64(), records.as_u64().map(|records| records + 1));
    desk.ends("credentials rotate kraken-ilves --undo", Exit::NotFound)
        .await;
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_over_and_can_be_sent_back_within_a_day() {
    let (desk, venue) = desk_with_more_keys().await;
    desk.later(60);

    let ran = desk
        .run_with(
            "credentials rotate kraken-ilves --json",
            &venue.document("second"),
        )
        .await;

    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    let rotated = document(&ran.out);
    assert_eq!(rotated["credential"]["ends_with"], venue.ends_with("second"));
    assert_eq!(rotated["superseded"]["ends_with"], venue.ends_with("mara"));
    assert_eq!(rotated["superseded"]["kept_until"], json!("2026-11-21T12:01:00Z"));
    let listed = desk.json("credentials list").await;
    assert_eq!(listed["credentials"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["credentials"][0]["ends_with"], venue.ends_with("second"));
    let shown = desk.done("credentials list").await;
    assert!(shown.contains("Kept for a while, and not used"), "{shown}");
    desk.done("credentials check kraken-ilves").await;

    desk.later(60);
    let back = desk.json("credentials rotate kraken-ilves --undo").await;
    assert_eq!(back["credential"]["ends_with"], venue.ends_with("mara"));
    assert_eq!(back["superseded"]["ends_with"], venue.ends_with("second"));
    desk.later(60);
    desk.done("credentials check kraken-ilves").await;
    desk.done("audit verify --deep").await;
    desk.done("keystore status --prove").await;

    // One key back is kept; a third key in its place is asked for first.
    let asked = desk
        .run_with("credentials rotate kraken-ilves", &venue.document("second"))
        .await;
    assert_ne!(asked.exit, Exit::Done);
    let deleted = desk
        .json("credentials delete kraken-ilves --yes --reason compromised")
        .await;
    assert_eq!(deleted["deleted"]["ends_with"], venue.ends_with("mara"));
    assert_eq!(
        deleted["deleted_before_it"]["ends_with"],
        venue.ends_with("second")
    );
    let erased = std::fs::read_to_string(desk.path("bursar-data/erased-keys")).unwrap();
    assert_eq!(erased.lines().count(), 3, "{erased}");
    for customer in ["mara", "second"] {
        let (_, secret) = venue.key(customer);
        for text in [&ran.out, &ran.err, &shown] {
            assert_eq!(
                Canary::new("secret", &secret).find(text.as_bytes()),
                None,
                "{text}"
            );
        }
    }
    venue.close().await;
}

/// What is replaced after a backup does not come back with it.
#[tokio::test(flavor = "multi_thread")]
async fn i17_a_key_that_is_replaced_is_on_the_list_of_erased_ones() {
    let (desk, venue) = desk_with_more_keys().await;
    let ran = desk
        .run_with("credentials set kraken-ilves --yes", &venue.document("second"))
        .await;

    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    let erased = std::fs::read_to_string(desk.path("bursar-data/erased-keys")).unwrap();
    assert_eq!(erased.lines().count(), 1, "{erased}");
    assert!(erased.contains("kraken-ilves"), "{erased}");
    venue.close().await;
}

/// A wrong key keeps the right one out for no longer than it is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_wrong_key_takes_the_right_one_after_that_is_deleted() {
    let desk = desk_with_live_account().await;
    let strangers = ["mara", "stranger"].map(CustomerSpec::named).to_vec();
    let venue = Venue::with(strangers, &desk).await;
    let set = async |options: &str, key: &str| {
        let command = format!("credentials set kraken-ilves{options}");
        desk.run_with(&command, &venue.document(key)).await
    };
    assert_eq!(set("", "stranger").await.exit, Exit::Done);
    desk.later(1);

    let refused = set(" --yes", "mara").await;
    assert_eq!(refused.exit, Exit::Refused, "{}", refused.err);
    assert!(
        refused.err.contains("bursar credentials delete"),
        "{}",
        refused.err
    );
    desk.done("credentials delete kraken-ilves --yes --reason 'the key of somebody else'")
        .await;
    desk.later(1);
    let right = set("", "mara").await;

    assert_eq!(right.exit, Exit::Done, "{}", right.err);
    desk.done("audit verify --deep").await;
    venue.close().await;
}

/// The files of the store as they are now.
fn copied_store(desk: &Desk) -> Vec<(&'static str, Option<Vec<u8>>)> {
    ["bursar.db", "bursar.db-wal", "bursar.db-shm"]
        .map(|name| {
            (
                name,
                std::fs::read(desk.path(&format!("bursar-data/{name}"))).ok(),
            )
        })
        .to_vec()
}

fn put_back(desk: &Desk, files: Vec<(&'static str, Option<Vec<u8>>)>) {
    for (name, bytes) in files {
        let path = desk.path(&format!("bursar-data/{name}"));
        drop(std::fs::remove_file(&path));
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

async fn erased_keys(desk: &Desk) -> (Value, Value) {
    let looked = document(&desk.run("doctor --json").await.out);
    let checks = looked["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["check"] == "erased keys")
        .unwrap();
    (check["verdict"].clone(), check["found"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn i17_a_key_that_came_back_with_an_older_file_of_the_store_is_refused_and_told() {
    let (desk, venue) = desk_with_more_keys().await;
    let older = copied_store(&desk);
    desk.done("credentials delete kraken-ilves --yes --reason compromised")
        .await;
    assert_eq!(erased_keys(&desk).await.0, json!("ok"));

    put_back(&desk, older);

    assert_eq!(
        desk.json("credentials list").await["credentials"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let used = desk.ends("credentials check kraken-ilves", Exit::Refused).await;
    assert!(used.contains("rule erased-key"), "{used}");
    assert!(used.contains("bursar credentials delete"), "{used}");
    let (verdict, found) = erased_keys(&desk).await;
    assert_eq!(verdict, json!("bad"));
    assert!(
        found.as_str().unwrap().contains("`kraken-ilves` was erased"),
        "{found}"
    );
    desk.done("credentials delete kraken-ilves --yes --reason 'erased again'")
        .await;
    assert_eq!(erased_keys(&desk).await.0, json!("ok"));
    desk.later(1);
    let set = desk
        .run_with("credentials set kraken-ilves", &venue.document("second"))
        .await;
    assert_eq!(set.exit, Exit::Done, "{}", set.err);
    desk.done("credentials check kraken-ilves").await;
    venue.close().await;
}

/// Whoever is killed between has a key that is listed, and never one that is erased and comes back with a copy.
#[tokio::test(flavor = "multi_thread")]
async fn i17_a_key_that_cannot_be_listed_is_not_erased() {
    let (desk, venue) = desk_with_more_keys().await;
    let list = desk.path("bursar-data/erased-keys");
    drop(std::fs::remove_file(&list));
    std::fs::create_dir(&list).unwrap();
    let delete = "credentials delete kraken-ilves --yes --reason compromised";

    let refused = desk.run(delete).await;

    assert_ne!(refused.exit, Exit::Done);
    assert!(refused.err.contains("list of erased keys"), "{}", refused.err);
    assert_eq!(
        desk.json("credentials list").await["credentials"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    std::fs::remove_dir(&list).unwrap();
    desk.done(delete).await;
    assert_eq!(desk.json("credentials list").await["credentials"], json!([]));
    venue.close().await;
}

/// Each erasing says until when backups have what was erased.
#[tokio::test(flavor = "multi_thread")]
async fn i17_a_key_that_another_key_erases_is_named_with_the_day_until_which_backups_have_it() {
    let (desk, venue) = desk_with_more_keys().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.later(60);
    let set = async |options: &str, key: &str| {
        let command = format!("credentials set kraken-ilves --yes{options}");
        let ran = desk.run_with(&command, &venue.document(key)).await;
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
        ran.out
    };

    // No backup has it.
    let set_before = set("", "second").await;
    assert!(set_before.contains("is erased here"), "{set_before}");
    assert!(!set_before.contains("sealed copy"), "{set_before}");
    desk.later(60);
    desk.done("backup create safe/one").await;
    desk.later(60);
    let replaced = set("", "mara").await;
    let in_backup = "a sealed copy of it is in the backup of 2026-11-20 12:02:00 UTC and may be in older ones: delete \
                     them by 2026-12-20";
    assert!(
        replaced.contains("the key before") && replaced.contains("is erased here"),
        "{replaced}"
    );
    assert!(replaced.contains(in_backup), "{replaced}");
    desk.later(60);
    desk.done("backup create safe/two").await;
    desk.later(60);
    let replaced = document(&set(" --json", "second").await);
    assert_eq!(replaced["erased"][0]["ends_with"], venue.ends_with("mara"));
    assert_eq!(
        replaced["erased"][0]["last_backup_with_it"],
        json!("2026-11-20T12:04:00Z")
    );
    assert_eq!(
        replaced["erased"][0]["in_backups_until"],
        json!("2026-12-20T12:04:00Z")
    );

    // One that is kept is erased by the next rotation.
    desk.later(60);
    let rotate = async |options: &str, key: &str| {
        let command = format!("credentials rotate kraken-ilves --yes{options}");
        let ran = desk.run_with(&command, &venue.document(key)).await;
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
        ran.out
    };
    let first = rotate("", "mara").await;
    assert!(!first.contains("sealed copy"), "nothing is erased: {first}");
    desk.later(60);
    desk.done("backup create safe/three").await;
    desk.later(60);
    let again = rotate("", "second").await;
    assert!(
        again.contains("sealed copy of it is in the backup of 2026-11-20 12:07:00 UTC"),
        "{again}"
    );
    desk.later(60);
    let third = document(&rotate(" --json", "mara").await);
    assert_eq!(third["erased"][0]["ends_with"], venue.ends_with("mara"));
    assert_eq!(
        third["erased"][0]["in_backups_until"],
        json!("2026-12-20T12:07:00Z")
    );
    // Both go where both are there.
    let both = document(&set(" --json", "second").await);
    assert_eq!(both["erased"].as_array().map(Vec::len), Some(2), "{both:#}");
    venue.close().await;
}

/// A key that is typed where an account is wanted.
#[tokio::test]
async fn a_key_in_the_place_of_an_account_is_not_repeated() {
    let desk = desk_with_live_account().await;
    const KEY: &str = "q4Kx9/CANARYSECRET+fJq81Zw0==";

    for line in [
        format!("credentials set {KEY}"),
        format!("credentials rotate {KEY} --json"),
        format!("credentials check {KEY}"),
        format!("credentials {KEY}"),
        format!("keystore slot remove {KEY} --yes --reason x"),
    ] {
        let ran = desk.run(&line).await;
        assert_ne!(ran.exit, Exit::Done, "{line}");
        for text in [&ran.out, &ran.err] {
            assert_eq!(Canary::new("key", KEY).find(text.as_bytes()), None, "{text}");
            assert!(!text.contains("CANARY"), "{line}: {text}");
        }
        assert!(ran.err.contains("hint:"), "{line}: {}", ran.err);
    }
    let said = desk.ends(&format!("credentials set {KEY}"), Exit::Usage).await;
    assert!(said.contains("is not a valid account id: use 1 to 64"), "{said}");
}
