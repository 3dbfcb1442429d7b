//! The outer format of a .deb file: an `ar` archive with plain member names (deb(5)).

use alloc::format;
use alloc::string::String;

use crate::error::shown;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// A member of an archive.
pub(crate) struct Member<'a> {
    /// The name without padding.
    pub(crate) name: &'a [u8],
    /// The contents.
    pub(crate) data: &'a [u8],
}

/// The unread rest of an archive.
pub(crate) struct Archive<'a> {
    rest: &'a [u8],
}

impl<'a> Archive<'a> {
    /// Begins to read an archive.
    ///
    /// # Errors
    /// When the file does not begin as an archive does.
    pub(crate) fn new(file: &'a [u8]) -> Result<Self, String> {
        match file.strip_prefix(MAGIC) {
            Some(rest) => Ok(Self { rest }),
            None => Err("not a Debian package: the file does not begin with `!<arch>`".into()),
        }
    }

    /// Returns the next member, or `None` at the end.
    ///
    /// # Errors
    /// When the archive ends within a member or a header is malformed.
    pub(crate) fn next(&mut self) -> Result<Option<Member<'a>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (header, rest) = self
            .rest
            .split_at_checked(HEADER)
            .ok_or("truncated: the archive ends within a member's header")?;
        if &header[58..] != b"`\n" {
            return Err("damaged: a member's header in the archive has no end mark".into());
        }
        let name = trimmed(&header[..16]);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let size = decimal(trimmed(&header[48..58])).ok_or_else(|| {
            format!(
                "damaged: member {} of the archive has no valid size",
                shown(name)
            )
        })?;
        let (data, rest) = rest.split_at_checked(size).ok_or_else(|| {
            format!(
                "truncated: member {} has {} of its {size} bytes",
                shown(name),
                rest.len()
            )
        })?;
        // Members begin at even offsets. The padding of the last one may be missing.
        self.rest = if size % 2 == 1 {
            rest.get(1..).unwrap_or_default()
        } else {
            rest
        };
        Ok(Some(Member { name, data }))
    }
}

fn trimmed(field: &[u8]) -> &[u8] {
    field.trim_ascii_end()
}

fn decimal(digits: &[u8]) -> Option<usize> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            100644,
            data.len()
        )
        .into_bytes();
        bytes.extend_from_slice(data);
        if data.len() % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn members_come_in_order_and_padding_is_skipped() {
        let file = [MAGIC, &member("odd", b"123"), &member("even/", b"4567")].concat();
        let mut archive = Archive::new(&file).unwrap();
        let first = archive.next().unwrap().unwrap();
        assert_eq!((first.name, first.data), (&b"odd"[..], &b"123"[..]));
        let second = archive.next().unwrap().unwrap();
        assert_eq!((second.name, second.data), (&b"even"[..], &b"4567"[..]));
        assert!(archive.next().unwrap().is_none());
    }

    #[test]
    fn a_cut_member_is_an_error_that_says_how_much_is_there() {
        let file = [MAGIC, &member("data.tar", b"12345678")].concat();
        let error = Archive::new(&file[..file.len() - 3])
            .unwrap()
            .next()
            .err()
            .unwrap();
        assert_eq!(error, "truncated: member `data.tar` has 5 of its 8 bytes");
    }
}
