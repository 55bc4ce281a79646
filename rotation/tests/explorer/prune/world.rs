//! The small world of pruning: some tokens of one environment, the document of pruned tokens, and the processes that work on them. A tick is a
//! quarantine and a `settle`; it passes only when no effect is under way that nobody waits for.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use rotation::error::{CallError, ErrorKind, Service};
use rotation::prune::{
    Edit, PruneCommand, PruneContext, PruneOrder, PruneOutcome, PruneRecord, PruneResult, PruneRun,
    PrunedState, mark,
};
use rotation::token::{TokenId, TokenInfo, Traits};

use super::super::cached::Cached;
use super::guards::Guard;
use super::promises;
use super::scenarios::Scenario;

pub const INSTALLATION: &str = "i";
const URL: &str = "https://prod";
const TICK: Duration = Duration::from_secs(3600);
/// More calls than any run makes.
const STEPS: usize = 40;

/// The token that a person prunes.
pub const TARGET: usize = 0;
/// The value of a secret.
pub const HELD: usize = 1;
/// In use as a management token.
pub const MANAGEMENT: usize = 2;
/// It may manage tokens.
pub const MANAGING: usize = 3;
/// Someone's personal token, which they disabled: it bears no mark.
pub const PERSONAL: usize = 4;
/// Someone copied a marked name, and it is enabled.
pub const ENABLED: usize = 5;

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A daemon begins a run.
    pub runs: u8,
    /// A process dies.
    pub crash: u8,
    /// The effect happens, the answer is lost.
    pub lose: u8,
    /// The effect comes later than the time-out.
    pub late: u8,
    /// Nothing happens, and that is known.
    pub fail: u8,
    /// A process is held up in the middle of a call, for as long as may be.
    pub hold: u8,
    /// "Not found", although the token is there.
    pub lie: u8,
    /// A person, or an adversary who may write the document, does something.
    pub person: u8,
}

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Daemon,
    /// A command that prunes the target.
    Prune,
    /// A command that brings it back.
    Undo,
    /// A command that confirms its deletion.
    Confirm,
}

#[derive(Clone, Debug, Hash)]
pub struct Token {
    pub name: Arc<str>,
    pub enabled: bool,
    pub exists: bool,
    pub last_used: Option<Timestamp>,
    /// Since when it is disabled.
    pub disabled_at: Option<u8>,
    /// Since when it was disabled before a person enabled it.
    pub disabled_before: Option<u8>,
    /// It was dtrotate that disabled it, for a person.
    pub by_us: bool,
}

#[derive(Clone, Debug, Hash)]
pub struct Actor {
    pub role: Role,
    /// The token of its run.
    pub token: usize,
    pub run: Option<Cached<PruneRun>>,
    /// The call in whose middle it is held up.
    pub held: Option<PruneCommand>,
    /// A person changed the token, and it has not looked since.
    pub unseen: bool,
    /// What a command is for is asked for once.
    pub asked: bool,
    /// The last use of the token, as the plan showed it.
    pub planned_use: Option<Timestamp>,
    /// How many orders there were when it began.
    orders: u8,
    /// What it saw first, in a world without a second look.
    first: Option<Option<TokenInfo>>,
}

/// An effect that is under way, and nobody waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    pub command: PruneCommand,
    pub token: usize,
    pub role: Role,
    pub unseen: bool,
    pub planned_use: Option<Timestamp>,
}

/// Everything.
#[derive(Clone, Debug, Hash)]
pub struct PruneWorld {
    pub tick: u8,
    pub tokens: Vec<Token>,
    pub document: Cached<PruneRecord>,
    pub actors: Vec<Actor>,
    pub late: Vec<Late>,
    pub budget: Budget,
    /// What people were told.
    pub told: Told,
    /// How often its prune was ordered.
    orders: u8,
    /// A person changed the token or the document.
    pub touched: bool,
    /// An order was written to the document.
    pub ordered: bool,
    /// A call took effect although its order was in no document any longer.
    pub overtaken: bool,
    /// The process that should have noticed this could not.
    pub stranded: bool,
    pub broken: Option<&'static str>,
}

/// What the commands reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    pub disabled: bool,
    pub kept: bool,
    pub restored: bool,
}

/// What does not change during a search.
pub struct Case {
    pub scenario: Scenario,
    pub off: &'static [Guard],
}

/// What can go wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    AnswerLost,
    EffectLate,
    Failed,
    Held,
    Lie,
}

pub fn at(tick: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH + TICK * (100 + u32::from(tick))
}

pub fn id_of(token: usize) -> TokenId {
    TokenId::new(format!("dt0c01.T{token}"))
}

/// The number of the token with this id.
fn number_of(id: &TokenId) -> usize {
    let number = id.as_str().strip_prefix("dt0c01.T");
    number
        .and_then(|it| it.parse().ok())
        .expect("an id of this world")
}

/// A mark that was given long ago.
pub fn old_mark(base: &str) -> String {
    mark(INSTALLATION, Timestamp::UNIX_EPOCH).name(base, 100)
}

fn error(kind: ErrorKind) -> CallError {
    CallError::new(Service::Dynatrace, kind, "as the search has it")
}

impl Case {
    /// The scenario without these guards.
    pub fn new(scenario: Scenario, off: &'static [Guard]) -> Self {
        Case { scenario, off }
    }

    fn is_off(&self, guard: Guard) -> bool {
        self.off.contains(&guard)
    }
}

impl PruneWorld {
    pub fn new(scenario: &Scenario) -> Self {
        let token = |name: &str, enabled: bool| Token {
            name: name.into(),
            enabled,
            exists: true,
            last_used: None,
            disabled_at: (!enabled).then_some(0),
            disabled_before: None,
            by_us: false,
        };
        let marked = |base: &str| old_mark(base);
        let roles = [Role::Daemon; 2]
            .into_iter()
            .take(scenario.daemons)
            .chain(scenario.commands.iter().copied());
        PruneWorld {
            tick: 0,
            tokens: vec![
                token("job", true),
                token(&marked("held"), false),
                token(&marked("management"), false),
                token(&marked("managing"), false),
                token("laptop", false),
                token(&marked("copied"), true),
            ],
            document: Cached::new(PruneRecord::default()),
            actors: roles
                .map(|role| Actor {
                    role,
                    token: TARGET,
                    run: None,
                    held: None,
                    unseen: false,
                    asked: false,
                    planned_use: None,
                    orders: 0,
                    first: None,
                })
                .collect(),
            late: vec![],
            budget: scenario.budget,
            told: Told::default(),
            orders: 0,
            touched: false,
            ordered: false,
            overtaken: false,
            stranded: false,
            broken: None,
        }
    }

    pub fn info(&self, token: usize) -> TokenInfo {
        let known = &self.tokens[token];
        let scope = match token {
            MANAGING => "apiTokens.write",
            _ => "metrics.read",
        };
        TokenInfo {
            id: id_of(token),
            name: known.name.to_string(),
            enabled: known.enabled,
            scopes: vec![scope.into()],
            owner: None,
            personal: token == PERSONAL,
            created: None,
            expires: None,
            last_used: known.last_used,
            last_used_ip: None,
            traits: Traits::default(),
        }
    }

    fn context(&self, case: &Case, actor: usize) -> PruneContext<'static> {
        let Actor { role, token, .. } = self.actors[actor];
        let run = self.actors[actor].run.as_ref();
        let entry = run.and_then(|run| run.entry());
        let cx = PruneContext {
            // No two orders are given in the same moment.
            now: at(self.tick) + SignedDuration::from_secs(self.orders.into()),
            clock_agrees: true,
            installation: INSTALLATION,
            base_url: Some(URL),
            quarantine: TICK,
            settle: TICK,
            holder: (token == HELD).then_some("ci"),
            is_management: token == MANAGEMENT,
            confirmed: role == Role::Confirm,
        };
        let off = case.off.iter();
        off.fold(cx, |cx, guard| guard.context(role, entry, cx))
    }

    // -------------------------------------------------------------------------------------------------------- processes ---

    /// Whether a process could begin, and on which tokens.
    pub fn work_of(&self, actor: usize) -> Vec<usize> {
        let Actor { role, asked, .. } = self.actors[actor];
        let target = self.document.find(&id_of(TARGET)).is_some();
        let begins = match role {
            Role::Daemon => {
                let entries = self.document.tokens.iter();
                return entries.map(|entry| number_of(&entry.id)).collect();
            }
            // The plan shows what is there and was not pruned before.
            Role::Prune => !target && self.tokens[TARGET].exists,
            Role::Undo | Role::Confirm => target,
        };
        match begins && !asked {
            true => vec![TARGET],
            false => vec![],
        }
    }

    pub fn begin(&mut self, case: &Case, actor: usize, token: usize) {
        let role = self.actors[actor].role;
        if case.is_off(Guard::TwoAnswers) {
            let tokens = self.document.make_mut().tokens.iter_mut();
            tokens.for_each(|entry| entry.missing_since = Some(Timestamp::UNIX_EPOCH));
        }
        let entry = self.document.find(&id_of(token)).cloned();
        let run = match (role, entry) {
            (Role::Daemon | Role::Confirm, Some(entry)) => PruneRun::settle(entry),
            (Role::Undo, Some(entry)) => PruneRun::restore(entry),
            _ => PruneRun::disable(PruneOrder {
                planned: self.info(token),
                service: "prod".into(),
                base_url: URL.into(),
                by: "ada".into(),
                name_limit: case.scenario.rename.then_some(100),
            }),
        };
        let who = &mut self.actors[actor];
        who.planned_use = self.tokens[token].last_used;
        who.orders = self.orders;
        who.first = None;
        who.token = token;
        who.asked = role != Role::Daemon;
        who.run = Some(Cached::new(run));
        who.unseen = false;
    }

    pub fn decide(&mut self, case: &Case, actor: usize) -> PruneCommand {
        let cx = self.context(case, actor);
        let run = self.actors[actor].run.as_mut();
        let run = run.expect("only a process at work is asked");
        run.make_mut().step(&cx)
    }

    pub fn crash(&mut self, actor: usize) {
        let who = &mut self.actors[actor];
        (who.run, who.held) = (None, None);
        self.stranded |= self.overtaken;
    }

    fn end(&mut self, actor: usize, result: &PruneResult) {
        let is_prune = |actor: &&Actor| actor.role == Role::Prune;
        let alone = self.actors.iter().filter(is_prune).count() == 1;
        let who = &mut self.actors[actor];
        who.run = None;
        match (who.role, result) {
            (Role::Prune, PruneResult::Disabled) => self.told.disabled = true,
            (Role::Prune, PruneResult::Skipped(_) | PruneResult::Failed(_)) if alone => {
                self.told.kept = true;
            }
            // Somebody pruned it again meanwhile.
            (Role::Undo, PruneResult::Restored) if who.orders == self.orders => {
                self.told = Told {
                    restored: true,
                    ..Told::default()
                }
            }
            _ => {}
        }
    }

    // ------------------------------------------------------------------------------------------------------------ calls ---

    pub fn faults(&self, command: &PruneCommand) -> Vec<Fault> {
        let budget = &self.budget;
        let acts = matches!(
            command,
            PruneCommand::SetState { .. } | PruneCommand::Delete
        );
        let writes = acts || matches!(command, PruneCommand::Change(_));
        let reads = matches!(command, PruneCommand::LookUp);
        let mut faults = vec![Fault::None];
        faults.extend((writes && budget.lose > 0).then_some(Fault::AnswerLost));
        faults.extend((acts && budget.late > 0).then_some(Fault::EffectLate));
        faults.extend((acts && budget.hold > 0).then_some(Fault::Held));
        faults.extend(((writes || reads) && budget.fail > 0).then_some(Fault::Failed));
        faults.extend((reads && budget.lie > 0).then_some(Fault::Lie));
        faults
    }

    pub fn carry_out(&mut self, case: &Case, actor: usize, command: &PruneCommand, fault: Fault) {
        let budget = &mut self.budget;
        match fault {
            Fault::None => {}
            Fault::AnswerLost => budget.lose -= 1,
            Fault::EffectLate => budget.late -= 1,
            Fault::Failed => budget.fail -= 1,
            Fault::Held => budget.hold -= 1,
            Fault::Lie => budget.lie -= 1,
        }
        self.stranded |= self.overtaken && fault != Fault::None;
        if let PruneCommand::Finish(result) = command {
            return self.end(actor, result);
        }
        let late = self.call(actor, command);
        let token = late.token;
        let unclear = error(ErrorKind::Unclear);
        let outcome = match (fault, command) {
            (Fault::Held, _) => {
                self.actors[actor].held = Some(command.clone());
                return;
            }
            (Fault::Failed, PruneCommand::LookUp) => {
                PruneOutcome::Seen(Err(error(ErrorKind::Transient)))
            }
            (Fault::Failed, PruneCommand::Change(_)) => {
                PruneOutcome::Changed(Err(error(ErrorKind::Transient)))
            }
            (Fault::Failed, _) => PruneOutcome::Called(Err(error(ErrorKind::Transient))),
            (Fault::Lie, _) => PruneOutcome::Seen(Ok(None)),
            (Fault::EffectLate, _) => {
                self.late.push(late);
                self.late.sort_by_key(|late| format!("{late:?}"));
                PruneOutcome::Called(Err(unclear))
            }
            (_, PruneCommand::LookUp) => {
                self.actors[actor].unseen = false;
                let there = self.tokens[token].exists;
                let mut seen = there.then(|| self.info(token));
                if case.is_off(Guard::SecondLook) {
                    let first = &mut self.actors[actor].first;
                    seen = first.get_or_insert(seen).clone();
                }
                PruneOutcome::Seen(Ok(seen))
            }
            (_, PruneCommand::Change(edit)) => {
                let off = case.off.iter();
                let unguarded = off.filter_map(|guard| guard.edit(edit, self.document.make_mut()));
                let edited = unguarded.last();
                let edited = edited.unwrap_or_else(|| edit.apply(self.document.make_mut()));
                self.ordered |= !self.document.tokens.is_empty();
                let dropped =
                    matches!(&**edit, Edit::Drop(entry) if entry.state == PrunedState::Ordered);
                if matches!(**edit, Edit::Add(_)) && edited.applied {
                    // From here on the last order counts.
                    self.orders += 1;
                    self.told.restored = false;
                }
                if dropped && edited.applied && self.tokens[TARGET].by_us {
                    self.overtaken = true;
                    let mut at_work = self.actors.iter().filter(|actor| actor.run.is_some());
                    self.stranded |= !at_work.any(|actor| actor.role == Role::Prune);
                }
                match fault {
                    Fault::AnswerLost => PruneOutcome::Changed(Err(unclear)),
                    _ => PruneOutcome::Changed(Ok(edited)),
                }
            }
            (_, _) => {
                let called = self.act(case, &late);
                match fault {
                    Fault::AnswerLost => PruneOutcome::Called(Err(unclear)),
                    _ => PruneOutcome::Called(called),
                }
            }
        };
        self.hand(case, actor, outcome);
    }

    /// The call of a process, as the environment sees it.
    pub fn call(&self, actor: usize, command: &PruneCommand) -> Late {
        let who = &self.actors[actor];
        Late {
            command: command.clone(),
            token: who.token,
            role: who.role,
            unseen: who.unseen,
            planned_use: who.planned_use,
        }
    }

    pub fn hand(&mut self, case: &Case, actor: usize, outcome: PruneOutcome) {
        let run = self.actors[actor].run.as_ref();
        let entry = run.and_then(|run| run.entry().cloned());
        let role = self.actors[actor].role;
        let planned = self.actors[actor].planned_use;
        let off = case.off.iter();
        let outcome = off.fold(outcome, |outcome, guard| {
            guard.outcome(role, entry.as_ref(), planned, outcome)
        });
        if let Some(run) = &mut self.actors[actor].run {
            run.make_mut().learn(outcome);
        }
    }

    /// What the environment does to a token.
    pub fn act(&mut self, case: &Case, call: &Late) -> Result<(), CallError> {
        let number = call.token;
        if !self.tokens[number].exists {
            return Err(error(ErrorKind::Gone));
        }
        promises::judge(case, self, call);
        // Entries keep processes apart, unless the document was edited: then this is an act of somebody else for those at work.
        let back = matches!(call.command, PruneCommand::SetState { enabled: true, .. });
        if back && self.touched {
            self.actors.iter_mut().for_each(|actor| actor.unseen = true);
        }
        // What it did after it was held up is taken back, whoever has pruned the token again since it looked.
        self.stranded |= back && call.role == Role::Prune && !self.document.tokens.is_empty();
        let tick = self.tick;
        let known = &mut self.tokens[number];
        match &call.command {
            PruneCommand::Delete => known.exists = false,
            PruneCommand::SetState { enabled, name } => {
                known.enabled = *enabled;
                known.disabled_at = (!enabled).then_some(tick);
                known.by_us = !enabled;
                if let Some(name) = name {
                    known.name = name.as_str().into();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The end of a run is no step that anybody could disturb.
    pub fn finish_at_once(&mut self, case: &Case, actor: usize) {
        let cx = self.context(case, actor);
        let who = &self.actors[actor];
        let run = who.run.as_ref().filter(|_| who.held.is_none());
        let next = run.map(|run| (**run).clone().step(&cx));
        if let Some(PruneCommand::Finish(result)) = next {
            self.end(actor, &result);
        }
    }

    /// Lets a daemon work alone and undisturbed on everything that the document has.
    pub fn settle(&mut self, case: &Case) {
        for token in self.work_of(0) {
            self.begin(case, 0, token);
            for _ in 0..STEPS {
                if self.actors[0].run.is_none() {
                    break;
                }
                let command = self.decide(case, 0);
                self.carry_out(case, 0, &command, Fault::None);
            }
            if self.actors[0].run.is_some() {
                self.broken = Some("a run does not end");
                return;
            }
        }
    }

    /// Effects that are under way come.
    pub fn land_all(&mut self, case: &Case) {
        for late in std::mem::take(&mut self.late) {
            let _ = self.act(case, &late);
        }
    }
}

/// A moment after the tick began.
pub fn moment(tick: u8) -> Timestamp {
    at(tick) + SignedDuration::from_mins(1)
}
