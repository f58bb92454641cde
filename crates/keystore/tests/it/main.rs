//! The key store through its public face.

// Helpers may unwrap as tests may: the linter goes by this attribute.
#[cfg(test)]
#[path = "../../src/test_entropy.rs"]
mod test_entropy;

#[cfg(test)]
mod backups;
#[cfg(test)]
mod canaries;
#[cfg(test)]
mod checkpoint_keys;
#[cfg(test)]
mod corruption;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod key_files;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod unlocking;
#[cfg(test)]
mod vaults;
#[cfg(test)]
mod world;
