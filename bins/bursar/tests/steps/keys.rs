//! Keys that an exchange is asked about: the first of an account, others in its place, and one back.

use std::fs;

use bursar::Surroundings;
use bursar_sandbox::{CustomerSpec, Customers, Exchange, ExchangeSettings, LimitTier, Market, SandboxServer};
use bursar_store_sqlite::{Environment, ErasedKeys, SqliteStore};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::cases::{REFUSED, made, store};
use crate::trial::{Again, Case, Place};

/// A user whose account has no key yet, and an exchange at which it has three, each in a file here. The exchange
/// is there until the test ends.
async fn with_an_exchange() -> Place {
    let place = made();
    place.done("user add mara_ilves --email mara@example.com --tier basic");
    place.done("account add kraken-ilves --user mara_ilves --broker kraken --role user");
    let mara = CustomerSpec::named("mara").with_limit_tier(LimitTier::Unlimited);
    let customers = Customers::new(vec![mara]).unwrap();
    let exchange = Exchange::new(ExchangeSettings::default(), Market::generated(1), customers, 1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = Surroundings::of_process().clock;
    let server = SandboxServer::start(listener, exchange, clock, CancellationToken::new()).unwrap();
    let settings = format!(
        "[brokers.kraken]\nbase_url = \"{}\"\nallow_custom_url = true\n",
        server.url()
    );
    fs::write(place.path("bursar.toml"), settings).unwrap();
    for name in ["first", "second", "third"] {
        let key = server.with(|exchange| match name {
            "first" => exchange.api_key("mara"),
            _ => exchange.make_key("mara"),
        });
        let key = key.unwrap();
        let text = json!({ "api_key": key.key, "api_secret": key.secret.to_base64() });
        fs::write(place.path(name), text.to_string()).unwrap();
    }
    place
}

/// The key that counts, what is kept beside it, and whose account it is, once a daemon has erased what is due.
/// The exchange takes the key, which is not on the list of erased ones; whatever is gone is on it.
fn keys(place: &Place) -> Value {
    let place = place.copy();
    let gone = tokio::task::block_in_place(|| Handle::current().block_on(erase_what_is_due(&place)));
    let listed = place.json("credentials list");
    let counting = listed["credentials"].as_array().unwrap();
    assert!(counting.len() <= 1, "two keys count: {listed:#}");
    let erased = fs::read_to_string(place.path("bursar-data/erased-keys")).unwrap_or_default();
    for credential in gone {
        assert!(erased.contains(&credential), "{credential} is not in {erased:?}");
    }
    for key in counting {
        let credential = key["credential_id"].as_str().unwrap();
        assert!(!erased.contains(credential), "{credential} is in {erased:?}");
        place.done("credentials check kraken-ilves");
    }
    let ends = |list: &str| -> Vec<Value> {
        let keys = listed[list].as_array().unwrap();
        keys.iter().map(|key| key["ends_with"].clone()).collect()
    };
    let account = place.json("account list")["accounts"][0]["broker_account_id"].clone();
    json!({
        "counts": ends("credentials"),
        "kept": ends("superseded"),
        "account": account,
        "store": store(&place),
    })
}

/// As a daemon does once in a while. Returns every key that was ever erased.
async fn erase_what_is_due(place: &Place) -> Vec<String> {
    let surroundings = Surroundings::of_process();
    let mut environment = Environment::new(surroundings.clock.clone(), surroundings.entropy.clone(), "test");
    environment.erased_keys = Some(ErasedKeys::at(place.path("bursar-data/erased-keys")));
    let store = SqliteStore::open(place.path("bursar-data/bursar.db"), environment).unwrap();
    store.erase_superseded(surroundings.now()).await.unwrap();
    let gone = store.tombstones().await.unwrap();
    gone.iter().map(|key| key.credential.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_the_first_key() {
    Case {
        line: "credentials set kraken-ilves --yes < first",
        again: Again::MayEnd(&[]),
        state: keys,
    }
    .try_in(&with_an_exchange().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i17_every_step_of_another_key_that_is_set() {
    let place = with_an_exchange().await;
    place.done("credentials set kraken-ilves < first");
    Case {
        line: "credentials set kraken-ilves --yes < second",
        again: Again::MayEnd(&[]),
        state: keys,
    }
    .try_in(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_a_key_that_takes_over() {
    let place = with_an_exchange().await;
    place.done("credentials set kraken-ilves < first");
    Case {
        line: "credentials rotate kraken-ilves --yes < second",
        again: Again::MayEnd(&[REFUSED]),
        state: keys,
    }
    .try_in(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i17_every_step_of_a_third_key_that_takes_over() {
    let place = with_an_exchange().await;
    place.done("credentials set kraken-ilves < first");
    place.done("credentials rotate kraken-ilves < second");
    Case {
        line: "credentials rotate kraken-ilves --yes < third",
        again: Again::MayEnd(&[REFUSED]),
        state: keys,
    }
    .try_in(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_a_key_that_is_sent_back() {
    let place = with_an_exchange().await;
    place.done("credentials set kraken-ilves < first");
    place.done("credentials rotate kraken-ilves < second");
    Case {
        line: "credentials rotate kraken-ilves --undo",
        again: Again::WhereNotDone,
        state: keys,
    }
    .try_in(&place);
}
