//! Where a webhook may lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bursar_config::WebhookUrl;
use bursar_notify::{
    Channel as _, ChannelSecret, DeliveryId, Letter, Lookup, Message, Outcome, Receiver, Trust, Webhook,
};
use bursar_testkit::SeededEntropy;
use jiff::Timestamp;

/// Of nobody: the certificates of the machine would be read for every input.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBeDCCAR+gAwIBAgIUUHD0saUDcek+HsRsdnLFfjxGXRIwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEzMDIwMTc1M1oYDzIxMjYxMTA2MjAx
NzUzWjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASuMqk8gX3kMAVwro5oGeShPvlCTswnK6LkUc2D0P1EAJvshgLnaKFy4F8lsxRO
Uro0/Ij33Oad25GDjBwSPewzo1MwUTAdBgNVHQ4EFgQU0PbB4VfcEJXuYsppZKfi
DfgjEPgwHwYDVR0jBBgwFoAU0PbB4VfcEJXuYsppZKfiDfgjEPgwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiB/1Qgj+8SZ9EDCYPA/iEz1ScQANfnN
d6N0OfVmkql19AIgaG9NPMLuaADqmt98kMqIp35as4QWG9LRBkS7Q6X3T9g=
-----END CERTIFICATE-----
";

/// A name server that gives every name these addresses.
struct Names(Vec<IpAddr>);

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

/// The first line is a URL, the others are what a name server says of its host. Whatever is let through leads by HTTPS
/// to the public network, or where the settings allow it to this machine, and to nobody by name and password.
pub(super) fn addresses(data: &[u8]) {
    let lines = super::lines(data);
    let Some((text, told)) = lines.split_first() else {
        return;
    };
    let Ok(url) = text.parse::<WebhookUrl>() else {
        return;
    };
    assert_eq!(url.as_str(), *text);
    let told: Vec<IpAddr> = told.iter().filter_map(|line| line.parse().ok()).collect();
    for allow_loopback in [false, true] {
        let trust = Trust::Only {
            pem: AUTHORITY.as_bytes().to_vec(),
            path: PathBuf::from("ca.pem"),
        };
        let names = Arc::new(Names(told.clone()));
        let secret = ChannelSecret::new("anvil".to_owned());
        let made = Webhook::new(&url, secret, allow_loopback, &trust, names);
        let host = host(text, allow_loopback);
        match made {
            Ok(webhook) => {
                let Some(host) = host else {
                    unreachable!("`{text}` is let through");
                };
                if let Some(address) = address(host) {
                    assert!(
                        may_be_reached(address, text, allow_loopback),
                        "`{text}` is let through to {address}"
                    );
                } else if (told.iter()).any(|address| !may_be_reached(*address, text, allow_loopback)) {
                    // It is refused before anything connects. Nothing is sent where every address is allowed.
                    refused_by_name(&webhook, text, &told);
                }
            }
            Err(error) => {
                assert!(!error.to_string().contains(text), "{error}");
                let plain = host.and_then(|host| host.parse::<Ipv4Addr>().ok());
                let is_public = plain.is_some_and(|address| !is_near_v4(address));
                assert!(
                    !is_public || text.starts_with("http:"),
                    "`{text}` is refused: {error}"
                );
            }
        }
    }
}

fn refused_by_name(webhook: &Webhook, text: &str, told: &[IpAddr]) {
    let message = Message {
        receiver: Receiver::Operator,
        told: Vec::new(),
        held_back: 0,
        quiet_until: None,
    };
    let letter = Letter {
        id: DeliveryId::random(&SeededEntropy::new(1)),
        message: &message,
        email: None,
        now: Timestamp::UNIX_EPOCH,
    };
    let outcome = super::apart(async || webhook.send(&letter).await);
    let is_refused = match &outcome {
        Outcome::Later(why) => why.to_string().contains("not of the public network"),
        Outcome::Delivered | Outcome::Never(_) => false,
    };
    assert!(is_refused, "`{text}` leads to {told:?}: {outcome:?}");
}

/// The host of a URL that may be let through, as it is written.
fn host(text: &str, allow_loopback: bool) -> Option<&str> {
    let rest = match text.split_once("://")? {
        ("https", rest) => rest,
        ("http", rest) if allow_loopback => rest,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    if authority.contains('@') || text.contains(['\\', '#']) {
        return None;
    }
    let ends = match authority.strip_prefix('[') {
        Some(literal) => literal.find(']')?.checked_add(2)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(ends)?;
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok());
    (is_port && !host.is_empty()).then_some(host)
}

/// The address that a host is, in any of the spellings that anybody reads as one.
fn address(host: &str) -> Option<IpAddr> {
    if let Some(literal) = host.strip_prefix('[') {
        return literal.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    }
    let parts: Vec<u64> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let mut bits = *last;
    for (place, part) in first.iter().enumerate() {
        let shift = 24_u32.checked_sub(u32::try_from(place).ok()?.checked_mul(8)?)?;
        bits = bits.checked_add(part.checked_shl(shift)?)?;
    }
    u32::try_from(bits)
        .ok()
        .map(|bits| IpAddr::V4(Ipv4Addr::from(bits)))
}

/// Decimal, octal or hexadecimal, as the C library reads a part of an address.
fn number(part: &str) -> Option<u64> {
    let part = part.to_ascii_lowercase();
    match (part.strip_prefix("0x"), part.strip_prefix('0')) {
        (Some(""), _) | (None, Some("")) => Some(0),
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) => u64::from_str_radix(digits, 8).ok(),
        (None, None) => part.parse().ok(),
    }
}

fn may_be_reached(address: IpAddr, url: &str, allow_loopback: bool) -> bool {
    let is_this_machine = allow_loopback && address.is_loopback();
    is_this_machine || (url.starts_with("https://") && !is_near(address))
}

/// Whether it is an address of this machine, of its networks or of nobody, also one that is wrapped in another.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_near_v4(address),
        IpAddr::V6(address) => is_near_v6(address),
    }
}

fn is_near_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_benchmark = first == 198 && (second == 18 || second == 19);
    let is_protocol = [first, second, third] == [192, 0, 0] || [first, second, third] == [192, 88, 99];
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || is_shared
        || is_benchmark
        || is_protocol
        || first == 0
        || first >= 240
}

fn is_near_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, _, _, _, high, low] = address.segments();
    let inside = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_near_v4(Ipv4Addr::new(a, b, c, d))
    };
    // As 6to4, as NAT64, and as the last half of an address without a network.
    let is_wrapped = (first == 0x2002 && inside(second, third))
        || (first == 0x64 && second == 0xff9b && inside(high, low))
        || (address.to_ipv4().is_some_and(is_near_v4));
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        // Of documentation, and of sites as they once were.
        || (first == 0x2001 && second == 0xdb8)
        || first & 0xffc0 == 0xfec0
        || is_wrapped
}
