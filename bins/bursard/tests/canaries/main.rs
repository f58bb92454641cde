//! Every secret of a whole installation is a canary, and everything that the installation leaves
//! behind is searched for it: outputs and logs at their most talkative, every file of the folder,
//! arguments and environment of the daemon, and images of its memory.
//!
//! `BURSAR_IMAGES` says how many images are taken (a few when unset).

#[cfg(test)]
mod image;
#[cfg(test)]
mod search;
