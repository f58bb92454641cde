//! Trading cycles: what each account looks at, decides and asks for, again and again.

mod indicators;
mod protection;
mod signal;
mod sizing;
mod trend_momentum;

pub use indicators::{atr, ema, rsi};
pub use protection::{ExitReason, Protection, ProtectionRules};
pub use signal::{MarketView, Signal, Strategy, Strength};
pub use sizing::{Bound, NoSize, Size, SizingInput, order_size, size_base};
pub use trend_momentum::{InvalidParameters, TrendMomentum, TrendMomentumParameters};
