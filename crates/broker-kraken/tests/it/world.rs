//! A small exchange that answers what a test tells it to, and remembers what it was asked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use bursar_broker::{NonceFloor, NonceFloorError, OrderTicket, StillWanted, nonce_block};
use bursar_broker_kraken::{Kraken, KrakenAccount, KrakenEndpoint, KrakenPublic, KrakenSettings, KrakenTier};
use bursar_keystore::{
    CredentialMaterial, KeyStore, MemoryVault, NewSlot, PassphraseCost, Secret, StagedCredential,
};
use bursar_model::{AccountMode, Clock, CredentialId, Entropy, IntentId};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use crate::approval::ACCOUNT;

pub(crate) const SECRET: &str =
    "dGhyb3dhd2F5LWtyYWtlbi1zaW0tc2VjcmV0LTAwMDEtZG8tbm90LXVzZS1pbi1wcm9kdWN0aW9uLTAwMDAwMQ==";
const NOW: i64 = 1_772_000_000;

pub(crate) struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Timestamp::from_second(NOW).unwrap())))
    }
}

impl SetClock {
    pub(crate) fn step(&self, seconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[derive(Default)]
pub(crate) struct Floors(AtomicU64);

#[async_trait]
impl NonceFloor for Floors {
    async fn reserve(
        &self,
        _: CredentialId,
        at_least: u64,
        until: u64,
    ) -> Result<Range<u64>, NonceFloorError> {
        let block = nonce_block(self.0.load(Ordering::SeqCst), at_least, until).unwrap();
        self.0.store(block.end, Ordering::SeqCst);
        Ok(block)
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let drawn = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            *byte = drawn.to_be_bytes()[1];
        }
    }
}

/// One key for all tests: making a key store takes a while.
pub(crate) async fn key() -> &'static StagedCredential {
    static KEY: OnceCell<StagedCredential> = OnceCell::const_new();
    KEY.get_or_init(|| async {
        let text = |text: &str| Secret::from_text(text.to_owned());
        let slot = NewSlot::Passphrase {
            passphrase: text("walnut harbour violin e3f8"),
            cost: PassphraseCost::FLOOR,
        };
        let entropy = Arc::new(Counting(AtomicU64::new(7)));
        let vault = Arc::new(MemoryVault::new());
        let new = KeyStore::init(vault, entropy, Timestamp::UNIX_EPOCH, vec![slot])
            .await
            .unwrap();
        let code = new.recovery_code().reveal().to_string();
        let groups: Vec<&str> = code.split('-').collect();
        let confirmed = new
            .recovery_code()
            .confirm([(1, &text(groups[0])), (2, &text(groups[1]))])
            .unwrap();
        let store = new.finish(confirmed).await.unwrap();
        let material = CredentialMaterial::new(text("throwaway-public-key"), text(SECRET));
        store.stage(&material).unwrap()
    })
    .await
}

/// One request as the exchange saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        let plain = |text: &str| text.replace("%2C", ",").replace("%2F", "/").replace("%3A", ":");
        self.body
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), plain(value)))
            .collect()
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.parameters()["nonce"].parse().unwrap()
    }
}

/// What to answer: status and body; `None` for what the world answers by itself.
type Script = dyn Fn(&Call) -> Option<(u16, String)> + Send + Sync;

struct Exchange {
    calls: Mutex<Vec<Call>>,
    script: Box<Script>,
    clock: Arc<SetClock>,
    /// What the exchange's clock shows beyond ours, in seconds.
    ahead: i64,
    /// How long it takes for a private answer.
    takes: Duration,
}

async fn answer(
    State(exchange): State<Arc<Exchange>>,
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call {
        method: method.to_string(),
        path: uri.path_and_query().unwrap().to_string(),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    exchange.calls.lock().unwrap().push(call.clone());
    if call.path.starts_with("/0/private/") {
        tokio::time::sleep(exchange.takes).await;
    }
    if let Some((status, body)) = (exchange.script)(&call) {
        let status = StatusCode::from_u16(status).unwrap();
        if status.is_redirection() {
            return (status, [("location", "/0/private/Elsewhere")], body).into_response();
        }
        return (status, Html(body)).into_response();
    }
    let second = exchange.clock.now().as_second() + exchange.ahead;
    let body = match uri.path() {
        "/0/public/Time" => ok(&format!(r#"{{"unixtime":{second},"rfc1123":""}}"#)),
        "/0/public/Assets" => ok(ASSETS),
        "/0/public/AssetPairs" => ok(PAIRS),
        _ => r#"{"error":["EGeneral:Unknown method"]}"#.to_owned(),
    };
    body.into_response()
}

const ASSETS: &str = r#"{"XXBT":{"altname":"XBT","decimals":10},"ZUSD":{"altname":"USD","decimals":4},
  "XETH":{"altname":"ETH","decimals":10}}"#;
const PAIRS: &str = r#"{
  "XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,
    "lot_decimals":8,"fees":[[0,0.40]],"fees_maker":[[0,0.25]],"ordermin":"0.00005","costmin":"0.5","tick_size":"0.1","status":"online"},
  "XETHZUSD":{"altname":"ETHUSD","wsname":"ETH/USD","base":"XETH","quote":"ZUSD","pair_decimals":2,
    "lot_decimals":8,"fees":[[0,0.40]],"ordermin":"0.001","costmin":"0.5","tick_size":"0.01"},
  "XXBTZUSD:BTNL":{"altname":"XBTUSD:BTNL","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,
    "lot_decimals":8,"fees":[[0,0.40]]}}"#;

pub(crate) fn ok(result: &str) -> String {
    format!(r#"{{"error":[],"result":{result}}}"#)
}

pub(crate) fn error(text: &str) -> String {
    format!(r#"{{"error":["{text}"]}}"#)
}

pub(crate) struct World {
    exchange: Arc<Exchange>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) public: KrakenPublic,
    pub(crate) kraken: Arc<Kraken>,
}

impl World {
    /// An exchange on which `script` answers private calls, by the name of the call.
    pub(crate) async fn new(script: impl Fn(&Call) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        Self::with(AccountMode::Live, 0, script).await
    }

    pub(crate) async fn with(
        mode: AccountMode,
        ahead: i64,
        script: impl Fn(&Call) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        Self::of(mode, KrakenTier::Pro, ahead, Duration::ZERO, script).await
    }

    /// One that takes so long for each private answer.
    pub(crate) async fn slow(
        tier: KrakenTier,
        takes: Duration,
        script: impl Fn(&Call) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        Self::of(AccountMode::Live, tier, 0, takes, script).await
    }

    async fn of(
        mode: AccountMode,
        tier: KrakenTier,
        ahead: i64,
        takes: Duration,
        script: impl Fn(&Call) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let clock = SetClock::new();
        let exchange = Arc::new(Exchange {
            calls: Mutex::default(),
            script: Box::new(script),
            clock: clock.clone(),
            ahead,
            takes,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(exchange.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let public = public(&address, &clock);
        let floors = Arc::new(Floors::default());
        let kraken = Arc::new(made(mode, tier, &public, &clock, floors).await);
        Self {
            exchange,
            clock,
            public,
            kraken,
        }
    }

    pub(crate) fn calls(&self, name: &str) -> Vec<Call> {
        let calls = self.exchange.calls.lock().unwrap();
        calls
            .iter()
            .filter(|call| {
                call.path
                    .split('?')
                    .next()
                    .unwrap()
                    .ends_with(&format!("/{name}"))
            })
            .cloned()
            .collect()
    }

    pub(crate) fn all_calls(&self) -> Vec<Call> {
        self.exchange.calls.lock().unwrap().clone()
    }

    pub(crate) fn ticket(&self) -> OrderTicket {
        ticket(self.clock.now(), 5_000)
    }
}

pub(crate) fn public(address: &str, clock: &Arc<SetClock>) -> KrakenPublic {
    let settings = KrakenSettings {
        endpoint: KrakenEndpoint::at(address).unwrap(),
        connect_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        public_burst: 1_000,
        ..KrakenSettings::default()
    };
    KrakenPublic::new(settings, clock.clone()).unwrap()
}

pub(crate) async fn account(mode: AccountMode, public: &KrakenPublic, clock: &Arc<SetClock>) -> Kraken {
    numbered(mode, public, clock, Arc::new(Floors::default())).await
}

/// As [`account`], with the request numbers that a test hands out.
pub(crate) async fn numbered(
    mode: AccountMode,
    public: &KrakenPublic,
    clock: &Arc<SetClock>,
    floors: Arc<dyn NonceFloor>,
) -> Kraken {
    made(mode, KrakenTier::Pro, public, clock, floors).await
}

async fn made(
    mode: AccountMode,
    tier: KrakenTier,
    public: &KrakenPublic,
    clock: &Arc<SetClock>,
    floors: Arc<dyn NonceFloor>,
) -> Kraken {
    let settings = KrakenAccount {
        account: ACCOUNT.parse().unwrap(),
        mode,
        credential: "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap(),
        tier,
        flexible_is_spendable: false,
    };
    let signer = key().await.signer();
    Kraken::new(settings, public.clone(), signer, floors, clock.clone()).unwrap()
}

/// A ticket whose order the exchange must not accept later than `ahead_ms` from now.
pub(crate) fn ticket(now: Timestamp, ahead_ms: i64) -> OrderTicket {
    let intent: IntentId = "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap();
    OrderTicket {
        intent,
        client_order_id: intent.into(),
        acceptance_bound: now + SignedDuration::from_millis(ahead_ms),
        still_wanted: StillWanted::always(),
    }
}

/// Lets time pass in steps, each after everybody had a turn, until what is returned is aborted. A paused
/// clock by itself leaps to the next timer while bytes are on their way.
pub(crate) fn pass_time(step: Duration) -> tokio::task::JoinHandle<()> {
    tokio::time::pause();
    let (strike, mut strikes) = tokio::sync::mpsc::channel(1);
    // While a blocking task runs the clock does not leap.
    tokio::task::spawn_blocking(move || {
        loop {
            std::thread::sleep(Duration::from_micros(500));
            if let Err(tokio::sync::mpsc::error::TrySendError::Closed(())) = strike.try_send(()) {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while strikes.recv().await.is_some() {
            tokio::time::advance(step).await;
        }
    })
}
