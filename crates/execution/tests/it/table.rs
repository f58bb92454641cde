//! `docs/orders.md` is rendered from the table that the store consults.

use std::fmt::Write as _;
use std::path::Path;

use bursar_execution::machine::{BEGINNINGS, BOOKING, POINTS, Reservation, TRANSITIONS};
use bursar_model::IntentState;
use strum::IntoEnumIterator;

const BEGINS: &str = "\
# The life of an order

This page is rendered from the table in `crates/execution/src/machine.rs`, which the store consults
inside every transaction that changes an order, and to which the self-check holds the audit trail. A
test compares the two; `just orders-page` writes the page anew.

What is not in the table cannot happen. In particular: nothing leaves a state in which an order is
over, no timer ends an order that may be at the exchange, and nothing leads back to sending once a
byte may have left.
";

fn page() -> String {
    let mut page = BEGINS.to_owned();
    states(&mut page);
    transitions(&mut page);
    points(&mut page);
    page
}

fn states(page: &mut String) {
    page.push_str("\n## States\n\n| state | over | holds reservations | leads to |\n|---|---|---|---|\n");
    for state in IntentState::iter() {
        let mut next: Vec<String> = TRANSITIONS
            .iter()
            .filter(|row| row.from == state)
            .map(|row| format!("`{}`", row.to))
            .collect();
        next.sort();
        next.dedup();
        let yes = |is: bool| if is { "yes" } else { "no" };
        let next = if next.is_empty() {
            "-".to_owned()
        } else {
            next.join(", ")
        };
        writeln!(
            page,
            "| `{state}` | {} | {} | {next} |",
            yes(state.is_terminal()),
            yes(state.is_reserving())
        )
        .unwrap();
    }
}

fn transitions(page: &mut String) {
    page.push_str(
        "\n## Transitions\n\n\
         Each is one transaction. Each writes its audit record and its event too, and is refused when the order\n\
         is in another state by then. T9, sending again, does not exist: no exchange that is served here repeats an\n\
         answer for ever.\n\n\
         | | from | step | to | reservations | only if | writes |\n|---|---|---|---|---|---|---|\n",
    );
    for begin in BEGINNINGS {
        writeln!(
            page,
            "| {} | - | `admit` | `{}` | {} | {} | {} |",
            begin.number, begin.to, begin.reservation, begin.guard, begin.writes
        )
        .unwrap();
    }
    let mut rows: Vec<_> = TRANSITIONS.iter().collect();
    rows.sort_by_key(|row| order(row.number));
    let booking = format!(
        "| {} | `open` | `book` | `{}` | {} | {} | {} |\n",
        BOOKING.number, BOOKING.to, BOOKING.reservation, BOOKING.guard, BOOKING.writes
    );
    let mut is_booked = false;
    for row in rows {
        if !is_booked && order(row.number) > order(BOOKING.number) {
            page.push_str(&booking);
            is_booked = true;
        }
        let reservation = match row.reservation {
            Reservation::Kept => "kept",
            Reservation::Released => "released",
        };
        writeln!(
            page,
            "| {} | `{}` | `{}` | `{}` | {reservation} | {} | {} |",
            row.number, row.from, row.step, row.to, row.guard, row.writes
        )
        .unwrap();
    }
}

/// `T7b` comes after `T7`.
fn order(number: &str) -> (u32, bool) {
    let digits = number.trim_start_matches('T').trim_end_matches('b');
    (digits.parse().unwrap(), number.ends_with('b'))
}

fn points(page: &mut String) {
    page.push_str("\n## What is on disk when\n\n| | what happens | promise |\n|---|---|---|\n");
    for point in POINTS {
        writeln!(page, "| {} | {} | {} |", point.name, point.what, point.promise).unwrap();
    }
}

#[test]
fn the_page_about_orders_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/orders.md");
    let page = page();
    if std::env::var_os("BURSAR_WRITE_PAGES").is_some() {
        std::fs::write(&path, &page).unwrap();
    }

    let kept = std::fs::read_to_string(&path).unwrap_or_default();

    assert!(
        kept == page,
        "docs/orders.md is not the table: run `just orders-page`\n{page}"
    );
}

#[test]
fn every_number_of_the_safety_rules_is_there() {
    let mut numbers: Vec<&str> = TRANSITIONS.iter().map(|row| row.number).collect();
    numbers.extend(BEGINNINGS.iter().map(|begin| begin.number));
    numbers.push(BOOKING.number);
    numbers.sort_by_key(|number| order(number));
    numbers.dedup();

    // T9 sends again, which no profile here allows. T8b is of a store that was put back: decision 23.
    assert_eq!(
        numbers,
        [
            "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T7b", "T8", "T8b", "T10", "T11", "T12", "T13", "T14"
        ]
    );
}
