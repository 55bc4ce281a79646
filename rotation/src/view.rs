//! What a run knows of the secret, its tokens and the listing, and the one rule that says which of it an action voids.

use std::collections::{BTreeMap, BTreeSet};

use super::capabilities::Proof;
use super::command::{Command, Outcome, SecretSnapshot, TokenAction, ValueRef};
use super::error::{ErrorKind, Result};
pub use super::lookup::Lookup;
use super::lookup::{Reading, lookup, reads_disagree, unconfirmed};
use super::record::Record;
use super::request::Listing;
use super::token::TokenId;

/// A fact, or the command that finds it out.
pub type Fact<T> = std::result::Result<T, Command>;

/// Second reads in a row that differ from the one before, until the run gives up. A node that lags behind differs once.
const DISAGREEMENTS: u32 = 8;
/// A run whose fences fail more often than this leaves the secret for later.
const FENCES: u32 = 3;

/// What is known. A fact that is not known is `None`; its accessor asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    secret: Option<Reading<SecretSnapshot>>,
    /// How many second reads in a row differed from the one before.
    disagreements: u32,
    /// What proves whose a value is.
    proof: Proof,
    /// The look-up of the value in `secret`.
    value: Option<Reading<Lookup>>,
    /// Trying that value proved that it is the token whose id it shows.
    value_is_proven: Option<bool>,
    /// Older versions of the secret; they do not change, except by being deleted.
    versions: BTreeMap<u64, Reading<SecretSnapshot>>,
    /// The look-ups of the values of older versions.
    version_values: BTreeMap<u64, Reading<Lookup>>,
    /// The look-ups of tokens by id. A decision may depend on several of them, and what a failed one means is its business: it need not
    /// concern any other token.
    tokens: BTreeMap<TokenId, Result<Lookup>>,
    listing: Option<Listing>,
    /// The listing was taken in this run, after the last action that can have changed it.
    listing_is_current: bool,
    /// The environment answered in this run for a token that exists, so its 404 is trusted.
    not_found_trusted: bool,
    /// The outcome of the last change of a token.
    changed: Option<(TokenAction, TokenId, Result<()>)>,
    /// The current value was looked up at least once in this run.
    value_was_checked: bool,
    /// Tokens whose value was read from this secret in this run and looked up.
    proven_values: BTreeSet<TokenId>,
    /// The same of values that were read from a numbered version: the only proof where versions are kept.
    proven_versions: BTreeSet<TokenId>,
    /// Tokens that this run tried to rename.
    renames: BTreeSet<TokenId>,
    /// Tokens whose expiry this run moved.
    redates: BTreeSet<TokenId>,
    /// Fences of this run that failed.
    failed_fences: u32,
}

/// What an action may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A write of the secret.
    Secret,
    /// A change of a token. The secret is read again as well: what is done next depends on where the token is by then.
    Token,
    /// An acknowledged write of our journal document: what was found out before the claim is found out again under it.
    Journal,
    /// The claim was lost, or another view of the secret is asked for.
    All,
}

impl View {
    /// What is known before the first call.
    pub fn new(listing: Option<Listing>, proof: Proof) -> Self {
        View {
            listing,
            proof,
            ..View::default()
        }
    }

    /// The one rule of what an action voids.
    pub fn void(&mut self, effect: Effect) {
        if effect != Effect::Journal {
            self.secret = None;
            self.value = None;
            self.value_is_proven = None;
        }
        if effect != Effect::Secret {
            self.tokens.clear();
            self.listing_is_current = false;
        }
        if matches!(effect, Effect::Journal | Effect::All) {
            self.changed = None;
        }
    }

    /// Takes the outcome of a command.
    ///
    /// # Errors
    /// It failed, and no rule here covers that.
    pub fn learn(&mut self, command: &Command, outcome: Outcome) -> Result<()> {
        match (command, outcome) {
            (_, Outcome::Secret(read) | Outcome::Confirmed(read)) => self.secret_read(read?)?,
            (Command::ReadVersion(version), Outcome::Version(read)) => {
                // Not readable is the same as not there: it proves nothing.
                let read = unless_refused(read, SecretSnapshot::Absent)?;
                let reading = Reading::after(self.versions.get(version), read);
                self.versions.insert(*version, reading);
            }
            (_, Outcome::Value(info)) => {
                let found = lookup(self.shown_by_value(), info)?;
                self.value = Some(Reading::after(self.value.as_ref(), found));
                if let Some(counted) = self.known_value() {
                    let proven = counted.found().map(|info| info.id.clone());
                    // A 404 that cannot be trusted yet is asked for again.
                    self.value_was_checked |= proven.is_some() || self.not_found_trusted;
                    self.proven_values
                        .extend(proven.filter(|_| self.proof == Proof::Itself));
                }
            }
            (_, Outcome::ValueTried(tried)) => {
                let proven = match tried {
                    Ok(info) => self.shown_by_value() == Some(&info.id),
                    Err(error) if matches!(error.kind, ErrorKind::Refused | ErrorKind::Gone) => {
                        false
                    }
                    Err(error) => return Err(error),
                };
                self.value_is_proven = Some(proven);
                let shown = self.shown_by_value().cloned();
                self.proven_values.extend(shown.filter(|_| proven));
            }
            (Command::LookUpVersion(version), Outcome::VersionValue(info)) => {
                let found = lookup(self.shown_by_version(*version), info);
                // A value that cannot be looked up proves nothing.
                let found = unless_refused(found, Lookup::NotFound)?;
                let reading = Reading::after(self.version_values.get(version), found);
                self.version_values.insert(*version, reading);
                let counted = self.version_value(*version).ok();
                let proven = counted.and_then(Lookup::found).map(|info| info.id.clone());
                self.proven_versions.extend(proven);
            }
            (Command::LookUp(id), Outcome::Token(info)) => {
                let found = match lookup(Some(id), info) {
                    Err(error) if error.kind == ErrorKind::Unauthorized => return Err(error),
                    found => found,
                };
                self.tokens.insert(id.clone(), found);
            }
            (Command::Change(action, id), Outcome::Changed(done)) => {
                self.void(Effect::Token);
                match action {
                    TokenAction::Rename(_) => drop(self.renames.insert(id.clone())),
                    TokenAction::Redate(_) if done.is_ok() => drop(self.redates.insert(id.clone())),
                    _ => {}
                }
                self.changed = Some((action.clone(), id.clone(), done));
            }
            (_, Outcome::Stored(_)) => self.void(Effect::Secret),
            (_, Outcome::Fenced(fenced)) => {
                self.void(Effect::Secret);
                self.fenced(fenced)?;
            }
            (_, Outcome::Listed(listing)) => {
                self.listing = Some(listing?);
                self.listing_is_current = true;
            }
            (_, Outcome::Reachable(answered)) => {
                answered.map_err(unconfirmed)?;
                // Now that its 404 can be trusted, it must say it again: a single one is never enough.
                self.not_found_trusted = true;
                self.void_not_found();
            }
            _ => {}
        }
        Ok(())
    }

    fn secret_read(&mut self, read: SecretSnapshot) -> Result<()> {
        let is_first = self.secret.is_none();
        let reading = Reading::after(self.secret.as_ref(), read);
        if reading.repeated {
            self.disagreements = 0;
        } else {
            self.disagreements += u32::from(!is_first);
            self.value = None;
            self.value_is_proven = None;
        }
        self.secret = Some(reading);
        match self.disagreements < DISAGREEMENTS {
            true => Ok(()),
            false => Err(reads_disagree()),
        }
    }

    /// A fence that did not match, or whose outcome is unclear, is settled by the next read of the secret.
    fn fenced(&mut self, fenced: Result<u64>) -> Result<()> {
        let Err(mut error) = fenced else {
            return Ok(());
        };
        self.failed_fences += 1;
        let is_settled = matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unclear);
        if is_settled && self.failed_fences < FENCES {
            return Ok(());
        }
        if error.kind == ErrorKind::Conflict {
            error.kind = ErrorKind::Transient;
        }
        Err(error)
    }

    /// The id that the value last read shows; none = it shows none.
    fn shown_by_value(&self) -> Option<&TokenId> {
        self.known_secret().and_then(SecretSnapshot::id)
    }

    /// The same of an older version.
    fn shown_by_version(&self, version: u64) -> Option<&TokenId> {
        self.version(version).ok().and_then(SecretSnapshot::id)
    }

    fn void_not_found(&mut self) {
        self.value = self.value.take().filter(|it| it.last != Lookup::NotFound);
        self.tokens
            .retain(|_, lookup| *lookup != Ok(Lookup::NotFound));
        self.changed = None;
    }

    /// The secret, if it was read in this run.
    pub fn known_secret(&self) -> Option<&SecretSnapshot> {
        self.secret.as_ref().map(|reading| &reading.last)
    }

    /// The secret as it is. A value that is not the recorded current token counts only when a second read over another connection
    /// equals it (rule A10).
    pub fn secret(&self, record: &Record) -> Fact<&SecretSnapshot> {
        let Some(Reading { last, repeated }) = &self.secret else {
            return Err(Command::ReadSecret);
        };
        if *repeated || last.id().is_some_and(|id| record.is_current(id)) {
            Ok(last)
        } else {
            Err(Command::ConfirmSecret)
        }
    }

    /// The look-up of the value in the secret. "Not found" is returned only when it can be trusted.
    pub fn value(&self) -> Fact<&Lookup> {
        match self.known_value() {
            None => Err(Command::LookUpValue),
            Some(Lookup::NotFound) if !self.not_found_trusted => Err(Command::ProveReachable),
            Some(lookup) => Ok(lookup),
        }
    }

    /// The look-up of the value, if there is one that counts.
    pub fn known_value(&self) -> Option<&Lookup> {
        self.value.as_ref()?.counted(self.shown_by_value())
    }

    /// The value in the secret is proven to be the token whose id it shows.
    pub fn value_is_proven(&self) -> Fact<bool> {
        match self.proof {
            Proof::Itself => Ok(true),
            Proof::Probe => self.value_is_proven.ok_or(Command::TryValue),
            Proof::Listed => Ok(false),
        }
    }

    /// The id of the token in the secret; none = there is no value, or one that the environment does not know. A value that does not show its
    /// id is looked up.
    pub fn held(&self, record: &Record) -> Fact<Option<&TokenId>> {
        match self.secret(record)?.value() {
            None => Ok(None),
            Some(ValueRef { id: Some(id), .. }) => Ok(Some(id)),
            Some(ValueRef { id: None, .. }) => Ok(self.value()?.found().map(|info| &info.id)),
        }
    }

    /// The current value was looked up at least once in this run.
    pub fn value_was_checked(&self) -> bool {
        self.value_was_checked
    }

    /// One version of the secret. Tokens are ended by what it says, so it counts only when a second read equals it (rule A10).
    pub fn version(&self, version: u64) -> Fact<&SecretSnapshot> {
        match (self.versions.get(&version), self.known_secret()) {
            (Some(reading), _) if reading.repeated => Ok(&reading.last),
            (_, Some(latest)) if latest.version() == version && version > 0 => Ok(latest),
            _ => Err(Command::ReadVersion(version)),
        }
    }

    /// The secret is at another place now: its versions are others. What was proven stays proven.
    pub fn relocate(&mut self) {
        self.void(Effect::All);
        self.versions.clear();
        self.version_values.clear();
    }

    /// One version of the secret, read once more.
    pub fn reread_version(&mut self, version: u64) {
        self.versions.remove(&version);
    }

    /// The version as far as it was read.
    pub fn known_version(&self, version: u64) -> Option<&SecretSnapshot> {
        self.versions.get(&version).map(|reading| &reading.last)
    }

    /// The look-up of the value in this version.
    pub fn version_value(&self, version: u64) -> Fact<&Lookup> {
        let reading = self.version_values.get(&version);
        reading
            .and_then(|reading| reading.counted(self.shown_by_version(version)))
            .ok_or(Command::LookUpVersion(version))
    }

    /// The token with this id, read by its id.
    pub fn token(&self, id: &TokenId) -> Fact<&Result<Lookup>> {
        self.tokens
            .get(id)
            .ok_or_else(|| Command::LookUp(id.clone()))
    }

    /// The 404 of this environment is trusted.
    pub fn not_found_is_trusted(&self) -> Fact<()> {
        if self.not_found_trusted {
            Ok(())
        } else {
            Err(Command::ProveReachable)
        }
    }

    /// A listing that was taken in this run, after the last action that can have changed it.
    pub fn current_listing(&self) -> Fact<&Listing> {
        match &self.listing {
            Some(listing) if self.listing_is_current => Ok(listing),
            _ => Err(Command::List),
        }
    }

    /// The last listing, however old.
    pub fn listing(&self) -> Option<&Listing> {
        self.listing.as_ref()
    }

    /// A listing is the picture of a moment: what this run deleted is not dealt with again.
    pub fn forget_listed(&mut self, id: &TokenId) {
        if let Some(listing) = &mut self.listing {
            std::sync::Arc::make_mut(&mut listing.tokens).retain(|token| token.id != *id);
        }
    }

    /// The outcome of the last change, if it was this one.
    pub fn outcome_of(&self, action: &TokenAction, id: &TokenId) -> Option<&Result<()>> {
        match &self.changed {
            Some((done, token, outcome)) if done == action && token == id => Some(outcome),
            _ => None,
        }
    }

    /// This run tried to rename the token.
    pub fn rename_was_tried(&self, id: &TokenId) -> bool {
        self.renames.contains(id)
    }

    /// This run moved the token's expiry.
    pub fn was_redated(&self, id: &TokenId) -> bool {
        self.redates.contains(id)
    }

    /// The token's value was the latest one of this secret in this run, and the environment said that it is this token.
    pub fn value_was_proven(&self, id: &TokenId) -> bool {
        self.proven_values.contains(id)
    }

    /// The same of its value in a numbered version, also at a place where the secret was before.
    pub fn version_was_proven(&self, id: &TokenId) -> bool {
        self.proven_versions.contains(id)
    }
}

/// What was read, or `instead` if that was refused.
fn unless_refused<T>(read: Result<T>, instead: T) -> Result<T> {
    match read {
        Err(error) if error.kind == ErrorKind::Refused => Ok(instead),
        read => read,
    }
}
