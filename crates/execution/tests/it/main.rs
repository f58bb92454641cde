//! The desk between a journal and a venue in memory, and the pure rules around it.

#[cfg(test)]
mod cancelling;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod deciding;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod feeding;
#[cfg(test)]
mod flattening;
#[cfg(test)]
mod halting;
#[cfg(test)]
mod looking;
#[cfg(test)]
mod sending;
#[cfg(test)]
mod store;
#[cfg(test)]
mod table;
#[cfg(test)]
mod venue;
#[cfg(test)]
mod world;
