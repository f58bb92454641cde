//! What a text from outside may hold where people read it.

/// Whether a character shows itself, as it stands there: no control character, and none that turns the reading
/// direction, breaks a line or hides. Of two names that differ by such a one alone nobody can tell which is which.
pub fn is_shown(c: char) -> bool {
    let turns_or_hides = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !turns_or_hides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_hides_is_not_shown() {
        for hidden in [
            '\n',
            '\u{1b}',
            '\u{7f}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{202e}',
            '\u{2066}',
            '\u{e0041}',
        ] {
            assert!(!is_shown(hidden), "{hidden:?}");
        }
        for shown in ['a', ' ', 'é', 'Ж', '漢', '—', '€'] {
            assert!(is_shown(shown), "{shown:?}");
        }
    }
}
