use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bursar_model::Entropy;
use bursar_testkit::SeededEntropy;

/// One stream of numbers that a seed decides. Each part of a world draws from its own, so that a fault
/// more in one part does not change what happens in the others.
#[derive(Debug)]
pub(crate) struct Random {
    source: Mutex<SeededEntropy>,
}

impl Random {
    /// The stream `label` of the world `seed`.
    pub(crate) fn stream(seed: u64, label: &str) -> Self {
        // FNV-1a: two labels begin far apart.
        let mixed = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64 ^ seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        Self {
            source: Mutex::new(SeededEntropy::new(mixed)),
        }
    }

    fn next(&self) -> u64 {
        let mut bytes = [0; 8];
        self.source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Less than `end`; zero when that is zero.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    pub(crate) fn between(&self, from: u64, to: u64) -> u64 {
        from.saturating_add(self.below(to.saturating_sub(from).saturating_add(1)))
    }

    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(crate) fn ms(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(u64::try_from(of.len()).unwrap_or(0))).unwrap_or(0);
        &of[index]
    }
}

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        self.source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |label| Random::stream(7, label).next();

        assert_eq!(draw("venue"), draw("venue"));
        assert_ne!(draw("venue"), draw("faults"));
    }
}
