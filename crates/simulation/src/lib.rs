//! Whole worlds of gateway processes and exchanges, each decided by one seed, and what must hold in them.
//!
//! A world is the real gateway (store, gate, desks, flattener, price feed, loss checks) in one or two
//! processes on one simulated machine, and exchanges of the classes A, B and C of `docs/safety.md`. Its
//! time, its randomness, its network, its disk and every fault come from the seed. When the faults are
//! over and time has passed, the oracles compare the stores with the exchanges' own books.
//!
//! Start reading at [`run`]; then the oracles, each beside the number of the rule that it knows.
//! [`Defect`] lists the mistakes that the oracles must find: proof that they can.
//!
//! # Invariants
//!
//! - A seed decides everything: two runs of it write the same log and the same audit trail.
//! - Nothing of the product knows that it is simulated, but that its store works on the calling task.
//! - Oracles are no code of the product: they read its stores and know the exchanges' books.
//! - Faults end before a world is judged; what is still unknown then is a failure.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a mistake in the simulation itself must end it, and names nobody else's fault"
)]

mod backups;
mod broker;
mod campaign;
mod clock;
mod defect;
mod defective;
mod fate;
mod faults;
mod leaps;
mod log;
mod machine;
mod node;
mod operator;
mod oracle;
mod plan;
mod process;
mod random;
mod rates;
mod truth;
mod venue;
mod weather;
mod workload;
mod world;

pub use campaign::Campaign;
pub use defect::Defect;
pub use oracle::{ORACLES, Violation};
pub use world::{Outcome, run, run_with, run_without_faults};
