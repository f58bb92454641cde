use std::collections::BTreeSet;

use bursar_notify::{Inbox, Message, Notice, Rules};
use proptest::prelude::*;

use crate::support::{at, mara, rules, switch_off, switch_on, trade};

/// An inbox with its clock.
struct Desk {
    inbox: Inbox,
    now: i64,
}

impl Desk {
    fn new() -> Self {
        Self {
            inbox: Inbox::default(),
            now: 0,
        }
    }

    fn take(&mut self, notice: Notice) {
        self.inbox.take(notice, at(self.now), &rules());
    }

    /// What is told when so many seconds have passed.
    fn after(&mut self, seconds: i64) -> Vec<Message> {
        self.now += seconds;
        self.inbox.give(&mara(), at(self.now), &rules())
    }
}

fn told(messages: &[Message]) -> Vec<usize> {
    messages.iter().map(|message| message.told.len()).collect()
}

/// How many notices are told or counted.
fn counted(messages: &[Message]) -> u32 {
    let of = |message: &Message| u32::try_from(message.told.len()).unwrap() + message.held_back;
    messages.iter().map(of).sum()
}

#[test]
fn what_is_not_urgent_waits_for_others_and_goes_along_with_them() {
    let mut desk = Desk::new();
    desk.take(trade(1));
    desk.now = 59;
    desk.take(trade(2));

    assert_eq!(told(&desk.after(0)), [0_usize; 0]);
    assert_eq!(told(&desk.after(1)), [2]);
    assert_eq!(told(&desk.after(1_000)), [0_usize; 0]);
}

#[test]
fn what_is_urgent_goes_at_once_and_takes_along_what_waits() {
    let mut desk = Desk::new();
    desk.take(trade(1));
    desk.take(switch_on(2, "manual"));

    assert_eq!(told(&desk.after(0)), [2]);
}

#[test]
fn a_full_message_goes_at_once() {
    let mut desk = Desk::new();
    for number in 0..45 {
        desk.take(trade(number));
    }

    assert_eq!(told(&desk.after(0)), [20, 20, 5]);
}

#[test]
fn the_same_cause_is_told_again_only_after_its_time_and_then_counted() {
    let mut desk = Desk::new();
    desk.take(switch_on(1, "manual"));
    assert_eq!(told(&desk.after(0)), [1]);
    desk.take(switch_on(1, "manual"));
    desk.take(switch_on(1, "manual"));
    assert_eq!(told(&desk.after(3_599)), [0_usize; 0]);
    desk.now += 1;
    desk.take(switch_on(1, "manual"));

    let messages = desk.after(0);

    assert_eq!(messages[0].told[0].repeats, 2);
}

#[test]
fn how_often_a_cause_came_again_is_told_whatever_came_between() {
    let mut desk = Desk::new();
    desk.take(switch_on(1, "manual"));
    assert_eq!(told(&desk.after(0)), [1]);
    desk.take(switch_on(1, "manual"));
    assert_eq!(told(&desk.after(3_600)), [0_usize; 0]);
    desk.take(switch_on(2, "manual"));
    assert_eq!(told(&desk.after(0)), [1]);
    desk.take(switch_on(1, "manual"));

    assert_eq!(desk.after(0)[0].told[0].repeats, 1);
}

#[test]
fn a_switch_that_goes_on_again_is_another_cause() {
    let mut desk = Desk::new();
    desk.take(switch_on(1, "manual"));
    desk.take(switch_off(1));
    desk.take(switch_on(2, "manual"));

    assert_eq!(told(&desk.after(0)), [3]);
}

#[test]
fn in_a_storm_one_message_counts_the_rest_and_then_it_is_quiet() {
    let mut desk = Desk::new();
    for number in 0..3 {
        desk.take(trade(number));
        assert_eq!(told(&desk.after(60)), [1]);
    }
    desk.take(trade(10));
    desk.take(trade(11));

    let storm = desk.after(60);

    assert_eq!(told(&storm), [0]);
    assert_eq!(storm[0].held_back, 2);
    // The window began with the first message, at second 60.
    assert_eq!(storm[0].quiet_until, Some(at(660)));
    desk.take(trade(12));
    assert_eq!(told(&desk.after(419)), [0_usize; 0]);
    let after = desk.after(1);
    assert_eq!(after[0].held_back, 1, "what was held back is told by its number");
    desk.take(trade(13));
    assert_eq!(told(&desk.after(60)), [1], "and then it is as before");
}

#[test]
fn a_storm_does_not_hold_back_what_is_urgent() {
    let mut desk = Desk::new();
    for number in 0..5 {
        desk.take(trade(number));
        desk.after(60);
    }
    desk.take(trade(10));
    desk.take(switch_on(20, "daily-loss"));

    let messages = desk.after(0);

    assert_eq!(told(&messages), [1]);
    desk.take(switch_on(21, "manual"));
    assert_eq!(told(&desk.after(0)), [1]);
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_silent() {
    let mut desk = Desk::new();
    desk.now = 100_000;
    desk.take(switch_on(1, "manual"));
    desk.take(trade(1));
    desk.after(0);
    desk.take(trade(2));
    desk.now = 0;
    desk.take(switch_on(1, "manual"));

    assert_eq!(told(&desk.after(0)), [2]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut inbox = Inbox::default();
    for number in 0..3_000 {
        inbox.take(trade(number), at(0), &rules());
        inbox.give(&mara(), at(0), &rules());
    }

    let size = serde_json::to_string(&inbox).unwrap().len();

    assert!(size < 200_000, "{size} bytes");
}

#[test]
fn an_inbox_comes_back_from_a_store_as_it_was() {
    let mut desk = Desk::new();
    for number in 0..5 {
        desk.take(trade(number));
        desk.after(61);
    }
    desk.take(switch_on(9, "manual"));

    let written = serde_json::to_string(&desk.inbox).unwrap();

    assert_eq!(serde_json::from_str::<Inbox>(&written).unwrap(), desk.inbox);
}

/// What may happen to an inbox.
#[derive(Clone, Debug)]
enum Step {
    Trade(u32),
    Switch(u32),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..40_u32).prop_map(Step::Trade),
        1 => (0..10_u32).prop_map(Step::Switch),
        2 => (0..900_i64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn nothing_is_swallowed_and_nothing_floods(steps in steps(), repeat_s in 1..4_000_i64) {
        let rules = Rules { repeat_after: jiff::SignedDuration::from_secs(repeat_s), ..rules() };
        let mut inbox = Inbox::default();
        let mut now = 0;
        let (mut taken, mut told, mut held, mut repeats) = (0_u32, 0_u32, 0_u32, 0_u32);
        let mut urgent = BTreeSet::new();
        let mut told_urgent = BTreeSet::new();
        let mut ordinary_at = Vec::new();
        // At the end, time enough for everything to come out.
        for step in steps.into_iter().chain([Step::Wait(601), Step::Wait(601), Step::Wait(601)]) {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Trade(number) => {
                    taken += 1;
                    inbox.take(trade(number), at(now), &rules);
                }
                Step::Switch(number) => {
                    taken += 1;
                    urgent.insert(number);
                    inbox.take(switch_on(number, "manual"), at(now), &rules);
                }
            }
            for message in inbox.give(&mara(), at(now), &rules) {
                prop_assert!(message.told.len() <= 20);
                prop_assert!(!message.told.is_empty() || message.held_back > 0, "an empty message");
                held += message.held_back;
                told += u32::try_from(message.told.len()).unwrap();
                repeats += message.told.iter().map(|told| told.repeats).sum::<u32>();
                let is_urgent = |notice: &Notice| notice.kind().is_urgent();
                if message.told.iter().any(|told| is_urgent(&told.notice)) {
                    told_urgent.extend(message.told.iter().filter(|told| is_urgent(&told.notice)).map(|told| told.notice.cause()));
                } else {
                    ordinary_at.push(now);
                }
            }
        }
        prop_assert!(told + held + repeats <= taken);
        prop_assert_eq!(told_urgent.len(), urgent.len(), "each urgent cause was told");
        // In any window of the storm's length: the last messages of one window and the first of the next.
        for (index, first) in ordinary_at.iter().enumerate() {
            let close = ordinary_at[index..].iter().take_while(|at| *at - first < 600).count();
            prop_assert!(close <= 8, "{} messages within one window", close);
        }
    }

    #[test]
    fn everything_with_a_cause_of_its_own_is_told_or_counted(count in 0..300_u32, pause in 0..100_i64) {
        let mut desk = Desk::new();
        let mut sum = 0;
        for number in 0..count {
            desk.take(trade(number));
            sum += counted(&desk.after(pause));
        }
        for _ in 0..3 {
            sum += counted(&desk.after(601));
        }
        prop_assert_eq!(sum, count);
    }
}
