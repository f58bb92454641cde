//! The ledger through its public face: stories with figures worked out by hand, and rules that hold
//! for any trades.

#[cfg(test)]
mod builders;
#[cfg(test)]
mod day;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod performance;
#[cfg(test)]
mod results;
#[cfg(test)]
mod stories;
