//! The sections of the settings, each declared once.

pub mod accounts;
pub mod audit;
pub mod backups;
pub mod brokers;
pub mod controls;
pub mod log;
pub mod notify;
pub mod people;
pub mod strategy;
pub mod switches;
pub mod tiers;
pub mod unlock;
