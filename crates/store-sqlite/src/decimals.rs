//! Exact decimal arithmetic for SQL, so that a limit is one conditional statement.
//!
//! | function | gives |
//! |---|---|
//! | `dec_add(a, b)`, `dec_sub(a, b)` | the exact sum or difference |
//! | `dec_mul_up(a, b)` | the product, rounded up to 12 decimals where it has more |
//! | `dec_cmp(a, b)` | -1, 0 or 1 |
//! | `dec_sum(x)` | the exact sum of a group, `'0'` for none |
//!
//! What does not fit exactly fails the statement: a limit is never judged by a rounded figure.

use bursar_model::decimal;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::{Connection, Error};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::values::{Exact, decimal_text};

pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("dec_add", 2, flags, |context| {
        let (a, b) = operands(context)?;
        decimal::add(a, b).map(decimal_text).map_err(failed)
    })?;
    connection.create_scalar_function("dec_sub", 2, flags, |context| {
        let (a, b) = operands(context)?;
        decimal::sub(a, b).map(decimal_text).map_err(failed)
    })?;
    connection.create_scalar_function("dec_mul_up", 2, flags, |context| {
        let (a, b) = operands(context)?;
        let product = a.checked_mul(b).ok_or_else(|| failed(decimal::InexactError))?;
        let rounded = product.round_dp_with_strategy(12, RoundingStrategy::ToPositiveInfinity);
        Ok(decimal_text(rounded))
    })?;
    connection.create_scalar_function("dec_cmp", 2, flags, |context| {
        let (a, b) = operands(context)?;
        Ok(match a.cmp(&b) {
            std::cmp::Ordering::Less => -1_i32,
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Greater => 1,
        })
    })?;
    connection.create_aggregate_function("dec_sum", 1, flags, Sum)
}

fn operands(context: &Context<'_>) -> rusqlite::Result<(Decimal, Decimal)> {
    Ok((context.get::<Exact>(0)?.0, context.get::<Exact>(1)?.0))
}

fn failed(error: decimal::InexactError) -> Error {
    Error::UserFunctionError(Box::new(error))
}

struct Sum;

impl Aggregate<Decimal, String> for Sum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Decimal> {
        Ok(Decimal::ZERO)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Decimal) -> rusqlite::Result<()> {
        *sum = decimal::add(*sum, context.get::<Exact>(0)?.0).map_err(failed)?;
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, sum: Option<Decimal>) -> rusqlite::Result<String> {
        Ok(decimal_text(sum.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sql: &str) -> rusqlite::Result<String> {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        connection.query_row(sql, [], |row| {
            let value: rusqlite::types::Value = row.get(0)?;
            Ok(match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            })
        })
    }

    #[test]
    fn i19_sums_in_sql_are_exact() {
        assert_eq!(value("SELECT dec_add('0.1', '0.2')").unwrap(), "0.3");
        assert_eq!(
            value("SELECT dec_sub('1', '1.000000000001')").unwrap(),
            "-0.000000000001"
        );
        assert_eq!(
            value("SELECT dec_sum(x) FROM (SELECT '0.1' AS x UNION ALL SELECT '0.2' UNION ALL SELECT '0.7')")
                .unwrap(),
            "1"
        );
        assert_eq!(
            value("SELECT dec_sum(x) FROM (SELECT '1' AS x) WHERE x = '2'").unwrap(),
            "0"
        );
    }

    #[test]
    fn i19_a_product_is_never_rounded_down() {
        assert_eq!(value("SELECT dec_mul_up('0.3', '0.2')").unwrap(), "0.06");
        assert_eq!(
            value("SELECT dec_mul_up('0.0000001', '0.0000011')").unwrap(),
            "0.000000000001"
        );
        assert!(value("SELECT dec_mul_up('79228162514264337593543950335', '2')").is_err());
    }

    #[test]
    fn comparison_is_by_value_and_not_by_text() {
        assert_eq!(value("SELECT dec_cmp('9', '10')").unwrap(), "-1");
        assert_eq!(value("SELECT dec_cmp('1.50', '1.5')").unwrap(), "0");
        assert_eq!(value("SELECT dec_cmp('-1', '-2')").unwrap(), "1");
    }

    #[test]
    fn i19_what_does_not_fit_fails_the_statement() {
        assert!(value("SELECT dec_add('79228162514264337593543950335', '0.1')").is_err());
        assert!(value("SELECT dec_cmp('abc', '1')").is_err());
        assert!(value("SELECT dec_cmp('1e5', '1')").is_err());
        assert!(
            value("SELECT dec_add(1, '1')").is_err(),
            "a number is not a decimal text"
        );
    }
}
