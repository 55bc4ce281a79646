//! The deterministic spread of due times, so that a thousand `@daily` secrets do not strike in one
//! second and `status` can still show the true time of each.
//!
//! It never uses the standard library's hasher, whose result may change between releases.

use jiff::{SignedDuration, Timestamp};

/// How long after `due` the run of `key` starts: uniform in `0..max`, in whole milliseconds.
///
/// The same arguments give the same answer in every version and on every machine: FNV-1a (64 bit,
/// offset basis `cbf29ce484222325`, prime `100000001b3`) over the bytes of `key`, one byte `0xff`
/// (which no UTF-8 text contains) and the Unix seconds of `due` as eight little-endian bytes; then
/// the finaliser of SplitMix64 mixes the bits, and the high half of a 128-bit product scales them.
/// A `max` below one millisecond gives zero.
pub fn jitter(key: &str, due: Timestamp, max: SignedDuration) -> SignedDuration {
    let max_millis = u64::try_from(max.as_millis()).unwrap_or(0);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let seconds = due.as_second().to_le_bytes();
    for &byte in key.as_bytes().iter().chain(&[0xff]).chain(&seconds) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let scaled = (u128::from(mix(hash)) * u128::from(max_millis)) >> 64;
    // Below `max_millis`, which came from an i64 number of seconds.
    SignedDuration::from_millis_i128(i128::try_from(scaled).unwrap_or(0))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
