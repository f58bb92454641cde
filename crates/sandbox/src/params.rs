//! What a request asks for: form and JSON bodies, read into one shape.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::moment::Moment;
use crate::refusal::Refusal;

/// Named values of a request. JSON arrays and objects keep their text until somebody asks for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    values: BTreeMap<String, String>,
    nested: BTreeMap<String, Box<RawValue>>,
    is_form: bool,
    /// When the request came in, where that is not when it is dealt with.
    pub(crate) received: Option<Moment>,
}

impl Params {
    /// Reads `a=1&b=2`, percent-decoded; `+` is a space. Of a repeated name the last value counts.
    pub(crate) fn from_form(text: &str) -> Self {
        let values = text
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                (percent_decode(name), percent_decode(value))
            })
            .collect();
        Self {
            values,
            is_form: true,
            ..Self::default()
        }
    }

    /// Reads a JSON object. Numbers keep their text; `{"close":{"price":…}}` becomes `close[price]`.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(bytes).map_err(|_| Refusal::BadRequest)?;
        let mut params = Self::default();
        for (name, raw) in members {
            params.insert_json(name, raw)?;
        }
        Ok(params)
    }

    fn insert_json(&mut self, name: String, raw: Box<RawValue>) -> Result<(), Refusal> {
        let text = raw.get();
        match text.bytes().next() {
            Some(b'"') => {
                let value: String = serde_json::from_str(text).map_err(|_| Refusal::BadRequest)?;
                self.values.insert(name, value);
            }
            Some(b'n') => {}
            Some(b'{') => {
                let members: BTreeMap<String, Box<RawValue>> =
                    serde_json::from_str(text).map_err(|_| Refusal::BadRequest)?;
                for (inner, raw) in members {
                    if !raw.get().starts_with(['{', '[']) {
                        self.insert_json(format!("{name}[{inner}]"), raw)?;
                    }
                }
            }
            Some(b'[') => {
                self.nested.insert(name, raw);
            }
            _ => {
                self.values.insert(name, text.to_owned());
            }
        }
        Ok(())
    }

    /// The value of `name`; an empty value is as good as none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether a switch is on. In a form the word `false` may count as on: see the settings.
    pub(crate) fn flag(&self, name: &str, presence_counts: bool) -> bool {
        match self.get(name) {
            None => false,
            Some("false" | "0" | "False") => self.is_form && presence_counts,
            Some(_) => true,
        }
    }

    /// The objects in the JSON array `name`, each as parameters of its own.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        let raw = self.nested.get(name).ok_or(Refusal::InvalidArguments(""))?;
        let items: Vec<&RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| Refusal::InvalidArguments(""))?;
        items
            .into_iter()
            .map(|item| Self::from_json(item.get().as_bytes()).map_err(|_| Refusal::InvalidArguments("")))
            .collect()
    }

    /// The strings or numbers in the JSON array `name`, as text; `None` when there is no such array.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(raw) = self.nested.get(name) else {
            return Ok(None);
        };
        let items: Vec<&RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| Refusal::InvalidArguments(""))?;
        let read = |item: &RawValue| {
            if item.get().starts_with('"') {
                serde_json::from_str(item.get()).map_err(|_| Refusal::InvalidArguments(""))
            } else {
                Ok(item.get().to_owned())
            }
        };
        items.into_iter().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// Sets a value, as if the client had sent it.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }
}

fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let rest = bytes.clone();
                let digits: Option<Vec<u8>> = rest.take(2).map(hex_digit).collect();
                match digits.as_deref() {
                    Some([high, low]) => {
                        decoded.push(high * 16 + low);
                        bytes.nth(1);
                    }
                    _ => decoded.push(b'%'),
                }
            }
            other => decoded.push(other),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_a_bare_plus_is_a_space() {
        let params = Params::from_form("a=%2B60&b=+60&close%5Bprice%5D=1.5&close[price2]=2&c=100%&d=%zz&e");

        assert_eq!(params.get("a"), Some("+60"));
        assert_eq!(params.get("b"), Some(" 60"));
        assert_eq!(params.get("close[price]"), Some("1.5"));
        assert_eq!(params.get("close[price2]"), Some("2"));
        assert_eq!(params.get("c"), Some("100%"));
        assert_eq!(params.get("d"), Some("%zz"));
        assert_eq!(params.get("e"), None);
    }

    #[test]
    fn json_numbers_keep_their_text_and_objects_become_bracketed_names() {
        let params = Params::from_json(
            br#"{"nonce":1735689600000000005,"price":60000.10,"close":{"price":"1"},"validate":false,"x":null,"orders":["A",7]}"#,
        )
        .unwrap();

        assert_eq!(params.get("nonce"), Some("1735689600000000005"));
        assert_eq!(params.get("price"), Some("60000.10"));
        assert_eq!(params.get("close[price]"), Some("1"));
        assert!(!params.flag("validate", true));
        assert_eq!(params.get("x"), None);
        assert_eq!(params.texts("orders").unwrap().unwrap(), ["A", "7"]);
        assert!(Params::from_json(b"[1]").is_err());
    }

    #[test]
    fn the_word_false_in_a_form_counts_as_present_when_asked_to() {
        let params = Params::from_form("validate=false");

        assert!(params.flag("validate", true));
        assert!(!params.flag("validate", false));
    }
}
