//! One account, reached with one key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, IdUniqueness, KeyRights, MarketData,
    NonceFloor, NonceFloorError, OrderTicket, PlaceError, Placed, ReadError, Throttle, VenueOrder,
};
use bursar_controls::ApprovedOrder;
use bursar_keystore::{SignError, Signer};
use bursar_model::{
    AccountId, AccountMode, Balance, BrokerId, ClientOrderId, Clock, CredentialId, Fill, Pair,
};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::balances::balances;
use crate::catalogue::{Finding, judge};
use crate::envelope::{self, Answer, unread, unreadable};
use crate::form::Form;
use crate::gate::{Gate, Turn, Urgency};
use crate::limits::{KeyLimits, KrakenTier, Share};
use crate::names::{Directory, Named};
use crate::nonce::Numbers;
use crate::public::{KrakenPublic, KrakenSetupError};
use crate::signing::signature;
use crate::text::Unreadable;
use crate::transport::{NoReply, Reply, SignedRequest};
use crate::wire::{WireBalance, WireTradeVolume};

mod key;
mod lists;
mod placing;

pub(crate) use lists::read_fill;
pub(crate) use placing::read_placed;

/// What is set for one account at Kraken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrakenAccount {
    /// The account of ours that it is; stands in errors.
    pub account: AccountId,
    /// A shadow account reads and sends nothing; a paper account is refused.
    pub mode: AccountMode,
    /// Whose request numbers are counted.
    pub credential: CredentialId,
    /// As the operator says: Kraken does not tell.
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
    limits: Arc<KeyLimits>,
    /// The latest cancels that Kraken has answered.
    answered_cancels: Mutex<VecDeque<ClientOrderId>>,
    /// An order was looked up, and the fills that belong to the look were not read yet.
    looked_up: AtomicBool,
    /// Pairs of which it was said that Kraken does not list them.
    left_out: Mutex<BTreeSet<String>>,
}

/// The account's own fees on a pair, in percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrakenFees {
    /// The pair that was asked for.
    pub pair: Pair,
    /// For taking what waits in the book.
    pub taker_percent: Decimal,
    /// For waiting in the book.
    pub maker_percent: Decimal,
}

/// Why a signed request has no answer.
enum NoAnswer {
    Number(NonceFloorError),
    Sign(SignError),
    Transport(NoReply),
    /// A cancel was waiting.
    GaveWay,
    /// The last look before the write said no.
    NotWanted(PlaceError),
}

/// How long a cancel waits for a reading that is under way. Most are answered sooner; of one that is
/// not, nothing is known that could not be read again.
const GRACE: Duration = Duration::from_secs(1);

async fn patience_ends(turn: &Turn) {
    turn.cancel_waits().await;
    tokio::time::sleep(GRACE).await;
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
            Self::NotWanted(error) => NoReply::NotSent {
                class: error.class(),
                reason: match error {
                    PlaceError::NotSent { reason, .. } => reason,
                    other => other.to_string(),
                },
            },
            Self::GaveWay => NoReply::Lost {
                class: ErrorClass::LocalFault,
                reason: "it gave way to a cancel".into(),
            },
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
        sustainable_look: KrakenTier::Starter.sustainable_look(),
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
        let limits = public.limits(settings.credential, settings.tier);
        Ok(Self {
            profile: BrokerProfile {
                sustainable_look: settings.tier.sustainable_look(),
                ..kraken_profile()
            },
            numbers: Numbers::new(settings.credential, numbers, clock),
            gate: Gate::default(),
            limits,
            answered_cancels: Mutex::default(),
            looked_up: AtomicBool::new(false),
            left_out: Mutex::default(),
            settings,
            public,
            signer,
        })
    }

    /// The account's own fees on `pairs`, which may differ from the public schedule.
    ///
    /// # Errors
    ///
    /// As [`Broker::balances`](bursar_broker::Broker::balances).
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
                let turn = self.gate.enter(Urgency::Read).await;
                tokio::select! {
                    biased;
                    reply = self.exchange(call, form, Lane::Read) => reply,
                    () = patience_ends(&turn) => Err(NoAnswer::GaveWay),
                }
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
        let reads = &self.limits.reads;
        let patience = Instant::now() + self.public.longest_wait() + reads.reserve_falls(share);
        while let Err(wait) = reads.take(points, share, Instant::now()) {
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
        let is_of_engine = finding.row.text.starts_with("EOrder:");
        let wait = if is_of_engine && finding.row.throttles() == Throttle::Account {
            self.limits.orders.exceeded(None, finding.wait, now)
        } else if finding.is("EOrder:Rate limit exceeded") {
            self.limits.orders.exceeded(pair, finding.wait, now)
        } else if is_of_engine {
            // Too many orders work there: the counter of requests has room.
            self.limits.orders.too_many_open(pair, finding.wait, now)
        } else {
            // The key as a whole: neither readings nor orders go on meanwhile.
            self.limits.orders.exceeded(None, finding.wait, now);
            self.limits.reads.exceeded(finding.wait, now)
        };
        finding.wait = Some(wait);
        finding
    }

    /// The same for an answer to what is never slowed down itself.
    fn heed(&self, answer: &Answer, pair: Option<&Pair>) {
        if let Answer::Errors(errors) = answer {
            let finding = judge(errors, self.public.venue_now());
            // A limit of a pair that nobody knows any more holds up no other pair.
            if pair.is_some() || finding.row.throttles() == Throttle::Account {
                drop(self.slowed(finding, pair));
            }
        }
    }

    /// Numbers, signs and sends one request. The caller holds the gate.
    async fn exchange(&self, call: &str, form: &Form, lane: Lane) -> Result<Reply, NoAnswer> {
        self.exchange_if(call, form, lane, || Ok(())).await
    }

    /// As [`exchange`](Self::exchange), if `may_write` still says so when everything else is done. Only
    /// the connection is made after that.
    async fn exchange_if(
        &self,
        call: &str,
        form: &Form,
        lane: Lane,
        may_write: impl FnOnce() -> Result<(), PlaceError>,
    ) -> Result<Reply, NoAnswer> {
        let reach = |stage| match lane {
            // Readings may be lost without harm.
            Lane::Read => {}
            Lane::Write => bursar_points::reach(call, stage),
        };
        let number = self.numbers.next().await.map_err(NoAnswer::Number)?;
        reach("numbered");
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
        reach("signed");
        may_write().map_err(NoAnswer::NotWanted)?;
        reach("leaving");
        let reply = match lane {
            Lane::Read => transport.read(request).await,
            Lane::Write => transport.write(request).await,
        };
        reach(if reply.is_ok() { "answered" } else { "unanswered" });
        if let Ok(reply) = &reply {
            self.heed_number(reply).await;
        }
        reply.map_err(NoAnswer::Transport)
    }

    /// Numbers that are refused again and again leap. The answer stands, whatever comes of that.
    async fn heed_number(&self, reply: &Reply) {
        match envelope::took_number(reply) {
            Some(true) => self.numbers.taken(),
            Some(false) => match self.numbers.refused().await {
                Ok(Some(ahead)) => tracing::warn!(
                    account = %self.settings.account,
                    ahead_s = ahead.as_secs(),
                    "Kraken has seen greater request numbers of this key than are kept here; they go on so far ahead of the clock. A store that was put back explains it, or another program that uses the key"
                ),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(account = %self.settings.account, %error, "request numbers are refused and cannot be raised");
                }
            },
            None => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Lane {
    Read,
    /// Orders and cancels: on a connection of their own.
    Write,
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
            return Err(placing::not_sent(
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
        self.working_orders().await
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.ended_orders(since).await
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.look_for(id, since).await
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        self.read_fills(since).await
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        let directory = self.public.directory().await?;
        let wire: BTreeMap<String, WireBalance> =
            self.read("BalanceEx", &Form::new(), 1, Share::Ordinary).await?;
        balances(&wire, &directory, self.settings.flexible_is_spendable)
            .map_err(|reason| unreadable("BalanceEx", reason))
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        self.read_rights().await
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.public.venue_time().await
    }

    async fn arm_dead_man(&self, timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        if self.settings.mode != AccountMode::Live {
            // A shadow account touches nothing.
            return Ok(None);
        }
        self.set_dead_man(timeout).await
    }
}
