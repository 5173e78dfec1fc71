//! The file format: the bytes of a segment file, its seal and its records.
//!
//! ```text
//! segment-0000000000000007.log
//! 0       header   number and salt of the segment               written before the file gets its name
//! 4096    seal     where its records end                        final: written before the next segment begins;
//!                                                               provisional: written when the journal is closed
//! 8192    record, record, …                                     each at a multiple of 8
//!
//! record:  crc u32 │ length u32 │ seq u64 │ in_group u32 │ at_s u32 │ payload │ zeros to a multiple of 8
//! ```
//!
//! All numbers are little-endian. The CRC32 of a record covers its payload, its header without the CRC, and the
//! segment's salt: old bytes in a recycled file are never valid records. `in_group` is the number of records
//! before this one in the same write; all earlier records were durable when it was written. So recovery can
//! tell a torn tail (never acknowledged) from a damaged record (acknowledged). `at_s` is the time of writing in
//! seconds since 1970.

use std::ops::Range;

/// The format that this release writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// Offset of the seal.
pub(crate) const SEAL_OFFSET: u64 = 4096;
/// Offset of the first record.
pub(crate) const DATA_OFFSET: u64 = 8192;
/// Length of a record's header.
pub(crate) const RECORD_HEADER: usize = 24;
/// Length of the block that holds a header or a seal: one sector.
pub(crate) const BLOCK: usize = 512;

const MAGIC: [u8; 8] = *b"wattjrnl";
const CURSOR_MAGIC: [u8; 8] = *b"wattcrsr";
const HEADER_BYTES: usize = 52;
const SEAL_BYTES: usize = 52;
const SEAL_MAGIC: u32 = 0x4c41_4553;
const CURSOR_BYTES: usize = 32;

/// The file name of segment number `index`; names sort like numbers.
pub(crate) fn segment_name(index: u64) -> String {
    format!("segment-{index:016}.log")
}

/// The number in a segment's file name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".log")?;
    if digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Random; a new one each time the file is used.
    pub(crate) salt: u64,
    /// The number in the file name.
    pub(crate) index: u64,
    /// Length of the file in bytes.
    pub(crate) bytes: u64,
    /// Maximum length of one write to it: the range that a power cut can tear.
    pub(crate) write_bytes_max: u64,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It has another format.
    Format(u32),
    /// It is damaged, or not a header.
    Damaged,
}

impl Header {
    /// The block at the start of the file.
    pub(crate) fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        block[16..24].copy_from_slice(&self.salt.to_le_bytes());
        block[24..32].copy_from_slice(&self.index.to_le_bytes());
        block[32..40].copy_from_slice(&self.bytes.to_le_bytes());
        block[40..48].copy_from_slice(&self.write_bytes_max.to_le_bytes());
        let crc = crc32fast::hash(&block[..HEADER_BYTES - 4]);
        block[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Decodes a header.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        if block.len() < HEADER_BYTES || block[..8] != MAGIC {
            return Err(HeaderError::Damaged);
        }
        if crc32fast::hash(&block[..HEADER_BYTES - 4]) != u32_at(block, HEADER_BYTES - 4) {
            return Err(HeaderError::Damaged);
        }
        let format = u32_at(block, 8);
        if format != FORMAT {
            return Err(HeaderError::Format(format));
        }
        Ok(Self {
            salt: u64_at(block, 16),
            index: u64_at(block, 24),
            bytes: u64_at(block, 32),
            write_bytes_max: u64_at(block, 40),
        })
    }
}

/// Where a segment's durable records end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Whether the segment is complete. Otherwise the seal is provisional: at least these records were durable.
    pub(crate) is_final: bool,
    /// First record of the segment.
    pub(crate) first_seq: u64,
    /// Last durable record.
    pub(crate) last_seq: u64,
    /// End of the last durable record in the file.
    pub(crate) end: u64,
    /// When the first record was written, seconds since 1970.
    pub(crate) first_at_s: u32,
}

impl Seal {
    /// The block at [`SEAL_OFFSET`].
    pub(crate) fn encode(&self, salt: u64) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(&SEAL_MAGIC.to_le_bytes());
        block[4..8].copy_from_slice(&u32::from(self.is_final).to_le_bytes());
        block[8..16].copy_from_slice(&salt.to_le_bytes());
        block[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        block[24..32].copy_from_slice(&self.last_seq.to_le_bytes());
        block[32..40].copy_from_slice(&self.end.to_le_bytes());
        block[40..44].copy_from_slice(&self.first_at_s.to_le_bytes());
        let crc = crc32fast::hash(&block[..SEAL_BYTES - 4]);
        block[SEAL_BYTES - 4..SEAL_BYTES].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// The salt in a valid seal whose header is lost.
    pub(crate) fn salt(block: &[u8]) -> Option<u64> {
        let salt = (block.len() >= SEAL_BYTES).then(|| u64_at(block, 8))?;
        Self::decode(block, salt).map(|_| salt)
    }

    /// Decodes a seal; `None` if it is not valid.
    pub(crate) fn decode(block: &[u8], salt: u64) -> Option<Self> {
        let is_valid = block.len() >= SEAL_BYTES
            && u32_at(block, 0) == SEAL_MAGIC
            && u64_at(block, 8) == salt
            && crc32fast::hash(&block[..SEAL_BYTES - 4]) == u32_at(block, SEAL_BYTES - 4);
        is_valid.then(|| Self {
            is_final: u32_at(block, 4) == 1,
            first_seq: u64_at(block, 16),
            last_seq: u64_at(block, 24),
            end: u64_at(block, 32),
            first_at_s: u32_at(block, 40),
        })
    }
}

/// Length of a record's frame in the file, with header and padding.
pub(crate) const fn framed(length: usize) -> usize {
    (RECORD_HEADER + length).next_multiple_of(8)
}

/// Appends a record's frame to `buffer`, without the fields that only the writer knows (`in_group`, `at_s`, the
/// salt). Until [`stamp`] the CRC is that of the payload, so that it can be computed outside any lock.
pub(crate) fn push_record(buffer: &mut Vec<u8>, seq: u64, payload: &[u8], payload_crc: u32) {
    let start = buffer.len();
    buffer.extend_from_slice(&payload_crc.to_le_bytes());
    // `append` has checked that the length is far below 4 GiB.
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&seq.to_le_bytes());
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(payload);
    buffer.resize(start + framed(payload.len()), 0);
}

/// Completes the frame that begins at the start of `frame`.
pub(crate) fn stamp(frame: &mut [u8], in_group: u32, at_s: u32, salt: u64) {
    frame[16..20].copy_from_slice(&in_group.to_le_bytes());
    frame[20..24].copy_from_slice(&at_s.to_le_bytes());
    let crc = finish_crc(u32_at(frame, 0), &frame[4..RECORD_HEADER], salt);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
}

fn finish_crc(payload_crc: u32, header: &[u8], salt: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(payload_crc);
    hasher.update(header);
    hasher.update(&salt.to_le_bytes());
    hasher.finalize()
}

/// What `salt` adds to the CRC of every record. A CRC is linear: the contribution of the last eight bytes does
/// not depend on the bytes before them.
pub(crate) fn salt_term(salt: u64) -> u32 {
    let header = [0; RECORD_HEADER - 4];
    finish_crc(0, &header, salt) ^ finish_crc(0, &header, 0)
}

/// A record's header, not verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// Length of the payload.
    pub(crate) length: usize,
    /// Its sequence number; 0 is invalid.
    pub(crate) seq: u64,
    /// The number of records before it in the same write.
    pub(crate) in_group: u32,
    /// Time of writing in seconds since 1970.
    pub(crate) at_s: u32,
}

impl RecordHeader {
    /// Reads the header at the start of `bytes`, which are at least [`RECORD_HEADER`] long.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self {
            length: u32_at(bytes, 4) as usize,
            seq: u64_at(bytes, 8),
            in_group: u32_at(bytes, 16),
            at_s: u32_at(bytes, 20),
        }
    }

    /// Length of the frame in the file.
    pub(crate) const fn framed(&self) -> usize {
        framed(self.length)
    }

    /// The range of the payload in the frame.
    pub(crate) const fn payload(&self) -> Range<usize> {
        RECORD_HEADER..RECORD_HEADER + self.length
    }

    /// Whether the CRC of the frame matches, for this segment.
    pub(crate) fn is_valid(&self, frame: &[u8], salt: u64) -> bool {
        if self.seq == 0 || frame.len() < RECORD_HEADER + self.length {
            return false;
        }
        let payload_crc = crc32fast::hash(&frame[self.payload()]);
        finish_crc(payload_crc, &frame[4..RECORD_HEADER], salt) == u32_at(frame, 0)
    }

    /// The salt's contribution to the CRC of this frame, if the frame is valid; `None` if it cannot be valid
    /// with any salt. It is the same for all valid records of one segment, so it identifies valid records even
    /// when the salt is lost.
    pub(crate) fn salt_term(&self, frame: &[u8]) -> Option<u32> {
        if self.seq == 0 || frame.len() < RECORD_HEADER + self.length {
            return None;
        }
        let payload_crc = crc32fast::hash(&frame[self.payload()]);
        Some(finish_crc(payload_crc, &frame[4..RECORD_HEADER], 0) ^ u32_at(frame, 0))
    }

    /// All records below this number were durable when this record was written.
    pub(crate) const fn durable_before(&self) -> u64 {
        self.seq.saturating_sub(self.in_group as u64)
    }
}

/// One slot of the cursor file; of two valid slots the one with the higher generation counts.
pub(crate) fn encode_cursor(generation: u64, cursor: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..8].copy_from_slice(&CURSOR_MAGIC);
    block[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    block[12..20].copy_from_slice(&generation.to_le_bytes());
    block[20..28].copy_from_slice(&cursor.to_le_bytes());
    let crc = crc32fast::hash(&block[..CURSOR_BYTES - 4]);
    block[CURSOR_BYTES - 4..CURSOR_BYTES].copy_from_slice(&crc.to_le_bytes());
    block
}

/// Decodes a slot of the cursor file: generation and cursor.
pub(crate) fn decode_cursor(block: &[u8]) -> Result<(u64, u64), HeaderError> {
    if block.len() < CURSOR_BYTES || block[..8] != CURSOR_MAGIC {
        return Err(HeaderError::Damaged);
    }
    if crc32fast::hash(&block[..CURSOR_BYTES - 4]) != u32_at(block, CURSOR_BYTES - 4) {
        return Err(HeaderError::Damaged);
    }
    let format = u32_at(block, 8);
    if format != FORMAT {
        return Err(HeaderError::Format(format));
    }
    Ok((u64_at(block, 12), u64_at(block, 20)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8], salt: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_record(&mut bytes, 7, payload, crc32fast::hash(payload));
        stamp(&mut bytes, 3, 99, salt);
        bytes
    }

    #[test]
    fn a_record_is_decoded_as_it_was_encoded() {
        let bytes = frame(b"plug in", 5);
        let header = RecordHeader::read(&bytes);
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(header.framed(), bytes.len());
        assert_eq!(&bytes[header.payload()], b"plug in");
        assert_eq!((header.seq, header.in_group, header.at_s), (7, 3, 99));
        assert_eq!(header.durable_before(), 4);
        assert!(header.is_valid(&bytes, 5));
    }

    #[test]
    fn any_changed_bit_or_another_salt_makes_a_record_invalid() {
        let good = frame(b"plug in!", 5);
        assert!(!RecordHeader::read(&good).is_valid(&good, 6));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!RecordHeader::read(&bad).is_valid(&bad, 5), "bit {bit}");
        }
    }

    #[test]
    fn the_contribution_of_the_salt_is_the_same_for_every_record() {
        for payload in [&b""[..], b"plug in", b"a longer payload of a record"] {
            let bytes = frame(payload, 0xfeed_1234_5678_9abc);
            let term = RecordHeader::read(&bytes).salt_term(&bytes);
            assert_eq!(term, Some(salt_term(0xfeed_1234_5678_9abc)));
        }
        assert_eq!(salt_term(0), 0);
    }

    #[test]
    fn zeros_are_not_a_valid_record_header_seal_or_cursor() {
        let zeros = [0; BLOCK];
        assert!(!RecordHeader::read(&zeros).is_valid(&zeros, 0));
        assert_eq!(Header::decode(&zeros), Err(HeaderError::Damaged));
        assert_eq!(Seal::decode(&zeros, 0), None);
        assert_eq!(decode_cursor(&zeros), Err(HeaderError::Damaged));
    }

    #[test]
    fn header_seal_and_cursor_are_decoded_as_they_were_encoded() {
        let header = Header {
            salt: 1,
            index: 2,
            bytes: 3,
            write_bytes_max: 4,
        };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        let mut newer = header.encode();
        newer[8] = 9;
        assert_eq!(
            Header::decode(&newer),
            Err(HeaderError::Damaged),
            "a flipped bit"
        );
        let crc = crc32fast::hash(&newer[..HEADER_BYTES - 4]);
        newer[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&newer), Err(HeaderError::Format(9)));
        let seal = Seal {
            is_final: true,
            first_seq: 5,
            last_seq: 6,
            end: 7,
            first_at_s: 8,
        };
        assert_eq!(Seal::decode(&seal.encode(1), 1), Some(seal));
        assert_eq!(Seal::decode(&seal.encode(1), 2), None);
        assert_eq!(decode_cursor(&encode_cursor(3, 4)), Ok((3, 4)));
    }

    #[test]
    fn segment_names_sort_like_their_numbers() {
        assert!(segment_name(9) < segment_name(10));
        assert_eq!(parse_segment_name(&segment_name(42)), Some(42));
        assert_eq!(parse_segment_name("segment-42.log"), None);
        assert_eq!(parse_segment_name("segment-0000000000000007.log.new"), None);
    }
}
