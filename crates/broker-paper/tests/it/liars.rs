//! The contract finds out brokers that break it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::contract::{CHECKS, ContractWorld};
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, KeyRights, OrderTicket, PlaceError, Placed, ReadError,
    StillWanted, VenueOrder,
};
use bursar_controls::ApprovedOrder;
use bursar_model::{Balance, ClientOrderId, Fill, OrderRequest, Pair, Price, Quantity, VenueOrderId};
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    FindsNothing,
    FindsEverything,
    PlacesTwice,
    FillsTwice,
    FillsAgainLater,
    HidesForeignOrders,
    HidesHolds,
    ForgetsFees,
    CancelsWithAnError,
    SwapsTerms,
    AcceptsWithoutPlacing,
    NeverAsks,
    CanWithdraw,
}

struct Liar {
    world: World,
    lie: Lie,
    placed: AtomicUsize,
}

impl Liar {
    fn inner(&self) -> &dyn Broker {
        &self.world.broker
    }
}

#[async_trait]
impl Broker for Liar {
    fn profile(&self) -> &BrokerProfile {
        self.inner().profile()
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        if self.lie == Lie::AcceptsWithoutPlacing {
            return Ok(Placed {
                venue_order_id: "PAPER-O1".parse().unwrap(),
            });
        }
        if self.lie == Lie::NeverAsks {
            let ticket = OrderTicket {
                still_wanted: StillWanted::always(),
                ..ticket.clone()
            };
            return self.inner().place(order, &ticket).await;
        }
        if self.lie == Lie::PlacesTwice {
            self.placed.fetch_add(1, Ordering::SeqCst);
        }
        self.inner().place(order, ticket).await
    }

    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        let outcome = self.inner().cancel(order).await?;
        if self.lie == Lie::CancelsWithAnError && outcome == CancelOutcome::NotWorking {
            return Err(CancelError::Refused {
                class: bursar_broker::ErrorClass::Business,
                code: "unknown order".into(),
            });
        }
        Ok(outcome)
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        let mut orders = self.inner().open_orders().await?;
        if self.lie == Lie::HidesForeignOrders {
            orders.retain(|order| order.client_order_id != Some("by-hand".parse().unwrap()));
        }
        Ok(orders)
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.inner().closed_orders(since).await
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        match self.lie {
            Lie::FindsNothing => Ok(vec![]),
            Lie::FindsEverything => self.inner().open_orders().await,
            Lie::SwapsTerms => {
                let mut found = self.inner().find(id, since).await?;
                for order in &mut found {
                    order.quantity = "0.5".parse().unwrap();
                }
                Ok(found)
            }
            _ => self.inner().find(id, since).await,
        }
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        let mut fills = match self.lie {
            Lie::FillsAgainLater => self.inner().fills(Timestamp::UNIX_EPOCH).await?,
            _ => self.inner().fills(since).await?,
        };
        match self.lie {
            Lie::FillsTwice => fills.extend(fills.clone()),
            Lie::ForgetsFees => fills.iter_mut().for_each(|fill| fill.fee.value = Decimal::ZERO),
            _ => {}
        }
        Ok(fills)
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        let mut balances = self.inner().balances().await?;
        if self.lie == Lie::HidesHolds {
            balances
                .iter_mut()
                .for_each(|balance| balance.held = Decimal::ZERO);
        }
        Ok(balances)
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        let mut rights = self.inner().key_rights().await?;
        rights.can_withdraw = Some(self.lie == Lie::CanWithdraw);
        Ok(rights)
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.inner().venue_time().await
    }

    async fn arm_dead_man(&self, timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        self.inner().arm_dead_man(timeout).await
    }
}

#[async_trait]
impl ContractWorld for Liar {
    fn broker(&self) -> &dyn Broker {
        self
    }

    fn pair(&self) -> Pair {
        self.world.pair()
    }

    fn price(&self) -> Price {
        self.world.price()
    }

    fn quantity(&self) -> Quantity {
        self.world.quantity()
    }

    fn beyond_funds(&self) -> Quantity {
        self.world.beyond_funds()
    }

    async fn approve(&self, request: OrderRequest) -> Result<ApprovedOrder, String> {
        self.world.approve(request).await
    }

    async fn ticket(&self) -> OrderTicket {
        self.world.ticket().await
    }

    async fn trade(&self, price: Price, quantity: Option<Quantity>) -> Result<(), String> {
        self.world.trade(price, quantity).await
    }

    async fn orders_made(&self, id: &ClientOrderId) -> Result<usize, String> {
        match self.lie {
            // The venue makes an order of each request.
            Lie::PlacesTwice => Ok(self.placed.load(Ordering::SeqCst)),
            _ => self.world.orders_made(id).await,
        }
    }

    async fn order_by_hand(&self) -> Result<VenueOrderId, String> {
        self.world.order_by_hand().await
    }
}

#[tokio::test]
async fn every_lie_breaks_the_rule_that_it_is_about() {
    let lies = [
        (
            Lie::FindsNothing,
            "a_placed_order_is_found_by_its_id_with_equal_terms",
        ),
        (Lie::FindsEverything, "an_unknown_id_is_not_found"),
        (Lie::PlacesTwice, "the_same_id_while_open_makes_no_second_order"),
        (Lie::FillsTwice, "a_market_order_fills_and_is_reported_once"),
        (Lie::FillsTwice, "partial_fills_add_up"),
        (Lie::FillsAgainLater, "a_market_order_fills_and_is_reported_once"),
        (Lie::HidesForeignOrders, "orders_placed_by_hand_are_listed"),
        (Lie::HidesHolds, "a_working_order_holds_what_it_may_take"),
        (Lie::ForgetsFees, "a_fill_moves_both_balances_and_takes_its_fee"),
        (Lie::CancelsWithAnError, "a_cancel_twice_is_harmless"),
        (Lie::CancelsWithAnError, "a_cancel_of_nothing_is_harmless"),
        (
            Lie::SwapsTerms,
            "a_placed_order_is_found_by_its_id_with_equal_terms",
        ),
        (Lie::AcceptsWithoutPlacing, "a_refused_order_leaves_nothing"),
        (Lie::NeverAsks, "an_order_no_longer_wanted_is_not_sent"),
        (
            Lie::NeverAsks,
            "whether_it_is_wanted_is_asked_before_it_is_written",
        ),
        (Lie::CanWithdraw, "the_clock_and_the_key_are_told"),
    ];
    for (lie, rule) in lies {
        let check = CHECKS.iter().find(|check| check.name == rule).unwrap();
        let liar = Liar {
            world: World::new(None, None),
            lie,
            placed: AtomicUsize::new(0),
        };

        assert!(check.run(&liar).await.is_err(), "{lie:?} got past `{rule}`");
    }
}
