//! An index that many runs share while it changes: a copy is cheap, and so is a change.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A change copies the part that it is in, and no more.
const PARTS: usize = 256;

/// A map in parts, each shared by all copies until it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index<K, V>(Vec<Arc<BTreeMap<K, V>>>);

impl<K: Hash + Ord + Clone, V: Clone> Index<K, V> {
    /// What is noted for `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0[part(key)].get(key)
    }

    /// The place of `key`, to be filled or changed.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        let part = part(&key);
        Arc::make_mut(&mut self.0[part]).entry(key)
    }

    /// Notes `value` for `key`.
    pub fn insert(&mut self, key: K, value: V) {
        let part = part(&key);
        Arc::make_mut(&mut self.0[part]).insert(key, value);
    }

    /// Changes what is noted for `key`; it is dropped when `change` says that it is empty.
    pub fn change(&mut self, key: K, change: impl FnOnce(&mut V) -> bool) {
        if let Entry::Occupied(mut entry) = self.entry(key)
            && !change(entry.get_mut())
        {
            entry.remove();
        }
    }
}

impl<K: Hash, V: Hash> Hash for Index<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for part in self.0.iter().filter(|part| !part.is_empty()) {
            part.hash(state);
        }
    }
}

fn part(key: &impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() as usize % PARTS
}

impl<K: Ord, V> Default for Index<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Index(vec![empty; PARTS])
    }
}

impl<K: Hash + Ord + Clone, V: Clone> FromIterator<(K, V)> for Index<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
        let mut index = Index::default();
        for (key, value) in all {
            index.insert(key, value);
        }
        index
    }
}
