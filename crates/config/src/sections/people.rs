//! Who runs the installation.

use crate::section::{any, section};

section! {
    /// What takes two people: looser limits for everybody, turning off a switch that stops a broker or
    /// everything, ending an order that nobody can tell.
    pub struct People {
        /// One person may do both. Recorded in the audit trail, and shown in every status.
        pub alone: bool = false, any;
    }
}
