use std::collections::BTreeSet;
use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// A secret that must not be found anywhere but sealed, in the forms in which it could slip out.
pub struct Canary {
    name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

/// A secret that was found where none may be. Names it; never shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    pub name: String,
    pub form: &'static str,
    pub at_byte: usize,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` was found as {} at byte {}",
            self.name, self.form, self.at_byte
        )
    }
}

impl Canary {
    /// Watches for `secret` as it is, in base64, in hexadecimal, escaped for a URL and for JSON, and,
    /// when it is base64 itself, for what it decodes to.
    pub fn new(name: &str, secret: &str) -> Self {
        let mut forms = encodings(secret.as_bytes());
        if let Ok(decoded) = BASE64.decode(secret.as_bytes()) {
            forms.extend(encodings(&decoded));
        }
        // Shorter texts turn up by chance; a form equal to an earlier one adds nothing.
        let mut seen = BTreeSet::new();
        forms.retain(|(_, bytes)| bytes.len() >= 8 && seen.insert(bytes.clone()));
        Self {
            name: name.to_owned(),
            forms,
        }
    }

    /// The first place at which the secret stands in `haystack`.
    pub fn find(&self, haystack: &[u8]) -> Option<Leak> {
        // One look at every byte, then only where a form could begin: a store has millions of them.
        let mut begins = [false; 256];
        for (_, needle) in &self.forms {
            let first = needle.first().map(|first| usize::from(*first));
            if let Some(begins) = first.and_then(|first| begins.get_mut(first)) {
                *begins = true;
            }
        }
        let may_begin = |byte: &u8| begins.get(usize::from(*byte)).copied().unwrap_or_default();
        let places: Vec<usize> = haystack
            .iter()
            .enumerate()
            .filter(|(_, byte)| may_begin(byte))
            .map(|(at, _)| at)
            .collect();
        self.forms.iter().find_map(|(form, needle)| {
            let here = |at: &&usize| haystack.get(**at..).is_some_and(|rest| rest.starts_with(needle));
            let at_byte = *places.iter().find(here)?;
            Some(Leak {
                name: self.name.clone(),
                form,
                at_byte,
            })
        })
    }
}

fn encodings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut url = String::new();
    for byte in secret {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(*byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    let json = String::from_utf8_lossy(secret).replace('/', "\\/");
    vec![
        ("itself", secret.to_vec()),
        ("base64", BASE64.encode(secret).into_bytes()),
        ("base64url", BASE64URL_NOPAD.encode(secret).into_bytes()),
        ("hexadecimal", HEXLOWER.encode(secret).into_bytes()),
        ("upper-case hexadecimal", HEXUPPER.encode(secret).into_bytes()),
        ("a URL escape", url.into_bytes()),
        ("a JSON escape", json.into_bytes()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_a_secret_is_found_in_each_of_its_forms() {
        let secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSU";
        let canary = Canary::new("key", secret);
        let decoded = BASE64.decode(secret.as_bytes()).unwrap();
        let places = [
            secret.to_owned(),
            BASE64.encode(secret.as_bytes()),
            HEXLOWER.encode(&decoded),
            secret.replace('/', "%2F"),
            secret.replace('/', "\\/"),
        ];

        for place in places {
            assert!(
                canary.find(format!("before {place} after").as_bytes()).is_some(),
                "{place}"
            );
        }
        assert_eq!(canary.find(b"nothing here"), None);
    }

    #[test]
    fn a_leak_does_not_show_the_secret() {
        let leak = Canary::new("key", "supersecretvalue")
            .find(b"x supersecretvalue")
            .unwrap();

        assert_eq!(leak.to_string(), "`key` was found as itself at byte 2");
    }
}
