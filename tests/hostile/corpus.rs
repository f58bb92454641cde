use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bursar_tests::hostile::{TARGETS, run};

use crate::seeds;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// Unoptimised code on a busy machine may take this long where the fuzzer's build may take ten seconds.
const LONGEST: Duration = Duration::from_secs(60);

#[test]
fn the_kept_corpus_breaks_nothing() {
    for (name, _) in TARGETS {
        let directory = fuzz().join("corpus").join(name);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let began = Instant::now();
            // A failing input is named before the panic ends the test.
            println!("{}", path.display());
            run(name, &std::fs::read(&path).unwrap());
            assert!(
                began.elapsed() < LONGEST,
                "{} takes {:?}",
                path.display(),
                began.elapsed()
            );
            inputs += 1;
        }
        assert!(inputs >= 3, "{name} keeps {inputs} inputs");
    }
}

#[test]
fn every_target_takes_what_is_cut_doubled_and_flipped() {
    for (name, _) in TARGETS {
        for file in std::fs::read_dir(fuzz().join("corpus").join(name)).unwrap() {
            let input = std::fs::read(file.unwrap().path()).unwrap();
            for step in 1..8 {
                run(name, &input[..input.len() * step / 8]);
                let mut flipped = input.clone();
                if let Some(byte) = flipped.get_mut(input.len() * step / 8) {
                    *byte ^= 1 << step;
                }
                run(name, &flipped);
            }
            run(name, &[input.as_slice(), &input].concat());
        }
    }
}

/// Not a search that learns, but one that needs no other build: `BURSAR_MUTATIONS` says how many
/// inputs each target gets, `BURSAR_SEED` replays.
#[test]
fn every_target_takes_random_changes_of_the_corpus() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (mutations, seed) = (number("BURSAR_MUTATIONS", 60), number("BURSAR_SEED", 20_261_128));
    println!("BURSAR_MUTATIONS={mutations} BURSAR_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for (name, _) in TARGETS {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(fuzz().join("corpus").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        for mutation in 0..mutations {
            let mut input = inputs[dice.usize(..inputs.len())].clone();
            for _ in 0..dice.usize(1..6) {
                let at = dice.usize(..=input.len());
                let other = &inputs[dice.usize(..inputs.len())];
                let piece = dice.usize(..=other.len());
                match dice.usize(..5) {
                    0 if at < input.len() => input[at] = dice.u8(..),
                    1 if at < input.len() => input[at] ^= 1 << dice.u8(..8),
                    2 => input.truncate(at),
                    3 => drop(input.splice(at..at, other[..piece].iter().copied())),
                    _ => drop(input.splice(at.., other[piece..].iter().copied())),
                }
            }
            input.truncate(16_384);
            println!("{name} {mutation}: {:?}", String::from_utf8_lossy(&input));
            run(name, &input);
        }
    }
}

/// `BURSAR_WRITE_CORPUS=1` writes them anew after a change of format.
#[tokio::test]
async fn what_the_product_writes_today_is_taken() {
    for (target, name, bytes) in seeds::written().await {
        let path = fuzz().join("corpus").join(target).join(name);
        if std::env::var_os("BURSAR_WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        // What was written by earlier releases has to be taken as well, so what is kept may differ.
        assert!(path.exists(), "{} is missing", path.display());
        run(target, &bytes);
    }
}

#[test]
fn a_target_has_a_program_and_a_corpus() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();

    assert_eq!(names(&fuzz().join("fuzz_targets")), listed);
    assert_eq!(names(&fuzz().join("corpus")), listed);
}
