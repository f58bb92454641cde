//! Time and randomness, passed in from outside, so that a whole system runs in a test's own world.

use jiff::Timestamp;

/// Tells the time. The binaries read the system's clock; tests and the simulation own theirs.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// A source of random bytes fit for keys and ids. The binaries ask the operating system.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);

    /// Sixteen random bytes, as an id wants them.
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }
}
