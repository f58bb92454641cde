//! The signature over a private request.

use bursar_keystore::{SecretEncoding, SignError, Signer};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

/// `API-Sign` of a request: HMAC-SHA-512 over the path and the hash of number and body, in base64.
/// `body` is exactly what goes on the wire and contains `nonce`.
pub(crate) fn signature(
    signer: &dyn Signer,
    path: &str,
    nonce: u64,
    body: &str,
) -> Result<String, SignError> {
    let mut hash = Sha256::new();
    hash.update(nonce.to_string());
    hash.update(body);
    let inner = hash.finalize();
    let tag = signer.hmac_sha512(SecretEncoding::Base64, &[path.as_bytes(), &inner])?;
    Ok(BASE64.encode(&tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::staged_key;

    const DOCUMENTED: &str =
        "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==";
    const GOLDEN: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const THROWAWAY: &str =
        "dGhyb3dhd2F5LWtyYWtlbi1zaW0tc2VjcmV0LTAwMDEtZG8tbm90LXVzZS1pbi1wcm9kdWN0aW9uLTAwMDAwMQ==";

    /// Secret, path, number, body, signature.
    const VECTORS: &[(&str, &str, u64, &str, &str)] = &[
        (
            DOCUMENTED,
            "/0/private/AddOrder",
            1_616_492_376_594,
            "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
        ),
        (
            GOLDEN,
            "/0/private/Balance",
            1_700_000_000_000_000_000,
            "nonce=1700000000000000000",
            "6i7+cpXVLDDnDOekgsRcgFQhkYFyPDSSxhSVA8OrA6vjziXcy2K1DP3n7f9B/Kgni71WjBSQusZKxduRsdF20Q==",
        ),
        (
            THROWAWAY,
            "/0/private/BalanceEx",
            1_735_689_600_000_000_000,
            "nonce=1735689600000000000",
            "3ZaBMJZMT6K8/ELOb8iDezi6HL7v4FSKqgllAl8R/5p1eXDK58Pm+WUgxOkLh7iVN7WhzKBzlevGxpz/pluRjw==",
        ),
        (
            THROWAWAY,
            "/0/private/AddOrder",
            1_735_689_600_000_000_001,
            "nonce=1735689600000000001&pair=XBTUSD&type=sell&ordertype=limit&volume=0.00100000&price=65000.1&timeinforce=GTD&expiretm=%2B60&oflags=post%2Cfciq&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876&deadline=2025-01-01T00%3A00%3A10Z",
            "sGqauQ4/7xQWcUzc1ggj38yXLiK6JLNdkwAzb2pYWSlYpDUAfVWIUOP6AHaWGOi4PuGfjk3AhzqpRZCerMJ6mw==",
        ),
        (
            THROWAWAY,
            "/0/private/AddOrderBatch",
            1_735_689_600_000_000_002,
            r#"{"nonce":"1735689600000000002","pair":"XBTUSD","orders":[{"ordertype":"limit","type":"buy","volume":"0.00100000","price":"60000.0","cl_ord_id":"da8e4ad59b78481c93e589746b0cf91f"},{"ordertype":"limit","type":"buy","volume":"0.00100000","price":"59000.0","cl_ord_id":"0835958dc5264ad8aea8af54836de47e"}],"validate":true}"#,
            "O+SNlD/nxPNjgvsyfCV8uyq6y3PaB75VCEEXIMcbzZS0bHIxNIiMSVjxHVuUk0GX3An+vKZV6t/czZ1VkDTxsw==",
        ),
        (
            THROWAWAY,
            "/0/private/CancelOrder",
            1_735_689_600_000_000_003,
            "nonce=1735689600000000003&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876&otp=123456",
            "0gvI9eJ6z4Gii3A2yOhPgHx3DYIj29RHVeoEJcORgUrs5DBpqC3/o1I8dNsVw0RmP6a2e0kDLkrcK/RyVNsEGw==",
        ),
        (
            THROWAWAY,
            "/0/private/AddOrder",
            1_735_689_600_000_000_004,
            "nonce=1735689600000000004&pair=XBTUSD&type=buy&ordertype=limit&volume=0.00100000&price=60000.0&close%5Bordertype%5D=stop-loss-limit&close%5Bprice%5D=55000.0&close%5Bprice2%5D=54900.0&userref=42&validate=true",
            "AXXpPhAN5xHf33EwDov9jIVaicUjXRgl/SS311zgW0shtHqoLgGHodYxzsztWGnLrUB/EsLmjWaWVE01+Cll+g==",
        ),
        (
            THROWAWAY,
            "/0/private/AddOrder",
            1_735_689_600_000_000_005,
            r#"{"nonce":1735689600000000005,"pair":"XBTUSD","type":"buy","ordertype":"limit","volume":"0.00100000","price":"60000.0","timeinforce":"IOC"}"#,
            "EJ2KVGvTTrI85Cblq9fZHiRQxK0OYzd0nkFL94onYOQgmK0kMmcxEL8kvZnc2YhRFJ6hFl3EgzoWQ2HWbefJRA==",
        ),
    ];

    #[tokio::test]
    async fn every_known_signature_is_made_by_the_key_store() {
        for (secret, path, nonce, body, expected) in VECTORS {
            let key = staged_key("public-key", secret).await;
            let made = signature(key.signer().as_ref(), path, *nonce, body).unwrap();

            assert_eq!(made, *expected, "{path} {nonce}");
        }
    }

    #[tokio::test]
    async fn the_documented_inner_hash_is_ours() {
        let (_, _, nonce, body, _) = VECTORS[0];
        let inner = Sha256::digest(format!("{nonce}{body}"));

        assert_eq!(
            data_encoding::HEXLOWER.encode(&inner),
            "23a1c1b34c6a11d641af0f24684896cb90f66fb991125c83dc357bdc3dc146f1"
        );
    }
}
