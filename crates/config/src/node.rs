//! How one setting is read, written and described.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use bursar_model::{AccountId, Asset, Usd, decimal};
use jiff::civil::{Date, Time};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::reader::Reader;

/// A setting, or a section of settings.
pub(crate) trait Node {
    /// Takes over what the text says; what is wrong is told to the reader, and leaves the value.
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>);

    /// The value as it is written in a settings file; `None` for a section.
    fn written(&self) -> Option<String>;

    /// The JSON Schema of the value.
    fn schema(&self) -> Value;

    /// What could be written here, where there is nothing to write.
    fn example(&self) -> Option<String> {
        None
    }

    /// Writes a section, its header included; a single setting has none to write.
    fn render_section(&self, _path: &str, _doc: &[&str], _out: &mut String) {}

    /// Adds the full name of everything that can be set at and below `path`.
    fn names(&self, path: &str, names: &mut Vec<String>) {
        names.push(path.to_owned());
    }
}

/// What a value is, in words.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// A piece of a wrong value, as far as a message repeats it.
pub(crate) fn shortened(text: &str) -> String {
    text.chars()
        .take(60)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Reads a plain decimal, in quotes or not.
fn read_decimal(value: &DeValue<'_>) -> Result<Decimal, String> {
    let text = match value {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        DeValue::String(text) => text,
        other => return Err(format!("is {}, but a number belongs here", kind(other))),
    };
    decimal::parse(text).map_err(|_| {
        format!(
            "is `{}`, but a plain number such as 2.5 belongs here",
            shortened(text)
        )
    })
}

impl Node for Decimal {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        match read_decimal(value.get_ref()) {
            Ok(number) => *self = number,
            Err(message) => reader.wrong(message),
        }
    }

    fn written(&self) -> Option<String> {
        let number = self.normalize();
        Some(match number.scale() {
            0 => number.to_string(),
            _ => quoted(&number.to_string()),
        })
    }

    fn schema(&self) -> Value {
        json!({ "type": ["number", "string"], "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$" })
    }
}

impl Node for Usd {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        let mut amount = self.amount();
        amount.read_over(value, reader);
        *self = Self::new(amount);
    }

    fn written(&self) -> Option<String> {
        self.amount().written()
    }

    fn schema(&self) -> Value {
        self.amount().schema()
    }
}

/// An amount that may also be "none": no limit, which is not a limit of zero.
impl Node for Option<Usd> {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        match value.get_ref() {
            DeValue::String(text) if text == "none" => *self = None,
            number => match read_decimal(number) {
                Ok(number) => *self = Some(Usd::new(number)),
                Err(message) => reader.wrong(format_args!("{message}, or \"none\"")),
            },
        }
    }

    fn written(&self) -> Option<String> {
        Some(match self {
            Some(amount) => amount.written()?,
            None => quoted("none"),
        })
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [Usd::ZERO.schema(), { "const": "none" }] })
    }
}

impl Node for u32 {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        match value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => match integer.as_str().parse() {
                Ok(number) => *self = number,
                Err(_) => reader.wrong(format_args!(
                    "is {}, but a whole number from 0 to {} belongs here",
                    shortened(integer.as_str()),
                    Self::MAX
                )),
            },
            other => reader.wrong(format_args!(
                "is {}, but a whole number belongs here",
                kind(other)
            )),
        }
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": Self::MAX })
    }
}

impl Node for bool {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        match value.get_ref() {
            DeValue::Boolean(value) => *self = *value,
            other => reader.wrong(format_args!("is {}, but true or false belongs here", kind(other))),
        }
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }
}

/// Reads a value that is written as a text and knows itself what it accepts.
pub(crate) fn read_text<T: FromStr<Err: Display>>(
    value: &Spanned<DeValue<'_>>,
    reader: &mut Reader<'_>,
) -> Option<T> {
    match value.get_ref() {
        DeValue::String(text) => match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                reader.wrong(format_args!("cannot be used: {error}"));
                None
            }
        },
        other => {
            reader.wrong(format_args!(
                "is {}, but a text in quotes belongs here",
                kind(other)
            ));
            None
        }
    }
}

/// Settings that are written as a text: `FromStr` reads, `Display` writes.
macro_rules! text_nodes {
    ($($name:ty),+ $(,)?) => { $(
        impl $crate::node::Node for $name {
            fn read_over(
                &mut self,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut $crate::reader::Reader<'_>,
            ) {
                if let Some(value) = $crate::node::read_text(value, reader) {
                    *self = value;
                }
            }

            fn written(&self) -> Option<String> {
                Some(toml::Value::String(self.to_string()).to_string())
            }

            fn schema(&self) -> serde_json::Value {
                serde_json::json!({ "type": "string" })
            }
        }
    )+ };
}
pub(crate) use text_nodes;

/// A choice between words, written as a text.
macro_rules! word_node {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize,
            strum::Display, strum::EnumString, strum::EnumIter, strum::VariantNames,
        )]
        #[serde(rename_all = "kebab-case")]
        #[strum(serialize_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $crate::node::Node for $name {
            fn read_over(
                &mut self,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut $crate::reader::Reader<'_>,
            ) {
                if let Some(index) = $crate::node::read_word(value, <Self as strum::VariantNames>::VARIANTS, reader)
                    && let Some(word) = <Self as strum::IntoEnumIterator>::iter().nth(index)
                {
                    *self = word;
                }
            }

            fn written(&self) -> Option<String> {
                Some(format!("\"{self}\""))
            }

            fn schema(&self) -> serde_json::Value {
                serde_json::json!({ "enum": <Self as strum::VariantNames>::VARIANTS })
            }
        }
    };
}
pub(crate) use word_node;

/// Which of `words` the text says.
pub(crate) fn read_word(
    value: &Spanned<DeValue<'_>>,
    words: &[&str],
    reader: &mut Reader<'_>,
) -> Option<usize> {
    let said = match value.get_ref() {
        DeValue::String(text) => format!("`{}`", shortened(text)),
        other => kind(other).to_owned(),
    };
    let index = words
        .iter()
        .position(|word| value.get_ref().as_str() == Some(*word));
    if index.is_none() {
        reader.wrong(format_args!(
            "is {said}, but one of {} belongs here",
            words.join(", ")
        ));
    }
    index
}

impl Node for Date {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        let text = match value.get_ref() {
            DeValue::Datetime(datetime) => datetime.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        match text.parse() {
            Ok(date) if text.len() == 10 => *self = date,
            Ok(_) | Err(_) => reader.wrong("is not a date such as 2026-11-20"),
        }
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "format": "date" })
    }
}

impl Node for Time {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        let text = match value.get_ref() {
            DeValue::Datetime(datetime) => datetime.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        let to_the_minute = |time: &Self| time.second() == 0 && time.subsec_nanosecond() == 0;
        match text.parse() {
            Ok(time) if to_the_minute(&time) && text.len() <= 8 => *self = time,
            Ok(_) | Err(_) => reader.wrong("is not a time of day such as \"17:00\""),
        }
    }

    fn written(&self) -> Option<String> {
        Some(format!("\"{:02}:{:02}\"", self.hour(), self.minute()))
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9](:00)?$" })
    }
}

macro_rules! set_node {
    ($($item:ty),+) => {$(
        impl Node for BTreeSet<$item> {
            fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
                if let Some(items) = read_set(value, reader) {
                    *self = items;
                }
            }

            fn written(&self) -> Option<String> {
                Some(written_set(self))
            }

            fn schema(&self) -> Value {
                json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true })
            }
        }
    )+};
}

set_node!(Asset, AccountId);

/// Reads a list of texts, none of which may come twice.
pub(crate) fn read_set<T: FromStr<Err: Display> + Ord + Display>(
    value: &Spanned<DeValue<'_>>,
    reader: &mut Reader<'_>,
) -> Option<BTreeSet<T>> {
    let DeValue::Array(items) = value.get_ref() else {
        reader.wrong(format_args!(
            "is {}, but a list such as [\"A\", \"B\"] belongs here",
            kind(value.get_ref())
        ));
        return None;
    };
    let mut set = BTreeMap::new();
    for item in items {
        let parsed: T = read_text(item, reader)?;
        let written = shortened(item.get_ref().as_str().unwrap_or_default());
        if let Some(before) = set.insert(parsed, written.clone()) {
            reader.wrong(format_args!(
                "names the same twice: as `{before}` and as `{written}`"
            ));
            return None;
        }
    }
    Some(set.into_keys().collect())
}

pub(crate) fn written_set<T: Display>(set: &BTreeSet<T>) -> String {
    let items: Vec<String> = set.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}
