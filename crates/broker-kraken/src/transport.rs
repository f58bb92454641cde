//! Bytes out, bytes in. Knows nothing of orders, but knows what may have been sent.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use bursar_broker::ErrorClass;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect;

use crate::endpoint::KrakenEndpoint;

/// Connections kept open between readings. A thousand accounts that start together would keep a thousand.
const IDLE_CONNECTIONS: usize = 8;
const READ_LIMIT: usize = 8 * 1024 * 1024;
const WRITE_LIMIT: usize = 256 * 1024;

/// A complete answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is no complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// Proved: not one byte of the request left.
    NotSent { class: ErrorClass, reason: String },
    /// It may have arrived.
    Lost { class: ErrorClass, reason: String },
}

/// A signed request, ready to go.
#[derive(Debug)]
pub(crate) struct SignedRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) public_key: &'a str,
    pub(crate) signature: &'a str,
    pub(crate) body: String,
}

/// Two HTTP clients to one address.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    endpoint: KrakenEndpoint,
    reads: reqwest::Client,
    /// Orders and cancels. It keeps no connection open between requests, so every request begins
    /// with a connection of its own. That makes one kind of failure provable: when the connection
    /// could not be made, the request was not sent. On a connection kept from before, a failed
    /// write could mean either.
    writes: reqwest::Client,
}

impl Transport {
    pub(crate) fn new(
        endpoint: KrakenEndpoint,
        connect_timeout: Duration,
        request_timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = || {
            reqwest::Client::builder()
                .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(connect_timeout)
                .timeout(request_timeout)
                // A request that is sent twice by itself is an order that is placed twice.
                .retry(reqwest::retry::never())
                // HTTP/2 multiplexes over one connection; HTTP/1.1 keeps "one request, one fate".
                .http1_only()
                .redirect(redirect::Policy::none())
                .referer(false)
                .no_proxy()
                .tls_backend_rustls()
                .https_only(endpoint.to_string().starts_with("https://"))
        };
        Ok(Self {
            reads: client().pool_max_idle_per_host(IDLE_CONNECTIONS).build()?,
            writes: client().pool_max_idle_per_host(0).build()?,
            endpoint,
        })
    }

    pub(crate) const fn endpoint(&self) -> &KrakenEndpoint {
        &self.endpoint
    }

    pub(crate) async fn get(&self, path_and_query: &str) -> Result<Reply, NoReply> {
        let request = self.reads.get(self.endpoint.url(path_and_query));
        send(request, READ_LIMIT).await
    }

    pub(crate) async fn read(&self, request: SignedRequest<'_>) -> Result<Reply, NoReply> {
        send(self.signed(&self.reads, request), READ_LIMIT).await
    }

    /// Sends an order or a cancel, on a connection of its own.
    pub(crate) async fn write(&self, request: SignedRequest<'_>) -> Result<Reply, NoReply> {
        send(self.signed(&self.writes, request), WRITE_LIMIT).await
    }

    fn signed(&self, client: &reqwest::Client, request: SignedRequest<'_>) -> reqwest::RequestBuilder {
        client
            .post(self.endpoint.url(request.path))
            .header("API-Key", request.public_key)
            .header("API-Sign", request.signature)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
            .body(request.body)
    }
}

async fn send(request: reqwest::RequestBuilder, limit: usize) -> Result<Reply, NoReply> {
    let mut response = request.send().await.map_err(no_reply)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(NoReply::Lost {
                class: ErrorClass::Ambiguous,
                reason: format!("the answer is longer than {limit} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}

fn no_reply(error: reqwest::Error) -> NoReply {
    // A header or address that cannot be written down never reaches a socket; a connection that
    // could not be made carried nothing. A request that ran out of time as a whole is neither, even
    // if its connection was still being made: that is not said.
    if error.is_builder() || error.is_connect() {
        let class = if error.is_builder() {
            ErrorClass::LocalFault
        } else if distrusted(&error) {
            ErrorClass::Security
        } else {
            ErrorClass::Connect
        };
        return NoReply::NotSent {
            class,
            reason: words(error),
        };
    }
    lost(error)
}

fn lost(error: reqwest::Error) -> NoReply {
    NoReply::Lost {
        class: ErrorClass::Ambiguous,
        reason: words(error),
    }
}

/// Whether the other side could not prove that it is Kraken. A certificate out of its time says as much of this
/// machine's clock: nothing was sent, and it is tried again.
fn distrusted(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| {
        let tls = cause.downcast_ref::<rustls::Error>().or_else(|| {
            let io = cause.downcast_ref::<std::io::Error>()?;
            io.get_ref()?.downcast_ref::<rustls::Error>()
        });
        matches!(tls, Some(rustls::Error::InvalidCertificate(why)) if !is_of_time(why))
    })
}

const fn is_of_time(why: &rustls::CertificateError) -> bool {
    use rustls::CertificateError as Why;
    matches!(
        why,
        Why::Expired | Why::ExpiredContext { .. } | Why::NotValidYet | Why::NotValidYetContext { .. }
    )
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// The error and its causes, without the address, cut to what fits in a log line.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut last = text.clone();
    for cause in chain(&error).skip(1) {
        let words = cause.to_string();
        if words != last {
            let _ = write!(text, ": {words}");
        }
        last = words;
    }
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn a_certificate_out_of_its_time_alone_is_no_sign_of_an_imposter() {
        assert!(is_of_time(&CertificateError::Expired));
        assert!(is_of_time(&CertificateError::NotValidYet));
        for why in [
            CertificateError::UnknownIssuer,
            CertificateError::NotValidForName,
            CertificateError::BadSignature,
            CertificateError::Revoked,
        ] {
            assert!(!is_of_time(&why), "{why:?}");
        }
    }
}
