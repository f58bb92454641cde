//! What goes wrong, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use bursar_auth::{Directory, UserChange};
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::{Conditions, Journal, NewLatch};
use bursar_model::{
    OrderKind, OrderTerms, PairRule, Price, Quantity, Side, TimeInForce, Usd, UserId, UserLimits,
};
use bursar_permissions::UserPermissions;
use jiff::SignedDuration;
use rust_decimal::{Decimal, dec};
use tokio::time::Instant;

use crate::backups::Backup;
use crate::operator::Operator;
use crate::random::Random;
use crate::truth::Segment;
use crate::venue::market::on_grid;

pub(crate) struct Faults<'w> {
    operator: &'w Operator,
    luck: Random,
}

/// What a user may do at most, before anything is lowered.
pub(crate) fn usual() -> UserPermissions {
    UserPermissions::new(UserLimits {
        max_position: Usd::new(dec!(2500)),
        max_daily_loss: Usd::new(dec!(300)),
        max_positions: 4,
        pairs: PairRule::All,
    })
}

impl<'w> Faults<'w> {
    pub(crate) fn new(operator: &'w Operator) -> Self {
        Self {
            luck: Random::stream(operator.machine.plan.seed, "faults"),
            operator,
        }
    }

    /// Injects faults for ever; `lives` takes what a store held that was lost.
    pub(crate) async fn run(&self, lives: &tokio::sync::Mutex<Vec<Segment>>) {
        let machine = &self.operator.machine;
        if !machine.plan.has_faults {
            return std::future::pending().await;
        }
        // And when it was made.
        let mut backup: Option<(Backup, i64)> = None;
        let mut may_put_back = machine.plan.is_put_back;
        loop {
            tokio::time::sleep(self.luck.ms(150, 2600)).await;
            // What goes on while nothing is broken is what breaks next.
            if self.luck.chance(70) {
                tokio::time::sleep(self.luck.ms(5000, 20_000)).await;
            }
            match self.luck.below(100) {
                0..=19 => self.kill(),
                20..=25 => self.freeze().await,
                26..=30 => self.fill_disk(),
                31..=36 => self.lose_commit(),
                37..=41 => self.set_clock().await,
                42..=47 => self.cut_off(),
                48..=51 => self.maintain(),
                52..=55 => self.hide_prices(),
                56..=59 => self.fall(),
                60..=75 => self.trip().await,
                76..=80 => self.lower_limits().await,
                81..=84 => self.disable_user().await,
                85..=87 => self.revoke_pairs().await,
                88..=91 => self.replace_key(),
                92..=95 => self.trade_by_hand(),
                _ if may_put_back => match backup.take() {
                    None => {
                        let at_ms = machine.time.ms();
                        backup = Some((self.operator.back_up().await, at_ms));
                    }
                    Some((backup, at_ms)) => {
                        may_put_back = false;
                        machine.fault("put-back", format!("the store of {at_ms} ms"));
                        let ended = self.operator.put_back(&backup, at_ms).await;
                        lives.lock().await.push(ended);
                    }
                },
                _ => self.kill(),
            }
        }
    }

    fn process(&self) -> usize {
        usize::try_from(
            self.luck
                .below(u64::try_from(self.operator.machine.plan.daemons).unwrap_or(1)),
        )
        .unwrap_or(0)
    }

    fn kill(&self) {
        let process = self.process();
        let Some(fate) = self.operator.machine.fate(process) else {
            return;
        };
        if self.luck.chance(300) {
            self.operator
                .machine
                .fault("kill", format!("process {process} now"));
            fate.kill();
        } else {
            let points = self.luck.below(120);
            self.operator
                .machine
                .fault("kill-at-point", format!("process {process} in {points}"));
            fate.kill_after(points);
        }
    }

    async fn freeze(&self) {
        let process = self.process();
        let Some(fate) = self.operator.machine.fate(process) else {
            return;
        };
        let pause = self.mostly_short(8000, 60_000);
        self.operator.machine.fault(
            "freeze",
            format!("process {process} for {} ms", pause.as_millis()),
        );
        fate.freeze();
        tokio::time::sleep(pause).await;
        fate.thaw();
    }

    fn fill_disk(&self) {
        let until = self.until(1000, 15_000);
        self.operator.machine.fault("disk-full", String::new());
        self.operator.machine.fill_disk_until(until);
    }

    fn lose_commit(&self) {
        let process = self.process();
        self.operator.machine.lose_commit(process, self.luck.below(40));
    }

    async fn set_clock(&self) {
        let machine = &self.operator.machine;
        // A store that is put back cannot know which numbers a clock that was ahead has used.
        let hour = if machine.plan.is_put_back || self.luck.chance(500) {
            -1
        } else {
            1
        };
        machine.fault("clock-step", format!("{hour} h"));
        machine.clock.set_ahead(SignedDuration::from_hours(hour));
        tokio::time::sleep(self.mostly_short(5000, 25_000)).await;
        machine.clock.set_ahead(SignedDuration::ZERO);
        machine.fault("clock-step", "right again".to_owned());
    }

    fn cut_off(&self) {
        self.operator.machine.fault("unreachable", String::new());
        self.operator
            .machine
            .weather
            .cut_off_until(Instant::now() + self.mostly_short(8000, 30_000));
    }

    fn maintain(&self) {
        self.operator.machine.fault("maintenance", String::new());
        self.operator
            .machine
            .weather
            .maintain_until(Instant::now() + self.mostly_short(8000, 20_000));
    }

    fn hide_prices(&self) {
        self.operator.machine.fault("stale-prices", String::new());
        self.operator
            .machine
            .weather
            .hide_prices_until(Instant::now() + self.mostly_short(15_000, 60_000));
    }

    fn fall(&self) {
        let percent = self.luck.between(1, 6);
        self.operator.machine.fault("price-fall", format!("{percent} %"));
        for venue in self.operator.machine.venues.values() {
            venue.state().market.fall(percent);
        }
    }

    async fn trip(&self) {
        let machine = &self.operator.machine;
        let (account, user, broker) = self.luck.pick(&machine.plan.accounts).clone();
        let scope = match self.luck.below(10) {
            0 => Scope::Global,
            1 => Scope::Broker(broker),
            2 => Scope::User(user),
            _ => Scope::Account(account),
        };
        let mode = *self.luck.pick(&[
            LatchMode::Pause,
            LatchMode::ReduceOnly,
            LatchMode::Halt,
            LatchMode::Halt,
            LatchMode::Flatten,
        ]);
        machine.fault("switch", format!("{scope} {mode}"));
        let latch = NewLatch {
            scope,
            mode,
            cause: LatchCause::Manual,
            reason: "drill".to_owned(),
            clear_rule: ClearRule::Manual,
        };
        if self.luck.chance(500) {
            machine.switch_on_after(self.luck.below(12), latch);
            return;
        }
        let node = self.operator.node().await;
        drop(node.trip(latch, &machine.act()).await);
    }

    async fn lower_limits(&self) {
        let mut limits = usual().limits;
        limits.max_position = Usd::new(Decimal::from(self.luck.between(300, 2500)));
        limits.max_positions = u32::try_from(self.luck.between(1, 4)).unwrap_or(1);
        self.operator.machine.fault("limits-lowered", String::new());
        self.permit_for_a_while(UserPermissions::new(limits)).await;
    }

    async fn revoke_pairs(&self) {
        let mut limits = usual().limits;
        limits.pairs = PairRule::Only(BTreeSet::new());
        self.operator.machine.fault("permission-revoked", String::new());
        self.permit_for_a_while(UserPermissions::new(limits)).await;
    }

    async fn permit_for_a_while(&self, permissions: UserPermissions) {
        let user = self.user();
        self.permit(&user, &permissions).await;
        tokio::time::sleep(self.luck.ms(1000, 12_000)).await;
        self.permit(&user, &usual()).await;
    }

    async fn permit(&self, user: &UserId, permissions: &UserPermissions) {
        let node = self.operator.node().await;
        drop(
            node.set_permissions(user, permissions, &self.operator.machine.act())
                .await,
        );
    }

    async fn disable_user(&self) {
        let user = self.user();
        self.operator.machine.fault("user-disabled", user.to_string());
        self.enable(&user, false).await;
        tokio::time::sleep(self.luck.ms(1000, 12_000)).await;
        self.enable(&user, true).await;
    }

    async fn enable(&self, user: &UserId, on: bool) {
        let node = self.operator.node().await;
        let change = UserChange::Enabled(on);
        drop(
            node.store
                .update_user(user, change, &self.operator.machine.act())
                .await,
        );
    }

    fn user(&self) -> UserId {
        self.luck.pick(&self.operator.machine.plan.users).clone()
    }

    fn replace_key(&self) {
        let (account, _, _) = self.luck.pick(&self.operator.machine.plan.accounts);
        self.operator.machine.fault("key-replaced", account.to_string());
        self.operator.machine.replace_key(account);
    }

    /// The owner buys a little, or rests an order, beside the gateway.
    fn trade_by_hand(&self) {
        let (account, _, _) = self.luck.pick(&self.operator.machine.plan.accounts);
        let venue = self.operator.machine.venue_of(account);
        let (pair, mid, rate) = {
            let state = venue.state();
            let pair = self.luck.pick(&state.market.traded()).clone();
            let (mid, rate) = (state.market.mid(&pair), state.market.rate(&pair));
            (pair, mid, rate)
        };
        self.operator.machine.fault("traded-by-hand", account.to_string());
        let kind = if self.luck.chance(500) {
            OrderKind::Market
        } else {
            OrderKind::Limit {
                price: Price::new(on_grid(&pair, mid * dec!(0.997))).unwrap(),
            }
        };
        let quantity = (Decimal::from(self.luck.between(20, 200)) / (mid * rate))
            .round_dp(4)
            .max(dec!(0.0001));
        let terms = OrderTerms {
            pair,
            side: Side::Buy,
            kind,
            quantity: Quantity::new(quantity).unwrap(),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: false,
        };
        venue.place_by_hand(account, terms);
    }

    /// At times so long that a day may end meanwhile.
    fn mostly_short(&self, short_ms: u64, longest_ms: u64) -> Duration {
        if self.luck.chance(750) {
            self.luck.ms(1000, short_ms)
        } else {
            self.luck.ms(short_ms, longest_ms)
        }
    }

    fn until(&self, from_ms: u64, to_ms: u64) -> Instant {
        Instant::now() + self.luck.ms(from_ms, to_ms)
    }
}
