//! Each command that changes keys, users or whole stores, ended by SIGKILL before each step by which it changes
//! files: the store opens afterwards, whole, with what was or with what was asked for, and the same command
//! brings it there.
//!
//! `BURSAR_STEPS` says how many steps of each command are tried (all with `all`); which ones, a seed decides
//! (`BURSAR_SEED`). A layer of C stands between the command and its files: `layer.c`.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod trial;
