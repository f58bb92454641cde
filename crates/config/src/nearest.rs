//! The right name for a wrong one.

/// The candidate that is fewest slips away from `wrong`, if it is near enough to be meant.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = wrong.chars().count();
    let near_enough = (letters / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(wrong, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut previous_letter = None;
    for (row, letter) in a.chars().enumerate() {
        let mut current = vec![row.saturating_add(1)];
        for (column, other) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let put_in = at(&current, column).saturating_add(1);
            let take_out = at(&above, column.saturating_add(1)).saturating_add(1);
            let change = at(&above, column).saturating_add(usize::from(letter != *other));
            let mut best = put_in.min(take_out).min(change);
            let swapped = column
                .checked_sub(1)
                .filter(|left| previous_letter == Some(*other) && b.get(*left) == Some(&letter));
            if let Some(left) = swapped {
                best = best.min(at(&before, left).saturating_add(1));
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
        previous_letter = Some(letter);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, slips) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("position", "positon", 1),
            ("position", "psoition", 1),
            ("position", "positions", 1),
            ("daily", "weekly", 4),
        ] {
            assert_eq!(distance(a, b), slips, "`{a}` and `{b}`");
            assert_eq!(distance(b, a), slips, "`{b}` and `{a}`");
        }
    }

    #[test]
    fn only_a_name_that_may_be_meant_is_offered() {
        let names = ["max_position_usd", "max_positions", "pairs"];

        assert_eq!(nearest("max_positon_usd", names), Some("max_position_usd"));
        assert_eq!(nearest("pair", names), Some("pairs"));
        assert_eq!(nearest("leverage", names), None);
    }
}
