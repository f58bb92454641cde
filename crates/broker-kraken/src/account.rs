//! One account, reached with one key.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, IdUniqueness, KeyRights, MarketData,
    NonceFloor, NonceFloorError, OrderTicket, PlaceError, Placed, ReadError, VenueOrder,
};
use bursar_controls::ApprovedOrder;
use bursar_keystore::{SignError, Signer};
use bursar_model::{
    AccountId, AccountMode, Amount, Balance, BrokerId, ClientOrderId, Clock, CredentialId, Fill, Liquidity,
    OrderTerms, Pair, Price, Quantity,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::Instant;

use crate::balances::balances;
use crate::catalogue::{Finding, judge};
use crate::envelope::{self, Answer, unread, unreadable};
use crate::form::Form;
use crate::gate::{Gate, Urgency};
use crate::limits::{KrakenTier, OrderLimit, ReadLimit, Share};
use crate::names::{Directory, KrakenPair, Named};
use crate::nonce::Numbers;
use crate::orders;
use crate::public::{KrakenPublic, KrakenSetupError};
use crate::rights::{Probed, rights};
use crate::signing::signature;
use crate::text::{Text, Unreadable, unreadable as no};
use crate::transport::{NoReply, Reply, SignedRequest};
use crate::wire::{
    AddOrder, ClosedOrders, OpenOrders, TradesHistory, WireBalance, WireKeyInfo, WireOrder, WireTrade,
    WireTradeVolume,
};

/// What is set for one account at Kraken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrakenAccount {
    pub account: AccountId,
    pub mode: AccountMode,
    /// Whose request numbers are counted.
    pub credential: CredentialId,
    pub tier: KrakenTier,
    /// Whether what lies in auto-earn counts as spendable.
    pub flexible_is_spendable: bool,
}

/// One account at Kraken.
///
/// A shadow account reads like any other and sends nothing.
pub struct Kraken {
    settings: KrakenAccount,
    profile: BrokerProfile,
    public: KrakenPublic,
    signer: Arc<dyn Signer>,
    numbers: Numbers,
    gate: Gate,
    read_limit: ReadLimit,
    order_limit: OrderLimit,
}

/// The account's own fees on a pair, in percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrakenFees {
    pub pair: Pair,
    pub taker_percent: Decimal,
    pub maker_percent: Decimal,
}

/// Kraken takes deadlines from two to sixty seconds ahead.
const NEAREST_DEADLINE: SignedDuration = SignedDuration::from_secs(2);
const FARTHEST_DEADLINE: SignedDuration = SignedDuration::from_secs(60);
/// Deadlines mean nothing between clocks that are further apart.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// Rows of a page of closed orders or trades.
const PAGE: usize = 50;
const MOST_PAGES: usize = 400;

/// Why a signed request has no answer.
enum NoAnswer {
    Number(NonceFloorError),
    Sign(SignError),
    Transport(NoReply),
}

impl NoAnswer {
    fn into_no_reply(self) -> NoReply {
        let not_sent = |reason: String| NoReply::NotSent {
            class: ErrorClass::LocalFault,
            reason,
        };
        match self {
            Self::Number(error) => not_sent(error.to_string()),
            Self::Sign(error) => not_sent(error.to_string()),
            Self::Transport(no_reply) => no_reply,
        }
    }
}

/// What is peculiar to Kraken Spot.
#[expect(clippy::expect_used, reason = "the name is a constant; a test reads it")]
pub fn kraken_profile() -> BrokerProfile {
    BrokerProfile {
        broker: "kraken".parse::<BrokerId>().expect("a plain name"),
        id_uniqueness: IdUniqueness::OpenOrders,
        acceptance: Duration::from_secs(5),
        visibility_lag: Duration::from_secs(30),
        retention: Duration::from_secs(24 * 60 * 60),
        client_order_id: ClientOrderId::from,
    }
}

impl Kraken {
    /// Connects to nothing yet. `numbers` keeps the key's request numbers over restarts.
    ///
    /// # Errors
    ///
    /// [`KrakenSetupError::PaperAccount`]: a paper account gets no connection to an exchange.
    pub fn new(
        settings: KrakenAccount,
        public: KrakenPublic,
        signer: Arc<dyn Signer>,
        numbers: Arc<dyn NonceFloor>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KrakenSetupError> {
        match settings.mode {
            AccountMode::Live | AccountMode::Shadow => {}
            AccountMode::Paper => {
                return Err(KrakenSetupError::PaperAccount {
                    account: settings.account,
                });
            }
        }
        let now = Instant::now();
        Ok(Self {
            profile: kraken_profile(),
            numbers: Numbers::new(settings.credential, numbers, clock),
            gate: Gate::default(),
            read_limit: ReadLimit::new(settings.tier, now),
            order_limit: OrderLimit::new(settings.tier, now),
            settings,
            public,
            signer,
        })
    }

    /// The account's own fees on `pairs`, which may differ from the public schedule.
    pub async fn fees(&self, pairs: &[Pair]) -> Result<Vec<KrakenFees>, ReadError> {
        let directory = self.public.directory().await?;
        let altnames: Vec<&str> = pairs
            .iter()
            .filter_map(|pair| Some(directory.pair(pair)?.altname.as_str()))
            .collect();
        if altnames.is_empty() {
            return Ok(Vec::new());
        }
        let form = Form::new().with("pair", &altnames.join(","));
        let volume: WireTradeVolume = self.read("TradeVolume", &form, 1, Share::Ordinary).await?;
        read_fees(&volume, &directory).map_err(|reason| unreadable("TradeVolume", reason))
    }

    /// Reads `call`, within Kraken's limit for readings. A request number that was refused is
    /// replaced once: a reading does no harm twice.
    async fn read<T: DeserializeOwned>(
        &self,
        call: &'static str,
        form: &Form,
        points: u64,
        share: Share,
    ) -> Result<T, ReadError> {
        let mut second_try = false;
        loop {
            self.wait_to_read(points, share).await?;
            let reply = {
                let _turn = self.gate.enter(Urgency::Read).await;
                self.exchange(call, form, Lane::Read).await
            };
            let reply = reply.map_err(|no_answer| unread(no_answer.into_no_reply()))?;
            let answer = envelope::open(&reply);
            let venue_now = self.public.venue_now();
            if let Answer::Errors(errors) = &answer {
                let finding = judge(errors, venue_now);
                if finding.row.class == ErrorClass::Nonce && !second_try {
                    second_try = true;
                    continue;
                }
                return Err(envelope::read_error(self.slowed(finding, None)));
            }
            return envelope::read(call, &answer, venue_now);
        }
    }

    async fn wait_to_read(&self, points: u64, share: Share) -> Result<(), ReadError> {
        let patience = Instant::now() + self.public.longest_wait();
        while let Err(wait) = self.read_limit.take(points, share, Instant::now()) {
            if Instant::now() + wait > patience {
                return Err(ReadError::TryAgain {
                    class: ErrorClass::Rate,
                    reason: "readings are spaced out to stay below Kraken's limit".into(),
                    wait: Some(wait),
                });
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Slows the account down when Kraken said that it was too fast; tells how long to wait.
    fn slowed(&self, mut finding: Finding, pair: Option<&Pair>) -> Finding {
        if finding.row.class != ErrorClass::Rate {
            return finding;
        }
        let now = Instant::now();
        let wait = if finding.is("EOrder:Domain rate limit exceeded") {
            self.order_limit.exceeded(None, finding.wait, now)
        } else if finding.row.text.starts_with("EOrder:") {
            self.order_limit.exceeded(pair, finding.wait, now)
        } else {
            // The key as a whole: neither readings nor orders go on meanwhile.
            self.order_limit.exceeded(None, finding.wait, now);
            self.read_limit.exceeded(finding.wait, now)
        };
        finding.wait = Some(wait);
        finding
    }

    /// Numbers, signs and sends one request. The caller holds the gate.
    async fn exchange(&self, call: &str, form: &Form, lane: Lane) -> Result<Reply, NoAnswer> {
        let number = self.numbers.next().await.map_err(NoAnswer::Number)?;
        let path = format!("/0/private/{call}");
        let body = form.numbered(number);
        let signature = signature(self.signer.as_ref(), &path, number, &body).map_err(NoAnswer::Sign)?;
        let request = SignedRequest {
            path: &path,
            public_key: self.signer.public_key(),
            signature: &signature,
            body,
        };
        let transport = self.public.transport();
        let reply = match lane {
            Lane::Read => transport.read(request).await,
            Lane::Write => transport.write(request).await,
        };
        reply.map_err(NoAnswer::Transport)
    }

    async fn send_order(
        &self,
        terms: &OrderTerms,
        reducing: bool,
        ticket: &OrderTicket,
    ) -> Result<Placed, PlaceError> {
        if self.settings.mode != AccountMode::Live {
            return Err(not_sent(
                ErrorClass::LocalFault,
                format!("account `{}` sends no orders", self.settings.account),
            ));
        }
        let (urgency, share) = if reducing {
            (Urgency::Reduce, Share::Reserved)
        } else {
            (Urgency::Entry, Share::Ordinary)
        };
        let directory = self.public.directory().await.map_err(before_sending)?;
        let pair = directory.pair(&terms.pair).ok_or_else(|| {
            not_sent(
                ErrorClass::Business,
                format!("Kraken lists no pair {}", terms.pair),
            )
        })?;
        self.check_clocks().await?;
        let patience = Instant::now() + self.time_left(ticket)?;
        self.wait_to_order(&terms.pair, share, patience).await?;
        let turn = tokio::time::timeout_at(patience, self.gate.enter(urgency)).await;
        let Ok(turn) = turn else {
            return Err(not_sent(
                ErrorClass::LocalFault,
                "other requests of the account took too long".into(),
            ));
        };
        // The last look at the deadline, after every wait.
        self.time_left(ticket)?;
        let form = orders::add_order(terms, pair, &ticket.client_order_id, ticket.acceptance_bound);
        let sent = self.exchange("AddOrder", &form, Lane::Write).await;
        drop(turn);
        let placed = match sent.map_err(NoAnswer::into_no_reply) {
            Ok(reply) => self.read_placed(&reply, terms, &directory),
            Err(NoReply::NotSent { class, reason }) => return Err(not_sent(class, reason)),
            Err(NoReply::Lost { class, reason }) => Err(PlaceError::Unknown { class, reason }),
        };
        if !matches!(
            placed,
            Err(PlaceError::Refused { .. } | PlaceError::Throttled { .. })
        ) {
            let id = &ticket.client_order_id;
            self.order_limit.placed(id, &terms.pair, Instant::now());
        }
        placed
    }

    async fn check_clocks(&self) -> Result<(), PlaceError> {
        let known = self.public.measured_offset().await.map_err(before_sending)?;
        let surely = known.offset.abs().saturating_sub(known.uncertainty);
        if surely > CLOCK_TOLERANCE || known.uncertainty > CLOCK_TOLERANCE {
            return Err(not_sent(
                ErrorClass::LocalFault,
                format!(
                    "the clock differs from Kraken's by {} ms (± {} ms)",
                    known.offset.as_millis(),
                    known.uncertainty.as_millis()
                ),
            ));
        }
        Ok(())
    }

    /// How long the order may still wait here; an error when Kraken would not take the deadline.
    fn time_left(&self, ticket: &OrderTicket) -> Result<Duration, PlaceError> {
        let ahead = ticket.acceptance_bound.duration_since(self.public.venue_now());
        let left = ahead.saturating_sub(NEAREST_DEADLINE);
        match Duration::try_from(left) {
            Ok(left) if ahead <= FARTHEST_DEADLINE => Ok(left),
            _ => Err(not_sent(
                ErrorClass::LocalFault,
                format!(
                    "its deadline is {} ms ahead; Kraken takes 2 to 60 seconds",
                    ahead.as_millis()
                ),
            )),
        }
    }

    async fn wait_to_order(&self, pair: &Pair, share: Share, patience: Instant) -> Result<(), PlaceError> {
        while let Err(wait) = self.order_limit.place(pair, share, Instant::now()) {
            if Instant::now() + wait > patience {
                return Err(not_sent(
                    ErrorClass::Rate,
                    format!(
                        "Kraken's limit for orders of {pair} leaves room in {} ms",
                        wait.as_millis()
                    ),
                ));
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Success is what the answer proves: an order id, and a description that is our order.
    fn read_placed(
        &self,
        reply: &Reply,
        terms: &OrderTerms,
        directory: &Directory,
    ) -> Result<Placed, PlaceError> {
        let unknown = |class, reason| Err(PlaceError::Unknown { class, reason });
        let result = match envelope::open(reply) {
            Answer::Success(result) => result,
            Answer::Errors(errors) => {
                let finding = judge(&errors, self.public.venue_now());
                return Err(envelope::place_error(self.slowed(finding, Some(&terms.pair))));
            }
            Answer::Odd { class, reason } => return unknown(class, reason),
        };
        let Ok(added) = serde_json::from_str::<AddOrder>(result.get()) else {
            return unknown(
                ErrorClass::Contract,
                "the answer does not describe an order".into(),
            );
        };
        let ids = added.txid.unwrap_or_default();
        let venue_order_id = match ids.as_slice() {
            [id] => id.parse().ok(),
            _ => None,
        };
        let Some(venue_order_id) = venue_order_id else {
            return unknown(
                ErrorClass::Contract,
                format!("the answer names {} orders instead of one", ids.len()),
            );
        };
        if !orders::agrees(&added.descr.order, terms, directory) {
            let described: String = added.descr.order.chars().take(120).collect();
            return unknown(
                ErrorClass::Contract,
                format!("the answer describes another order: `{described}`"),
            );
        }
        Ok(Placed { venue_order_id })
    }

    async fn send_cancel(&self, id: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        let form = Form::new().with("cl_ord_id", id.as_str());
        let sent = {
            let _turn = self.gate.enter(Urgency::Cancel).await;
            self.exchange("CancelOrder", &form, Lane::Write).await
        };
        match sent.map_err(NoAnswer::into_no_reply) {
            Ok(reply) => {
                self.order_limit.cancel(id, Instant::now());
                envelope::cancelled(&envelope::open(&reply), self.public.venue_now())
            }
            Err(NoReply::NotSent { class, reason } | NoReply::Lost { class, reason }) => {
                Err(CancelError::TryAgain {
                    class,
                    reason,
                    wait: None,
                })
            }
        }
    }

    /// The rows of a list that comes in pages, newest first.
    ///
    /// The window has no fixed end, so what happens meanwhile moves rows to later pages, where they
    /// are read twice, and never past us. A list that ends before the number of rows that its first
    /// page announced was cut off, and is no list.
    async fn pages<Row, Fetch, Fetched>(
        &self,
        call: &str,
        fetch: Fetch,
    ) -> Result<BTreeMap<String, Row>, ReadError>
    where
        Fetch: Fn(usize) -> Fetched + Send + Sync,
        Fetched: Future<Output = Result<Page<Row>, ReadError>> + Send,
        Row: Send,
    {
        let cut_off = |reason: String| ReadError::TryAgain {
            class: ErrorClass::Ambiguous,
            reason: format!("{call}: {reason}"),
            wait: None,
        };
        let mut all = BTreeMap::new();
        let mut announced = None;
        let mut offset = 0_usize;
        for _ in 0..MOST_PAGES {
            let page = fetch(offset).await?;
            let rows = page.rows.len();
            let count = page
                .count
                .map(|count| count.unsigned())
                .transpose()
                .map_err(|reason| unreadable(call, reason))?
                .and_then(|count| usize::try_from(count).ok());
            offset = offset.saturating_add(rows);
            all.extend(page.rows);
            announced = announced.or(count);
            let done = rows == 0 || count.map_or(rows < PAGE, |count| offset >= count);
            if done {
                return match announced {
                    Some(announced) if all.len() < announced => {
                        Err(cut_off(format!("{} of {announced} rows came", all.len())))
                    }
                    _ => Ok(all),
                };
            }
        }
        Err(cut_off(format!("more than {MOST_PAGES} pages")))
    }

    async fn working(&self, form: &Form, share: Share) -> Result<BTreeMap<String, WireOrder>, ReadError> {
        let orders: OpenOrders = self.read("OpenOrders", form, 2, share).await?;
        Ok(orders.open)
    }

    async fn ended(&self, form: &Form, share: Share) -> Result<BTreeMap<String, WireOrder>, ReadError> {
        self.pages("ClosedOrders", |offset| async move {
            let form = form.clone().with("ofs", &offset.to_string());
            let page: ClosedOrders = self.read("ClosedOrders", &form, 2, share).await?;
            Ok(Page {
                rows: page.closed,
                count: page.count,
            })
        })
        .await
    }

    async fn venue_orders(
        &self,
        call: &str,
        wire: &BTreeMap<String, WireOrder>,
    ) -> Result<Vec<VenueOrder>, ReadError> {
        let spellings = wire.values().filter_map(|order| order.descr.pair.as_deref());
        let directory = self.public.directory_for(spellings).await?;
        let mut orders = Vec::with_capacity(wire.len());
        for (id, order) in wire {
            let read = orders::venue_order(id, order, &directory);
            orders.extend(read.map_err(|reason| unreadable(call, reason))?);
        }
        orders.sort_by(|a, b| a.opened_at.cmp(&b.opened_at).then_with(|| a.id.cmp(&b.id)));
        Ok(orders)
    }

    /// Learns the rights of a key from harmless calls. Never asks for a withdrawal.
    async fn probe(&self) -> Result<KeyRights, ReadError> {
        let balance = self.may("Balance", Form::new()).await?;
        let open = self.may("OpenOrders", Form::new()).await?;
        let closed = self.may("ClosedOrders", Form::new()).await?;
        let methods = self
            .may("WithdrawMethods", Form::new().with("asset", "XBT"))
            .await?;
        let can_withdraw = match (methods, balance) {
            (Some(true), _) => Some(true),
            // Refused for lack of the one right, while the other that the call needs is there.
            (Some(false), Some(true)) => Some(false),
            (Some(false) | None, _) => None,
        };
        // An id that was never given out: nothing can be cancelled by it.
        let nobody = ClientOrderId::from(bursar_model::IntentId::from_uuid(uuid::Uuid::nil()));
        let can_trade = match self.send_cancel(&nobody).await {
            Ok(CancelOutcome::Taken | CancelOutcome::NotWorking) => true,
            Err(CancelError::Refused { .. }) => false,
            Err(CancelError::TryAgain { class, reason, wait }) => {
                return Err(ReadError::TryAgain { class, reason, wait });
            }
        };
        let probed = Probed {
            can_trade,
            can_read: [balance, open, closed].iter().all(|may| *may == Some(true)),
            can_withdraw,
        };
        Ok(probed.rights(self.public.now()))
    }

    /// Whether the key may make this call; `None` when the answer does not tell.
    async fn may(&self, call: &'static str, form: Form) -> Result<Option<bool>, ReadError> {
        match self.read::<IgnoredAny>(call, &form, 2, Share::Reserved).await {
            Ok(_) => Ok(Some(true)),
            Err(ReadError::Refused { code, .. }) if is_permission_denied(&code) => Ok(Some(false)),
            Err(ReadError::Refused { .. } | ReadError::Unreadable { .. }) => Ok(None),
            Err(error @ ReadError::TryAgain { .. }) => Err(error),
        }
    }
}

struct Page<Row> {
    rows: BTreeMap<String, Row>,
    count: Option<Text>,
}

#[derive(Clone, Copy)]
enum Lane {
    Read,
    /// Orders and cancels: on a connection of their own.
    Write,
}

fn is_permission_denied(code: &str) -> bool {
    code.to_lowercase().contains("permission denied")
}

const fn not_sent(class: ErrorClass, reason: String) -> PlaceError {
    PlaceError::NotSent { class, reason }
}

/// What failed was a reading that an order needs first.
fn before_sending(error: ReadError) -> PlaceError {
    not_sent(error.class(), error.to_string())
}

/// Kraken counts in whole seconds and leaves the first moment of a window out.
fn window_start(since: Timestamp) -> String {
    since.as_second().saturating_sub(1).to_string()
}

pub(crate) fn read_fill(id: &str, trade: &WireTrade, pair: &KrakenPair) -> Result<Fill, Unreadable> {
    let pair = pair.pair();
    Ok(Fill {
        id: id.parse().map_err(|_| no(id, "a trade id"))?,
        venue_order_id: trade
            .ordertxid
            .parse()
            .map_err(|_| no(&trade.ordertxid, "an order id"))?,
        pair: pair.clone(),
        side: orders::side(&trade.side)?,
        quantity: Quantity::new(trade.vol.decimal()?).map_err(|_| no(trade.vol.as_str(), "a quantity"))?,
        price: Price::new(trade.price.decimal()?).map_err(|_| no(trade.price.as_str(), "a price"))?,
        // Kraken states fees in the quote asset, whatever they were paid in.
        fee: Amount::new(pair.quote().clone(), trade.fee.decimal()?),
        liquidity: match trade.maker {
            Some(true) => Liquidity::Maker,
            Some(false) | None => Liquidity::Taker,
        },
        at: trade.time.moment()?,
    })
}

pub(crate) fn read_fees(
    volume: &WireTradeVolume,
    directory: &Directory,
) -> Result<Vec<KrakenFees>, Unreadable> {
    let mut fees = Vec::new();
    for (name, taker) in &volume.fees {
        let Named::Pair(known) = directory.named(name) else {
            continue;
        };
        let taker_percent = taker.fee.decimal()?;
        // A pair without a fee for makers of its own charges them like takers.
        let maker_percent = match volume.fees_maker.get(name) {
            Some(maker) => maker.fee.decimal()?,
            None => taker_percent,
        };
        fees.push(KrakenFees {
            pair: known.pair().clone(),
            taker_percent,
            maker_percent,
        });
    }
    Ok(fees)
}

#[async_trait]
impl Broker for Kraken {
    fn profile(&self) -> &BrokerProfile {
        &self.profile
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        if order.account() != &self.settings.account {
            return Err(not_sent(
                ErrorClass::LocalFault,
                format!(
                    "an order of `{}` was handed to the connection of `{}`",
                    order.account(),
                    self.settings.account
                ),
            ));
        }
        self.send_order(order.terms(), order.is_reducing(), ticket).await
    }

    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        if self.settings.mode != AccountMode::Live {
            // A shadow account has placed nothing.
            return Ok(CancelOutcome::NotWorking);
        }
        self.send_cancel(order).await
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        let open = self.working(&Form::new(), Share::Ordinary).await?;
        self.venue_orders("OpenOrders", &open).await
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        let form = Form::new()
            .with("closetime", "close")
            .with("start", &window_start(since));
        let mut ended = self.ended(&form, Share::Ordinary).await?;
        let mut unreadable_end = None;
        ended.retain(|_, order| match orders::ended_at(order) {
            Ok(at) => at.is_none_or(|at| at >= since),
            Err(reason) => {
                unreadable_end = Some(reason);
                true
            }
        });
        match unreadable_end {
            Some(reason) => Err(unreadable("ClosedOrders", reason)),
            None => self.venue_orders("ClosedOrders", &ended).await,
        }
    }

    /// Open, closed, open again: between two looks an order can move from neither list to the
    /// first, and from the first to the second. What ended counts over what was still working.
    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        let by_id = Form::new().with("cl_ord_id", id.as_str());
        let windowed = by_id.clone().with("start", &window_start(since));
        let before = self.working(&by_id, Share::Reserved).await?;
        let ended = self.ended(&windowed, Share::Reserved).await?;
        let mut all = self.working(&by_id, Share::Reserved).await?;
        all.extend(before);
        all.extend(ended);
        // A parameter that an exchange does not know is ignored: the filter is applied here too.
        all.retain(|_, order| {
            order
                .cl_ord_id
                .as_deref()
                .and_then(orders::client_order_id)
                .as_ref()
                == Some(id)
        });
        self.venue_orders("OpenOrders and ClosedOrders", &all).await
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        const CALL: &str = "TradesHistory";
        let base = Form::new()
            // Every slice of its own, with the ids that other lists use.
            .with("consolidate_taker", "false")
            .with("start", &window_start(since));
        let base = &base;
        let trades: BTreeMap<String, WireTrade> = self
            .pages(CALL, |offset| async move {
                let form = base.clone().with("ofs", &offset.to_string());
                let page: TradesHistory = self.read(CALL, &form, 2, Share::Ordinary).await?;
                Ok(Page {
                    rows: page.trades,
                    count: page.count,
                })
            })
            .await?;
        let spellings = trades.values().map(|trade| trade.pair.as_str());
        let directory = self.public.directory_for(spellings).await?;
        let mut fills = Vec::with_capacity(trades.len());
        for (id, trade) in &trades {
            let pair = match directory.named(&trade.pair) {
                Named::Pair(known) => known,
                Named::BeyondUs => continue,
                Named::Unknown => return Err(unreadable(CALL, no(&trade.pair, "a pair that Kraken lists"))),
            };
            let fill = read_fill(id, trade, pair).map_err(|reason| unreadable(CALL, reason))?;
            if fill.at >= since {
                fills.push(fill);
            }
        }
        fills.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.id.cmp(&b.id)));
        Ok(fills)
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        let directory = self.public.directory().await?;
        let wire: BTreeMap<String, WireBalance> =
            self.read("BalanceEx", &Form::new(), 1, Share::Ordinary).await?;
        balances(&wire, &directory, self.settings.flexible_is_spendable)
            .map_err(|reason| unreadable("BalanceEx", reason))
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        const CALL: &str = "GetApiKeyInfo";
        let told: Result<WireKeyInfo, ReadError> = self.read(CALL, &Form::new(), 1, Share::Ordinary).await;
        match told {
            Ok(info) => {
                if let Some(seen) = info.nonce.as_ref().and_then(|nonce| nonce.unsigned().ok()) {
                    self.numbers.raise_above(seen);
                }
                rights(&info, self.public.now()).map_err(|reason| unreadable(CALL, reason))
            }
            // The call does not exist, or says something else than it did: try what the key can do.
            Err(
                ReadError::Unreadable { .. }
                | ReadError::Refused {
                    class: ErrorClass::Business,
                    ..
                },
            ) => self.probe().await,
            Err(ReadError::Refused { code, .. }) if is_permission_denied(&code) => self.probe().await,
            Err(error) => Err(error),
        }
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.public.venue_time().await
    }
}
