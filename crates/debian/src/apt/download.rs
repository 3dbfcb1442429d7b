//! Downloads files through apt, and verifies each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::private::PrivateApt;
use super::{AptError, Mirrors, io_error};

/// The number of files for one call. The command line must hold them all.
const BATCH: usize = 200;

/// A file to download.
#[derive(Clone, Debug)]
pub struct Download {
    /// The archive that serves it.
    pub archive: String,
    /// Path below the archive's directory.
    pub path: String,
    /// The path to save it at.
    pub to: PathBuf,
    /// SHA-256 that it must have, lower-case hexadecimal.
    pub sha256: String,
    /// Size that it must have, in bytes.
    pub size: u64,
}

/// Downloads files through apt and verifies each. Returns the files that no mirror has, by their
/// index in `files`, each with a reason. Calls `progress` with the number of files done so far.
///
/// Asks a second mirror only for the files that the first one lacks.
pub fn download(
    mirrors: &Mirrors,
    files: &[Download],
    mut progress: impl FnMut(usize),
) -> Result<BTreeMap<usize, String>, AptError> {
    let apt = PrivateApt::new()?;
    let mut missing: BTreeMap<usize, String> = BTreeMap::new();
    for (place, file) in files.iter().enumerate() {
        match mirrors.of(&file.archive) {
            Ok(_) => missing.insert(place, "not tried".to_owned()),
            Err(error) => missing.insert(place, error.to_string()),
        };
    }
    let rounds = mirrors.0.values().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let wanted: Vec<(usize, String)> = missing
            .keys()
            .filter_map(|place| {
                let file = &files[*place];
                let mirror = mirrors.0.get(&file.archive)?.get(round)?;
                Some((*place, format!("{mirror}/{}", quote(&file.path))))
            })
            .collect();
        for batch in wanted.chunks(BATCH) {
            let done = files.len() - missing.len();
            let said = apt.download(batch, files, |count| progress(done + count))?;
            for (place, uri) in batch {
                replace_link(&files[*place])?;
                match verify(&files[*place]) {
                    Ok(()) => missing.remove(place),
                    Err(reason) => {
                        let reason = reason.unwrap_or_else(|| said_of(&said, uri));
                        let mirror = uri.strip_suffix(&quote(&files[*place].path)).unwrap_or(uri);
                        missing.insert(*place, format!("{mirror}: {reason}"))
                    }
                };
            }
        }
    }
    Ok(missing)
}

/// Checks that the file has arrived with the right size and hash. `Err(None)` if there is none.
fn verify(file: &Download) -> Result<(), Option<String>> {
    let Ok(mut opened) = fs::File::open(&file.to) else {
        return Err(None);
    };
    let mut hasher = Sha256::new();
    let size = io::copy(&mut opened, &mut hasher).map_err(|e| Some(e.to_string()))?;
    if size != file.size {
        return Err(Some(format!("size {size}, expected {}", file.size)));
    }
    let found = format!("{:x}", hasher.finalize());
    if found != file.sha256 {
        return Err(Some(format!("SHA-256 {found}, expected {}", file.sha256)));
    }
    Ok(())
}

/// Replaces a link by its file. apt makes links for mirrors in the file system.
fn replace_link(file: &Download) -> Result<(), AptError> {
    let is_link = fs::symlink_metadata(&file.to).is_ok_and(|metadata| metadata.is_symlink());
    if !is_link {
        return Ok(());
    }
    let replace = || {
        let content = fs::read(&file.to)?;
        fs::remove_file(&file.to)?;
        fs::write(&file.to, content)
    };
    replace().map_err(|source| io_error(&file.to, source))
}

/// Finds apt's message about one address: `Err:3 ADDRESS`, with the reason on the next line.
fn said_of(said: &str, uri: &str) -> String {
    let mut lines = said.lines();
    let reason = lines
        .find(|line| line.starts_with("Err:") && line.split(' ').any(|word| word == uri))
        .and_then(|_| lines.next())
        .or_else(|| said.lines().find_map(|line| line.strip_prefix("E: ")));
    let reason = reason.unwrap_or("apt gave no reason").trim();
    let reason = reason.split(" [IP:").next().unwrap_or(reason);
    reason.trim_end_matches([':', ' ']).to_owned()
}

/// Quotes a path for a URL.
fn quote(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02x}"),
        })
        .collect()
}
