//! What counts against the limits of an account, its owner and the installation. The same sums stand in
//! the statements that take a claim and in what the rules are shown.

use bursar_auth::Account;
use bursar_broker::VenueOrder;
use bursar_controls::{Exposure, LimitKind, Policy, Turnover, Usage, WiderDay};
use bursar_execution::external_cost;
use bursar_ledger::{MarkState, TradingDay};
use bursar_model::{AccountId, AccountMode, BrokerId, IntentId, Usd};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Statement, ToSql};

use crate::conditions;
use crate::error::StoreError;
use crate::figures;
use crate::quotes;
use crate::values::{Exact, Text, moment};

/// Whose sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Account,
    User,
    /// Paper counts with paper, everything else with everything else.
    Everybody,
}

impl Whose {
    /// A condition on rows that name account and user; `:account` and `:user` are bound.
    pub(crate) const fn rows(self) -> &'static str {
        match self {
            Self::Account => "account = :account",
            Self::User => "user = :user",
            Self::Everybody => {
                "account IN (SELECT id FROM account WHERE (mode = 'paper') =
                    (SELECT mode = 'paper' FROM account WHERE id = :account))"
            }
        }
    }

    /// The same for rows that name the account only.
    const fn accounts(self) -> &'static str {
        match self {
            Self::User => "account IN (SELECT id FROM account WHERE owner = :user)",
            Self::Account | Self::Everybody => self.rows(),
        }
    }
}

/// Nobody reads of a closed account any more whether what was placed by hand there is over; it would count for ever.
const STILL_READ: &str = "account IN (SELECT id FROM account WHERE status <> 'closed')";

/// Dollars that positions cost and that working orders but `:intent` may cost at worst, with those that
/// were placed by hand.
pub(crate) fn exposure(whose: Whose) -> String {
    let accounts = whose.accounts();
    format!(
        "dec_add({}, (SELECT dec_sum(cost_usd) FROM external_order
              WHERE is_working = 1 AND cost_usd IS NOT NULL AND {accounts} AND {STILL_READ}))",
        own_exposure(whose.rows())
    )
}

/// The same of what the gate let pass.
pub(crate) fn own_exposure(rows: &str) -> String {
    format!(
        "dec_add((SELECT dec_sum(cost_usd) FROM lot WHERE {rows}), {})",
        reserved_cost(rows)
    )
}

/// Dollars that entries have cost in the trading day `:day`, and may cost where they are not over.
pub(crate) fn turnover(whose: Whose) -> String {
    // The owner is named for the index.
    let rows = whose.rows();
    format!(
        "dec_add((SELECT dec_sum(dec_mul_up(dec_mul_up(json_extract(body, '$.price'),
                 json_extract(body, '$.quantity')), usd_rate))
              FROM fill WHERE user = :user AND day = :day AND json_extract(body, '$.side') = 'buy' AND {rows}),
             {})",
        reserved_cost(rows)
    )
}

fn reserved_cost(rows: &str) -> String {
    format!(
        "(SELECT dec_sum(amount) FROM reservation
          WHERE kind = '{}' AND intent <> :intent AND {rows})",
        LimitKind::PositionCost
    )
}

/// Positions of `:user` that are counted. Less than the smallest quantity that its venue takes an order for is dust,
/// and would take up a place for ever.
pub(crate) const POSITIONS: &str = "SELECT account, pair FROM lot WHERE user = :user GROUP BY account, pair
    HAVING dec_cmp(dec_sum(quantity), coalesce((
        SELECT json_extract(instrument.body, '$.min_quantity')
        FROM account JOIN instrument ON instrument.broker = account.broker AND instrument.pair = lot.pair
        WHERE account.id = lot.account), '0')) >= 0";

/// Dollars that working orders but `:intent` may lose today.
pub(crate) fn reserved_loss(rows: &str) -> String {
    format!(
        "(SELECT dec_sum(amount) FROM reservation WHERE kind = '{}' AND intent <> :intent AND {rows})",
        LimitKind::DayLoss
    )
}

/// Rows of accounts that do not trade on paper.
pub(crate) const REAL_MONEY: &str = "account IN (SELECT id FROM account WHERE mode <> 'paper')";

/// Orders of the account that were admitted from `:since` on, without `:intent`.
pub(crate) const ORDERS_SINCE: &str = "(SELECT count(*) FROM intent
    WHERE account = :account AND created_at > :since AND state <> 'denied' AND id <> :intent)";

pub(crate) fn minute_before(now: Timestamp) -> i64 {
    let since = now
        .saturating_sub(SignedDuration::from_secs(60))
        .unwrap_or(Timestamp::MIN);
    moment(since).unwrap_or(i64::MIN)
}

/// What the rules are shown. What the policy does not limit is not added up.
pub(crate) fn load(
    connection: &Connection,
    account: &Account,
    policy: &Policy,
    own: Option<IntentId>,
    day: TradingDay,
    now: Timestamp,
) -> Result<Usage, StoreError> {
    let asked = Asked {
        connection,
        account,
        own: own.map(|id| id.to_string()).unwrap_or_default(),
        day,
        now,
    };
    let global_day = match policy.max_global_daily_loss {
        Some(_) if account.mode() != AccountMode::Paper => asked.wider_day(figures::Whose::RealMoney)?,
        _ => None,
    };
    let account_day = match policy.max_account_daily_loss {
        Some(_) => asked.wider_day(figures::Whose::Account(account.id()))?,
        None => None,
    };
    Ok(Usage {
        exposure: Exposure {
            account: asked.dollars(&exposure(Whose::Account))?,
            user: asked.dollars(&exposure(Whose::User))?,
            global: match policy.max_global_exposure {
                Some(_) => asked.dollars(&exposure(Whose::Everybody))?,
                None => Usd::ZERO,
            },
            untold: asked.value(&untold(Whose::Account))?,
            untold_user: asked.value(&untold(Whose::User))?,
            untold_global: match policy.max_global_exposure {
                Some(_) => asked.value(&untold(Whose::Everybody))?,
                None => 0,
            },
        },
        turnover: Turnover {
            account: asked.dollars(&turnover(Whose::Account))?,
            user: asked.dollars(&turnover(Whose::User))?,
        },
        orders_last_minute: asked.value(ORDERS_SINCE)?,
        account_day,
        global_day,
    })
}

struct Asked<'a> {
    connection: &'a Connection,
    account: &'a Account,
    own: String,
    day: TradingDay,
    now: Timestamp,
}

impl Asked<'_> {
    fn value<T: rusqlite::types::FromSql>(&self, sum: &str) -> Result<T, StoreError> {
        let day = self.day.key.to_string();
        let known: [(&str, &dyn ToSql); 5] = [
            (":account", &self.account.id().as_str()),
            (":user", &self.account.owner().as_str()),
            (":intent", &self.own),
            (":day", &day),
            (":since", &minute_before(self.now)),
        ];
        value(self.connection, sum, &known)
    }

    fn dollars(&self, sum: &str) -> Result<Usd, StoreError> {
        Ok(Usd::new(self.value::<Exact>(sum)?.0))
    }

    fn wider_day(&self, whose: figures::Whose<'_>) -> Result<Option<WiderDay>, StoreError> {
        let counted = figures::of(self.connection, whose, self.day, self.now)?;
        let rows = match whose {
            figures::Whose::Account(_) => "account = :account",
            figures::Whose::User(_) => "user = :user",
            figures::Whose::RealMoney => REAL_MONEY,
        };
        Ok(Some(WiderDay {
            loss: counted.loss.loss()?,
            reserved_loss: self.dollars(&reserved_loss(rows))?,
            is_known: counted.loss.marks == MarkState::Fresh,
        }))
    }
}

/// Binds what a statement names of what is known.
pub(crate) fn bind(statement: &mut Statement<'_>, known: &[(&str, &dyn ToSql)]) -> Result<(), StoreError> {
    for (name, value) in known {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(())
}

/// One value, of which the sum names only the parameters that it needs.
pub(crate) fn value<T: rusqlite::types::FromSql>(
    connection: &Connection,
    sum: &str,
    known: &[(&str, &dyn ToSql)],
) -> Result<T, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {sum}"))?;
    bind(&mut statement, known)?;
    let mut rows = statement.raw_query();
    match rows.next()? {
        Some(row) => Ok(row.get(0)?),
        None => Err(rusqlite::Error::QueryReturnedNoRows.into()),
    }
}

/// Working purchases placed by hand whose cost nobody can tell.
fn untold(whose: Whose) -> String {
    let accounts = whose.accounts();
    format!(
        "(SELECT count(*) FROM external_order WHERE is_working = 1 AND cost_usd IS NULL AND {accounts}
              AND json_extract(body, '$.side') = 'buy' AND {STILL_READ})"
    )
}

/// What an order placed by hand may cost at worst, at the prices that are known now.
pub(crate) fn cost_of_external(
    connection: &Connection,
    account: &AccountId,
    order: &VenueOrder,
    now: Timestamp,
) -> Result<Option<Usd>, StoreError> {
    let broker: Text<BrokerId> = connection
        .prepare_cached("SELECT broker FROM account WHERE id = ?1")?
        .query_row([Text(account)], |row| row.get(0))?;
    let rate = quotes::rate(connection, &broker.0, order.pair.quote(), now)?;
    let quote = quotes::of_pair(connection, &broker.0, &order.pair)?;
    let collar = conditions::policy(connection)?.collar_percent;
    Ok(external_cost(
        order,
        rate.map(|rate| rate.value),
        quote.as_ref(),
        collar,
    ))
}
