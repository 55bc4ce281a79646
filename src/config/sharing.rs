//! What secrets have in common is in memory once, so that ten thousand of them need little.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::settings::{SecretSettings, SharedSettings};

/// Lets secrets share what they have in common, however they came by it.
pub(super) fn share(secrets: &mut [Arc<SecretSettings>]) {
    let (mut terms, mut places) = (HashSet::new(), HashSet::new());
    let mut shared: HashMap<u64, Vec<Arc<SharedSettings>>> = HashMap::new();
    for secret in secrets.iter_mut().map(Arc::make_mut) {
        let plan = Arc::make_mut(&mut secret.plan);
        once(&mut terms, &mut plan.terms);
        once(&mut places, &mut plan.coordinates.place);
        let mut hasher = DefaultHasher::new();
        let others = (&secret.labels, secret.is_discovered);
        (secret.texts(), secret.switches(), others).hash(&mut hasher);
        let alike = shared.entry(hasher.finish()).or_default();
        let same = alike.iter().find(|it| it.is_same(&secret.shared));
        match same.cloned() {
            Some(same) => secret.shared = same,
            None => alike.push(secret.shared.clone()),
        }
    }
}

/// Makes `one` the copy that was there first.
fn once<T: Eq + Hash>(all: &mut HashSet<Arc<T>>, one: &mut Arc<T>) {
    match all.get(one) {
        Some(first) => *one = first.clone(),
        None => drop(all.insert(one.clone())),
    }
}
