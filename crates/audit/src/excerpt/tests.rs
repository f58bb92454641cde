//! Copies that are whole, that leave records out, and that somebody has changed.

use uuid::Uuid;

use super::*;
use crate::Hash;
use crate::verify::tamper::{kept, ours, public, secret};
use crate::verify::tests::{recompute, trail_of};

fn verify(mut verifier: ExcerptVerifier, copy: &[StoredRecord]) -> ExcerptReport {
    for stored in copy {
        drop(verifier.feed(stored));
    }
    verifier.finish()
}

fn alone(copy: &[StoredRecord]) -> ExcerptReport {
    verify(ExcerptVerifier::new(), copy)
}

fn with_checkpoints(copy: &[StoredRecord]) -> ExcerptReport {
    verify(ExcerptVerifier::new().with_checkpoints(kept().checkpoints), copy)
}

fn broken(report: &ExcerptReport) -> Option<(u64, BrokenKind)> {
    report.broken.as_ref().map(|broken| (broken.seq, broken.kind))
}

fn head(stored: &StoredRecord) -> Head {
    Head {
        seq: stored.seq,
        hash: stored.hash,
    }
}

fn other(seq: u64) -> Head {
    Head {
        seq,
        hash: Hash::of(b"another"),
    }
}

#[test]
fn i6_a_whole_copy_is_proved_by_checkpoints_and_the_first_key() {
    let trail = kept().trail;
    let first = public(&secret(1));
    let verifier = ExcerptVerifier::new()
        .with_checkpoints(kept().checkpoints)
        .with_public_key(first.clone());

    let report = verify(verifier, &trail);

    assert_eq!(broken(&report), None);
    assert_eq!(
        (report.store, report.first, report.records),
        (Some(ours()), 1, 48)
    );
    assert_eq!((report.pieces, report.missing), (1, 0));
    assert_eq!((report.checkpoints, report.signed), (6, 48));
    assert_eq!(report.public_key, Some(first.to_string()));
    assert_eq!(report.head, head(trail.last().unwrap()));
}

#[test]
fn i6_what_was_noted_after_the_end_of_a_copy_is_left_out() {
    let copy = &kept().trail[..30];

    let report = with_checkpoints(copy);

    assert_eq!(broken(&report), None);
    assert_eq!((report.records, report.checkpoints, report.signed), (30, 3, 26));
    let later = ExcerptVerifier::new().with_known_heads(&[head(&copy[4]), other(31)]);
    let report = verify(later, copy);
    assert_eq!((broken(&report), report.known_heads), (None, 1));
}

#[test]
fn i6_records_that_are_left_out_are_counted_and_prove_no_checkpoint() {
    let mut copy = kept().trail;
    copy.drain(20..23);
    copy.remove(10);
    copy.remove(0);

    let report = alone(&copy);

    assert_eq!(broken(&report), None);
    assert_eq!((report.first, report.records), (2, 43));
    assert_eq!((report.pieces, report.missing), (3, 4));
    assert_eq!((report.checkpoints, report.public_key.clone()), (0, None));
    assert_eq!(broken(&with_checkpoints(&copy)), Some((1, BrokenKind::Gap)));
    copy.insert(0, kept().trail.remove(0));
    assert_eq!(broken(&with_checkpoints(&copy)), Some((11, BrokenKind::Gap)));
    let pinned = ExcerptVerifier::new().with_public_key(public(&secret(1)));
    assert_eq!(broken(&verify(pinned, &copy)), Some((11, BrokenKind::Gap)));
}

#[test]
fn i6_a_copy_without_records_proves_nothing() {
    let report = alone(&[]);
    assert_eq!(
        (broken(&report), report.records, report.store, report.head),
        (None, 0, None, Head::EMPTY)
    );
    assert_eq!(broken(&with_checkpoints(&[])), Some((1, BrokenKind::Gap)));
}

#[test]
fn i6_a_change_of_any_byte_is_seen_at_its_record() {
    for record in kept().trail {
        for byte in 0..record.body.len() {
            let mut changed = record.clone();
            changed.body[byte] ^= 1;
            let report = alone(&[changed]);
            let seq = report.broken.expect("a change that nothing sees").seq;
            assert_eq!(seq, record.seq, "byte {byte}");
        }
    }
}

#[test]
fn i6_a_record_whose_hash_was_made_anew_does_not_fit_its_neighbour() {
    let trail = kept().trail;
    let mut copy = trail.clone();
    // Another record of the same number, from a trail that began in the same way.
    copy[10] = trail_of(ours(), 12).remove(10);
    assert_eq!(broken(&alone(&copy)), Some((11, BrokenKind::Link)));
    copy.remove(9);
    assert_eq!(broken(&alone(&copy)), Some((12, BrokenKind::Link)));
    // Alone it is not seen, unless its number was noted.
    copy.remove(10);
    assert_eq!(broken(&alone(&copy)), None);
    let noted = ExcerptVerifier::new().with_known_heads(&[head(&trail[10])]);
    assert_eq!(broken(&verify(noted, &copy)), Some((11, BrokenKind::Rollback)));
}

#[test]
fn i6_a_copy_that_was_computed_again_is_seen_by_a_checkpoint_and_by_a_head() {
    let trail = kept().trail;
    let mut copy = trail.clone();
    copy[20] = trail_of(ours(), 24).remove(20);
    recompute(&mut copy, 20);

    assert_eq!(broken(&alone(&copy[..30])), None);
    // The next key was certified over the records before it.
    assert_eq!(broken(&alone(&copy)), Some((34, BrokenKind::Signature)));

    let report = with_checkpoints(&copy[..30]);
    assert_eq!(broken(&report), Some((26, BrokenKind::Rollback)));
    let noted = ExcerptVerifier::new().with_known_heads(&[head(&trail[29])]);
    assert_eq!(
        broken(&verify(noted, &copy[..30])),
        Some((30, BrokenKind::Rollback))
    );
}

#[test]
fn i6_a_head_is_found_in_the_record_after_it_too() {
    let trail = kept().trail;
    let noted = |known: Head| ExcerptVerifier::new().with_known_heads(&[known]);

    let report = verify(noted(head(&trail[19])), &trail[20..25]);
    assert_eq!((broken(&report), report.known_heads), (None, 1));
    let report = verify(noted(other(20)), &trail[20..25]);
    assert_eq!(broken(&report), Some((20, BrokenKind::Rollback)));
    let report = verify(noted(head(&trail[21])), &trail[20..25]);
    assert_eq!((broken(&report), report.known_heads), (None, 1), "counted once");
    let report = verify(noted(other(19)), &trail[20..25]);
    assert_eq!((broken(&report), report.known_heads), (None, 0));
}

#[test]
fn i6_records_that_come_twice_or_back_or_from_elsewhere_are_seen() {
    let trail = kept().trail;
    let mut twice = trail.clone();
    twice.insert(5, trail[4].clone());
    assert_eq!(broken(&alone(&twice)), Some((5, BrokenKind::Order)));
    let mut swapped = trail.clone();
    swapped.swap(7, 9);
    assert_eq!(broken(&alone(&swapped)), Some((9, BrokenKind::Order)));
    let mut mixed = trail;
    let elsewhere = StoreId::from_uuid(Uuid::from_u128(2));
    mixed.push(trail_of(elsewhere, 49).remove(48));
    assert_eq!(broken(&alone(&mixed)), Some((49, BrokenKind::ForeignStore)));
}
