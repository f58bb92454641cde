//! One paper account as a broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, IdUniqueness, KeyRights, MarketData,
    OrderTicket, PlaceError, Placed, ReadError, StillWanted, VenueOrder,
};
use bursar_controls::ApprovedOrder;
use bursar_model::{
    AccountId, AccountMode, Amount, Balance, BrokerId, ClientOrderId, Clock, Fill, InexactError, OrderTerms,
    Pair, Price, Quantity, Quote,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::matching::{NotTaken, Rules};
use crate::state::{KEPT, PaperOrder, PaperState};

/// Rules of pairs are read again after this.
const RULES_REST: SignedDuration = SignedDuration::from_hours(1);

/// What is set for one paper account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaperAccount {
    /// The paper account; its state is kept under this id.
    pub account: AccountId,
    /// Anything but [`Paper`](AccountMode::Paper) is refused.
    pub mode: AccountMode,
    /// The broker under which the account is listed; its prices are used.
    pub broker: BrokerId,
    /// What a new account begins with.
    pub opening: Vec<Amount>,
}

/// Why there is no paper broker for an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaperSetupError {
    /// A live or shadow account, which must not be taken for one whose orders go nowhere.
    #[error("account `{account}` is {mode}: it never falls back to paper")]
    NotPaper {
        /// The account that was asked for.
        account: AccountId,
        /// What it is instead.
        mode: AccountMode,
    },
    /// Two amounts of one asset have a sum with more digits than fit.
    #[error("the opening amounts of account `{account}` cannot be added up")]
    Opening {
        /// The account that was to begin with them.
        account: AccountId,
    },
}

impl PaperSetupError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NotPaper { .. } => "the mode of an account is fixed when it is made: add a paper account",
            Self::Opening { .. } => "begin with a sensible amount",
        }
    }
}

/// Stores a paper account, so that it outlives the process.
#[async_trait]
pub trait PaperKeeper: Send + Sync {
    /// Keeps `state` in place of what was kept before. Returns when it is safe; an error means that
    /// the account stays as it was.
    async fn keep(&self, account: &AccountId, state: &PaperState) -> Result<(), String>;
}

/// One paper account. Takes no key and opens no connection.
pub struct PaperBroker {
    account: AccountId,
    profile: BrokerProfile,
    market: Arc<dyn MarketData>,
    keeper: Option<Arc<dyn PaperKeeper>>,
    clock: Arc<dyn Clock>,
    state: Mutex<PaperState>,
    rules: Mutex<Option<(Arc<Rules>, Timestamp)>>,
}

/// What is peculiar to paper: everything is visible at once, and ids are never forgotten while their
/// orders are kept.
pub fn paper_profile(broker: BrokerId) -> BrokerProfile {
    BrokerProfile {
        broker,
        id_uniqueness: IdUniqueness::Lifetime,
        acceptance: Duration::from_secs(5),
        visibility_lag: Duration::ZERO,
        sustainable_look: Duration::ZERO,
        retention: Duration::try_from(KEPT).unwrap_or(Duration::MAX),
        client_order_id: ClientOrderId::from,
    }
}

impl PaperBroker {
    /// A paper account on the prices of `market`: as it was `kept`, or new with its opening amounts.
    /// Without a `keeper` it lives as long as the process.
    ///
    /// # Errors
    ///
    /// [`PaperSetupError::NotPaper`] for a live or shadow account, [`PaperSetupError::Opening`] when its opening
    /// amounts cannot be added up.
    pub fn new(
        settings: PaperAccount,
        kept: Option<PaperState>,
        market: Arc<dyn MarketData>,
        keeper: Option<Arc<dyn PaperKeeper>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PaperSetupError> {
        match settings.mode {
            AccountMode::Paper => {}
            AccountMode::Live | AccountMode::Shadow => {
                return Err(PaperSetupError::NotPaper {
                    account: settings.account,
                    mode: settings.mode,
                });
            }
        }
        let state = match kept {
            Some(kept) => kept,
            None => PaperState::opened_with(&settings.opening).map_err(|_| PaperSetupError::Opening {
                account: settings.account.clone(),
            })?,
        };
        Ok(Self {
            account: settings.account,
            profile: paper_profile(settings.broker),
            market,
            keeper,
            clock,
            state: Mutex::new(state),
            rules: Mutex::new(None),
        })
    }

    /// The account as it stands, to be stored.
    pub async fn snapshot(&self) -> PaperState {
        self.state.lock().await.clone()
    }

    /// Fills what the market's prices reach. Every reading does this first; call it now and then so
    /// that orders are filled while nobody looks.
    ///
    /// # Errors
    ///
    /// Those of the market, and of the keeper; nothing is filled then.
    pub async fn catch_up(&self) -> Result<(), ReadError> {
        let pairs: Vec<Pair> = {
            let state = self.state.lock().await;
            let mut pairs: Vec<Pair> = working(&state).map(|order| order.order.pair.clone()).collect();
            pairs.sort();
            pairs.dedup();
            pairs
        };
        if pairs.is_empty() {
            return Ok(());
        }
        let rules = self.rules().await?;
        let quotes = self.market.quotes(&pairs).await?;
        self.change(|state, now| {
            state.pass_time(now);
            for quote in &quotes {
                if let Some(rules) = rules.get(&quote.pair) {
                    state.see_quote(quote, rules, now)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Somebody else trades at `price`: orders that rest there or better are filled, `quantity` of
    /// them in all, or everything if there is none. For tests and replays of real trades.
    ///
    /// # Errors
    ///
    /// Those of the market, and of the keeper; nothing is filled then.
    pub async fn see_trade(
        &self,
        pair: &Pair,
        price: Price,
        quantity: Option<Quantity>,
    ) -> Result<(), ReadError> {
        let rules = self.rules().await?;
        self.change(|state, now| {
            state.pass_time(now);
            match rules.get(pair) {
                Some(rules) => state.see_trade(pair, price, quantity, rules, now),
                None => Ok(()),
            }
        })
        .await
    }

    /// Puts paper money in, or takes it out when the amount is negative.
    ///
    /// # Errors
    ///
    /// Where the amount does not fit or cannot be stored; nothing is changed then.
    pub async fn deposit(&self, amount: &Amount) -> Result<(), ReadError> {
        self.change(|state, _| state.deposit(amount)).await
    }

    /// Places an order as the owner would at an exchange, past the gateway. For tests of what the
    /// gateway does about such orders.
    ///
    /// # Errors
    ///
    /// As [`Broker::place`].
    pub async fn place_by_hand(&self, id: &ClientOrderId, terms: &OrderTerms) -> Result<Placed, PlaceError> {
        self.take_on(id, terms, &StillWanted::always()).await
    }

    /// Changes the account, if the change is exact and can be stored; else nothing changes.
    async fn change(
        &self,
        change: impl FnOnce(&mut PaperState, Timestamp) -> Result<(), InexactError> + Send,
    ) -> Result<(), ReadError> {
        let mut state = self.state.lock().await;
        let mut after = state.clone();
        change(&mut after, self.clock.now()).map_err(|error| ReadError::Unreadable {
            call: "the paper account".into(),
            reason: error.to_string(),
        })?;
        if after == *state {
            return Ok(());
        }
        self.keep(&after).await.map_err(|reason| ReadError::TryAgain {
            class: ErrorClass::LocalFault,
            reason,
            wait: None,
        })?;
        *state = after;
        Ok(())
    }

    /// A reading shows what is known when the market's prices are not: nothing is filled meanwhile.
    async fn catch_up_if_possible(&self) {
        if let Err(error) = self.catch_up().await {
            tracing::debug!(account = %self.account, %error, "paper orders wait for prices");
        }
    }

    async fn keep(&self, state: &PaperState) -> Result<(), String> {
        match &self.keeper {
            Some(keeper) => keeper
                .keep(&self.account, state)
                .await
                .map_err(|reason| format!("the paper account could not be stored: {reason}")),
            None => Ok(()),
        }
    }

    async fn rules(&self) -> Result<Arc<Rules>, ReadError> {
        let now = self.clock.now();
        let mut known = self.rules.lock().await;
        if let Some((rules, at)) = &*known
            && now.duration_since(*at).abs() < RULES_REST
        {
            return Ok(rules.clone());
        }
        let instruments = self.market.instruments().await?;
        let rules: BTreeMap<_, _> = instruments
            .into_iter()
            .map(|instrument| (instrument.pair.clone(), instrument))
            .collect();
        let rules = Arc::new(rules);
        *known = Some((rules.clone(), now));
        Ok(rules)
    }

    async fn take_on(
        &self,
        id: &ClientOrderId,
        terms: &OrderTerms,
        wanted: &StillWanted,
    ) -> Result<Placed, PlaceError> {
        let rules = self.rules().await.map_err(before_sending)?;
        let Some(rules) = rules.get(&terms.pair) else {
            return Err(refused(
                ErrorClass::Business,
                format!("there is no pair {}", terms.pair),
            ));
        };
        let quotes = self
            .market
            .quotes(std::slice::from_ref(&terms.pair))
            .await
            .map_err(before_sending)?;
        let quote: Option<&Quote> = quotes.first();
        let mut state = self.state.lock().await;
        wanted.ask()?;
        let mut after = state.clone();
        let now = self.clock.now();
        after.pass_time(now);
        let venue_order_id = after
            .place(id, terms, rules, quote, now)
            .map_err(|reason| match reason {
                NotTaken::SameId => PlaceError::AlreadyThere {
                    code: reason.to_string(),
                },
                NotTaken::Closed(_) | NotTaken::NoPrice => {
                    refused(ErrorClass::VenueState, reason.to_string())
                }
                NotTaken::Funds { .. } | NotTaken::Terms(_) | NotTaken::Inexact(_) | NotTaken::Id(_) => {
                    refused(ErrorClass::Business, reason.to_string())
                }
            })?;
        // A store that failed may have kept the order all the same: it is there, and is looked up.
        *state = after;
        self.keep(&state).await.map_err(|reason| PlaceError::Unknown {
            class: ErrorClass::LocalFault,
            reason,
        })?;
        Ok(Placed { venue_order_id })
    }
}

fn working(state: &PaperState) -> impl Iterator<Item = &PaperOrder> {
    state.orders.iter().filter(|order| order.is_live())
}

const fn refused(class: ErrorClass, code: String) -> PlaceError {
    PlaceError::Refused { class, code }
}

fn before_sending(error: ReadError) -> PlaceError {
    PlaceError::NotSent {
        class: error.class(),
        reason: error.to_string(),
    }
}

#[async_trait]
impl Broker for PaperBroker {
    fn profile(&self) -> &BrokerProfile {
        &self.profile
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        if order.account() != &self.account {
            return Err(PlaceError::NotSent {
                class: ErrorClass::LocalFault,
                reason: format!(
                    "an order of `{}` was handed to the paper account `{}`",
                    order.account(),
                    self.account
                ),
            });
        }
        if self.clock.now() > ticket.acceptance_bound {
            return Err(refused(ErrorClass::Business, "it came after its deadline".into()));
        }
        self.take_on(&ticket.client_order_id, order.terms(), &ticket.still_wanted)
            .await
    }

    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        let mut state = self.state.lock().await;
        let mut after = state.clone();
        let now = self.clock.now();
        after.pass_time(now);
        let outcome = after.cancel(order, now);
        *state = after;
        self.keep(&state).await.map_err(|reason| CancelError::TryAgain {
            class: ErrorClass::LocalFault,
            reason,
            wait: None,
        })?;
        Ok(outcome)
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        self.catch_up_if_possible().await;
        let state = self.state.lock().await;
        Ok(working(&state).map(|order| order.order.clone()).collect())
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.catch_up_if_possible().await;
        let state = self.state.lock().await;
        let ended = state
            .orders
            .iter()
            .filter(|order| order.ended_at.is_some_and(|at| at >= since));
        Ok(ended.map(|order| order.order.clone()).collect())
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.catch_up_if_possible().await;
        let state = self.state.lock().await;
        Ok(state
            .find(id)
            .filter(|order| order.ended_at.is_none_or(|at| at >= since))
            .map(|order| order.order.clone())
            .collect())
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        self.catch_up_if_possible().await;
        let state = self.state.lock().await;
        let mut fills: Vec<Fill> = state
            .fills
            .iter()
            .filter(|fill| fill.at >= since)
            .cloned()
            .collect();
        // The clock may have been set back in between.
        fills.sort_by_key(|fill| fill.at);
        Ok(fills)
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        self.catch_up_if_possible().await;
        Ok(self.state.lock().await.balances())
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        Ok(KeyRights {
            can_trade: true,
            can_read: true,
            can_withdraw: Some(false),
            rights: vec!["paper".into()],
            warnings: vec![],
            venue_account_id: None,
            checked_at: self.clock.now(),
        })
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        Ok(self.clock.now())
    }

    /// There is none: nothing works here while nobody looks.
    async fn arm_dead_man(&self, _timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        Ok(None)
    }
}
