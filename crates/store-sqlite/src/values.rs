//! How values are written in columns: ids and words as text, moments as nanoseconds since 1970 UTC,
//! decimals as text, objects as JSON.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rust_decimal::Decimal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// Anything with a text form that reads back.
pub(crate) struct Text<T>(pub(crate) T);

impl<T> FromSql for Text<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

impl<T: Display> ToSql for Text<&T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.0.to_string())))
    }
}

/// A decimal, exact.
pub(crate) struct Exact(pub(crate) Decimal);

impl FromSql for Exact {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Decimal::from_str_exact(value.as_str()?)
            .map(Self)
            .map_err(FromSqlError::other)
    }
}

impl ToSql for Exact {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(decimal_text(self.0))))
    }
}

pub(crate) fn decimal_text(value: Decimal) -> String {
    value.normalize().to_string()
}

/// A moment that was checked by [`moment`], read back.
pub(crate) struct Moment(pub(crate) Timestamp);

/// What stands for [`Timestamp::MAX`], which means never: the numbers of a column end in the year 2262.
const NEVER: i64 = i64::MAX;

impl FromSql for Moment {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            NEVER => Ok(Self(Timestamp::MAX)),
            nanoseconds => Timestamp::from_nanosecond(nanoseconds.into())
                .map(Self)
                .map_err(FromSqlError::other),
        }
    }
}

/// Nanoseconds since 1970 UTC.
pub(crate) fn moment(at: Timestamp) -> Result<i64, StoreError> {
    if at == Timestamp::MAX {
        return Ok(NEVER);
    }
    i64::try_from(at.as_nanosecond()).map_err(|_| StoreError::OutOfCalendar { at: at.to_string() })
}

/// An object as JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(FromSqlError::other)
    }
}

pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::unreadable("an object", error))
}
