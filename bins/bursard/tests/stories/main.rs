//! The daemon as a process of its own, from the master alone to users who trade, and what its log
//! says of it.

#[cfg(test)]
mod custody;
#[cfg(test)]
mod log;
#[cfg(test)]
mod masters_and_users;
#[cfg(test)]
mod supervised;
#[cfg(test)]
mod telling;
