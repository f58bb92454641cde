//! Checkpoints: how far the trail had grown at a moment, signed, so that nothing before can be changed
//! unseen by somebody who does not have the key of that day.

use std::str::FromStr;

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};

use crate::merkle::Tree;
use crate::note::{InvalidNote, SignedNote, VerifierKey};
use crate::{Hash, StoreId};

/// After so many new records a checkpoint is due at once.
pub const RECORDS: u64 = 1_000;
/// After so long a checkpoint is due if there is any new record.
pub const INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// So long signs one key.
pub const KEY_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The name of a store's trail, in checkpoints and in the names of its keys.
pub fn origin(store: StoreId) -> String {
    format!("bursar/audit/{store}")
}

/// Whether it is time for a checkpoint. `last`: size and time of the newest one.
pub fn is_due(last: Option<(u64, Timestamp)>, records: u64, now: Timestamp) -> bool {
    let (size, at) = last.unwrap_or((0, Timestamp::MIN));
    let new = records.saturating_sub(size);
    // A clock that was set back makes nothing wait: from before the last one, too, it is time.
    let waited = now.duration_since(at);
    new >= RECORDS || (new > 0 && (waited >= INTERVAL || waited < SignedDuration::ZERO))
}

/// Whether it is time for the next key. `since`: when the present one was certified.
pub fn is_key_due(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) >= KEY_AGE
}

/// How many records a trail had, and the root of the tree over them. Written as three lines, in the
/// public format of that name (C2SP `tlog-checkpoint`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the store in its checkpoints: of one trail always the same.
    pub origin: String,
    /// How many records are covered.
    pub size: u64,
    /// Of the Merkle tree over their hashes (RFC 6962).
    pub root: Hash,
}

impl Checkpoint {
    /// Of all records that `tree` has.
    pub fn of(store: StoreId, tree: &Tree) -> Self {
        Self {
            origin: origin(store),
            size: tree.size(),
            root: tree.root(),
        }
    }

    /// What is signed.
    pub fn text(&self) -> String {
        let root = BASE64.encode(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// With the signature that was made over [`Checkpoint::text`].
    ///
    /// # Errors
    ///
    /// [`InvalidNote`] for an origin that cannot stand in a note.
    pub fn signed(self, key: &VerifierKey, signature: &[u8; 64]) -> Result<SignedCheckpoint, InvalidNote> {
        SignedCheckpoint::try_from(SignedNote::new(self.text(), key, signature)?)
    }
}

/// A checkpoint with its signatures, which nobody has looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: SignedNote,
}

impl SignedCheckpoint {
    /// What is signed. Nothing is proved by it before a signature is checked.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The text with its signatures, as it is written to a file.
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }
}

impl TryFrom<SignedNote> for SignedCheckpoint {
    type Error = InvalidNote;

    fn try_from(note: SignedNote) -> Result<Self, InvalidNote> {
        let wrong = InvalidNote("its text is not a checkpoint: a name, a number of records and a root");
        let mut lines = note.text().strip_suffix('\n').unwrap_or_default().split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(wrong);
        };
        let root = BASE64.decode(root.as_bytes()).map_err(|_| wrong)?;
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| wrong)?,
            root: Hash::try_from(root.as_slice()).map_err(|_| wrong)?,
        };
        // One spelling: no number with zeros in front of it.
        if checkpoint.origin.is_empty() || checkpoint.text() != note.text() {
            return Err(wrong);
        }
        Ok(Self { checkpoint, note })
    }
}

impl FromStr for SignedCheckpoint {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<Self, InvalidNote> {
        text.parse::<SignedNote>()?.try_into()
    }
}

impl std::fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.note.fmt(f)
    }
}

/// Stands in a file of checkpoints after one that was not written to its end.
pub const TORN: &str = "(the checkpoint above was not written to its end)";

/// A file to which checkpoints were appended, each followed by an empty line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Those that are whole, in the order in which they were appended.
    pub checkpoints: Vec<SignedCheckpoint>,
    /// Whether the last one is not there to its end, as after a loss of power.
    pub is_torn: bool,
}

/// A file of checkpoints that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint {number} in the file cannot be read")]
pub struct InvalidFile {
    /// From 1.
    number: usize,
    source: InvalidNote,
}

impl CheckpointFile {
    /// What is appended for one checkpoint.
    pub fn entry(checkpoint: &SignedCheckpoint) -> String {
        format!("{checkpoint}\n")
    }
}

impl FromStr for CheckpointFile {
    type Err = InvalidFile;

    fn from_str(text: &str) -> Result<Self, InvalidFile> {
        let mut file = Self::default();
        let mut entry = String::new();
        let mut is_in_signatures = false;
        let mut number = 1_usize;
        for line in text.split_inclusive('\n') {
            if line.trim_end() == TORN {
                entry.clear();
                is_in_signatures = false;
            } else if line == "\n" && is_in_signatures {
                let checkpoint = std::mem::take(&mut entry).parse();
                let checkpoint = checkpoint.map_err(|source| InvalidFile { number, source })?;
                file.checkpoints.push(checkpoint);
                is_in_signatures = false;
                number = number.saturating_add(1);
            } else {
                is_in_signatures = line.starts_with('\u{2014}');
                entry.push_str(line);
            }
        }
        // A single note, as another tool would store it, has no empty line after it. Where its last line ends, nothing
        // of it is missing: what cannot be read then is no torn end.
        if is_in_signatures && entry.ends_with('\n') {
            let checkpoint = entry.parse();
            file.checkpoints
                .push(checkpoint.map_err(|source| InvalidFile { number, source })?);
        } else {
            file.is_torn = !entry.is_empty();
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn signed(size: u64) -> SignedCheckpoint {
        let mut tree = Tree::new();
        (0..size).for_each(|number| tree.push(&Hash::of(&number.to_be_bytes())));
        let store = StoreId::from_uuid(Uuid::from_u128(1));
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let public = VerifierKey::new(&origin(store), key.verifying_key().to_bytes()).unwrap();
        let checkpoint = Checkpoint::of(store, &tree);
        let signature = ed25519_dalek::Signer::sign(&key, checkpoint.text().as_bytes());
        checkpoint.signed(&public, &signature.to_bytes()).unwrap()
    }

    #[test]
    fn a_checkpoint_is_three_lines_and_its_signatures() {
        insta::assert_snapshot!(signed(5), @r"
        bursar/audit/00000000-0000-0000-0000-000000000001
        5
        qjP2CLPHOYpSMIBK5b8svjcuPlF+q1XvIdfooTGLANk=

        — bursar/audit/00000000-0000-0000-0000-000000000001 XT2ak3HAzj4p+pdA8PPzuehAuFDYpjLSAKlG0jOjshNs6l1qkIPpunNHKEP6XigQK1CKZq/XliOoTA6h4Bnp5OfYawc=
        ");
    }

    #[test]
    fn a_checkpoint_reads_back_and_no_other_spelling_does() {
        let text = signed(5).to_string();

        assert_eq!(text.parse::<SignedCheckpoint>().unwrap(), signed(5));
        for (from, to) in [
            ("\n5\n", "\n05\n"),
            ("\n5\n", "\n+5\n"),
            ("\n5\n", "\n5\nmore\n"),
            ("\n5\n", "\n"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text);
            assert!(wrong.parse::<SignedCheckpoint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_of_checkpoints_reads_back_and_knows_its_torn_end() {
        let entries: String = [3, 5].map(|size| CheckpointFile::entry(&signed(size))).concat();

        let whole: CheckpointFile = entries.parse().unwrap();
        assert_eq!(whole.checkpoints, [signed(3), signed(5)]);
        assert!(!whole.is_torn);

        let first = CheckpointFile::entry(&signed(3)).len();
        for cut in (first + 1..entries.len() - 2).filter(|cut| entries.is_char_boundary(*cut)) {
            let torn: CheckpointFile = entries[..cut].parse().unwrap();
            assert!(torn.is_torn && torn.checkpoints == [signed(3)], "cut at {cut}");
            let mended = format!(
                "{}\n{TORN}\n{}",
                &entries[..cut],
                CheckpointFile::entry(&signed(8))
            );
            let mended: CheckpointFile = mended.parse().unwrap();
            assert_eq!(mended.checkpoints, [signed(3), signed(8)], "cut at {cut}");
        }
        // Also of the last one, whose empty line is lost: nobody would read the file once another is appended.
        for (from, to) in [("\n3\n", "\n3 \n"), ("\n5\n", "\n05\n")] {
            let changed = entries.replacen(from, to, 1);
            assert!(changed.parse::<CheckpointFile>().is_err());
            let without_end = changed.strip_suffix('\n').unwrap();
            assert!(without_end.parse::<CheckpointFile>().is_err());
        }
        assert_eq!("".parse::<CheckpointFile>().unwrap(), CheckpointFile::default());
    }

    #[test]
    fn a_checkpoint_is_due_after_a_thousand_records_or_a_minute() {
        let at: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let later = |seconds| at + SignedDuration::from_secs(seconds);
        let last = Some((10, at));

        assert!(!is_due(None, 0, at) && is_due(None, 1, at));
        assert!(!is_due(last, 10, later(600)), "nothing is new");
        assert!(!is_due(last, 11, later(59)) && is_due(last, 11, later(60)));
        assert!(!is_due(last, 1_009, at) && is_due(last, 1_010, at));
        assert!(is_due(last, 11, later(-1)), "a clock that was set back");
    }

    #[test]
    fn a_key_signs_for_a_day() {
        let since: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();

        assert!(!is_key_due(since, since + SignedDuration::from_secs(86_399)));
        assert!(is_key_due(since, since + SignedDuration::from_hours(24)));
    }
}
