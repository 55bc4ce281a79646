//! What people do, and what an adversary does who may write the secret and the journal or create tokens.

use jiff::Timestamp;

use rotation::marker::NameDigest;
use rotation::pause::Pause;
use rotation::record::{Claim, Origin, Record, Retiring, RetiringState, Work};

use super::{OTHER_SECRETS, Rights, STRANGERS, Setting, World, at, epoch, id_of, other_epoch};

/// A kind of intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intervention {
    /// Puts a token of their own into the secret.
    Write,
    /// Puts an older value back.
    PutBack,
    DeleteVersion,
    DisableToken,
    EnableToken,
    DeleteToken,
    DeleteJournal,
    /// Copies a token with a marked name, as the user interface does.
    CopyToken,
    /// Creates a token with a marker whose number was never given out.
    PlantNumber,
    /// Writes a value that shows the id of somebody else's token.
    ForgeValue,
    /// Writes a part of the value of a token of this secret, so that only its id is right.
    CutShort,
    /// Puts another secret's current token into this secret.
    ShareToken,
    /// Pauses the secret, by a command.
    Pause,
    /// Resumes it.
    Resume,
    /// Edits the journal document.
    EditJournal(Edit),
}

/// An edit of the journal document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Somebody else's token is to retire, its grace is over.
    Retire,
    /// The claim, with its nonce, is on ending somebody else's token.
    Claim,
    /// The current token has other rights, and Vault was restored.
    Rights,
    /// The current token may manage tokens, and Vault was restored.
    ManagingRights,
    /// The document bears another secret's identity.
    Epoch,
}

impl World {
    /// Every way in which this intervention can happen now.
    pub fn intervene(
        &self,
        setting: &Setting,
        what: Intervention,
        visit: &mut dyn FnMut(String, World),
    ) {
        let mut with = |label: String, change: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            next.budget.person -= 1;
            change(&mut next);
            next.note_current();
            visit(label, next);
        };
        let tokens = 0..self.tokens.len() as u8;
        match what {
            Intervention::Write => with("writes a token of their own".into(), &|w| {
                w.served.fill(0);
                let token = w.create("by hand", Rights::Ordinary, false);
                w.put(token, false);
            }),
            Intervention::DeleteVersion => with("deletes the version".into(), &|w| {
                if let Some(last) = w.versions.last_mut() {
                    last.deleted = true;
                }
            }),
            Intervention::DeleteJournal => with("deletes the journal".into(), &|w| {
                // With it goes the knowledge of what was served.
                w.forgot = true;
                w.journal = None;
                w.journal_version += 1;
                w.index += 1;
            }),
            Intervention::Pause => {
                if self.journal.as_ref().is_some_and(|it| it.pause.is_none()) {
                    with("pauses the secret".into(), &|w| w.set_pause(true));
                }
            }
            Intervention::Resume => {
                if self.is_paused() {
                    with("resumes the secret".into(), &|w| w.set_pause(false));
                }
            }
            Intervention::PutBack => {
                for token in tokens {
                    let known = &self.tokens[usize::from(token)];
                    if known.stored && self.current() != Some(token) {
                        with(format!("puts T{token} back"), &|w| w.put_back(token));
                    }
                }
            }
            Intervention::CopyToken => {
                for token in tokens.filter(|token| self.is_ours(*token)) {
                    let name = format!("Duplicate of: {}", self.tokens[usize::from(token)].name);
                    with(format!("copies T{token}"), &|w| {
                        w.create(&name, Rights::Ordinary, false);
                    });
                }
            }
            Intervention::PlantNumber => {
                for number in [200_000, u64::MAX] {
                    let name = format!("planted [dtrotate:i.s.{number}]");
                    with(format!("creates {name:?}"), &|w| {
                        w.create(&name, Rights::Ordinary, false);
                    });
                }
            }
            Intervention::ForgeValue => {
                with("writes a value that shows the id of T2".into(), &|w| {
                    w.served.fill(0);
                    w.put(STRANGERS, true);
                });
            }
            Intervention::CutShort => {
                for token in tokens.filter(|token| self.tokens[usize::from(*token)].stored) {
                    with(format!("writes a part of the value of T{token}"), &|w| {
                        w.served.fill(0);
                        w.put(token, true);
                    });
                }
            }
            Intervention::ShareToken => with("puts another secret's token there".into(), &|w| {
                w.served.fill(0);
                w.put(OTHER_SECRETS, false);
            }),
            Intervention::DisableToken | Intervention::EnableToken | Intervention::DeleteToken => {
                for token in tokens {
                    let known = &self.tokens[usize::from(token)];
                    // To enable a token after `deleting` was journaled has no effect: deletion is final.
                    let deleting = self.is_in(&id_of(token), RetiringState::Deleting);
                    match what {
                        _ if self.is_foreign(setting, token) => {}
                        Intervention::DisableToken if known.exists && known.enabled => {
                            with(format!("disables T{token}"), &|w| w.switch(token, false));
                        }
                        Intervention::EnableToken
                            if known.exists && !known.enabled && !deleting =>
                        {
                            with(format!("enables T{token}"), &|w| w.switch(token, true));
                        }
                        Intervention::DeleteToken if known.exists => {
                            with(format!("deletes T{token}"), &|w| {
                                let token = w.token(token);
                                token.exists = false;
                                token.spoiled = true;
                            });
                        }
                        _ => {}
                    }
                }
            }
            Intervention::EditJournal(edit) => {
                for (label, change) in edits(edit) {
                    let possible = self.journal.as_ref().map(|record| (**record).clone());
                    if possible.and_then(|record| change(self, record)).is_some() {
                        with(format!("edits the journal: {label}"), &|w| {
                            // With a claim goes the due instant that it was to serve.
                            w.forgot |= edit == Edit::Claim;
                            w.edit(|w| change(w, w.journal.as_deref().cloned()?));
                        });
                    }
                }
            }
        }
    }

    /// Nothing may be begun.
    pub fn is_paused(&self) -> bool {
        self.journal.as_ref().is_some_and(|it| it.pause.is_some())
    }

    /// What the command writes, in one check-and-set.
    pub fn set_pause(&mut self, paused: bool) {
        let now = at(self.tick);
        if let Some(record) = &mut self.journal {
            let record = record.make_mut();
            record.pause = paused.then(|| Pause {
                since: now,
                until: None,
                by: "alice".into(),
                reason: None,
                unknown: Default::default(),
            });
            record.resumed_at = (!paused).then_some(now);
            self.journal_version += 1;
            self.index += 1;
        }
    }

    fn put_back(&mut self, token: u8) {
        let known = self.token(token);
        known.spoiled |= !known.exists;
        // What was stored for a due instant is gone again: to serve it once more is no mistake.
        self.served.fill(0);
        self.put(token, false);
    }

    fn switch(&mut self, token: u8, enabled: bool) {
        self.set_enabled(token, enabled);
        let busy = self.actors.iter().any(|actor| actor.run.is_some());
        let known = self.token(token);
        known.spoiled |= !enabled;
        known.unseen = enabled && busy;
    }

    fn edit(&mut self, change: impl Fn(&World) -> Option<Record>) {
        self.journal = change(self).map(super::Cached::new);
        self.edited = true;
        self.journal_version += 1;
        self.index += 1;
    }
}

type Change = Box<dyn Fn(&World, Record) -> Option<Record>>;

/// The variants of an edit. An edit that is not possible now gives none.
fn edits(edit: Edit) -> Vec<(String, Change)> {
    let strangers = [OTHER_SECRETS, STRANGERS];
    match edit {
        Edit::Retire => strangers
            .into_iter()
            .flat_map(|token| {
                [
                    (RetiringState::Grace, Claimed::Nothing),
                    (RetiringState::Grace, Claimed::Digest),
                    (RetiringState::Grace, Claimed::Named),
                    (RetiringState::Quarantine, Claimed::Nothing),
                    (RetiringState::Quarantine, Claimed::Named),
                    (RetiringState::Deleting, Claimed::Digest),
                ]
                .map(move |(state, claimed)| {
                    let label = format!("T{token} is in {state:?}, claimed {claimed:?}");
                    let change: Change = Box::new(move |world, mut record| {
                        let known = record.retiring(&id_of(token)).is_some();
                        let entry = entry(world, &record, token, state.clone(), claimed);
                        record.retiring.push(entry);
                        (!known).then_some(record)
                    });
                    (label, change)
                })
            })
            .collect(),
        Edit::Claim => strangers
            .into_iter()
            .flat_map(|token| {
                let id = id_of(token);
                let work = [
                    Work::Disable { id: id.clone() },
                    Work::Delete { id: id.clone() },
                    Work::Undo {
                        id,
                        base: 1,
                        from: 1,
                    },
                ];
                work.map(|work| {
                    let label = format!("the claim is on {work:?}");
                    let change: Change = Box::new(move |_, mut record| {
                        let claim = record.claim.take()?;
                        record.claim = Some(Claim {
                            work: work.clone(),
                            ..claim
                        });
                        Some(record)
                    });
                    (label, change)
                })
            })
            .collect(),
        Edit::Rights => vec![rights("logs.read")],
        Edit::ManagingRights => vec![rights("apiTokens.write")],
        Edit::Epoch => {
            let change: Change = Box::new(|_, mut record| {
                let ours = record.epoch == epoch();
                record.epoch = other_epoch();
                ours.then_some(record)
            });
            vec![("it bears another secret's identity".into(), change)]
        }
    }
}

fn rights(scope: &'static str) -> (String, Change) {
    let change: Change = Box::new(move |world, mut record| {
        let current = record.current.as_mut()?;
        let same = current.scopes == [scope];
        current.scopes = vec![scope.into()];
        record.health.went_back_at = Some(at(world.tick));
        (!same).then_some(record)
    });
    (format!("the current token may {scope}"), change)
}

/// What an entry that an adversary writes claims to be proven by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claimed {
    Nothing,
    /// The name that the token has, and a version.
    Digest,
    /// A person who named it.
    Named,
}

/// An entry that an adversary writes: everything that names, ids and the document show can be in it.
fn entry(
    world: &World,
    record: &Record,
    token: u8,
    state: RetiringState,
    claimed: Claimed,
) -> Retiring {
    let digest = claimed == Claimed::Digest;
    let origin = match claimed != Claimed::Nothing {
        true => Origin::Version(world.versions.len() as u64),
        false => Origin::Marker,
    };
    Retiring {
        id: id_of(token),
        state,
        base: 0,
        clean_through: 0,
        since: Timestamp::UNIX_EPOCH,
        due: Timestamp::UNIX_EPOCH,
        disable_unconfirmed_since: None,
        origin,
        digest: digest.then(|| NameDigest::of(&world.tokens[usize::from(token)].name)),
        base_url: record.coordinates.base_url.clone(),
        usage: Default::default(),
        outage_counted_until: None,
        missed: None,
        failure: None,
        undone: false,
        revoked: None,
        backstop: None,
        named: claimed == Claimed::Named,
        unknown: Default::default(),
    }
}
