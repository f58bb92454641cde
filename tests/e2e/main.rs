//! Stories: the whole gateway before a local exchange, from the request to the exchange's own book.
#![cfg(test)]

mod approval;
mod contract;
mod one_order;
mod time;
