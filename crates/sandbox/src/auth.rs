//! Proof that a request comes from the holder of a key's secret.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// The secret half of a sandbox key. Not worth stealing, but held like a real one all the same.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the raw bytes, of any number; what a client is given is their base64.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The secret from its base64 text.
    pub fn from_base64(text: &str) -> Option<Self> {
        BASE64.decode(text.as_bytes()).ok().map(Self)
    }

    /// The text that a customer is given.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    fn mac(&self, path: &str, nonce: &str, body: &[u8]) -> Option<Hmac<Sha512>> {
        let mut inner = Sha256::new();
        inner.update(nonce.as_bytes());
        inner.update(body);
        let mut mac = Hmac::<Sha512>::new_from_slice(&self.0).ok()?;
        mac.update(path.as_bytes());
        mac.update(&inner.finalize());
        Some(mac)
    }

    /// The `API-Sign` of a request, for those who want to call the exchange from a test.
    pub fn sign(&self, path: &str, nonce: &str, body: &[u8]) -> String {
        self.mac(path, nonce, body)
            .map(|mac| BASE64.encode(&mac.finalize().into_bytes()))
            .unwrap_or_default()
    }

    /// Whether `signature` is the one of exactly these bytes. Takes the same time for every wrong one.
    pub fn verifies(&self, path: &str, nonce: &str, body: &[u8], signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature.as_bytes()) else {
            return false;
        };
        self.mac(path, nonce, body)
            .is_some_and(|mac| mac.verify_slice(&signature).is_ok())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROWAWAY: &str =
        "dGhyb3dhd2F5LWtyYWtlbi1zaW0tc2VjcmV0LTAwMDEtZG8tbm90LXVzZS1pbi1wcm9kdWN0aW9uLTAwMDAwMQ==";

    /// Secret, path, nonce, body, signature: Kraken's own example, its SDK's, and six more.
    const VECTORS: [[&str; 5]; 8] = [
        [
            "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==",
            "/0/private/AddOrder",
            "1616492376594",
            "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
        ],
        [
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
            "/0/private/Balance",
            "1700000000000000000",
            "nonce=1700000000000000000",
            "6i7+cpXVLDDnDOekgsRcgFQhkYFyPDSSxhSVA8OrA6vjziXcy2K1DP3n7f9B/Kgni71WjBSQusZKxduRsdF20Q==",
        ],
        [
            THROWAWAY,
            "/0/private/BalanceEx",
            "1735689600000000000",
            "nonce=1735689600000000000",
            "3ZaBMJZMT6K8/ELOb8iDezi6HL7v4FSKqgllAl8R/5p1eXDK58Pm+WUgxOkLh7iVN7WhzKBzlevGxpz/pluRjw==",
        ],
        [
            THROWAWAY,
            "/0/private/AddOrder",
            "1735689600000000001",
            "nonce=1735689600000000001&pair=XBTUSD&type=sell&ordertype=limit&volume=0.00100000&price=65000.1&timeinforce=GTD&expiretm=%2B60&oflags=post%2Cfciq&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876&deadline=2025-01-01T00%3A00%3A10Z",
            "sGqauQ4/7xQWcUzc1ggj38yXLiK6JLNdkwAzb2pYWSlYpDUAfVWIUOP6AHaWGOi4PuGfjk3AhzqpRZCerMJ6mw==",
        ],
        [
            THROWAWAY,
            "/0/private/AddOrderBatch",
            "1735689600000000002",
            r#"{"nonce":"1735689600000000002","pair":"XBTUSD","orders":[{"ordertype":"limit","type":"buy","volume":"0.00100000","price":"60000.0","cl_ord_id":"da8e4ad59b78481c93e589746b0cf91f"},{"ordertype":"limit","type":"buy","volume":"0.00100000","price":"59000.0","cl_ord_id":"0835958dc5264ad8aea8af54836de47e"}],"validate":true}"#,
            "O+SNlD/nxPNjgvsyfCV8uyq6y3PaB75VCEEXIMcbzZS0bHIxNIiMSVjxHVuUk0GX3An+vKZV6t/czZ1VkDTxsw==",
        ],
        [
            THROWAWAY,
            "/0/private/CancelOrder",
            "1735689600000000003",
            "nonce=1735689600000000003&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876&otp=123456",
            "0gvI9eJ6z4Gii3A2yOhPgHx3DYIj29RHVeoEJcORgUrs5DBpqC3/o1I8dNsVw0RmP6a2e0kDLkrcK/RyVNsEGw==",
        ],
        [
            THROWAWAY,
            "/0/private/AddOrder",
            "1735689600000000004",
            "nonce=1735689600000000004&pair=XBTUSD&type=buy&ordertype=limit&volume=0.00100000&price=60000.0&close%5Bordertype%5D=stop-loss-limit&close%5Bprice%5D=55000.0&close%5Bprice2%5D=54900.0&userref=42&validate=true",
            "AXXpPhAN5xHf33EwDov9jIVaicUjXRgl/SS311zgW0shtHqoLgGHodYxzsztWGnLrUB/EsLmjWaWVE01+Cll+g==",
        ],
        [
            THROWAWAY,
            "/0/private/AddOrder",
            "1735689600000000005",
            r#"{"nonce":1735689600000000005,"pair":"XBTUSD","type":"buy","ordertype":"limit","volume":"0.00100000","price":"60000.0","timeinforce":"IOC"}"#,
            "EJ2KVGvTTrI85Cblq9fZHiRQxK0OYzd0nkFL94onYOQgmK0kMmcxEL8kvZnc2YhRFJ6hFl3EgzoWQ2HWbefJRA==",
        ],
    ];

    #[test]
    fn every_published_signature_verifies_and_signs_the_same() {
        for [secret, path, nonce, body, signature] in VECTORS {
            let secret = Secret::from_base64(secret).unwrap();

            assert!(secret.verifies(path, nonce, body.as_bytes(), signature), "{body}");
            assert_eq!(secret.sign(path, nonce, body.as_bytes()), signature);
        }
    }

    #[test]
    fn one_flipped_byte_anywhere_fails() {
        for [secret, path, nonce, body, signature] in VECTORS {
            let secret = Secret::from_base64(secret).unwrap();
            for position in 0..body.len() {
                let mut bytes = body.as_bytes().to_vec();
                bytes[position] ^= 1;
                assert!(!secret.verifies(path, nonce, &bytes, signature));
            }
            let mut raw = BASE64.decode(signature.as_bytes()).unwrap();
            for position in 0..raw.len() {
                raw[position] ^= 1;
                assert!(!secret.verifies(path, nonce, body.as_bytes(), &BASE64.encode(&raw)));
                raw[position] ^= 1;
            }
            assert!(!secret.verifies("/0/private/Other", nonce, body.as_bytes(), signature));
        }
    }

    #[test]
    fn a_signature_without_its_padding_is_refused() {
        let [secret, path, nonce, body, signature] = VECTORS[0];
        let secret = Secret::from_base64(secret).unwrap();

        assert!(!secret.verifies(path, nonce, body.as_bytes(), signature.trim_end_matches('=')));
        assert!(!secret.verifies(path, nonce, body.as_bytes(), ""));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
