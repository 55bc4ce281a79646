//! Vault: the journal document and the versions of the secret.

use jiff::Timestamp;

use rotation::command::{SecretSnapshot, Source};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::record::{Record, Work};

use super::super::cached::Cached;
use super::super::mutation::Mutation;
use super::fault::error;
use super::process::ReadMap;
use super::{Fault, MOST_OPEN, Setting, World, due, id_of, value};

impl World {
    pub(super) fn write_journal(
        &mut self,
        setting: &Setting,
        actor: usize,
        cas: u64,
        record: &Record,
    ) -> Result<u64, CallError> {
        if cas != self.journal_version {
            return Err(error(Service::Vault, ErrorKind::Conflict));
        }
        let disabling = record.claim.as_ref();
        let disabling = disabling.is_some_and(|c| matches!(c.work, Work::Disable { .. }));
        if disabling && setting.off.contains(&Mutation::NoRetireClaim) {
            return Ok(self.journal_version);
        }
        if self.is_paused() && self.begins(record) && !was_ordered(record) {
            self.broken = Some("P4: work was begun while the secret was paused");
        }
        self.index += 1;
        self.journal_version += 1;
        self.actors[actor].index = self.index;
        self.actors[actor].due =
            claimed_due(record).filter(|n| usize::from(*n) < self.served.len());
        let mut record = record.clone();
        forget_history(&mut record);
        for rule in setting.off {
            rule.record(&mut record);
        }
        if record.open.len() > MOST_OPEN {
            self.broken = Some("a run does not end: it opens one attempt after the other");
        }
        self.journal = Some(Cached::new(record));
        Ok(self.journal_version)
    }

    /// The document claims something that the one before it did not.
    fn begins(&self, record: &Record) -> bool {
        let claim = |record: &Record| record.claim.as_ref().map(|claim| claim.nonce.clone());
        let before = self.journal.as_ref().and_then(|record| claim(record));
        record.claim.is_some() && claim(record) != before
    }

    /// Reads the secret; the process keeps the map for a store.
    pub(super) fn read_secret(
        &mut self,
        setting: &Setting,
        actor: usize,
        fault: Fault,
    ) -> SecretSnapshot {
        let index = match fault {
            Fault::Stale => self.actors[actor].index,
            _ => self.index,
        };
        let mut read = self.secret_at(setting, index);
        if let SecretSnapshot::Present {
            version,
            value: held,
            ..
        } = &mut read
        {
            let at = &self.versions[(*version - 1) as usize];
            let mut map = ReadMap {
                version: *version,
                token: at.token,
                foreign: false,
                forged: at.forged,
            };
            if let Fault::Swapped(token) = fault {
                *held = Some(value(token));
                map.token = token;
                map.foreign = true;
                map.forged = false;
            }
            self.actors[actor].read = Some(map);
        }
        if read == SecretSnapshot::Absent {
            // What is to be the first version begins with nothing.
            self.actors[actor].read = Some(ReadMap {
                version: 0,
                token: u8::MAX,
                foreign: false,
                forged: false,
            });
        }
        read
    }

    /// As if the process had read the secret just now.
    pub fn refresh_read(&mut self, actor: usize) {
        let version = self.versions.len() as u64;
        if let Some(last) = self.versions.last() {
            self.actors[actor].read = Some(ReadMap {
                version,
                token: last.token,
                foreign: false,
                forged: last.forged,
            });
        }
    }

    /// What the process read last.
    pub fn last_read(&self, actor: usize) -> Option<SecretSnapshot> {
        let read = self.actors[actor].read?;
        Some(SecretSnapshot::Present {
            version: read.version,
            value: Some(value(read.token)),
            vacant: false,
        })
    }

    /// The token whose value the process is to store.
    pub(super) fn candidate(&self, actor: usize, source: Source) -> Option<u8> {
        match source {
            Source::Minted => self.actors[actor].minted,
            Source::Version(version) => {
                let held = self.versions.get((version as usize).checked_sub(1)?)?;
                (!held.forged).then_some(held.token)
            }
        }
    }

    /// The same; an older version may be pruned or deleted by now.
    pub(super) fn readable_candidate(
        &self,
        setting: &Setting,
        actor: usize,
        source: Source,
    ) -> Option<u8> {
        let readable = match source {
            Source::Minted => true,
            Source::Version(version) => matches!(
                self.snapshot(setting, version),
                SecretSnapshot::Present { .. }
            ),
        };
        self.candidate(actor, source).filter(|_| readable)
    }

    /// Writes the map that the process read, with the value of this token.
    pub(super) fn store_map(
        &mut self,
        setting: &Setting,
        read: ReadMap,
        token: u8,
        due: Option<u8>,
    ) -> Result<u64, CallError> {
        let stored = self.store(setting, read.version, token, due);
        if read.foreign && stored.is_ok() {
            self.broken = Some("P9: the map of another secret was stored");
        }
        stored
    }

    pub(super) fn store(
        &mut self,
        setting: &Setting,
        base: u64,
        token: u8,
        due: Option<u8>,
    ) -> Result<u64, CallError> {
        if base != self.versions.len() as u64 {
            return Err(error(Service::Vault, ErrorKind::Conflict));
        }
        if self.is_foreign(setting, token) && self.current() != Some(token) {
            self.broken = Some("P9: a foreign value was stored");
        }
        let last = self.versions.last();
        self.undeleted |= last.is_some_and(|last| last.deleted);
        let replaced = last.map(|last| last.token);
        let forged = last.is_some_and(|last| last.forged && last.token == token);
        let known =
            |record: &Cached<Record>| replaced.is_none_or(|old| record.is_current(&id_of(old)));
        if replaced != Some(token) && !self.journal.as_ref().is_none_or(known) {
            self.broken = Some("P4: a value that nobody took note of was overwritten");
        }
        self.put(token, forged);
        if let Some(due) = due {
            self.served[usize::from(due)] += 1;
        }
        Ok(self.versions.len() as u64)
    }
}

/// What is claimed replaces or ends a token that a person revoked, which a pause does not keep.
fn was_ordered(record: &Record) -> bool {
    let (Some(order), Some(claim)) = (&record.revoking, &record.claim) else {
        return false;
    };
    match &claim.work {
        Work::Rotate { .. } => {
            let retiring = record.retiring(&order.token);
            retiring.is_none_or(|entry| entry.revoked.is_none())
        }
        Work::Disable { id } | Work::Delete { id } => *id == order.token,
        Work::Cleanup => true,
        _ => false,
    }
}

fn claimed_due(record: &Record) -> Option<u8> {
    let Work::Rotate { due: instant, .. } = &record.claim.as_ref()?.work else {
        return None;
    };
    let instant = (*instant)?;
    (0..u8::MAX).find(|&n| due(usize::from(n)) == instant)
}

/// Drops what only people read of a document, so that equal states are found equal.
pub fn forget_history(record: &mut Record) {
    record.health.last_success = None;
    record.writer = None;
    record.health.reverts.clear();
    if let Some(failure) = &mut record.health.failure {
        failure.message.clear();
        failure.count = 1;
        failure.since = Timestamp::UNIX_EPOCH;
        failure.at = Timestamp::UNIX_EPOCH;
    }
    for entry in &mut record.retiring {
        if let Some(failure) = &mut entry.failure {
            failure.message.clear();
            failure.attempts = 1;
            failure.since = Timestamp::UNIX_EPOCH;
        }
    }
}
