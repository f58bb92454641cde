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
    pub fn new() -> Self {
        Self {
            cbor: Cbor::new(Vec::new()),
        }
    }

    pub fn map(&mut self, entries: u64) -> &mut Self {
        infallible(self.cbor.map(entries));
        self
    }

    pub fn array(&mut self, items: u64) -> &mut Self {
        infallible(self.cbor.array(items));
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        infallible(self.cbor.str(text));
        self
    }

    pub fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => infallible(self.cbor.str(text)),
            None => infallible(self.cbor.null()),
        }
        self
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        infallible(self.cbor.bytes(bytes));
        self
    }

    pub fn unsigned(&mut self, number: u64) -> &mut Self {
        infallible(self.cbor.u64(number));
        self
    }

    pub fn integer(&mut self, number: i64) -> &mut Self {
        infallible(self.cbor.i64(number));
        self
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        infallible(self.cbor.bool(value));
        self
    }

    pub fn null(&mut self) -> &mut Self {
        infallible(self.cbor.null());
        self
    }

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
