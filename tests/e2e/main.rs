//! Stories: the whole gateway before a local exchange, from the request to the exchange's own book.
//!
//! Start reading at `one_order.rs`.
#![cfg(test)]

mod accounts;
mod approval;
mod comparing;
mod contract;
mod filling;
mod flattening;
mod hierarchy;
mod limits;
mod losses;
mod lost_answers;
mod never_arrived;
mod one_order;
mod refusals;
mod restarts;
mod switches;
mod time;
