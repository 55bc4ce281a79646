//! `[[secret]]`: each with its defaults filled in, checked alone and against all others.

use std::collections::{BTreeMap, HashMap};

use super::checks;
use super::lengths::Lengths;
use super::problem::{Place, Placed, Problem};
use super::reading::{Reading, did_you_mean};
use super::section::Section;
use super::services::{DEFAULT_FIELD, DEFAULT_MOUNT};
use super::settings::{Environment, Journal, Missed, SecretSettings};
use super::timing::{Timing, Timings};
use super::wishes::{Layers, Refused, Wish, Wishes};
use rotation::plan::Kind;

/// What the secrets need besides their own tables.
pub(super) struct Surroundings<'a> {
    pub reading: &'a Reading,
    /// The valid environments.
    pub environments: &'a BTreeMap<String, Environment>,
    /// The names of all that are written down.
    pub environment_names: &'a [String],
    pub journal: &'a Journal,
    /// The main file's `[defaults]`.
    pub defaults: &'a Wishes,
}

/// Reads and checks one secret after the other.
pub(super) struct Secrets<'a> {
    around: Surroundings<'a>,
    timings: Timings,
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
    pub fn new(around: Surroundings<'a>, timings: Timings) -> Self {
        Secrets {
            around,
            timings,
            by_name: HashMap::new(),
            by_field: HashMap::new(),
            renamed: Vec::new(),
            done: Vec::new(),
        }
    }

    fn problem(&self, place: &Place, message: impl AsRef<str>) {
        self.around.reading.problem(Problem::new(place, message));
    }

    /// Takes one `[[secret]]`, with its file's own defaults.
    pub fn add(&mut self, section: Section<'_>, file_defaults: Option<&Wishes>) {
        let reading = self.around.reading;
        let own = Wishes::read(&section, &mut self.timings, reading);
        let name = section.parsed("name", checks::secret_name);
        let name = Wish::new(&section, "name", name);
        let path = section.parsed("path", checks::vault_path);
        if !section.has("path") {
            section.missing("this secret has no path: where in Vault is the token to rotate?");
        }
        let kinds = [
            ("api", Some(Kind::Api)),
            ("platform", None),
            ("activegate", None),
        ];
        let kind = section.choice("kind", &kinds);
        if let Some(later) = kind.as_ref().filter(|kind| kind.value.is_none()) {
            self.problem(
                &later.place,
                "this kind of token is reserved for a later version: not yet",
            );
        }
        let renamed_from = section.parsed("renamed_from", checks::secret_name);
        section.not_yet(&["create", "token_name", "scopes"]);
        let place = section.place().clone();
        section.finish();

        let mut tables = vec![&own];
        tables.extend(file_defaults);
        tables.push(self.around.defaults);
        let layers = Layers { tables };
        let identity = self.identify(&layers, &name, path.as_ref());
        if let Some(identity) = &identity {
            self.register(identity, &name, path.as_ref());
        }
        let renamed_from = renamed_from.map(|former| {
            self.renamed.push(former.clone());
            former.value
        });
        let environment = self.environment(&layers, &place);
        let timed = self.timed(&layers, &place);
        let (Some(identity), Ok(Some(environment)), Ok(Some((timing, schedule_text))), Ok(plan)) = (
            identity,
            environment,
            timed,
            Lengths::read(&layers, self.around.reading),
        ) else {
            return;
        };
        let jitter = plan.check_rates(&layers, &timing, reading);
        let manages_tokens = self.manages_tokens(&identity, environment, path.as_ref());
        let (Ok(missed), Ok(expiry_guard), Ok(enabled), Ok(jitter)) = (
            layers.pick(|w| &w.missed),
            layers.pick(|w| &w.expiry_guard),
            layers.pick(|w| &w.enabled),
            jitter,
        ) else {
            return;
        };
        self.done.push(SecretSettings {
            plan: plan.into_plan(identity, environment, manages_tokens, self.around.journal),
            schedule: timing.schedule.clone(),
            schedule_text,
            zone_name: timing.zone_name.clone(),
            jitter,
            missed: missed.map_or(Missed::Run, |missed| missed.value),
            expiry_guard: expiry_guard.is_none_or(|flag| flag.value),
            enabled: enabled.is_none_or(|flag| flag.value),
            renamed_from,
            place: reading.report.spot(&place),
        });
    }

    /// Where it lives and how it is called: `name`, else the path, else `MOUNT/PATH#FIELD` when mount or field is not the default.
    fn identify(
        &self,
        layers: &Layers<'_>,
        name: &Wish<String>,
        path: Option<&Placed<String>>,
    ) -> Option<Identity> {
        let mount = layers.pick(|w| &w.mount).ok()?;
        let fields = layers.pick(|w| &w.fields).ok()?;
        let path = path?.value.clone();
        let mount = mount.map_or(DEFAULT_MOUNT, |mount| &mount.value).to_owned();
        let fields = fields.map_or_else(
            || vec![DEFAULT_FIELD.to_owned()],
            |fields| fields.value.clone(),
        );
        let defaults = self.around.defaults;
        let default_mount = defaults
            .mount
            .given()
            .ok()?
            .map_or(DEFAULT_MOUNT, |mount| &mount.value);
        let default_fields = defaults
            .fields
            .given()
            .ok()?
            .map(|fields| fields.value.as_slice());
        let usual = match default_fields {
            Some(usual) => fields == usual,
            None => fields == [DEFAULT_FIELD],
        };
        let name = match name.given().ok()? {
            Some(name) => name.value.clone(),
            None if usual && mount == default_mount => path.clone(),
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
    fn register(
        &mut self,
        identity: &Identity,
        name: &Wish<String>,
        path: Option<&Placed<String>>,
    ) {
        let Some(path) = path else {
            return;
        };
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
            let message = format!("two secrets are the field \"{field}\" of {mount}/{at}");
            let problem = Problem::new(&path.place, message);
            self.around
                .reading
                .problem(problem.also(&first, "first given here"));
            return;
        }
        let place = match name {
            Wish::Good(name) => &name.place,
            _ => &path.place,
        };
        match self.by_name.get(&identity.name) {
            Some(first) => {
                let message = format!("two secrets have the name \"{}\"", identity.name);
                let problem = Problem::new(place, message).also(first, "first given here");
                self.around
                    .reading
                    .problem(problem.help("give one of them another name"));
            }
            None => {
                self.by_name.insert(identity.name.clone(), place.clone());
            }
        }
        self.keep_out_of_journal(identity, &path.place);
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
        let Some(name) = layers.pick(|w| &w.environment)? else {
            return match names {
                [] => Ok(None),
                [only] => Ok(self.around.environments.get(only)),
                several if !self.around.reading.is_incomplete() => {
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
            if !self.around.reading.is_incomplete() && !names.is_empty() {
                let problem = Problem::new(
                    &name.place,
                    format!("the environment \"{}\" is not configured", name.value),
                );
                let meant = did_you_mean(&name.value, names.iter().map(String::as_str));
                let help = meant.unwrap_or_else(|| format!("environments: {}", names.join(", ")));
                self.around.reading.problem(problem.help(help));
            }
            return Err(Refused);
        }
        Ok(self.around.environments.get(&name.value))
    }

    fn timed(
        &mut self,
        layers: &Layers<'_>,
        place: &Place,
    ) -> Result<Option<(std::sync::Arc<Timing>, String)>, Refused> {
        let zone = layers.pick(|w| &w.timezone)?;
        let Some(schedule) = layers.pick(|w| &w.schedule)? else {
            if !self.around.reading.is_incomplete() {
                self.problem(
                    place,
                    "this secret has no schedule, and [defaults] has none either",
                );
            }
            return Err(Refused);
        };
        let timing = self.timings.get(schedule, zone, self.around.reading);
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
                    .reading
                    .problem(problem.also(still, "it is given here"));
            }
            if let Some(first) = seen.insert(&former.value, &former.place) {
                let message = format!("two secrets were renamed from \"{}\"", former.value);
                let problem = Problem::new(&former.place, message);
                self.around
                    .reading
                    .problem(problem.also(first, "first given here"));
            }
        }
        self.done
    }
}
