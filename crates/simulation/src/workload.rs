//! What people and programs ask for while a world lives.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bursar_execution::{
    Admission, Conditions as _, ConnectionState, GatewayError, Journal, JournalError, OrderIntent,
};
use bursar_model::{
    AccountId, BrokerId, IntentId, OrderKind, OrderRequest, OrderSize, Pair, Price, Quantity, Rights, Side,
    TimeInForce, Usd, UserId,
};
use bursar_permissions::Caller;
use rust_decimal::{Decimal, dec};
use tokio::sync::{mpsc, oneshot};

use crate::log::What;
use crate::machine::locked;
use crate::operator::Operator;
use crate::process::{Ask, gateway};
use crate::random::Random;
use crate::venue::market::on_grid;

pub(crate) struct Workload<'w> {
    operator: &'w Operator,
    doors: Vec<mpsc::Sender<Ask>>,
    luck: Random,
    known: Mutex<Vec<Known>>,
    /// The account of the last order, by its place in the plan.
    last: AtomicUsize,
}

/// An order that was asked for, and the intent that the gateway named.
#[derive(Clone)]
struct Known {
    order: OrderIntent,
    intent: IntentId,
    /// Of the store that named it.
    life: usize,
}

/// What became of a request, as its caller sees it.
enum Taken {
    Named(IntentId),
    Refused,
    /// The process died, or could not say.
    Silence,
}

impl<'w> Workload<'w> {
    pub(crate) fn new(operator: &'w Operator, doors: Vec<mpsc::Sender<Ask>>) -> Self {
        Self {
            luck: Random::stream(operator.machine.plan.seed, "workload"),
            operator,
            doors,
            known: Mutex::default(),
            last: AtomicUsize::new(0),
        }
    }

    pub(crate) async fn run(&self) {
        for number in 0..self.operator.machine.plan.orders {
            tokio::time::sleep(self.pause()).await;
            let order = self.order(number).await;
            self.ask(order).await;
            if self.luck.chance(150) {
                self.ask_again().await;
            }
            if self.luck.chance(250) {
                self.cancel_one().await;
            }
        }
    }

    /// Orders come in bursts.
    fn pause(&self) -> Duration {
        if self.luck.chance(400) {
            self.luck.ms(0, 60)
        } else {
            self.luck.ms(50, 1000)
        }
    }

    async fn order(&self, number: usize) -> OrderIntent {
        let (account, user, _) = self.account().await;
        let request = match self.luck.chance(350) {
            true => match self.sale(account).await {
                Some(sale) => sale,
                None => self.purchase(account),
            },
            false => self.purchase(account),
        };
        OrderIntent {
            account: account.clone(),
            caller: self.caller(user),
            request,
            idempotency_key: self.luck.chance(700).then(|| format!("key-{number}")),
            cycle: None,
        }
    }

    /// Often the one that was asked for last, and mostly one that trades.
    async fn account(&self) -> &(AccountId, UserId, BrokerId) {
        let accounts = &self.operator.machine.plan.accounts;
        let index = self.last.load(Ordering::Relaxed);
        if self.luck.chance(300)
            && let Some(last) = accounts.get(index)
        {
            return last;
        }
        let connections = match self.luck.chance(700) {
            true => (self.operator.node().await.store.connections().await).unwrap_or_default(),
            false => Vec::new(),
        };
        let is_ready = |account: &AccountId| {
            connections
                .iter()
                .any(|(id, connection)| id == account && connection.state == ConnectionState::Ready)
        };
        let ready: Vec<usize> = (0..accounts.len())
            .filter(|index| is_ready(&accounts[*index].0))
            .collect();
        let all: Vec<usize> = (0..accounts.len()).collect();
        let index = *self.luck.pick(if ready.is_empty() { &all } else { &ready });
        self.last.store(index, Ordering::Relaxed);
        &accounts[index]
    }

    fn caller(&self, owner: &UserId) -> Caller {
        match self.luck.below(4) {
            0 => Caller::Operator,
            1 => Caller::Member {
                user: owner.clone(),
                rights: Rights::ALL,
            },
            _ => Caller::Strategy {
                name: "trend".to_owned(),
                exit: None,
            },
        }
    }

    fn purchase(&self, account: &AccountId) -> OrderRequest {
        let venue = self.operator.machine.venue_of(account);
        let state = venue.state();
        let pair = self.luck.pick(&state.market.traded()).clone();
        let usd = Usd::new(Decimal::from(self.luck.between(40, 1400)));
        let kind = match self.luck.below(10) {
            0..=4 => OrderKind::Market,
            5..=8 => OrderKind::Limit {
                price: self.bid_for(&pair, state.market.mid(&pair)),
            },
            _ => OrderKind::TakeProfit {
                trigger: self.near(&pair, state.market.mid(&pair), 20),
            },
        };
        let at_once = matches!(kind, OrderKind::Limit { .. }) && self.luck.chance(300);
        OrderRequest {
            kind,
            time_in_force: if at_once {
                TimeInForce::ImmediateOrCancel
            } else {
                TimeInForce::GoodTilCancelled
            },
            ..OrderRequest::market(pair, Side::Buy, OrderSize::Usd(usd))
        }
    }

    /// Of something that the account holds.
    async fn sale(&self, account: &AccountId) -> Option<OrderRequest> {
        let held = {
            let node = self.operator.node().await;
            Journal::positions(&node.store, account).await.ok()?
        };
        if held.is_empty() {
            return None;
        }
        let position = self.luck.pick(&held);
        let share = Decimal::from(*self.luck.pick(&[30_u64, 60, 100, 100])) / dec!(100);
        let quantity = (position.quantity.value() * share).trunc_with_scale(4);
        let quantity = Quantity::new(quantity).ok()?;
        let pair = position.pair.clone();
        let mid = self.operator.machine.venue_of(account).state().market.mid(&pair);
        let kind = match self.luck.below(10) {
            0..=4 => OrderKind::Market,
            5..=7 => OrderKind::Limit {
                price: self.near(&pair, mid, 20),
            },
            _ => OrderKind::StopLoss {
                trigger: Price::new(on_grid(&pair, mid * dec!(0.995))).ok()?,
            },
        };
        Some(OrderRequest {
            kind,
            reduce_only: self.luck.chance(300),
            ..OrderRequest::market(pair, Side::Sell, OrderSize::Quantity(quantity))
        })
    }

    /// Near the market; what is not paid for in dollars often so far below that it works for long.
    fn bid_for(&self, pair: &Pair, mid: Decimal) -> Price {
        if !pair.quote().is_usd() && self.luck.chance(700) {
            return self.near(pair, mid * dec!(0.97), 200);
        }
        self.near(pair, mid, 30)
    }

    /// Within so many ten-thousandths.
    fn near(&self, pair: &Pair, price: Decimal, most: u64) -> Price {
        let off = Decimal::from(self.luck.between(0, most * 2)) - Decimal::from(most);
        Price::new(on_grid(pair, price * (Decimal::ONE + off * dec!(0.0001)))).unwrap()
    }

    /// Asks; a caller that hears nothing asks again with the same key, if it has one.
    async fn ask(&self, order: OrderIntent) {
        let life = self.operator.machine.life();
        for _ in 0..3 {
            match self.submit(order.clone()).await {
                Taken::Named(intent) => {
                    self.learn(order, intent, life);
                    return;
                }
                Taken::Refused => return,
                Taken::Silence if order.idempotency_key.is_none() => return,
                Taken::Silence => tokio::time::sleep(self.luck.ms(300, 3000)).await,
            }
        }
    }

    /// The same key names the same intent for ever.
    fn learn(&self, order: OrderIntent, intent: IntentId, life: usize) {
        let mut known = locked(&self.known);
        let now = self.operator.machine.life();
        if life != now {
            return;
        }
        known.retain(|known| known.life == now);
        if order.idempotency_key.is_some()
            && let Some(before) = known.iter().find(|known| known.order == order)
            && before.intent != intent
        {
            let text = format!("key names two intents: {} and {intent}", before.intent);
            self.operator
                .machine
                .log
                .note(Some(intent), What::KeyBroken(text));
        }
        known.push(Known { order, intent, life });
    }

    async fn ask_again(&self) {
        let life = self.operator.machine.life();
        let known = {
            let mut known = locked(&self.known);
            known.retain(|known| known.life == life);
            if known.is_empty() {
                return;
            }
            self.luck.pick(&known).clone()
        };
        let mut order = known.order;
        let changed = self.luck.chance(300);
        if changed {
            order.request.post_only = !order.request.post_only;
        }
        let has_key = order.idempotency_key.is_some();
        let taken = self.submit(order.clone()).await;
        match taken {
            Taken::Named(intent) if changed && has_key && self.operator.machine.life() == life => {
                let text = "another order under a used key was taken".to_owned();
                self.operator
                    .machine
                    .log
                    .note(Some(intent), What::KeyBroken(text));
            }
            Taken::Named(intent) => self.learn(order, intent, life),
            Taken::Refused | Taken::Silence => {}
        }
    }

    async fn submit(&self, order: OrderIntent) -> Taken {
        let by_command_line = self.luck.chance(250);
        if by_command_line {
            let node = self.operator.node().await;
            return match gateway(&node).submit(order).await {
                Ok(admission) => named(&admission),
                Err(GatewayError::Journal(JournalError::KeyReused { .. })) => Taken::Refused,
                Err(_) => Taken::Silence,
            };
        }
        let (reply, answer) = oneshot::channel();
        let door = self.luck.pick(&self.doors);
        if door.send(Ask { order, reply }).await.is_err() {
            return Taken::Silence;
        }
        match tokio::time::timeout(Duration::from_secs(6), answer).await {
            Ok(Ok(Ok(admission))) => named(&admission),
            Ok(Ok(Err(error))) if error.contains("already names another order") => Taken::Refused,
            _ => Taken::Silence,
        }
    }

    async fn cancel_one(&self) {
        let intent = {
            let known = locked(&self.known);
            let recent = known.len().saturating_sub(12);
            match known.get(recent..) {
                Some(recent) if !recent.is_empty() => self.luck.pick(recent).intent,
                _ => return,
            }
        };
        let node = self.operator.node().await;
        drop(node.request_cancel(intent, &self.operator.machine.act()).await);
    }
}

fn named(admission: &Admission) -> Taken {
    Taken::Named(admission.intent().id)
}
