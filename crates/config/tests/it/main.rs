//! Settings through the front door: what is read, what is refused and how, and what comes back out.

mod mistakes;
mod preferences;
mod settings;
