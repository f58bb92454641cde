//! JSON as the exchange writes it: members in a fixed order, numbers as their exact text.
//!
//! The order matters for equal replies to equal requests; the exact text matters because a time
//! with six decimals does not survive a binary float.

use std::fmt::{self, Display, Write};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// The number's text, written as it is.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn text(value: impl Display) -> Self {
        Self::Text(value.to_string())
    }

    pub(crate) fn number(value: impl Display) -> Self {
        Self::Number(value.to_string())
    }

    pub(crate) fn optional(value: Option<impl Display>) -> Self {
        value.map_or(Self::Null, Self::text)
    }

    pub(crate) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    pub(crate) fn object<Name: Into<String>>(members: impl IntoIterator<Item = (Name, Self)>) -> Self {
        Self::Object(
            members
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }

    /// Adds a member to an object; does nothing to other values.
    pub(crate) fn push(&mut self, name: impl Into<String>, value: Self) {
        if let Self::Object(members) = self {
            members.push((name.into(), value));
        }
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(text) => f.write_str(text),
            Self::Text(text) => write_text(f, text),
            Self::List(items) => {
                f.write_char('[')?;
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        f.write_char(',')?;
                    }
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (position, (name, value)) in members.iter().enumerate() {
                    if position > 0 {
                        f.write_char(',')?;
                    }
                    write_text(f, name)?;
                    f.write_char(':')?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if u32::from(control) < 0x20 => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let json = Json::object([
            ("a\"b", Json::text("line\nbreak \\ \u{1} ü")),
            ("n", Json::number("1772000000.123456")),
            ("l", Json::list([Json::Null, Json::Bool(true)])),
        ]);

        let read: serde_json::Value = serde_json::from_str(&json.to_string()).unwrap();

        assert_eq!(read["a\"b"], "line\nbreak \\ \u{1} ü");
        assert!(json.to_string().contains("1772000000.123456"));
    }
}
