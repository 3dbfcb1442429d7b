//! Substitutes for the standard library and the C library: the entry point, the memory functions
//! that compiled code calls, an allocator, and an end for panics.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;
use core::ptr;

extern crate alloc;
use alloc::vec::Vec;

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// The exit code of a defect in the seed itself (`EX_SOFTWARE`).
const INTERNAL_ERROR: i32 = 70;

// The kernel leaves the stack pointer at the argument count. Arguments and environment follow it.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {start}",
    "brk #1",
    start = sym start,
);

/// Reads arguments and environment from the initial stack and runs the program.
///
/// # Safety
/// `stack` must be the stack pointer that the kernel started the process with.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: `_start` passes the initial stack pointer. The kernel has put there the count, the
    // arguments, a null pointer, the environment and a null pointer, in this order (System V ABI,
    // "process initialization"). They live as long as the process.
    let (arguments, environment) = unsafe {
        let count = *stack;
        let arguments = stack.add(1).cast::<*const c_char>();
        (strings(arguments), strings(arguments.add(count + 1)))
    };
    crateyard_seed::sys::exit(crateyard_seed::run(arguments, environment))
}

/// Copies the strings of a null-terminated array of C strings.
///
/// # Safety
/// `array` must point to pointers to C strings, followed by a null pointer.
unsafe fn strings(mut array: *const *const c_char) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    // SAFETY: the caller passes an array that ends in a null pointer, where the loop stops. Each
    // pointer before it is one to a C string.
    unsafe {
        while !(*array).is_null() {
            found.push(CStr::from_ptr(*array).to_bytes().to_vec());
            array = array.add(1);
        }
    }
    found
}

/// Ends the process. The message is fixed, because a place in the source would put the paths of the
/// machine that built the seed into its bytes.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    crateyard_seed::output::error(
        b"seed: internal error: this is a defect of the seed, please report the command line\n",
    );
    crateyard_seed::sys::exit(INTERNAL_ERROR)
}

/// The compiled core and alloc libraries name this and [`_Unwind_Resume`], because they were
/// compiled to unwind. Nothing here ever does.
// SAFETY: no other object of the program defines this symbol, and nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
// SAFETY: no other object of the program defines this symbol, and nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crateyard_seed::sys::exit(INTERNAL_ERROR)
}

/// `cpufeatures` asks the C library for the abilities of the processor, on this architecture. The
/// answer that it has no special ones is right everywhere. Only the SHA-256 that an .xz file may
/// have as its checksum asks.
#[cfg(target_arch = "aarch64")]
// SAFETY: no other object of the program defines this symbol. It has the signature that the C
// library's has (`unsigned long`).
#[unsafe(no_mangle)]
extern "C" fn getauxval(_: usize) -> usize {
    0
}

/// The allocator. Large blocks come from the kernel and go back to it. Small ones come from lists
/// of blocks whose sizes are powers of two. These lists only grow.
///
/// The seed has one thread, and a forked child has its own copy, so nothing needs a lock.
struct Memory {
    lists: UnsafeCell<Lists>,
}

struct Lists {
    /// The first free block of each size class. A free block begins with the pointer to the next.
    free: [*mut u8; CLASSES],
    /// The unused part of the chunk from which small blocks are cut.
    next: *mut u8,
    left: usize,
}

/// The logarithm of the smallest block's size, 16 bytes. Every block is aligned to that.
const SMALLEST: usize = 4;
const CLASSES: usize = 17;
/// The smallest size of blocks that are mapped one by one.
const LARGE: usize = 1 << (SMALLEST + CLASSES - 1);
const CHUNK: usize = 1 << 20;
const PAGE: usize = 4096;

#[global_allocator]
static MEMORY: Memory = Memory {
    lists: UnsafeCell::new(Lists {
        free: [ptr::null_mut(); CLASSES],
        next: ptr::null_mut(),
        left: 0,
    }),
};

// SAFETY: the seed has one thread, and a forked child has its own copy of the memory.
unsafe impl Sync for Memory {}

// SAFETY: blocks in use are disjoint and hold at least the layout's size. They are aligned to their
// size up to a page, and a greater alignment gets null. Nothing here panics.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size().max(layout.align());
        if layout.align() > PAGE {
            return ptr::null_mut();
        }
        if size >= LARGE {
            return map(size);
        }
        // SAFETY: `take` does not allocate, so this is the only reference to the lists. `size` is
        // below LARGE, so its class exists.
        unsafe { (*self.lists.get()).take(class(size)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        let block = unsafe { self.alloc(layout) };
        // Memory that the kernel maps is zero already.
        if !block.is_null() && layout.size().max(layout.align()) < LARGE {
            // SAFETY: `alloc` has returned a block of at least this size.
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let size = layout.size().max(layout.align());
        // SAFETY: the caller passes a block that `alloc` has made for this layout, and gives it up.
        // A large one is a mapping of `pages(size)` bytes, every other a block of `class(size)`.
        // `give` does not allocate, so this is the only reference to the lists.
        unsafe {
            if size >= LARGE {
                let _ = munmap(block.cast(), pages(size));
            } else {
                (*self.lists.get()).give(class(size), block);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let old_size = layout.size();
        // SAFETY: the caller passes a block that `alloc` has made for this layout, and a size that
        // is valid for its alignment. A large block is a mapping of `pages(old_size)` bytes. A new
        // block is distinct from the old one, and both hold the smaller of the two sizes.
        unsafe {
            if old_size >= LARGE && new_size >= LARGE {
                return mremap(
                    block.cast(),
                    pages(old_size),
                    pages(new_size),
                    MremapFlags::MAYMOVE,
                )
                .map_or(ptr::null_mut(), |moved| moved.cast());
            }
            if old_size < LARGE && new_size < LARGE && class(old_size) == class(new_size) {
                return block;
            }
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, old_size.min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

impl Lists {
    /// Takes a block of a class from its list, or cuts one from the chunk. Returns null if the
    /// kernel has no more memory.
    ///
    /// # Safety
    /// `class` must be below CLASSES.
    unsafe fn take(&mut self, class: usize) -> *mut u8 {
        let first = self.free[class];
        if !first.is_null() {
            // SAFETY: a free block has at least 16 bytes, aligned to 16, and begins with the
            // pointer to the next one, which `give` has written.
            self.free[class] = unsafe { *first.cast::<*mut u8>() };
            return first;
        }
        let size = 1 << (class + SMALLEST);
        if self.left < size {
            let chunk = map(CHUNK);
            if chunk.is_null() {
                return chunk;
            }
            self.next = chunk;
            self.left = CHUNK;
        }
        // Cut from the end, so that a block is aligned to its own size as far as the chunk is.
        self.left -= size;
        let offset = self.left & !(size - 1);
        self.left = offset;
        // SAFETY: `next` points to a chunk of CHUNK bytes, and `offset + size` is at most that.
        unsafe { self.next.add(offset) }
    }

    /// Puts a block of a class onto its list.
    ///
    /// # Safety
    /// `take` must have given the block for this class, and nobody may use it any more.
    unsafe fn give(&mut self, class: usize, block: *mut u8) {
        // SAFETY: the caller gives up a block, and each has at least 16 bytes, aligned to 16.
        unsafe { *block.cast::<*mut u8>() = self.free[class] };
        self.free[class] = block;
    }
}

/// Returns the smallest class whose blocks hold `size` bytes.
fn class(size: usize) -> usize {
    (size.max(1 << SMALLEST).next_power_of_two().trailing_zeros() as usize) - SMALLEST
}

fn pages(size: usize) -> usize {
    (size + PAGE - 1) & !(PAGE - 1)
}

fn map(size: usize) -> *mut u8 {
    // SAFETY: a new anonymous mapping touches no memory that is in use.
    unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            pages(size),
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }
    .map_or(ptr::null_mut(), |block| block.cast())
}

/// The functions that the compiler calls by name. Their loops are assembly: the compiler recognizes
/// a loop in Rust that copies or fills, and replaces it by a call of the very function that the
/// loop is in.
///
/// No other object of the program defines their symbols, and they have the C standard's signatures.
mod memory {
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
}
