//! The crate through its public face.

// Helpers may unwrap as tests may: the linter goes by this attribute.
#[cfg(test)]
mod email;
#[cfg(test)]
mod notifier;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telegram;
#[cfg(test)]
mod webhook;
#[cfg(test)]
mod words;
