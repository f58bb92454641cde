//! A whole account in memory: the definition of what a set of fills amounts to.

use std::collections::BTreeMap;

use bursar_model::{AccountId, FillId, InexactError, Pair, UserId};
use serde::{Deserialize, Serialize};

use crate::apply::{Applied, Replayed, apply_fill, replay};
use crate::position::{OpenPosition, positions};
use crate::{ClosedLot, ExternalSale, LedgerError, LedgerFill, Lot, LotMethod};

/// Everything that the gateway traded on one account. Its state depends on the fills it was given,
/// never on the order in which they came.
///
/// Written as its fills and read by booking them again, so that a stored book cannot contradict
/// itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredBook", try_from = "StoredBook")]
pub struct Book {
    account: AccountId,
    user: UserId,
    method: LotMethod,
    pairs: BTreeMap<Pair, PairBook>,
    /// Where to find a fill: ids are unique within an account, not within a pair.
    pair_of: BTreeMap<FillId, Pair>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PairBook {
    /// In the venue's order.
    fills: Vec<LedgerFill>,
    result: Replayed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredBook {
    account: AccountId,
    user: UserId,
    method: LotMethod,
    fills: Vec<LedgerFill>,
}

/// What a fill did to a [`Book`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effects {
    /// The fill was there already; nothing changed.
    Repeated,
    /// The fill is the newest of its pair.
    Booked(Applied),
    /// The fill came late: its pair was booked again in the venue's order, and this is all of it.
    Rebooked(Replayed),
}

impl Book {
    /// The empty book of one account and of the user whose money it is.
    pub const fn new(account: AccountId, user: UserId, method: LotMethod) -> Self {
        Self {
            account,
            user,
            method,
            pairs: BTreeMap::new(),
            pair_of: BTreeMap::new(),
        }
    }

    /// Books a fill, once.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Foreign`] for a fill of another account or user, [`LedgerError::Contradiction`]
    /// for other facts under a known id. The book is unchanged after an error.
    pub fn apply(&mut self, fill: &LedgerFill) -> Result<Effects, LedgerError> {
        if fill.account != self.account || fill.user != self.user {
            return Err(LedgerError::Foreign {
                fill: fill.fill.id.clone(),
                account: fill.account.clone(),
                pair: fill.fill.pair.clone(),
            });
        }
        if let Some(known) = self.fill(&fill.fill.id) {
            // Only what the venue says must agree; the same fill may be valued again later.
            return if known.fill == fill.fill {
                Ok(Effects::Repeated)
            } else {
                Err(LedgerError::Contradiction {
                    fill: fill.fill.id.clone(),
                })
            };
        }
        let effects = self
            .pairs
            .get(fill.pair())
            .unwrap_or(&PairBook::default())
            .effects_of(fill, self.method)?;
        let pair_book = self.pairs.entry(fill.pair().clone()).or_default();
        match &effects {
            Effects::Repeated => {}
            Effects::Booked(applied) => pair_book.result.absorb(fill, applied.clone()),
            Effects::Rebooked(result) => pair_book.result = result.clone(),
        }
        let place = pair_book
            .fills
            .partition_point(|other| other.order_key() < fill.order_key());
        pair_book.fills.insert(place, fill.clone());
        self.pair_of.insert(fill.fill.id.clone(), fill.fill.pair.clone());
        Ok(effects)
    }

    /// Whether a fill is booked.
    pub fn contains(&self, id: &FillId) -> bool {
        self.pair_of.contains_key(id)
    }

    /// The only account whose fills it books.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// Whose money it is: the owner of the account. Every fill has to name the same.
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// Fixed when the book was made.
    pub const fn method(&self) -> LotMethod {
        self.method
    }

    /// The open lots of a pair, oldest first.
    pub fn lots(&self, pair: &Pair) -> &[Lot] {
        self.pairs.get(pair).map_or(&[], |book| &book.result.lots)
    }

    /// All open lots, by pair and then oldest first.
    pub fn open_lots(&self) -> impl Iterator<Item = &Lot> {
        self.pairs.values().flat_map(|book| &book.result.lots)
    }

    /// All that was closed, by pair and then in the order of closing.
    pub fn closed_lots(&self) -> impl Iterator<Item = &ClosedLot> {
        self.pairs.values().flat_map(|book| &book.result.closed)
    }

    /// All that was sold beyond the lots.
    pub fn external_sales(&self) -> impl Iterator<Item = &ExternalSale> {
        self.pairs.values().flat_map(|book| &book.result.sold_external)
    }

    /// All fills, by pair and then in the venue's order.
    pub fn fills(&self) -> impl Iterator<Item = &LedgerFill> {
        self.pairs.values().flat_map(|book| &book.fills)
    }

    /// What is held, one per pair.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn positions(&self) -> Result<Vec<OpenPosition>, InexactError> {
        positions(self.open_lots())
    }

    fn fill(&self, id: &FillId) -> Option<&LedgerFill> {
        let book = self.pairs.get(self.pair_of.get(id)?)?;
        book.fills.iter().find(|fill| fill.fill.id == *id)
    }
}

impl PairBook {
    fn effects_of(&self, fill: &LedgerFill, method: LotMethod) -> Result<Effects, LedgerError> {
        match self.fills.last() {
            Some(newest) if newest.order_key() > fill.order_key() => {
                replay(self.fills.iter().chain([fill]), method).map(Effects::Rebooked)
            }
            _ => apply_fill(&self.result.lots, fill, method).map(Effects::Booked),
        }
    }
}

impl From<Book> for StoredBook {
    fn from(book: Book) -> Self {
        Self {
            account: book.account,
            user: book.user,
            method: book.method,
            fills: (book.pairs.into_values())
                .flat_map(|pair_book| pair_book.fills)
                .collect(),
        }
    }
}

impl TryFrom<StoredBook> for Book {
    type Error = LedgerError;
    fn try_from(stored: StoredBook) -> Result<Self, LedgerError> {
        let mut book = Self::new(stored.account, stored.user, stored.method);
        for fill in &stored.fills {
            match book.apply(fill)? {
                Effects::Booked(_) | Effects::Rebooked(_) => {}
                Effects::Repeated => {
                    return Err(LedgerError::AlreadyBooked {
                        fill: fill.fill.id.clone(),
                    });
                }
            }
        }
        Ok(book)
    }
}
