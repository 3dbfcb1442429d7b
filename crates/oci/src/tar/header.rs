//! The fields of a header, which is one block.

use std::ops::Range;

use super::BLOCK;

pub(super) fn check_sum(block: &[u8; BLOCK]) -> Result<(), &'static str> {
    let stored = number(&block[148..156]).ok_or("the checksum is not a number")?;
    let counted = |index: usize, byte: u8| {
        if (148..156).contains(&index) {
            b' '
        } else {
            byte
        }
    };
    let bytes = || {
        block
            .iter()
            .enumerate()
            .map(|(at, &byte)| counted(at, byte))
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    let stored = i64::try_from(stored).unwrap_or(-1);
    if stored == unsigned || stored == signed {
        Ok(())
    } else {
        Err("the header's checksum is wrong")
    }
}

/// Reads the size. Readers disagree about where the next entry begins after a negative one, and
/// after digits that follow a zero byte.
pub(super) fn size(block: &[u8; BLOCK]) -> Result<u64, &'static str> {
    let field = &block[124..136];
    let is_negative = field[0] & 0xc0 == 0xc0;
    let is_hidden = field[0] == 0 && field.iter().any(|&byte| byte != 0);
    let size = (!is_negative && !is_hidden)
        .then(|| number(field))
        .flatten();
    size.ok_or("the size is not a number")
}

/// Reads a number of the header.
pub(super) fn number_in(
    block: &[u8; BLOCK],
    range: Range<usize>,
    what: &str,
) -> Result<u64, String> {
    number(&block[range]).ok_or_else(|| format!("the {what} is not a number"))
}

/// Reads major and minor number of a device. Old headers have other bytes there.
pub(super) fn device(block: &[u8; BLOCK]) -> (u64, u64) {
    let number = |range: Range<usize>| number(&block[range]).unwrap_or(0);
    (number(329..337), number(337..345))
}

/// Reads a number in octal digits, or in base 256 when the highest bit is set. Negative numbers,
/// which only times may have, count as 0.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        if field[0] & 0x40 != 0 {
            return Some(0);
        }
        let first = u64::from(field[0] & 0x3f);
        return field[1..].iter().try_fold(first, |value, &byte| {
            value.checked_mul(256)?.checked_add(u64::from(byte))
        });
    }
    let digits = std::str::from_utf8(text(field)).ok()?.trim();
    if digits.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(digits, 8).ok()
}

/// Returns the bytes of a field before its first zero.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Reads the path.
pub(super) fn path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[..100]);
    match prefix(block) {
        [] => name.to_vec(),
        prefix => [prefix, b"/", name].concat(),
    }
}

/// Returns the directory of a path that is too long for its own field, as Go's reader finds it.
/// Old headers have none.
/// <https://cs.opensource.google/go/go/+/refs/tags/go1.24.0:src/archive/tar/reader.go;l=312>
fn prefix(block: &[u8; BLOCK]) -> &[u8] {
    match &block[257..265] {
        b"ustar\x0000" if &block[508..] == b"tar\0" => text(&block[345..476]),
        b"ustar\x0000" => text(&block[345..500]),
        // GNU's dialect has times there. Go's old writer wrote a prefix all the same.
        b"ustar  \0" if has_no_times(block) => {
            let prefix = text(&block[345..500]);
            if prefix.is_ascii() { prefix } else { &[] }
        }
        _ => &[],
    }
}

/// Whether the fields of GNU's times hold something else.
fn has_no_times(block: &[u8; BLOCK]) -> bool {
    let times = [&block[345..357], &block[357..369]];
    times
        .iter()
        .any(|time| time[0] != 0 && number(time).is_none())
}
