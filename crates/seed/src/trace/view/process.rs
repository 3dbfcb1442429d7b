//! The links in `/proc`.

use alloc::format;
use alloc::vec::Vec;

use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;

use super::{Asker, Target, View};

impl View {
    /// Resolves links in `/proc` that mean something else to this process than to the one that
    /// asks.
    pub(super) fn of_process(
        &self,
        asker: &Asker<'_>,
        rest: &[u8],
        is_last: bool,
    ) -> Result<Option<Target>, Errno> {
        let names: Vec<&[u8]> = rest.split(|&byte| byte == b'/').skip(1).collect();
        let link = |target: Vec<u8>| Ok(Some(Target::Link(target)));
        match names.as_slice() {
            [b"self"] => return link(format!("/proc/{}", (asker.process)()).into_bytes()),
            [b"thread-self"] => {
                let target = format!("/proc/{}/task/{}", (asker.process)(), asker.task);
                return link(target.into_bytes());
            }
            _ => {}
        }
        // The links of a thread are the same as those of its process.
        let names = match names.as_slice() {
            [process, b"task", _, rest @ ..] if !rest.is_empty() => [&[*process], rest].concat(),
            _ => names,
        };
        let [process, kind, ..] = names.as_slice() else {
            return Ok(None);
        };
        let Some(process) = number(process) else {
            return Ok(None);
        };
        match (*kind, names.len()) {
            (b"exe", 2) => (asker.program)(process).map_or(Ok(None), link),
            (b"root", 2) => link(b"/".to_vec()),
            (b"cwd", 2) | (b"fd", 3) => {
                let host = [b"/proc", rest].concat();
                if is_last && *kind == b"fd" {
                    // Leave it to the kernel, because the file may have no path.
                    return Ok(Some(Target::Open(host)));
                }
                match readlinkat(CWD, host.as_slice(), Vec::new()) {
                    Ok(target) => link(self.inside(target.as_bytes())),
                    Err(errno) => Err(errno),
                }
            }
            _ => Ok(None),
        }
    }
}

fn number(name: &[u8]) -> Option<i32> {
    core::str::from_utf8(name).ok()?.parse().ok()
}
