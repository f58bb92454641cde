//! Bursar's requirements, told as an operator would type them, and the table that names the proof of
//! each.
//!
//! Start reading at `support.rs`; the table is `docs/requirements.md`, checked by `coverage.rs`.

#[cfg(test)]
mod controls;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod hierarchy;
#[cfg(test)]
mod hints;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod log;
#[cfg(test)]
mod looking;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod people;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod runbooks;
#[cfg(test)]
mod start;
#[cfg(test)]
mod support;
