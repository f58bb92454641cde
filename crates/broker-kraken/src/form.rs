//! The body of a private request. What is signed is what is sent: one text, made once.

/// Parameters in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    body: String,
}

impl Form {
    pub(crate) const fn new() -> Self {
        Self { body: String::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.add(name, value);
        self
    }

    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !self.body.is_empty() {
            self.body.push('&');
        }
        encode(name, &mut self.body);
        self.body.push('=');
        encode(value, &mut self.body);
    }

    /// The parameters as a query string, with its question mark; empty without parameters.
    pub(crate) fn query(&self) -> String {
        if self.body.is_empty() {
            String::new()
        } else {
            format!("?{}", self.body)
        }
    }

    /// The body with the request number in front.
    pub(crate) fn numbered(&self, nonce: u64) -> String {
        if self.body.is_empty() {
            format!("nonce={nonce}")
        } else {
            format!("nonce={nonce}&{}", self.body)
        }
    }
}

fn encode(text: &str, into: &mut String) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                into.push(char::from(byte));
            }
            _ => {
                into.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    into.push(HEX.get(usize::from(nibble)).copied().unwrap_or('0'));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_never_sent_as_a_space() {
        let form = Form::new().with("expiretm", "+60").with("oflags", "post,fciq");

        assert_eq!(form.numbered(7), "nonce=7&expiretm=%2B60&oflags=post%2Cfciq");
        assert_eq!(Form::new().numbered(7), "nonce=7");
        assert_eq!(
            Form::new().with("pair", "XBT/USD ü").query(),
            "?pair=XBT%2FUSD%20%C3%BC"
        );
    }
}
