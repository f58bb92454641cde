//! Where keys come from: the operating system's random numbers.

use bursar_model::Entropy;

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    ///
    /// On a machine without random numbers. Going on would make keys that somebody can guess, and
    /// there is nobody to return an error to.
    #[expect(clippy::panic, reason = "no key is better than one that can be guessed")]
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            panic!("the operating system gives no random numbers: {error}");
        }
    }
}
