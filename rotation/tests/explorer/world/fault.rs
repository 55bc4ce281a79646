//! What can go wrong with a command.

use rotation::command::{Command, Outcome, Source, TokenAction};
use rotation::error::{CallError, ErrorKind, Service};

use super::super::mutation::Mutation;
use super::vault::forget_history;
use super::{Late, Rights, Setting, World, number_of};

/// What can go wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// It takes effect later, when nobody waits for it.
    EffectLate,
    /// It has no effect, and that is known.
    Failed,
    /// A read shows an older state.
    Stale,
    /// The new token is not listed for a while.
    Hidden,
    /// A journal write takes effect, and is answered with a conflict.
    Conflict,
    /// It takes effect, and the answer is about this token of somebody else.
    Swapped(u8),
    /// The listing lacks this token.
    Partial(u8),
    /// The process is to stop.
    Stopped,
}

pub fn error(service: Service, kind: ErrorKind) -> CallError {
    CallError::new(service, kind, "as the search has it")
}

impl World {
    /// The faults that this command can have.
    pub fn faults(&self, setting: &Setting, command: &Command) -> Vec<Fault> {
        let effect = matches!(
            command,
            Command::Mint(_)
                | Command::Store { .. }
                | Command::Fence { .. }
                | Command::Change(..)
                | Command::WriteJournal { .. }
        );
        let lasting = matches!(
            command,
            Command::Mint(_) | Command::Store { .. } | Command::Change(..)
        );
        let read = matches!(
            command,
            Command::ReadSecret | Command::ConfirmSecret | Command::ReadJournal
        );
        let swappable = matches!(
            command,
            Command::Mint(_)
                | Command::ReadSecret
                | Command::ConfirmSecret
                | Command::ReadVersion(_)
                | Command::LookUp(_)
                | Command::LookUpValue
                | Command::LookUpVersion(_)
                | Command::Verify(_)
        );
        let outside = !matches!(command, Command::Wait(_) | Command::Finish(_));
        let journal = matches!(command, Command::WriteJournal { .. });
        let budget = &self.budget;
        let mut faults = vec![];
        faults.extend((effect && budget.lose > 0).then_some(Fault::AnswerLost));
        faults.extend((lasting && budget.late > 0).then_some(Fault::EffectLate));
        faults.extend((outside && budget.fail > 0).then_some(Fault::Failed));
        faults.extend((read && budget.stale > 0).then_some(Fault::Stale));
        let minting = matches!(command, Command::Mint(_));
        faults.extend((minting && budget.hide > 0).then_some(Fault::Hidden));
        faults.extend((journal && budget.conflict > 0).then_some(Fault::Conflict));
        let waiting = matches!(command, Command::Wait(_));
        faults.extend((waiting && budget.stop > 0).then_some(Fault::Stopped));
        let foreign = |token: &u8| self.is_foreign(setting, *token);
        let tokens = 0..self.tokens.len() as u8;
        if swappable && budget.swap > 0 {
            faults.extend(tokens.clone().filter(foreign).map(Fault::Swapped));
        }
        if *command == Command::List && budget.partial > 0 {
            faults.extend(tokens.filter(|t| !foreign(t)).map(Fault::Partial));
        }
        faults
    }

    /// Carries a command out and hands the run its outcome.
    pub fn carry_out(&mut self, setting: &Setting, actor: usize, command: &Command, fault: Fault) {
        let budget = &mut self.budget;
        let free = matches!(command, Command::ReadVersion(_))
            && setting.off.contains(&Mutation::NoSecondVersion);
        match fault {
            Fault::None => {}
            Fault::AnswerLost => budget.lose -= 1,
            Fault::EffectLate => budget.late -= 1,
            Fault::Failed => budget.fail -= 1,
            Fault::Stale => budget.stale -= 1,
            Fault::Hidden => budget.hide -= 1,
            Fault::Conflict => budget.conflict -= 1,
            Fault::Swapped(_) => budget.swap -= u8::from(!free),
            Fault::Partial(_) => budget.partial -= 1,
            Fault::Stopped => budget.stop -= 1,
        }
        if let Command::Finish(result) = command {
            if setting.manages {
                self.actors[actor].manager = None;
            }
            return self.end(actor, result);
        }
        let service = service(command);
        let (effect, instead) = match fault {
            Fault::Failed => (false, Some(error(service, ErrorKind::Transient))),
            Fault::EffectLate => {
                self.postpone(actor, command);
                (false, Some(error(service, ErrorKind::Unclear)))
            }
            Fault::AnswerLost => (true, Some(error(service, ErrorKind::Unclear))),
            Fault::Conflict => (true, Some(error(service, ErrorKind::Conflict))),
            _ => (true, None),
        };
        let barred = (setting.manages && effect).then(|| self.authenticate(actor, command));
        let done = effect.then(|| match barred.flatten() {
            Some(kind) => failed(command, error(service, kind)),
            None => self.perform(setting, actor, command, fault),
        });
        let outcome = match instead {
            _ if fault == Fault::Stopped => Outcome::Stopped,
            Some(error) => failed(command, error),
            None => done.expect("it was performed"),
        };
        let off = setting.off.iter();
        let outcome = off.fold(outcome, |outcome, rule| {
            rule.outcome(self, actor, command, outcome)
        });
        let now = self.now();
        if let Some(run) = &mut self.actors[actor].run {
            let run = run.make_mut();
            run.learn(command, outcome, now);
            run.forget_history(forget_history);
        }
        self.take_reports(actor);
    }

    fn postpone(&mut self, actor: usize, command: &Command) {
        let late = match command {
            Command::Mint(order) => Late::Mint(order.name.clone()),
            Command::Store { base, source } => match self.candidate(actor, *source) {
                Some(token) => Late::Store {
                    base: *base,
                    token,
                    due: self.actors[actor].due.filter(|_| *source == Source::Minted),
                },
                None => return,
            },
            Command::Change(act, id) => Late::Act(act.clone(), number_of(id)),
            _ => return,
        };
        self.late.push(late);
        self.late.sort_by_key(|late| format!("{late:?}"));
    }

    /// A late effect comes after all.
    pub fn land(&mut self, setting: &Setting, late: &Late) {
        match late {
            Late::Mint(name) => {
                self.create(name, Rights::Ordinary, true);
            }
            Late::Store { base, token, due } => {
                let _ = self.store(setting, *base, *token, *due);
            }
            Late::Act(act, token) => {
                let _ = self.act(setting, act, *token);
            }
        }
    }

    /// In a world where the secret is the management token: what the environment answers to a call with the token that this process has. A
    /// refused one is read again, once.
    fn authenticate(&mut self, actor: usize, command: &Command) -> Option<ErrorKind> {
        let target = match command {
            Command::Change(TokenAction::Disable | TokenAction::Delete, id) => Some(number_of(id)),
            Command::Change(
                TokenAction::Enable | TokenAction::Rename(_) | TokenAction::Redate(_),
                _,
            )
            | Command::TryValue
            | Command::LookUpValue
            | Command::LookUpVersion(_)
            | Command::LookUp(_)
            | Command::Mint(_)
            | Command::List
            | Command::ProveReachable => None,
            _ => return None,
        };
        let current = self.current();
        for manager in [self.actors[actor].manager.or(current), current] {
            self.actors[actor].manager = manager;
            let works = manager.is_some_and(|token| self.works(token));
            if works && (target.is_none() || target != manager) {
                return None;
            }
        }
        let works = current.is_some_and(|token| self.works(token));
        Some(if works {
            ErrorKind::Refused
        } else {
            ErrorKind::Unauthorized
        })
    }
}

fn service(command: &Command) -> Service {
    match command.calls_dynatrace() {
        true => Service::Dynatrace,
        false => Service::Vault,
    }
}

fn failed(command: &Command, error: CallError) -> Outcome {
    match command {
        Command::ReadJournal => Outcome::Journal(Err(error)),
        Command::WriteJournal { .. } => Outcome::Written(Err(error)),
        Command::ReadSecret => Outcome::Secret(Err(error)),
        Command::ConfirmSecret => Outcome::Confirmed(Err(error)),
        Command::ReadVersion(_) => Outcome::Version(Err(error)),
        Command::LookUpValue => Outcome::Value(Err(error)),
        Command::LookUpVersion(_) => Outcome::VersionValue(Err(error)),
        Command::TryValue => Outcome::ValueTried(Err(error)),
        Command::LookUp(_) => Outcome::Token(Err(error)),
        Command::Mint(_) => Outcome::Minted(Err(error)),
        Command::Verify(_) => Outcome::Verified(Err(error)),
        Command::ProveManager(_) => Outcome::ManagerProven(Err(error)),
        Command::Store { .. } => Outcome::Stored(Err(error)),
        Command::Fence { .. } => Outcome::Fenced(Err(error)),
        Command::Change(..) => Outcome::Changed(Err(error)),
        Command::List => Outcome::Listed(Err(error)),
        Command::ProveReachable => Outcome::Reachable(Err(error)),
        Command::Wait(_) | Command::Finish(_) => Outcome::Waited,
    }
}
