//! What the tests in this crate share.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bursar_broker::{NonceFloor, NonceFloorError, nonce_block};
use bursar_model::{Clock, CredentialId};
use jiff::{SignedDuration, Timestamp};

pub(crate) struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub(crate) fn at(second: i64) -> Self {
        Self(Mutex::new(Timestamp::from_second(second).unwrap()))
    }

    pub(crate) fn step_ms(&self, milliseconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_millis(milliseconds);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[derive(Default)]
pub(crate) struct KeptFloors {
    floor: AtomicU64,
    reservations: AtomicU64,
    broken: AtomicBool,
}

impl KeptFloors {
    pub(crate) fn stored(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    pub(crate) fn reservations(&self) -> u64 {
        self.reservations.load(Ordering::SeqCst)
    }

    pub(crate) fn break_down(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl NonceFloor for KeptFloors {
    async fn reserve(
        &self,
        _: CredentialId,
        at_least: u64,
        until: u64,
    ) -> Result<Range<u64>, NonceFloorError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(NonceFloorError::NotKept {
                reason: "disk full".into(),
            });
        }
        self.reservations.fetch_add(1, Ordering::SeqCst);
        let block = nonce_block(self.stored(), at_least, until).unwrap();
        self.floor.store(block.end, Ordering::SeqCst);
        Ok(block)
    }
}

pub(crate) fn credential() -> CredentialId {
    "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap()
}

/// BTC-USD and ETH-USD under Kraken's names, and a few assets.
pub(crate) fn directory() -> crate::names::Directory {
    let pairs = r#"{
      "XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,
        "lot_decimals":8,"fees":[[0,0.40]],"ordermin":"0.00005","costmin":"0.5","tick_size":"0.1"},
      "XETHZUSD":{"altname":"ETHUSD","wsname":"ETH/USD","base":"XETH","quote":"ZUSD","pair_decimals":2,
        "lot_decimals":8,"fees":[[0,0.40]],"ordermin":"0.001","costmin":"0.5","tick_size":"0.01"}}"#;
    let assets = r#"{"XXBT":{"altname":"XBT","decimals":10},"ZUSD":{"altname":"USD","decimals":4},
      "DOT":{"altname":"DOT","decimals":10},"ZEUR":{"altname":"EUR","decimals":4},
      "USDT":{"altname":"USDT","decimals":8},"XETH":{"altname":"ETH","decimals":10}}"#;
    crate::names::Directory::new(
        &serde_json::from_str(pairs).unwrap(),
        &serde_json::from_str(assets).unwrap(),
    )
}

struct Counting(AtomicU64);

impl bursar_model::Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let drawn = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            *byte = drawn.to_be_bytes()[1];
        }
    }
}

/// An exchange key in a key store of its own. Signs as long as it is kept.
pub(crate) async fn staged_key(api_key: &str, secret: &str) -> bursar_keystore::StagedCredential {
    use bursar_keystore::{CredentialMaterial, KeyStore, MemoryVault, NewSlot, PassphraseCost, Secret};

    let text = |text: &str| Secret::from_text(text.to_owned());
    let slot = NewSlot::Passphrase {
        passphrase: text("walnut harbour violin e3f8"),
        cost: PassphraseCost::FLOOR,
    };
    let vault = std::sync::Arc::new(MemoryVault::new());
    let entropy = std::sync::Arc::new(Counting(AtomicU64::new(7)));
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
    let material = CredentialMaterial::new(text(api_key), text(secret));
    store.stage(&material).unwrap()
}
