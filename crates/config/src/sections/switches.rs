//! Ways to stop that need neither the store nor the command line.

use std::collections::BTreeSet;

use bursar_model::AccountId;

use crate::section::{any, section};
use crate::values::Text;

section! {
    /// Ways to stop when the store cannot be written, and what is kept back so that it can.
    pub struct Switches {
        /// Takes stops that the store could not take, one line each; the daemon obeys them at once.
        /// In the data folder, unless the path is absolute.
        pub emergency_file: Text = Text::fixed("emergency.jsonl"), any;
        /// Whoever makes this file halts all trading; the daemon removes it when that is recorded.
        /// In the data folder, unless the path is absolute.
        pub halt_file: Text = Text::fixed("HALT"), any;
        /// A file of so many megabytes is removed when the disk is full, so that stops, cancels and
        /// fills can be recorded. 0: none is made.
        pub ballast_mb: u32 = 64, any;
        /// No new risk while less than this is free on the disk of the store. 0: never mind.
        pub min_free_mb: u32 = 500, any;
        /// Accounts whose exchange cancels every order when it hears nothing of the daemon for a minute.
        /// It cancels those too that the owner placed by hand, fires during the exchange's maintenance,
        /// and closes no position: it is no substitute for a switch. Only with the owner's consent.
        pub dead_man_accounts: BTreeSet<AccountId> = BTreeSet::new(), any;
    }
}
