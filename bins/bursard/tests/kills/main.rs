//! Kills the daemon while it trades, again and again, and compares the exchange's own book with what
//! was recorded: no duplicate, no lost order, no lost or doubled fill, no limit exceeded.
//!
//! `BURSAR_KILLS` says how often (a few when unset), `BURSAR_SEED` replays a run.

#[cfg(test)]
mod campaign;
