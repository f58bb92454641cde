//! The small object that a record carries: figures, words and ids, never a document.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bursar_model::text::is_shown;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

/// How many characters of a text from outside are kept.
pub const TEXT_LIMIT: usize = 200;

/// How many entries an object holds, and how many texts a list.
pub const ENTRY_LIMIT: usize = 40;

/// One value in a record's data. Decimals are texts, exact as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// Cut and escaped by [`outside`] where it was put in.
    Text(String),
    /// Written as a number; what does not fit has to be a text.
    Integer(i64),
    /// Written as true or false.
    Bool(bool),
    /// At most [`ENTRY_LIMIT`] of them.
    Texts(Vec<String>),
}

/// A small object. Keys are ours, short words such as `quantity`; texts come in through [`outside`].
///
/// What does not fit (more than 40 entries, more than 40 texts in a list) is left out and counted
/// in the entry `cut`: a record that is too long must not stop the change that it records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub(crate) entries: BTreeMap<Key, Value>,
}

/// A key, ordered as CBOR orders it: shorter first, then bytewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) String);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Data {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a text; anything that can be shown: an amount, an id, a state.
    #[must_use]
    pub fn text(self, key: &'static str, value: impl std::fmt::Display) -> Self {
        let value = Value::Text(outside(&value.to_string()));
        self.with(key, value)
    }

    /// With a text when there is one.
    #[must_use]
    pub fn optional(self, key: &'static str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// With a number.
    #[must_use]
    pub fn integer(self, key: &'static str, value: i64) -> Self {
        self.with(key, Value::Integer(value))
    }

    /// With a yes or no.
    #[must_use]
    pub fn flag(self, key: &'static str, value: bool) -> Self {
        self.with(key, Value::Bool(value))
    }

    /// With a list, for example the names of the rules that an order broke.
    #[must_use]
    pub fn texts<T: std::fmt::Display>(
        mut self,
        key: &'static str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let mut values = values.into_iter();
        let kept = values
            .by_ref()
            .take(ENTRY_LIMIT)
            .map(|value| outside(&value.to_string()))
            .collect();
        for _ in values {
            self.count_cut();
        }
        self.with(key, Value::Texts(kept))
    }

    /// `None` where there is no such entry, also because it was cut.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(&Key(key.to_owned()))
    }

    /// In the order in which they are encoded: shorter keys first, then bytewise.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.0.as_str(), value))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn with(mut self, key: &'static str, value: Value) -> Self {
        let key = Key(outside(key));
        // One place is kept for `cut`.
        if self.entries.len() < ENTRY_LIMIT - 1 || self.entries.contains_key(&key) {
            self.entries.insert(key, value);
        } else {
            self.count_cut();
        }
        self
    }

    fn count_cut(&mut self) {
        let cut = self
            .entries
            .entry(Key("cut".to_owned()))
            .or_insert(Value::Integer(0));
        if let Value::Integer(count) = cut {
            *count = count.saturating_add(1);
        }
    }
}

impl JsonSchema for Data {
    fn schema_name() -> Cow<'static, str> {
        "Data".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, Value>::json_schema(generator)
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Makes a text from outside fit for a record and for a line of a log: at most 200 characters,
/// nothing that breaks a line, moves the cursor or turns the reading direction. What is escaped is
/// written as `\u{…}`, a backslash as two; a text that was cut ends with `…`.
pub fn outside(text: &str) -> String {
    let mut kept = String::new();
    let mut length = 0_usize;
    for c in text.chars() {
        let shown = escape(c);
        let longer = length.saturating_add(shown.chars().count());
        if longer > TEXT_LIMIT {
            return cut(&kept);
        }
        kept.push_str(&shown);
        length = longer;
    }
    kept
}

/// Makes room for the mark of a cut, without leaving half an escape behind.
fn cut(kept: &str) -> String {
    let mut shortened = kept.to_owned();
    while shortened.chars().count() >= TEXT_LIMIT {
        let ends_in_escape = shortened
            .ends_with('}')
            .then(|| shortened.rfind("\\u{"))
            .flatten();
        let escaped_backslash = shortened
            .ends_with("\\\\")
            .then(|| shortened.len().saturating_sub(2));
        match ends_in_escape.or(escaped_backslash) {
            Some(start) => shortened.truncate(start),
            None => drop(shortened.pop()),
        }
    }
    shortened.push('…');
    shortened
}

fn escape(c: char) -> String {
    if c == '\\' {
        "\\\\".to_owned()
    } else if is_shown(c) {
        c.to_string()
    } else {
        c.escape_unicode().to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_from_outside_cannot_break_a_line_or_turn_it_around() {
        assert_eq!(outside("EOrder:bad\r\nfake=1"), "EOrder:bad\\u{d}\\u{a}fake=1");
        assert_eq!(outside("\u{202e}evil\u{1b}[2J"), "\\u{202e}evil\\u{1b}[2J");
        assert_eq!(outside("C:\\x"), "C:\\\\x");
        assert_eq!(
            outside("plain, with „quotes“ and 株"),
            "plain, with „quotes“ and 株"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let cut = outside(&"x".repeat(10_000));

        assert_eq!(cut.chars().count(), TEXT_LIMIT);
        assert!(cut.ends_with("x…"));
        assert_eq!(outside(&"x".repeat(200)), "x".repeat(200));
    }

    #[test]
    fn a_cut_leaves_no_half_escape() {
        for filler in 185..=200 {
            let cut = outside(&format!("{}\u{202e}\\\u{202e}", "x".repeat(filler)));
            assert!(cut.chars().count() <= TEXT_LIMIT);
            let rest = cut
                .trim_start_matches('x')
                .replace("\\u{202e}", "")
                .replace("\\\\", "");
            assert!(rest.is_empty() || rest == "…", "{filler}: {cut}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let data = Data::new().texts("rules", (0..45).map(|n| n.to_string()));

        assert_eq!(data.get("cut"), Some(&Value::Integer(5)));
        assert!(matches!(data.get("rules"), Some(Value::Texts(texts)) if texts.len() == ENTRY_LIMIT));
    }

    proptest! {
        #[test]
        fn every_text_fits_and_shows(text in any::<String>()) {
            let fit = outside(&text);
            prop_assert!(fit.chars().count() <= TEXT_LIMIT);
            prop_assert!(fit.chars().all(is_shown));
        }

        #[test]
        fn short_texts_stay_different(a in any::<String>(), b in any::<String>()) {
            let (fit_a, fit_b) = (outside(&a), outside(&b));
            prop_assume!(!fit_a.ends_with('…') && !fit_b.ends_with('…'));
            prop_assert_eq!(a == b, fit_a == fit_b);
        }
    }
}
