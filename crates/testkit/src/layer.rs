//! Layers between a process and its system.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a layer, which is C because it takes the place of calls into the system, to a library in `folder` that
/// a process loads before all others (`LD_PRELOAD`).
///
/// # Errors
///
/// Where there is no C compiler, or the layer is wrong.
pub fn preloaded(source: &Path, folder: &Path) -> io::Result<PathBuf> {
    let made = folder.join("layer.so");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([made.as_path(), source])
        .args(["-ldl", "-lpthread"])
        .status()?;
    if built.success() {
        Ok(made)
    } else {
        Err(io::Error::other(format!(
            "the layer `{}` does not compile",
            source.display()
        )))
    }
}
