//! The recovery code: a key that a person can write down.
//!
//! 256 bits in eight groups. A group is four bytes of the key and one byte of checksum, written as
//! eight characters of Crockford's base32, which has no I, L, O or U. The checksum covers the
//! group's number too, so that groups in the wrong order are found.

use std::fmt;

use bursar_model::Entropy;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::cipher::derive;
use crate::secret::{Key, Secret, SecretArray, wipe};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUP: usize = 8;
const PART: usize = 4;

/// A 256-bit code that unlocks a store. Shown once, when the store is made.
///
/// Its text comes out only through [`RecoveryCode::reveal`]; `Debug` shows `RecoveryCode(..)`.
///
/// ```compile_fail,E0277
/// fn shown(code: &bursar_keystore::RecoveryCode) -> String {
///     format!("{code}")
/// }
/// ```
/// ```compile_fail,E0599
/// fn doubled(code: &bursar_keystore::RecoveryCode) -> bursar_keystore::RecoveryCode {
///     code.clone()
/// }
/// ```
pub struct RecoveryCode(Key);

impl RecoveryCode {
    /// How many groups a code has.
    pub const GROUPS: usize = 8;

    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        Self(Key::random(entropy))
    }

    /// Reads a typed code. Lower case, spaces and hyphens do not matter; O is read as 0, I and L
    /// as 1.
    ///
    /// # Errors
    ///
    /// Which group is mistyped, or that there are too many or too few.
    pub fn parse(text: &Secret) -> Result<Self, RecoveryCodeError> {
        let mut characters = SecretArray::<{ Self::GROUPS * GROUP }>::zeroed();
        let mut typed = text.expose().iter().filter(|c| !is_separator(**c));
        for place in characters.expose_mut() {
            *place = *typed.next().ok_or(RecoveryCodeError::Length)?;
        }
        if typed.next().is_some() {
            return Err(RecoveryCodeError::Length);
        }
        let mut key = Key::zeroed();
        let groups = characters.expose().chunks_exact(GROUP);
        let parts = key.expose_mut().chunks_exact_mut(PART);
        for ((characters, part), number) in groups.zip(parts).zip(1..) {
            let decoded = decode_group(number, characters).ok_or(RecoveryCodeError::Group { number })?;
            part.copy_from_slice(&decoded);
        }
        Ok(Self(key))
    }

    /// The code's text, to be shown to the operator once and to nobody else.
    pub fn reveal(&self) -> RevealedCode<'_> {
        RevealedCode(self)
    }

    /// Two numbers of groups to ask for, from 1 to 8, in rising order.
    pub fn pick_groups(entropy: &dyn Entropy) -> [usize; 2] {
        let [a, b, ..] = entropy.bytes();
        let first = usize::from(a) % Self::GROUPS;
        // Added to the first modulo 8, one to seven steps lead to another group.
        let second = (first + 1 + usize::from(b) % (Self::GROUPS - 1)) % Self::GROUPS;
        [first.min(second) + 1, first.max(second) + 1]
    }

    /// Checks that the operator has written the code down: two different groups, typed back.
    ///
    /// # Errors
    ///
    /// Which of the groups does not agree.
    pub fn confirm(&self, groups: [(usize, &Secret); 2]) -> Result<RecoveryConfirmed, NotConfirmed> {
        let [(first, _), (second, _)] = groups;
        if first == second {
            return Err(NotConfirmed::SameGroup);
        }
        for (number, typed) in groups {
            if !self.group_is(number, typed) {
                return Err(NotConfirmed::Group { number });
            }
        }
        Ok(RecoveryConfirmed(self.token()))
    }

    /// As [`RecoveryCode::confirm`], with the whole code: for a program that keeps it for its operator
    /// and hands back what it kept.
    ///
    /// # Errors
    ///
    /// The first group that does not agree.
    pub fn confirm_whole(&self, kept: &Secret) -> Result<RecoveryConfirmed, NotConfirmed> {
        let mut characters = kept.expose().iter().filter(|c| !is_separator(**c));
        for number in 1..=Self::GROUPS {
            let mut group = Secret::zeroed(GROUP);
            for place in group.expose_mut() {
                *place = *characters.next().ok_or(NotConfirmed::Group { number })?;
            }
            if !self.group_is(number, &group) {
                return Err(NotConfirmed::Group { number });
            }
        }
        match characters.next() {
            None => Ok(RecoveryConfirmed(self.token())),
            Some(_) => Err(NotConfirmed::Group { number: Self::GROUPS }),
        }
    }

    /// Which code was confirmed, without telling anything of it.
    pub(crate) fn token(&self) -> [u8; 8] {
        derive(&self.0, &[b"confirmed"])
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.0
    }

    fn group_is(&self, number: usize, typed: &Secret) -> bool {
        let mut characters = SecretArray::<GROUP>::zeroed();
        let mut rest = typed.expose().iter().filter(|c| !is_separator(**c));
        for place in characters.expose_mut() {
            let Some(character) = rest.next() else {
                return false;
            };
            *place = *character;
        }
        let part = number
            .checked_sub(1)
            .and_then(|index| self.0.expose().chunks_exact(PART).nth(index));
        match (rest.next(), decode_group(number, characters.expose()), part) {
            (None, Some(decoded), Some(part)) => bool::from(decoded.as_slice().ct_eq(part)),
            _ => false,
        }
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

/// The text of a recovery code, written as it is shown: `XXXXXXXX-XXXXXXXX-…`.
pub struct RevealedCode<'a>(&'a RecoveryCode);

impl fmt::Display for RevealedCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (part, number) in self.0.0.expose().chunks_exact(PART).zip(1..) {
            if number > 1 {
                f.write_str("-")?;
            }
            let mut group = encode_group(number, part);
            let written = std::str::from_utf8(&group)
                .map_err(|_| fmt::Error)
                .and_then(|text| f.write_str(text));
            wipe(&mut group);
            written?;
        }
        Ok(())
    }
}

impl fmt::Debug for RevealedCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevealedCode(..)")
    }
}

/// Proof that the operator typed two groups back. Making a store is not finished without it.
#[derive(Debug)]
#[must_use = "the store is not made until this is handed to `Initialisation::finish`"]
pub struct RecoveryConfirmed(pub(crate) [u8; 8]);

/// A text that is not a recovery code. Tells where to look, never what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryCodeError {
    /// It has too few or too many characters, separators left out.
    #[error("a recovery code has {} groups of {GROUP} characters", RecoveryCode::GROUPS)]
    Length,
    /// The group's own check character does not fit.
    #[error("group {number} of the recovery code is mistyped")]
    Group {
        /// Counted from 1.
        number: usize,
    },
}

impl RecoveryCodeError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Length => "type all groups, as they were shown",
            Self::Group { .. } => "compare this group with what you wrote down",
        }
    }
}

/// Why a recovery code does not count as written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// What was typed differs from the code.
    #[error("group {number} is not what was shown")]
    Group {
        /// Counted from 1.
        number: usize,
    },
    /// One group proves nothing twice.
    #[error("the same group was given twice")]
    SameGroup,
}

impl NotConfirmed {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Group { .. } => "compare it with the code on the screen, and correct what you wrote down",
            Self::SameGroup => "type the two groups that were asked for",
        }
    }
}

const fn is_separator(character: u8) -> bool {
    character == b'-' || character.is_ascii_whitespace()
}

fn checksum(number: usize, part: &[u8]) -> u8 {
    let mut hash = Sha256::new();
    hash.update(b"recovery group");
    hash.update(number.to_be_bytes());
    hash.update(part);
    hash.finalize().first().copied().unwrap_or_default()
}

fn encode_group(number: usize, part: &[u8]) -> [u8; GROUP] {
    let mut bits = part
        .iter()
        .chain([&checksum(number, part)])
        .fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let mut group = [b'0'; GROUP];
    for place in group.iter_mut().rev() {
        let index = usize::try_from(bits & 31).unwrap_or_default();
        *place = ALPHABET.get(index).copied().unwrap_or(b'0');
        bits >>= 5;
    }
    group
}

/// `None` for a character that is none, and for a wrong checksum.
fn decode_group(number: usize, characters: &[u8]) -> Option<[u8; PART]> {
    let mut bits = 0_u64;
    for character in characters {
        let character = match character.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        };
        let index = ALPHABET.iter().position(|known| *known == character)?;
        bits = (bits << 5) | u64::try_from(index).ok()?;
    }
    let [_, _, _, part @ .., sum] = bits.to_be_bytes();
    (checksum(number, &part) == sum).then_some(part)
}
