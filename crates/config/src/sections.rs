//! The sections of the settings, each declared once.

pub mod accounts;
pub mod brokers;
pub mod controls;
pub mod log;
pub mod strategy;
pub mod tiers;
pub mod unlock;
