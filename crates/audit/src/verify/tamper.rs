//! Somebody with the store in hand, against a trail with signed checkpoints: whatever they do is seen.
//!
//! They may write every row and know every rule. Where it says so they also have the key of today; never
//! the keys before it, which are erased, and never the copy that was kept elsewhere.

use ed25519_dalek::{Signer, SigningKey};
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::tests::{draft, recompute};
use super::*;
use crate::{Action, Actor, ActorKind, Certificate, Checkpoint, Draft, Entry, Hash, Origin, Value, chain};

/// How many records there are, and before which ones a new key takes over.
const LENGTH: u64 = 48;
const KEYS: [u64; 3] = [4, 19, 34];
/// Sizes at which a checkpoint was signed. The last is at the end: what comes after the last checkpoint
/// is not protected yet.
const CHECKPOINTS: [u64; 6] = [7, 18, 26, 33, 41, 48];

pub(crate) fn ours() -> StoreId {
    StoreId::from_uuid(Uuid::from_u128(1))
}

pub(crate) fn secret(generation: u32) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(generation).unwrap(); 32])
}

pub(crate) fn public(secret: &SigningKey) -> VerifierKey {
    VerifierKey::new(&origin(ours()), secret.verifying_key().to_bytes()).unwrap()
}

fn sign(tree: &Tree, secret: &SigningKey) -> SignedCheckpoint {
    let checkpoint = Checkpoint::of(ours(), tree);
    let signature = secret.sign(checkpoint.text().as_bytes()).to_bytes();
    checkpoint.signed(&public(secret), &signature).unwrap()
}

fn certificate(generation: u32, tree: &Tree, secrets: &dyn Fn(u32) -> SigningKey) -> Draft {
    let by = if generation == 1 { 1 } else { generation - 1 };
    let key = secrets(generation).verifying_key().to_bytes();
    let certificate = Certificate::new(generation, key, by, tree);
    let signature = secrets(by).sign(certificate.text(ours()).as_bytes()).to_bytes();
    Draft::new(
        Actor::new(ActorKind::Daemon, None),
        Action::CheckpointKeyCertified,
    )
    .with(certificate.data(&signature))
}

/// A store's trail with all that lies beside it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) trail: Vec<StoredRecord>,
    pub(crate) checkpoints: Vec<SignedCheckpoint>,
}

pub(crate) fn kept() -> Kept {
    let store = Origin {
        store: ours(),
        node: "node-1".to_owned(),
        epoch: 3,
    };
    let start: Timestamp = "2026-03-02T09:00:00.000125Z".parse().unwrap();
    let (mut head, mut tree) = (Head::EMPTY, Tree::new());
    let mut generation = 0;
    let mut kept = Kept {
        trail: Vec::new(),
        checkpoints: Vec::new(),
    };
    for number in 1..=LENGTH {
        let draft = if KEYS.contains(&number) {
            generation += 1;
            certificate(generation, &tree, &secret)
        } else {
            draft(number)
        };
        let at = start + SignedDuration::from_secs(i64::try_from(number).unwrap());
        let record = chain(&head, &store, at, draft).unwrap();
        head = Head::of(&record);
        tree.push(&record.hash());
        kept.trail.push(record.to_stored());
        if CHECKPOINTS.contains(&number) {
            kept.checkpoints.push(sign(&tree, &secret(generation)));
        }
    }
    kept
}

fn index(seq: u64) -> usize {
    usize::try_from(seq).unwrap() - 1
}

/// The head goes along with whatever was done, as the store's own row would.
fn verify(kept: &Kept, elsewhere: &[SignedCheckpoint], pinned: Option<VerifierKey>) -> VerifyReport {
    let checkpoints = kept.checkpoints.iter().chain(elsewhere).cloned();
    let mut verifier = Verifier::new(ours());
    if let Some(key) = pinned {
        verifier = verifier.with_public_key(key);
    }
    let mut verifier = verifier.with_checkpoints(checkpoints);
    for stored in &kept.trail {
        verifier.feed(stored);
    }
    let head = kept.trail.last().map_or(Head::EMPTY, |last| Head {
        seq: last.seq,
        hash: last.hash,
    });
    verifier.finish(head)
}

fn entry(stored: &StoredRecord) -> Entry {
    crate::encoding::decode(&stored.body).unwrap()
}

/// Another figure, person or action in a record, with everything after it computed again.
fn forge(kept: &mut Kept, at: usize, random: &mut Rng) {
    let mut entry = entry(&kept.trail[at]);
    // A certificate that is signed again says what it said before, and nothing else.
    let kinds = if entry.action == Action::CheckpointKeyCertified {
        3
    } else {
        4
    };
    match random.u8(..kinds) {
        0 => entry.actor.id = Some(format!("somebody-{}", random.u32(..))),
        1 => entry.at += SignedDuration::from_micros(random.i64(1..1_000_000)),
        2 => entry.reason = Some(format!("reason {}", random.u32(..))),
        _ => entry.data = entry.data.integer("quantity", random.i64(..)),
    }
    kept.trail[at] = Record::seal(entry).to_stored();
    recompute(&mut kept.trail, at);
}

/// Everything that can be signed again with `secrets`: checkpoints, and certificates of their own.
fn sign_again(kept: &mut Kept, from: u64, secrets: &dyn Fn(u32) -> SigningKey, generations: &[u32]) {
    let mut tree = Tree::new();
    let mut generation = 0;
    for at in 0..kept.trail.len() {
        let mut entry = entry(&kept.trail[at]);
        let is_certificate = entry.action == Action::CheckpointKeyCertified;
        if is_certificate {
            generation = match entry.data.get("generation") {
                Some(Value::Integer(number)) => u32::try_from(*number).unwrap(),
                _ => unreachable!("a certificate has its generation"),
            };
            let by = generation.saturating_sub(1).max(1);
            if entry.seq >= from && generations.contains(&by) && generations.contains(&generation) {
                entry.data = certificate(generation, &tree, secrets).data;
                kept.trail[at] = Record::seal(entry).to_stored();
                recompute(&mut kept.trail, at);
            }
        }
        let seq = u64::try_from(at).unwrap() + 1;
        tree.push(&kept.trail[at].hash);
        if seq >= from && generations.contains(&generation) {
            for checkpoint in &mut kept.checkpoints {
                if checkpoint.checkpoint().size == seq {
                    *checkpoint = sign(&tree, &secrets(generation));
                }
            }
        }
    }
}

/// Does one of the deeds; says which, and what the one who verifies has beside the store.
fn tamper(kept: &mut Kept, honest: &Kept, random: &mut Rng) -> (&'static str, Vec<SignedCheckpoint>, bool) {
    let length = kept.trail.len();
    let at = random.usize(..length);
    let other = (at + random.usize(1..length)) % length;
    let elsewhere = || honest.checkpoints.clone();
    match random.u8(..16) {
        0 => {
            let byte = random.usize(..kept.trail[at].body.len());
            kept.trail[at].body[byte] ^= 1 << random.u8(..8);
            ("flip a bit of a record", Vec::new(), false)
        }
        1 => {
            let mut bytes = *kept.trail[at].hash.as_bytes();
            bytes[random.usize(..32)] ^= 1 << random.u8(..8);
            kept.trail[at].hash = Hash::from_bytes(bytes);
            ("flip a bit of a hash", Vec::new(), false)
        }
        2 => {
            kept.trail.remove(at);
            ("delete", Vec::new(), false)
        }
        3 => {
            kept.trail.remove(at);
            recompute(&mut kept.trail, at);
            ("delete and compute the chain again", Vec::new(), false)
        }
        4 => {
            let copy = kept.trail[other].clone();
            kept.trail.insert(at, copy);
            ("insert", Vec::new(), false)
        }
        5 => {
            let copy = kept.trail[other].clone();
            kept.trail.insert(at, copy);
            recompute(&mut kept.trail, at);
            ("insert and compute the chain again", Vec::new(), false)
        }
        6 => {
            kept.trail.swap(at, other);
            ("swap", Vec::new(), false)
        }
        7 => {
            kept.trail.swap(at, other);
            recompute(&mut kept.trail, at.min(other));
            ("swap and compute the chain again", Vec::new(), false)
        }
        8 => {
            kept.trail[at].seq = kept.trail[at].seq.wrapping_add(random.u64(1..));
            ("another number", Vec::new(), false)
        }
        9 => {
            forge(kept, at, random);
            ("forge, and compute the chain again", Vec::new(), false)
        }
        10 => {
            // Before the last change of keys: today's key is of no use there.
            forge(kept, random.usize(..index(KEYS[2])), random);
            sign_again(kept, KEYS[2], &secret, &[3]);
            ("forge yesterday with the key of today", Vec::new(), false)
        }
        11 => {
            forge(kept, at, random);
            sign_again(kept, 1, &secret, &[1, 2, 3]);
            ("forge with every key there ever was", elsewhere(), false)
        }
        12 => {
            kept.trail.truncate(at);
            kept.checkpoints
                .retain(|signed| index(signed.checkpoint().size) < at);
            ("cut off behind a checkpoint elsewhere", elsewhere(), false)
        }
        13 => {
            let place = random.usize(..kept.checkpoints.len());
            let text = kept.checkpoints[place].to_string();
            let generation = random.u32(4..200);
            let signed = kept.checkpoints[place].checkpoint().clone();
            let stranger = secret(generation);
            let signature = stranger.sign(signed.text().as_bytes()).to_bytes();
            // Under the name and hint of the right key, or under its own.
            let right = public(&secret(
                u32::try_from(KEYS.iter().filter(|key| **key <= signed.size).count()).unwrap(),
            ));
            let name = if random.bool() { right } else { public(&stranger) };
            kept.checkpoints[place] = signed.signed(&name, &signature).unwrap();
            assert_ne!(kept.checkpoints[place].to_string(), text);
            ("another signature under a checkpoint", Vec::new(), false)
        }
        14 => {
            let place = random.usize(..kept.checkpoints.len());
            let mut signed = kept.checkpoints[place].checkpoint().clone();
            if random.bool() {
                signed.size = random.u64(1..=LENGTH);
            } else {
                signed.root = Hash::of(&random.u64(..).to_be_bytes());
            }
            let is_same = signed == *kept.checkpoints[place].checkpoint();
            let note = kept.checkpoints[place].to_string();
            let (_, signatures) = note.split_once("\n\n").unwrap();
            kept.checkpoints[place] = format!("{}\n{signatures}", signed.text()).parse().unwrap();
            if is_same {
                kept.trail.remove(at);
            }
            ("other words over the same signature", Vec::new(), false)
        }
        _ => {
            // A whole trail of their own, with keys of their own.
            let own = |generation: u32| secret(generation + 100);
            forge(kept, at, random);
            sign_again(kept, 1, &own, &[1, 2, 3]);
            ("another trail with keys of its own", Vec::new(), true)
        }
    }
}

fn rounds() -> u32 {
    std::env::var("BURSAR_TAMPERINGS").map_or(1_000, |rounds| rounds.parse().unwrap())
}

#[test]
fn i6_an_honest_trail_with_keys_and_checkpoints_is_whole() {
    let honest = kept();

    let report = verify(&honest, &honest.checkpoints, Some(public(&secret(1))));

    assert!(report.is_whole(), "{report}");
    assert_eq!((report.checkpoints, report.signed, report.keys), (12, LENGTH, 3));
    assert_eq!(report.public_key, Some(public(&secret(1)).to_string()));
    for generation in [2, 3] {
        assert!(verify(&honest, &[], Some(public(&secret(generation)))).is_whole());
    }
    let stranger = verify(&honest, &[], Some(public(&secret(9)))).broken.unwrap();
    assert_eq!(stranger.kind, BrokenKind::Signature);
}

/// `just tamper` runs 10,000 rounds. A failure prints its seed; with BURSAR_SEED it happens again.
#[test]
fn i6_every_tampering_with_a_trail_and_its_checkpoints_is_seen() {
    let seed = std::env::var("BURSAR_SEED").map_or(20_261_128, |seed| seed.parse().unwrap());
    let rounds = rounds();
    let mut random = Rng::with_seed(seed);
    let honest = kept();
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    for round in 0..rounds {
        let mut tampered = honest.clone();
        let (deed, elsewhere, is_pinned) = tamper(&mut tampered, &honest, &mut random);
        assert!(
            tampered != honest,
            "seed {seed}, round {round}: nothing was done: {deed}"
        );

        let pinned = is_pinned.then(|| public(&secret(1)));
        let report = verify(&tampered, &elsewhere, pinned);

        assert!(!report.is_whole(), "seed {seed}, round {round}: not seen: {deed}");
        *counts.entry(deed).or_default() += 1;
    }
    println!("seed {seed}: {rounds} of {rounds} tamperings seen");
    for (deed, count) in counts {
        println!("{count:6} {deed}");
    }
}

/// The proof that the outside copy and the public key are what finds these, and not luck.
#[test]
fn i6_without_an_outside_copy_a_forger_with_the_keys_is_not_seen() {
    let honest = kept();
    let mut forged = honest.clone();
    forge(&mut forged, 40, &mut Rng::with_seed(1));
    sign_again(&mut forged, 1, &secret, &[1, 2, 3]);

    assert!(verify(&forged, &[], Some(public(&secret(1)))).is_whole());
    let seen = verify(&forged, &honest.checkpoints, None).broken.unwrap();
    assert_eq!(seen.kind, BrokenKind::Rollback);

    let mut own = honest.clone();
    forge(&mut own, 40, &mut Rng::with_seed(1));
    sign_again(&mut own, 1, &|generation| secret(generation + 100), &[1, 2, 3]);
    assert!(verify(&own, &[], None).is_whole());
    let seen = verify(&own, &[], Some(public(&secret(1)))).broken.unwrap();
    assert_eq!(seen.kind, BrokenKind::Signature);
}
