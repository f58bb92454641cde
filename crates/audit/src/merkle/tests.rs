//! The published vectors of RFC 6962, and properties of proofs.

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

/// The leaves of the reference implementation's own tests.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

/// The roots of the trees of the first one to eight of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn published() -> Vec<Hash> {
    LEAVES
        .iter()
        .map(|hex| leaf(&HEXLOWER.decode(hex.as_bytes()).unwrap()))
        .collect()
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|number| leaf(&number.to_be_bytes())).collect()
}

fn size(leaves: &[Hash]) -> u64 {
    u64::try_from(leaves.len()).unwrap()
}

#[test]
fn the_roots_are_those_of_the_published_vectors() {
    assert_eq!(
        Tree::new().root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let mut tree = Tree::new();
    for (leaf, root) in published().into_iter().zip(ROOTS) {
        tree.push_leaf(leaf);
        assert_eq!(tree.root().to_string(), root, "of {} leaves", tree.size());
    }
}

#[test]
fn the_proofs_are_those_of_the_published_vectors() {
    let leaves = published();
    let hex = |path: Vec<Hash>| path.iter().map(ToString::to_string).collect::<Vec<_>>();

    assert_eq!(
        hex(inclusion_proof(&leaves, 0).unwrap()),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
    assert_eq!(
        hex(consistency_proof(&leaves, 6).unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn every_leaf_of_every_small_tree_is_proved_and_no_other() {
    for count in 1..40 {
        let leaves = leaves(count);
        let root = root_of(&leaves);
        for (index, leaf) in leaves.iter().enumerate() {
            let path = inclusion_proof(&leaves, index).unwrap();
            for other in 0..count {
                let found = is_included(*leaf, u64::try_from(other).unwrap(), size(&leaves), &root, &path);
                assert_eq!(found, other == index, "{index} of {count}, taken for {other}");
            }
        }
        assert_eq!(inclusion_proof(&leaves, count), None);
    }
}

#[test]
fn every_small_tree_is_proved_to_begin_with_every_smaller_one() {
    for count in 1..40 {
        let leaves = leaves(count);
        let new = (size(&leaves), root_of(&leaves));
        assert_eq!(consistency_proof(&leaves, 0), None);
        assert_eq!(consistency_proof(&leaves, count + 1), None);
        for before in 1..=count {
            let old = (u64::try_from(before).unwrap(), root_of(&leaves[..before]));
            let path = consistency_proof(&leaves, before).unwrap();
            assert!(
                is_consistent((old.0, &old.1), (new.0, &new.1), &path),
                "{before} of {count}"
            );
        }
    }
}

proptest! {
    #[test]
    fn a_changed_history_has_no_proof(
        count in 2..200_usize,
        before in 1..200_usize,
        changed in 0..200_usize,
        bit in 0..256_usize,
    ) {
        let before = 1 + before % count;
        let changed = changed % before;
        let honest = leaves(count);
        let old = root_of(&honest[..before]);
        let mut forged = honest.clone();
        let mut bytes = *forged[changed].as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        forged[changed] = Hash::from_bytes(bytes);
        let new = root_of(&forged);
        let sizes = (u64::try_from(before).unwrap(), u64::try_from(count).unwrap());

        for path in [consistency_proof(&forged, before), consistency_proof(&honest, before)] {
            prop_assert!(!is_consistent((sizes.0, &old), (sizes.1, &new), &path.unwrap()));
        }
    }

    #[test]
    fn a_proof_with_a_changed_hash_is_refused(
        count in 3..200_usize,
        before in 1..200_usize,
        place in 0..16_usize,
        bit in 0..256_usize,
    ) {
        let before = 1 + before % (count - 1);
        let leaves = leaves(count);
        let (old, new) = (root_of(&leaves[..before]), root_of(&leaves));
        let mut path = consistency_proof(&leaves, before).unwrap();
        let place = place % path.len();
        let mut bytes = *path[place].as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        path[place] = Hash::from_bytes(bytes);
        let sizes = (u64::try_from(before).unwrap(), u64::try_from(count).unwrap());

        prop_assert!(!is_consistent((sizes.0, &old), (sizes.1, &new), &path));
    }

    #[test]
    fn a_tree_goes_on_from_what_was_kept(before in 0..300_usize, after in 0..50_usize) {
        let all = leaves(before + after);
        let mut kept = Tree::new();
        all[..before].iter().for_each(|leaf| kept.push_leaf(*leaf));

        let mut resumed = Tree::resume(kept.size(), &kept.peaks()).unwrap();
        all[before..].iter().for_each(|leaf| resumed.push_leaf(*leaf));

        prop_assert_eq!(resumed.root(), root_of(&all));
        let mut cut = kept.peaks();
        cut.push(0);
        prop_assert!(Tree::resume(kept.size(), &cut).is_err());
        prop_assert!(Tree::resume(kept.size() + 1, &kept.peaks()).is_err() || before % 2 == 1);
    }
}
