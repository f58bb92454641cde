//! One byte string per value: deterministic CBOR (RFC 8949, section 4.2), without floats.
//!
//! Used where bytes are hashed: the terms of an order, the records of the audit trail. Map keys are
//! written by the caller in CBOR's order: shorter first, then bytewise.

use minicbor::Encoder as Cbor;

/// Writes canonical CBOR into memory.
#[derive(Debug)]
pub struct Encoder {
    cbor: Cbor<Vec<u8>>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self {
            cbor: Cbor::new(Vec::new()),
        }
    }

    /// Opens a map: exactly `entries` keys, each followed by its value, have to be written next, in
    /// CBOR's order. Neither the number nor the order is checked.
    pub fn map(&mut self, entries: u64) -> &mut Self {
        infallible(self.cbor.map(entries));
        self
    }

    /// Opens an array: exactly `items` values have to be written next. The number is not checked.
    pub fn array(&mut self, items: u64) -> &mut Self {
        infallible(self.cbor.array(items));
        self
    }

    /// Writes a text as UTF-8, as it is: it is not normalized.
    pub fn text(&mut self, text: &str) -> &mut Self {
        infallible(self.cbor.str(text));
        self
    }

    /// Writes the text, or null for `None`; an empty text is not null.
    pub fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => infallible(self.cbor.str(text)),
            None => infallible(self.cbor.null()),
        }
        self
    }

    /// Writes a byte string, which differs from a text of the same bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        infallible(self.cbor.bytes(bytes));
        self
    }

    /// Writes the number in the fewest bytes that hold it.
    pub fn unsigned(&mut self, number: u64) -> &mut Self {
        infallible(self.cbor.u64(number));
        self
    }

    /// Writes the number in the fewest bytes that hold it; one that is not negative has the same bytes
    /// as by [`unsigned`](Self::unsigned).
    pub fn integer(&mut self, number: i64) -> &mut Self {
        infallible(self.cbor.i64(number));
        self
    }

    /// Writes one byte, true or false.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        infallible(self.cbor.bool(value));
        self
    }

    /// Writes one byte, for a value that is not there.
    pub fn null(&mut self) -> &mut Self {
        infallible(self.cbor.null());
        self
    }

    /// All that was written. Whether every map and array got what it announced is not checked.
    pub fn finish(self) -> Vec<u8> {
        self.cbor.into_writer()
    }
}

/// Writing to memory cannot fail: the error type has no value.
fn infallible<T>(written: Result<T, minicbor::encode::Error<core::convert::Infallible>>) {
    drop(written);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_their_shortest_form() {
        let encode = |n| {
            let mut encoder = Encoder::new();
            encoder.unsigned(n);
            encoder.finish()
        };

        assert_eq!(encode(23), [0x17]);
        assert_eq!(encode(24), [0x18, 0x18]);
        assert_eq!(encode(256), [0x19, 0x01, 0x00]);
    }
}
