//! The store through its public face.

// Helpers may unwrap as tests may: the linter goes by this attribute.
#[cfg(test)]
mod backups;
#[cfg(test)]
mod breaker;
#[cfg(test)]
mod checkpoints;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod corruption;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod days;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod equity;
#[cfg(test)]
mod fills;
#[cfg(test)]
mod joined;
#[cfg(test)]
mod latches;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod losses;
#[cfg(test)]
mod notices;
#[cfg(test)]
mod open;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod people;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod revisions;
#[cfg(test)]
mod self_check;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod superseded;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod transitions;
#[cfg(test)]
mod vault;
#[cfg(test)]
mod written_off;
