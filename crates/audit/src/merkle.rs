//! The Merkle tree over the records (RFC 6962, section 2), whose root a checkpoint signs.
//!
//! A leaf is the hash of one record. [`Tree`] keeps no more than the roots of its full subtrees, one
//! for each bit that is set in its size, so that it grows by a record without reading those before.

use crate::Hash;
use sha2::{Digest, Sha256};

/// The leaf of a record, or of any other bytes.
pub fn leaf(bytes: &[u8]) -> Hash {
    let digest = Sha256::new().chain_update([0]).chain_update(bytes).finalize();
    Hash::from_bytes(digest.into())
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    let digest = Sha256::new()
        .chain_update([1])
        .chain_update(left.as_bytes())
        .chain_update(right.as_bytes())
        .finalize();
    Hash::from_bytes(digest.into())
}

/// An append-only tree, as its size and the roots of its full subtrees, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

/// Bytes that are no state of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} records has {} full subtrees, not {found} bytes of them", .size.count_ones())]
pub struct InvalidTree {
    size: u64,
    found: usize,
}

impl Tree {
    /// Over no records: its root is that of the empty tree.
    pub const fn new() -> Self {
        Self {
            size: 0,
            peaks: Vec::new(),
        }
    }

    /// How many records are in it.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends the record with this hash.
    pub fn push(&mut self, record: &Hash) {
        self.push_leaf(leaf(record.as_bytes()));
    }

    /// Appends a leaf made by [`leaf`].
    pub fn push_leaf(&mut self, leaf: Hash) {
        let mut node = leaf;
        let mut full = self.size;
        while full & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = parent(&left, &node);
            full >>= 1;
        }
        self.peaks.push(node);
        self.size = self.size.saturating_add(1);
    }

    /// The hash of the whole tree; of nothing at all for an empty one.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return Hash::of(b"");
        };
        peaks.fold(*last, |right, left| parent(left, &right))
    }

    /// What a store keeps beside [`Tree::size`] to go on from here.
    pub fn peaks(&self) -> Vec<u8> {
        self.peaks.iter().flat_map(|peak| *peak.as_bytes()).collect()
    }

    /// A tree as it was kept. Whether its root is the right one is for the caller to compare.
    ///
    /// # Errors
    ///
    /// [`InvalidTree`] when there are not as many subtrees as a tree of this size has.
    pub fn resume(size: u64, peaks: &[u8]) -> Result<Self, InvalidTree> {
        let invalid = InvalidTree {
            size,
            found: peaks.len(),
        };
        let (hashes, rest) = peaks.as_chunks::<32>();
        let fits = rest.is_empty() && u32::try_from(hashes.len()) == Ok(size.count_ones());
        let peaks = hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect();
        fits.then_some(Self { size, peaks }).ok_or(invalid)
    }
}

/// The largest power of two below `size`, which is at least two.
const fn split(size: u64) -> u64 {
    let below = size.saturating_sub(1);
    match below.checked_ilog2() {
        Some(bits) => 1 << bits,
        None => 0,
    }
}

fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::new();
    for leaf in leaves {
        tree.push_leaf(*leaf);
    }
    tree.root()
}

/// The two halves of a tree with more than one leaf.
fn halves(leaves: &[Hash]) -> Option<(&[Hash], &[Hash])> {
    let size = u64::try_from(leaves.len()).ok().filter(|size| *size > 1)?;
    leaves.split_at_checked(usize::try_from(split(size)).ok()?)
}

/// The hashes beside the way from leaf number `index` (from 0) up to the root; `None` if there is no
/// such leaf.
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let Some((left, right)) = halves(leaves) else {
        return Some(Vec::new());
    };
    let (mut path, beside) = match index.checked_sub(left.len()) {
        None => (inclusion_proof(left, index)?, root_of(right)),
        Some(index) => (inclusion_proof(right, index)?, root_of(left)),
    };
    path.push(beside);
    Some(path)
}

/// Whether `leaf` is number `index` (from 0) of the tree of `size` leaves with this root.
pub fn is_included(leaf: Hash, index: u64, size: u64, root: &Hash, path: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size.saturating_sub(1));
    let mut hash = leaf;
    for beside in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = parent(beside, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = parent(&hash, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The hashes that prove that the tree of all `leaves` begins with the first `old` of them; `None`
/// unless there are at least `old`, and `old` is not zero.
pub fn consistency_proof(leaves: &[Hash], old: usize) -> Option<Vec<Hash>> {
    let fits = old > 0 && old <= leaves.len();
    fits.then(|| subproof(leaves, old, true)).flatten()
}

fn subproof(leaves: &[Hash], old: usize, is_whole: bool) -> Option<Vec<Hash>> {
    if old == leaves.len() {
        return Some(if is_whole {
            Vec::new()
        } else {
            vec![root_of(leaves)]
        });
    }
    let (left, right) = halves(leaves)?;
    let (mut path, beside) = match old.checked_sub(left.len()) {
        None | Some(0) => (subproof(left, old, is_whole)?, root_of(right)),
        Some(old) => (subproof(right, old, false)?, root_of(left)),
    };
    path.push(beside);
    Some(path)
}

/// Whether the tree of `new` leaves begins with the tree of `old` leaves (RFC 9162, section 2.1.4.2).
/// Nothing is proved of an empty tree.
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    let (mut node, mut last) = (old_size.saturating_sub(1), new_size.saturating_sub(1));
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // A power of two is a subtree of the new tree: its own root comes first.
    let mut path = path.iter();
    let first = if old_size.is_power_of_two() {
        Some(old_root)
    } else {
        path.next()
    };
    let Some(first) = first else { return false };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for beside in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = parent(beside, &old_hash);
            new_hash = parent(beside, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = parent(&new_hash, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests;
