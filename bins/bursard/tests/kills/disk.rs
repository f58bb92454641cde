//! What a disk could hold after the power went, from the log of the layer beside: see `layer.c`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::stage::Dice;

/// What a file was before the log begins, and is after it.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A sector is written whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

/// What happened to unsynced writes, so that a campaign can say that it tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) lost: u64,
    pub(crate) torn: u64,
    pub(crate) kept: u64,
}

/// Everything that was synced, and of the rest what the dice leave: each write by itself is there, is
/// lost, or is there up to some sector.
pub(crate) fn after_power_loss(before: &Files, log: &[u8], dice: &mut Dice) -> (Files, Losses) {
    let mut files = before.clone();
    let mut unsynced: BTreeMap<PathBuf, Vec<Change>> = BTreeMap::new();
    for (path, record) in records(log) {
        let waiting = unsynced.entry(path.clone()).or_default();
        match record {
            Some(change) => waiting.push(change),
            None => {
                let file = files.entry(path).or_default();
                waiting.drain(..).for_each(|change| apply(file, &change));
            }
        }
    }
    let mut losses = Losses::default();
    for (path, changes) in unsynced {
        // Most of the time the disk was about to write: nothing is left, or all of it, or some.
        let chance = *dice.one_of(&[0, 30, 70, 100]);
        for change in changes {
            if dice.below(100) >= chance {
                losses.lost += 1;
                continue;
            }
            let torn = tear(&change, dice);
            if torn == change {
                losses.kept += 1;
            } else {
                losses.torn += 1;
            }
            apply(files.entry(path.clone()).or_default(), &torn);
        }
    }
    (files, losses)
}

fn tear(change: &Change, dice: &mut Dice) -> Change {
    match change {
        Change::Write { at, bytes } if bytes.len() > SECTOR && dice.once_in(8) => {
            let sectors = u64::try_from(bytes.len() / SECTOR).unwrap();
            let kept = usize::try_from(dice.below(sectors)).unwrap() * SECTOR;
            Change::Write {
                at: *at,
                bytes: bytes[..kept].to_vec(),
            }
        }
        whole => whole.clone(),
    }
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    match change {
        // Torn before its first sector: nothing of it is there, wherever it was to be.
        Change::Write { bytes, .. } if bytes.is_empty() => {}
        Change::Write { at, bytes } => {
            let end = at + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[*at..end].copy_from_slice(bytes);
        }
        Change::Truncate { length } => file.resize(*length, 0),
    }
}

/// What happened to a file; `None` is a sync.
type Record = (PathBuf, Option<Change>);

/// A record that was cut off by the end of the process never happened.
fn records(mut log: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((record, rest)) = one(log) {
        records.push(record);
        log = rest;
    }
    records
}

fn one(log: &[u8]) -> Option<(Record, &[u8])> {
    let number = |from: usize, to: usize| -> Option<usize> {
        let mut bytes = [0; 8];
        bytes[..to - from].copy_from_slice(log.get(from..to)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let kind = *log.first()?;
    let (path_length, at, length) = (number(1, 5)?, number(5, 13)?, number(13, 21)?);
    let path_end = 21 + path_length;
    let path = Path::new(std::str::from_utf8(log.get(21..path_end)?).ok()?).to_owned();
    let end = path_end + if kind == b'W' { length } else { 0 };
    let bytes = log.get(path_end..end)?;
    let change = match kind {
        b'W' => Some(Change::Write {
            at,
            bytes: bytes.to_vec(),
        }),
        b'T' => Some(Change::Truncate { length: at }),
        _ => None,
    };
    Some(((path, change), &log[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, at: u64, bytes: &[u8]) -> Vec<u8> {
        let path = b"/s.db";
        let mut record = vec![kind];
        record.extend(u32::try_from(path.len()).unwrap().to_le_bytes());
        record.extend(at.to_le_bytes());
        record.extend(u64::try_from(bytes.len()).unwrap().to_le_bytes());
        record.extend(path);
        record.extend(bytes);
        record
    }

    fn file(files: &Files) -> &[u8] {
        files.get(Path::new("/s.db")).map_or(&[], Vec::as_slice)
    }

    #[test]
    fn what_was_synced_is_there_whatever_the_dice_say() {
        let log = [
            record(b'W', 0, b"abc"),
            record(b'S', 0, b""),
            record(b'W', 1, b"XY"),
        ]
        .concat();
        for seed in 0..100 {
            let (files, _) = after_power_loss(&Files::new(), &log, &mut Dice::new(seed));
            assert!(
                [&b"abc"[..], b"aXY"].contains(&file(&files)),
                "{:?}",
                file(&files)
            );
        }
    }

    #[test]
    fn what_was_not_synced_is_lost_for_some_seed_and_kept_for_another() {
        let log = record(b'W', 0, &[7; 2048]);
        let lengths: std::collections::BTreeSet<usize> = (0..300)
            .map(|seed| {
                let (files, _) = after_power_loss(&Files::new(), &log, &mut Dice::new(seed));
                file(&files).len()
            })
            .collect();

        assert!(lengths.contains(&0) && lengths.contains(&2048), "{lengths:?}");
        assert!(
            lengths.iter().any(|length| (1..2048).contains(length)),
            "never torn: {lengths:?}"
        );
    }

    #[test]
    fn a_record_that_was_cut_off_never_happened() {
        let whole = record(b'W', 0, b"abc");
        let log = [
            whole.clone(),
            record(b'S', 0, b""),
            whole[..whole.len() - 1].to_vec(),
        ]
        .concat();

        let (files, losses) = after_power_loss(&Files::new(), &log, &mut Dice::new(1));
        assert_eq!(file(&files), b"abc");
        assert_eq!(losses, Losses::default());
    }

    #[test]
    fn a_write_of_which_no_sector_arrived_leaves_no_trace() {
        let mut bytes = b"abc".to_vec();
        apply(
            &mut bytes,
            &Change::Write {
                at: 4096,
                bytes: Vec::new(),
            },
        );

        assert_eq!(bytes, b"abc");
    }

    #[test]
    fn a_file_that_was_shortened_and_synced_is_short() {
        let log = [
            record(b'W', 0, b"abcdef"),
            record(b'T', 2, b""),
            record(b'S', 0, b""),
        ]
        .concat();

        assert_eq!(
            file(&after_power_loss(&Files::new(), &log, &mut Dice::new(1)).0),
            b"ab"
        );
    }
}
