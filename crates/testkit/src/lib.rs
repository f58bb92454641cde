//! What tests of the whole need: a clock and randomness of their own, people and accounts with
//! defaults, a search for secrets in places where none may be, layers between a process and its system, and every order in which tasks can take turns.
//!
//! There is no back door in here. An approved order still comes from the gate and a sealed key from
//! the key store: what tests build, they build as everybody does.
//!
//! Start reading at [`people`].

mod canary;
mod environment;
pub mod layer;
pub mod people;
pub mod schedules;

pub use canary::{Canary, Leak};
pub use environment::{SeededEntropy, TestClock, TokioClock};
