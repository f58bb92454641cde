//! The command line, typed as an operator types it.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod bad_disk;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod desk;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod exit_codes;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod faces;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod init;
#[cfg(test)]
mod keystore;
#[cfg(test)]
mod notify;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod people;
#[cfg(test)]
mod process;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod stats;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod users;
