//! Things as people name them: by their ids, or by how these begin.

use std::fmt::Display;
use std::str::FromStr;

use bursar_execution::Reports as _;
use bursar_model::IntentId;
use bursar_store_sqlite::SqliteStore;

use crate::Failure;
use crate::arguments::shortened;
use crate::render::{count, harmless};

/// Fewer characters would name something by accident.
const FEWEST: usize = 4;

/// Whether that is how the id begins, or all of it.
pub(crate) fn is_how_it_begins(typed: &str, id: &impl Display) -> bool {
    typed.len() >= FEWEST && id.to_string().starts_with(&typed.to_ascii_lowercase())
}

/// What was typed, fit to be shown.
pub(crate) fn shown(typed: &str) -> String {
    shortened(&harmless(typed))
}

/// Several begin like that, and one is meant.
pub(crate) fn ambiguous(typed: &str, hits: usize, one: &str, many: &str, list: &str) -> Failure {
    Failure::usage(
        format!("`{}` is how {} begin", shown(typed), count(hits, one, many)),
        format!("type more of the id; see `{list}`"),
    )
}

/// More of one beginning are not counted.
const LOOKED_THROUGH: u32 = 1_000;

/// The id of an order, or its beginning.
#[derive(Clone, Debug)]
pub(crate) enum OrderId {
    Whole(IntentId),
    Beginning(String),
}

impl FromStr for OrderId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(id) => Ok(Self::Whole(id)),
            Err(_) if is_beginning(text) => Ok(Self::Beginning(text.to_ascii_lowercase())),
            Err(error) => Err(format!("{error}; the first {FEWEST} characters or more will do")),
        }
    }
}

/// Whether an id can begin like that: `6d1b345e-2821`.
fn is_beginning(text: &str) -> bool {
    const PATTERN: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    (FEWEST..PATTERN.len()).contains(&text.len())
        && text
            .chars()
            .zip(PATTERN.chars())
            .all(|(found, wanted)| match wanted {
                '-' => found == '-',
                _ => found.is_ascii_hexdigit(),
            })
}

impl OrderId {
    /// The order of the store that is meant.
    ///
    /// # Errors
    ///
    /// [`Exit::NotFound`](crate::Exit::NotFound) when no order begins like that,
    /// [`Exit::Usage`](crate::Exit::Usage) when several do.
    pub(crate) async fn of(self, store: &SqliteStore) -> Result<IntentId, Failure> {
        let beginning = match self {
            Self::Whole(id) => return Ok(id),
            Self::Beginning(beginning) => beginning,
        };
        match store
            .orders_beginning(&beginning, LOOKED_THROUGH)
            .await?
            .as_slice()
        {
            [] => Err(Failure::not_found(
                format!("there is no order `{beginning}`"),
                "list them with `bursar orders`",
            )),
            [one] => Ok(*one),
            hits => Err(ambiguous(
                &beginning,
                hits.len(),
                "order",
                "orders",
                "bursar orders",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_long_enough_and_could_be_an_ids() {
        for good in ["6d1b", "6D1B345E", "6d1b345e-", "6d1b345e-2821-4"] {
            assert!(matches!(good.parse(), Ok(OrderId::Beginning(_))), "{good}");
        }
        assert!(matches!(
            "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse(),
            Ok(OrderId::Whole(_))
        ));
        for bad in [
            "",
            "6d1",
            "6d1b345e2",
            "6d1b_",
            "%%%%",
            "OQCLML-BW3P3",
            "6d1b345e-2821-40e2-ad83-4ecb18a068766",
        ] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
    }
}
