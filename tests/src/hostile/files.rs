//! What people write: settings, command lines, keys on standard input, files of the local exchange.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

use bursar::arguments;
use bursar::commands::credentials::EnteredKey;
use bursar::commands::onboarding::count_listed;
use bursar_config::Settings;
use bursar_keystore::{KeyStore, SecretEncoding, SignError};
use bursar_sandbox::{Customers, FaultPlan};

/// Settings that are read are read again from what they are printed as; a mistake is told with its line.
pub(super) fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match bursar_config::check(text, "bursar.toml") {
        Ok((settings, warnings)) => {
            let printed = settings.to_toml();
            match Settings::parse(&printed, "printed.toml") {
                Ok(again) => assert_eq!(again, settings, "printed as\n{printed}"),
                Err(error) => unreachable!("printed settings are not read: {error}\n{printed}"),
            }
            drop(warnings);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// One argument a line. What a mistake repeats cannot steer a terminal.
pub(super) fn arguments(data: &[u8]) {
    let typed = super::lines(data).into_iter().map(OsString::from);
    let line = std::iter::once(OsString::from("bursar")).chain(typed);
    if let arguments::Read::Wrong(wrong) = arguments::read(line) {
        assert!(
            !wrong.message.contains(char::is_control),
            "{:?}",
            wrong.message.as_bytes()
        );
        // The styles of our own words are ours; nothing else may begin an escape.
        let ours = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[4m", "\u{1b}[31m"];
        let mut rest = wrong.text;
        for style in ours {
            rest = rest.replace(style, "");
        }
        let foreign = |c: char| c.is_control() && c != '\n';
        assert!(!rest.contains(foreign), "{:?}", rest.as_bytes());
    }
}

fn key_store() -> &'static KeyStore {
    static STORE: OnceLock<KeyStore> = OnceLock::new();
    STORE.get_or_init(|| super::key_store(1).0)
}

/// What the reader of JSON says of a form that is none, without its digits: none of it is of the input.
const FORMS: [&str; 21] = [
    "EOF while parsing a list",
    "EOF while parsing an object",
    "EOF while parsing a string",
    "EOF while parsing a value",
    "expected `:`",
    "expected `,` or `]`",
    "expected `,` or `}`",
    "expected `\"`",
    "expected ident",
    "expected value",
    "invalid escape",
    "invalid number",
    "number out of range",
    "invalid unicode code point",
    "control character (\\u-\\uF) found while parsing a string",
    "key must be a string",
    "lone leading surrogate in hex escape",
    "trailing comma",
    "trailing characters",
    "unexpected end of hex escape",
    "recursion limit exceeded",
];

/// A mistake in a key is told by its place; whatever is taken can be asked for a signature.
pub(super) fn entered_key(data: &[u8]) {
    let Ok(text) = String::from_utf8(data.to_vec()) else {
        return;
    };
    let typed = text.clone();
    match EnteredKey::parse(text) {
        Err(failure) => {
            // Beside the place it says what is wrong in words of its own, so nothing of the input is repeated.
            let place = |c: char| c.is_ascii_digit();
            let message: String = failure.message().chars().filter(|c| !place(*c)).collect();
            let told = message.strip_prefix("standard input is not a key: line , column ");
            let ours = [
                "api_key",
                "api_secret",
                "passphrase",
                "customer",
                "balances",
                "rights",
                "url",
            ];
            let is_ours = told.is_some_and(|told| {
                told.is_empty()
                    || told == ": a field that does not belong there"
                    || told == ": a value of another kind than belongs there"
                    || (told.strip_prefix(": this is not JSON: ")).is_some_and(|form| FORMS.contains(&form))
                    || ours.iter().any(|field| {
                        [
                            format!(": missing field `{field}`"),
                            format!(": duplicate field `{field}`"),
                        ]
                        .iter()
                        .any(|known| known == told)
                    })
            });
            assert!(is_ours, "{message}: {typed:?}");
        }
        Ok(key) => {
            let Ok(staged) = key_store().stage(&key.material()) else {
                return;
            };
            // What is kept readable of a key: its last four characters.
            assert!(staged.public_key_hint().len() <= 4);
            let signer = staged.signer();
            for encoding in [SecretEncoding::Text, SecretEncoding::Base64] {
                let signed = signer.hmac_sha512(encoding, &[b"hostile"]);
                assert!(
                    matches!(signed, Ok(_) | Err(SignError::Encoding)),
                    "{:?}",
                    signed.err()
                );
            }
        }
    }
}

/// A list names somebody or is a mistake, which cannot steer a terminal.
pub(super) fn user_lists(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for name in ["users.json", "users.toml"] {
        match count_listed(text, Path::new(name)) {
            Ok(users) => assert!(users > 0, "{name}"),
            Err(failure) => {
                let foreign = |c: char| c.is_control() && c != '\n';
                assert!(!failure.message().contains(foreign), "{:?}", failure.message());
                assert!(!failure.hint().is_empty());
            }
        }
    }
}

/// Customers and faults of the local exchange.
pub(super) fn sandbox(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let told = [
        Customers::from_toml(text).err().map(|error| error.to_string()),
        Customers::from_json(text).err().map(|error| error.to_string()),
        FaultPlan::from_toml(text).err().map(|error| error.to_string()),
    ];
    assert!(told.iter().flatten().all(|told| !told.is_empty()));
}
