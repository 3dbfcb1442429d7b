//! The values of extended headers, which count in place of those in an entry's header.

use std::collections::BTreeMap;

use base64::Engine as _;

use super::pax::{BASE64_XATTR_PREFIX, XATTR_PREFIX, parse_records};
use crate::limits::MAX_XATTR;

/// The values of extended headers for the next entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<u64>,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    pub(super) sparse: bool,
    /// The names in GNU's long headers.
    pub(super) long_path: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    /// Whether there was an extended header.
    extended: bool,
}

impl Overrides {
    /// Takes the records of an extended header. Readers disagree about a second one: some take the
    /// last alone.
    pub(super) fn apply(&mut self, records: &[u8]) -> Result<(), &'static str> {
        if std::mem::replace(&mut self.extended, true) {
            return Err("the entry has two extended headers");
        }
        let records = parse_records(records).ok_or("the extended header is malformed")?;
        for (key, value) in records {
            self.apply_record(&String::from_utf8_lossy(key), value)?;
        }
        Ok(())
    }

    /// Decides between the names of both dialects. Readers disagree if they differ.
    pub(super) fn settle(&mut self) -> Result<(), &'static str> {
        for (extended, long) in [
            (&mut self.path, self.long_path.take()),
            (&mut self.link, self.long_link.take()),
        ] {
            if extended.is_some() && long.is_some() && *extended != long {
                return Err("an extended header and a long header give it different names");
            }
            *extended = extended.take().or(long);
        }
        Ok(())
    }

    fn apply_record(&mut self, key: &str, value: &[u8]) -> Result<(), &'static str> {
        match key {
            // The entry's own header counts.
            "path" | "linkpath" | "size" | "uid" | "gid" | "mtime" if value.is_empty() => {}
            "path" | "GNU.sparse.name" => self.path = Some(value.to_vec()),
            "linkpath" => self.link = Some(value.to_vec()),
            "size" => self.size = Some(decimal(value).ok_or("the size is not a number")?),
            "uid" => self.uid = Some(decimal(value).ok_or("the user is not a number")?),
            "gid" => self.gid = Some(decimal(value).ok_or("the group is not a number")?),
            "mtime" => self.mtime = Some(seconds(value).ok_or("the time is not a number")?),
            key if key.starts_with("GNU.sparse.") => self.sparse = true,
            key => return self.apply_xattr(key, value),
        }
        Ok(())
    }

    /// Takes an extended attribute. Ignores any other record.
    fn apply_xattr(&mut self, key: &str, value: &[u8]) -> Result<(), &'static str> {
        let plain = key.strip_prefix(XATTR_PREFIX);
        let (name, value) = if let Some(name) = plain {
            (name, value.to_vec())
        } else if let Some(name) = key.strip_prefix(BASE64_XATTR_PREFIX) {
            (name, from_base64(value))
        } else {
            return Ok(());
        };
        if value.len() > MAX_XATTR {
            return Err("an extended attribute is larger than the 65,536 bytes that Linux allows");
        }
        // libarchive writes both forms, and the plain one counts.
        if plain.is_some() || !self.xattrs.contains_key(name) {
            self.xattrs.insert(name.to_owned(), value);
        }
        Ok(())
    }
}

/// Decodes base 64 in libarchive's form, without padding. Returns any other value unchanged.
fn from_base64(value: &[u8]) -> Vec<u8> {
    let text = value.strip_suffix(b"=").unwrap_or(value);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text);
    decoded.unwrap_or_else(|_| value.to_vec())
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Returns the whole seconds of a time such as `1700000000.25`. Times before 1970 count as 0.
fn seconds(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.starts_with('-') {
        return Some(0);
    }
    text.split('.').next()?.parse().ok()
}
