//! What the standard library and the C library would otherwise give: the entry point, the memory functions that
//! compiled code calls, an allocator, and an end for panics.

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

// The kernel leaves the stack pointer at the argument count; everything else is found from there.
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
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // The kernel's layout: count, arguments, null, environment, null (System V ABI, "process initialization").
    let (arguments, environment) = unsafe {
        let count = *stack;
        let arguments = stack.add(1).cast::<*const c_char>();
        (strings(arguments), strings(arguments.add(count + 1)))
    };
    crateyard_seed::sys::exit(crateyard_seed::run(arguments, environment))
}

/// The strings of a null-terminated array of C strings.
unsafe fn strings(mut array: *const *const c_char) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    unsafe {
        while !(*array).is_null() {
            found.push(CStr::from_ptr(*array).to_bytes().to_vec());
            array = array.add(1);
        }
    }
    found
}

/// Ends the process. The message is fixed: a place in the source would put the paths of the machine that built the
/// seed into its bytes.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    crateyard_seed::output::error(
        b"seed: internal error: this is a defect of the seed, please report the command line\n",
    );
    crateyard_seed::sys::exit(INTERNAL_ERROR)
}

/// The compiled core and alloc libraries name these, because they were compiled to unwind; nothing here ever does.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crateyard_seed::sys::exit(INTERNAL_ERROR)
}

/// `cpufeatures` asks the C library what the processor can do, on this architecture. "Nothing special" is right
/// everywhere; what it is asked for is the SHA-256 that an .xz file may have as its checksum.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
extern "C" fn getauxval(_: usize) -> usize {
    0
}

/// Large blocks come from the kernel and go back to it; small ones come from power-of-two lists that only grow.
///
/// The seed has one thread, and a forked child has its own copy: nothing needs a lock.
struct Memory {
    lists: UnsafeCell<Lists>,
}

struct Lists {
    /// For each size class the first free block, which holds the pointer to the next.
    free: [*mut u8; CLASSES],
    /// The unused rest of the chunk that small blocks are cut from.
    next: *mut u8,
    left: usize,
}

/// The smallest block is 16 bytes, which is also the alignment of every block.
const SMALLEST: usize = 4;
const CLASSES: usize = 17;
/// Blocks of this size and more are mapped one by one.
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

unsafe impl Sync for Memory {}

unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size().max(layout.align());
        if layout.align() > PAGE {
            return ptr::null_mut();
        }
        if size >= LARGE {
            return map(size);
        }
        unsafe { (*self.lists.get()).take(class(size)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = unsafe { self.alloc(layout) };
        // What the kernel maps is zero already.
        if !block.is_null() && layout.size().max(layout.align()) < LARGE {
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let size = layout.size().max(layout.align());
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
    unsafe fn take(&mut self, class: usize) -> *mut u8 {
        let first = self.free[class];
        if !first.is_null() {
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
        unsafe { self.next.add(offset) }
    }

    unsafe fn give(&mut self, class: usize, block: *mut u8) {
        unsafe { *block.cast::<*mut u8>() = self.free[class] };
        self.free[class] = block;
    }
}

/// The smallest class whose blocks hold `size` bytes.
fn class(size: usize) -> usize {
    (size.max(1 << SMALLEST).next_power_of_two().trailing_zeros() as usize) - SMALLEST
}

fn pages(size: usize) -> usize {
    (size + PAGE - 1) & !(PAGE - 1)
}

fn map(size: usize) -> *mut u8 {
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

/// The functions that the compiler calls by name. Their loops are assembly: the compiler recognizes a copying or
/// filling loop written in Rust and replaces it with a call of the very function it stands in.
mod memory {
    use core::arch::asm;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
        unsafe {
            match size {
                0..=15 => copy_short(to, from, size),
                _ => copy_forward(to, from, size),
            }
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
        unsafe {
            match size {
                0..=15 => copy_short(to, from, size),
                // Not within the source, or before it: the forward copy never overwrites what it has yet to read.
                _ if (to as usize).wrapping_sub(from as usize) >= size => {
                    copy_ascending(to, from, size)
                }
                _ => copy_descending(to, from, size),
            }
        }
        to
    }

    /// Copies fewer than 16 bytes; all are read before any is written, so the two may overlap.
    #[inline(always)]
    unsafe fn copy_short(to: *mut u8, from: *const u8, size: usize) {
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
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn copy_forward(to: *mut u8, from: *const u8, size: usize) {
        unsafe {
            if size >= 1024 {
                asm!("rep movsb", inout("rcx") size => _, inout("rdi") to => _, inout("rsi") from => _,
                    options(nostack, preserves_flags));
            } else {
                copy_ascending(to, from, size);
            }
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    unsafe fn copy_forward(to: *mut u8, from: *const u8, size: usize) {
        unsafe { copy_ascending(to, from, size) }
    }

    /// Copies 16 bytes or more from the first to the last; `to` may lie before `from` in one block. The last 16
    /// bytes are read first, because a step may overwrite them.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn copy_ascending(to: *mut u8, from: *const u8, size: usize) {
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

    /// Copies 16 bytes or more from the last to the first; `to` may lie behind `from` in one block.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn copy_descending(to: *mut u8, from: *const u8, size: usize) {
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

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    unsafe fn copy_ascending(to: *mut u8, from: *const u8, size: usize) {
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

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    unsafe fn copy_descending(to: *mut u8, from: *const u8, size: usize) {
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

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, size: usize) -> *mut u8 {
        let byte = byte as u8;
        let word = u64::from(byte).wrapping_mul(0x0101_0101_0101_0101);
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

    /// Fills 16 bytes or more with a repeated word.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn fill(to: *mut u8, word: u64, size: usize) {
        unsafe {
            asm!("rep stosb", inout("rcx") size => _, inout("rdi") to => _, in("al") word as u8,
                options(nostack, preserves_flags));
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    unsafe fn fill(to: *mut u8, word: u64, size: usize) {
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

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
        let mut at = 0;
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

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
        unsafe { memcmp(left, right, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let mut length = 0;
        // Volatile: else this loop becomes a call of `strlen`.
        while unsafe { text.add(length).read_volatile() } != 0 {
            length += 1;
        }
        length
    }
}
