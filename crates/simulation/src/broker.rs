//! One account at a simulated exchange, as the gateway reaches it: the port, with a network between.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, KeyRights, NonceFloor, OrderTicket,
    PlaceError, Placed, ReadError, Throttle, VenueOrder, VenueOrderStatus,
};
use bursar_controls::ApprovedOrder;
use bursar_execution::{AbsenceEvidence, Journal, NegativeLook, Outcome};
use bursar_model::{
    AccountId, Balance, ClientOrderId, CredentialId, Fill, IntentId, IntentState, OrderTerms,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::defect::Defect;
use crate::log::What;
use crate::machine::{Machine, locked, profile};
use crate::node::Node;
use crate::venue::book::Book;
use crate::venue::{Answer, Class, Request, Venue};

/// How long an answer is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a reading waits at most where few are allowed.
const SLOWEST_TURN_MS: u64 = 6000;
/// How far ahead of the clock a block of request numbers ends, in nanoseconds.
const BLOCK: u64 = 30_000_000_000;

pub(crate) struct SimBroker {
    venue: Arc<Venue>,
    node: Arc<Node>,
    account: AccountId,
    key: CredentialId,
    profile: BrokerProfile,
    /// The next request number, and the end of those that are reserved.
    numbers: Mutex<Range<u64>>,
}

/// What became of one delivery.
enum Delivery {
    Answered(Answer),
    /// It answered something that cannot be read.
    Garbled,
    /// Nothing came back in time.
    TimedOut,
}

impl SimBroker {
    pub(crate) fn new(node: Arc<Node>, account: AccountId) -> Self {
        let venue = Arc::clone(node.machine.venue_of(&account));
        let mut profile = profile(&venue);
        if node.machine.plan.defect == Some(Defect::IgnoresReadLag) {
            profile.visibility_lag = Duration::ZERO;
        }
        let key = node.machine.key(&account);
        Self {
            venue,
            node,
            account,
            key,
            profile,
            numbers: Mutex::new(0..0),
        }
    }

    fn machine(&self) -> &Machine {
        &self.node.machine
    }

    fn defect(&self) -> Option<Defect> {
        self.machine().plan.defect
    }

    /// A number that no request of this key has borne, reserved before it is used.
    async fn number(&self) -> Result<u64, String> {
        if let Some(number) = locked(&self.numbers).next() {
            return Ok(number);
        }
        let now = u64::try_from(self.machine().now().as_nanosecond()).unwrap_or(0);
        let mut block = (self.node.reserve(self.key, now, now.saturating_add(BLOCK)).await)
            .map_err(|error| error.to_string())?;
        let first = block.next().ok_or("an empty block")?;
        *locked(&self.numbers) = block;
        Ok(first)
    }

    /// Writes the request once and waits for its answer. From here on it may arrive.
    async fn deliver(
        &self,
        ticket: &OrderTicket,
        terms: &OrderTerms,
        number: u64,
        bound: Timestamp,
        is_again: bool,
    ) -> Delivery {
        let machine = self.machine();
        let (luck, rates) = (&machine.network, machine.weather.rates());
        let recorded = self.node.recorded(ticket.intent).await;
        machine.log.note(
            Some(ticket.intent),
            What::Written {
                process: self.node.process,
                account: self.account.clone(),
                recorded,
                key: self.key,
                number,
                is_again,
            },
        );
        let (sender, answer) = oneshot::channel();
        let arrives = luck.ms(10, 300);
        let request = |reply| Request {
            account: self.account.clone(),
            key: self.key,
            number,
            intent: ticket.intent,
            client: ticket.client_order_id.clone(),
            terms: terms.clone(),
            bound,
            reply,
            answer_after: answer_after(machine),
            waits: self.wait_at_venue(),
        };
        if luck.chance(rates.lose_request) {
            machine.fault("request-lost", String::new());
        } else {
            let loses_answer = luck.chance(rates.lose_answer);
            if loses_answer {
                machine.fault("answer-lost", String::new());
            }
            let twice = self.venue.class != Class::Nothing && luck.chance(rates.deliver_twice);
            let reply = (!loses_answer).then_some(sender);
            if twice {
                machine.fault("delivered-twice", String::new());
                self.venue.deliver(request(None), luck.ms(10, 300));
            }
            self.venue.deliver(request(reply), arrives);
        }
        self.node.fate.point().await;
        let answered = tokio::time::timeout(PATIENCE, answer).await;
        self.node.fate.point().await;
        match answered {
            Ok(Ok(_)) if luck.chance(rates.garble_answer) => {
                machine.fault("answer-garbled", String::new());
                Delivery::Garbled
            }
            Ok(Ok(answer)) => Delivery::Answered(answer),
            // A request that was lost is waited for as long as any other.
            Ok(Err(_)) => {
                tokio::time::sleep(PATIENCE).await;
                Delivery::TimedOut
            }
            Err(_) => Delivery::TimedOut,
        }
    }

    fn wait_at_venue(&self) -> Duration {
        let machine = self.machine();
        let luck = &machine.network;
        if !luck.chance(machine.weather.rates().slow_queue) {
            return luck.ms(0, 200);
        }
        machine.fault("queued-long", String::new());
        match self.venue.class {
            Class::Lifetime => luck.ms(1000, 29_000),
            Class::OpenOnly => luck.ms(500, 7000),
            Class::Nothing => luck.ms(1000, 180_000),
        }
    }

    /// Sends it again, as a process would that takes a time-out for a loss.
    async fn again(&self, ticket: &OrderTicket, terms: &OrderTerms, bound: Timestamp) -> Option<Delivery> {
        let number = self.number().await.ok()?;
        Some(self.deliver(ticket, terms, number, bound, true).await)
    }

    /// What a defective adapter makes of a delivery that was not answered.
    async fn mistaken(&self, ticket: &OrderTicket, terms: &OrderTerms) -> Option<Result<Placed, PlaceError>> {
        let class = self.venue.class;
        match self.defect()? {
            Defect::ResendOnTimeout if class == Class::OpenOnly => {
                let bound = later(self.venue.now(), class.acceptance());
                Some(understood(self.again(ticket, terms, bound).await?))
            }
            Defect::ResendWithoutGuarantees if class == Class::Nothing => Some(understood(
                self.again(ticket, terms, ticket.acceptance_bound).await?,
            )),
            Defect::RefusedRetryCloses => {
                let again = self.again(ticket, terms, ticket.acceptance_bound).await?;
                Some(match again {
                    Delivery::Answered(Answer::Doubtful(class, code) | Answer::Refused(class, code)) => {
                        Err(PlaceError::Refused {
                            class,
                            code: code.to_owned(),
                        })
                    }
                    other => understood(other),
                })
            }
            Defect::FirstBound if class != Class::Nothing => {
                let wait = self.machine().network.ms(15_000, 40_000);
                tokio::time::sleep(wait).await;
                let bound = later(self.venue.now(), class.acceptance());
                Some(understood(self.again(ticket, terms, bound).await?))
            }
            Defect::TimeoutIsNotSent => Some(Err(PlaceError::NotSent {
                class: ErrorClass::Connect,
                reason: "timed out".to_owned(),
            })),
            _ => None,
        }
    }

    /// A reading: answered by a replica that may be behind.
    async fn read<T>(&self, call: &str, read: impl Fn(&Book, Timestamp) -> T) -> Result<T, ReadError> {
        self.node.fate.point().await;
        let machine = self.machine();
        let (luck, rates) = (&machine.network, machine.weather.rates());
        if machine.plan.reads_slowly {
            tokio::time::sleep(luck.ms(0, SLOWEST_TURN_MS)).await;
        }
        tokio::time::sleep(luck.ms(5, 120)).await;
        let try_again = |class, reason: &str| ReadError::TryAgain {
            class,
            reason: reason.to_owned(),
            wait: None,
        };
        if machine.weather.is_unreachable() {
            tokio::time::sleep(luck.ms(100, 3000)).await;
            return Err(try_again(ErrorClass::Connect, "no route"));
        }
        if luck.chance(rates.read_fails) {
            machine.fault("read-failed", call);
            return Err(match luck.below(3) {
                0 => ReadError::Unreadable {
                    call: call.to_owned(),
                    reason: "a field is missing".to_owned(),
                },
                1 => try_again(ErrorClass::Rate, "too many requests"),
                _ => try_again(ErrorClass::Ambiguous, "timed out"),
            });
        }
        let lag = self.lag(call);
        let at = self.venue.now() - SignedDuration::try_from(lag).unwrap_or(SignedDuration::ZERO);
        let answer = match self.venue.state().books.get(&self.account) {
            Some(book) => read(book, at),
            None => return Err(try_again(ErrorClass::Auth, "unknown account")),
        };
        tokio::time::sleep(luck.ms(5, 80)).await;
        self.node.fate.point().await;
        Ok(answer)
    }

    /// All that ended, as who asks for one order is told.
    async fn ended(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.read("closed orders", |book, at| book.ended(since, at)).await
    }

    /// How far behind the replica is that answers a reading: as a rule hardly, sometimes by nearly as much
    /// as the class allows, and then for a while.
    fn lag(&self, call: &str) -> Duration {
        let machine = self.machine();
        let (luck, rates) = (&machine.network, machine.weather.rates());
        let known = machine.weather.lag_of(&self.account);
        if known.is_none() && !luck.chance(rates.lag) {
            return luck.ms(0, 200);
        }
        machine.fault("lagging-read", call);
        if let Some(lag) = known {
            return lag;
        }
        let most = u64::try_from(self.venue.class.visibility_lag().as_millis()).unwrap_or(0);
        let lag = luck.ms(0, most * 95 / 100);
        if luck.chance(rates.stay_behind) {
            let until = Instant::now() + luck.ms(5000, 60_000);
            machine.weather.answer_by_replica(&self.account, lag, until);
        }
        lag
    }

    /// The defect "one `not found` closes the intent".
    async fn close_at_once(&self, id: &ClientOrderId) {
        let Ok(id) = id.as_str().parse::<IntentId>() else {
            return;
        };
        let Ok(intent) = self.node.store.intent(id).await else {
            return;
        };
        let Some(bound) = intent.acceptance_bound else {
            return;
        };
        if intent.state != IntentState::Unknown {
            return;
        }
        let look = |seconds| NegativeLook {
            venue_time: later(bound, Duration::from_secs(seconds)),
            started_at: self.machine().now(),
        };
        let evidence = AbsenceEvidence {
            acceptance_bound: bound,
            first: look(40),
            second: look(60),
        };
        drop(
            self.node
                .conclude(id, Outcome::Absent(evidence), self.machine().now())
                .await,
        );
    }
}

fn answer_after(machine: &Machine) -> Duration {
    let luck = &machine.network;
    if luck.chance(machine.weather.rates().slow_answer) {
        machine.fault("answer-late", String::new());
        return luck.ms(1000, 14_000);
    }
    luck.ms(5, 200)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// What an answer means for whoever asked; what proves nothing is unknown.
fn understood(delivery: Delivery) -> Result<Placed, PlaceError> {
    let unknown = |class, reason: &str| PlaceError::Unknown {
        class,
        reason: reason.to_owned(),
    };
    match delivery {
        Delivery::Answered(Answer::Placed(venue_order_id)) => Ok(Placed { venue_order_id }),
        Delivery::Answered(Answer::AlreadyThere) => Err(PlaceError::AlreadyThere {
            code: "duplicate id".to_owned(),
        }),
        Delivery::Answered(Answer::Refused(class, code)) => Err(PlaceError::Refused {
            class,
            code: code.to_owned(),
        }),
        Delivery::Answered(Answer::Throttled(wait)) => Err(PlaceError::Throttled {
            code: "rate limit exceeded".to_owned(),
            wait,
            of: Throttle::Account,
        }),
        Delivery::Answered(Answer::Doubtful(class, code)) => Err(unknown(class, code)),
        Delivery::Garbled => Err(unknown(ErrorClass::Ambiguous, "the answer cannot be read")),
        Delivery::TimedOut => Err(unknown(
            ErrorClass::Ambiguous,
            "timed out after the request was written",
        )),
    }
}

#[async_trait]
impl Broker for SimBroker {
    fn profile(&self) -> &BrokerProfile {
        &self.profile
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        self.node.fate.point().await;
        let not_sent = |class, reason: String| Err(PlaceError::NotSent { class, reason });
        let machine = self.machine();
        let luck = &machine.network;
        let number = match self.number().await {
            Ok(number) => number,
            Err(reason) => return not_sent(ErrorClass::LocalFault, reason),
        };
        if machine.weather.is_unreachable() || luck.chance(machine.weather.rates().refuse_connection) {
            machine.fault("connection-refused", String::new());
            tokio::time::sleep(luck.ms(20, 2000)).await;
            return not_sent(ErrorClass::Connect, "connection refused".to_owned());
        }
        if self.key != machine.key(&self.account) {
            return Err(PlaceError::Refused {
                class: ErrorClass::Auth,
                code: "unknown key".to_owned(),
            });
        }
        let bound = ticket.acceptance_bound;
        let delivery = self.deliver(ticket, order.terms(), number, bound, false).await;
        if matches!(delivery, Delivery::TimedOut)
            && let Some(mistake) = self.mistaken(ticket, order.terms()).await
        {
            return mistake;
        }
        understood(delivery)
    }

    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        self.node.fate.point().await;
        let machine = self.machine();
        let (luck, rates) = (&machine.network, machine.weather.rates());
        let try_again = |class| {
            Err(CancelError::TryAgain {
                class,
                reason: "no answer".to_owned(),
                wait: None,
            })
        };
        tokio::time::sleep(luck.ms(10, 200)).await;
        if machine.weather.is_unreachable() {
            return try_again(ErrorClass::Connect);
        }
        if luck.chance(rates.lose_request) {
            machine.fault("cancel-lost", String::new());
            tokio::time::sleep(Duration::from_secs(5)).await;
            return try_again(ErrorClass::Ambiguous);
        }
        let was_there = self.venue.cancel(&self.account, order);
        if luck.chance(rates.lose_answer) {
            machine.fault("cancel-answer-lost", String::new());
            tokio::time::sleep(Duration::from_secs(5)).await;
            return try_again(ErrorClass::Ambiguous);
        }
        tokio::time::sleep(luck.ms(5, 100)).await;
        self.node.fate.point().await;
        Ok(if was_there {
            CancelOutcome::Taken
        } else {
            CancelOutcome::NotWorking
        })
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        self.read("open orders", Book::working).await
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        let mut ended = self.ended(since).await?;
        if self.machine().plan.leaves_out {
            ended.retain(|order| order.status != VenueOrderStatus::Cancelled);
        }
        Ok(ended)
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        let began_ms = self.machine().time.ms();
        let mut found = self.open_orders().await?;
        found.extend(self.ended(since).await?);
        found.extend(self.open_orders().await?);
        found.retain(|order| order.client_order_id.as_ref() == Some(id));
        if found.is_empty() {
            let intent = id.as_str().parse().ok();
            self.machine().log.note(intent, What::LookedInVain { began_ms });
            if self.defect() == Some(Defect::OneLookCloses) {
                self.close_at_once(id).await;
            }
        }
        Ok(found)
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        let mut fills = self.read("fills", |book, at| book.executions(since, at)).await?;
        let machine = self.machine();
        if fills.len() > 1 && machine.network.chance(machine.weather.rates().jumble_fills) {
            machine.fault("fills-jumbled", String::new());
            let again = fills[0].clone();
            fills.reverse();
            fills.push(again);
        }
        Ok(fills)
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        self.read("balances", Book::balances).await
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        let checked_at = self.machine().now();
        self.read("key rights", |_, _| ()).await?;
        Ok(KeyRights {
            can_trade: true,
            can_read: true,
            can_withdraw: Some(false),
            rights: Vec::new(),
            warnings: Vec::new(),
            venue_account_id: None,
            checked_at,
        })
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        let now = self.read("time", |_, _| ()).await.map(|()| self.venue.now())?;
        // It tells whole seconds.
        Ok(Timestamp::from_second(now.as_second()).unwrap_or(now))
    }

    /// The venues of a world have none.
    async fn arm_dead_man(&self, _timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        Ok(None)
    }
}
