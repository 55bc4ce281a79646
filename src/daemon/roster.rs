//! All secrets that the daemon knows. This is a cache: correctness depends on the journal alone, from which a restart rebuilds it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use super::at_rest::Models;
use super::entry::Entry;
use super::queue::Key;

/// All secrets by name. What is shown to the outside shares them until they change.
#[derive(Default)]
pub struct Roster {
    entries: BTreeMap<Key, Arc<Entry>>,
    models: Models,
    /// What several secrets say of themselves, once.
    sentences: HashSet<Arc<str>>,
}

impl Deref for Roster {
    type Target = BTreeMap<Key, Arc<Entry>>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl Roster {
    /// A secret, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name).map(Arc::make_mut)
    }

    /// Another secret.
    pub fn insert(&mut self, name: impl Into<Key>, entry: Entry) {
        self.entries.insert(name.into(), Arc::new(entry));
    }

    /// A secret is gone.
    pub fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// The names of those for which this is so.
    pub fn names_where(&self, is_so: impl Fn(&Entry) -> bool) -> Vec<Key> {
        let wanted = self.entries.iter().filter(|(_, entry)| is_so(entry));
        wanted.map(|(name, _)| name.clone()).collect()
    }

    /// All that is known of a secret stays, and takes little memory.
    pub fn rest(&mut self, name: &str) {
        if self.sentences.len() > self.entries.len() {
            self.sentences.retain(|one| Arc::strong_count(one) > 1);
        }
        let Some(entry) = self.entries.get_mut(name).map(Arc::make_mut) else {
            return;
        };
        entry.rest(&mut self.models);
        match self.sentences.get(&entry.because) {
            Some(known) => entry.because = known.clone(),
            None => drop(self.sentences.insert(entry.because.clone())),
        }
    }
}

impl<N: Into<Key>> FromIterator<(N, Entry)> for Roster {
    fn from_iter<I: IntoIterator<Item = (N, Entry)>>(all: I) -> Self {
        let all = all.into_iter();
        Roster {
            entries: all
                .map(|(name, entry)| (name.into(), Arc::new(entry)))
                .collect(),
            ..Roster::default()
        }
    }
}
