//! Every interleaving of the order protocol in small worlds, with the gateway's own decisions.
//!
//! A world is one account at one exchange, one or two intents, one or two processes on one store, a network and a
//! clock of a few ticks ([`world`]). From each moment every step is taken that is possible ([`steps`]): a process
//! picks an order up, records the attempt, writes it, hears or misses the answer, looks for what it cannot tell,
//! lists what works, is killed and starts again ([`process`], [`switch`]); callers ask for orders and take them
//! back, somebody turns a switch on; requests are late, lost and delivered twice, the exchange accepts, refuses and
//! ends orders, and its lists lag ([`exchange`]). What comes of it is visited breadth first and each moment once
//! ([`search`]), so a broken rule ([`oracle`]) is told with the fewest steps that lead to it.
//!
//! The model decides nothing that the gateway decides: it asks `bursar-execution` ([`gateway`]). What it adds is the
//! surroundings, and that a transaction of the store is one step. So a change of the table or of a proof is searched
//! as it is, without a second copy to keep true.
//!
//! **Would it find anything?** Twelve mistakes ([`defect`]), each in the place of one answer, have to be found, and
//! as what they are.
//!
//! `BURSAR_MODEL_HORIZON` says how many ticks the clock of a world with one order and one process has; `just model`
//! gives it many. The same number always visits the same moments.

#[cfg(test)]
mod defect;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod grid;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod process;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod search;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod switch;
#[cfg(test)]
mod table;
#[cfg(test)]
mod world;
