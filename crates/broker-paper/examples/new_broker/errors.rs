//! The table of errors: every text of the exchange that is known, and what it proves about an order.

use bursar_broker::{ErrorClass, PlaceError};

/// A text that is not listed proves nothing: the order is looked up.
pub(crate) fn meaning(code: String) -> PlaceError {
    let class = match code.as_str() {
        "FUNDS" | "TERMS" | "LATE" => ErrorClass::Business,
        "CLOSED" => ErrorClass::VenueState,
        "KEY" => ErrorClass::Auth,
        "SAME ID" => return PlaceError::AlreadyThere { code },
        unlisted => return PlaceError::unknown(format!("the exchange said `{unlisted}`")),
    };
    PlaceError::Refused { class, code }
}
