//! Signed notes: a short text with signature lines below it, in the public format of that name
//! (C2SP `signed-note`), so that other tools can check what was signed here.
//!
//! ```text
//! text, one or more lines
//!
//! — name base64(first four bytes of the key's hash, then the signature)
//! ```

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// The number of Ed25519 in the format.
const ED25519: u8 = 1;
/// A note with more is not one of ours, nor of anybody who means well.
const SIGNATURES: usize = 16;
const NOTE_LIMIT: usize = 16 * 1024;

/// A public key with the name it signs under, written `name+hash+base64` as in the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: [u8; 32],
}

/// A text or bytes that are no public key for notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a public key is written as a name, `+`, eight hex digits, `+`, and base64, as `bursar audit verify` prints it"
)]
pub struct InvalidKey;

impl VerifierKey {
    /// # Errors
    ///
    /// [`InvalidKey`] for a name that cannot stand in a note, and for bytes that are no key or one
    /// under which anybody could sign.
    pub fn new(name: &str, key: [u8; 32]) -> Result<Self, InvalidKey> {
        let is_good = VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak());
        let key = Self {
            name: name.to_owned(),
            key,
        };
        (is_good && is_name(name)).then_some(key).ok_or(InvalidKey)
    }

    /// The name that stands in a signature line: the origin of the store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ed25519, as RFC 8032 writes it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Which key signed, as a signature line tells it. Short: it chooses a key and proves nothing.
    pub fn hint(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', ED25519])
            .chain_update(self.key)
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
        [a, b, c, d]
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.key).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(&self.key);
        let hint = HEXLOWER.encode(&self.hint());
        write!(f, "{}+{hint}+{}", self.name, BASE64.encode(&bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        // The last part is base64, which has a `+` of its own.
        let (name, rest) = text.split_once('+').ok_or(InvalidKey)?;
        let (_, key) = rest.split_once('+').ok_or(InvalidKey)?;
        let bytes = BASE64.decode(key.as_bytes()).map_err(|_| InvalidKey)?;
        let (kind, key) = bytes.split_first().ok_or(InvalidKey)?;
        let key = Self::new(name, key.try_into().map_err(|_| InvalidKey)?)?;
        (*kind == ED25519 && key.to_string() == text)
            .then_some(key)
            .ok_or(InvalidKey)
    }
}

/// Without a space, which ends it, or a `+`, which would end it in a key.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A text and who signed it. Reading one proves nothing: see [`SignedNote::is_signed_by`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    hint: [u8; 4],
    /// 64 bytes for Ed25519; other tools may add lines of other kinds.
    signature: Vec<u8>,
}

/// Text that is not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signed note: {0}")]
pub struct InvalidNote(pub(crate) &'static str);

impl SignedNote {
    /// `text` with one signature. Whether it is a good one is not looked at.
    ///
    /// # Errors
    ///
    /// [`InvalidNote`] for a text that does not end its last line, or with characters that no note may have.
    pub fn new(text: String, key: &VerifierKey, signature: &[u8; 64]) -> Result<Self, InvalidNote> {
        check_text(&text)?;
        Ok(Self {
            text,
            signatures: vec![NoteSignature {
                name: key.name.clone(),
                hint: key.hint(),
                signature: signature.to_vec(),
            }],
        })
    }

    /// What was signed, with its last line ended.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether one of the signatures is a good one of `key`.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let hint = key.hint();
        self.signatures.iter().any(|line| {
            let named = line.name == key.name && line.hint == hint;
            let signature: Option<&[u8; 64]> = line.signature.as_slice().try_into().ok();
            named && signature.is_some_and(|signature| key.verifies(self.text.as_bytes(), signature))
        })
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let bytes = [line.hint.as_slice(), &line.signature].concat();
            writeln!(f, "\u{2014} {} {}", line.name, BASE64.encode(&bytes))?;
        }
        Ok(())
    }
}

impl FromStr for SignedNote {
    type Err = InvalidNote;

    /// Reads exactly what `Display` writes.
    fn from_str(note: &str) -> Result<Self, InvalidNote> {
        if note.len() > NOTE_LIMIT {
            return Err(InvalidNote("it is too long"));
        }
        let end = note
            .rfind("\n\n")
            .ok_or(InvalidNote("no empty line before the signatures"))?;
        let (text, rest) = note
            .split_at_checked(end.saturating_add(1))
            .ok_or(InvalidNote("no empty line before the signatures"))?;
        check_text(text)?;
        let lines = rest
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'))
            .filter(|lines| !lines.is_empty())
            .ok_or(InvalidNote("no signature, or its line does not end"))?;
        let signatures: Vec<NoteSignature> = lines
            .split('\n')
            .map(signature_line)
            .collect::<Result<_, InvalidNote>>()?;
        if signatures.len() > SIGNATURES {
            return Err(InvalidNote("it has too many signatures"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }
}

fn check_text(text: &str) -> Result<(), InvalidNote> {
    if !text.ends_with('\n') || text.len() < 2 {
        return Err(InvalidNote("its text is empty, or the last line does not end"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(InvalidNote("its text has control characters"));
    }
    Ok(())
}

fn signature_line(line: &str) -> Result<NoteSignature, InvalidNote> {
    let wrong = InvalidNote("a signature line is not a dash, a name and base64");
    let (name, encoded) = line
        .strip_prefix("\u{2014} ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or(wrong)?;
    let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| wrong)?;
    let (hint, signature) = bytes.split_first_chunk::<4>().ok_or(wrong)?;
    // One spelling: padded pieces one after the other are decoded, too.
    if !is_name(name) || signature.is_empty() || BASE64.encode(&bytes) != encoded {
        return Err(wrong);
    }
    Ok(NoteSignature {
        name: name.to_owned(),
        hint: *hint,
        signature: signature.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the format's first implementation (Go, `sumdb/note`): its key, text and signature.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_that_others_signed_is_verified() {
        let key: VerifierKey = KEY.parse().unwrap();
        let note: SignedNote = NOTE.parse().unwrap();

        assert_eq!(key.to_string(), KEY);
        assert_eq!(note.to_string(), NOTE);
        assert!(note.is_signed_by(&key));
    }

    #[test]
    fn a_changed_text_signature_or_name_is_no_longer_signed() {
        let key: VerifierKey = KEY.parse().unwrap();
        for changed in [
            NOTE.replace("answer", "Answer"),
            NOTE.replace("/ZJkuBS9", "/ZJkuBS8"),
            NOTE.replace("\u{2014} PeterNeumann", "\u{2014} PeterNeumanm"),
            NOTE.replace(" x08g", " x08h"),
        ] {
            assert_ne!(changed, NOTE);
            let note: SignedNote = changed.parse().unwrap();
            assert!(!note.is_signed_by(&key), "{changed}");
        }
    }

    #[test]
    fn what_is_not_written_exactly_so_is_no_note() {
        for wrong in [
            "",
            "\n",
            "text\n",
            "text\n\n",
            "\n\n\u{2014} a AAAAAAE=\n",
            "text\n\n\u{2014} a AAAAAAE=",
            "text\n\n\u{2014}  AAAAAAE=\n",
            "text\n\n\u{2014} a AAAAAA==\n",
            "text\n\n\u{2014} a AAAAAAF=\n",
            "text\n\n\u{2014} a AAAAAAE\n",
            "text\n\n\u{2014} a AAAAAA==AQ==\n",
            "text\n\n\u{2014} a+b AAAAAAE=\n",
            "text\n\n- a AAAAAAE=\n",
            "te\rxt\n\n\u{2014} a AAAAAAE=\n",
            "text\n\n\u{2014} a AAAAAAE=\n\n",
        ] {
            assert!(wrong.parse::<SignedNote>().is_err(), "{wrong:?} was accepted");
        }
        assert!("text\n\n\u{2014} a AAAAAAE=\n".parse::<SignedNote>().is_ok());
    }

    #[test]
    fn a_key_has_one_spelling_and_is_no_weak_one() {
        for wrong in [
            "",
            "name",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumanm+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+Ahpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert_eq!(wrong.parse::<VerifierKey>(), Err(InvalidKey), "`{wrong}`");
        }
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(VerifierKey::new("log", neutral), Err(InvalidKey));
        assert_eq!(VerifierKey::new("two words", [9; 32]), Err(InvalidKey));
    }
}
