//! The allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

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
