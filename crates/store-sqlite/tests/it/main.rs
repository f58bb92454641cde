//! The store through its public face.

mod conditions;
mod directory;
mod open;
mod orders;
mod support;
mod vault;
