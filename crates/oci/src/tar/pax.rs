//! PAX extended header records: `LENGTH KEY=VALUE\n`, where the length counts itself.

/// The prefix of the keys that hold extended attributes.
pub(super) const XATTR_PREFIX: &str = "SCHILY.xattr.";
/// The prefix of bsdtar's keys, whose values are in base 64.
pub(super) const BASE64_XATTR_PREFIX: &str = "LIBARCHIVE.xattr.";

/// Appends one record.
pub(super) fn push_record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) > length {
        length += 1;
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Splits a block of records into keys and values. Returns `None` if it is malformed.
pub(super) fn parse_records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    // Some writers pad the records with zeroes.
    while bytes.first().is_some_and(|&byte| byte != 0) {
        let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        if length <= space + 1 || length > bytes.len() {
            return None;
        }
        let record = bytes[space + 1..length].strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves_at_every_length() {
        for size in 0..1100 {
            let value = vec![b'v'; size];
            let mut records = Vec::new();
            push_record(&mut records, "path", &value);
            push_record(&mut records, "size", b"1");
            let parsed = parse_records(&records).unwrap();
            assert_eq!(parsed, [(&b"path"[..], &value[..]), (b"size", b"1")]);
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            "x",
            "5 a=b",
            "99999999999999999999 a=b\n",
            "3 a\n",
            "0 a=b\n",
            "6 a=bX",
        ] {
            assert!(parse_records(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
