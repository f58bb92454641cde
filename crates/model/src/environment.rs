//! Time and randomness, passed in from outside, so that a whole system runs in a test's own world.

use jiff::Timestamp;

/// Tells the time. The binaries read the system's clock; tests and the simulation own theirs.
///
/// A function is a clock:
///
/// ```
/// use bursar_model::Clock;
///
/// let system: &dyn Clock = &jiff::Timestamp::now;
/// assert!(system.now() > jiff::Timestamp::UNIX_EPOCH);
/// ```
pub trait Clock: Send + Sync {
    /// The time at this moment, in UTC.
    fn now(&self) -> Timestamp;
}

impl<F: Fn() -> Timestamp + Send + Sync> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

/// A source of random bytes fit for keys and ids. The binaries ask the operating system, by
/// `bursar_keystore::SystemEntropy`.
pub trait Entropy: Send + Sync {
    /// Fills all of `bytes`. There is no error: a source that has nothing to give must not return.
    fn fill(&self, bytes: &mut [u8]);

    /// Sixteen random bytes, as an id wants them.
    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }
}
