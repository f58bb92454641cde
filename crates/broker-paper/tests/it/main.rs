//! The paper broker through its public face.

#[cfg(test)]
mod approval;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod keeping;
#[cfg(test)]
mod liars;
#[cfg(test)]
mod world;
