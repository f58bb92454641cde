//! A key's nonces: strictly rising, unless its window allows some to come late.

use std::collections::BTreeSet;

#[derive(Clone, Debug, Default)]
pub(crate) struct NonceGuard {
    highest: u64,
    window: u64,
    /// Those accepted inside the window: a nonce is good once, even there.
    recent: BTreeSet<u64>,
}

impl NonceGuard {
    pub(crate) fn new(window: u64) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    /// Uses up `nonce`; false when it is too low or was used before.
    pub(crate) fn accept(&mut self, nonce: u64) -> bool {
        let rises = nonce > self.highest;
        let in_window = self.window > 0
            && self.highest.saturating_sub(nonce) <= self.window
            && !self.recent.contains(&nonce);
        if !rises && !in_window {
            return false;
        }
        self.highest = self.highest.max(nonce);
        if self.window > 0 {
            self.recent.insert(nonce);
            let floor = self.highest.saturating_sub(self.window);
            self.recent = self.recent.split_off(&floor);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_window_a_nonce_must_rise() {
        let mut guard = NonceGuard::new(0);

        assert!(guard.accept(5));
        assert!(!guard.accept(5));
        assert!(!guard.accept(4));
        assert!(guard.accept(6));
        assert_eq!(guard.highest(), 6);
    }

    #[test]
    fn inside_a_window_a_late_nonce_is_good_once() {
        let mut guard = NonceGuard::new(10);

        assert!(guard.accept(100));
        assert!(guard.accept(92));
        assert!(!guard.accept(92));
        assert!(!guard.accept(89));
        assert!(guard.accept(90));
        assert!(!guard.accept(100));
    }
}
