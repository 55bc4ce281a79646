//! The small world: one secret in Vault, one environment, one journal document, and the processes that work on them. Every command of the
//! shipped machine is carried out here in one piece; what can go wrong with it is a list of variants.
//!
//! Time is a number of ticks, and grace, quarantine and `settle` are one tick each. A tick passes only when no effect is still under way:
//! that is what `settle` promises. A frozen process is one that is simply not chosen for a while, however long.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use rotation::capabilities::Capabilities;
use rotation::command::{
    Command, Outcome, RunResult, SecretSnapshot, Source, TokenAction, ValueRef,
};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::{EventName, Level};
use rotation::machine::Run;
use rotation::marker::{Epoch, Marker};
use rotation::plan::{Coordinates, Kind, Lifetime, Plan, StillUsed};
use rotation::record::{Record, RetiringState, Trigger, Work};
use rotation::request::{
    ClaimObservation, Clock, Goal, Hints, Holder, JournalSnapshot, Known, Listing, Now,
    RotationRequest, RunEnv, RunRequest,
};
use rotation::token::{TokenId, TokenInfo};

use super::mutation::{Mutation, only_open};

/// A token was disabled that was current less than a grace ago.
pub const EARLY: &str = "P3: disabled within its grace";
/// The length of a tick.
pub const TICK: Duration = Duration::from_secs(3600);
/// The number of the token that stands in the secret at the start.
const FIRST: u8 = 0;

/// A token of the environment. The last fields are what the checks remember of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub name: Arc<str>,
    pub enabled: bool,
    pub exists: bool,
    /// A listing shows it, and a delete finds it.
    pub visible: bool,
    /// A person disabled or deleted it, or put it into Vault when it was dead.
    pub spoiled: bool,
    /// It stood in a version of the secret.
    pub stored: bool,
    /// The last tick in which it was the current value.
    pub current_at: Option<u8>,
    /// Since when it stands disabled.
    pub disabled_at: Option<u8>,
    /// A person enabled it while somebody was at work, who has not looked since.
    unseen: bool,
}

/// A version of the secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub token: u8,
    pub deleted: bool,
    /// When it was written, in the order of all writes to Vault.
    index: u16,
}

/// An effect that is still under way, and nobody waits for it any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Late {
    Mint(String),
    Store {
        base: u64,
        token: u8,
        due: Option<u8>,
    },
    Act(TokenAction, u8),
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A process looks for work. Left alone in the end, the world has as many looks as it wants.
    pub runs: u8,
    /// A process dies.
    pub crash: u8,
    /// A live claim is taken over.
    pub steal: u8,
    /// The effect happens, the answer is lost.
    pub lose: u8,
    /// The effect comes later than the time-out.
    pub late: u8,
    /// Nothing happens, and that is known.
    pub fail: u8,
    /// A read shows an older state, as far as the index of the reader allows.
    pub stale: u8,
    /// A new token is not visible for a while.
    pub hide: u8,
    /// A person does something.
    pub hand: u8,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    pub undo: bool,
    /// How many of its claims were left behind.
    lives: u8,
    known: Option<Arc<JournalSnapshot>>,
    pub run: Option<Arc<Run>>,
    /// The version that it read last, and what stood there.
    read: Option<(u64, u8)>,
    minted: Option<u8>,
    /// The newest state of Vault that it was shown.
    index: u16,
    /// The token with which it manages tokens, in a world where that is the secret itself.
    manager: Option<u8>,
    /// The due instant that it claimed last.
    due: Option<u8>,
    /// An undo is asked for once.
    pub asked: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tick: u8,
    pub tokens: Vec<Token>,
    pub versions: Vec<Version>,
    pub journal: Option<Arc<Record>>,
    journal_version: u64,
    index: u16,
    pub actors: Vec<Actor>,
    pub late: Vec<Late>,
    pub budget: Budget,
    /// How many stores were accepted for each due instant.
    pub served: Vec<u8>,
    /// A store was accepted on a deleted version, and nobody said so yet.
    pub undeleted: bool,
    /// The journal document was deleted, and with it what was served.
    pub forgot: bool,
    /// A rule was broken.
    pub broken: Option<&'static str>,
}

/// What does not change while a search goes on.
#[derive(Clone, Debug)]
pub struct Setting {
    pub dues: Vec<u8>,
    pub manages: bool,
    pub off: &'static [Mutation],
    pub capabilities: Capabilities,
    plan: Arc<Plan>,
}

impl Setting {
    pub fn new(dues: &[u8], manages: bool, off: &'static [Mutation]) -> Setting {
        let plan = Plan {
            name: "job".into(),
            coordinates: Coordinates {
                mount: "secret".into(),
                path: "job".into(),
                fields: vec!["token".into()],
                environment: "prod".into(),
                base_url: "https://prod".into(),
                kind: Kind::Api,
            },
            grace: TICK,
            max_grace: TICK * 8,
            quarantine: TICK,
            still_used: StillUsed::Hold,
            lifetime: Lifetime::Inherit,
            settle: TICK,
            claim_timeout: TICK,
            manages_tokens: manages,
        };
        Setting {
            dues: dues.to_vec(),
            manages,
            off,
            capabilities: Capabilities::API,
            plan: Arc::new(plan),
        }
    }
}

pub fn id_of(token: u8) -> TokenId {
    TokenId::new(format!("dt0c01.T{token}"))
}

fn number_of(id: &TokenId) -> u8 {
    let number = id.as_str().strip_prefix("dt0c01.T");
    number
        .and_then(|n| n.parse().ok())
        .expect("an id of this world")
}

pub fn at(tick: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH + TICK * u32::from(tick)
}

fn error(service: Service, kind: ErrorKind) -> CallError {
    CallError::new(service, kind, "as the search has it")
}

/// What can happen to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Good,
    Lost,
    Late,
    Failed,
    Stale,
    Hidden,
}

impl World {
    /// One token that a person made, recorded in the journal by a first, undisturbed look.
    pub fn new(setting: &Setting, daemons: usize, undo: bool, budget: Budget) -> World {
        let actor = |undo| Actor {
            undo,
            lives: 0,
            known: None,
            run: None,
            read: None,
            minted: None,
            index: 0,
            manager: None,
            due: None,
            asked: false,
        };
        let mut world = World {
            tick: 0,
            tokens: vec![],
            versions: vec![],
            journal: None,
            journal_version: 0,
            index: 0,
            actors: (0..daemons).map(|_| actor(false)).collect(),
            late: vec![],
            budget: Budget::default(),
            served: vec![0; setting.dues.len()],
            undeleted: false,
            forgot: false,
            broken: None,
        };
        world.actors.extend(undo.then(|| actor(true)));
        let first = world.create("job");
        assert_eq!(first, FIRST);
        world.put(first);
        world.begin(setting, 0, None, false, false);
        world.run_to_end(setting, 0);
        world.actors[0].known = None;
        world.budget = budget;
        world
    }

    pub fn now(&self) -> Now {
        Now {
            wall: at(self.tick),
            mono: TICK * 2 + TICK * u32::from(self.tick),
            dice: 0,
        }
    }

    fn create(&mut self, name: &str) -> u8 {
        self.tokens.push(Token {
            name: name.into(),
            enabled: true,
            exists: true,
            visible: true,
            spoiled: false,
            stored: false,
            current_at: None,
            disabled_at: None,
            unseen: false,
        });
        (self.tokens.len() - 1) as u8
    }

    fn put(&mut self, token: u8) {
        self.index += 1;
        self.versions.push(Version {
            token,
            deleted: false,
            index: self.index,
        });
        self.note_current();
    }

    /// What the checks remember about the current value.
    pub fn note_current(&mut self) {
        if let Some(token) = self.current() {
            let tick = self.tick;
            let token = &mut self.tokens[usize::from(token)];
            token.stored = true;
            token.current_at = Some(tick);
        }
    }

    /// The token in the latest version, if that is readable.
    pub fn current(&self) -> Option<u8> {
        let last = self.versions.last()?;
        (!last.deleted).then_some(last.token)
    }

    pub fn works(&self, token: u8) -> bool {
        let token = &self.tokens[usize::from(token)];
        token.exists && token.enabled
    }

    /// Its name bears our marker: dtrotate minted it, or renamed it when it was to retire.
    pub fn is_ours(&self, token: u8) -> bool {
        Marker::split(&self.tokens[usize::from(token)].name)
            .1
            .is_some()
    }

    // ------------------------------------------------------------------------------------------------------- what people do ---

    /// A person's new token.
    pub fn person_writes(&mut self) {
        // What was stored for a due instant is gone again: to serve it once more is no mistake.
        self.served.fill(0);
        let token = self.create("by hand");
        self.put(token);
    }

    pub fn person_puts_back(&mut self, token: u8) {
        if !self.works(token) && self.is_settled_dead(token) {
            self.tokens[usize::from(token)].spoiled = true;
        }
        self.served.fill(0);
        self.put(token);
    }

    /// Nobody could bring it back.
    fn is_settled_dead(&self, token: u8) -> bool {
        !self.tokens[usize::from(token)].exists
    }

    pub fn person_deletes_version(&mut self) {
        if let Some(last) = self.versions.last_mut() {
            last.deleted = true;
        }
    }

    pub fn person_sets(&mut self, token: u8, enabled: bool) {
        self.set_enabled(token, enabled);
        let busy = self.actors.iter().any(|actor| actor.run.is_some());
        let known = &mut self.tokens[usize::from(token)];
        known.spoiled |= !enabled;
        known.unseen = enabled && busy;
    }

    pub fn person_deletes_token(&mut self, token: u8) {
        let token = &mut self.tokens[usize::from(token)];
        token.exists = false;
        token.spoiled = true;
    }

    pub fn person_deletes_journal(&mut self) {
        // With it goes the knowledge of what was served.
        self.forgot = true;
        self.journal = None;
        self.journal_version += 1;
        self.index += 1;
    }

    // ---------------------------------------------------------------------------------------------------- for the mutations ---

    pub fn journal_version(&self) -> u64 {
        self.journal_version
    }

    /// As if the process had read the secret just now.
    pub fn refresh_read(&mut self, actor: usize) {
        let version = self.versions.len() as u64;
        if let Some(last) = self.versions.last() {
            self.actors[actor].read = Some((version, last.token));
        }
    }

    /// What the process works on under a claim of its own.
    pub fn work(&self, actor: usize) -> Option<Work> {
        let lives = self.actors[actor].lives;
        let claim = self.journal.as_ref()?.claim.as_ref()?;
        (claim.nonce == format!("d{actor}.{lives}")).then(|| claim.work.clone())
    }

    /// A retirement is due.
    pub fn retires(&self) -> bool {
        let now = at(self.tick);
        let record = self.journal.as_ref();
        record.is_some_and(|record| record.retiring.iter().any(|entry| entry.due <= now))
    }

    pub fn in_quarantine(&self, id: &TokenId) -> bool {
        let record = self.journal.as_ref();
        let entry = record.and_then(|record| record.retiring(id));
        entry.is_some_and(|entry| entry.state == RetiringState::Quarantine)
    }

    fn set_enabled(&mut self, token: u8, enabled: bool) {
        let tick = self.tick;
        let token = &mut self.tokens[usize::from(token)];
        token.enabled = enabled;
        token.disabled_at = match (enabled, token.disabled_at) {
            (true, _) => None,
            (false, since) => since.or(Some(tick)),
        };
    }

    // ------------------------------------------------------------------------------------------------------------- processes ---

    /// A due instant that nobody this process knows of has served.
    pub fn unserved(&self, setting: &Setting, actor: usize) -> Option<usize> {
        let last = self.actors[actor]
            .known
            .as_ref()
            .and_then(|known| known.record.as_ref()?.last_due);
        (0..setting.dues.len())
            .rev()
            .find(|&n| setting.dues[n] <= self.tick && last.is_none_or(|last| last < due(n)))
    }

    pub fn begin(
        &mut self,
        setting: &Setting,
        actor: usize,
        wish: Option<usize>,
        listing: bool,
        impatient: bool,
    ) {
        let listing = listing.then(|| match setting.off.contains(&Mutation::NoPrefix) {
            true => only_open(self, &self.listing()),
            false => self.listing(),
        });
        let version = self.journal_version;
        let mono = self.now().mono;
        let who = &mut self.actors[actor];
        let request = RunRequest {
            plan: setting.plan.clone(),
            holder: Holder {
                instance: format!("d{actor}"),
                boot: String::new(),
                is_daemon: !who.undo,
            },
            id: format!("d{actor}.{}", who.lives),
            goal: match (who.undo, wish) {
                (true, _) => Goal::Undo,
                (false, None) => Goal::Settle,
                (false, Some(n)) => Goal::Rotate(RotationRequest {
                    due: Some(due(n)),
                    trigger: Trigger::Schedule,
                    accept_recorded_rights: false,
                }),
            },
            dry_run: false,
            hints: Hints {
                reread_secret: listing.is_some(),
                recheck_token: listing.is_some(),
            },
            env: RunEnv {
                fresh_epoch: epoch(),
                capabilities: setting.capabilities,
                history: true,
                enabled: true,
                clock: Clock::Agrees,
                may_retire: true,
                current_tokens: Arc::default(),
                management_tokens: Arc::default(),
                epochs: Arc::default(),
                outage: None,
            },
            known: Known {
                journal: who.known.as_deref().cloned(),
                observation: Some(ClaimObservation {
                    version,
                    since: if impatient { Duration::ZERO } else { mono },
                }),
                listing,
            },
        };
        who.run = Some(Arc::new(Run::new(request)));
        who.read = None;
        who.minted = None;
    }

    /// The sweep reads the document again, since somebody else may have written it.
    pub fn look_back(&mut self, actor: usize) {
        let (version, who) = (self.journal_version, &mut self.actors[actor]);
        who.known = who.known.take().filter(|known| known.cas == version);
    }

    /// The journal says that this token is being deleted.
    pub fn is_deleting(&self, token: u8) -> bool {
        let entry = self
            .journal
            .as_ref()
            .and_then(|record| record.retiring(&id_of(token)));
        entry.is_some_and(|entry| entry.state == RetiringState::Deleting)
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
        let lives = self.actors[actor].lives;
        let mine = format!("d{actor}.{lives}");
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

    /// Lets a run go on alone and undisturbed.
    pub fn run_to_end(&mut self, setting: &Setting, actor: usize) {
        for _ in 0..400 {
            if self.actors[actor].run.is_none() {
                return;
            }
            let command = self.decide(setting, actor);
            self.carry_out(setting, actor, &command, Fate::Good);
        }
        self.broken = Some("a run does not end");
    }

    /// Steps that nobody else can see or disturb are taken at once: the order among them does not matter.
    pub fn go_on_alone(&mut self, setting: &Setting, actor: usize) {
        while let Some(run) = &self.actors[actor].run {
            let now = self.now();
            let next = (**run).clone().step(now);
            if !matches!(
                next,
                Command::Wait(_) | Command::ProveReachable | Command::Finish(_)
            ) {
                return;
            }
            let command = self.decide(setting, actor);
            self.carry_out(setting, actor, &command, Fate::Good);
        }
    }

    /// A look without a wish would find something: what a daemon's alarms and its sweep tell it.
    pub fn has_work(&self, actor: usize) -> bool {
        let Some(record) = &self.journal else {
            return true;
        };
        let current = self.current();
        let unknown = (0..self.tokens.len() as u8).any(|token| {
            let id = id_of(token);
            let known = record.is_current(&id) || record.retiring(&id).is_some();
            self.is_ours(token) && self.tokens[usize::from(token)].exists && !known
        });
        let known = self.actors[actor].known.is_some();
        record.claim.is_some()
            || unknown
            || !known
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
        let command = Arc::make_mut(run).step(now);
        self.hear(actor);
        let off = setting.off.iter();
        off.fold(command, |command, rule| rule.command(self, actor, command))
    }

    fn hear(&mut self, actor: usize) {
        let Some(run) = &mut self.actors[actor].run else {
            return;
        };
        for report in Arc::make_mut(run).take_reports() {
            if report.event == EventName::SecretChangedElsewhere && report.level == Level::Error {
                self.undeleted = false;
            }
        }
    }

    /// The fates that this command can have, beside the good one.
    pub fn fates(&self, command: &Command) -> Vec<Fate> {
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
        let outside = !matches!(command, Command::Wait(_) | Command::Finish(_));
        let budget = &self.budget;
        let mut fates = vec![];
        fates.extend((effect && budget.lose > 0).then_some(Fate::Lost));
        fates.extend((lasting && budget.late > 0).then_some(Fate::Late));
        fates.extend((outside && budget.fail > 0).then_some(Fate::Failed));
        fates.extend((read && budget.stale > 0).then_some(Fate::Stale));
        let minting = matches!(command, Command::Mint(_));
        fates.extend((minting && budget.hide > 0).then_some(Fate::Hidden));
        fates
    }

    /// Carries a command out and hands the run what came of it.
    pub fn carry_out(&mut self, setting: &Setting, actor: usize, command: &Command, fate: Fate) {
        match fate {
            Fate::Good => {}
            Fate::Lost => self.budget.lose -= 1,
            Fate::Late => self.budget.late -= 1,
            Fate::Failed => self.budget.fail -= 1,
            Fate::Stale => self.budget.stale -= 1,
            Fate::Hidden => self.budget.hide -= 1,
        }
        if let Command::Finish(result) = command {
            if setting.manages {
                self.actors[actor].manager = None;
            }
            return self.end(actor, result);
        }
        let service = match command {
            Command::ReadJournal
            | Command::WriteJournal { .. }
            | Command::ReadSecret
            | Command::ConfirmSecret
            | Command::ReadVersion(_)
            | Command::Store { .. }
            | Command::Fence { .. } => Service::Vault,
            _ => Service::Dynatrace,
        };
        let (effect, instead) = match fate {
            Fate::Failed => (false, Some(error(service, ErrorKind::Transient))),
            Fate::Late => {
                self.postpone(actor, command);
                (false, Some(error(service, ErrorKind::Unclear)))
            }
            Fate::Lost => (true, Some(error(service, ErrorKind::Unclear))),
            Fate::Good | Fate::Stale | Fate::Hidden => (true, None),
        };
        let barred = (setting.manages && effect).then(|| self.authenticate(actor, command));
        let done = effect.then(|| match barred.flatten() {
            Some(kind) => failed(command, error(service, kind)),
            None => self.perform(setting, actor, command, fate),
        });
        let outcome = match instead {
            Some(error) => failed(command, error),
            None => done.expect("it was performed"),
        };
        let off = setting.off.iter();
        let outcome = off.fold(outcome, |outcome, rule| {
            rule.outcome(self, actor, command, outcome)
        });
        let now = self.now();
        if let Some(run) = self.actors[actor].run.as_mut().map(Arc::make_mut) {
            run.learn(command, outcome, now);
            run.forget_history();
        }
        self.hear(actor);
    }

    /// In a world where the secret is the management token: what the environment says to a call with the token that this process has. A refused
    /// one is read again, once.
    fn authenticate(&mut self, actor: usize, command: &Command) -> Option<ErrorKind> {
        let target = match command {
            Command::Change(TokenAction::Disable | TokenAction::Delete, id) => Some(number_of(id)),
            Command::Change(TokenAction::Enable, _)
            | Command::LookUpValue
            | Command::LookUpVersion(_)
            | Command::LookUp(_)
            | Command::Change(TokenAction::Rename(_), _)
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

    fn end(&mut self, actor: usize, result: &RunResult) {
        self.leave(actor);
        let who = &mut self.actors[actor];
        let run = who.run.take();
        who.known = match result {
            RunResult::JournalUnreadable(_) => None,
            _ => run.and_then(|run| run.journal().cloned()).map(Arc::new),
        };
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

    /// The token whose value the process is to store.
    fn candidate(&self, actor: usize, source: Source) -> Option<u8> {
        match source {
            Source::Minted => self.actors[actor].minted,
            Source::Version(version) => {
                Some(self.versions.get((version as usize).checked_sub(1)?)?.token)
            }
        }
    }

    /// A late effect comes after all.
    pub fn land(&mut self, late: &Late) {
        match late {
            Late::Mint(name) => {
                self.create(name);
            }
            Late::Store { base, token, due } => {
                let _ = self.store(*base, *token, *due);
            }
            Late::Act(act, token) => {
                let _ = self.act(act, *token);
            }
        }
    }

    fn store(&mut self, base: u64, token: u8, due: Option<u8>) -> Result<u64, CallError> {
        if base != self.versions.len() as u64 {
            return Err(error(Service::Vault, ErrorKind::Conflict));
        }
        self.undeleted |= self.versions.last().is_some_and(|last| last.deleted);
        let replaced = self.versions.last().map(|last| last.token);
        let known =
            |record: &Arc<Record>| replaced.is_none_or(|old| record.is_current(&id_of(old)));
        if replaced != Some(token) && !self.journal.as_ref().is_none_or(known) {
            self.broken = Some("P4: a value that nobody took note of was overwritten");
        }
        self.put(token);
        if let Some(due) = due {
            self.served[usize::from(due)] += 1;
        }
        Ok(self.versions.len() as u64)
    }

    fn act(&mut self, act: &TokenAction, token: u8) -> Result<(), CallError> {
        let known = &self.tokens[usize::from(token)];
        if !known.exists || !known.visible {
            return Err(error(Service::Dynatrace, ErrorKind::Gone));
        }
        let (stored, current_at, disabled_at) = (known.stored, known.current_at, known.disabled_at);
        match act {
            TokenAction::Enable => self.set_enabled(token, true),
            TokenAction::Rename(name) => {
                self.tokens[usize::from(token)].name = name.as_str().into()
            }
            TokenAction::Disable => {
                let early = current_at.is_some_and(|at| self.tick < at + 1);
                if early && known.enabled && !known.spoiled {
                    self.broken = Some(EARLY);
                }
                self.set_enabled(token, false);
            }
            TokenAction::Delete => {
                let quiet = disabled_at.is_some_and(|at| self.tick > at);
                if stored && !quiet && !known.spoiled && !known.unseen {
                    self.broken = Some("P3: deleted without its quarantine");
                }
                // Put back between the check and the deletion of a token whose quarantine is over: lost, and nothing can prevent it.
                let put_back = self.current() == Some(token);
                let token = &mut self.tokens[usize::from(token)];
                token.exists = false;
                token.spoiled |= put_back;
            }
        }
        Ok(())
    }

    fn info(&self, token: u8) -> TokenInfo {
        let known = &self.tokens[usize::from(token)];
        TokenInfo {
            id: id_of(token),
            name: known.name.to_string(),
            enabled: known.enabled,
            scopes: vec!["metrics.read".into()],
            owner: None,
            personal: false,
            created: None,
            expires: None,
            last_used: None,
            last_used_ip: None,
        }
    }

    fn look_up(&self, token: u8) -> Result<TokenInfo, CallError> {
        if self.tokens[usize::from(token)].exists {
            Ok(self.info(token))
        } else {
            Err(error(Service::Dynatrace, ErrorKind::Gone))
        }
    }

    pub fn listing(&self) -> Listing {
        let shown = (0..self.tokens.len() as u8).filter(|&token| {
            let known = &self.tokens[usize::from(token)];
            known.exists && known.visible && self.is_ours(token)
        });
        Listing {
            at: at(self.tick),
            tokens: Arc::new(shown.map(|token| self.info(token)).collect()),
        }
    }

    /// The secret as it was when `index` was the newest write.
    fn secret_at(&self, index: u16) -> SecretSnapshot {
        let then = self
            .versions
            .iter()
            .take_while(|v| v.index <= index)
            .count();
        self.seen(then as u64)
    }

    fn seen(&self, version: u64) -> SecretSnapshot {
        match version
            .checked_sub(1)
            .and_then(|n| self.versions.get(n as usize))
        {
            None => SecretSnapshot::Absent,
            Some(Version { deleted: true, .. }) => SecretSnapshot::Deleted { version },
            Some(Version { token, .. }) => SecretSnapshot::Present {
                version,
                value: Some(value(*token)),
            },
        }
    }

    fn perform(
        &mut self,
        setting: &Setting,
        actor: usize,
        command: &Command,
        fate: Fate,
    ) -> Outcome {
        match command {
            Command::ReadJournal => {
                self.actors[actor].index = self.index;
                Outcome::Journal(Ok(Ok(JournalSnapshot {
                    cas: self.journal_version,
                    record: self.journal.as_deref().cloned().map(Box::new),
                })))
            }
            Command::WriteJournal { cas, record } => {
                if *cas != self.journal_version {
                    return Outcome::Written(Err(error(Service::Vault, ErrorKind::Conflict)));
                }
                let disabling = record.claim.as_ref();
                let disabling = disabling.is_some_and(|c| matches!(c.work, Work::Disable { .. }));
                if disabling && setting.off.contains(&Mutation::NoRetireClaim) {
                    return Outcome::Written(Ok(self.journal_version));
                }
                self.index += 1;
                self.journal_version += 1;
                self.actors[actor].index = self.index;
                self.actors[actor].due =
                    claimed_due(record).filter(|n| usize::from(*n) < self.served.len());
                let mut record = (**record).clone();
                record.forget_history();
                setting.off.iter().for_each(|rule| rule.record(&mut record));
                self.journal = Some(Arc::new(record));
                Outcome::Written(Ok(self.journal_version))
            }
            Command::ReadSecret => {
                let index = match fate {
                    Fate::Stale => self.actors[actor].index,
                    _ => self.index,
                };
                let seen = self.secret_at(index);
                self.actors[actor].read = match &seen {
                    SecretSnapshot::Present { version, .. } => {
                        Some((*version, self.versions[(*version - 1) as usize].token))
                    }
                    _ => self.actors[actor].read,
                };
                Outcome::Secret(Ok(seen))
            }
            Command::ReadVersion(version) => Outcome::Version(Ok(self.seen(*version))),
            Command::ConfirmSecret => Outcome::Confirmed(Ok(self.secret_at(match fate {
                Fate::Stale => self.actors[actor].index,
                _ => self.index,
            }))),
            Command::LookUpValue => Outcome::Value(match self.actors[actor].read {
                Some((_, token)) => self.look_up(token),
                None => Err(error(Service::Vault, ErrorKind::Transient)),
            }),
            Command::LookUpVersion(version) => {
                let held = self.versions.get((*version as usize).wrapping_sub(1));
                Outcome::VersionValue(match held.filter(|held| !held.deleted) {
                    Some(held) => self.look_up(held.token),
                    None => Err(error(Service::Vault, ErrorKind::Refused)),
                })
            }
            Command::LookUp(id) => {
                let token = number_of(id);
                self.tokens[usize::from(token)].unseen = false;
                Outcome::Token(self.look_up(token))
            }
            Command::Mint(order) => {
                let token = self.create(&order.name);
                self.tokens[usize::from(token)].visible = fate != Fate::Hidden;
                self.actors[actor].minted = Some(token);
                Outcome::Minted(Ok(value(token)))
            }
            Command::Verify(source) => {
                let token = self.candidate(actor, *source);
                Outcome::Verified(match token.filter(|token| self.works(*token)) {
                    Some(token) => self.look_up(token),
                    None => Err(error(Service::Dynatrace, ErrorKind::Refused)),
                })
            }
            Command::ProveManager(enabled) => {
                let minted = self.actors[actor].minted;
                Outcome::ManagerProven(match enabled {
                    _ if !minted.is_some_and(|token| self.works(token)) => {
                        Err(error(Service::Dynatrace, ErrorKind::Refused))
                    }
                    Some(id) => self.act(&TokenAction::Enable, number_of(id)),
                    None => Ok(()),
                })
            }
            Command::Store { base, source } => {
                let candidate = self.candidate(actor, *source);
                let who = &self.actors[actor];
                let due = who.due.filter(|_| *source == Source::Minted);
                let stored = match (who.read, candidate) {
                    (Some((version, _)), Some(token)) if version == *base => {
                        self.store(*base, token, due)
                    }
                    _ => Err(error(Service::Vault, ErrorKind::Transient)),
                };
                self.actors[actor].index = self.index;
                Outcome::Stored(stored)
            }
            Command::Fence { base } => Outcome::Fenced(match self.actors[actor].read {
                Some((version, token)) if version == *base => self.store(*base, token, None),
                _ => Err(error(Service::Vault, ErrorKind::Transient)),
            }),
            Command::Change(action, id) => Outcome::Changed(self.act(action, number_of(id))),
            Command::List => Outcome::Listed(Ok(self.listing())),
            Command::ProveReachable => Outcome::Reachable(Ok(())),
            Command::Wait(_) | Command::Finish(_) => Outcome::Waited,
        }
    }
}

/// The due instants of the world are before everything else.
pub fn due(number: usize) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(1 + number as u64)
}

fn value(token: u8) -> ValueRef {
    ValueRef {
        id: Some(id_of(token)),
        fingerprint: u64::from(token),
    }
}

fn claimed_due(record: &Record) -> Option<u8> {
    let Work::Rotate { due: instant, .. } = &record.claim.as_ref()?.work else {
        return None;
    };
    let instant = (*instant)?;
    (0..u8::MAX).find(|&n| due(usize::from(n)) == instant)
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

/// The identity of the secret of this world.
pub fn epoch() -> Epoch {
    Epoch {
        installation: "i".into(),
        secret: "s".into(),
    }
}
