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
            pub fn duration(self) -> Duration {
                $duration(u64::from(self.0))
            }

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
    /// The name of a time zone. Only its form is checked here: whether the machine knows the zone is
    /// for the binary to find out.
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
        plain && ["127.0.0.1", "localhost", "[::1]"].contains(&without_port(host_of(rest)).as_str())
    } else {
        false
    }
}

/// Which store is used, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreUrl {
    /// One file on a local disk, as the path is written: relative to the working directory.
    Sqlite { path: Box<str> },
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

/// A base URL that is built in unless it is set.
impl Node for Option<BaseUrl> {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        if let Some(url) = crate::node::read_text(value, reader) {
            *self = Some(url);
        }
    }

    fn written(&self) -> Option<String> {
        self.as_ref()
            .map(|url| toml::Value::String(url.to_string()).to_string())
    }

    fn example(&self) -> Option<String> {
        Some("\"https://HOST\"".to_owned())
    }

    fn schema(&self) -> Value {
        serde_json::json!({ "type": "string", "format": "uri" })
    }
}

/// A place that is nowhere unless it is set.
impl Node for Option<Text> {
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
        Some("\"/mnt/elsewhere/bursar-checkpoints\"".to_owned())
    }

    fn schema(&self) -> Value {
        serde_json::json!({ "type": "string" })
    }
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
}
