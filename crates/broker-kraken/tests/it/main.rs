//! The adapter against a small server on this machine.

#[cfg(test)]
mod approval;
#[cfg(test)]
mod placing;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod world;
