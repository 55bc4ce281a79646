//! The processes: what starts a run, what a run leaves behind, and who dies.

use std::time::Duration;

use rotation::command::{Command, RunResult};
use rotation::event::{EventName, Level};
use rotation::machine::Run;
use rotation::marker::Marker;
use rotation::record::{Revocation, Trigger};
use rotation::request::{
    ClaimObservation, Goal, Hints, Holder, JournalSnapshot, Known, RevokeRequest, RotationRequest,
    RunRequest,
};

use super::super::cached::Cached;
use super::super::mutation::{Mutation, only_open};
use super::{FIRST, Fault, Setting, World, due, epoch, id_of};

/// More steps than any run needs that is left alone.
const STEPS: usize = 400;

/// The map that a process read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadMap {
    pub version: u64,
    pub token: u8,
    /// It is another secret's map.
    pub foreign: bool,
    pub forged: bool,
}

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Daemon,
    /// A command that brings the previous token back.
    Undo,
    /// A command that revokes the token that is the current one then.
    Revoke,
    /// A command that records the first token.
    Adopt,
}

/// How a run begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// With a fresh listing.
    pub sweeps: bool,
    /// It does not wait for the claims of others.
    pub is_impatient: bool,
    /// What the other secrets hold is known.
    pub knows_others: bool,
}

impl Start {
    /// A daemon that has read everything once.
    pub const SETTLED: Start = Start {
        sweeps: false,
        is_impatient: false,
        knows_others: true,
    };
    /// The only process, and everything of it works.
    pub const LEFT_ALONE: Start = Start {
        sweeps: true,
        is_impatient: true,
        knows_others: true,
    };
}

/// A process.
#[derive(Clone, Debug, Hash)]
pub struct Actor {
    pub role: Role,
    /// How many of its claims were left behind.
    lives: u8,
    pub(super) known: Option<Cached<JournalSnapshot>>,
    pub run: Option<Cached<Run>>,
    pub(super) read: Option<ReadMap>,
    pub(super) minted: Option<u8>,
    /// The newest state of Vault that it was shown.
    pub(super) index: u16,
    /// The token with which it manages tokens, in a world where that is the secret itself.
    pub(super) manager: Option<u8>,
    /// The due instant that it claimed last.
    pub(super) due: Option<u8>,
    /// What a command is for is asked for once.
    pub asked: bool,
}

impl Actor {
    pub fn new(role: Role) -> Self {
        Actor {
            role,
            lives: 0,
            known: None,
            run: None,
            read: None,
            minted: None,
            index: 0,
            manager: None,
            due: None,
            asked: false,
        }
    }
}

impl World {
    /// The mark of the process's claims.
    pub(super) fn nonce(&self, actor: usize) -> String {
        format!("d{actor}.{}", self.actors[actor].lives)
    }

    /// A due instant that nobody this process knows of has served.
    pub fn unserved(&self, setting: &Setting, actor: usize) -> Option<usize> {
        let known = self.actors[actor].known.as_ref();
        let last = known.and_then(|known| known.record.as_ref()?.last_due);
        (0..setting.dues.len())
            .rev()
            .find(|&n| setting.dues[n] <= self.tick && last.is_none_or(|last| last < due(n)))
    }

    /// A run begins: to serve this due instant, or to settle what there is.
    pub fn begin(&mut self, setting: &Setting, actor: usize, serve: Option<usize>, start: Start) {
        let env = setting.env(self.is_held, start.knows_others);
        let listing = start
            .sweeps
            .then(|| match setting.off.contains(&Mutation::NoPrefix) {
                true => only_open(self, &self.listing(setting)),
                false => self.listing(setting),
            });
        let listing = listing.map(|listing| {
            let off = setting.off.iter();
            off.fold(listing, |listing, rule| rule.listing(self, listing))
        });
        let version = self.journal_version;
        let mono = self.now().mono;
        let id = self.nonce(actor);
        if self.actors[actor].role == Role::Revoke {
            self.revoked = self.revoked.or(self.current());
        }
        let revoked = id_of(self.revoked.unwrap_or_default());
        let wall = self.now().wall;
        let who = &mut self.actors[actor];
        let request = RunRequest {
            plan: setting.plan.clone(),
            holder: Holder {
                user: None,
                instance: format!("d{actor}"),
                boot: String::new(),
                began: jiff::Timestamp::UNIX_EPOCH,
                is_daemon: who.role == Role::Daemon,
                is_pass: false,
            },
            id,
            goal: match (who.role, serve) {
                (Role::Undo, _) => Goal::Undo(None),
                (Role::Adopt, _) => Goal::Adopt(id_of(FIRST)),
                (Role::Revoke, _) => Goal::Revoke(RevokeRequest {
                    revocation: Revocation {
                        token: revoked,
                        at: wall,
                        by: "alice".into(),
                        delete: false,
                        without_replacement: false,
                        unknown: Default::default(),
                    },
                    accept_recorded_rights: false,
                    overrides: true,
                }),
                (Role::Daemon, None) => Goal::Settle,
                (Role::Daemon, Some(n)) => Goal::Rotate(RotationRequest {
                    due: Some(due(n)),
                    trigger: match setting.accept_rights {
                        true => Trigger::Command,
                        false => Trigger::Schedule,
                    },
                    accept_recorded_rights: setting.accept_rights,
                }),
            },
            dry_run: false,
            hints: Hints {
                reread_secret: listing.is_some(),
                recheck_token: listing.is_some(),
            },
            env,
            known: Known {
                journal: who.known.as_deref().cloned(),
                observation: Some(ClaimObservation {
                    version,
                    since: if start.is_impatient {
                        Duration::ZERO
                    } else {
                        mono
                    },
                }),
                listing,
            },
        };
        who.run = Some(Cached::new(Run::new(request)));
        who.read = None;
        who.minted = None;
    }

    /// The sweep reads the document again, because somebody else may have written it.
    pub fn refresh(&mut self, actor: usize) {
        let (version, who) = (self.journal_version, &mut self.actors[actor]);
        who.known = who.known.take().filter(|known| known.cas == version);
    }

    /// The process dies; what it knew is gone.
    pub fn crash(&mut self, actor: usize) {
        let who = &mut self.actors[actor];
        who.run = None;
        who.known = None;
        who.manager = None;
        self.leave(actor);
    }

    /// A claim that a run leaves behind is never taken for the next run's own.
    fn leave(&mut self, actor: usize) {
        let mine = self.nonce(actor);
        let claim = self
            .journal
            .as_ref()
            .and_then(|record| record.claim.as_ref());
        if claim.is_some_and(|claim| claim.nonce == mine) {
            self.actors[actor].lives += 1;
        }
        let who = &mut self.actors[actor];
        who.read = None;
        who.minted = None;
    }

    pub(super) fn end(&mut self, actor: usize, result: &RunResult) {
        self.leave(actor);
        self.implausible = matches!(result, RunResult::JournalImplausible(_));
        if matches!(result, RunResult::InternalError(_)) {
            self.broken = Some("a run does not end");
        }
        let who = &mut self.actors[actor];
        let run = who.run.take();
        who.known = match result {
            RunResult::JournalUnreadable(_) => None,
            _ => run.and_then(|run| run.journal().cloned()).map(Cached::new),
        };
    }

    /// Continues a run alone and undisturbed.
    pub fn run_to_end(&mut self, setting: &Setting, actor: usize) {
        for _ in 0..STEPS {
            if self.actors[actor].run.is_none() {
                return;
            }
            let command = self.decide(setting, actor);
            self.carry_out(setting, actor, &command, Fault::None);
        }
        self.broken = Some("a run does not end");
    }

    /// Steps that nobody else can see or disturb are taken at once: the order among them does not matter.
    pub fn skip_silent_steps(&mut self, setting: &Setting, actor: usize) {
        for _ in 0..STEPS {
            let Some(run) = &self.actors[actor].run else {
                return;
            };
            let next = (**run).clone().step(self.now());
            let is_silent = match next {
                Command::ProveReachable | Command::Finish(_) => true,
                Command::Wait(_) => self.budget.stop == 0,
                _ => false,
            };
            if !is_silent {
                return;
            }
            let command = self.decide(setting, actor);
            self.carry_out(setting, actor, &command, Fault::None);
        }
        self.broken = Some("a run does not end");
    }

    /// A run without a due instant would find something: what a daemon learns from its alarms and its sweep.
    pub fn has_work(&self, actor: usize) -> bool {
        let Some(record) = &self.journal else {
            return true;
        };
        let current = self.current();
        let unknown = (0..self.tokens.len() as u8).any(|token| {
            let id = id_of(token);
            let known = record.is_current(&id)
                || record.retiring(&id).is_some()
                || record.attempts.left_alone.contains(&id);
            let token = &self.tokens[usize::from(token)];
            Marker::of(&token.name, &epoch()).is_some() && token.exists && !known
        });
        record.claim.is_some()
            || record.revoking.is_some()
            || unknown
            || self.actors[actor].known.is_none()
            || !record.open.is_empty()
            || self.retires()
            || current.is_none_or(|token| !record.is_current(&id_of(token)))
    }

    /// The next command of a run.
    pub fn decide(&mut self, setting: &Setting, actor: usize) -> Command {
        let now = self.now();
        let Some(run) = &mut self.actors[actor].run else {
            unreachable!("only a process at work is asked")
        };
        let command = run.make_mut().step(now);
        self.take_reports(actor);
        let off = setting.off.iter();
        off.fold(command, |command, rule| rule.command(self, actor, command))
    }

    pub(super) fn take_reports(&mut self, actor: usize) {
        let Some(run) = &mut self.actors[actor].run else {
            return;
        };
        for report in run.make_mut().take_reports() {
            if report.event == EventName::SecretChangedElsewhere && report.level == Level::Error {
                self.undeleted = false;
            }
        }
    }
}
