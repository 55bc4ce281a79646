//! The order of the replicas: of each due rotation one begins at once, and the others follow one after another, in case it does not.
//!
//! Nothing depends on it but the number of calls: whoever begins takes the claim first. Each computes the order for itself, from the
//! processes that wrote to the journal lately.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use rotation::record::Writer;
use rotation::request::after;

use super::Daemon;

/// A rotation is done in this time where nothing is slow.
const STEP: Duration = Duration::from_millis(700);

/// The other daemons on this journal, and what this one leaves to them at first.
#[derive(Default)]
pub(super) struct Replicas {
    /// Their instance names.
    others: BTreeSet<String>,
    /// By secret: a due rotation that another one begins first.
    followed: HashMap<String, Followed>,
}

/// A due rotation that another replica begins first.
struct Followed {
    /// The due instant.
    instant: Timestamp,
    /// When it is the turn of this process.
    turn: Timestamp,
}

impl Replicas {
    /// The turn of this process at a rotation that is due; none = now.
    fn turn(
        &mut self,
        secret: &str,
        own: &str,
        instant: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let known = self.followed.get(secret).filter(|it| it.instant == instant);
        let turn = match known {
            Some(followed) => followed.turn,
            None => {
                let rank = rank(secret, own, &self.others);
                if rank == 0 {
                    self.forget(secret);
                    return None;
                }
                let turn = after(now, STEP * rank);
                let followed = Followed { instant, turn };
                self.followed.insert(secret.to_owned(), followed);
                turn
            }
        };
        (turn > now).then_some(turn)
    }

    /// How many of the others come before this process for this secret.
    pub(super) fn rank(&self, secret: &str, own: &str) -> u32 {
        rank(secret, own, &self.others)
    }

    /// Nothing of this secret is left to another one. `true` = it was.
    pub(super) fn forget(&mut self, secret: &str) -> bool {
        self.followed.remove(secret).is_some()
    }
}

impl Daemon {
    /// Notes who works on this journal beside this process: the daemons that wrote within three sweep intervals.
    pub(super) fn note_replicas(&mut self, writers: &[Writer], now: Timestamp) {
        let lately = self.settings.daemon.sweep * 3;
        let others = writers.iter().filter(|writer| {
            writer.daemon && writer.instance != self.instance && after(writer.at, lately) > now
        });
        self.replicas.others = others.map(|writer| writer.instance.clone()).collect();
    }

    /// When it is the turn of this process to rotate a secret that is due; none = now, or nothing is due.
    pub(super) fn wait_for_turn(&mut self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let instant = self.roster.get(name)?.due_rotation(now)?;
        self.replicas.turn(name, &self.instance, instant, now)
    }
}

/// How many of the others come before `own` for this secret (rendezvous hashing: where one is gone, its secrets are shared by the rest).
fn rank<'a>(secret: &str, own: &str, others: impl IntoIterator<Item = &'a String>) -> u32 {
    let weight = |instance: &str| {
        // With fixed keys: the same in every process.
        let mut hasher = DefaultHasher::new();
        (secret, instance).hash(&mut hasher);
        hasher.finish()
    };
    let own = (weight(own), own);
    let before = others
        .into_iter()
        .filter(|other| (weight(other), other.as_str()) > own);
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_secret_has_one_order_and_one_who_is_alone_comes_first() {
        let all = ["a", "b", "c"].map(str::to_owned);
        let mut firsts = BTreeSet::new();
        for number in 0..100 {
            let secret = format!("dynatrace/{number}");
            let ranks = all.clone().map(|own| {
                let others: Vec<&String> = all.iter().filter(|other| **other != own).collect();
                rank(&secret, &own, others)
            });
            assert_eq!(BTreeSet::from(ranks), BTreeSet::from([0, 1, 2]));
            firsts.extend(ranks.iter().position(|rank| *rank == 0));
        }
        assert_eq!(firsts.len(), 3, "the work is shared");
        assert_eq!(rank("dynatrace/x", "a", &[]), 0);
    }
}
