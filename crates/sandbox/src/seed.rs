//! Everything random comes from one seed, through streams that do not disturb each other.

/// A generator for one purpose: the same seed and purpose always give the same stream.
pub(crate) fn generator(seed: u64, purpose: &[&str]) -> fastrand::Rng {
    let mut state = mix(seed);
    for part in purpose {
        for byte in part.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        state = mix(state ^ 0xff51);
    }
    fastrand::Rng::with_seed(state)
}

/// One well-stirred number from several.
pub(crate) fn hash(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |state, part| mix(state ^ mix(*part)))
}

/// A permutation of the numbers in which neighbours end far apart (splitmix64's finalizer).
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_streams_of_their_own() {
        let first = |seed, purpose: &[&str]| generator(seed, purpose).u64(..);

        assert_eq!(first(1, &["a"]), first(1, &["a"]));
        assert_ne!(first(1, &["a"]), first(1, &["b"]));
        assert_ne!(first(1, &["a"]), first(2, &["a"]));
        assert_ne!(first(1, &["ab", "c"]), first(1, &["a", "bc"]));
    }
}
