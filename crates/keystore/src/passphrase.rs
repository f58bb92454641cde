//! Which passphrases are too easy to guess.

use std::collections::BTreeSet;

use crate::secret::Secret;

const SHORTEST: usize = 12;
const FEWEST_DIFFERENT: usize = 6;
/// What guessing begins with. A passphrase must be long enough without any of them.
const GUESSED_FIRST: [&str; 14] = [
    "password",
    "passphrase",
    "passwort",
    "bursar",
    "qwerty",
    "qwertz",
    "asdfgh",
    "letmein",
    "welcome",
    "iloveyou",
    "admin",
    "secret",
    "changeme",
    "trustno1",
];

/// Why a passphrase is too weak to guard exchange keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassphrase {
    /// Fewer than 12.
    #[error("the passphrase has fewer than {SHORTEST} characters")]
    Short,
    /// Fewer than 6.
    #[error("the passphrase has fewer than {FEWEST_DIFFERENT} different characters")]
    FewCharacters,
    /// It is a text of at most half its length, over and over.
    #[error("the passphrase repeats a shorter text")]
    Repeated,
    /// More than half of its characters are the neighbour, in Unicode, of the one before, or the same.
    #[error("the passphrase is mostly a run of neighbouring characters")]
    Run,
    /// Without the common words in it, fewer than 12 characters are left.
    #[error("the passphrase is mostly a word that is guessed first")]
    GuessedFirst,
    /// It cannot be typed again on another machine with certainty.
    #[error("the passphrase is not text in UTF-8")]
    NotText,
}

impl WeakPassphrase {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        "take five or more random words, or 16 or more random characters from a password manager"
    }
}

/// Refuses what is guessed soon in spite of the stretching. Passing it proves nothing good.
///
/// # Errors
///
/// The first rule that the passphrase breaks.
pub fn check_passphrase(passphrase: &Secret) -> Result<(), WeakPassphrase> {
    let text = std::str::from_utf8(passphrase.expose()).map_err(|_| WeakPassphrase::NotText)?;
    let length = text.chars().count();
    if length < SHORTEST {
        return Err(WeakPassphrase::Short);
    }
    let different: BTreeSet<char> = text.chars().collect();
    if different.len() < FEWEST_DIFFERENT {
        return Err(WeakPassphrase::FewCharacters);
    }
    if (1..=length / 2).any(|period| text.chars().skip(period).eq(text.chars().take(length - period))) {
        return Err(WeakPassphrase::Repeated);
    }
    let neighbours = text
        .chars()
        .zip(text.chars().skip(1))
        .filter(|(left, right)| u32::from(*left).abs_diff(u32::from(*right)) <= 1)
        .count();
    if neighbours * 2 > length {
        return Err(WeakPassphrase::Run);
    }
    let guessed = GUESSED_FIRST
        .iter()
        .map(|word| word.len() * count_ignoring_case(passphrase.expose(), word.as_bytes()))
        .sum::<usize>();
    if length < SHORTEST + guessed {
        return Err(WeakPassphrase::GuessedFirst);
    }
    Ok(())
}

/// Without making a lower-case copy of the secret.
fn count_ignoring_case(text: &[u8], word: &[u8]) -> usize {
    text.windows(word.len())
        .filter(|window| window.eq_ignore_ascii_case(word))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), WeakPassphrase> {
        check_passphrase(&Secret::from_text(text.to_owned()))
    }

    #[test]
    fn weak_passphrases_are_refused_with_their_reason() {
        assert_eq!(check("tr0ub4dor&3"), Err(WeakPassphrase::Short));
        assert_eq!(check("ababcabcabbacc"), Err(WeakPassphrase::FewCharacters));
        assert_eq!(check("k7!mQzk7!mQzk7!mQz"), Err(WeakPassphrase::Repeated));
        assert_eq!(check("abcdefghijklmnop"), Err(WeakPassphrase::Run));
        assert_eq!(check("9876543210zyx"), Err(WeakPassphrase::Run));
        assert_eq!(check("MyPassword2026!"), Err(WeakPassphrase::GuessedFirst));
        assert_eq!(
            check("passwordpasswordpassword1234"),
            Err(WeakPassphrase::GuessedFirst)
        );
        assert_eq!(
            check_passphrase(&Secret::from_bytes(vec![0xff; 16])),
            Err(WeakPassphrase::NotText)
        );
    }

    #[test]
    fn each_rule_bites_from_its_limit_on() {
        // 12 characters; the shortest one above has 11.
        assert_eq!(check("vR9#kd2!Lw0x"), Ok(()));
        // Six different ones, and five.
        assert_eq!(check("acegikkigeca"), Ok(()));
        assert_eq!(check("acegiigecaei"), Err(WeakPassphrase::FewCharacters));
        // Six pairs of neighbours in 12 characters, and seven.
        assert_eq!(check("abcdefg2K9w!"), Ok(()));
        assert_eq!(check("abcdefgh2K9w"), Err(WeakPassphrase::Run));
        // 12 characters besides what is guessed first, and 11.
        assert_eq!(check("vR9#kd2!Lw0xpassword"), Ok(()));
        assert_eq!(check("vR9#kd2!Lw0password"), Err(WeakPassphrase::GuessedFirst));
        assert_eq!(check("vR9#kd2!Lw0xbursarpassword"), Ok(()));
        assert_eq!(
            check("vR9#kd2!Lw0bursarpassword"),
            Err(WeakPassphrase::GuessedFirst)
        );
    }

    #[test]
    fn five_words_and_random_characters_pass() {
        assert_eq!(check("walnut harbour violin eleven moss"), Ok(()));
        assert_eq!(check("vR9#kd2!Lw0xPq7z"), Ok(()));
        assert_eq!(check("grüne Möwen fliegen über Nacht"), Ok(()));
    }
}
