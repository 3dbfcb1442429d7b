//! The compressions of a package's members. Data with a checksum are checked against it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Debug;

use lzma_rust2::{Action, Status, XzStream};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::error::shown;
use crate::tar::Source;

/// The most memory that an xz stream may ask for, in KiB, as in crates/oci. Packages of Debian need
/// 65 MiB, archives of Rust's releases 129 MiB.
const MAX_XZ_MEMORY: u32 = 160 << 10;

/// A member that is decompressed piece by piece.
pub(crate) enum Stream<'a> {
    /// No compression.
    Plain(&'a [u8]),
    /// RFC 1952.
    Gzip(Gzip<'a>),
    /// The .xz format.
    Xz(Xz<'a>),
    /// RFC 8878.
    Zstd(Box<Zstd<'a>>),
}

impl<'a> Stream<'a> {
    /// Begins to decompress a member. The ending of its name tells the compression.
    ///
    /// # Errors
    /// When the ending is none of `.tar`, `.tar.gz`, `.tar.xz`, `.tar.zst`.
    pub(crate) fn new(name: &[u8], data: &'a [u8]) -> Result<Self, String> {
        let ending = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
        match ending {
            b"tar" => Ok(Self::Plain(data)),
            b"gz" => Ok(Self::Gzip(Gzip::new(data))),
            b"xz" => Ok(Self::Xz(Xz {
                input: data,
                stream: Box::new(XzStream::new_mem_limit(true, MAX_XZ_MEMORY)),
            })),
            b"zst" => Ok(Self::Zstd(Box::new(Zstd {
                input: data,
                decoder: FrameDecoder::new(),
                in_frame: false,
                frame_size: 0,
            }))),
            _ => Err(format!(
                "member {} has an unknown compression (known: xz, zst, gz, none)",
                shown(name)
            )),
        }
    }
}

impl Source for Stream<'_> {
    fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        match self {
            Self::Plain(rest) => {
                let size = rest.len().min(output.len());
                let (now, later) = rest.split_at(size);
                output[..size].copy_from_slice(now);
                *rest = later;
                Ok(size)
            }
            Self::Gzip(gzip) => gzip
                .read(output)
                .map_err(|reason| format!("damaged gzip data: {reason}")),
            Self::Xz(xz) => xz
                .read(output)
                .map_err(|reason| format!("damaged xz data: {reason}")),
            Self::Zstd(zstd) => zstd
                .read(output)
                .map_err(|reason| format!("damaged zstd data: {reason}")),
        }
    }
}

/// One xz stream, or several one behind the other.
pub(crate) struct Xz<'a> {
    input: &'a [u8],
    stream: Box<XzStream>,
}

impl Xz<'_> {
    fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        loop {
            let step = self
                .stream
                .process(self.input, output, Action::Finish)
                .map_err(|error| xz_reason(&error))?;
            self.input = &self.input[step.bytes_consumed..];
            if step.bytes_produced > 0 {
                return Ok(step.bytes_produced);
            }
            match step.status {
                Status::StreamEnd if self.input.is_empty() => return Ok(0),
                Status::StreamEnd => return Err("there is something else behind it".into()),
                Status::Ok if step.bytes_consumed == 0 => return Err("it ends too early".into()),
                Status::Ok => {}
            }
        }
    }
}

/// Returns the message in an error. The type of the error depends on the features that the decoder
/// is built with.
fn xz_reason(error: &dyn Debug) -> String {
    let text = format!("{error:?}");
    match text.split('"').nth(1) {
        Some(reason) => reason.into(),
        None => "it ends too early".into(),
    }
}

/// Zstandard frames, one behind the other.
pub(crate) struct Zstd<'a> {
    input: &'a [u8],
    decoder: FrameDecoder,
    in_frame: bool,
    /// The number of bytes that the frame has given so far.
    frame_size: u64,
}

impl Zstd<'_> {
    fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            if self.decoder.can_collect() > 0 {
                let (_, size) = self
                    .decoder
                    .decode_from_to(&[], output)
                    .map_err(|error| error.to_string())?;
                self.frame_size += size as u64;
                return Ok(size);
            }
            if self.decoder.is_finished() {
                self.end_frame()?;
            } else {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| error.to_string())?;
            }
        }
    }

    /// Reads the header of the next frame that holds data. Returns `false` at the end.
    fn next_frame(&mut self) -> Result<bool, String> {
        while !self.input.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => {
                    self.in_frame = true;
                    self.frame_size = 0;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    self.input = self
                        .input
                        .get(length as usize..)
                        .ok_or("it ends too early")?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(false)
    }

    fn end_frame(&mut self) -> Result<(), String> {
        let wanted = self.decoder.get_checksum_from_data();
        if wanted.is_some() && wanted != self.decoder.get_calculated_checksum() {
            return Err("the checksum is wrong".into());
        }
        let size = self.decoder.content_size();
        if size != 0 && size != self.frame_size {
            return Err(format!("{} bytes instead of {size}", self.frame_size));
        }
        self.in_frame = false;
        Ok(())
    }
}

/// Gzip members, one behind the other.
pub(crate) struct Gzip<'a> {
    input: &'a [u8],
    state: Box<InflateState>,
    in_member: bool,
    /// Whether a member has ended. Only then may the input end.
    complete: bool,
    checksum: u32,
    size: u32,
}

/// Bits of a gzip header's flags.
const HAS_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;

impl<'a> Gzip<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            state: InflateState::new_boxed(DataFormat::Raw),
            in_member: false,
            complete: false,
            checksum: 0,
            size: 0,
        }
    }

    fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        loop {
            if !self.in_member {
                if self.complete && self.input.is_empty() {
                    return Ok(0);
                }
                self.header()?;
                self.state.reset(DataFormat::Raw);
                self.in_member = true;
                self.checksum = 0;
                self.size = 0;
            }
            let step = inflate(&mut self.state, self.input, output, MZFlush::None);
            self.input = &self.input[step.bytes_consumed..];
            let size = step.bytes_written;
            self.checksum = crc32(self.checksum, &output[..size]);
            self.size = self.size.wrapping_add(size as u32);
            match step.status {
                Ok(MZStatus::StreamEnd) => {
                    self.trailer()?;
                    self.in_member = false;
                    self.complete = true;
                }
                Ok(_) if size > 0 || step.bytes_consumed > 0 => {}
                Ok(_) | Err(MZError::Buf) => return Err("it ends too early".into()),
                Err(_) => return Err("it cannot be decompressed".into()),
            }
            if size > 0 {
                return Ok(size);
            }
        }
    }

    fn header(&mut self) -> Result<(), String> {
        let fixed = self.take(10)?;
        if fixed[..3] != [0x1f, 0x8b, 8] {
            return Err("it does not begin as gzip does".into());
        }
        let flags = fixed[3];
        if flags & HAS_EXTRA != 0 {
            let size = self.take(2)?;
            self.take(usize::from(u16::from_le_bytes([size[0], size[1]])))?;
        }
        for text in [HAS_NAME, HAS_COMMENT] {
            if flags & text != 0 {
                let end = self
                    .input
                    .iter()
                    .position(|&byte| byte == 0)
                    .ok_or("it ends too early")?;
                self.take(end + 1)?;
            }
        }
        if flags & HAS_CHECKSUM != 0 {
            self.take(2)?;
        }
        Ok(())
    }

    fn trailer(&mut self) -> Result<(), String> {
        let trailer = self.take(8)?;
        let number = |at: usize| {
            u32::from_le_bytes([
                trailer[at],
                trailer[at + 1],
                trailer[at + 2],
                trailer[at + 3],
            ])
        };
        if number(0) != self.checksum {
            return Err("the checksum is wrong".into());
        }
        if number(4) != self.size {
            return Err("the size is wrong".into());
        }
        Ok(())
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .input
            .split_at_checked(size)
            .ok_or("it ends too early")?;
        self.input = rest;
        Ok(taken)
    }
}

/// Continues a CRC-32 as gzip defines it (RFC 1952, section 8).
fn crc32(checksum: u32, data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc32_table();
    !data.iter().fold(!checksum, |crc, &byte| {
        (crc >> 8) ^ TABLE[((crc as u8) ^ byte) as usize]
    })
}

const fn crc32_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xcbf4_3926);
    }

    #[test]
    fn xz_may_ask_for_the_memory_of_rusts_archives_and_not_for_much_more() {
        // The code of the dictionary's size: `xz -9` writes 28 (64 MiB), and Rust's archives have
        // 30 (128 MiB).
        let fault = |code| {
            let (flags, block) = ([0, 1], [2, 0, 0x21, 1, code, 0, 0, 0]);
            let mut stream = b"\xfd7zXZ\0".to_vec();
            for part in [&flags[..], &block[..]] {
                stream.extend(part);
                stream.extend(crc32(0, part).to_le_bytes());
            }
            let read = Stream::new(b"data.tar.xz", &stream)?.read(&mut [0]);
            read.map(drop)
        };
        for code in 27..=40 {
            let said = fault(code).unwrap_err();
            assert_eq!(said.contains("memory"), code > 30, "{code}: {said}");
        }
    }
}
