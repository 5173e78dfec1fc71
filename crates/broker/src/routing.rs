//! The routing key of a record, so that one charger's records stay in one queue and external consumers can
//! select the records they need.
//!
//! `PARTITION.VERSION.KIND.ACTION.CHARGER`, as in `3.1_6.call.MeterValues.CP-17`. Always five words: dots,
//! wildcards and blanks in a name are percent-encoded.

use central::model::ChargerKey;
use central::{Record, RecordId};
use ocpp::Version;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// AMQP's limit for a routing key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// The longest action of OCPP 2.1 has 35 letters; longer ones are not in the standard.
const ACTION_BYTES_MAX: usize = 64;
/// The word for an empty value.
const NOTHING: &str = "-";
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The partition of a charger's records: FNV-1a (64 bits) over the UTF-8 of its key ([`ChargerKey`]), upper half
/// folded onto the lower one, modulo the number of partitions.
///
/// # Panics
/// When there are no partitions.
#[must_use]
pub fn partition(charger_id: &str, partitions: u16) -> u16 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in ChargerKey::fold(charger_id).bytes() {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    let folded = hash ^ (hash >> 32);
    // Less than a u16, because the divisor is one.
    (folded % u64::from(partitions)) as u16
}

/// The routing key of a record of this partition.
#[must_use]
pub fn key(record: &Record<'_>, partition: u16) -> String {
    let mut key = String::with_capacity(96);
    push_number(&mut key, partition);
    key.push_str(match record.ocpp_version {
        Version::V16 => ".1_6.",
        Version::V201 => ".2_0_1.",
        Version::V21 => ".2_1.",
    });
    key.push_str(record.kind.as_str());
    key.push('.');
    push_word(&mut key, record.action, ACTION_BYTES_MAX);
    key.push('.');
    let rest = KEY_BYTES_MAX - key.len();
    push_word(&mut key, record.charger_id, rest);
    key
}

/// The routing key of bytes that are not a record to this build: they are published too, and a consumer
/// either decodes them or stores them as a dead letter.
pub(crate) fn key_of_unreadable(partition: u16) -> String {
    format!("{partition}.-.-.-.-")
}

/// The partition of unreadable bytes.
pub(crate) fn partition_of_unreadable(id: RecordId, partitions: u16) -> u16 {
    // Less than a u16, because the divisor is one.
    (id.seq.0 % u64::from(partitions)) as u16
}

fn push_number(key: &mut String, number: u16) {
    if number < 10 {
        key.push(char::from(b'0' + number as u8));
    } else {
        key.push_str(&number.to_string());
    }
}

/// Appends `word`, encoded, in at most `bytes_max` bytes; never cuts an escape in two.
fn push_word(key: &mut String, word: &str, bytes_max: usize) {
    if word.is_empty() {
        key.push_str(NOTHING);
        return;
    }
    let end = key.len() + bytes_max;
    for piece in utf8_percent_encode(word, PLAIN) {
        if key.len() + piece.len() <= end {
            key.push_str(piece);
            continue;
        }
        if !piece.starts_with('%') {
            key.push_str(&piece[..end - key.len()]);
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::record;
    use proptest::prelude::*;

    #[test]
    fn a_key_has_the_documented_form() {
        let record = record();
        let key = key(&record, partition(record.charger_id, 8));
        assert_eq!(key, "0.2_0_1.call.MeterValues.CP%2E17%2F%C3%BC");
    }

    #[test]
    fn a_partition_is_the_same_for_every_spelling_and_every_build() {
        for (one, other) in [("CP-17", "cp-17"), ("Ä1", "ä1"), ("ЩИТ-1", "щит-1")] {
            assert_eq!(ChargerKey::of(one), ChargerKey::of(other));
            assert_eq!(partition(one, 999), partition(other, 999), "{one}");
        }
        let some: Vec<u16> = ["", "a", "CP-1", "CP-2", "CP-3", "DE*ABC*E1"]
            .iter()
            .map(|id| partition(id, 8))
            .collect();
        assert_eq!(some, [1, 0, 0, 1, 6, 5]);
    }

    #[test]
    fn chargers_are_spread_evenly() {
        let mut chargers = [0_u32; 8];
        for i in 0..8_000 {
            chargers[usize::from(partition(&format!("CP-{i:05}"), 8))] += 1;
        }
        for n in chargers {
            assert!((800..1_200).contains(&n), "{chargers:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_five_words_in_bounds(
            charger_id in "\\PC{0,300}", action in "\\PC{0,100}", partition in 0_u16..300,
        ) {
            let mut record = record();
            record.charger_id = &charger_id;
            record.action = &action;
            let key = key(&record, partition);
            prop_assert!(key.len() <= KEY_BYTES_MAX);
            let words: Vec<&str> = key.split('.').collect();
            prop_assert_eq!(words.len(), 5);
            for word in words {
                prop_assert!(!word.is_empty());
                prop_assert!(!word.contains(['*', '#', ' ']));
                let escapes = word.split('%').skip(1);
                for escape in escapes {
                    prop_assert!(escape.len() >= 2, "cut escape in {}", word);
                }
            }
            if charger_id.len() < 40 {
                let back = percent_encoding::percent_decode_str(key.rsplit('.').next().unwrap())
                    .decode_utf8().unwrap().into_owned();
                prop_assert_eq!(back, if charger_id.is_empty() { "-" } else { &charger_id });
            }
        }
    }
}
