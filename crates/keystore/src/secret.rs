//! Bytes that must not be seen, and the one place where their memory is wiped.

use std::fmt;
use std::io::{self, Read};

use bursar_model::Entropy;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use zeroize::{Zeroize, Zeroizing};

/// Secret bytes: allocated once at their final size, wiped when dropped.
///
/// A secret can be made from outside this crate, but never read back. `Debug` shows `Secret(..)`.
///
/// It has no copy, no text, no comparison, no serialised form, and no way out:
///
/// ```compile_fail,E0599
/// let secret = bursar_keystore::Secret::from_text("canary".to_owned());
/// let copy = secret.clone();
/// ```
/// ```compile_fail,E0277
/// let secret = bursar_keystore::Secret::from_text("canary".to_owned());
/// let text = format!("{secret}");
/// ```
/// ```compile_fail,E0369
/// let secret = bursar_keystore::Secret::from_text("canary".to_owned());
/// let same = secret == secret;
/// ```
/// ```compile_fail,E0277
/// fn written<T: serde::Serialize>(_: &T) {}
/// written(&bursar_keystore::Secret::from_text("canary".to_owned()));
/// ```
/// ```compile_fail,E0277
/// fn bytes<T: AsRef<[u8]>>(_: &T) {}
/// bytes(&bursar_keystore::Secret::from_text("canary".to_owned()));
/// ```
/// ```compile_fail,E0624
/// let secret = bursar_keystore::Secret::from_text("canary".to_owned());
/// let bytes = secret.expose();
/// ```
/// ```compile_fail,E0616
/// let secret = bursar_keystore::Secret::from_text("canary".to_owned());
/// let bytes = secret.0;
/// ```
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes the text over and wipes the memory it came in.
    pub fn from_text(text: String) -> Self {
        Self::from_bytes(text.into_bytes())
    }

    /// Takes the bytes over and wipes the memory they came in.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Self {
        let secret = Self::copied(&bytes);
        bytes.zeroize();
        secret
    }

    /// Reads to the end of `source`.
    ///
    /// # Errors
    ///
    /// What `source` reports, and [`io::ErrorKind::FileTooLarge`] for more than `limit` bytes.
    pub fn read(source: &mut dyn Read, limit: usize) -> io::Result<Self> {
        let mut buffer = Self::zeroed(limit.saturating_add(1));
        let mut filled = 0;
        loop {
            let free = buffer.expose_mut().get_mut(filled..).unwrap_or_default();
            match source.read(free) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Self::copied(buffer.expose().get(..filled).unwrap_or_default()))
    }

    /// Without white space before and after it, as it comes with what was pasted or typed.
    #[must_use]
    pub fn trimmed(self) -> Self {
        Self::copied(self.expose().trim_ascii())
    }

    /// Whether it has no bytes at all; white space counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn zeroed(length: usize) -> Self {
        Self(Zeroizing::new(vec![0; length].into_boxed_slice()))
    }

    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The one way to the bytes; it does not leave this crate.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Reads a text straight into a secret. What the reader itself buffers is its own affair.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::copied(text.as_bytes()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
                Ok(Secret::from_text(text))
            }
        }

        // A number or a list here would be repeated in the reader's own error message: only the
        // shape "text" is asked for, and any other is reported without its value below.
        deserializer
            .deserialize_string(Text)
            .map_err(|_| D::Error::custom("expected a secret text"))
    }
}

/// A key of the hierarchy.
pub(crate) type Key = SecretArray<32>;

/// Secret bytes of a fixed number. They stay where they were allocated, so that moving them leaves
/// no copy behind.
pub(crate) struct SecretArray<const LENGTH: usize>(Box<Zeroizing<[u8; LENGTH]>>);

impl<const LENGTH: usize> SecretArray<LENGTH> {
    pub(crate) const LENGTH: usize = LENGTH;

    pub(crate) fn zeroed() -> Self {
        Self(Box::new(Zeroizing::new([0; LENGTH])))
    }

    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        let mut key = Self::zeroed();
        entropy.fill(key.expose_mut());
        key
    }

    /// `None` unless there are exactly as many bytes.
    pub(crate) fn copied(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != LENGTH {
            return None;
        }
        let mut key = Self::zeroed();
        key.fill_front(bytes);
        Some(key)
    }

    /// Writes over as many bytes from the first on.
    pub(crate) fn fill_front(&mut self, bytes: &[u8]) {
        for (place, byte) in self.expose_mut().iter_mut().zip(bytes) {
            *place = *byte;
        }
    }

    pub(crate) fn expose(&self) -> &[u8; LENGTH] {
        &self.0
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8; LENGTH] {
        &mut self.0
    }
}

impl<const LENGTH: usize> fmt::Debug for SecretArray<LENGTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Wipes memory that a library worked in, before it is given back.
pub(crate) fn wipe<T: Zeroize>(scratch: &mut [T]) {
    scratch.iter_mut().zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_debug_is_a_fixed_word() {
        let secret = Secret::from_text("canary-6f1d".to_owned());

        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
        assert_eq!(format!("{:?}", Key::zeroed()), "Key(..)");
    }

    #[test]
    fn i5_a_secret_of_the_wrong_shape_is_not_repeated_in_the_error() {
        for text in ["31337133713371337", "[\"canary-6f1d\"]", "{\"canary-6f1d\":1}"] {
            let error = serde_json::from_str::<Secret>(text).unwrap_err().to_string();
            assert!(!error.contains("canary") && !error.contains("31337"), "{error}");
        }
        assert_eq!(
            serde_json::from_str::<Secret>("\"ab\\nc\"").unwrap().expose(),
            b"ab\nc"
        );
    }

    #[test]
    fn i5_what_holds_a_secret_is_wiped_when_it_is_dropped() {
        fn wiped_on_drop(_: &impl zeroize::ZeroizeOnDrop) {}

        wiped_on_drop(&Secret::zeroed(1).0);
        wiped_on_drop(&*Key::zeroed().0);
        let mut scratch = [7_u8; 4];
        wipe(&mut scratch);
        assert_eq!(scratch, [0; 4]);
    }

    #[test]
    fn reading_stops_at_the_limit() {
        assert_eq!(Secret::read(&mut &b"1234"[..], 4).unwrap().expose(), b"1234");

        let error = Secret::read(&mut &b"12345"[..], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    /// Fails once, then gives what it has.
    struct Failing(Option<io::ErrorKind>, &'static [u8]);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.take() {
                Some(kind) => Err(kind.into()),
                None => self.1.read(buffer),
            }
        }
    }

    #[test]
    fn reading_goes_on_after_an_interruption_and_after_nothing_else() {
        let read = |kind| Secret::read(&mut Failing(Some(kind), b"1234"), 4);

        assert_eq!(read(io::ErrorKind::Interrupted).unwrap().expose(), b"1234");
        assert_eq!(
            read(io::ErrorKind::TimedOut).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }

    #[test]
    fn trimming_takes_only_the_ends() {
        let secret = Secret::from_text(" a b\r\n".to_owned()).trimmed();

        assert_eq!(secret.expose(), b"a b");
    }
}
