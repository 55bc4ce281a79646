//! What each command does at the services, and their answers.

use rotation::capabilities::Proof;
use rotation::command::{Command, Outcome, SecretSnapshot, Source, TokenAction};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::request::JournalSnapshot;
use rotation::token::{TokenInfo, Trial};

use super::super::mutation::Mutation;
use super::fault::error;
use super::{Fault, Setting, World, id_of, number_of, value};

impl World {
    /// What making sure of a value says: without a proof by look-up, the value must work.
    fn prove(&self, setting: &Setting, token: u8) -> Result<TokenInfo, CallError> {
        let proven = match setting.capabilities.proof {
            Proof::Itself => true,
            Proof::Probe => self.works(token),
            Proof::Listed => false,
        };
        match proven {
            true => self.look_up(token),
            false => Err(error(Service::Dynatrace, ErrorKind::Refused)),
        }
    }

    /// Carries out a command of this process and answers it.
    pub(super) fn perform(
        &mut self,
        setting: &Setting,
        actor: usize,
        command: &Command,
        fault: Fault,
    ) -> Outcome {
        if let Some(why) = beyond(setting, command) {
            self.broken = Some(why);
        }
        let swapped = match fault {
            Fault::Swapped(token) => Some(token),
            _ => None,
        };
        match command {
            Command::ReadJournal => {
                self.actors[actor].index = self.index;
                Outcome::Journal(Ok(Ok(JournalSnapshot {
                    cas: self.journal_version,
                    record: self.journal.as_deref().cloned().map(Box::new),
                })))
            }
            Command::WriteJournal { cas, record } => {
                Outcome::Written(self.write_journal(setting, actor, *cas, record))
            }
            Command::ReadSecret => Outcome::Secret(Ok(self.read_secret(setting, actor, fault))),
            Command::ConfirmSecret => {
                let first = self.last_read(actor);
                let first = first.filter(|_| setting.off.contains(&Mutation::NoSecondLook));
                Outcome::Confirmed(Ok(match first {
                    Some(first) => first,
                    None => self.read_secret(setting, actor, fault),
                }))
            }
            Command::ReadVersion(version) => {
                let mut read = self.snapshot(setting, *version);
                if let SecretSnapshot::Present { value: held, .. } = &mut read {
                    *held = swapped.map(value).or(held.take());
                }
                Outcome::Version(Ok(read))
            }
            Command::LookUpValue => Outcome::Value(match (swapped, self.actors[actor].read) {
                (Some(other), Some(_)) => Ok(self.info(other)),
                (None, Some(read))
                    if !read.forged || setting.capabilities.proof != Proof::Itself =>
                {
                    self.look_up(read.token)
                }
                (None, Some(_)) => Err(error(Service::Dynatrace, ErrorKind::Gone)),
                (_, None) => Err(error(Service::Vault, ErrorKind::Transient)),
            }),
            Command::TryValue => Outcome::ValueTried(match self.actors[actor].read {
                Some(read) if !read.forged => self.prove(setting, read.token),
                _ => Err(error(Service::Dynatrace, ErrorKind::Refused)),
            }),
            Command::LookUpVersion(version) => Outcome::VersionValue({
                let readable = matches!(
                    self.snapshot(setting, *version),
                    SecretSnapshot::Present { .. }
                );
                match (swapped, self.candidate(actor, Source::Version(*version))) {
                    _ if !readable => Err(error(Service::Vault, ErrorKind::Refused)),
                    (Some(other), _) => Ok(self.info(other)),
                    (None, Some(token)) => self.prove(setting, token),
                    (None, None) => Err(error(Service::Dynatrace, ErrorKind::Gone)),
                }
            }),
            Command::LookUp(id) => {
                let token = number_of(id);
                self.token(token).unseen = false;
                Outcome::Token(match swapped {
                    Some(other) => Ok(self.info(other)),
                    None => self.look_up(token),
                })
            }
            Command::Mint(order) => {
                let token = self.mint(setting, order, fault != Fault::Hidden);
                let answered = swapped.unwrap_or(token);
                self.actors[actor].minted = Some(answered);
                Outcome::Minted(Ok(value(answered)))
            }
            Command::Verify(source) => {
                let token = self.readable_candidate(setting, actor, *source);
                Outcome::Verified(
                    match (swapped, token.filter(|token| self.works(*token))) {
                        (Some(other), _) => Ok(self.info(other)),
                        (None, Some(token)) => self.look_up(token),
                        (None, None) => Err(error(Service::Dynatrace, ErrorKind::Refused)),
                    }
                    .map(|token| Trial {
                        token,
                        proven: setting.capabilities.proof != Proof::Listed,
                    }),
                )
            }
            Command::ProveManager(enabled) => {
                let minted = self.actors[actor].minted;
                Outcome::ManagerProven(match enabled {
                    _ if !minted.is_some_and(|token| self.works(token)) => {
                        Err(error(Service::Dynatrace, ErrorKind::Refused))
                    }
                    Some(id) => self.act(setting, &TokenAction::Enable, number_of(id)),
                    None => Ok(()),
                })
            }
            Command::Store { base, source } => {
                let candidate = self.readable_candidate(setting, actor, *source);
                let who = &self.actors[actor];
                let due = who.due.filter(|_| *source == Source::Minted);
                let stored = match (who.read, candidate) {
                    (Some(read), Some(token)) if read.version == *base => {
                        self.store_map(setting, read, token, due)
                    }
                    _ => Err(error(Service::Vault, ErrorKind::Transient)),
                };
                self.actors[actor].index = self.index;
                Outcome::Stored(stored)
            }
            Command::Fence { base } => Outcome::Fenced(match self.actors[actor].read {
                Some(read) if read.version == *base => {
                    self.store_map(setting, read, read.token, None)
                }
                _ => Err(error(Service::Vault, ErrorKind::Transient)),
            }),
            Command::Change(action, id) => {
                Outcome::Changed(self.act(setting, action, number_of(id)))
            }
            Command::List => {
                let mut listing = self.listing(setting);
                if let Fault::Partial(token) = fault {
                    std::sync::Arc::make_mut(&mut listing.tokens)
                        .retain(|info| info.id != id_of(token));
                }
                let off = setting.off.iter();
                let listing = off.fold(listing, |listing, rule| rule.listing(self, listing));
                Outcome::Listed(Ok(listing))
            }
            Command::ProveReachable => Outcome::Reachable(Ok(())),
            Command::Wait(_) | Command::Finish(_) => Outcome::Waited,
        }
    }
}

/// The command asks for what this kind of token cannot do.
fn beyond(setting: &Setting, command: &Command) -> Option<&'static str> {
    let can = &setting.capabilities;
    match command {
        Command::Change(TokenAction::Disable | TokenAction::Enable, _) if !can.disable => {
            Some("a kind that cannot be disabled was to be disabled or enabled")
        }
        Command::LookUp(_) if !can.read_by_id => {
            Some("a kind that cannot be read by id was read by id")
        }
        Command::Change(TokenAction::Redate(_), _) if !can.redate => {
            Some("a kind that cannot be re-dated was re-dated")
        }
        Command::TryValue if can.proof == Proof::Itself => {
            Some("a value that proves itself by a look-up was tried")
        }
        Command::TryValue | Command::LookUpVersion(_) if can.proof == Proof::Listed => {
            Some("a value that nothing proves was tried")
        }
        Command::Change(TokenAction::Rename(_), _) if !can.rename => {
            Some("a kind that cannot be renamed was renamed")
        }
        _ => None,
    }
}
