use std::sync::Arc;

use async_trait::async_trait;
use bursar_config::Preferences;
use bursar_model::Clock;
use bursar_notify::{
    ATTEMPTS, Attempt, Batch, Channel, ChannelKind, ChannelSecret, ChannelState, Deliveries, Delivery,
    DeliveryError, DeliveryId, Ended, Kept, Letter, MemoryDeliveries, Notifier, NotifierParts,
    OperatorWishes, Outcome, Receiver, Telegram, Trigger, Why, check_deliveries, pause_after,
};
use bursar_testkit::{Canary, SeededEntropy, TestClock};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::support::{Events, Log, Notebook, Users, at, mara, rules, switch_on, trade, traded};

struct World {
    deliveries: Arc<Failing>,
    events: Arc<Events>,
    users: Arc<Users>,
    mail: Arc<Notebook>,
    hook: Arc<Notebook>,
    clock: Arc<TestClock>,
    operator: OperatorWishes,
}

impl World {
    fn new() -> Self {
        let users = Users::default();
        users.set("mara_ilves", Preferences::default());
        Self {
            deliveries: Arc::default(),
            events: Arc::default(),
            users: Arc::new(users),
            mail: Arc::new(Notebook::new(ChannelKind::Email, true)),
            hook: Arc::new(Notebook::new(ChannelKind::Webhook, false)),
            clock: Arc::new(TestClock::at(at(0))),
            operator: OperatorWishes::default(),
        }
    }

    /// A process that begins: nothing is remembered but what is in the queue.
    fn start(&self) -> Notifier {
        self.start_with(vec![self.mail.clone(), self.hook.clone()])
    }

    fn start_with(&self, channels: Vec<Arc<dyn Channel>>) -> Notifier {
        Notifier::new(NotifierParts {
            deliveries: self.deliveries.clone(),
            source: self.events.clone(),
            people: self.users.clone(),
            channels,
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(
                self.clock.now().as_millisecond().unsigned_abs(),
            )),
            rules: rules(),
            operator: self.operator,
            suspicious_refusals: 3,
        })
    }

    fn wait(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    async fn send(&self, notifier: &Notifier) {
        notifier.deliver(self.mail.as_ref()).await.unwrap();
        notifier.deliver(self.hook.as_ref()).await.unwrap();
    }

    async fn waiting(&self) -> Vec<Delivery> {
        let later = at(10_000_000);
        self.deliveries
            .due_messages(ChannelKind::Email, later, 100)
            .await
            .unwrap()
    }
}

/// A queue that fails when it is told to.
#[derive(Default)]
struct Failing {
    inner: MemoryDeliveries,
    fails: std::sync::atomic::AtomicBool,
}

impl Failing {
    fn set(&self, fails: bool) {
        self.fails.store(fails, std::sync::atomic::Ordering::SeqCst);
    }
}

#[async_trait]
impl Deliveries for Failing {
    async fn load_notices(&self) -> Result<Kept, DeliveryError> {
        self.inner.load_notices().await
    }

    async fn begin_notices_at(&self, position: Option<u64>) -> Result<(), DeliveryError> {
        self.inner.begin_notices_at(position).await
    }

    async fn take_notices(&self, batch: &Batch) -> Result<(), DeliveryError> {
        if self.fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(DeliveryError::unavailable("the disk is full"));
        }
        self.inner.take_notices(batch).await
    }

    async fn due_messages(
        &self,
        channel: ChannelKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, DeliveryError> {
        self.inner.due_messages(channel, now, limit).await
    }

    async fn begin_attempt(
        &self,
        id: DeliveryId,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<u32, DeliveryError> {
        self.inner.begin_attempt(id, now, next_at).await
    }

    async fn end_attempt(
        &self,
        id: DeliveryId,
        number: u32,
        now: Timestamp,
        ended: &Ended,
    ) -> Result<(), DeliveryError> {
        self.inner.end_attempt(id, number, now, ended).await
    }

    async fn message_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>, DeliveryError> {
        self.inner.message_attempts(id).await
    }

    async fn channel_states(&self) -> Result<Vec<ChannelState>, DeliveryError> {
        self.inner.channel_states().await
    }

    async fn forget_messages(&self, before: Timestamp) -> Result<(), DeliveryError> {
        self.inner.forget_messages(before).await
    }
}

#[tokio::test]
async fn a_queue_in_memory_keeps_its_promises() {
    check_deliveries(&MemoryDeliveries::new()).await.unwrap();
}

#[tokio::test]
async fn p3_each_user_is_told_what_is_theirs_and_the_operator_what_needs_people() {
    let world = World::new();
    world.users.set("tomas_brandt", Preferences::default());
    let notifier = world.start();
    notifier.take().await.unwrap();
    world
        .events
        .add(vec![(mara(), trade(1)), (Receiver::Operator, trade(1))]);
    world.events.add(vec![
        (mara(), switch_on(2, "daily-loss")),
        (Receiver::Operator, switch_on(2, "daily-loss")),
    ]);

    notifier.take().await.unwrap();
    world.send(&notifier).await;

    let mails = world.mail.sent();
    let receivers: Vec<(Receiver, Option<String>, usize)> = mails
        .into_iter()
        .map(|(_, email, message)| (message.receiver, email, message.told.len()))
        .collect();
    assert_eq!(receivers.len(), 2, "{receivers:?}");
    assert!(receivers.contains(&(Receiver::Operator, None, 1)));
    assert!(receivers.contains(&(mara(), Some("mara_ilves@example.com".to_owned()), 2)));
    let hooks = world.hook.sent();
    assert_eq!(hooks.len(), 1, "users have no webhook");
    assert_eq!(hooks[0].2.receiver, Receiver::Operator);
}

#[tokio::test]
async fn p1_what_a_user_switched_off_is_not_told() {
    let world = World::new();
    let quiet = Preferences {
        notify_on_trade: false,
        notify_on_stop_loss: false,
        ..Preferences::default()
    };
    world.users.set("mara_ilves", quiet);
    let notifier = world.start();
    notifier.take().await.unwrap();
    let sale = |number, trigger| bursar_notify::Notice::new(at(0), traded(number, Some(trigger)));
    world.events.add(vec![
        (mara(), trade(1)),
        (mara(), sale(2, Trigger::ProfitTarget)),
        (mara(), sale(3, Trigger::StopLoss)),
        (mara(), switch_on(4, "daily-loss")),
    ]);

    notifier.take().await.unwrap();
    world.send(&notifier).await;

    let kinds: Vec<String> = world.mail.sent()[0]
        .2
        .told
        .iter()
        .map(|told| told.notice.kind().to_string())
        .collect();
    assert_eq!(kinds, ["profit-target", "day-loss"]);
}

#[tokio::test]
async fn p1_amounts_are_told_only_to_those_who_asked() {
    for asked in [false, true] {
        let mut world = World::new();
        world.operator = OperatorWishes {
            trades: true,
            amounts: !asked,
        };
        let wish = Preferences {
            notify_amounts: asked,
            ..Preferences::default()
        };
        world.users.set("mara_ilves", wish);
        let notifier = world.start();
        notifier.take().await.unwrap();
        world
            .events
            .add(vec![(mara(), trade(1)), (Receiver::Operator, trade(1))]);

        notifier.take().await.unwrap();
        world.wait(60);
        notifier.take().await.unwrap();
        world.send(&notifier).await;

        for (_, _, message) in world.mail.sent() {
            let expected = (message.receiver == mara()) == asked;
            assert_eq!(
                message.text().contains("0.05 BTC"),
                expected,
                "{}",
                message.text()
            );
        }
    }
}

#[tokio::test]
async fn it_begins_with_what_comes_next_and_goes_on_where_it_was() {
    let world = World::new();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.send(&notifier).await;
    assert_eq!(world.mail.texts().len(), 0, "nobody wants to be told the past");

    drop(notifier);
    // While no process runs.
    world.events.add(vec![(mara(), switch_on(2, "manual"))]);
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.send(&notifier).await;
    assert_eq!(world.mail.texts().len(), 1);

    let notifier = world.start();
    notifier.take().await.unwrap();
    world.send(&notifier).await;
    assert_eq!(world.mail.texts().len(), 0, "and nothing twice");
}

#[tokio::test]
async fn what_waits_for_others_survives_a_restart() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), trade(1))]);
    notifier.take().await.unwrap();
    drop(notifier);

    world.wait(60);
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.send(&notifier).await;

    assert_eq!(world.mail.texts().len(), 1);
}

#[tokio::test]
async fn a_step_that_fails_is_taken_again_and_nothing_is_lost_or_doubled() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    world.deliveries.set(true);
    for _ in 0..3 {
        assert!(notifier.take().await.is_err());
    }
    world.deliveries.set(false);

    notifier.take().await.unwrap();
    world.send(&notifier).await;

    assert_eq!(world.mail.texts().len(), 1);
}

#[tokio::test]
async fn more_events_than_fit_into_one_step_are_all_taken() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    for number in 0..450 {
        world.events.add(vec![(mara(), switch_on(number, "manual"))]);
    }

    notifier.take().await.unwrap();

    let told: usize = world
        .waiting()
        .await
        .iter()
        .map(|delivery| delivery.message.told.len())
        .sum();
    assert_eq!(told, 450);
}

#[tokio::test]
async fn a_message_is_tried_eight_times_with_longer_and_longer_pauses() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    notifier.take().await.unwrap();
    let id = world.waiting().await[0].id;
    let later = || Outcome::Later(why());
    world.mail.answer(std::iter::repeat_with(later).take(100));

    let mut ids = Vec::new();
    for attempt in 1..=20_u32 {
        notifier.deliver(world.mail.as_ref()).await.unwrap();
        ids.extend(world.mail.sent().into_iter().map(|(id, _, _)| id));
        let pause = pause_after(attempt);
        world.clock.advance(pause - SignedDuration::from_secs(1));
        notifier.deliver(world.mail.as_ref()).await.unwrap();
        assert_eq!(world.mail.sent().len(), 0, "attempt {attempt} came too early");
        world.wait(1);
    }

    assert_eq!(u32::try_from(ids.len()), Ok(ATTEMPTS));
    assert!(
        ids.iter().all(|sent| *sent == id.to_string()),
        "the same id every time"
    );
    let attempts = world.deliveries.message_attempts(id).await.unwrap();
    assert_eq!(u32::try_from(attempts.len()), Ok(ATTEMPTS));
    assert!(matches!(attempts[7].ended, Some((_, Ended::GivenUp { .. }))));
    let state = &world.deliveries.channel_states().await.unwrap()[0];
    assert_eq!((state.waiting, state.given_up), (0, 1));
    assert!(state.last_failure.is_some());
}

fn why() -> Why {
    Why::new("it failed, status 503")
}

#[tokio::test]
async fn attempts_that_end_with_the_process_count_too() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    notifier.take().await.unwrap();
    let id = world.waiting().await[0].id;
    for _ in 0..ATTEMPTS {
        // It began, and nobody says how it ended.
        world.deliveries.begin_attempt(id, at(0), at(0)).await.unwrap();
    }

    let notifier = world.start();
    notifier.deliver(world.mail.as_ref()).await.unwrap();

    assert_eq!(world.mail.sent().len(), 0);
    assert_eq!(world.deliveries.channel_states().await.unwrap()[0].given_up, 1);
}

#[tokio::test]
async fn what_a_channel_refuses_for_good_is_not_tried_again() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    notifier.take().await.unwrap();
    world.mail.answer([Outcome::Never(why())]);

    world.send(&notifier).await;
    world.wait(1_000_000);
    world.send(&notifier).await;

    assert_eq!(world.mail.sent().len(), 1);
}

#[tokio::test]
async fn what_is_urgent_waits_behind_nothing_else() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    let again = std::iter::repeat_with(|| Outcome::Later(why()));
    world.mail.answer(again.take(100));
    for number in 1..=6 {
        world.events.add(vec![(mara(), trade(number))]);
        notifier.take().await.unwrap();
        world.wait(3_600);
        notifier.take().await.unwrap();
    }
    world.events.add(vec![(mara(), switch_on(7, "manual"))]);
    notifier.take().await.unwrap();
    assert_eq!(world.waiting().await.len(), 7);

    notifier.deliver(world.mail.as_ref()).await.unwrap();

    let sent = world.mail.sent();
    let urgent: Vec<bool> = sent.iter().map(|(_, _, message)| message.is_urgent()).collect();
    assert_eq!(urgent, [true, false, false, false]);
}

#[tokio::test]
async fn one_channel_that_fails_holds_up_no_other() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world
        .events
        .add(vec![(Receiver::Operator, switch_on(1, "manual"))]);
    notifier.take().await.unwrap();
    world.mail.answer([Outcome::Later(why())]);

    world.send(&notifier).await;

    assert_eq!(world.hook.sent().len(), 1);
    assert_eq!(world.waiting().await.len(), 1);
}

#[tokio::test]
async fn what_fails_is_logged_without_a_secret_and_without_an_address() {
    const TOKEN: &str = "123456:canary-Marigold_Lantern";
    let world = World::new();
    // Nobody listens there.
    let base = "http://127.0.0.1:1".parse().unwrap();
    let token = ChannelSecret::new(TOKEN.to_owned());
    let telegram: Arc<dyn Channel> =
        Arc::new(Telegram::new(Some(&base), token, "1".parse().unwrap()).unwrap());
    let notifier = world.start_with(vec![telegram.clone(), world.mail.clone()]);
    notifier.take().await.unwrap();
    world.mail.answer([Outcome::Later(why())]);
    world.events.add(vec![
        (Receiver::Operator, switch_on(1, "manual")),
        (mara(), switch_on(1, "manual")),
    ]);
    let log = Log::default();
    let guard = log.begin();

    notifier.take().await.unwrap();
    notifier.deliver(telegram.as_ref()).await.unwrap();
    notifier.deliver(world.mail.as_ref()).await.unwrap();

    drop(guard);
    let text = log.text();
    assert!(
        text.contains("channel=telegram") && text.contains("no connection could be made"),
        "{text}"
    );
    assert!(
        text.contains("channel=email") && text.contains("user:mara_ilves"),
        "{text}"
    );
    assert_eq!(Canary::new("token", TOKEN).find(text.as_bytes()), None);
    assert_eq!(
        Canary::new("address", "mara_ilves@example.com").find(text.as_bytes()),
        None
    );
}

#[tokio::test]
async fn a_user_who_is_gone_is_told_nothing() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    notifier.take().await.unwrap();
    world.users.remove("mara_ilves");
    world.events.add(vec![(mara(), switch_on(2, "manual"))]);
    notifier.take().await.unwrap();

    world.send(&notifier).await;

    assert_eq!(world.mail.sent().len(), 0);
    assert_eq!(world.waiting().await.len(), 0);
}

#[tokio::test]
async fn a_channel_that_is_not_set_up_any_more_gives_up_what_waits() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    notifier.take().await.unwrap();

    let notifier = world.start_with(vec![world.hook.clone()]);
    notifier.take().await.unwrap();

    assert_eq!(world.waiting().await.len(), 0);
    let state = &world.deliveries.channel_states().await.unwrap()[0];
    assert_eq!((state.channel, state.given_up), (ChannelKind::Email, 1));
}

#[tokio::test]
async fn q4_many_refusals_are_told_to_the_operator_once() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    for _ in 0..9 {
        world.events.add_refusal("kraken-ilves");
    }

    notifier.take().await.unwrap();
    world.send(&notifier).await;

    let texts = world.hook.texts();
    assert_eq!(texts.len(), 1);
    assert!(
        texts[0].contains("kraken-ilves: 3 orders were refused by rules"),
        "{}",
        texts[0]
    );
}

#[tokio::test]
async fn at_the_end_what_waits_is_sent_and_what_cannot_be_sent_stays() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), trade(1))]);
    world.mail.answer([Outcome::Later(why())]);

    notifier
        .end(vec![(Receiver::Operator, switch_on(2, "manual"))])
        .await
        .unwrap();

    assert_eq!(world.hook.sent().len(), 1);
    assert_eq!(world.mail.sent().len(), 2);
    assert_eq!(world.waiting().await.len(), 1);
}

/// A channel that never answers.
struct Hanging;

#[async_trait]
impl Channel for Hanging {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Email
    }

    fn serves(&self, _: &Receiver) -> bool {
        true
    }

    async fn send(&self, _: &Letter<'_>) -> Outcome {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_holds_up_neither_the_others_nor_the_end() {
    let world = World::new();
    let notifier = world.start_with(vec![Arc::new(Hanging), world.hook.clone()]);
    notifier.take().await.unwrap();
    world
        .events
        .add(vec![(Receiver::Operator, switch_on(1, "manual"))]);
    let stop = CancellationToken::new();
    let stopping = async {
        while world.hook.texts().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        stop.cancel();
    };

    tokio::join!(notifier.run(&stop), stopping);
    notifier.end(Vec::new()).await.unwrap();

    let waiting = world.waiting().await;
    assert_eq!((waiting.len(), waiting[0].attempts), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn it_runs_until_it_is_told_to_stop() {
    let world = World::new();
    let notifier = world.start();
    notifier.take().await.unwrap();
    world.events.add(vec![(mara(), switch_on(1, "manual"))]);
    let stop = CancellationToken::new();
    let stopping = async {
        while world
            .deliveries
            .channel_states()
            .await
            .unwrap()
            .iter()
            .all(|state| state.delivered == 0)
        {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        stop.cancel();
    };

    tokio::join!(notifier.run(&stop), stopping);

    assert_eq!(world.mail.texts().len(), 1);
}
