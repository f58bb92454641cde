//! Paper accounts: real prices, no money, kept in the store so that they outlive the process.

use std::sync::Arc;

use async_trait::async_trait;
use bursar_auth::Account;
use bursar_broker::{Broker, MarketData};
use bursar_broker_paper::{PaperAccount, PaperBroker, PaperKeeper, PaperState};
use bursar_model::{AccountId, Amount, Asset, Clock};
use bursar_store_sqlite::SqliteStore;
use rust_decimal::{Decimal, dec};

use crate::wiring::NoBroker;

/// Under which a paper account's state is kept.
const KIND: &str = "paper";
/// What a new paper account begins with, in dollars.
const OPENING: Decimal = dec!(10_000);

struct StoreKeeper(Arc<SqliteStore>);

#[async_trait]
impl PaperKeeper for StoreKeeper {
    async fn keep(&self, account: &AccountId, state: &PaperState) -> Result<(), String> {
        let body = serde_json::to_string(state).map_err(|error| error.to_string())?;
        self.0
            .put_note(account, KIND, body)
            .await
            .map_err(|error| error.to_string())
    }
}

/// The paper exchange of one account, as it was kept, or new.
pub(crate) async fn broker(
    account: &Account,
    market: Arc<dyn MarketData>,
    store: &Arc<SqliteStore>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Broker>, NoBroker> {
    let kept = match store.note(account.id(), KIND).await.map_err(NoBroker::adapter)? {
        None => None,
        Some(body) => Some(serde_json::from_str(&body).map_err(NoBroker::adapter)?),
    };
    let settings = PaperAccount {
        account: account.id().clone(),
        mode: account.mode(),
        broker: account.broker().clone(),
        opening: vec![Amount::new(Asset::usd(), OPENING)],
    };
    let keeper: Arc<dyn PaperKeeper> = Arc::new(StoreKeeper(Arc::clone(store)));
    let broker = PaperBroker::new(settings, kept, market, Some(keeper), clock).map_err(NoBroker::adapter)?;
    Ok(Arc::new(broker))
}
