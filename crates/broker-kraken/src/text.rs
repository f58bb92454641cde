//! Numbers and moments as Kraken writes them: in quotes or bare, never through a float. And what it says, as
//! others may read it.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What is kept of a text from outside: short, and nothing that could look like a line of the log.
pub(crate) fn on_one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The digits of a JSON number, or the text of a JSON string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn decimal(&self) -> Result<Decimal, Unreadable> {
        decimal(&self.0)
    }

    /// Seconds since 1970 with a fraction; digits beyond the nanosecond are cut off.
    pub(crate) fn moment(&self) -> Result<Timestamp, Unreadable> {
        let seconds = self.decimal()?;
        let refuse = || unreadable(&self.0, "a moment");
        let whole = i64::try_from(seconds.trunc()).map_err(|_| refuse())?;
        let nanoseconds = seconds
            .fract()
            .checked_mul(Decimal::from(1_000_000_000))
            .map(|nanoseconds| nanoseconds.trunc());
        let fraction = i32::try_from(nanoseconds.ok_or_else(refuse)?).map_err(|_| refuse())?;
        Timestamp::new(whole, fraction).map_err(|_| refuse())
    }

    /// As [`moment`](Self::moment); zero means that there is none.
    pub(crate) fn optional_moment(&self) -> Result<Option<Timestamp>, Unreadable> {
        if self.decimal()?.is_zero() {
            return Ok(None);
        }
        self.moment().map(Some)
    }

    pub(crate) fn unsigned(&self) -> Result<u64, Unreadable> {
        self.0.parse().map_err(|_| unreadable(&self.0, "a whole number"))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        match text.bytes().next() {
            Some(b'"') => serde_json::from_str(text).map(Self).map_err(D::Error::custom),
            Some(b'-' | b'0'..=b'9') => Ok(Self(text.to_owned())),
            _ => Err(D::Error::custom("neither a number nor a text")),
        }
    }
}

/// A text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub(crate) struct Unreadable {
    text: String,
    wanted: &'static str,
}

pub(crate) fn unreadable(text: &str, wanted: &'static str) -> Unreadable {
    Unreadable {
        text: text.chars().take(60).collect(),
        wanted,
    }
}

/// An exact decimal. Small JSON numbers may come with an exponent, so that is read too.
pub(crate) fn decimal(text: &str) -> Result<Decimal, Unreadable> {
    let plain = !text.is_empty()
        && text.len() <= 40
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"-.eE+".contains(&byte))
        && !text.starts_with('+');
    let parsed = if !plain {
        None
    } else if text.contains(['e', 'E']) {
        Decimal::from_scientific(text).ok()
    } else {
        Decimal::from_str_exact(text).ok()
    };
    parsed.ok_or_else(|| unreadable(text, "a decimal number"))
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn read(json: &str) -> Result<Text, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn i19_a_bare_number_keeps_every_digit() {
        for json in ["0.40", "\"0.40\""] {
            assert_eq!(read(json).unwrap().decimal().unwrap(), dec!(0.40));
        }
        assert_eq!(
            read("1772000000.123456789")
                .unwrap()
                .moment()
                .unwrap()
                .as_nanosecond(),
            1_772_000_000_123_456_789
        );
        assert_eq!(read("2.385e-05").unwrap().decimal().unwrap(), dec!(0.00002385));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for json in ["true", "{}", "[1]"] {
            assert!(read(json).is_err(), "{json}");
        }
        for json in [
            "\"\"",
            "\"NaN\"",
            "\"+1\"",
            "\"1,000\"",
            "\"0x1\"",
            "\"1 \"",
            "\"∞\"",
        ] {
            assert!(read(json).unwrap().decimal().is_err(), "{json}");
        }
    }

    #[test]
    fn a_missing_number_is_none() {
        #[derive(Deserialize)]
        struct Row {
            a: Option<Text>,
            b: Option<Text>,
        }
        let row: Row = serde_json::from_str(r#"{"a":null}"#).unwrap();

        assert_eq!((row.a, row.b), (None, None));
    }
}
