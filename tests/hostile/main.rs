//! The kept corpus, played through the functions that the fuzzer searches with: what was found once
//! stays found without a fuzzer.

// Helpers may unwrap as tests may: the linter goes by this attribute.
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod seeds;
