//! `discover`: every secret below a folder in Vault, as if each were written down, with the settings of one `[[secret]]`.

use std::collections::HashSet;
use std::sync::Arc;

use glob::{MatchOptions, Pattern};

use super::settings::{SecretSettings, Settings};
use rotation::plan::Coordinates;

/// `*` stays within a segment of a path; only `**` crosses `/`.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A `[[secret]]` with `discover`. Two are equal when they find the same secrets and rotate them in the same way.
#[derive(Clone, PartialEq)]
pub struct Discovery {
    /// What is found has these settings, but for its name and path.
    template: SecretSettings,
    /// The folder below the mount, without a slash at its end.
    pub folder: String,
    /// Paths that are left alone.
    exclude: Arc<Vec<Pattern>>,
    /// Mount and field are the defaults, so that a path is its name.
    is_usual: bool,
}

impl Discovery {
    pub(super) fn new(
        template: SecretSettings,
        folder: String,
        exclude: Vec<Pattern>,
        is_usual: bool,
    ) -> Self {
        Discovery {
            template,
            folder,
            exclude: Arc::new(exclude),
            is_usual,
        }
    }

    /// Where it looks, the folder instead of a path.
    pub fn place(&self) -> &Coordinates {
        &self.template.plan.coordinates
    }

    /// What issues the tokens of what is found.
    pub fn service(&self) -> &str {
        &self.template.plan.service
    }

    /// The folder for people and as a key.
    pub fn title(&self) -> String {
        let place = self.place();
        let fields = place.fields.join(",");
        format!("{}/{}/#{fields}", place.mount, self.folder)
    }

    /// The path is below the folder and not excluded.
    fn has(&self, path: &str) -> bool {
        let below = path.strip_prefix(&self.folder);
        let is_below = below.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
        is_below
            && !self
                .exclude
                .iter()
                .any(|one| one.matches_with(path, MATCHING))
    }

    /// A discovered secret is this folder's.
    pub fn owns(&self, secret: &SecretSettings) -> bool {
        let (place, other) = (self.place(), &secret.plan.coordinates);
        place.mount == other.mount && place.fields == other.fields && self.has(&other.path)
    }

    /// The settings of what is found.
    pub fn template(&self) -> &SecretSettings {
        &self.template
    }

    /// Changes the settings of what is found.
    pub fn adjust(&mut self, change: impl FnOnce(&mut SecretSettings)) {
        change(&mut self.template);
    }

    /// The secret at this path.
    fn at(&self, path: &str) -> Arc<SecretSettings> {
        let mut secret = self.template.clone();
        let plan = Arc::make_mut(&mut secret.plan);
        let place = &mut plan.coordinates;
        path.clone_into(&mut place.path);
        plan.name = match self.is_usual {
            true => path.to_owned(),
            false => format!("{}/{path}#{}", place.mount, place.fields[0]),
        };
        Arc::new(secret)
    }

    /// The path of the secret with this name, if it can be one of this folder.
    fn path_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.is_usual {
            return Some(name);
        }
        let place = self.place();
        let path = name.strip_prefix(&place.mount)?.strip_prefix('/')?;
        path.strip_suffix(&place.fields[0])?.strip_suffix('#')
    }
}

/// What the files say of the paths that a folder might have.
pub struct Finder<'a> {
    settings: &'a Settings,
    discovery: &'a Discovery,
    /// The paths of secrets that have a table of their own, of management tokens and of OAuth clients.
    paths: HashSet<&'a str>,
    /// The names of secrets that have a table of their own.
    names: HashSet<&'a str>,
}

impl Finder<'_> {
    /// The secret at this path, if the folder may take it: neither what is configured explicitly, nor a credential of dtrotate, nor the
    /// journal.
    pub fn secret(&self, path: &str) -> Option<Arc<SecretSettings>> {
        let journal = &self.settings.journal;
        let below = path.strip_prefix(&journal.path);
        let in_journal = journal.mount == self.discovery.place().mount
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let taken = in_journal || self.paths.contains(path);
        let secret = (self.discovery.has(path) && !taken).then(|| self.discovery.at(path))?;
        (!self.names.contains(secret.plan.name.as_str())).then_some(secret)
    }
}

impl Settings {
    /// What a folder might have.
    pub fn finder<'a>(&'a self, discovery: &'a Discovery) -> Finder<'a> {
        let place = discovery.place();
        let explicit = || self.secrets.iter().filter(|secret| !secret.is_discovered);
        let same = explicit()
            .map(|secret| &secret.plan.coordinates)
            .filter(|other| {
                let shares = other
                    .fields
                    .iter()
                    .any(|field| place.fields.contains(field));
                other.mount == place.mount && shares
            });
        let environments = self.environments.values();
        let managing = environments.filter_map(|one| one.auth.as_ref());
        let managing = managing.map(|auth| (&auth.mount, &auth.path));
        let clients = self.accounts.values().map(|account| &account.auth);
        let clients = clients.map(|auth| (&auth.mount, &auth.path));
        let credentials = managing.chain(clients);
        let credentials = credentials.filter(|(mount, _)| **mount == place.mount);
        Finder {
            settings: self,
            discovery,
            paths: same
                .map(|other| other.path.as_str())
                .chain(credentials.map(|(_, path)| path.as_str()))
                .collect(),
            names: explicit().map(|secret| secret.plan.name.as_str()).collect(),
        }
    }

    /// The same of all folders.
    pub fn finders(&self) -> Vec<Finder<'_>> {
        let folders = self.discoveries.iter();
        folders.map(|discovery| self.finder(discovery)).collect()
    }
}

/// The secret that a journal document with this name, and this place, belongs to, if a folder has it.
pub fn rediscovered(
    finders: &[Finder<'_>],
    name: &str,
    place: Option<&Coordinates>,
) -> Option<Arc<SecretSettings>> {
    let mut found = finders.iter().filter_map(|finder| {
        let secret = finder.secret(finder.discovery.path_of(name)?)?;
        let same = |place: &Coordinates| place.same_place(&secret.plan.coordinates);
        place.is_none_or(same).then_some(secret)
    });
    found.next()
}
