//! Damaged inputs for readers. A seed repeats them.

use fastrand::Rng;

/// The number of inputs for each reader.
pub const INPUTS: usize = 10_000;
/// The most memory that a test of readers may have, in bytes.
const MEMORY: u64 = 256 << 20;
/// The least number of inputs that the reader must still understand. With fewer, the damage tests
/// nothing but the first check.
const UNDERSTOOD: usize = INPUTS / 200;

/// The pieces to insert: elements of the formats, and numbers at their limits.
const PIECES: [&[u8]; 24] = [
    b"\n",
    b"\0",
    b": ",
    b" ",
    b",",
    b"=",
    b"/",
    b"..",
    b".wh.",
    b"\"",
    b"\\",
    b"{}",
    b"[",
    b"]",
    b"null",
    b"-1",
    b"18446744073709551615",
    b"9223372036854775808",
    b"1e999",
    b"sha256:",
    b"\xff\xfe",
    b"\xf0\x9f\x98\x80",
    b"\x1b[2J",
    b"(>= ~)",
];

/// The source of damage. It prints its seed, and `MUTATION_SEED` repeats it.
pub struct Mutations {
    /// The source of random numbers.
    pub random: Rng,
    what: String,
    seed: u64,
}

impl Mutations {
    /// Draws a seed for a reader, which the messages call `what`.
    pub fn new(what: &str) -> Mutations {
        let given = std::env::var("MUTATION_SEED").ok();
        let given = given.and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        eprintln!("{what}: MUTATION_SEED={seed} repeats this");
        Mutations {
            random: Rng::with_seed(seed),
            what: what.to_owned(),
            seed,
        }
    }

    /// Damages bytes in one to four places.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        let random = &mut self.random;
        for _ in 0..random.usize(1..=4) {
            let at = random.usize(0..=bytes.len());
            let end = (at + random.usize(1..64)).min(bytes.len());
            match random.u8(0..7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
                1 if at < bytes.len() => bytes[at] = random.u8(..),
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                5 => {
                    let piece = PIECES[random.usize(..PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
                _ => {
                    let piece = PIECES[random.usize(..PIECES.len())];
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
        }
    }

    /// Fails the test if this process ever had more memory than readers may take.
    pub fn check_memory(&self) {
        let peak = peak();
        let (what, seed) = (&self.what, self.seed);
        assert!(
            peak < MEMORY,
            "{what}: {} MiB; MUTATION_SEED={seed}",
            peak >> 20
        );
    }
}

/// Hands [`INPUTS`] damaged copies of `whole` to `read`, which returns whether it understood them.
/// It may refuse an input, but not panic, abort or take more memory than `MEMORY`: a larger
/// allocation ends the process.
pub fn survive(what: &str, whole: &[Vec<u8>], mut read: impl FnMut(&[u8]) -> bool) {
    bound_memory();
    for input in whole {
        assert!(read(input), "{what}: what is whole is refused");
    }
    let mut mutations = Mutations::new(what);
    let mut understood = 0;
    for number in 0..INPUTS {
        let mut bytes = whole[number % whole.len()].clone();
        mutations.damage(&mut bytes);
        understood += usize::from(read(&bytes));
    }
    eprintln!("{what}: {understood} of {INPUTS} were understood");
    assert!(
        (UNDERSTOOD..INPUTS).contains(&understood),
        "{what}: {understood} of {INPUTS} were understood; MUTATION_SEED={}",
        mutations.seed
    );
    mutations.check_memory();
}

/// Runs the test of this name again in a separate process, in which the kernel refuses more memory
/// than readers may take. Returns whether this is that process: if not, the test is done.
///
/// # Panics
/// When the test fails there.
pub fn is_bounded(test: &str) -> bool {
    const VARIABLE: &str = "MUTATIONS_ARE_BOUNDED";
    if std::env::var_os(VARIABLE).is_some() {
        bound_memory();
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let status = std::process::Command::new(program)
        .args([test, "--exact", "--nocapture"])
        .env(VARIABLE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} ended with {status}");
    false
}

/// Makes the kernel refuse this process more memory than readers may take, whichever thread asks
/// for it.
fn bound_memory() {
    let limit = libc::rlimit {
        rlim_cur: MEMORY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit lives until the call returns.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Returns the most memory that this process ever used, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes.unwrap().parse::<u64>().unwrap() << 10
}

/// Corrects the checksum of every block that looks like a tar header, so that readers get past it
/// to the damage.
pub fn fix_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}
