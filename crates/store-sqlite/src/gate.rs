//! The gate over this store, for who embeds it.

use std::sync::Arc;

use bursar_broker::{Broker, BrokerProfile};
use bursar_execution::{DeskParts, DeskSettings, Gateway};

use crate::store::SqliteStore;

impl SqliteStore {
    /// Where orders are asked for: decided on and recorded in this store. `profiles`: of every broker
    /// that an account of the store may name.
    pub fn gateway(&self, profiles: impl IntoIterator<Item = BrokerProfile>) -> Gateway {
        let store = Arc::new(self.clone());
        let environment = &self.environment;
        Gateway::new(
            store.clone(),
            store,
            profiles,
            Arc::clone(&environment.clock),
            Arc::clone(&environment.entropy),
        )
    }

    /// What a [`Desk`](bursar_execution::Desk) needs that sends an account's approved orders to
    /// `broker`, with the default settings.
    pub fn desk_parts(&self, broker: Arc<dyn Broker>) -> DeskParts {
        let store = Arc::new(self.clone());
        DeskParts {
            broker,
            journal: store.clone(),
            conditions: store,
            clock: Arc::clone(&self.environment.clock),
            entropy: Arc::clone(&self.environment.entropy),
            stops: self.stops(),
            settings: DeskSettings::default(),
        }
    }
}
