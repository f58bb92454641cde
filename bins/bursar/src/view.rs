//! How users, accounts, orders and switches look: as rows for people, as JSON for programs.

mod accounts;
mod orders;
mod people;
mod switches;

pub(crate) use accounts::*;
pub(crate) use orders::*;
pub(crate) use people::*;
pub(crate) use switches::*;

use serde_json::Value;

use crate::render::{Cell, Tone};

/// Adds a field to a JSON object.
pub(crate) fn insert(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(name.to_owned(), value);
    }
}

pub(crate) fn yes_no(yes: bool) -> Cell {
    if yes {
        Cell::new("yes").tone(Tone::Good)
    } else {
        Cell::new("no").tone(Tone::Dim)
    }
}

fn or_dash(text: Option<impl ToString>) -> Cell {
    text.map_or_else(|| Cell::new("-").tone(Tone::Dim), Cell::new)
}
