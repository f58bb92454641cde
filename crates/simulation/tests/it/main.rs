//! What a simulation must be before anybody believes it: repeatable, quiet where nothing is wrong, and
//! loud where something is.
#![cfg(test)]

mod bites;
mod repeats;
