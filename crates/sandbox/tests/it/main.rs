//! The exchange through its public face.

#[cfg(test)]
mod access;
#[cfg(test)]
mod data;
#[cfg(test)]
mod determinism;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod life;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod world;
