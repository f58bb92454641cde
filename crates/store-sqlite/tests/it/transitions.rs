//! Every row of the table of transitions, taken by a real store. What looks at the table alone does not see a row
//! that the store never comes to.

use std::collections::BTreeSet;

use bursar_audit::{Action, Value};
use bursar_broker::VenueOrderStatus;
use bursar_execution::machine::{Reservation, Step, TRANSITIONS, Transition};
use bursar_execution::{
    AbsenceEvidence, ApprovalError, Attempt, ConnectionState, Intent, Journal, NegativeLook, Outcome,
    Reports, Resolution,
};
use bursar_model::{IntentState, Side};
use jiff::SignedDuration;

use crate::people::two_people;
use crate::support::trading::{account, attempt, buy, fill, listed};
use crate::support::{World, trail};

/// Of the one attempt that is made in each of these lives.
const TOKEN: [u8; 16] = [7; 16];
/// Of the order, at the exchange.
const ID: &str = "V1";

fn name(row: &Transition) -> String {
    format!("{}: {} by {} to {}", row.number, row.from, row.step, row.to)
}

/// A new order, at the beginning of the row.
async fn at_the_beginning(world: &World, row: &Transition) -> Intent {
    let order = world.approved(buy("1", "BTC-USD", "100")).await;
    if row.from == IntentState::Approved {
        return order;
    }
    let attempt = Attempt {
        token: TOKEN,
        ..attempt(world)
    };
    (world.store.dispatch(order.id, attempt, world.now()).await).unwrap();
    match row.from {
        IntentState::Dispatching => world.intent(&order).await,
        IntentState::Unknown => concluded(world, &order, lost()).await,
        IntentState::Open => world.accepted(&order, ID).await,
        // Of one that people say was never there, no id at the exchange may be known; of one that ended there, it has to.
        IntentState::Incident => {
            if matches!(row.step, Step::ResolveAbsent | Step::ResolveRejected) {
                concluded(world, &order, lost()).await;
            } else {
                world.accepted(&order, ID).await;
            }
            concluded(world, &order, contradiction()).await
        }
        other => panic!("no order is brought to {other}: add how one comes there"),
    }
}

async fn concluded(world: &World, order: &Intent, outcome: Outcome) -> Intent {
    let concluded = world.store.conclude(order.id, outcome, world.now()).await;
    concluded.unwrap()
}

fn lost() -> Outcome {
    Outcome::Lost {
        reason: "no answer".to_owned(),
    }
}

fn contradiction() -> Outcome {
    Outcome::Contradiction {
        facts: "two orders at the venue".to_owned(),
    }
}

fn proved_absent(world: &World, order: &Intent) -> Outcome {
    let acceptance_bound = order.acceptance_bound.unwrap();
    let look = |seconds| NegativeLook {
        venue_time: acceptance_bound + SignedDuration::from_secs(seconds),
        started_at: world.now(),
    };
    Outcome::Absent(AbsenceEvidence {
        acceptance_bound,
        first: look(40),
        second: look(60),
    })
}

/// Does what the step stands for. Only people's steps can be refused.
async fn take(world: &World, order: &Intent, step: Step) -> Result<(), ApprovalError> {
    match step {
        Step::Expire => {
            let late = order.valid_until + SignedDuration::from_millis(1);
            world.clock.set(late);
            drop(world.dispatch(order).await);
        }
        Step::Withdraw => {
            let asked = world.store.request_cancel(order.id, &world.act()).await;
            drop(asked.unwrap());
        }
        Step::Dispatch => drop(world.dispatch(order).await),
        Step::NotSent => {
            let not_sent = Outcome::NotSent {
                token: TOKEN,
                reason: "no route".to_owned(),
            };
            concluded(world, order, not_sent).await;
        }
        Step::Accept => drop(world.accepted(order, ID).await),
        Step::Refuse => {
            let code = "no".to_owned();
            concluded(world, order, Outcome::Refused { code }).await;
        }
        Step::Lose => drop(concluded(world, order, lost()).await),
        Step::Doubt => {
            let marked = world.store.mark_restored("it was put back", &world.act()).await;
            drop(marked.unwrap());
        }
        Step::ProveAbsent => drop(concluded(world, order, proved_absent(world, order)).await),
        Step::Fill => fill_it(world).await,
        Step::Cancel => see(world, order, VenueOrderStatus::Cancelled).await,
        Step::VenueExpire => see(world, order, VenueOrderStatus::Expired).await,
        Step::Contradict => drop(concluded(world, order, contradiction()).await),
        // The venue can neither accept it nor show it for the first time any more.
        Step::ResolveAbsent => {
            world.later(3_600);
            resolve(world, order, Resolution::Absent, None).await?;
        }
        Step::ResolveRejected => {
            world.later(3_600);
            resolve(world, order, Resolution::Rejected, None).await?;
        }
        Step::ResolveOpen => resolve(world, order, Resolution::Open, Some(ID)).await?,
        Step::ResolveFilled => {
            if order.state == IntentState::Open {
                // Its executions were never told.
                let seen = vec![listed(order, ID, "1", VenueOrderStatus::Live)];
                drop(world.store.observe(&account(), seen, world.now()).await.unwrap());
                is_gone(world).await;
            } else {
                fill_it(world).await;
            }
            resolve(world, order, Resolution::Filled, None).await?;
        }
        Step::ResolveCancelled | Step::ResolveVenueExpired => {
            is_gone(world).await;
            let to = if step == Step::ResolveCancelled {
                Resolution::Cancelled
            } else {
                Resolution::VenueExpired
            };
            resolve(world, order, to, None).await?;
        }
    }
    Ok(())
}

/// Nothing is read of the account any more.
async fn is_gone(world: &World) {
    world.is(ConnectionState::Failed).await;
    world.later(3_601);
}

async fn fill_it(world: &World) {
    let all = fill("F1", ID, Side::Buy, "1", "BTC-USD", "100", world.now());
    world.book(vec![all]).await;
}

async fn see(world: &World, order: &Intent, status: VenueOrderStatus) {
    let seen = vec![listed(order, ID, "0", status)];
    let observed = world.store.observe(&account(), seen, world.now()).await;
    drop(observed.unwrap());
}

async fn resolve(
    world: &World,
    order: &Intent,
    to: Resolution,
    id: Option<&str>,
) -> Result<(), ApprovalError> {
    let order = world.intent(order).await;
    world.resolved(&order, to, id).await.map(drop)
}

/// The rows that the trail of a store tells of. State and state are not enough: what people find has rows of its own.
async fn taken(world: &World) -> Vec<&'static Transition> {
    let mut taken = Vec::new();
    for record in trail(&world.store).await {
        let state = |key| match record.data.get(key) {
            Some(Value::Text(state)) if record.action.name().starts_with("intent.") => Some(state.as_str()),
            _ => None,
        };
        let (Some(from), Some(to)) = (state("from"), state("to")) else {
            continue;
        };
        let is_by_people = record.action == Action::IntentResolved;
        let rows: Vec<&Transition> = TRANSITIONS
            .iter()
            .filter(|row| row.from.to_string() == from && row.to.to_string() == to)
            .filter(|row| row.step.is_by_people() == is_by_people)
            .collect();
        assert_eq!(rows.len(), 1, "`{}` from {from} to {to}: {rows:?}", record.action);
        taken.extend(rows);
    }
    taken
}

#[tokio::test]
async fn every_row_of_the_table_is_taken_by_the_store() {
    let mut all: BTreeSet<String> = BTreeSet::new();
    for row in TRANSITIONS {
        let world = two_people().await;
        let order = at_the_beginning(&world, row).await;
        assert_eq!(order.state, row.from, "{}", name(row));

        take(&world, &order, row.step).await.unwrap();

        let taken = taken(&world).await;
        assert_eq!(taken.last().copied().map(name), Some(name(row)));
        assert_eq!(world.intent(&order).await.state, row.to, "{}", name(row));
        let is_released = world.store.reservations(None).await.unwrap().is_empty();
        assert_eq!(
            is_released,
            row.reservation == Reservation::Released,
            "{}",
            name(row)
        );
        all.extend(taken.into_iter().map(name));
    }

    let table = TRANSITIONS.iter().map(name);
    assert_eq!(all, table.collect());
}
