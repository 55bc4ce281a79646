//! `[[secret]]`: each with its defaults filled in, checked alone and against all others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::schedule::due::CATCH_UP_SPREAD;

use super::context::Context;
use super::discovery::Discovery;
use super::duration;
use super::file;
use super::lifecycle::{check_lengths, check_rates};
use super::merge::Tree;
use super::paths;
use super::problem::{Place, Placed, Problem};
use super::rights::desired;
use super::schedules::{Schedules, blackouts};
use super::section::Section;
use super::settings::{Account, Environment, IssuerPlace, SecretSettings, SharedSettings};
use super::table::{Given, Table};
use super::tables::{Journal, SecretKeys, SecretOptions, TokenKind};
use crate::labels::Labels;
use rotation::plan::{self, Kind, Lifetime, Plan, Terms, Verification};

/// What the secrets need besides their own tables.
pub(super) struct Others<'a> {
    /// The valid environments.
    pub environments: &'a BTreeMap<String, Environment>,
    /// The names of all that are written down.
    pub environment_names: &'a [String],
    /// The valid accounts.
    pub accounts: &'a BTreeMap<String, Account>,
    pub journal: &'a Journal,
    /// The main file's `[defaults]`.
    pub defaults: &'a SecretOptions,
}

/// Reads and checks all secrets; returns the valid ones, and the folders in which others are found.
pub(super) fn secrets(
    tree: &Tree,
    others: Others<'_>,
    context: &Context,
) -> (Vec<Arc<SecretSettings>>, Vec<Discovery>) {
    let mut secrets = Secrets {
        context,
        others,
        schedules: Schedules::default(),
        by_name: HashMap::new(),
        by_field: HashMap::new(),
        renamed: Vec::new(),
        labels: HashSet::new(),
        discoveries: Vec::new(),
    };
    // Defaults that no secret uses are checked as well.
    secrets.schedules.get(secrets.others.defaults, context);
    for table in &tree.file_defaults {
        let section = Section::new("defaults", table, context);
        let options = SecretOptions::read_all(section);
        secrets.schedules.get(&options, context);
    }
    let main = tree.table("defaults");
    let valid = tree.secrets.iter().flat_map(|(table, own_defaults)| {
        let own_defaults = own_defaults.map(|number| &tree.file_defaults[number]);
        secrets.add(table, own_defaults.into_iter().chain(main).collect())
    });
    let valid = valid.collect();
    secrets.check_former_names();
    let folders = secrets.discoveries.into_iter();
    (valid, folders.map(|(discovery, _)| discovery).collect())
}

struct Secrets<'a> {
    context: &'a Context,
    others: Others<'a>,
    schedules: Schedules,
    by_name: HashMap<String, Place>,
    by_field: HashMap<(String, String, String), Place>,
    /// Former names with their places.
    renamed: Vec<Placed<String>>,
    /// Each distinct set once: many secrets share one.
    labels: HashSet<Labels>,
    /// The folders, each with its place.
    discoveries: Vec<(Discovery, Place)>,
}

/// In this time an ActiveGate is restarted in the course of things.
const USUAL_RESTART: Duration = Duration::from_secs(7 * 24 * 3600);
const TWO_YEARS: Duration = Duration::from_secs(730 * 24 * 3600);

/// Why this environment has no tokens of this kind.
fn not_there(kind: TokenKind, environment: &Environment) -> Option<String> {
    let name = &environment.client.name;
    let tokens = match kind {
        TokenKind::Api => "API tokens",
        TokenKind::ActiveGate => "ActiveGate tokens",
        TokenKind::Cluster => "cluster tokens",
        TokenKind::Platform => "platform tokens",
    };
    match (kind, environment.is_cluster()) {
        (TokenKind::Cluster, false) => Some(format!(
            "{tokens} are those of a Managed cluster, and \"{name}\" is an environment; set api = \"cluster\" in [dynatrace.{name}], with the \
             address of the cluster"
        )),
        (TokenKind::Cluster, true) => None,
        (_, true) => Some(format!(
            "\"{name}\" is a Managed cluster, which has no {tokens}; set kind = \"cluster\", or name an environment of it"
        )),
        (TokenKind::Platform, false) => None,
        (_, false) if environment.auth.is_some() => None,
        (TokenKind::Api, false) => Some(format!(
            "the environment \"{name}\" has no management token, which {tokens} need: add [dynatrace.{name}.auth], or set kind = \"platform\""
        )),
        (_, false) => Some(format!(
            "the environment \"{name}\" has no management token, which {tokens} need: add [dynatrace.{name}.auth]"
        )),
    }
}

/// Where one secret is in Vault, and its name.
struct Identity {
    name: String,
    mount: String,
    path: String,
    fields: Vec<String>,
}

impl<'a> Secrets<'a> {
    fn problem(&self, place: &Place, message: impl AsRef<str>) {
        self.context.problem(Problem::new(place, message));
    }

    /// Reports what is there twice.
    fn twice(&self, place: &Place, message: impl AsRef<str>, first: &Place) {
        let problem = Problem::new(place, message);
        self.context
            .problem(problem.also(first, "first given here"));
    }

    /// Adds the secrets of one `[[secret]]`, with the tables of defaults that it inherits from.
    fn add(
        &mut self,
        table: &file::Table,
        inherited: Vec<&file::Table>,
    ) -> Vec<Arc<SecretSettings>> {
        let context = self.context;
        let section = Section::new("secret", table, context);
        let keys = SecretKeys::read(&section);
        let section = section.inheriting(inherited);
        let options = SecretOptions::read(&section);
        let paths = paths::paths(&section, &keys, context);
        if !options.schedule.is_present() {
            section.missing(
                "schedule",
                "this secret has no schedule, and [defaults] has none either",
            );
        }
        let place = section.place().clone();
        section.finish();

        self.refuse_double_fields(&options);
        self.renamed.extend(keys.renamed_from.given().cloned());
        let environment = self.environment(&options, &place);
        let timing = self.schedules.get(&options, context);
        check_lengths(&options, context);
        if let Some(timing) = &timing {
            check_rates(&options, timing, context);
        }
        let blackouts = timing
            .as_ref()
            .map(|timing| blackouts(&options, timing, context));
        let labels = options.labels.value().unwrap_or_default();
        let labels = self.shared(labels);
        let issuer = environment.and_then(|environment| self.issuer(&options, environment, &place));
        if let (Some((kind, issuer)), Some(environment), Some(timing)) =
            (&issuer, environment, &timing)
        {
            let gap = timing.shortest_gap;
            match kind {
                Kind::Platform => {
                    self.check_platform(&options, environment, gap, issuer.settle, &place);
                }
                Kind::ActiveGate => self.check_active_gate(&options, gap, &place),
                Kind::Api | Kind::Cluster => {}
            }
        }
        let is_folder = keys.discover.is_present();
        let mut found = vec![];
        for path in &paths {
            let identity = self.identify(&options, &keys, &path.value);
            match &identity {
                Some(identity) if !is_folder => {
                    self.register(identity, &keys.name, &path.place);
                    self.refuse_credential(identity, &path.place);
                }
                Some(identity) => self.check_mount(&identity.mount, &identity.path, &path.place),
                None => {}
            }
            let settings = || {
                let (identity, environment, timing) = (identity?, environment?, timing.as_ref()?);
                let jitter = options.jitter.value()?;
                let plan = self.plan(
                    &options,
                    &keys,
                    identity,
                    environment,
                    issuer.clone()?,
                    &path.place,
                )?;
                let shared = SharedSettings {
                    schedule: timing.schedule.clone(),
                    shortest_gap: timing.shortest_gap,
                    schedule_text: options.schedule.value()?,
                    zone_name: timing.zone_name.clone(),
                    blackouts: blackouts.clone()?,
                    jitter,
                    catch_up_spread: match jitter.is_zero() {
                        true => CATCH_UP_SPREAD,
                        false => SignedDuration::try_from(jitter).unwrap_or(SignedDuration::MAX),
                    },
                    missed: options.missed.value()?,
                    expiry_guard: options.expiry_guard.value()?,
                    enabled: options.enabled.value()?,
                    labels: labels.clone(),
                    renamed_from: keys.renamed_from.value(),
                    is_discovered: is_folder,
                };
                Some(SecretSettings {
                    plan: Arc::new(plan),
                    shared: Arc::new(shared),
                })
            };
            match (settings(), keys.discover.given()) {
                (Some(template), Some(folder)) => self.add_folder(template, folder, &keys),
                (Some(secret), None) => found.push(Arc::new(secret)),
                (None, _) => {}
            }
        }
        found
    }

    /// A folder in which secrets are found. No two of them may find the same secret.
    fn add_folder(&mut self, template: SecretSettings, folder: &Placed<String>, keys: &SecretKeys) {
        let place = &template.plan.coordinates;
        let below = |one: &str, other: &str| {
            let rest = one.strip_prefix(other);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let clash = self.discoveries.iter().find(|(other, _)| {
            let at = other.place();
            let same_field = at.fields.iter().any(|field| place.fields.contains(field));
            let nested = below(&other.folder, &folder.value) || below(&folder.value, &other.folder);
            at.mount == place.mount && same_field && nested
        });
        if let Some((_, first)) = clash {
            let message = "two tables would discover the same secrets; make it one table, or name folders of which none is in another";
            return self.twice(&folder.place, message, first);
        }
        let defaults = self.others.defaults;
        let fields = |options: &SecretOptions| {
            let fields = options.field.value().unwrap_or_default().into_iter();
            fields.map(|field| field.value).collect::<Vec<_>>()
        };
        let is_usual = Some(&place.mount) == defaults.mount.value().as_ref()
            && place.fields == fields(defaults);
        let exclude = keys.exclude.value().unwrap_or_default();
        let exclude = exclude.into_iter().map(|pattern| pattern.value).collect();
        let discovery = Discovery::new(template, folder.value.clone(), exclude, is_usual);
        self.discoveries.push((discovery, folder.place.clone()));
    }

    /// What the machine must know of one secret.
    fn plan(
        &self,
        options: &SecretOptions,
        keys: &SecretKeys,
        identity: Identity,
        environment: &Environment,
        (kind, issuer): (Kind, IssuerPlace),
        path: &Place,
    ) -> Option<Plan> {
        let manages_tokens = self.manages_tokens(&identity, environment, path)
            && matches!(kind, Kind::Api | Kind::Cluster);
        let terms = Terms {
            desired: desired(
                options,
                keys,
                environment,
                (kind, manages_tokens),
                self.context,
            ),
            manages_tokens,
            grace: options.grace.value()?,
            max_grace: options.max_grace.value()?,
            quarantine: options.quarantine.value()?,
            still_used: options.still_used.value()?,
            lifetime: options.lifetime.value()?,
            settle: issuer.settle,
            claim_timeout: self.others.journal.claim_timeout,
            verify: options.verify.value()?,
            at_max_grace: options.at_max_grace.value()?,
            announces: false,
            service: issuer.service,
        };
        let place = plan::Place {
            mount: identity.mount,
            fields: identity.fields,
            environment: environment.client.name.clone(),
            base_url: issuer.base_url,
            kind,
        };
        Some(Plan {
            name: identity.name,
            coordinates: place.at(identity.path),
            terms: Arc::new(terms),
        })
    }

    /// Who issues the secret's tokens.
    fn issuer(
        &self,
        options: &SecretOptions,
        environment: &Environment,
        place: &Place,
    ) -> Option<(Kind, IssuerPlace)> {
        let given = options.kind.given();
        let place = given.map_or(place, |kind| &kind.place);
        let name = &environment.client.name;
        let kind = options.kind.value()?;
        if let Some(message) = not_there(kind, environment) {
            self.problem(place, message);
            return None;
        }
        match kind {
            TokenKind::Api => Some((Kind::Api, environment.issuer())),
            TokenKind::Cluster => Some((Kind::Cluster, environment.issuer())),
            TokenKind::ActiveGate => Some((Kind::ActiveGate, environment.active_gates()?)),
            TokenKind::Platform => {
                let account = environment.account.as_ref();
                let Some(account) = account else {
                    let message = match self.others.accounts.len() {
                        0 => "platform tokens are managed in an account: add a table such as [account.main]".to_owned(),
                        _ => format!("there are several accounts; set account in [dynatrace.{name}]"),
                    };
                    self.problem(place, message);
                    return None;
                };
                let account = self.others.accounts.get(account)?;
                Some((Kind::Platform, account.issuer()))
            }
        }
    }

    /// What an ActiveGate token cannot do, and what is easily overlooked.
    fn check_active_gate(&self, options: &SecretOptions, gap: Duration, place: &Place) {
        if let Some(scopes) = options.scopes.given() {
            let message = "ActiveGate tokens have no scopes; remove this";
            self.problem(&scopes.place, message);
        }
        let grace = options.grace.value().unwrap_or_default();
        if grace < USUAL_RESTART {
            let place = options.grace.given().map_or(place, |given| &given.place);
            self.context.warn(format!(
                "{}: an ActiveGate reads its token when it starts, and its old token is deleted for good after a grace of {}; choose the time in                  which every ActiveGate is restarted, such as grace = \"7d\"",
                self.context.spot(place),
                duration::show(grace)
            ));
        }
        let Some(lifetime) = options.lifetime.given() else {
            return;
        };
        let Lifetime::For(length) = lifetime.value else {
            return;
        };
        let needed = gap + options.max_grace.value().unwrap_or_default();
        let message = if length > TWO_YEARS {
            "ActiveGate tokens live two years at most".to_owned()
        } else if length <= needed {
            format!(
                "lifetime ({}) must exceed gap + max_grace ({})",
                duration::show(length),
                duration::show(needed)
            )
        } else {
            return;
        };
        self.problem(&lifetime.place, message);
    }

    /// What a platform token needs beside its account.
    fn check_platform(
        &self,
        options: &SecretOptions,
        environment: &Environment,
        gap: Duration,
        settle: Duration,
        place: &Place,
    ) {
        let name = &environment.client.name;
        if environment.environment_id.is_none() {
            let message = format!(
                "the id of the environment \"{name}\" does not show in its url; set environment_id in [dynatrace.{name}]"
            );
            self.problem(place, message);
        }
        let is_tried = options.verify.value() != Some(Verification::Listed);
        if environment.apps_url.is_none() && is_tried {
            let message = format!(
                "where to try platform tokens of the environment \"{name}\" is not known; set apps_url in [dynatrace.{name}], or verify = \"listed\""
            );
            self.problem(place, message);
        }
        let Some(lifetime) = options.lifetime.given() else {
            return;
        };
        let lengths = [options.max_grace.value(), options.quarantine.value()];
        let needed = gap + settle + lengths.into_iter().flatten().sum::<Duration>();
        match lifetime.value {
            Lifetime::Never => {
                let message =
                    "platform tokens always expire; set lifetime to a length such as \"90d\"";
                self.problem(&lifetime.place, message);
            }
            Lifetime::For(length) if length <= needed => {
                let message = format!(
                    "lifetime ({}) must exceed gap + max_grace + quarantine + settle ({})",
                    duration::show(length),
                    duration::show(needed)
                );
                self.problem(&lifetime.place, message);
            }
            _ => {}
        }
    }

    /// The credentials of an OAuth client are no token that can be rotated.
    fn refuse_credential(&self, identity: &Identity, path: &Place) {
        let is = |account: &&Account| {
            let auth = &account.auth;
            let fields = [&auth.id_field, &auth.secret_field];
            auth.mount == identity.mount
                && auth.path == identity.path
                && fields.iter().any(|field| identity.fields.contains(field))
        };
        if let Some(account) = self.others.accounts.values().find(is) {
            let message = format!(
                "this is the OAuth client of the account \"{}\"; Dynatrace has no call that replaces one",
                account.client.name
            );
            self.problem(path, message);
        }
    }

    /// The same labels, shared with the other secrets that have them.
    fn shared(&mut self, labels: Labels) -> Labels {
        if let Some(known) = self.labels.get(&labels) {
            return known.clone();
        }
        self.labels.insert(labels.clone());
        labels
    }

    fn refuse_double_fields(&self, options: &SecretOptions) {
        let mut seen = HashSet::new();
        let fields = options.field.given();
        for field in fields.iter().flat_map(|given| &given.value) {
            if !seen.insert(&field.value) {
                let message = format!("\"{}\" is listed twice", field.value);
                self.problem(&field.place, message);
            }
        }
    }

    /// Where it is and what it is called: `name`, else the path, else `MOUNT/PATH#FIELD` when mount or field is not the default.
    fn identify(&self, options: &SecretOptions, keys: &SecretKeys, path: &str) -> Option<Identity> {
        let fields = |options: &SecretOptions| -> Option<Vec<String>> {
            let fields = options.field.value()?.into_iter();
            Some(fields.map(|field| field.value).collect())
        };
        let (mount, fields_here) = (options.mount.value()?, fields(options)?);
        let defaults = self.others.defaults;
        let usual = mount == defaults.mount.value()? && fields_here == fields(defaults)?;
        let name = match keys.name.given() {
            Some(name) => name.value.clone(),
            None if keys.name.is_present() => return None,
            None if usual => path.to_owned(),
            None => format!("{mount}/{path}#{}", fields_here[0]),
        };
        Some(Identity {
            name,
            mount,
            path: path.to_owned(),
            fields: fields_here,
        })
    }

    /// Refuses what another secret has already, and a path that cannot be right.
    fn register(&mut self, identity: &Identity, name: &Given<String>, place: &Place) {
        let Identity {
            mount,
            path,
            fields,
            name: called,
        } = identity;
        let mut taken = None;
        for field in fields {
            let key = (mount.clone(), path.clone(), field.clone());
            match self.by_field.get(&key) {
                // Its own, listed twice, is reported already.
                Some(first) if first == place => {}
                Some(first) => taken = taken.or(Some((first.clone(), field))),
                None => drop(self.by_field.insert(key, place.clone())),
            }
        }
        if let Some((first, field)) = taken {
            let message =
                format!("field \"{field}\" of {mount}/{path} is configured by two secrets");
            return self.twice(place, message, &first);
        }
        let named = name.given().map_or(place, |name| &name.place);
        match self.by_name.get(called) {
            Some(first) => self.twice(
                named,
                format!("two secrets have the name \"{called}\"; give one of them another name"),
                first,
            ),
            None => drop(self.by_name.insert(called.clone(), named.clone())),
        }
        let journal = self.others.journal;
        let below = path.strip_prefix(&journal.path);
        if *mount == journal.mount
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            let message = format!(
                "this path is inside the journal ({mount}/{}); choose another",
                journal.path
            );
            self.problem(place, message);
        }
        self.check_mount(mount, path, place);
    }

    /// Finds a path that repeats the mount, as the addresses of Vault's API and `vault kv` do.
    fn check_mount(&self, mount: &str, path: &str, place: &Place) {
        let below = path.strip_prefix(mount);
        let Some(below) = below.and_then(|rest| rest.strip_prefix('/')) else {
            return;
        };
        match below.strip_prefix("data/") {
            Some(below) => {
                let message = format!("the path is below the mount \"{mount}\"; write \"{below}\"");
                self.problem(place, message);
            }
            None => self.context.warn(format!(
                "{}: the path \"{path}\" repeats the mount \"{mount}\"; unless there is such a folder, write \"{below}\"",
                self.context.spot(place)
            )),
        }
    }

    /// The environment: named, or the only one; `None` also for one that has problems of its own.
    fn environment(&self, options: &SecretOptions, place: &Place) -> Option<&'a Environment> {
        let names = self.others.environment_names;
        let name = match (options.environment.given(), names) {
            (Some(name), _) if !names.contains(&name.value) => {
                self.context.unknown_environment(name, names);
                return None;
            }
            (Some(name), _) => &name.value,
            (None, [only]) => only,
            (None, []) => return None,
            (None, several) => {
                if !options.environment.is_present() && !self.context.is_incomplete() {
                    let message = format!(
                        "this secret names no environment, and there are several: {}",
                        several.join(", ")
                    );
                    self.problem(place, message);
                }
                return None;
            }
        };
        self.others.environments.get(name)
    }

    /// Whether it is its environment's management token. Being only another environment's is refused: that token would be rotated at
    /// the wrong address.
    fn manages_tokens(&self, identity: &Identity, own: &Environment, path: &Place) -> bool {
        let is = |environment: &&Environment| {
            environment.auth.as_ref().is_some_and(|auth| {
                auth.mount == identity.mount
                    && auth.path == identity.path
                    && identity.fields.contains(&auth.field)
            })
        };
        let mut environments = self.others.environments.values();
        if !is(&own)
            && let Some(other) = environments.find(is)
        {
            let message = format!(
                "this is the management token of the environment \"{}\", but the secret belongs to \"{}\"",
                other.client.name, own.client.name
            );
            self.problem(path, message);
        }
        is(&own)
    }

    /// The former names, when all names are known.
    fn check_former_names(&self) {
        let mut seen: HashMap<&str, &Place> = HashMap::new();
        for former in &self.renamed {
            if let Some(still) = self.by_name.get(&former.value) {
                let message = format!("\"{}\" is still the name of a secret", former.value);
                let problem = Problem::new(&former.place, message);
                self.context
                    .problem(problem.also(still, "it is given here"));
            }
            if let Some(first) = seen.insert(&former.value, &former.place) {
                let message = format!("two secrets were renamed from \"{}\"", former.value);
                self.twice(&former.place, message, first);
            }
        }
    }
}
