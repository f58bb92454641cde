//! How long backups are kept.

use std::time::Duration;

use crate::section::{at_least_one, section};

section! {
    /// What becomes of backups.
    pub struct Backups {
        /// The days after which you delete a backup. Bursar deletes none, wherever they are: where a key or a user
        /// is erased, it says the day on which the last backup with them has to be gone.
        pub keep_days: u32 = 30, at_least_one;
    }
}

impl Backups {
    /// [`Backups::keep_days`] as a span of time.
    pub fn kept(&self) -> Duration {
        Duration::from_secs(u64::from(self.keep_days).saturating_mul(24 * 60 * 60))
    }
}
