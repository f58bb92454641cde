//! The contract that every adapter runs against a venue it can drive.
//!
//! The suite is filled in beside the first adapters; it talks to a [`Broker`](crate::Broker) only
//! through the trait.
