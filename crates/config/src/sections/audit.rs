//! Where proofs of the audit trail go.

use crate::section::{any, section};
use crate::values::Text;

section! {
    /// Proofs of the audit trail.
    pub struct Audit {
        /// A file on another volume to which each signed checkpoint is appended. Without one, the audit
        /// trail only detects mistakes, not an attacker with write access and the key.
        pub checkpoint_file: Option<Text> = None, any;
    }
}
