//! Substitutes for the standard library and the C library: the entry point, the memory functions
//! that compiled code calls, an allocator, and an end for panics.

mod heap;
mod memory;

use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

extern crate alloc;
use alloc::vec::Vec;

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
