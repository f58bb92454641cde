//! Trading cycles: what each account looks at, decides and asks for, again and again.
//!
//! A [`TradingFloor`] runs one [`CycleRunner`] per account, each on its own: an account that fails or
//! hangs delays nobody. A cycle reads its account anew, protects and sells what is held, and buys at
//! most one pair. It only *asks*: every order goes through the gate like anybody's
//! ([`OrderDesk`]).
//!
//! A [`Strategy`] is a pure function from a [`MarketView`] to a [`Signal`]. [`TrendMomentum`] is the
//! reference. Stops and targets ([`Protection`]) and sizes ([`order_size`]) do not belong to a
//! strategy: they are the same for all, and follow the risk level.
//!
//! Not here: predicting prices, and orders that wait at the exchange. Stops work while the daemon
//! runs.
//!
//! Start reading at [`CycleRunner`]; [`TrendMomentum`] is one page.
//!
//! # Invariants
//!
//! - How a strategy decides is the operator's: what it sees holds nothing of a user's settings.
//! - A stop is on disk before its position is asked for, and survives a restart.
//! - What has to be sold is sold also when nothing may be bought, and when there are no bars.
//! - A size fits every limit at worst, with the gate's collar and the fee; every rounding is down.
//! - A pair that is held, or has an order on its way, is not bought again.

#![warn(missing_docs)]

mod account;
mod cycle;
mod desk;
mod floor;
mod indicators;
mod notebook;
mod prices;
mod protection;
mod signal;
mod sizing;
mod step;
#[cfg(test)]
mod test_world;
mod trend_momentum;

pub use account::{AccountSource, AccountState, StoredAccounts, TradedAccount, WorkingOrder};
pub use cycle::{CycleParts, CycleRunner, CycleSettings};
pub use desk::{CycleOrder, OrderDesk, SubmitError, Submitted};
pub use floor::{Roster, RosterEntry, TradingFloor};
pub use indicators::{atr, ema, rsi};
pub use notebook::{MemoryNotebook, Notebook, Notes};
pub use prices::Prices;
pub use protection::{ExitReason, Protection, ProtectionRules};
pub use signal::{MarketView, Signal, Strategy, Strength};
pub use sizing::{Bound, NoSize, Size, SizingInput, order_size, size_base};
pub use step::{CycleReport, Step};
pub use trend_momentum::{InvalidParameters, TrendMomentum, TrendMomentumParameters};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
