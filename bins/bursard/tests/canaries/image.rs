//! A look at all memory of another process, as a core file would hold it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bursar_testkit::Canary;

/// So much is read at once; the next piece begins with the end of the last, so that nothing hides
/// between two.
const PIECE: usize = 1 << 20;
const OVERLAP: usize = 4096;

/// What a search of one image came to.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) bytes: u64,
    pub(crate) leaks: Vec<String>,
}

/// Searches all that can be read of the process's memory.
pub(crate) fn search(pid: u32, canaries: &[Canary]) -> io::Result<Image> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut image = Image::default();
    for line in maps.lines() {
        let Some((from, to)) = private_region(line) else {
            continue;
        };
        let mut at = from;
        let mut piece = vec![0; PIECE + OVERLAP];
        while at < to {
            let length = usize::try_from(to - at).unwrap().min(piece.len());
            // A region may go between the two looks, and special ones cannot be read.
            if memory.seek(SeekFrom::Start(at)).is_err() || memory.read_exact(&mut piece[..length]).is_err() {
                break;
            }
            for canary in canaries {
                if let Some(leak) = canary.find(&piece[..length]) {
                    image.leaks.push(format!("{line}: {leak}"));
                }
            }
            image.bytes += u64::try_from(length).unwrap();
            at += u64::try_from(PIECE).unwrap();
        }
    }
    Ok(image)
}

/// Memory that can be written and belongs to the process alone: heap, stacks and data. What is
/// mapped from a file to be read only is that file.
fn private_region(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    rights.starts_with("rw").then_some((number(from)?, number(to)?))
}
