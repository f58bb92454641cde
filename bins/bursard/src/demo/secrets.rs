//! Looks for secrets in places where none may be, in the forms in which they could slip out.

/// The places and names of every secret that was found; never the secret.
pub(super) fn find(secrets: &[(String, String)], places: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut leaks = Vec::new();
    for (name, secret) in secrets {
        for (place, bytes) in places {
            if forms(secret).iter().any(|form| contains(bytes, form.as_bytes())) {
                leaks.push(format!("{name} is in {place}"));
            }
        }
    }
    leaks
}

/// The secret as it is, escaped for a URL, and escaped for JSON.
fn forms(secret: &str) -> Vec<String> {
    let url = secret.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    vec![secret.to_owned(), url, secret.replace('/', "\\/")]
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_a_secret_is_found_and_not_shown() {
        let places = [
            ("a log".to_owned(), b"x c2Vj%2FcmV0 y".to_vec()),
            ("another".to_owned(), b"nothing".to_vec()),
        ];

        let leaks = find(
            &[("the secret of mara_ilves".to_owned(), "c2Vj/cmV0".to_owned())],
            &places,
        );

        assert_eq!(leaks, ["the secret of mara_ilves is in a log"]);
    }
}
