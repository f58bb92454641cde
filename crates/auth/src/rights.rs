//! Who may share an account.

use bursar_model::{Right, Rights};

/// Whether somebody who holds `held` on an account may give somebody else `granted` on it: only
/// who manages may grant, and never more than they hold.
pub fn may_grant(held: Rights, granted: Rights) -> bool {
    held.has(Right::Manage) && granted.is_within(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATTICE: [&str; 5] = ["none", "view", "view,trade", "view,manage", "view,trade,manage"];

    #[test]
    fn d20_only_who_manages_grants_and_never_more_than_they_hold() {
        let rights = |text: &str| text.parse::<Rights>().unwrap();
        let mut table = String::new();
        for held in LATTICE {
            for granted in LATTICE {
                if may_grant(rights(held), rights(granted)) {
                    table.push_str(&format!("{held} may grant {granted}\n"));
                }
            }
        }

        insta::assert_snapshot!(table, @r"
        view,manage may grant none
        view,manage may grant view
        view,manage may grant view,manage
        view,trade,manage may grant none
        view,trade,manage may grant view
        view,trade,manage may grant view,trade
        view,trade,manage may grant view,manage
        view,trade,manage may grant view,trade,manage
        ");
    }
}
