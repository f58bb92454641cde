//! What a statement amounts to, worked out once for every form in which it is shown.

use std::collections::{BTreeMap, BTreeSet};

use bursar_execution::{Flow, FlowKind, Held, Period, Reading, Statement};
use bursar_ledger::{
    ClosedLot, DayKey, EquityReading, Mark, Performance, Statistics, Tally, below_peak, performance,
    statistics,
};
use bursar_model::{AccountId, InexactError, Pair, Usd, UserId};
use jiff::Timestamp;
use rust_decimal::Decimal;

pub(super) struct Figures {
    pub(super) user: UserId,
    pub(super) account: Option<AccountId>,
    pub(super) period: Period,
    pub(super) statement: Statement,
    pub(super) total: Statistics,
    pub(super) net: Usd,
    pub(super) by_pair: Vec<PairFigures>,
    /// By account and day; days with nothing to tell are not there.
    pub(super) days: Vec<DayFigures>,
    pub(super) executions: u64,
    /// Of all executions, also of those whose purchase is not sold yet.
    pub(super) fees_paid: Usd,
    pub(super) held: Vec<HeldFigures>,
    /// Of all that is held, without fees; `None` when a position has no price.
    pub(super) unrealised: Option<Usd>,
    /// Those with a reading.
    pub(super) accounts: Vec<OfAccount>,
    /// In all accounts.
    pub(super) today: Statistics,
}

pub(super) struct PairFigures {
    pub(super) pair: Pair,
    pub(super) tally: Tally,
    pub(super) net: Usd,
}

/// A trading day of an account.
pub(super) struct DayFigures {
    pub(super) account: AccountId,
    pub(super) day: DayKey,
    pub(super) tally: Tally,
    pub(super) net: Usd,
    pub(super) executions: u64,
    pub(super) fees_paid: Usd,
    /// What came in and went out.
    pub(super) flows: Usd,
    /// The last reading of the day.
    pub(super) equity: Option<Usd>,
    /// Where the curve of the period stood with it.
    pub(super) time_weighted: Option<Usd>,
}

pub(super) struct HeldFigures {
    pub(super) held: Held,
    pub(super) worth: Option<Usd>,
    /// Without fees.
    pub(super) unrealised: Option<Usd>,
}

/// What an account was worth over time.
pub(super) struct OfAccount {
    pub(super) account: AccountId,
    pub(super) readings: Vec<Reading>,
    pub(super) performance: Performance,
    /// For each point of the curve, in percent.
    pub(super) below_peak: Vec<Decimal>,
}

impl OfAccount {
    /// The readings, each with where the curve stands; an account that was empty has no curve yet.
    pub(super) fn points(&self) -> impl Iterator<Item = (&Reading, Option<(Usd, Decimal)>)> {
        let empty = self.readings.len().saturating_sub(self.performance.curve.len());
        let points = self.performance.curve.iter().zip(&self.below_peak);
        let curve = points.map(|(point, below)| Some((point.equity, *below)));
        self.readings
            .iter()
            .zip(std::iter::repeat_n(None, empty).chain(curve))
    }
}

impl Figures {
    pub(super) fn of(
        user: UserId,
        account: Option<AccountId>,
        period: Period,
        statement: Statement,
    ) -> Result<Self, InexactError> {
        let total = statistics(&statement.closed)?;
        let by_pair = total.by_pair.iter().map(|(pair, tally)| {
            Ok(PairFigures {
                pair: pair.clone(),
                tally: *tally,
                net: tally.net()?,
            })
        });
        let by_pair = by_pair.collect::<Result<_, InexactError>>()?;
        let accounts = of_accounts(&statement)?;
        let held = (statement.held.iter().cloned())
            .map(HeldFigures::of)
            .collect::<Result<Vec<_>, _>>()?;
        let unrealised = held
            .iter()
            .map(|row| row.unrealised)
            .collect::<Option<Vec<Usd>>>()
            .map(|amounts| amounts.into_iter().try_fold(Usd::ZERO, Usd::plus))
            .transpose()?;
        let mut fees = statement.executions.iter().map(|day| day.fees);
        Ok(Self {
            user,
            account,
            period,
            net: total.total.net()?,
            by_pair,
            days: days(&statement, &accounts, period)?,
            executions: statement.executions.iter().map(|day| day.count).sum(),
            fees_paid: fees.try_fold(Usd::ZERO, Usd::plus)?,
            held,
            unrealised,
            accounts,
            today: statistics(&statement.today.closed)?,
            total,
            statement,
        })
    }

    /// Whose, and of which time.
    pub(super) fn title(&self) -> String {
        let of = match &self.account {
            Some(account) => format!("{}, account {account}", self.user),
            None => self.user.to_string(),
        };
        match (self.period.since, self.period.until) {
            (None, None) => format!("Statistics of {of}"),
            (Some(since), None) => format!("Statistics of {of}, since {since}"),
            (None, Some(until)) => format!("Statistics of {of}, until {until}"),
            (Some(since), Some(until)) => format!("Statistics of {of}, {since} to {until}"),
        }
    }

    pub(super) fn oldest_mark(&self) -> Option<Mark> {
        let marks = self.held.iter().filter_map(|row| row.held.mark);
        marks.min_by_key(|mark| mark.at)
    }

    pub(super) fn executions_today(&self) -> u64 {
        self.statement.today.executions.iter().map(|of| of.count).sum()
    }

    pub(super) fn last_execution_today(&self) -> Option<Timestamp> {
        self.statement.today.executions.iter().map(|of| of.last_at).max()
    }
}

impl HeldFigures {
    fn of(held: Held) -> Result<Self, InexactError> {
        let worth = held.mark.map(|mark| held.position.value_usd(&mark)).transpose()?;
        let unrealised = held.mark.map(|mark| held.position.unrealised_usd(&mark));
        Ok(Self {
            worth,
            unrealised: unrealised.transpose()?,
            held,
        })
    }
}

fn of_accounts(statement: &Statement) -> Result<Vec<OfAccount>, InexactError> {
    let mut found = Vec::new();
    for readings in statement.readings.chunk_by(|a, b| a.account == b.account) {
        let plain: Vec<EquityReading> = readings.iter().map(|known| known.reading).collect();
        if let (Some(first), Some(performance)) = (readings.first(), performance(&plain)?) {
            found.push(OfAccount {
                account: first.account.clone(),
                readings: readings.to_vec(),
                below_peak: below_peak(&performance.curve)?,
                performance,
            });
        }
    }
    Ok(found)
}

fn days(
    statement: &Statement,
    accounts: &[OfAccount],
    period: Period,
) -> Result<Vec<DayFigures>, InexactError> {
    let mut days: BTreeMap<(AccountId, DayKey), DayFigures> = BTreeMap::new();
    let traded: BTreeSet<&AccountId> = statement.closed.iter().map(|lot| &lot.account).collect();
    for account in traded {
        let lots: Vec<&ClosedLot> = (statement.closed.iter())
            .filter(|lot| lot.account == *account)
            .collect();
        for (day, tally) in statistics(lots)?.by_day {
            let figures = at(&mut days, account, day);
            figures.net = tally.net()?;
            figures.tally = tally;
        }
    }
    for executions in &statement.executions {
        let figures = at(&mut days, &executions.account, executions.day);
        figures.executions = executions.count;
        figures.fees_paid = executions.fees;
    }
    for of in accounts {
        for (known, point) in of.points() {
            // The one that the period begins with is of a day before it.
            if !period.contains(known.day) {
                continue;
            }
            let figures = at(&mut days, &of.account, known.day);
            figures.flows = figures.flows.plus(known.reading.flows)?;
            figures.equity = Some(known.reading.equity);
            figures.time_weighted = point.map(|(usd, _)| usd);
        }
    }
    Ok(days.into_values().collect())
}

fn at<'a>(
    days: &'a mut BTreeMap<(AccountId, DayKey), DayFigures>,
    account: &AccountId,
    day: DayKey,
) -> &'a mut DayFigures {
    days.entry((account.clone(), day)).or_insert_with(|| DayFigures {
        account: account.clone(),
        day,
        tally: Tally::default(),
        net: Usd::ZERO,
        executions: 0,
        fees_paid: Usd::ZERO,
        flows: Usd::ZERO,
        equity: None,
        time_weighted: None,
    })
}

/// `3 won, 1 lost, 2 even`
pub(super) fn outcomes(tally: &Tally) -> String {
    format!("{} won, {} lost, {} even", tally.wins, tally.losses, even(tally))
}

pub(super) const fn even(tally: &Tally) -> u64 {
    tally
        .trades
        .saturating_sub(tally.wins)
        .saturating_sub(tally.losses)
}

pub(super) fn percent(percent: Decimal) -> String {
    let mut shown = percent;
    shown.rescale(2);
    format!("{shown} %")
}

pub(super) fn what_flowed(flow: &Flow) -> &'static str {
    match flow.kind {
        FlowKind::Priced => "priced for the first time",
        FlowKind::Moved if flow.quantity.is_sign_negative() => "went out",
        FlowKind::Moved => "came in",
    }
}
