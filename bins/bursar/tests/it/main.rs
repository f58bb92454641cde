//! The command line, typed as an operator types it.

mod credentials;
mod desk;
mod exit_codes;
mod faces;
mod hostile;
mod init;
mod orders;
mod process;
mod setup;
mod stories;
