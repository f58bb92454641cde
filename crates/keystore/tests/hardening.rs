//! On its own, because it changes the whole process.

use std::os::unix::fs::PermissionsExt;

use bursar_keystore::hardening::{RunsAsRoot, harden, lock_memory, refuse_root};
use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

#[test]
fn a_hardened_process_leaves_no_core_no_dump_and_no_readable_file() {
    let failed = harden();

    assert!(failed.is_empty(), "{failed:?}");
    let core = getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn root_is_told_from_others() {
    let expected = if rustix::process::geteuid().is_root() {
        Err(RunsAsRoot)
    } else {
        Ok(())
    };

    assert_eq!(refuse_root(), expected);
}

#[test]
fn memory_is_locked_where_no_limit_would_be_reached_later() {
    let limit = getrlimit(Resource::Memlock).current;

    let locked = lock_memory();

    match limit {
        None => {
            locked.unwrap();
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
            let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            assert!(kilobytes > 0, "{line}");
        }
        Some(_) => {
            let told = locked.unwrap_err();
            assert!(told.to_string().contains("swapped out"), "{told}");
            assert!(told.source.to_string().contains("infinity"), "{}", told.source);
        }
    }
}
