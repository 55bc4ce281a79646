//! The small world: one secret in Vault, one environment, one journal document, and the processes that work on them. Every command of the
//! shipped machine is carried out here in one piece; what can go wrong with it is a list of faults.
//!
//! Time is a number of ticks, and grace, quarantine and `settle` are one tick each. A tick passes only when no effect is still under way:
//! that is what `settle` promises. A suspended process is one that is simply not chosen for a while, however long.

mod dynatrace;
mod fault;
mod people;
mod process;
mod services;
mod setting;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use rotation::capabilities::Proof;
use rotation::command::{SecretSnapshot, TokenAction, ValueRef};
use rotation::marker::{Epoch, Marker};
use rotation::record::{Record, RetiringState, Work};
use rotation::request::{Listing, Now};
use rotation::token::{TokenId, TokenInfo, Traits};

pub use self::fault::{Fault, error};
pub use self::people::{Edit, Intervention};
pub use self::process::{Actor, Role, Start};
pub use self::setting::{Budget, Setting};
use super::cached::Cached;
use super::scenario::Scenario;

/// A token was disabled, or deleted where it cannot be disabled, that was current less than a grace ago.
pub const EARLY: &str = "P3: ended within its grace";
/// The length of a tick.
pub const TICK: Duration = Duration::from_secs(3600);
/// The number of the token that is in the secret at the start.
const FIRST: u8 = 0;
/// In a world with strangers: the current token of another secret of this installation, whose name bears that secret's marker.
pub const OTHER_SECRETS: u8 = 1;
/// In a world with strangers: a token that has nothing to do with dtrotate.
pub const STRANGERS: u8 = 2;
/// More open attempts than this are not explained by what went wrong.
const MOST_OPEN: usize = 6;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rights {
    /// What the token at the start may do.
    Ordinary,
    /// Something else.
    Different,
    /// Manage tokens.
    Managing,
}

/// A token of the environment. The last fields are what the checks remember of it.
#[derive(Clone, Debug, Hash)]
pub struct Token {
    pub name: Arc<str>,
    pub rights: Rights,
    pub enabled: bool,
    pub exists: bool,
    /// A listing shows it, and a delete finds it.
    pub visible: bool,
    /// dtrotate minted it.
    pub made: bool,
    /// A person disabled or deleted it, or put it into Vault when it was dead.
    pub spoiled: bool,
    /// It was in a version of the secret.
    pub stored: bool,
    /// The last tick in which it was the current value.
    pub current_at: Option<u8>,
    /// Since when it is disabled.
    pub disabled_at: Option<u8>,
    /// A person enabled it while a process was at work, which has not looked since.
    unseen: bool,
    /// When it expires.
    pub expires: Option<Timestamp>,
}

/// A version of the secret.
#[derive(Clone, Debug, Hash)]
pub struct Version {
    pub token: u8,
    pub deleted: bool,
    /// The value shows the token's id, but is not the token's.
    pub forged: bool,
    /// When it was written, in the order of all writes to Vault.
    index: u16,
}

/// An effect that is still under way, and nobody waits for it.
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

/// Everything.
#[derive(Clone, Debug, Hash)]
pub struct World {
    pub tick: u8,
    pub tokens: Vec<Token>,
    pub versions: Vec<Version>,
    pub journal: Option<Cached<Record>>,
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
    /// The journal document was edited, and what it knew may be lost.
    pub edited: bool,
    /// The last run found the document implausible: only a person can continue.
    pub implausible: bool,
    /// Another secret still holds the token at the start.
    pub is_held: bool,
    /// The token that a person ordered to be ended.
    pub revoked: Option<u8>,
    /// A rule was broken.
    pub broken: Option<&'static str>,
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

/// The due instants of the world are before everything else.
pub fn due(number: usize) -> Timestamp {
    Timestamp::UNIX_EPOCH - Duration::from_secs(10) + Duration::from_secs(number as u64)
}

fn value(token: u8) -> ValueRef {
    ValueRef {
        id: Some(id_of(token)),
        fingerprint: u64::from(token),
    }
}

/// The identity of the secret of this world.
pub fn epoch() -> Epoch {
    Epoch {
        installation: "i".into(),
        secret: "s".into(),
    }
}

/// The identity of another secret of the same installation.
fn other_epoch() -> Epoch {
    Epoch {
        secret: "o".into(),
        ..epoch()
    }
}

impl World {
    /// One token that a person made, recorded in the journal by a first, undisturbed run.
    pub fn new(setting: &Setting, scenario: &Scenario) -> World {
        let (daemons, budget) = (scenario.daemons, scenario.budget);
        let mut world = World {
            tick: 0,
            tokens: vec![],
            versions: vec![],
            journal: None,
            journal_version: 0,
            index: 0,
            actors: (0..daemons).map(|_| Actor::new(Role::Daemon)).collect(),
            late: vec![],
            budget: Budget::default(),
            served: vec![0; setting.dues.len()],
            undeleted: false,
            forgot: false,
            edited: false,
            implausible: false,
            broken: None,
            is_held: setting.shared,
            revoked: None,
        };
        let commands = [(scenario.undo, Role::Undo), (scenario.revoke, Role::Revoke)];
        let commands = commands.into_iter().filter(|(wanted, _)| *wanted);
        world
            .actors
            .extend(commands.map(|(_, role)| Actor::new(role)));
        if setting.create {
            world.budget = scenario.budget;
            return world;
        }
        let first = world.create("job", Rights::Ordinary, false);
        assert_eq!(first, FIRST);
        world.put(first, false);
        if setting.strangers {
            world.create("report [dtrotate:i.o.1]", Rights::Ordinary, false);
            world.create("dashboard", Rights::Different, false);
        }
        if setting.capabilities.proof == Proof::Listed {
            world.actors[0].role = Role::Adopt;
        }
        world.begin(setting, 0, None, Start::SETTLED);
        world.run_to_end(setting, 0);
        world.actors[0].role = Role::Daemon;
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

    fn create(&mut self, name: &str, rights: Rights, made: bool) -> u8 {
        self.tokens.push(Token {
            name: name.into(),
            rights,
            enabled: true,
            exists: true,
            visible: true,
            made,
            spoiled: false,
            stored: false,
            current_at: None,
            disabled_at: None,
            unseen: false,
            expires: None,
        });
        (self.tokens.len() - 1) as u8
    }

    fn put(&mut self, token: u8, forged: bool) {
        self.index += 1;
        self.versions.push(Version {
            token,
            deleted: false,
            forged,
            index: self.index,
        });
        self.note_current();
    }

    fn token(&mut self, number: u8) -> &mut Token {
        &mut self.tokens[usize::from(number)]
    }

    /// What the checks remember about the current value.
    pub fn note_current(&mut self) {
        if let Some(token) = self.current() {
            let tick = self.tick;
            let token = self.token(token);
            token.stored = true;
            token.current_at = Some(tick);
        }
    }

    /// The token whose value is in the latest version, if that is readable.
    pub fn current(&self) -> Option<u8> {
        let last = self.versions.last()?;
        (!last.deleted && !last.forged).then_some(last.token)
    }

    pub fn works(&self, token: u8) -> bool {
        let token = &self.tokens[usize::from(token)];
        token.exists && token.enabled && token.expires.is_none_or(|end| end > at(self.tick))
    }

    /// It bears this secret's marker: dtrotate minted it, or renamed it when it was to retire.
    pub fn is_ours(&self, token: u8) -> bool {
        let known = &self.tokens[usize::from(token)];
        Marker::of(&known.name, &epoch()).is_some() && (known.made || known.stored)
    }

    /// dtrotate did not make it, and it never was this secret's value; or it is another secret's current token (promise P9).
    pub fn is_foreign(&self, setting: &Setting, token: u8) -> bool {
        let known = &self.tokens[usize::from(token)];
        (!known.made && !known.stored) || (setting.strangers && token == OTHER_SECRETS)
    }

    // ---------------------------------------------------------------------------------------------------- for the mutations ---

    pub fn journal_version(&self) -> u64 {
        self.journal_version
    }

    /// What the process works on under its own claim.
    pub fn work(&self, actor: usize) -> Option<Work> {
        let claim = self.journal.as_ref()?.claim.as_ref()?;
        (claim.nonce == self.nonce(actor)).then(|| claim.work.clone())
    }

    /// A retirement is due.
    pub fn retires(&self) -> bool {
        let now = at(self.tick);
        let record = self.journal.as_ref();
        record.is_some_and(|record| record.retiring.iter().any(|entry| entry.due <= now))
    }

    /// The journal says that this token is in that state of its retirement.
    pub fn is_in(&self, token: &TokenId, state: RetiringState) -> bool {
        let record = self.journal.as_ref();
        let entry = record.and_then(|record| record.retiring(token));
        entry.is_some_and(|entry| entry.state == state)
    }

    // --------------------------------------------------------------------------------------------------- what can be read ---

    pub fn info(&self, token: u8) -> TokenInfo {
        let known = &self.tokens[usize::from(token)];
        let scopes = match known.rights {
            Rights::Ordinary => "metrics.read",
            Rights::Different => "logs.read",
            Rights::Managing => "apiTokens.write",
        };
        TokenInfo {
            id: id_of(token),
            name: known.name.to_string(),
            enabled: known.enabled,
            scopes: vec![scopes.into()],
            owner: None,
            personal: false,
            created: None,
            expires: known.expires,
            last_used: None,
            last_used_ip: None,
            traits: Traits::default(),
        }
    }

    /// Every token that bears a marker; of a kind that cannot be read by id, every token.
    pub fn listing(&self, setting: &Setting) -> Listing {
        let all = !setting.capabilities.read_by_id;
        let shown = (0..self.tokens.len() as u8).filter(|&token| {
            let known = &self.tokens[usize::from(token)];
            let marked = Marker::split(&known.name).1.is_some();
            known.exists && known.visible && (all || marked)
        });
        Listing {
            at: at(self.tick),
            tokens: Arc::new(shown.map(|token| self.info(token)).collect()),
        }
    }

    /// The secret as it was when `index` was the newest write.
    fn secret_at(&self, setting: &Setting, index: u16) -> SecretSnapshot {
        let then = self.versions.iter().take_while(|v| v.index <= index);
        self.snapshot(setting, then.count() as u64)
    }

    /// One version, unless the server pruned it.
    fn snapshot(&self, setting: &Setting, version: u64) -> SecretSnapshot {
        let pruned = version + setting.max_versions <= self.versions.len() as u64;
        let held = version.checked_sub(1).filter(|_| !pruned);
        match held.and_then(|n| self.versions.get(n as usize)) {
            None => SecretSnapshot::Absent,
            Some(Version { deleted: true, .. }) => SecretSnapshot::Deleted { version },
            Some(Version { token, forged, .. }) => {
                let mut value = value(*token);
                value.fingerprint += if *forged { 1000 } else { 0 };
                SecretSnapshot::Present {
                    version,
                    value: Some(value),
                    vacant: false,
                }
            }
        }
    }
}
