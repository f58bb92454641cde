use std::collections::BTreeSet;
use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

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
    /// Watches for `secret` as it is, in base64 by itself and in the middle of something longer, in
    /// hexadecimal, as a list of bytes, escaped for a URL and for JSON, and, when it is base64 itself,
    /// for what it decodes to.
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

    /// How the secret would look in each of its forms: for showing that a search finds them.
    pub fn forms(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.forms.iter().map(|(form, bytes)| (*form, bytes.as_slice()))
    }

    /// Every canary that is found in a place, each once per place.
    pub fn search(canaries: &[Self], places: &[(String, Vec<u8>)]) -> Vec<String> {
        let found = |(place, bytes): &(String, Vec<u8>)| -> Vec<String> {
            let leaks = canaries.iter().filter_map(|canary| canary.find(bytes));
            leaks.map(|leak| format!("{place}: {leak}")).collect()
        };
        places.iter().flat_map(found).collect()
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
    let bytes: Vec<String> = secret.iter().map(u8::to_string).collect();
    let mut forms = vec![
        ("itself", secret.to_vec()),
        ("base64", BASE64.encode(secret).into_bytes()),
        ("base64url", BASE64URL_NOPAD.encode(secret).into_bytes()),
        ("hexadecimal", HEXLOWER.encode(secret).into_bytes()),
        ("upper-case hexadecimal", HEXUPPER.encode(secret).into_bytes()),
        ("a list of bytes", bytes.join(", ").into_bytes()),
        ("a URL escape", url(secret, |_| false)),
        ("a URL escape", url(secret, |byte| b"-_.~".contains(&byte))),
        ("a JSON escape", json(secret, false)),
        ("a JSON escape", json(secret, true)),
    ];
    for before in 0..3 {
        forms.extend(inside(secret, before).map(|inside| ("base64 of something longer", inside)));
    }
    forms
}

/// All but letters and digits escaped, and what else is `plain`.
fn url(secret: &[u8], plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut url = String::new();
    for byte in secret {
        if byte.is_ascii_alphanumeric() || plain(*byte) {
            url.push(char::from(*byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url.into_bytes()
}

fn json(secret: &[u8], escape_slash: bool) -> Vec<u8> {
    let mut json = String::new();
    for letter in String::from_utf8_lossy(secret).chars() {
        match letter {
            '"' | '\\' => json.extend(['\\', letter]),
            '/' if escape_slash => json.push_str("\\/"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if u32::from(control) < 32 => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.into_bytes()
}

/// What is the same in base64 whatever stands around the secret, when `before` bytes of a group of
/// three stand in front of it.
fn inside(secret: &[u8], before: usize) -> Option<Vec<u8>> {
    let mut longer = vec![0; before];
    longer.extend_from_slice(secret);
    let text = BASE64_NOPAD.encode(&longer).into_bytes();
    // The group that it shares with what comes before, and the letter shared with what follows.
    let shared_end = usize::from(!longer.len().is_multiple_of(3));
    let end = text.len().checked_sub(shared_end)?;
    let shared_start = if before == 0 { 0 } else { 4 };
    text.get(shared_start..end).map(<[u8]>::to_vec)
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
            // As in a header of basic authentication, at every offset.
            BASE64.encode(format!("u:{secret}:x").as_bytes()),
            BASE64.encode(format!("us:{secret}:xy").as_bytes()),
            BASE64.encode(format!("use:{secret}").as_bytes()),
            format!("{:?}", secret.as_bytes()),
            format!("{decoded:?}"),
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
    fn i5_a_passphrase_is_found_as_programs_write_it() {
        let passphrase = "walnut \"harbour\"\tviolin e3f8";
        let canary = Canary::new("passphrase", passphrase);

        for written in [
            format!("{passphrase:?}"),
            "walnut%20%22harbour%22%09violin%20e3f8".to_owned(),
            "{\"p\":\"walnut \\\"harbour\\\"\\tviolin e3f8\"}".to_owned(),
        ] {
            assert!(canary.find(written.as_bytes()).is_some(), "{written}");
        }
    }

    #[test]
    fn i5_every_form_is_found_in_every_place_by_its_name() {
        let canary = Canary::new("key", "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSU");
        let places: Vec<(String, Vec<u8>)> = canary
            .forms()
            .map(|(form, bytes)| (form.to_owned(), [b"\xff x".as_slice(), bytes, b" y"].concat()))
            .collect();

        assert!(places.len() >= 12, "{} forms", places.len());
        assert_eq!(Canary::search(&[canary], &places).len(), places.len());
    }

    #[test]
    fn a_leak_does_not_show_the_secret() {
        let leak = Canary::new("key", "supersecretvalue")
            .find(b"x supersecretvalue")
            .unwrap();

        assert_eq!(leak.to_string(), "`key` was found as itself at byte 2");
    }
}
