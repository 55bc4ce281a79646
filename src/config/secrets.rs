//! `[[secret]]`: each with its defaults filled in, checked alone and against all others.

use std::collections::{BTreeMap, HashMap};

use super::context::Context;
use super::lifecycle::Lifecycle;
use super::problem::{Place, Placed, Problem};
use super::schedules::{Schedules, Timing};
use super::secret_options::{self, Layers};
use super::section::Section;
use super::settings::{Environment, SecretSettings};
use super::table::{Given, Refused, Table};
use super::tables::{Journal, SecretKeys, SecretOptions, TokenKind};

/// What the secrets need besides their own tables.
pub(super) struct Surroundings<'a> {
    pub context: &'a Context,
    /// The valid environments.
    pub environments: &'a BTreeMap<String, Environment>,
    /// The names of all that are written down.
    pub environment_names: &'a [String],
    pub journal: &'a Journal,
    /// The main file's `[defaults]`.
    pub defaults: &'a SecretOptions,
    /// A table of defaults has a misspelt `schedule`.
    pub schedule_is_misspelt: bool,
}

/// Reads and checks one secret after the other.
pub(super) struct Secrets<'a> {
    around: Surroundings<'a>,
    schedules: Schedules,
    by_name: HashMap<String, Place>,
    by_field: HashMap<(String, String, String), Place>,
    /// Former names with their places.
    renamed: Vec<Placed<String>>,
    /// The valid ones.
    done: Vec<SecretSettings>,
}

/// Where one secret lives, and its name.
pub(super) struct Identity {
    pub name: String,
    pub mount: String,
    pub path: String,
    pub fields: Vec<String>,
}

impl<'a> Secrets<'a> {
    pub fn new(around: Surroundings<'a>, schedules: Schedules) -> Self {
        Secrets {
            around,
            schedules,
            by_name: HashMap::new(),
            by_field: HashMap::new(),
            renamed: Vec::new(),
            done: Vec::new(),
        }
    }

    fn problem(&self, place: &Place, message: impl AsRef<str>) {
        self.around.context.problem(Problem::new(place, message));
    }

    /// Takes one `[[secret]]`, with its file's own defaults.
    pub fn add(&mut self, section: Section<'_>, file_defaults: Option<&SecretOptions>) {
        let context = self.around.context;
        let own = secret_options::read(&section, &mut self.schedules, context);
        let keys = SecretKeys::read(&section);
        section.refuse_reserved(&["create", "token_name", "scopes"]);
        if !keys.path.is_present() {
            section.missing(
                "path",
                "this secret has no path: where in Vault is the token to rotate?",
            );
        }
        if let Some(kind) = keys
            .kind
            .given()
            .filter(|kind| kind.value != TokenKind::Api)
        {
            self.problem(
                &kind.place,
                "this kind of token is reserved for a later version",
            );
        }
        let place = section.place().clone();
        let schedule_is_misspelt = section.is_misspelt("schedule");
        section.finish();
        let path = keys.path.given();

        let mut tables = vec![&own];
        tables.extend(file_defaults);
        tables.push(self.around.defaults);
        let layers = Layers { tables };
        let identity = self.identify(&layers, &keys);
        if let (Some(identity), Some(path)) = (&identity, path) {
            self.register(identity, &keys.name, path);
        }
        let renamed_from = keys.renamed_from.given().map(|former| {
            self.renamed.push(former.clone());
            former.value.clone()
        });
        let environment = self.environment(&layers, &place);
        let timed = self.timed(&layers, &place, schedule_is_misspelt);
        let (Some(identity), Ok(Some(environment)), Ok(Some((timing, schedule_text))), Ok(plan)) = (
            identity,
            environment,
            timed,
            Lifecycle::read(&layers, context),
        ) else {
            return;
        };
        let jitter = plan.check_rates(&layers, &timing, context);
        let manages_tokens = self.manages_tokens(&identity, environment, path);
        let (Ok(missed), Ok(expiry_guard), Ok(enabled), Ok(jitter)) = (
            layers.value(|o| &o.missed),
            layers.value(|o| &o.expiry_guard),
            layers.value(|o| &o.enabled),
            jitter,
        ) else {
            return;
        };
        self.done.push(SecretSettings {
            plan: plan.into_plan(identity, environment, manages_tokens, self.around.journal),
            schedule: timing.schedule.clone(),
            shortest_gap: timing.shortest_gap,
            schedule_text,
            zone_name: timing.zone_name.clone(),
            jitter,
            missed,
            expiry_guard,
            enabled,
            renamed_from,
            place: context.report.spot(&place),
        });
    }

    /// Where it lives and how it is called: `name`, else the path, else `MOUNT/PATH#FIELD` when mount or field is not the default.
    fn identify(&self, layers: &Layers<'_>, keys: &SecretKeys) -> Option<Identity> {
        let mount = layers.value(|o| &o.mount).ok()?;
        let fields = layers.value(|o| &o.field).ok()?;
        let path = keys.path.value()?;
        let defaults = self.around.defaults;
        defaults.mount.accepted().ok()?;
        defaults.field.accepted().ok()?;
        let usual = mount == defaults.mount.or_default() && fields == defaults.field.or_default();
        let name = match keys.name.accepted().ok()? {
            Some(name) => name.value.clone(),
            None if usual => path.clone(),
            None => format!("{mount}/{path}#{}", fields[0]),
        };
        Some(Identity {
            name,
            mount,
            path,
            fields,
        })
    }

    /// Refuses what another secret has already.
    fn register(&mut self, identity: &Identity, name: &Given<String>, path: &Placed<String>) {
        let mut twice = None;
        for field in &identity.fields {
            let key = (identity.mount.clone(), identity.path.clone(), field.clone());
            match self.by_field.get(&key) {
                Some(first) => twice = twice.or(Some((first.clone(), field))),
                None => {
                    self.by_field.insert(key, path.place.clone());
                }
            }
        }
        if let Some((first, field)) = twice {
            let Identity {
                mount, path: at, ..
            } = identity;
            let message = format!("field \"{field}\" of {mount}/{at} is configured by two secrets");
            let problem = Problem::new(&path.place, message);
            self.around
                .context
                .problem(problem.also(&first, "first given here"));
            return;
        }
        let place = name.given().map_or(&path.place, |name| &name.place);
        match self.by_name.get(&identity.name) {
            Some(first) => {
                let message = format!("two secrets have the name \"{}\"", identity.name);
                let problem = Problem::new(place, message).also(first, "first given here");
                self.around
                    .context
                    .problem(problem.help("give one of them another name"));
            }
            None => {
                self.by_name.insert(identity.name.clone(), place.clone());
            }
        }
        self.keep_out_of_journal(identity, &path.place);
        self.check_mount(identity, &path.place);
    }

    /// Finds a path that repeats the mount, as the addresses of Vault's API and `vault kv` do.
    fn check_mount(&self, identity: &Identity, place: &Place) {
        let Identity { mount, path, .. } = identity;
        let below = path.strip_prefix(mount.as_str());
        let Some(below) = below.and_then(|rest| rest.strip_prefix('/')) else {
            return;
        };
        match below.strip_prefix("data/") {
            Some(below) => {
                let message = format!("the path is below the mount \"{mount}\"; write \"{below}\"");
                self.problem(place, message);
            }
            None => self.around.context.warn(format!(
                "{}: the path \"{path}\" repeats the mount \"{mount}\"; unless there is such a folder, write \"{below}\"",
                self.around.context.report.spot(place)
            )),
        }
    }

    fn keep_out_of_journal(&self, identity: &Identity, place: &Place) {
        let journal = self.around.journal;
        let below = identity.path.strip_prefix(&journal.path);
        if identity.mount == journal.mount
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            self.problem(
                place,
                format!(
                    "this path lies in the journal ({}/{})",
                    journal.mount, journal.path
                ),
            );
        }
    }

    /// The environment: named, or the only one. `Ok(None)`: it has problems of its own.
    fn environment(
        &self,
        layers: &Layers<'_>,
        place: &Place,
    ) -> Result<Option<&'a Environment>, Refused> {
        let names = self.around.environment_names;
        let Some(name) = layers.given(|o| &o.environment)? else {
            return match names {
                [] => Ok(None),
                [only] => Ok(self.around.environments.get(only)),
                several if !self.around.context.is_incomplete() => {
                    let message = format!(
                        "this secret names no environment, and there are several: {}",
                        several.join(", ")
                    );
                    self.problem(place, message);
                    Err(Refused)
                }
                _ => Err(Refused),
            };
        };
        if !names.contains(&name.value) {
            self.around.context.unknown_environment(name, names);
            return Err(Refused);
        }
        Ok(self.around.environments.get(&name.value))
    }

    fn timed(
        &mut self,
        layers: &Layers<'_>,
        place: &Place,
        misspelt: bool,
    ) -> Result<Option<(std::sync::Arc<Timing>, String)>, Refused> {
        let zone = layers.given(|o| &o.timezone)?;
        let Some(schedule) = layers.given(|o| &o.schedule)? else {
            let excused = misspelt || self.around.schedule_is_misspelt;
            if !excused && !self.around.context.is_incomplete() {
                self.problem(
                    place,
                    "this secret has no schedule, and [defaults] has none either",
                );
            }
            return Err(Refused);
        };
        let timing = self.schedules.get(schedule, zone, self.around.context);
        Ok(timing.map(|timing| (timing, schedule.value.clone())))
    }

    /// Whether it is its environment's management token. Being only another environment's is refused: that token would be rotated at
    /// the wrong address.
    fn manages_tokens(
        &self,
        identity: &Identity,
        own: &Environment,
        path: Option<&Placed<String>>,
    ) -> bool {
        let is = |environment: &Environment| {
            let auth = &environment.auth;
            auth.mount == identity.mount
                && auth.path == identity.path
                && identity.fields.contains(&auth.field)
        };
        if is(own) {
            return true;
        }
        let other = self
            .around
            .environments
            .values()
            .find(|environment| is(environment));
        if let (Some(other), Some(path)) = (other, path) {
            let message = format!(
                "this is the management token of the environment \"{}\", but the secret belongs to \"{}\"",
                other.name, own.name
            );
            self.problem(&path.place, message);
        }
        false
    }

    /// The valid ones, after the last checks across all.
    pub fn finish(self) -> Vec<SecretSettings> {
        let mut seen: HashMap<&str, &Place> = HashMap::new();
        for former in &self.renamed {
            if let Some(still) = self.by_name.get(&former.value) {
                let message = format!("\"{}\" is still the name of a secret", former.value);
                let problem = Problem::new(&former.place, message);
                self.around
                    .context
                    .problem(problem.also(still, "it is given here"));
            }
            if let Some(first) = seen.insert(&former.value, &former.place) {
                let message = format!("two secrets were renamed from \"{}\"", former.value);
                let problem = Problem::new(&former.place, message);
                self.around
                    .context
                    .problem(problem.also(first, "first given here"));
            }
        }
        self.done
    }
}
