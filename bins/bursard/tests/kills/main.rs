//! Kills the daemon while it trades and commands while they work, again and again, and compares the
//! exchange's own book with what was recorded: no duplicate, no lost order, no lost or doubled fill, no
//! limit exceeded.
//!
//! - `campaign`: many worlds side by side. In the ordinary build everything dies at random moments; in the
//!   build with the feature `points` mostly at named ones.
//! - `hand`, `chores`: the commands beside the daemon, each a process that can be killed too.
//! - `drill`: stops while the disk, the store, the keys, the machine or the exchange is in trouble.
//! - `refused`: what was on its way when the key is refused after a kill.
//! - `power`: the power goes, so that what was not synced is lost or torn; in the same build, which can
//!   also leave out the syncs, to show that the campaign sees that.
//!
//! `BURSAR_KILLS` says how often (a few when unset), `BURSAR_SEED` replays a run, `BURSAR_LANES` says how
//! many worlds at a time.

#[cfg(test)]
mod campaign;
#[cfg(test)]
mod chores;
#[cfg(test)]
#[cfg(feature = "points")]
mod disk;
#[cfg(test)]
#[cfg(feature = "points")]
mod drill;
#[cfg(test)]
mod hand;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod moments;
#[cfg(test)]
#[cfg(feature = "points")]
mod power;
#[cfg(test)]
#[cfg(feature = "points")]
mod refused;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod world;
