//! What the tests in this crate share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bursar_broker::{NonceFloor, NonceFloorError};
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
    async fn reserve(&self, _: CredentialId, at_least: u64, count: u64) -> Result<u64, NonceFloorError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(NonceFloorError::NotKept {
                reason: "disk full".into(),
            });
        }
        self.reservations.fetch_add(1, Ordering::SeqCst);
        let start = self.stored().max(at_least);
        self.floor.store(start + count, Ordering::SeqCst);
        Ok(start)
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
    .unwrap()
}
