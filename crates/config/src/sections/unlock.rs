//! How the key store is unlocked without anybody typing.

use crate::section::{any, section};
use crate::values::Text;

section! {
    /// How the key store is unlocked at the start, where nobody types a passphrase.
    pub struct Unlock {
        /// The file with the unlock key, away from the store and its backups. "~/" is the home of
        /// whoever runs the program.
        pub file: Text = Text::fixed("~/.config/bursar/unlock.key"), any;
    }
}
