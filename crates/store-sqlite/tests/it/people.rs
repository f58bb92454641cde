//! What takes two people: ending what the gateway cannot end, turning off what stops everything,
//! loosening what protects everybody.

use bursar_audit::Action;
use bursar_auth::{Act, Principal};
use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Policy, Scope};
use bursar_execution::{
    Approval, ApprovalError, Approvals, Conditions, Connection, ConnectionState, Effect, Intent, Journal,
    JournalError, Measure, MoreLoss, NewLatch, Outcome, Proposed, Reconciliation, Reports, Resolution,
};
use bursar_model::{Fill, IntentState, LatchId, Side};
use jiff::SignedDuration;

use crate::support::trading::{account, buy, fill, held, limits, listed, ready, user, wide};
use crate::support::{World, actions, trail};

/// The world of orders, with two people who run it.
pub(crate) async fn two_people() -> World {
    let world = ready().await;
    world.store.set_works_alone(false, &world.act()).await.unwrap();
    world
}

impl World {
    fn first(&self) -> Act {
        self.act().because("asked the exchange")
    }

    /// From now on the first does what takes two.
    async fn alone(&self) -> Act {
        self.store.set_works_alone(true, &self.act()).await.unwrap();
        self.first()
    }

    fn second(&self) -> Act {
        Act::new(Principal::operator("night_desk").unwrap(), self.now())
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.clock.set(self.now() + SignedDuration::from_secs(seconds));
    }

    async fn unknown(&self) -> Intent {
        let intent = self.approved(buy("1", "BTC-USD", "100")).await;
        drop(self.dispatch(&intent).await);
        let lost = Outcome::Lost {
            reason: "no answer".to_owned(),
        };
        self.store.conclude(intent.id, lost, self.now()).await.unwrap()
    }

    async fn propose(&self, measure: Measure) -> Result<Approval, ApprovalError> {
        let evidence = "export of 2 March, line 7";
        match self.store.propose(measure, evidence, &self.first()).await? {
            Proposed::Waiting(approval) => Ok(*approval),
            Proposed::Done(..) => panic!("one person did it"),
        }
    }

    pub(crate) async fn resolved(
        &self,
        intent: &Intent,
        to: Resolution,
        id: Option<&str>,
    ) -> Result<Intent, ApprovalError> {
        self.ended_by(resolve(intent, to, id)).await
    }

    /// One person proposes it, and another approves it.
    async fn ended_by(&self, measure: Measure) -> Result<Intent, ApprovalError> {
        let proposed = self.propose(measure).await?;
        let (_, effect) = self.store.approve(proposed.id, &self.second()).await?;
        match effect {
            Effect::Resolved(intent) => Ok(*intent),
            other => panic!("{other:?}"),
        }
    }

    async fn tripped(&self, scope: &str, mode: LatchMode) -> Latch {
        self.tripped_for(LatchCause::Manual, scope, mode).await
    }

    async fn tripped_for(&self, cause: LatchCause, scope: &str, mode: LatchMode) -> Latch {
        let latch = NewLatch {
            scope: scope.parse().unwrap(),
            mode,
            cause,
            reason: "drill".to_owned(),
            clear_rule: ClearRule::Manual,
        };
        self.store.trip(latch, &self.act()).await.unwrap()
    }

    async fn reconciled(&self, differences: &[&str]) {
        let found = Reconciliation {
            at: self.now(),
            differences: differences.iter().map(ToString::to_string).collect(),
        };
        self.store.reconciled(&account(), found).await.unwrap();
    }

    /// Turns off every switch. A halt is released in two steps.
    async fn release_all(&self) {
        for _ in 0..2 {
            for latch in self.store.latches().await.unwrap() {
                self.reconciled(&[]).await;
                self.store.release(latch.id, &self.first()).await.unwrap();
            }
        }
    }

    /// How the account's connection is from now on.
    pub(crate) async fn is(&self, state: ConnectionState) {
        let connection = Connection {
            state,
            cause: String::new(),
            since: self.now(),
        };
        self.store.put_connection(&account(), &connection).await.unwrap();
    }

    async fn holds_one(&self) {
        let intent = self.open(buy("1", "BTC-USD", "100"), "V1").await;
        assert_eq!(intent.state, IntentState::Open);
        self.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    }
}

fn resolve(intent: &Intent, to: Resolution, id: Option<&str>) -> Measure {
    Measure::Resolve {
        intent: intent.id,
        from: intent.state,
        filled: intent.filled,
        venue_filled: intent.venue_filled,
        to,
        venue_order_id: id.map(|id| id.parse().unwrap()),
        kept_aside: vec![],
    }
}

fn untold(booked: &str, executed: &str) -> Outcome {
    let (booked, executed) = (booked.parse().unwrap(), executed.parse().unwrap());
    Outcome::Untold { booked, executed }
}

/// As [`resolve`], with all that is kept aside of it.
async fn resolve_aside(world: &World, intent: &Intent, to: Resolution) -> Measure {
    let mut measure = resolve(intent, to, None);
    let aside = world.store.kept_aside(intent).await.unwrap();
    if let Measure::Resolve { kept_aside, .. } = &mut measure {
        // Newest first: the order in which they are named says nothing.
        *kept_aside = aside.into_iter().rev().map(|fill| fill.id).collect();
    }
    measure
}

fn release(latch: LatchId, unreconciled: bool) -> Measure {
    Measure::Release { latch, unreconciled }
}

pub(crate) fn rule<T: std::fmt::Debug>(result: Result<T, ApprovalError>) -> &'static str {
    match result {
        Err(ApprovalError::Refused { rule, .. }) => rule,
        other => panic!("not refused: {other:?}"),
    }
}

fn rule_of<T: std::fmt::Debug>(result: Result<T, JournalError>) -> &'static str {
    match result {
        Err(JournalError::Refused { rule, .. }) => rule,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn i9_an_unknown_order_is_ended_by_two_people_and_both_are_named() {
    let world = two_people().await;
    let intent = world.unknown().await;
    world.later(3_600);

    let proposed = world
        .propose(resolve(&intent, Resolution::Absent, None))
        .await
        .unwrap();
    assert_eq!(
        world.intent(&intent).await.state,
        IntentState::Unknown,
        "nothing is done yet"
    );
    assert!(!world.store.reservations(None).await.unwrap().is_empty());
    let alone = world.store.approve(proposed.id, &world.first()).await;
    assert!(
        matches!(alone, Err(ApprovalError::SamePerson { .. })),
        "{alone:?}"
    );
    let (approval, _) = world.store.approve(proposed.id, &world.second()).await.unwrap();

    let ended = world.intent(&intent).await;
    assert_eq!(ended.state, IntentState::Absent);
    assert!(
        ended.cause.contains("operator:ops_desk and operator:night_desk"),
        "{}",
        ended.cause
    );
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
    assert!(approval.verdict.unwrap().approved);
    let records = trail(&world.store).await;
    let resolved = records.last().unwrap();
    let text = |key: &str| format!("{:?}", resolved.data.get(key));
    assert_eq!(resolved.action.to_string(), "intent.resolved");
    assert!(text("proposed_by").contains("ops_desk") && text("approved_by").contains("night_desk"));
    let denied: Vec<_> = records
        .iter()
        .filter(|record| record.action == Action::AccessDenied)
        .collect();
    assert_eq!(denied.len(), 1, "that one tried to be two: {denied:#?}");
    assert_eq!(denied[0].actor.to_string(), "operator:ops_desk");
    let about = format!("{:?}", denied[0].data.get("about"));
    assert!(about.contains(&proposed.id.to_string()), "{about}");
    assert!(text("evidence").contains("line 7"));
    let twice = world.store.approve(proposed.id, &world.second()).await;
    assert!(matches!(twice, Err(ApprovalError::Decided { .. })), "{twice:?}");
}

#[tokio::test]
async fn what_contradicts_the_records_cannot_be_said() {
    let world = two_people().await;
    let open = world.open(buy("1", "ETH-USD", "10"), "V1").await;
    let unknown = world.unknown().await;

    let early = world.resolved(&unknown, Resolution::Absent, None).await;
    assert_eq!(rule(early), "resolve-too-early");
    world.later(3_600);
    let named = world.resolved(&unknown, Resolution::Rejected, Some("V9")).await;
    assert_eq!(rule(named), "resolve-contradicts");
    assert_eq!(
        rule(world.resolved(&unknown, Resolution::Open, None).await),
        "resolve-needs-id"
    );
    let filled = world.resolved(&unknown, Resolution::Filled, Some("V9")).await;
    assert_eq!(rule(filled), "resolve-needs-executions");

    for ended in [
        Resolution::Filled,
        Resolution::Cancelled,
        Resolution::VenueExpired,
    ] {
        let said = world.resolved(&unknown, ended, None).await;
        assert_eq!(rule(said), "resolve-needs-executions", "{ended}");
    }

    let is_open = world.resolved(&open, Resolution::Cancelled, None).await;
    assert_eq!(rule(is_open), "resolve-reachable");
    let is_open = world.resolved(&open, Resolution::Absent, None).await;
    assert_eq!(rule(is_open), "resolve-state");
    let taken = world.resolved(&unknown, Resolution::Open, Some("V1")).await;
    assert_eq!(rule(taken), "resolve-contradicts");
}

/// Its key is gone for good: nobody would ever free what the order holds, and no halt over it would be proved.
#[tokio::test]
async fn t14_an_open_order_of_an_account_that_cannot_be_read_is_ended_by_people() {
    let world = two_people().await;
    world.reconciled(&[]).await;
    let order = world.open(buy("1", "BTC-USD", "100"), "V1").await;
    let end = || world.resolved(&order, Resolution::Cancelled, None);

    assert_eq!(rule(end().await), "resolve-reachable");
    world.later(3_601);
    assert_eq!(rule(end().await), "resolve-reachable", "it is connected");
    // Of one that nobody tried to connect, nobody knows that it cannot be.
    for state in [
        ConnectionState::Degraded,
        ConnectionState::Connecting,
        ConnectionState::Stopped,
    ] {
        world.is(state).await;
        assert_eq!(rule(end().await), "resolve-reachable", "{state}");
    }
    world.is(ConnectionState::Failed).await;
    world.reconciled(&[]).await;
    world.later(3_600);
    assert_eq!(rule(end().await), "resolve-reachable", "it was an hour ago");
    world.later(1);

    let ended = end().await.unwrap();

    assert_eq!(ended.state, IntentState::Cancelled);
    assert!(world.store.reservations(None).await.unwrap().is_empty());
}

/// The copy does not know what was read after it was made.
#[tokio::test]
async fn t14_a_store_that_was_just_put_back_ends_nothing_unread() {
    let world = two_people().await;
    let order = world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.later(7_200);
    world
        .store
        .mark_restored("it was put back", &world.act())
        .await
        .unwrap();
    world.is(ConnectionState::Failed).await;
    let end = || world.resolved(&order, Resolution::Cancelled, None);

    assert_eq!(rule(end().await), "resolve-reachable");
    world.later(3_601);
    assert_eq!(end().await.unwrap().state, IntentState::Cancelled);
}

/// They were wrong, and the account comes back.
#[tokio::test]
async fn i8_what_people_ended_unread_and_works_on_halts_its_account() {
    let world = two_people().await;
    let order = world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.is(ConnectionState::Failed).await;
    world.later(3_601);
    world.resolved(&order, Resolution::Cancelled, None).await.unwrap();
    let works = || vec![listed(&order, "V1", "0", VenueOrderStatus::Live)];
    let halts = async || world.store.latches().await.unwrap().len();

    // A list may lag behind.
    world.later(62);
    world
        .store
        .observe(&account(), works(), world.now())
        .await
        .unwrap();
    assert_eq!(halts().await, 0);
    world.later(1);
    world
        .store
        .observe(&account(), works(), world.now())
        .await
        .unwrap();
    assert_eq!(halts().await, 1);
    // Nobody's order works there: it counts as one that came from outside, until it is over.
    let outside = || async { world.store.external_orders(&account()).await.unwrap() };
    assert_eq!(outside().await[0].order.status, VenueOrderStatus::Live);
    world.release_all().await;
    world
        .store
        .observe(&account(), works(), world.now())
        .await
        .unwrap();
    assert_eq!(halts().await, 0, "it was told");
    let over = vec![listed(&order, "V1", "0", VenueOrderStatus::Cancelled)];
    world.store.observe(&account(), over, world.now()).await.unwrap();
    assert!(outside().await.is_empty());
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    assert_eq!(halts().await, 1);
    let positions = world.store.positions(&account()).await.unwrap();
    assert_eq!(positions[0].quantity.value(), "1".parse().unwrap());
}

/// How much of it was executed is known from its list; the executions themselves nobody can read any more.
#[tokio::test]
async fn t14_what_an_account_that_is_gone_never_told_does_not_hold_its_order_up() {
    let world = two_people().await;
    let order = world.open(buy("1", "BTC-USD", "100"), "V1").await;
    let partly = vec![listed(&order, "V1", "0.5", VenueOrderStatus::Live)];
    world
        .store
        .observe(&account(), partly, world.now())
        .await
        .unwrap();
    world.is(ConnectionState::Failed).await;
    world.later(3_601);
    let order = world.intent(&order).await;

    let wrong = world.resolved(&order, Resolution::Filled, None).await;
    assert_eq!(rule(wrong), "resolve-contradicts");
    let ended = world.resolved(&order, Resolution::Cancelled, None).await.unwrap();

    assert_eq!(ended.state, IntentState::Cancelled);
}

#[tokio::test]
async fn t14_an_incident_with_fills_is_never_absent_and_ends_as_its_executions_say() {
    let world = two_people().await;
    let open = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "0.5", "BTC-USD", "100").await;
    let facts = "two orders at the venue".to_owned();
    let incident = world
        .store
        .conclude(open.id, Outcome::Contradiction { facts }, world.now())
        .await
        .unwrap();
    assert_eq!(incident.state, IntentState::Incident);

    assert_eq!(
        rule(world.resolved(&incident, Resolution::Absent, None).await),
        "resolve-contradicts"
    );
    assert_eq!(
        rule(world.resolved(&incident, Resolution::Filled, None).await),
        "resolve-contradicts"
    );
    let ended = world
        .resolved(&incident, Resolution::Cancelled, None)
        .await
        .unwrap();

    assert_eq!(
        (ended.state, held(&world.store, "BTC-USD").await),
        (IntentState::Cancelled, "0.5".parse().unwrap())
    );
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

/// The exchange says for long that it executed more than it ever tells executions of.
#[tokio::test]
async fn t14_an_order_whose_executions_are_never_all_told_is_ended_by_what_was_told() {
    let world = two_people().await;
    let open = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let given_up_on = async |booked: &str, executed: &str| {
        let concluded = world
            .store
            .conclude(open.id, untold(booked, executed), world.now());
        concluded.await.unwrap()
    };
    world.filled("F1", "V1", Side::Buy, "0.5", "BTC-USD", "100").await;
    assert_eq!(
        given_up_on("0.5", "0.5").await.state,
        IntentState::Open,
        "it works"
    );
    let seen = listed(&open, "V1", "1.2", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![seen], world.now())
        .await
        .unwrap();

    let early = given_up_on("0", "1.2").await;
    assert_eq!(early.state, IntentState::Open, "it came further meanwhile");

    let incident = given_up_on("0.5", "1.2").await;

    assert_eq!(incident.state, IntentState::Incident);
    assert!(incident.cause.contains("1.2 executed"), "{}", incident.cause);
    let latches = world.store.latches().await.unwrap();
    assert!(
        latches.iter().any(|latch| latch.mode == LatchMode::Halt),
        "{latches:#?}"
    );
    let measure = resolve(&incident, Resolution::Cancelled, None);
    let shown = "0.5 of 1.2 that the exchange executed is booked";
    assert!(measure.describe().ends_with(shown), "{}", measure.describe());
    let ended = world.ended_by(measure).await.unwrap();
    assert_eq!(ended.state, IntentState::Cancelled);
    assert_eq!(world.store.reservations(None).await.unwrap(), []);

    // What was never told is told after all: it is booked, and people hear of it. They may have put it right already.
    world.release_all().await;
    assert_eq!(world.store.latches().await.unwrap(), []);
    let late = fill("F2", "V1", Side::Buy, "0.7", "BTC-USD", "100", world.now());
    world.book(vec![late]).await;
    assert_eq!(held(&world.store, "BTC-USD").await, "1.2".parse().unwrap());
    let latches = world.store.latches().await.unwrap();
    assert!(
        latches.iter().any(|latch| latch.mode == LatchMode::Halt),
        "{latches:#?}"
    );
    let actions = actions(&world.store).await;
    assert!(actions.contains(&"invariant.broken".to_owned()), "{actions:#?}");
}

/// People who say that such an order is there have it read once more: nothing is ended by what was read too soon.
#[tokio::test]
async fn t14_an_incident_of_which_not_all_was_read_is_not_ended_by_what_was() {
    let world = two_people().await;
    let open = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let seen = listed(&open, "V1", "1.2", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![seen], world.now())
        .await
        .unwrap();
    world
        .store
        .conclude(open.id, untold("0", "1.2"), world.now())
        .await
        .unwrap();
    let incident = world.store.intent(open.id).await.unwrap();
    let again = world
        .resolved(&incident, Resolution::Open, Some("V1"))
        .await
        .unwrap();
    assert_eq!(again.state, IntentState::Open);
    let facts = "two orders at the venue".to_owned();
    let other = Outcome::Contradiction { facts };
    let incident = world.store.conclude(open.id, other, world.now()).await.unwrap();
    assert_eq!(incident.state, IntentState::Incident);

    assert_eq!(
        rule(world.resolved(&incident, Resolution::Cancelled, None).await),
        "resolve-needs-executions"
    );
}

/// The exchange tells of an execution that no ledger can take: two people have to be able to end the order all the same.
#[tokio::test]
async fn t14_an_incident_whose_executions_cannot_be_booked_is_ended_by_what_was_read_of_it() {
    let world = two_people().await;
    let open = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let ours = fill("F1", "V1", Side::Buy, "0.5", "BTC-USD", "100", world.now());
    // More digits than are calculated with. The later one has the smaller id.
    let inexact = |id, seconds| Fill {
        price: "999999.000000000001".parse().unwrap(),
        quantity: "0.333333333333".parse().unwrap(),
        ..fill(
            id,
            "V1",
            Side::Buy,
            "1",
            "BTC-USD",
            "100",
            world.now() + SignedDuration::from_secs(seconds),
        )
    };
    world.book(vec![ours, inexact("F9", 0)]).await;
    let seen = listed(&open, "V1", "1.2", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![seen], world.now())
        .await
        .unwrap();
    let incident = world.store.intent(open.id).await.unwrap();
    assert_eq!(
        (incident.state, incident.venue_filled.to_string().as_str()),
        (IntentState::Incident, "1.2")
    );

    // More than 0.3 of it nobody has read yet.
    let early = resolve_aside(&world, &incident, Resolution::Cancelled).await;
    assert_eq!(
        rule(world.propose(early.clone()).await),
        "resolve-needs-executions"
    );
    world.book(vec![inexact("F3", -1), inexact("F2", 1)]).await;
    assert_eq!(rule(world.propose(early).await), "changed-since");
    let wrong = resolve_aside(&world, &incident, Resolution::Filled).await;
    assert_eq!(rule(world.propose(wrong).await), "resolve-contradicts");
    let measure = resolve_aside(&world, &incident, Resolution::Cancelled).await;
    assert!(
        measure
            .describe()
            .ends_with("0.5 of 1.2 that the exchange executed is booked, and no book can take F2, F9, F3"),
        "{}",
        measure.describe()
    );
    let ended = world.ended_by(measure).await.unwrap();

    assert_eq!(ended.state, IntentState::Cancelled);
    assert_eq!(ended.venue_filled.to_string(), "1.499999999999");
    assert_eq!(held(&world.store, "BTC-USD").await, "0.5".parse().unwrap());
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
    let trail = trail(&world.store).await;
    let resolved = (trail.iter().rev()).find(|record| record.action.to_string() == "intent.resolved");
    let kept_aside = resolved.and_then(|record| record.data.get("kept_aside"));
    assert!(
        format!("{kept_aside:?}").contains(r#""F3", "F9", "F2""#),
        "{kept_aside:?}"
    );

    // Each connect reads what ended again: what people knew is no news.
    world.release_all().await;
    let again = listed(&open, "V1", "1.2", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![again], world.now())
        .await
        .unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);
    let more = listed(&open, "V1", "1.6", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![more], world.now())
        .await
        .unwrap();
    assert_eq!(world.store.latches().await.unwrap().len(), 1);
}

/// What people found is another order than the one that was read under its first id.
#[tokio::test]
async fn t14_an_order_that_people_found_under_another_id_is_read_anew() {
    let world = two_people().await;
    let open = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let facts = "two orders at the venue".to_owned();
    (world
        .store
        .conclude(open.id, Outcome::Contradiction { facts }, world.now())
        .await)
        .unwrap();
    let first = listed(&open, "V1", "1.2", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![first], world.now())
        .await
        .unwrap();
    let incident = world.store.intent(open.id).await.unwrap();
    assert_eq!(incident.closing, Some(VenueOrderStatus::Cancelled));

    let found = world
        .resolved(&incident, Resolution::Open, Some("V2"))
        .await
        .unwrap();

    assert_eq!((found.state, found.closing), (IntentState::Open, None));
    let part = fill("F1", "V2", Side::Buy, "1", "BTC-USD", "100", world.now());
    world.book(vec![part]).await;
    let second = listed(&open, "V2", "1", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![second], world.now())
        .await
        .unwrap();
    let ended = world.store.intent(open.id).await.unwrap();
    assert_eq!(
        (ended.state, ended.filled.to_string().as_str()),
        (IntentState::Cancelled, "1")
    );
    // As long as the exchange shows both, one of them is too many.
    let latches = world.store.latches().await.unwrap().len();
    let first = listed(&open, "V1", "1.2", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![first], world.now())
        .await
        .unwrap();
    let broken = actions(&world.store).await;
    assert!(broken.contains(&"invariant.broken".to_owned()));
    assert_eq!(world.store.latches().await.unwrap().len(), latches);
}

/// An order that filled up by itself: more that is told later is a contradiction.
#[tokio::test]
async fn i7_an_order_that_is_full_contradicts_what_the_exchange_adds_to_it() {
    let world = two_people().await;
    let open = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let more = listed(&open, "V1", "2.1", VenueOrderStatus::Live);
    world
        .store
        .observe(&account(), vec![more.clone()], world.now())
        .await
        .unwrap();
    let all = fill("F1", "V1", Side::Buy, "2", "BTC-USD", "100", world.now());
    world.book(vec![all]).await;
    assert_eq!(
        world.store.intent(open.id).await.unwrap().state,
        IntentState::Filled
    );
    assert_eq!(world.store.latches().await.unwrap(), []);

    world
        .store
        .observe(&account(), vec![more], world.now())
        .await
        .unwrap();

    assert_eq!(world.store.latches().await.unwrap().len(), 1);
}

/// What a coin of another pair is of the order, nobody can say but the people who are shown it.
#[tokio::test]
async fn t14_an_execution_of_another_pair_or_side_is_not_counted_as_one_of_the_orders() {
    let world = two_people().await;
    let open = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let of_another_pair = fill("F1", "V1", Side::Buy, "5", "ETH-USD", "100", world.now());
    let of_another_side = fill("F2", "V1", Side::Sell, "5", "BTC-USD", "100", world.now());
    world.book(vec![of_another_pair, of_another_side]).await;
    let seen = listed(&open, "V1", "1.2", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![seen], world.now())
        .await
        .unwrap();
    let incident = world.store.intent(open.id).await.unwrap();

    let filled = resolve_aside(&world, &incident, Resolution::Filled).await;
    assert_eq!(rule(world.propose(filled).await), "resolve-contradicts");
    let cancelled = resolve_aside(&world, &incident, Resolution::Cancelled).await;
    let proposed = world.propose(cancelled).await.unwrap();
    // The second person has seen nothing of what is told meanwhile.
    let seen = listed(&open, "V1", "1.3", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![seen], world.now())
        .await
        .unwrap();
    let late = world.store.approve(proposed.id, &world.second()).await;
    assert!(format!("{late:?}").contains("changed-since"), "{late:?}");
    let incident = world.store.intent(open.id).await.unwrap();
    let cancelled = resolve_aside(&world, &incident, Resolution::Cancelled).await;
    let ended = world.ended_by(cancelled).await.unwrap();

    assert_eq!(
        (ended.state, ended.filled),
        (IntentState::Cancelled, rust_decimal::Decimal::ZERO)
    );
}

/// The owner changed it at the exchange before anybody heard that it is there.
#[tokio::test]
async fn t14_an_incident_is_followed_and_ended_by_what_the_venue_says_of_it() {
    let world = two_people().await;
    let unknown = world.unknown().await;
    let amended = |id: &str, status| VenueOrder {
        quantity: "0.7".parse().unwrap(),
        ..listed(&unknown, id, "0.3", status)
    };
    let now = world.now();
    // Its execution was seen before anybody knew whose it was.
    world
        .book(vec![fill("F1", "V1", Side::Buy, "0.3", "BTC-USD", "100", now)])
        .await;
    let seen = vec![amended("V1", VenueOrderStatus::Live)];
    world.store.observe(&account(), seen, now).await.unwrap();
    let incident = world.store.intent(unknown.id).await.unwrap();
    assert_eq!(
        (incident.state, &incident.venue_order_id),
        (IntentState::Incident, &None)
    );

    let seen = vec![
        amended("V1", VenueOrderStatus::Cancelled),
        // What there is beside it is no end of it.
        amended("V2", VenueOrderStatus::Live),
    ];
    world.store.observe(&account(), seen, now).await.unwrap();

    let incident = world.store.intent(unknown.id).await.unwrap();
    assert_eq!(incident.state, IntentState::Incident);
    assert_eq!(incident.venue_order_id, Some("V1".parse().unwrap()));
    assert_eq!(incident.filled.to_string(), "0.3");
    assert_eq!(incident.closing, Some(VenueOrderStatus::Cancelled));
    assert_eq!(
        rule(world.resolved(&incident, Resolution::Absent, None).await),
        "resolve-contradicts"
    );
    let ended = world
        .resolved(&incident, Resolution::Cancelled, None)
        .await
        .unwrap();
    assert_eq!(ended.state, IntentState::Cancelled);
    assert_eq!(held(&world.store, "BTC-USD").await, "0.3".parse().unwrap());
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test]
async fn t14_what_has_another_pair_at_the_venue_is_no_order_of_ours() {
    let world = two_people().await;
    let unknown = world.unknown().await;
    let other = VenueOrder {
        pair: "ETH-USD".parse().unwrap(),
        ..listed(&unknown, "V1", "0", VenueOrderStatus::Live)
    };
    for _ in 0..2 {
        let seen = vec![other.clone()];
        world.store.observe(&account(), seen, world.now()).await.unwrap();
    }

    let incident = world.store.intent(unknown.id).await.unwrap();
    assert_eq!(incident.state, IntentState::Incident);
    assert_eq!(incident.venue_order_id, None);
}

#[tokio::test]
async fn i9_that_only_people_can_tell_is_said_once() {
    let world = two_people().await;
    let unknown = world.unknown().await;

    for _ in 0..2 {
        let told = world
            .store
            .conclude(
                unknown.id,
                Outcome::SearchEnded {
                    why: "no list shows it",
                },
                world.now(),
            )
            .await
            .unwrap();
        assert_eq!(told.state, IntentState::Unknown);
    }

    let said = actions(&world.store).await;
    assert_eq!(said.iter().filter(|action| *action == "search.ended").count(), 1);
    let events = world.store.events(0, 1_000).await.unwrap();
    let told = events.iter().filter(|event| event.kind == "search.ended");
    assert_eq!(
        told.map(|event| event.intent).collect::<Vec<_>>(),
        [Some(unknown.id)]
    );
}

#[tokio::test]
async fn an_order_found_by_people_is_followed_like_any_other() {
    let world = two_people().await;
    let intent = world.unknown().await;
    // Its execution was seen before anybody knew whose it was.
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;

    let found = world
        .resolved(&intent, Resolution::Open, Some("V1"))
        .await
        .unwrap();

    assert_eq!(found.state, IntentState::Filled);
    assert_eq!(held(&world.store, "BTC-USD").await, "1".parse().unwrap());
}

#[tokio::test]
async fn i8_a_venue_that_contradicts_people_later_is_a_new_incident() {
    let world = two_people().await;
    let intent = world.unknown().await;
    world.later(3_600);
    let absent = world.resolved(&intent, Resolution::Absent, None).await.unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);

    let there = listed(&absent, "V7", "0", VenueOrderStatus::Live);
    world
        .store
        .observe(&account(), vec![there], world.now())
        .await
        .unwrap();

    let latches = world.store.latches().await.unwrap();
    assert_eq!(
        (latches[0].mode, latches[0].cause),
        (LatchMode::Halt, LatchCause::Reconciliation)
    );
    assert!(
        actions(&world.store)
            .await
            .contains(&"invariant.broken".to_owned())
    );
}

#[tokio::test]
async fn a_proposal_to_turn_off_what_is_off_already_is_not_carried_out() {
    let world = two_people().await;
    let new = NewLatch {
        scope: Scope::Account(account()),
        mode: LatchMode::Pause,
        cause: LatchCause::Manual,
        reason: "a rehearsal".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    let latch = world.store.trip(new, &world.act()).await.unwrap();
    world.may_release().await;
    world.store.set_works_alone(false, &world.act()).await.unwrap();
    let proposed = world.propose(release(latch.id, true)).await.unwrap();
    world.store.release(latch.id, &world.first()).await.unwrap();

    let late = world.store.approve(proposed.id, &world.second()).await;

    assert_eq!(rule(late), "changed-since");
}

#[tokio::test]
async fn nothing_is_done_when_the_facts_changed_since() {
    let world = two_people().await;
    let intent = world.unknown().await;
    world.later(3_600);
    let proposed = world
        .propose(resolve(&intent, Resolution::Absent, None))
        .await
        .unwrap();
    let there = listed(&intent, "V1", "0", VenueOrderStatus::Live);
    world
        .store
        .observe(&account(), vec![there], world.now())
        .await
        .unwrap();

    let late = world.store.approve(proposed.id, &world.second()).await;

    assert_eq!(rule(late), "changed-since");
    assert_eq!(world.intent(&intent).await.state, IntentState::Open);
    // The attempt left the proposal open: it was taken back with the rest.
    assert!(
        world.store.approvals(false, 10).await.unwrap()[0]
            .verdict
            .is_none()
    );
}

#[tokio::test]
async fn d4_more_loss_today_takes_two_people_and_counts_for_what_was_there_when_it_was_asked_for() {
    let world = two_people().await;
    let more = async |extra: &str| {
        let today = world.store.user_day(&user(), world.now()).await.unwrap();
        Measure::AllowLoss(MoreLoss {
            user: user(),
            day: today.day.key,
            limit: today.limit,
            before: today.extra_allowance,
            extra: extra.parse().unwrap(),
        })
    };
    assert_eq!(rule(world.propose(more("-6").await).await), "more-loss");
    let (one, other) = (
        world.propose(more("6").await).await.unwrap(),
        world.propose(more("7").await).await.unwrap(),
    );
    let alone = world.store.approve(one.id, &world.first()).await;
    assert!(matches!(alone, Err(ApprovalError::SamePerson { .. })));

    let (_, effect) = world.store.approve(one.id, &world.second()).await.unwrap();
    let Effect::LossAllowed { day, still_on } = effect else {
        panic!("{effect:?}");
    };
    assert_eq!((day.extra_allowance, still_on), ("6".parse().unwrap(), vec![]));
    assert_eq!(
        actions(&world.store).await.last().map(String::as_str),
        Some("loss.allowed")
    );
    // The other was for what was allowed before.
    let both = world.store.approve(other.id, &world.second()).await;
    assert_eq!(rule(both), "changed-since");

    // Nobody raises the limit meanwhile, by one person's word, and has it taken for approved.
    let third = world.propose(more("1").await).await.unwrap();
    world.limit(limits("100000", "90000", 10)).await;
    let raised = world.store.approve(third.id, &world.second()).await;
    assert_eq!(rule(raised), "changed-since");

    let fourth = world.propose(more("1").await).await.unwrap();
    world.later(13 * 3_600);
    let late = world.store.approve(fourth.id, &world.second()).await;
    assert_eq!(rule(late), "changed-since");
}

#[tokio::test]
async fn a_proposal_ages_can_be_rejected_and_is_one_however_often_it_is_made() {
    let world = two_people().await;
    let intent = world.unknown().await;
    world.later(3_600);
    let measure = resolve(&intent, Resolution::Absent, None);
    let first = world.propose(measure.clone()).await.unwrap();
    let again = world.propose(measure.clone()).await.unwrap();
    assert_eq!(first.id, again.id);

    world.later(25 * 3_600);
    let old = world.store.approve(first.id, &world.second()).await;
    assert!(matches!(old, Err(ApprovalError::Expired { .. })), "{old:?}");
    assert_eq!(world.store.approvals(false, 10).await.unwrap(), []);

    let anew = world.propose(measure).await.unwrap();
    world
        .store
        .reject(anew.id, &world.second().because("not so"))
        .await
        .unwrap();
    let rejected = world.store.approve(anew.id, &world.second()).await;
    assert!(
        matches!(rejected, Err(ApprovalError::Decided { .. })),
        "{rejected:?}"
    );
    assert_eq!(world.intent(&intent).await.state, IntentState::Unknown);
    assert_eq!(world.store.approvals(true, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_proposal_that_was_altered_is_not_carried_out() {
    let world = two_people().await;
    let latch = world.tripped("global", LatchMode::Pause).await;
    let proposed = world.propose(release(latch.id, false)).await.unwrap();
    let raw = rusqlite::Connection::open(world.path()).unwrap();
    raw.execute_batch(
        "DROP TRIGGER approval_is_fixed;
         UPDATE approval SET body = replace(body, 'false', 'true');",
    )
    .unwrap();

    let altered = world.store.approve(proposed.id, &world.second()).await;

    assert!(
        matches!(altered, Err(ApprovalError::Altered { .. })),
        "{altered:?}"
    );
    assert_eq!(world.store.latches().await.unwrap(), [latch]);
}

/// As somebody who may write to the file changes it.
fn tampered(world: &World, deed: &str) {
    let raw = rusqlite::Connection::open(world.path()).unwrap();
    raw.execute_batch(
        "DROP TRIGGER approval_is_fixed; DROP TRIGGER approval_is_decided_once; PRAGMA foreign_keys = OFF;",
    )
    .unwrap();
    raw.execute_batch(deed).unwrap();
    assert!(raw.changes() > 0, "`{deed}` does nothing");
}

#[tokio::test]
async fn a_proposal_that_nobody_made_is_not_approved() {
    let forged = "6d1b345e-2821-40e2-ad83-4ecb18a06876";
    let deeds = [
        // One person plays two: by a row of their own, or by another name on the one that they made.
        format!(
            "INSERT INTO approval (id, body, hash, proposed_by, proposed_at, reason, evidence, expires_at)
             SELECT '{forged}', body, hash, 'operator:nobody', proposed_at, reason, evidence, expires_at FROM approval"
        ),
        "UPDATE approval SET proposed_by = 'operator:nobody'".to_owned(),
        "UPDATE approval SET expires_at = expires_at + 1".to_owned(),
        "UPDATE approval SET evidence = 'I saw it with my own eyes'".to_owned(),
    ];
    for deed in deeds {
        let world = two_people().await;
        let latch = world.tripped("global", LatchMode::Pause).await;
        let proposed = world.propose(release(latch.id, true)).await.unwrap();
        tampered(&world, &deed);
        let id = if deed.contains(forged) {
            forged.parse().unwrap()
        } else {
            proposed.id
        };

        let shown = world.store.approvable(id, &world.second()).await;
        let approved = world.store.approve(id, &world.second()).await;

        assert!(
            matches!(shown, Err(ApprovalError::Unrecorded { .. })),
            "{deed}: {shown:?}"
        );
        let error = approved.unwrap_err();
        assert!(
            matches!(error, ApprovalError::Unrecorded { .. }),
            "{deed}: {error}"
        );
        assert!(error.hint().contains("audit verify --deep"), "{}", error.hint());
        assert_eq!(world.store.latches().await.unwrap(), [latch]);
    }
}

#[tokio::test]
async fn a_proposal_that_was_rejected_is_not_made_to_wait_again() {
    let world = two_people().await;
    let latch = world.tripped("global", LatchMode::Pause).await;
    let proposed = world.propose(release(latch.id, true)).await.unwrap();
    world.store.reject(proposed.id, &world.second()).await.unwrap();
    tampered(
        &world,
        "UPDATE approval SET decided_by = NULL, decided_at = NULL, approved = NULL, note = NULL",
    );

    let approved = world.store.approve(proposed.id, &world.second()).await;

    assert!(
        matches!(approved, Err(ApprovalError::Unrecorded { .. })),
        "{approved:?}"
    );
}

/// What only mentions another proposal, or the setting, is about something else.
#[tokio::test]
async fn words_in_a_reason_decide_nothing() {
    let world = two_people().await;
    let first = world.tripped("global", LatchMode::Pause).await;
    let second = world.tripped("global", LatchMode::ReduceOnly).await;
    let one = world.propose(release(first.id, true)).await.unwrap();
    let other = world.propose(release(second.id, true)).await.unwrap();
    let because = world.second().because(format!(
        "use {} instead; approval.proposed, people.alone-set",
        one.id
    ));
    world.store.reject(other.id, &because).await.unwrap();

    world.store.approve(one.id, &world.second()).await.unwrap();
    world.alone().await;

    assert!(world.store.works_alone().await.unwrap());
    let said = world.act().because("people.alone-set");
    let latch = NewLatch {
        reason: "people.alone-set".to_owned(),
        scope: "global".parse().unwrap(),
        mode: LatchMode::Pause,
        cause: LatchCause::Manual,
        clear_rule: ClearRule::Manual,
    };
    world.store.trip(latch, &said).await.unwrap();
    assert!(world.store.works_alone().await.unwrap());
}

/// A row that somebody put there neither becomes a verdict nor keeps others from proposing the same.
#[tokio::test]
async fn a_forged_proposal_is_not_rejected_and_stands_in_nobodys_way() {
    let world = two_people().await;
    let latch = world.tripped("global", LatchMode::Pause).await;
    let proposed = world.propose(release(latch.id, true)).await.unwrap();
    tampered(&world, "UPDATE approval SET proposed_by = 'operator:nobody'");

    let rejected = world.store.reject(proposed.id, &world.second()).await;
    let again = world.propose(release(latch.id, true)).await.unwrap();

    assert!(
        matches!(rejected, Err(ApprovalError::Unrecorded { .. })),
        "{rejected:?}"
    );
    assert_ne!(again.id, proposed.id);
    world.store.approve(again.id, &world.second()).await.unwrap();
}

#[tokio::test]
async fn nobody_works_alone_because_a_row_says_so() {
    let world = two_people().await;
    let latch = world.tripped("global", LatchMode::Pause).await;
    let proposed = world.propose(release(latch.id, true)).await.unwrap();
    tampered(&world, "UPDATE people SET alone = 1");

    assert!(!world.store.works_alone().await.unwrap());
    let alone = world.store.approve(proposed.id, &world.first()).await;
    assert!(
        matches!(alone, Err(ApprovalError::SamePerson { .. })),
        "{alone:?}"
    );

    // Nor because what was decided last is taken away, or made unreadable.
    for deed in [
        "DELETE FROM trail",
        "DROP TRIGGER audit_record_is_never_changed; UPDATE audit_record SET hash = zeroblob(32)
         WHERE seq = (SELECT max(seq) FROM audit_record WHERE instr(body, 'people.alone-set') > 0)",
    ] {
        let world = two_people().await;
        tampered(&world, &format!("{deed}; UPDATE people SET alone = 1"));
        assert!(!world.store.works_alone().await.unwrap(), "{deed}");
    }

    // The settings may say it, and then the trail does.
    world.alone().await;
    assert!(world.store.works_alone().await.unwrap());
    world.store.approve(proposed.id, &world.first()).await.unwrap();
    trail(&world.store).await;
}

#[tokio::test]
async fn only_people_decide() {
    let world = two_people().await;
    let latch = world.tripped("global", LatchMode::Pause).await;
    for principal in [
        Principal::Daemon,
        Principal::Recovery,
        Principal::strategy("apex").unwrap(),
    ] {
        let act = Act::new(principal, world.now()).because("why not");
        let proposed = world.store.propose(release(latch.id, false), "", &act).await;
        assert!(
            matches!(proposed, Err(ApprovalError::NotAPerson { .. })),
            "{proposed:?}"
        );
        assert_eq!(
            rule_of(world.store.release(latch.id, &act).await),
            "release-right"
        );
    }
}

#[tokio::test]
async fn a_switch_on_everything_is_turned_off_by_two_people_with_a_reason() {
    let world = two_people().await;
    let latch = world.tripped("global", LatchMode::Halt).await;

    assert_eq!(
        rule_of(world.store.release(latch.id, &world.act()).await),
        "release-reason"
    );
    assert_eq!(
        rule_of(world.store.release(latch.id, &world.first()).await),
        "two-people"
    );
    let proposed = world.propose(release(latch.id, false)).await.unwrap();
    world.store.approve(proposed.id, &world.second()).await.unwrap();

    assert_eq!(world.store.latches().await.unwrap(), []);
    let cleared = trail(&world.store).await.last().cloned().unwrap();
    assert_eq!(cleared.action.to_string(), "latch.cleared");
    assert!(format!("{:?}", cleared.data.get("proposed_by")).contains("ops_desk"));
    assert_eq!(cleared.actor.id(), Some("night_desk"));
}

#[tokio::test]
async fn while_something_is_held_a_halt_gives_way_to_reduce_only_first() {
    let world = two_people().await;
    world.holds_one().await;
    world.reconciled(&[]).await;
    let halt = world.tripped("account:kraken-ilves", LatchMode::Halt).await;

    world.store.release(halt.id, &world.first()).await.unwrap();

    let on = world.store.latches().await.unwrap();
    assert_eq!(
        (on.len(), on[0].mode, on[0].scope.clone()),
        (1, LatchMode::ReduceOnly, halt.scope.clone())
    );
    assert!(on[0].reason.contains(&halt.id.to_string()), "{}", on[0].reason);
    world.store.release(on[0].id, &world.first()).await.unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn i4_nobody_releases_a_restored_store_while_what_it_has_forgotten_may_still_arrive() {
    let world = two_people().await;
    let halt = (world.tripped_for(LatchCause::Restored, "global", LatchMode::Halt)).await;

    world.later(119);
    let one = world.store.release(halt.id, &world.first()).await;
    assert_eq!(rule_of(one), "release-forgotten");
    let two = world.propose(release(halt.id, true)).await;
    assert!(format!("{two:?}").contains("release-forgotten"), "{two:?}");

    world.later(1);
    // Nothing is at stake in what the store remembers: it is compared all the same.
    let uncompared = world.store.release(halt.id, &world.alone().await).await;
    assert_eq!(rule_of(uncompared), "release-reconciled");
    world.reconciled(&[]).await;
    world.store.release(halt.id, &world.first()).await.unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);

    // Its second step, while something is held, stops nothing that could have been forgotten.
    let milder = (world.tripped_for(
        LatchCause::Restored,
        "account:kraken-ilves",
        LatchMode::ReduceOnly,
    ))
    .await;
    world.store.release(milder.id, &world.first()).await.unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn a_release_rests_on_a_comparison_that_is_fresh_and_clean_or_on_two_people() {
    let world = two_people().await;
    world.holds_one().await;
    let pause = world.tripped("account:kraken-ilves", LatchMode::Pause).await;

    let never = world.store.release(pause.id, &world.first()).await;
    assert_eq!(rule_of(never), "release-reconciled");
    world
        .reconciled(&["the ledger holds 1 BTC and the venue 0"])
        .await;
    let unclean = world.store.release(pause.id, &world.first()).await;
    assert_eq!(rule_of(unclean), "release-reconciled");
    world.reconciled(&[]).await;
    world.later(61);
    let old = world.store.release(pause.id, &world.first()).await;
    assert_eq!(rule_of(old), "release-reconciled");

    let proposed = world.propose(release(pause.id, true)).await.unwrap();
    world.store.approve(proposed.id, &world.second()).await.unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);

    let pause = world.tripped("account:kraken-ilves", LatchMode::Pause).await;
    world.reconciled(&[]).await;
    world.store.release(pause.id, &world.first()).await.unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn the_trail_hears_of_a_comparison_when_it_says_something_new() {
    let world = two_people().await;
    for _ in 0..5 {
        world.reconciled(&[]).await;
        world.later(30);
    }
    world.reconciled(&["1 BTC is missing"]).await;
    world.later(4_000);
    world.reconciled(&["1 BTC is missing"]).await;

    let told: Vec<String> = actions(&world.store)
        .await
        .into_iter()
        .filter(|action| action.starts_with("reconcile."))
        .collect();
    assert_eq!(
        told,
        ["reconcile.completed", "reconcile.differs", "reconcile.differs"]
    );
}

#[tokio::test]
async fn looser_limits_for_everybody_take_two_people() {
    let world = two_people().await;
    let looser = Policy {
        max_order: "200000".parse().unwrap(),
        ..wide()
    };
    let tighter = Policy {
        max_order: "50".parse().unwrap(),
        ..wide()
    };

    assert_eq!(
        rule_of(world.store.set_policy(&looser, &world.first()).await),
        "two-people"
    );
    let measure = Measure::SetPolicy {
        replaces: Box::new(wide()),
        policy: Box::new(looser.clone()),
    };
    let proposed = world.propose(measure).await.unwrap();
    world.store.approve(proposed.id, &world.second()).await.unwrap();
    assert_eq!(world.store.policy().await.unwrap(), looser);

    world.store.set_policy(&tighter, &world.first()).await.unwrap();
    assert_eq!(world.store.policy().await.unwrap(), tighter);
}

#[tokio::test]
async fn who_works_alone_does_both_and_the_trail_says_so() {
    let world = two_people().await;
    world.store.set_works_alone(true, &world.act()).await.unwrap();
    let latch = world.tripped("global", LatchMode::Halt).await;

    let done = world
        .store
        .propose(release(latch.id, false), "", &world.first())
        .await
        .unwrap();

    assert!(matches!(done, Proposed::Done(..)), "{done:?}");
    assert_eq!(world.store.latches().await.unwrap(), []);
    let trail = actions(&world.store).await;
    assert_eq!(
        trail
            .iter()
            .filter(|action| *action == "people.alone-set")
            .count(),
        3
    );
    assert!(trail.ends_with(&[
        "approval.proposed".into(),
        "approval.approved".into(),
        "latch.cleared".into()
    ]));
}
