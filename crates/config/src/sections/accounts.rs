//! How accounts are connected and watched.

use crate::section::{any, section};
use crate::values::{Milliseconds, Seconds};

section! {
    /// How accounts are connected and watched.
    pub struct Accounts {
        /// How often the balances of an account are read.
        pub balance_poll_s: Seconds = Seconds(30), Seconds::some;
        /// How often orders and fills of an account are read.
        pub order_poll_ms: Milliseconds = Milliseconds(2_000), Milliseconds::some;
        /// How often the price of a pair that is traded is read.
        pub quote_poll_ms: Milliseconds = Milliseconds(2_000), Milliseconds::some;
        /// The pause before the second attempt to connect. It doubles with every attempt, ...
        pub reconnect_min_s: Seconds = Seconds(1), Seconds::some;
        /// ... up to this.
        pub reconnect_max_s: Seconds = Seconds(300), Seconds::some;
        /// The pause between two accounts when many connect at once.
        pub connect_stagger_ms: Milliseconds = Milliseconds(250), any;
    }
}
