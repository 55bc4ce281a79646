//! A shared value that remembers its hash, and the hash of a state: most of a state is the same as in the state before.

use std::cell::OnceCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// 128 bits of a value: two different states among some millions share them with a chance of less than one in 10^24.
pub type Mark = (u64, u64);

/// The mark of `value`.
pub fn mark(value: &impl Hash) -> Mark {
    let mut lanes = Lanes(0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
    value.hash(&mut lanes);
    (lanes.finish(), mix(lanes.1, lanes.0))
}

/// A value that is cheap to clone and is hashed once.
#[derive(Clone)]
pub struct Cached<T> {
    value: Arc<T>,
    mark: OnceCell<Mark>,
}

impl<T: Hash + Clone> Cached<T> {
    pub fn new(value: T) -> Self {
        Cached {
            value: Arc::new(value),
            mark: OnceCell::new(),
        }
    }

    /// The value, to change it.
    pub fn make_mut(&mut self) -> &mut T {
        self.mark = OnceCell::new();
        Arc::make_mut(&mut self.value)
    }
}

impl<T> Deref for Cached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Hash> Hash for Cached<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mark.get_or_init(|| mark(&*self.value)).hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Two lanes that multiply and fold: fast, and no protection against an adversary, of which there is none here.
struct Lanes(u64, u64);

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    (product >> 64) as u64 ^ product as u64
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        mix(self.0, self.1)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ chunk.len() as u64);
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word, 0x8ebc_6af0_9c88_c6e3);
        self.1 = mix(self.1, word ^ 0x5897_89e6_5dea_6a5b).wrapping_add(self.0);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
