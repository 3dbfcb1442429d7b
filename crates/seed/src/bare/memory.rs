//! The functions that the compiler calls by name. Their loops are assembly: the compiler recognizes
//! a loop in Rust that copies or fills, and replaces it by a call of the very function that the
//! loop is in.
//!
//! No other object of the program defines their symbols, and they have the C standard's signatures.

use core::arch::asm;

/// # Safety
/// As the C standard's: both blocks have `size` bytes, and they do not overlap.
// SAFETY: the module's documentation says why the name is free.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    // SAFETY: the caller passes two blocks of `size` bytes that do not overlap.
    unsafe {
        match size {
            0..=15 => copy_short(to, from, size),
            _ => copy_forward(to, from, size),
        }
    }
    to
}

/// # Safety
/// As the C standard's: both blocks have `size` bytes, and they may overlap.
// SAFETY: the module's documentation says why the name is free.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    // SAFETY: the caller passes two blocks of `size` bytes, and the direction of the copy is
    // one in which no byte is overwritten before it is read.
    unsafe {
        match size {
            0..=15 => copy_short(to, from, size),
            // The target begins before the source, or behind its end.
            _ if (to as usize).wrapping_sub(from as usize) >= size => {
                copy_ascending(to, from, size)
            }
            _ => copy_descending(to, from, size),
        }
    }
    to
}

/// Copies fewer than 16 bytes. All are read before any is written, so the blocks may overlap.
///
/// # Safety
/// Both blocks must have `size` bytes.
#[inline(always)]
unsafe fn copy_short(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: each read and each write lies within the `size` bytes of its block, by the
    // condition of its branch. All reads come before the first write.
    unsafe {
        if size >= 8 {
            let first = from.cast::<u64>().read_unaligned();
            let last = from.add(size - 8).cast::<u64>().read_unaligned();
            to.cast::<u64>().write_unaligned(first);
            to.add(size - 8).cast::<u64>().write_unaligned(last);
        } else if size >= 4 {
            let first = from.cast::<u32>().read_unaligned();
            let last = from.add(size - 4).cast::<u32>().read_unaligned();
            to.cast::<u32>().write_unaligned(first);
            to.add(size - 4).cast::<u32>().write_unaligned(last);
        } else if size > 0 {
            let (first, middle, last) = (*from, *from.add(size / 2), *from.add(size - 1));
            *to = first;
            *to.add(size / 2) = middle;
            *to.add(size - 1) = last;
        }
    }
}

/// Copies 16 bytes or more between blocks that do not overlap.
///
/// # Safety
/// Both blocks must have `size` bytes, and they must not overlap.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn copy_forward(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: the caller passes two disjoint blocks of `size` bytes, 16 or more. The ABI has
    // the direction flag clear, so `rep movsb` counts upwards.
    unsafe {
        if size >= 1024 {
            asm!("rep movsb", inout("rcx") size => _, inout("rdi") to => _,
                inout("rsi") from => _, options(nostack, preserves_flags));
        } else {
            copy_ascending(to, from, size);
        }
    }
}

/// # Safety
/// Both blocks must have `size` bytes, and they must not overlap.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn copy_forward(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: the caller passes two disjoint blocks of `size` bytes, 16 or more.
    unsafe { copy_ascending(to, from, size) }
}

/// Copies 16 bytes or more from the first to the last. `to` may lie before `from` in one block.
/// The last 16 bytes are read first, because a step may overwrite them.
///
/// # Safety
/// Both blocks must have `size` bytes, and `to` must not begin within the source.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn copy_ascending(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: `size` is 16 or more. A step begins more than 16 bytes before the end, so all
    // steps and the last 16 bytes lie within the blocks. The assembly changes its operands, the
    // target and the flags, and nothing else.
    unsafe {
        asm!(
            "movups {tail}, [{from} + {size} - 16]",
            "lea {end}, [{to} + {size} - 16]",
            "2:",
            "movups {step}, [{from}]",
            "movups [{to}], {step}",
            "add {from}, 16",
            "add {to}, 16",
            "cmp {to}, {end}",
            "jb 2b",
            "movups [{end}], {tail}",
            from = inout(reg) from => _, to = inout(reg) to => _, size = in(reg) size,
            end = out(reg) _, tail = out(xmm_reg) _, step = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Copies 16 bytes or more from the last to the first. `to` may lie behind `from` in one block.
/// The first 16 bytes are read first, because a step may overwrite them.
///
/// # Safety
/// Both blocks must have `size` bytes, and `to` must not begin before `from` in one block.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn copy_descending(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: `size` is 16 or more. A step copies the last 16 of the bytes that are left, which
    // are 16 or more, so all steps and the first 16 bytes lie within the blocks. The assembly
    // changes its operands, the target and the flags, and nothing else.
    unsafe {
        asm!(
            "movups {head}, [{from}]",
            "2:",
            "movups {step}, [{from} + {left} - 16]",
            "movups [{to} + {left} - 16], {step}",
            "sub {left}, 16",
            "cmp {left}, 16",
            "ja 2b",
            "movups [{to}], {head}",
            from = in(reg) from, to = in(reg) to, left = inout(reg) size => _,
            head = out(xmm_reg) _, step = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// Both blocks must have `size` bytes, and `to` must not begin within the source.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn copy_ascending(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: as for the other architecture.
    unsafe {
        asm!(
            "add {end}, {from}, {size}",
            "ldur {tail:q}, [{end}, #-16]",
            "add {end}, {to}, {size}",
            "sub {end}, {end}, #16",
            "2:",
            "ldr {step:q}, [{from}], #16",
            "str {step:q}, [{to}], #16",
            "cmp {to}, {end}",
            "b.lo 2b",
            "str {tail:q}, [{end}]",
            from = inout(reg) from => _, to = inout(reg) to => _, size = in(reg) size,
            end = out(reg) _, tail = out(vreg) _, step = out(vreg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// Both blocks must have `size` bytes, and `to` must not begin before `from` in one block.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn copy_descending(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: as for the other architecture.
    unsafe {
        asm!(
            "ldr {head:q}, [{from}]",
            "add {read}, {from}, {left}",
            "add {write}, {to}, {left}",
            "2:",
            "ldr {step:q}, [{read}, #-16]!",
            "str {step:q}, [{write}, #-16]!",
            "sub {left}, {left}, #16",
            "cmp {left}, #16",
            "b.hi 2b",
            "str {head:q}, [{to}]",
            from = in(reg) from, to = in(reg) to, left = inout(reg) size => _,
            read = out(reg) _, write = out(reg) _, head = out(vreg) _, step = out(vreg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// As the C standard's: the block has `size` bytes.
// SAFETY: the module's documentation says why the name is free.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, size: usize) -> *mut u8 {
    let byte = byte as u8;
    let word = u64::from(byte).wrapping_mul(0x0101_0101_0101_0101);
    // SAFETY: the caller passes a block of `size` bytes, and each write lies within it by the
    // condition of its branch.
    unsafe {
        if size >= 16 {
            fill(to, word, size);
        } else if size >= 8 {
            to.cast::<u64>().write_unaligned(word);
            to.add(size - 8).cast::<u64>().write_unaligned(word);
        } else if size >= 4 {
            to.cast::<u32>().write_unaligned(word as u32);
            to.add(size - 4).cast::<u32>().write_unaligned(word as u32);
        } else if size > 0 {
            *to = byte;
            *to.add(size / 2) = byte;
            *to.add(size - 1) = byte;
        }
    }
    to
}

/// Fills 16 bytes or more with a repeated word, all of whose bytes are equal.
///
/// # Safety
/// The block must have `size` bytes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn fill(to: *mut u8, word: u64, size: usize) {
    // SAFETY: the caller passes a block of `size` bytes. The ABI has the direction flag clear,
    // so `rep stosb` counts upwards.
    unsafe {
        asm!("rep stosb", inout("rcx") size => _, inout("rdi") to => _, in("al") word as u8,
            options(nostack, preserves_flags));
    }
}

/// # Safety
/// The block must have `size` bytes.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn fill(to: *mut u8, word: u64, size: usize) {
    // SAFETY: `size` is 16 or more. A step begins more than 16 bytes before the end, so all
    // steps and the last 16 bytes lie within the block. The assembly changes its operands, the
    // block and the flags, and nothing else.
    unsafe {
        asm!(
            "add {end}, {to}, {size}",
            "sub {end}, {end}, #16",
            "2:",
            "stp {word}, {word}, [{to}], #16",
            "cmp {to}, {end}",
            "b.lo 2b",
            "stp {word}, {word}, [{end}]",
            to = inout(reg) to => _, word = in(reg) word, size = in(reg) size, end = out(reg) _,
            options(nostack),
        );
    }
}

/// # Safety
/// As the C standard's: both blocks have `size` bytes.
// SAFETY: the module's documentation says why the name is free.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
    let mut at = 0;
    // SAFETY: the caller passes two blocks of `size` bytes, and each read ends within them by
    // the condition of its loop.
    unsafe {
        while at + 8 <= size {
            let one = left.add(at).cast::<u64>().read_unaligned();
            let other = right.add(at).cast::<u64>().read_unaligned();
            if one != other {
                return if one.swap_bytes() < other.swap_bytes() {
                    -1
                } else {
                    1
                };
            }
            at += 8;
        }
        while at < size {
            let difference = i32::from(*left.add(at)) - i32::from(*right.add(at));
            if difference != 0 {
                return difference;
            }
            at += 1;
        }
    }
    0
}

/// # Safety
/// As for [`memcmp`].
// SAFETY: the module's documentation says why the name is free.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
    // SAFETY: the contract is that of `memcmp`.
    unsafe { memcmp(left, right, size) }
}

/// # Safety
/// As the C standard's: `text` ends in a zero byte.
// SAFETY: the module's documentation says why the name is free.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // Volatile: else this loop becomes a call of `strlen`.
    // SAFETY: the text ends in a zero byte, where the loop stops.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
