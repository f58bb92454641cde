//! Where Kraken is.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

/// Kraken's address. Built in; anything else is for a local exchange, or a deliberate setting that
/// is shown wherever the connection is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrakenEndpoint {
    base: Box<str>,
}

/// An address to which no key may be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address for Kraken: {rule}")]
pub struct InvalidEndpoint {
    text: String,
    rule: &'static str,
}

const PRODUCTION: &str = "https://api.kraken.com";

impl Default for KrakenEndpoint {
    fn default() -> Self {
        Self {
            base: PRODUCTION.into(),
        }
    }
}

impl KrakenEndpoint {
    /// Another address than Kraken's own: `https://…` anywhere, `http://…` on this machine only.
    ///
    /// # Errors
    ///
    /// [`InvalidEndpoint`] for what is no address, or one over which a key would travel unprotected.
    pub fn at(address: &str) -> Result<Self, InvalidEndpoint> {
        let refuse = |rule| InvalidEndpoint {
            text: address.chars().take(80).collect(),
            rule,
        };
        let url = Url::parse(address).map_err(|_| refuse("write a URL such as https://api.kraken.com"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => {
                return Err(refuse(
                    "without encryption only an address of this machine is allowed",
                ));
            }
            _ => return Err(refuse("begin with https://")),
        }
        let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/";
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("name host and port only"));
        }
        Ok(Self {
            base: url.as_str().trim_end_matches('/').into(),
        })
    }

    /// Whether this is Kraken's own address.
    pub fn is_built_in(&self) -> bool {
        &*self.base == PRODUCTION
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl fmt::Display for KrakenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.base)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_address_is_valid_by_its_own_rule() {
        assert_eq!(KrakenEndpoint::at(PRODUCTION).unwrap(), KrakenEndpoint::default());
        assert!(KrakenEndpoint::default().is_built_in());
    }

    #[test]
    fn plain_http_reaches_this_machine_and_no_other() {
        for address in [
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:9",
            "https://kraken.example.com",
        ] {
            assert!(!KrakenEndpoint::at(address).unwrap().is_built_in(), "`{address}`");
        }
        for address in [
            "http://api.kraken.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "https://user:word@api.kraken.com",
            "https://api.kraken.com/0",
            "https://api.kraken.com/?a=b",
            "api.kraken.com",
            "",
        ] {
            assert!(KrakenEndpoint::at(address).is_err(), "`{address}` was accepted");
        }
    }
}
