//! Whether our fills are the venue's.

use std::collections::BTreeMap;

use bursar_model::{Fill, FillId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the fills of one account differ from the venue's executions of our orders. Empty lists: no
/// fill was lost, invented or counted twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Differences {
    /// The venue has them, we do not.
    pub missing: Vec<FillId>,
    /// We have them, the venue does not.
    pub unexpected: Vec<FillId>,
    /// Both have them, with other facts.
    pub changed: Vec<FillId>,
    /// We have them more than once.
    pub repeated: Vec<FillId>,
}

impl Differences {
    /// Whether the fills are the same, with nothing in any of the four lists.
    pub const fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.changed.is_empty()
            && self.repeated.is_empty()
    }
}

/// Compares the fills of one account, entry by entry. The venue may repeat itself; we may not.
pub fn compare<'a>(
    ours: impl IntoIterator<Item = &'a Fill>,
    venue: impl IntoIterator<Item = &'a Fill>,
) -> Differences {
    let mut differences = Differences::default();
    let mut open: BTreeMap<&FillId, &Fill> = venue.into_iter().map(|fill| (&fill.id, fill)).collect();
    let mut seen: BTreeMap<&FillId, &Fill> = BTreeMap::new();
    for fill in ours {
        if seen.insert(&fill.id, fill).is_some() {
            differences.repeated.push(fill.id.clone());
            continue;
        }
        match open.remove(&fill.id) {
            None => differences.unexpected.push(fill.id.clone()),
            Some(theirs) if theirs != fill => differences.changed.push(fill.id.clone()),
            Some(_) => {}
        }
    }
    differences.missing = open.into_keys().cloned().collect();
    differences
}
