//! Values of settings that are more than a number or a word.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use crate::node::{Node, shortened, text_nodes};
use crate::reader::Reader;

macro_rules! time_span {
    ($(#[$doc:meta])* $name:ident, $duration:path, $milliseconds:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// As a whole number of the setting's unit.
            pub fn duration(self) -> Duration {
                $duration(u64::from(self.0))
            }

            /// In milliseconds, whatever the unit of the setting.
            pub fn milliseconds(self) -> i64 {
                i64::from(self.0).saturating_mul($milliseconds)
            }

            /// A check: a time that is not zero.
            pub(crate) fn some(&self) -> Result<(), String> {
                (self.0 > 0)
                    .then_some(())
                    .ok_or_else(|| "is 0, but a time that is not zero belongs here".to_owned())
            }
        }

        impl Node for $name {
            fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
                self.0.read_over(value, reader);
            }

            fn written(&self) -> Option<String> {
                self.0.written()
            }

            fn schema(&self) -> Value {
                self.0.schema()
            }
        }
    };
}

time_span! {
    /// A span of time in a setting that ends in `_s`.
    Seconds, Duration::from_secs, 1_000
}
time_span! {
    /// A span of time in a setting that ends in `_ms`.
    Milliseconds, Duration::from_millis, 1
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $fits:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// As it is written; it has been checked.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(format!("`{}` is not {}", shortened(text), $rule))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

checked_text! {
    /// A text on one line that is not empty.
    Text,
    |text| !text.is_empty() && text.len() <= 1_000 && !text.chars().any(char::is_control),
    "a text of 1 to 1000 bytes on one line"
}
checked_text! {
    /// A short name, for example of a strategy.
    Name,
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'),
    "a name: use 1 to 64 of a-z, 0-9, `-` and `_`"
}
checked_text! {
    /// The name of a time zone. Only its form is checked here: whether the machine knows the zone, the
    /// binary says.
    ZoneName,
    |text| text.len() <= 64
        && text.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
        }),
    "the name of a time zone such as UTC or Europe/Stockholm"
}
checked_text! {
    /// Where a broker is reached: HTTPS, or plain HTTP on this machine.
    BaseUrl,
    base_url_fits,
    "a base URL: write https://HOST, or http:// with 127.0.0.1, localhost or [::1]; \
     no name or password, no query, no slash at the end"
}

checked_text! {
    /// A machine on the network. Only its form is checked here.
    HostName,
    host_fits,
    "the name or the address of a machine, such as mail.example.com, 192.0.2.1 or [2001:db8::1]"
}
checked_text! {
    /// An address for e-mail.
    MailAddress,
    mail_address_fits,
    "an e-mail address: write it like name@example.com, at most 254 ASCII characters"
}
checked_text! {
    /// The name under which a server knows this program.
    Login,
    |text| (1..=254).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()),
    "a user name: 1 to 254 ASCII characters without spaces"
}
checked_text! {
    /// The path of a file, relative to the working directory.
    FilePath,
    |text| !text.is_empty() && text.len() <= 1_000 && !text.chars().any(char::is_control),
    "the path of a file"
}
checked_text! {
    /// Where a program takes what is sent to it: HTTPS, or plain HTTP on this machine.
    WebhookUrl,
    webhook_url_fits,
    "the URL of a webhook: write https://HOST/PATH, or http:// with 127.0.0.1, localhost or [::1]; \
     no name or password, no `#`"
}
checked_text! {
    /// A chat in Telegram.
    ChatId,
    chat_fits,
    "a chat: write its number, such as -1001234567890, or its name with `@`"
}

impl Text {
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self(text.into())
    }
}

impl Name {
    pub(crate) fn fixed(name: &'static str) -> Self {
        Self(name.into())
    }
}

impl ZoneName {
    pub(crate) fn utc() -> Self {
        Self("UTC".into())
    }
}

fn base_url_fits(text: &str) -> bool {
    let plain = text.len() <= 200
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.contains(['@', '?', '#', '\\'])
        && !text.ends_with('/');
    let host_of = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
    let without_port = |host: String| match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name.to_owned(),
        _ => host,
    };
    if let Some(rest) = text.strip_prefix("https://") {
        let host = without_port(host_of(rest));
        plain && !host.is_empty() && (!host.contains(':') || host.starts_with('['))
    } else if let Some(rest) = text.strip_prefix("http://") {
        plain && THIS_MACHINE.contains(&without_port(host_of(rest)).as_str())
    } else {
        false
    }
}

impl HostName {
    /// Whether it is this machine, whatever a name server says.
    pub fn is_this_machine(&self) -> bool {
        THIS_MACHINE.contains(&self.as_str())
    }
}

impl WebhookUrl {
    /// Whether what is sent there is not encrypted.
    pub fn is_plain(&self) -> bool {
        self.as_str().starts_with("http://")
    }
}

const THIS_MACHINE: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

fn host_fits(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return (2..=45).contains(&address.len())
            && address.contains(':')
            && address
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b":.".contains(&b));
    }
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn mail_address_fits(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else {
        return false;
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    text.len() <= 254
        && (1..=64).contains(&local.len())
        && local.bytes().all(is_plain)
        && local.split('.').all(|part| !part.is_empty())
        && !host.starts_with('[')
        && host_fits(host)
}

fn webhook_url_fits(text: &str) -> bool {
    let plain =
        text.len() <= 1_000 && text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['#', '\\']);
    let authority = |rest: &str| rest.split(['/', '?']).next().unwrap_or_default().to_owned();
    let host = |authority: &str| match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => authority.to_owned(),
    };
    if let Some(rest) = text.strip_prefix("https://") {
        plain && host_fits(&host(&authority(rest)))
    } else if let Some(rest) = text.strip_prefix("http://") {
        plain && THIS_MACHINE.contains(&host(&authority(rest)).as_str())
    } else {
        false
    }
}

fn chat_fits(text: &str) -> bool {
    if let Some(name) = text.strip_prefix('@') {
        return (5..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Which store is used, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreUrl {
    /// One file on a local disk, as the path is written: relative to the working directory.
    Sqlite {
        /// Not checked for being there; may hold spaces.
        path: Box<str>,
    },
}

impl FromStr for StoreUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("sqlite:").filter(|path| {
            !path.is_empty() && !path.contains(['?', '#']) && !path.chars().any(char::is_control)
        });
        match path {
            Some(path) => Ok(Self::Sqlite { path: path.into() }),
            None => Err(format!(
                "`{}` is not the URL of a store: write sqlite: and a path, such as sqlite:bursar-data/bursar.db",
                shortened(text)
            )),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => f.pad(&format!("sqlite:{path}")),
        }
    }
}

impl Serialize for StoreUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

text_nodes!(Text, Name, ZoneName, StoreUrl);

macro_rules! optional_texts {
    ($($name:ty, $example:literal, $schema:tt;)+) => { $(
        /// Nothing unless it is set.
        impl Node for Option<$name> {
            fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
                if let Some(text) = crate::node::read_text(value, reader) {
                    *self = Some(text);
                }
            }

            fn written(&self) -> Option<String> {
                self.as_ref()
                    .map(|text| toml::Value::String(text.to_string()).to_string())
            }

            fn example(&self) -> Option<String> {
                Some(toml::Value::String($example.to_owned()).to_string())
            }

            fn schema(&self) -> Value {
                serde_json::json!($schema)
            }
        }
    )+ };
}

optional_texts! {
    BaseUrl, "https://HOST", { "type": "string", "format": "uri" };
    Text, "/mnt/elsewhere/bursar-checkpoints", { "type": "string" };
    HostName, "mail.example.com", { "type": "string" };
    MailAddress, "name@example.com", { "type": "string", "format": "email" };
    Login, "bursar", { "type": "string" };
    FilePath, "/etc/bursar/FILE", { "type": "string" };
    WebhookUrl, "https://HOST/PATH", { "type": "string", "format": "uri" };
    ChatId, "-1001234567890", { "type": "string" };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_https_or_on_this_machine() {
        for text in [
            "https://api.example.com",
            "https://api.example.com:8443/v2",
            "http://127.0.0.1:4100",
            "http://localhost",
            "http://[::1]:4100",
        ] {
            assert!(text.parse::<BaseUrl>().is_ok(), "`{text}` was refused");
        }
        for text in [
            "",
            "api.example.com",
            "https://",
            "https:///x",
            "http://api.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com",
            "https://api.example.com/",
            "https://me:secret@api.example.com",
            "https://api.example.com?x=1",
            "ftp://example.com",
            "https://api example.com",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn a_store_is_a_file() {
        let url: StoreUrl = "sqlite:/var/lib/bursar/bursar.db".parse().unwrap();

        assert_eq!(url.to_string(), "sqlite:/var/lib/bursar/bursar.db");
        for text in [
            "",
            "sqlite:",
            "postgres://localhost/bursar",
            "bursar.db",
            "sqlite:x?mode=ro",
        ] {
            assert!(text.parse::<StoreUrl>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn a_zone_is_a_name_and_never_a_path() {
        for text in [
            "UTC",
            "Europe/Stockholm",
            "America/Argentina/Ushuaia",
            "Etc/GMT+3",
        ] {
            assert!(text.parse::<ZoneName>().is_ok(), "`{text}` was refused");
        }
        for text in [
            "",
            "/etc/localtime",
            "../UTC",
            "Europe/",
            "Europe Stockholm",
            "+02:00",
        ] {
            assert!(text.parse::<ZoneName>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn a_webhook_is_https_or_on_this_machine() {
        for text in [
            "https://hooks.example.com",
            "https://hooks.example.com:8443/in?from=bursar",
            "https://192.0.2.1/in",
            "https://[2001:db8::1]/in",
            "http://127.0.0.1:4100/in",
        ] {
            assert!(text.parse::<WebhookUrl>().is_ok(), "`{text}` was refused");
        }
        for text in [
            "",
            "https://",
            "http://hooks.example.com/in",
            "http://127.0.0.1.example.com/in",
            "http://127.0.0.1@example.com/in",
            "https://me:secret@hooks.example.com/in",
            "https://hooks.example.com/in#x",
            "https://hooks.example.com\\@example.com/in",
            "https://hooks example.com/in",
            "ftp://hooks.example.com/in",
        ] {
            assert!(text.parse::<WebhookUrl>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn an_address_for_mail_is_plain() {
        for text in ["ops@example.com", "ops.desk+bursar@mail.example.com"] {
            assert!(text.parse::<MailAddress>().is_ok(), "`{text}` was refused");
        }
        for text in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "ops..desk@example.com",
            "ops@example.com\r\nBcc: x@example.com",
            "Ops <ops@example.com>",
            "ops@example.com,x@example.com",
            "ops@[127.0.0.1]",
        ] {
            assert!(text.parse::<MailAddress>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn a_chat_is_a_number_or_a_name() {
        for text in ["1234", "-1001234567890", "@bursar_ops"] {
            assert!(text.parse::<ChatId>().is_ok(), "`{text}` was refused");
        }
        for text in ["", "-", "@", "@ops", "bursar_ops", "12 34", "1.5"] {
            assert!(text.parse::<ChatId>().is_err(), "`{text}` was accepted");
        }
    }
}
