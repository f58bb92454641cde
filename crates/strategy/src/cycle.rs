//! One cycle of one account: look, protect, sell, buy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bursar_config::Risk;
use bursar_controls::collar_price;
use bursar_execution::JournalError;
use bursar_model::{
    Asset, BrokerId, Candle, Clock, InstrumentStatus, OrderRequest, OrderSize, Pair, PairRule, Position,
    Price, Quantity, Side, decimal,
};
use bursar_permissions::ProtectiveExit;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::{
    AccountSource, AccountState, CycleOrder, CycleReport, ExitReason, MarketView, Notebook, Notes, OrderDesk,
    Prices, Protection, ProtectionRules, Signal, Size, SizingInput, Step, Strategy, Strength, Submitted,
    TradedAccount, WorkingOrder, order_size, size_base,
};

/// What every cycle works with. All of it is the operator's; nothing here is a user's.
#[derive(Clone)]
pub struct CycleParts {
    /// Decides, for every account alike.
    pub strategy: Arc<dyn Strategy>,
    /// How often, how much, and of what.
    pub settings: CycleSettings,
    /// Where the state of accounts is read.
    pub source: Arc<dyn AccountSource>,
    /// The bars of each broker.
    pub prices: BTreeMap<BrokerId, Arc<Prices>>,
    /// Through which orders go to the gate.
    pub desk: Arc<dyn OrderDesk>,
    /// Where stops are kept across restarts.
    pub notebook: Arc<dyn Notebook>,
    /// Says when a cycle is, and how old prices are.
    pub clock: Arc<dyn Clock>,
}

/// The operator's settings of cycles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleSettings {
    /// The section `strategy` of the settings.
    pub strategy: bursar_config::Strategy,
    /// The section `risk` of the settings.
    pub risk: Risk,
    /// Where a user may trade everything, these are looked at, against the dollar.
    pub top: BTreeSet<Asset>,
    /// How long one cycle may take before it is given up.
    pub timeout: Duration,
}

impl CycleSettings {
    /// What the daemon runs with: each cycle may take a minute.
    pub fn from_settings(settings: &bursar_config::Settings) -> Self {
        Self {
            strategy: settings.strategy.clone(),
            risk: settings.risk.clone(),
            top: settings.assets.top.clone(),
            timeout: Duration::from_secs(60),
        }
    }

    /// From the beginning of one cycle to the beginning of the next.
    pub fn interval(&self) -> Duration {
        self.strategy.cycle_interval_s.duration()
    }
}

/// Runs the cycles of one account. Keeps nothing that the notebook does not, but the pairs that it
/// held a moment ago.
pub struct CycleRunner {
    account: TradedAccount,
    parts: Arc<CycleParts>,
    held: Option<BTreeSet<Pair>>,
}

/// A cycle under way.
struct Cycle<'a> {
    account: &'a TradedAccount,
    parts: &'a CycleParts,
    number: u64,
    now: Timestamp,
    steps: Vec<Step>,
}

/// A pair worth buying.
struct Candidate {
    pair: Pair,
    price: Price,
    stop: Price,
    strength: Strength,
    reason: String,
}

impl CycleRunner {
    /// Does nothing before the first [`cycle`](Self::cycle).
    pub const fn new(account: TradedAccount, parts: Arc<CycleParts>) -> Self {
        Self {
            account,
            parts,
            held: None,
        }
    }

    /// The only account whose cycles it runs.
    pub const fn account(&self) -> &TradedAccount {
        &self.account
    }

    /// Runs cycle `number`. While `may_buy` is off, positions are still protected and sold.
    pub async fn cycle(&mut self, number: u64, may_buy: bool) -> CycleReport {
        let account = &self.account;
        tracing::info!(
            account = %account.account,
            user = %account.user,
            cycle = number,
            "cycle {number} for {account}"
        );
        let mut cycle = Cycle {
            account,
            parts: &self.parts,
            number,
            now: self.parts.clock.now(),
            steps: Vec::new(),
        };
        let timeout = self.parts.settings.timeout;
        let failure = match tokio::time::timeout(timeout, cycle.run(may_buy, &mut self.held)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some(format!("given up after {} s", timeout.as_secs())),
        };
        if let Some(reason) = failure {
            cycle.note(Step::Failed { reason });
        }
        CycleReport {
            account: account.clone(),
            number,
            steps: cycle.steps,
        }
    }
}

impl Cycle<'_> {
    async fn run(&mut self, may_buy: bool, held: &mut Option<BTreeSet<Pair>>) -> Result<(), JournalError> {
        let parts = self.parts;
        let state = parts.source.state(self.account, self.now).await?;
        self.say_what_opened(&state, held);
        if let Some(cause) = &state.not_ready {
            self.note(Step::NotReady { cause: cause.clone() });
            return Ok(());
        }
        let before = parts.notebook.read(&self.account.account).await?;
        let mut notes = before.clone();
        // What protected a position that is gone says nothing about the next one; what our own purchase brings has
        // its stop already.
        notes.protections.retain(|pair, _| {
            state.position(pair).is_some() || state.working(pair, Side::Buy).any(|order| order.is_ours)
        });
        notes.leaving.retain(|pair, _| state.position(pair).is_some());

        // First what needs no bars: an exchange whose charts hang must not keep a stop from working.
        let mut quiet = Vec::new();
        for position in &state.positions {
            if !self.watch_stops(position, &state, &mut notes).await {
                quiet.push(position);
            }
        }
        // A failure ends the cycle here: sold is what had to be sold, and nothing is bought that could
        // not be protected later.
        self.keep(&before, &notes).await?;
        let before = notes.clone();
        for position in quiet {
            self.ask_strategy(position, &state, &mut notes).await;
        }
        self.keep(&before, &notes).await?;
        if may_buy {
            self.look_for_entry(&state, &mut notes).await?;
        }
        Ok(())
    }

    async fn keep(&self, before: &Notes, notes: &Notes) -> Result<(), JournalError> {
        if before == notes {
            return Ok(());
        }
        self.parts.notebook.write(&self.account.account, notes).await
    }

    /// Sells a position whose stop or target is met. Says whether there is nothing more to decide.
    async fn watch_stops(&mut self, position: &Position, state: &AccountState, notes: &mut Notes) -> bool {
        let pair = &position.pair;
        let Some(price) = self.price(pair, state) else {
            self.note(Step::Failed {
                reason: format!("{pair} is held and has no fresh price; its stops cannot be watched"),
            });
            return true;
        };
        let paid = position
            .average_price()
            .ok()
            .and_then(|paid| Price::new(paid).ok());
        let protection = notes.protection_of(pair, paid.unwrap_or(price));
        protection.entry = paid.unwrap_or(protection.entry);
        protection.observe(price);
        let settings = &self.parts.settings.strategy;
        let rules = ProtectionRules::new(settings, &state.preferences, state.permissions.trade_only);
        let reason = protection.exit(price, rules);
        match reason.or_else(|| notes.leaving.get(pair).cloned()) {
            Some(reason) => {
                self.sell(position, reason, self.now, state, notes).await;
                true
            }
            None => false,
        }
    }

    /// Sells a position that the strategy gives up, and gives a stop to one that has none yet.
    async fn ask_strategy(&mut self, position: &Position, state: &AccountState, notes: &mut Notes) {
        let pair = &position.pair;
        let (Some(price), Some(candles)) = (self.price(pair, state), self.candles(pair).await) else {
            return;
        };
        let view = MarketView {
            pair,
            candles: &candles,
            price,
            position: Some(position),
        };
        let protection = notes.protection_of(pair, price);
        if protection.stop.is_none() {
            protection.stop = self.parts.strategy.stop(&view);
        }
        match self.parts.strategy.decide(&view) {
            Signal::Exit { reason } => {
                let last_bar = candles.last().map_or(self.now, |bar| bar.start);
                let reason = ExitReason::Signal { reason };
                self.sell(position, reason, last_bar, state, notes).await;
            }
            Signal::Hold { reason } => self.note(Step::Held {
                pair: pair.clone(),
                reason,
            }),
            Signal::Enter { .. } => {}
        }
    }

    /// Asks for the sale of all of a position. Bars that began up to `not_before_bar` bring no new
    /// purchase.
    async fn sell(
        &mut self,
        position: &Position,
        reason: ExitReason,
        not_before_bar: Timestamp,
        state: &AccountState,
        notes: &mut Notes,
    ) {
        let pair = position.pair.clone();
        // An order that waits for its price is no exit: what it holds is sold when it is cancelled, the rest at once.
        let resting: Vec<&WorkingOrder> = (state.working(&pair, Side::Sell))
            .filter(|order| order.rests)
            .collect();
        if state.working(&pair, Side::Sell).count() > resting.len() {
            let reason = "an order to sell it is on its way".to_owned();
            return self.note(Step::Held { pair, reason });
        }
        if sale(position, Decimal::ZERO, state).is_none() {
            return self.note(Step::Dust { pair });
        }
        let mut promised = Decimal::ZERO;
        for order in resting {
            notes.leaving.insert(pair.clone(), reason.clone());
            promised = promised.saturating_add(order.open);
            tracing::info!(
                account = %self.account.account,
                user = %self.account.user,
                intent = %order.intent,
                %pair,
                "{}: the resting order to sell {pair} is cancelled: {reason}",
                self.account
            );
            let why = format!("it stands in the way of an exit: {reason}");
            if let Err(error) = self.parts.desk.cancel(order.intent, &why).await {
                self.note(Step::Failed {
                    reason: chain(&error),
                });
            }
        }
        let Some(request) = sale(position, promised, state) else {
            let reason = "what is left of it is held by orders that are being cancelled".to_owned();
            return self.note(Step::Held { pair, reason });
        };
        tracing::info!(
            account = %self.account.account,
            user = %self.account.user,
            %pair,
            "sell signal: {}: {pair}: {reason}",
            self.account
        );
        if let Some(outcome) = self.submit(request, reason.protective()).await {
            notes.sold_in.insert(pair.clone(), not_before_bar);
            self.note(Step::Sell {
                pair,
                reason,
                outcome,
            });
        }
    }

    /// Buys at most one pair: the next cycle sizes the next one by what this one left.
    async fn look_for_entry(&mut self, state: &AccountState, notes: &mut Notes) -> Result<(), JournalError> {
        let limits = state.preferences.effective(&state.permissions.limits);
        let mut candidates = Vec::new();
        for pair in self.pairs(&limits.pairs, state) {
            if is_taken(&pair, state) {
                continue;
            }
            match self.judge(&pair, state, notes).await {
                Ok(candidate) => candidates.push(candidate),
                Err(reason) => self.note(Step::Held { pair, reason }),
            }
        }
        // The strongest first; of equals, the first by name, so that the choice can be repeated.
        candidates.sort_by(|a, b| b.strength.cmp(&a.strength).then_with(|| a.pair.cmp(&b.pair)));
        if candidates.is_empty() {
            return Ok(());
        }
        // The bars of many pairs take their time: what is bought, and at which size, is decided on what is so now.
        self.now = self.parts.clock.now();
        let state = &self.parts.source.state(self.account, self.now).await?;
        if let Some(cause) = &state.not_ready {
            self.note(Step::NotReady { cause: cause.clone() });
            return Ok(());
        }
        let limits = state.preferences.effective(&state.permissions.limits);
        let pending = state
            .working
            .iter()
            .filter(|order| order.side == Side::Buy && state.position(&order.pair).is_none());
        let pending: BTreeSet<&Pair> = pending.map(|order| &order.pair).collect();
        let taken = state.positions.len().saturating_add(pending.len());
        let is_full = u32::try_from(taken).is_ok_and(|taken| taken >= limits.max_positions);
        for mut candidate in candidates {
            if is_taken(&candidate.pair, state) {
                continue;
            }
            match self.price(&candidate.pair, state) {
                Some(price) if price > candidate.stop => candidate.price = price,
                Some(price) => {
                    let reason = format!("it fell to {price}, not above its stop at {}", candidate.stop);
                    self.note(Step::NotBought {
                        pair: candidate.pair,
                        reason,
                    });
                    continue;
                }
                None => continue,
            }
            tracing::info!(
                account = %self.account.account,
                user = %self.account.user,
                pair = %candidate.pair,
                "buy signal: {}: {}: {}",
                self.account,
                candidate.pair,
                candidate.reason
            );
            let size = if is_full {
                Err(format!("{taken} of {} positions are taken", limits.max_positions))
            } else {
                self.size(&candidate, state, &limits)
            };
            let size = match size {
                Ok(size) => size,
                Err(reason) => {
                    self.note(Step::NotBought {
                        pair: candidate.pair,
                        reason,
                    });
                    continue;
                }
            };
            let Candidate {
                pair, price, stop, ..
            } = candidate;
            // Written before the order: whatever happens next, the position will know its stop.
            notes.put(Protection::new(pair.clone(), price, Some(stop)));
            self.parts.notebook.write(&self.account.account, notes).await?;
            let request = OrderRequest::market(pair.clone(), Side::Buy, OrderSize::Usd(size.usd));
            if let Some(outcome) = self.submit(request, None).await {
                self.note(Step::Buy {
                    pair,
                    size,
                    stop,
                    outcome,
                });
            }
            break;
        }
        Ok(())
    }

    /// The pairs that the user may trade and the exchange trades now.
    fn pairs(&self, rule: &PairRule, state: &AccountState) -> BTreeSet<Pair> {
        let in_dollars = |assets: &BTreeSet<Asset>| -> BTreeSet<Pair> {
            let pairs = assets
                .iter()
                .filter_map(|asset| Pair::new(asset.clone(), Asset::usd()));
            pairs.collect()
        };
        let mut pairs = match rule {
            PairRule::All => in_dollars(&self.parts.settings.top),
            PairRule::Bases(bases) => in_dollars(bases),
            PairRule::Only(pairs) => pairs.clone(),
        };
        pairs.retain(|pair| {
            let known = state.instrument(pair);
            known.is_some_and(|known| known.status == InstrumentStatus::Online)
        });
        pairs
    }

    async fn judge(&mut self, pair: &Pair, state: &AccountState, notes: &Notes) -> Result<Candidate, String> {
        let price = self.price(pair, state).ok_or("it has no fresh price")?;
        let candles = self.candles(pair).await.ok_or("it has no recent bars")?;
        let last_bar = candles.last().map(|bar| bar.start);
        if notes
            .sold_in
            .get(pair)
            .is_some_and(|sold_in| last_bar <= Some(*sold_in))
        {
            return Err("it was sold in this bar".to_owned());
        }
        let signal = self.parts.strategy.decide(&MarketView {
            pair,
            candles: &candles,
            price,
            position: None,
        });
        match signal {
            Signal::Enter {
                strength,
                stop,
                reason,
            } => Ok(Candidate {
                pair: pair.clone(),
                price,
                stop,
                strength,
                reason,
            }),
            Signal::Hold { reason } | Signal::Exit { reason } => Err(reason),
        }
    }

    fn size(
        &self,
        candidate: &Candidate,
        state: &AccountState,
        limits: &bursar_model::UserLimits,
    ) -> Result<Size, String> {
        let equity = state.equity.ok_or("the account's equity is not known")?;
        let quote_asset = candidate.pair.quote();
        let free = state
            .free(quote_asset, self.now)
            .ok_or_else(|| format!("{quote_asset} has no price in dollars"))?;
        let instrument = state
            .instrument(&candidate.pair)
            .ok_or("the exchange does not trade it")?;
        let settings = &self.parts.settings;
        let paid_in = state.paid_in.unwrap_or(equity);
        order_size(&SizingInput {
            base: size_base(equity, paid_in, state.preferences.auto_compound),
            equity,
            risk: settings.risk.of(state.preferences.risk_level),
            entry: candidate.price,
            quote: quote_asset,
            stop: candidate.stop,
            limits,
            policy: &state.policy,
            held: bursar_model::Usd::ZERO,
            free,
            taker_fee_percent: instrument.taker_fee_percent,
            loss_left: state.loss_left,
            smallest: settings.strategy.min_order_usd,
        })
        .map_err(|error| error.to_string())
    }

    fn price(&self, pair: &Pair, state: &AccountState) -> Option<Price> {
        state
            .fresh_quote(pair, self.now)
            .and_then(|quote| quote.mid().ok())
    }

    /// Finished bars that reach up to now; `None` when there are none or the last one is long over.
    async fn candles(&mut self, pair: &Pair) -> Option<Arc<[Candle]>> {
        let minutes = self.parts.strategy.candle_interval_minutes();
        let prices = self.parts.prices.get(&self.account.broker)?;
        let candles = match prices.candles(pair, minutes).await {
            Ok(candles) => candles,
            Err(error) => {
                self.note(Step::Failed {
                    reason: format!("bars of {pair}: {error}"),
                });
                return None;
            }
        };
        // The last finished bar began at most two bars ago; one more is left for a late exchange.
        let oldest = SignedDuration::from_mins(i64::from(minutes).saturating_mul(3));
        let is_recent = candles
            .last()
            .is_some_and(|bar| self.now.duration_since(bar.start) <= oldest);
        is_recent.then_some(candles)
    }

    async fn submit(&mut self, request: OrderRequest, exit: Option<ProtectiveExit>) -> Option<Submitted> {
        let order = CycleOrder {
            account: self.account.account.clone(),
            strategy: self.parts.strategy.name().to_owned(),
            request,
            exit,
            cycle: self.number,
        };
        match self.parts.desk.submit(order).await {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                self.note(Step::Failed {
                    reason: chain(&error),
                });
                None
            }
        }
    }

    /// Says which positions opened and closed since the last cycle.
    fn say_what_opened(&self, state: &AccountState, held: &mut Option<BTreeSet<Pair>>) {
        let now: BTreeSet<Pair> = state
            .positions
            .iter()
            .map(|position| position.pair.clone())
            .collect();
        let before = held.replace(now.clone());
        for position in &state.positions {
            let pair = &position.pair;
            let what = match &before {
                Some(before) if before.contains(pair) => continue,
                Some(_) => "position opened: buy",
                None => "position held:",
            };
            let price = position
                .average_price()
                .map(|price| price.normalize().to_string());
            tracing::info!(
                account = %self.account.account,
                user = %self.account.user,
                "{}: {what} {} {pair} at {}",
                self.account,
                position.quantity,
                price.unwrap_or_else(|_| "an unknown price".to_owned())
            );
        }
        for pair in before.iter().flatten().filter(|pair| !now.contains(*pair)) {
            tracing::info!(
                account = %self.account.account,
                user = %self.account.user,
                "{}: position closed: {pair}",
                self.account
            );
        }
    }

    fn note(&mut self, step: Step) {
        let (account, user) = (&self.account.account, &self.account.user);
        let intent = step.intent().map(tracing::field::display);
        match &step {
            Step::Held { .. } => tracing::debug!(%account, %user, "{}: {step}", self.account),
            Step::Failed { .. } => tracing::warn!(%account, %user, "{}: {step}", self.account),
            Step::NotReady { .. }
            | Step::NotBought { .. }
            | Step::Buy { .. }
            | Step::Sell { .. }
            | Step::Dust { .. } => {
                tracing::info!(%account, %user, intent, "{}: {step}", self.account);
            }
        }
        self.steps.push(step);
    }
}

/// Whether the pair is held, or an order of it is not over.
fn is_taken(pair: &Pair, state: &AccountState) -> bool {
    state.position(pair).is_some() || state.working.iter().any(|order| order.pair == *pair)
}

/// The order that sells all of a position but what is promised already; `None` when it is less than the exchange
/// takes.
fn sale(position: &Position, promised: Decimal, state: &AccountState) -> Option<OrderRequest> {
    let left = decimal::sub(position.quantity.value(), promised).ok()?;
    let mut quantity = Quantity::new(left).ok()?;
    if let Some(instrument) = state.instrument(&position.pair) {
        let step = instrument.quantity_increment.value();
        let on_grid = decimal::floor_to(quantity.value(), step).ok()?;
        quantity = Quantity::new(on_grid).ok()?;
        // At the lowest price at which it may be sold, which is what the order will say.
        let quote = state.quotes.iter().find(|quote| quote.pair == position.pair);
        let least = quote.and_then(|quote| {
            let (mid, step) = (quote.mid().ok()?, instrument.price_increment);
            collar_price(mid, Side::Sell, state.policy.collar_percent, step).ok()?
        });
        let cost = least.and_then(|least| least.cost(quantity).ok());
        if quantity < instrument.min_quantity || cost.is_some_and(|cost| cost < instrument.min_cost) {
            return None;
        }
    }
    let pair = position.pair.clone();
    let mut request = OrderRequest::market(pair, Side::Sell, OrderSize::Quantity(quantity));
    request.reduce_only = true;
    Some(request)
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
