//! Compression on all cores. The bytes do not depend on the number of cores.
//!
//! The input is cut into blocks of a fixed size, each block is compressed on its own, and the
//! results are joined in order. With gzip, the blocks are pieces of one deflate stream in one gzip
//! member. Each piece ends with a flush to a byte boundary and is primed with the 32 KiB before it,
//! so every reader accepts the stream and the ratio hardly suffers. With zstd, every block is a
//! frame, and frames may follow each other. Memory is bounded: a few blocks for each thread.
//!
//! The deflate implementation is named here and not chosen by a feature of another crate. It
//! chooses the same matches on every processor, and feature unification can't swap it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crateyard_oci::media_type;

pub use crateyard_spec::{Compression, CompressionAlgorithm};

/// Returns the media type of a layer with this compression.
pub(crate) fn layer_media_type(algorithm: CompressionAlgorithm) -> &'static str {
    match algorithm {
        CompressionAlgorithm::Gzip => media_type::LAYER_GZIP,
        CompressionAlgorithm::Zstd => media_type::LAYER_ZSTD,
        CompressionAlgorithm::None => media_type::LAYER,
    }
}

/// Returns the default number of threads: the number of cores that Nix allots, or else all cores.
pub fn default_threads() -> usize {
    let allotted = std::env::var("NIX_BUILD_CORES")
        .ok()
        .and_then(|cores| cores.parse().ok())
        .filter(|&cores| cores > 0);
    allotted.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Compresses `bytes` to one zlib stream, which is the same on every processor, as for layers.
pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut deflate = zlib_rs::Deflate::new(9, true, 15);
    // Incompressible data grows by 5 bytes for each stored block. Header and checksum have 6.
    let mut packed = vec![0; bytes.len() + bytes.len() / 1000 + 1024];
    let end = deflate.compress(bytes, &mut packed, zlib_rs::DeflateFlush::Finish);
    debug_assert!(matches!(end, Ok(zlib_rs::Status::StreamEnd)));
    packed.truncate(deflate.total_out() as usize);
    packed
}

/// The sizes of the blocks that are compressed on their own. zstd's are larger because its frames
/// share nothing.
const GZIP_BLOCK: usize = 1 << 20;
const ZSTD_BLOCK: usize = 4 << 20;
/// The largest distance of a reference in deflate.
const WINDOW: usize = 32 << 10;

/// A writer that compresses bytes and passes them on.
pub struct Compressor<W>(Inner<W>);

enum Inner<W> {
    Plain(W),
    Blocks(Blocks<W>),
}

impl<W: Write + Send + 'static> Compressor<W> {
    /// Starts a compressed stream on `threads` threads, at least one.
    ///
    /// # Errors
    /// When the level is out of range.
    pub fn new(out: W, compression: Compression, threads: usize) -> io::Result<Compressor<W>> {
        let level = compression
            .checked_level()
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let codec = match compression.algorithm {
            CompressionAlgorithm::None => return Ok(Compressor(Inner::Plain(out))),
            CompressionAlgorithm::Gzip => Codec::Gzip(level as i32),
            CompressionAlgorithm::Zstd => Codec::Zstd(level as i32),
        };
        Ok(Compressor(Inner::Blocks(Blocks::new(
            out,
            codec,
            threads.max(1),
        ))))
    }

    /// Ends the stream and returns the writer.
    ///
    /// # Errors
    /// When the writer failed, now or at an earlier block.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Plain(out) => Ok(out),
            Inner::Blocks(blocks) => blocks.finish(),
        }
    }
}

impl<W: Write + Send + 'static> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(out) => out.write(bytes),
            Inner::Blocks(blocks) => blocks.write(bytes),
        }
    }

    /// Does nothing: a flush must not change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Gzip(i32),
    Zstd(i32),
}

/// A block to compress, with the bytes right before it.
struct Job {
    block: Vec<u8>,
    before: Vec<u8>,
    result: SyncSender<io::Result<Piece>>,
}

/// A compressed block, with the checksum and length of its content.
struct Piece {
    bytes: Vec<u8>,
    checksum: u32,
    length: u64,
}

/// A writer that cuts the input into blocks and hands them to workers. A thread writes their
/// results in order.
struct Blocks<W> {
    block: Vec<u8>,
    block_size: usize,
    before: Vec<u8>,
    jobs: Option<SyncSender<Job>>,
    results: Option<SyncSender<Receiver<io::Result<Piece>>>>,
    workers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> Blocks<W> {
    fn new(out: W, codec: Codec, threads: usize) -> Blocks<W> {
        let (jobs, jobs_end) = sync_channel(threads);
        let (results, results_end) = sync_channel(2 * threads);
        let jobs_end = Arc::new(Mutex::new(jobs_end));
        let worker = |_| {
            let jobs = Arc::clone(&jobs_end);
            thread::spawn(move || work(codec, &jobs))
        };
        let block_size = match codec {
            Codec::Gzip(_) => GZIP_BLOCK,
            Codec::Zstd(_) => ZSTD_BLOCK,
        };
        Blocks {
            block: Vec::with_capacity(block_size),
            block_size,
            before: Vec::new(),
            jobs: Some(jobs),
            results: Some(results),
            workers: (0..threads).map(worker).collect(),
            writer: Some(thread::spawn(move || {
                write_in_order(out, codec, &results_end)
            })),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.block_size - self.block.len();
        let taken = room.min(bytes.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == self.block_size {
            self.send_block()?;
        }
        Ok(taken)
    }

    fn send_block(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(self.block_size));
        let window = block[block.len().saturating_sub(WINDOW)..].to_vec();
        let before = std::mem::replace(&mut self.before, window);
        let (result, result_end) = sync_channel(1);
        let job = Job {
            block,
            before,
            result,
        };
        let sent = match (&self.results, &self.jobs) {
            (Some(results), Some(jobs)) => {
                results.send(result_end).is_ok() && jobs.send(job).is_ok()
            }
            _ => false,
        };
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    /// Returns the reason why the threads no longer take blocks.
    fn failure(&mut self) -> io::Error {
        match self.close() {
            Err(error) => error,
            Ok(_) => io::Error::other("the compressor was used after it ended"),
        }
    }

    fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.send_block()?;
        }
        self.close()
    }

    /// Lets the threads finish and takes the writer back.
    fn close(&mut self) -> io::Result<W> {
        self.jobs = None;
        self.results = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        let writer = self.writer.take();
        let joined = writer.map(JoinHandle::join);
        match joined {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(io::Error::other("a compression thread failed")),
        }
    }
}

impl<W> Drop for Blocks<W> {
    /// Abandons the stream half-way. The threads end by themselves when their channels close.
    fn drop(&mut self) {
        self.jobs = None;
        self.results = None;
    }
}

fn work(codec: Codec, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        let piece = match codec {
            Codec::Gzip(level) => deflate_block(&job.block, &job.before, level),
            Codec::Zstd(level) => zstd_frame(&job.block, level),
        };
        // Nobody waits for the result when the writer has failed.
        let _ = job.result.send(piece);
    }
}

fn write_in_order<W: Write>(
    mut out: W,
    codec: Codec,
    results: &Receiver<Receiver<io::Result<Piece>>>,
) -> io::Result<W> {
    if let Codec::Gzip(level) = codec {
        out.write_all(&gzip_header(level))?;
    }
    let (mut checksum, mut length) = (0, 0_u64);
    while let Ok(result) = results.recv() {
        let lost = |_| io::Error::other("a compression thread failed");
        let piece = result.recv().map_err(lost)??;
        out.write_all(&piece.bytes)?;
        checksum = zlib_rs::crc32::crc32_combine(checksum, piece.checksum, piece.length);
        length += piece.length;
    }
    match codec {
        Codec::Gzip(_) => out.write_all(&gzip_trailer(checksum, length))?,
        // A zstd stream needs at least one frame.
        Codec::Zstd(level) if length == 0 => out.write_all(&zstd_frame(&[], level)?.bytes)?,
        Codec::Zstd(_) => {}
    }
    Ok(out)
}

/// Writes a header without a name, a time or an operating system.
fn gzip_header(level: i32) -> [u8; 10] {
    let effort = match level {
        9 => 2,
        1 => 4,
        _ => 0,
    };
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 0xff]
}

/// Writes an empty last block, the checksum and the length modulo 2^32.
fn gzip_trailer(checksum: u32, length: u64) -> Vec<u8> {
    let mut trailer = vec![3, 0];
    trailer.extend_from_slice(&checksum.to_le_bytes());
    trailer.extend_from_slice(&(length as u32).to_le_bytes());
    trailer
}

/// Compresses a piece of a deflate stream. The piece ends at a byte boundary and is not the last.
fn deflate_block(block: &[u8], before: &[u8], level: i32) -> io::Result<Piece> {
    let failed = |error: zlib_rs::DeflateError| io::Error::other(error.as_str());
    let mut deflate = zlib_rs::Deflate::new(level, false, 15);
    if !before.is_empty() {
        deflate.set_dictionary(before).map_err(failed)?;
    }
    // Incompressible data grows by 5 bytes for each stored block, and the flush adds as much.
    let mut bytes = vec![0; block.len() + block.len() / 1000 + 1024];
    let mut length = 0;
    loop {
        let input = &block[deflate.total_in() as usize..];
        deflate
            .compress(
                input,
                &mut bytes[length..],
                zlib_rs::DeflateFlush::SyncFlush,
            )
            .map_err(failed)?;
        length = deflate.total_out() as usize;
        if length < bytes.len() {
            break;
        }
        bytes.resize(2 * bytes.len(), 0);
    }
    bytes.truncate(length);
    Ok(Piece {
        bytes,
        checksum: zlib_rs::crc32::crc32(0, block),
        length: block.len() as u64,
    })
}

fn zstd_frame(block: &[u8], level: i32) -> io::Result<Piece> {
    Ok(Piece {
        bytes: zstd::bulk::compress(block, level)?,
        checksum: 0,
        length: block.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Makes bytes that compress about as well as programs.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        let mut bytes = Vec::with_capacity(length + 64);
        while bytes.len() < length {
            match next() % 4 {
                0 => bytes.extend((0..next() % 32).map(|_| next() as u8)),
                _ => bytes.extend_from_slice(
                    &b"the same words again and again, "[..(next() % 32) as usize],
                ),
            }
        }
        bytes.truncate(length);
        bytes
    }

    fn compressed(bytes: &[u8], algorithm: CompressionAlgorithm, threads: usize) -> Vec<u8> {
        let compression = Compression {
            algorithm,
            level: None,
        };
        let mut compressor = Compressor::new(Vec::new(), compression, threads).unwrap();
        // The pieces have odd sizes: the places where the caller cuts must not matter.
        for piece in bytes.chunks(100_003 / threads) {
            compressor.write_all(piece).unwrap();
        }
        compressor.finish().unwrap()
    }

    #[test]
    fn bytes_do_not_depend_on_threads_and_come_back() {
        for algorithm in [
            CompressionAlgorithm::Gzip,
            CompressionAlgorithm::Zstd,
            CompressionAlgorithm::None,
        ] {
            for length in [
                0,
                1,
                GZIP_BLOCK - 1,
                GZIP_BLOCK,
                5 * GZIP_BLOCK + 17,
                2 * ZSTD_BLOCK,
            ] {
                let bytes = sample(length);
                let one = compressed(&bytes, algorithm, 1);
                for threads in [2, 3, 8] {
                    assert!(
                        compressed(&bytes, algorithm, threads) == one,
                        "{algorithm:?} {length} {threads}"
                    );
                }
                let mut back = Vec::new();
                let media_type = layer_media_type(algorithm);
                crateyard_unpack::layer::decompress(media_type, &one[..])
                    .unwrap()
                    .read_to_end(&mut back)
                    .unwrap();
                assert!(back == bytes, "{algorithm:?} {length}");
            }
        }
    }

    #[test]
    fn incompressible_blocks_fit() {
        let mut state = 88_172_645_463_325_252_u64;
        let noise: Vec<u8> = (0..GZIP_BLOCK)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        let bytes = compressed(&noise, CompressionAlgorithm::Gzip, 2);
        assert!(bytes.len() < noise.len() + 1024);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == noise);
    }

    #[test]
    fn a_failing_writer_is_reported() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut compressor = Compressor::new(Full, Compression::default(), 2).unwrap();
        let result = compressor
            .write_all(&sample(20 * GZIP_BLOCK))
            .and_then(|()| compressor.finish().map(drop));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn levels_are_checked() {
        let level = |algorithm, level| {
            Compression {
                algorithm,
                level: Some(level),
            }
            .checked_level()
        };
        assert!(level(CompressionAlgorithm::Gzip, 9).is_ok());
        assert!(level(CompressionAlgorithm::Gzip, 10).is_err());
        assert!(level(CompressionAlgorithm::Zstd, 19).is_ok());
        assert!(level(CompressionAlgorithm::None, 1).is_err());
    }
}
