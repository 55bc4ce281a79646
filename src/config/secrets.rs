//! `[[secret]]`: each with its defaults filled in, checked alone and against all others.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::SignedDuration;

use crate::schedule::due::CATCH_UP_SPREAD;

use super::context::Context;
use super::discovery::Discovery;
use super::file;
use super::issuer::{OF_ONE_KIND, check_kind, issuer, warn_of_other_kinds};
use super::kv_path::{check_mount, check_path};
use super::lifecycle::{check_lengths, check_rates};
use super::merge::Tree;
use super::paths;
use super::problem::{Place, Placed, Problem};
use super::registry::{Identity, Registry, refuse_double_fields};
use super::rights::desired;
use super::schedules::{Schedules, blackouts};
use super::section::Section;
use super::settings::{Account, Environment, IssuerPlace, SecretSettings, SharedSettings};
use super::table::Table;
use super::tables::{Journal, SecretKeys, SecretOptions};
use crate::labels::Labels;
use rotation::plan::{self, Kind, Plan, Terms};

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
        registry: Registry::new(others.journal, context),
        others,
        schedules: Schedules::default(),
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
    secrets.registry.finish();
    let folders = secrets.discoveries.into_iter();
    (valid, folders.map(|(discovery, _)| discovery).collect())
}

struct Secrets<'a> {
    context: &'a Context,
    others: Others<'a>,
    schedules: Schedules,
    registry: Registry<'a>,
    /// Each distinct set once: many secrets share one.
    labels: HashSet<Labels>,
    /// The folders, each with its place.
    discoveries: Vec<(Discovery, Place)>,
}

impl<'a> Secrets<'a> {
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
        let of_one_kind = OF_ONE_KIND.map(|key| section.place_of(key));
        section.finish();

        refuse_double_fields(&options, context);
        if let Some(mount) = options.mount.given() {
            check_mount(&mount.value, &mount.place, context);
        }
        self.registry.rename(&keys);
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
        let issuer = environment.and_then(|environment| {
            issuer(&options, environment, self.others.accounts, &place, context)
        });
        if let Some((kind, _)) = &issuer {
            warn_of_other_kinds(of_one_kind, *kind, context);
        }
        if let (Some(issuer), Some(environment), Some(timing)) = (&issuer, environment, &timing) {
            check_kind(
                &options,
                environment,
                issuer,
                timing.shortest_gap,
                &place,
                context,
            );
        }
        let is_folder = keys.discover.is_present();
        let mut found = vec![];
        for path in &paths {
            let identity = Identity::of(&options, &keys, self.others.defaults, &path.value);
            match &identity {
                Some(identity) if !is_folder => {
                    self.registry.register(identity, &keys, &path.place);
                    self.refuse_credential(identity, &path.place);
                }
                Some(identity) => {
                    check_path(&identity.mount, &identity.path, &path.place, context);
                }
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
            return self.context.twice(&folder.place, message, first);
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

    /// The credentials of an OAuth client are not a token that can be rotated.
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
            self.context.problem(Problem::new(path, message));
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
                    self.context.problem(Problem::new(place, message));
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
            self.context.problem(Problem::new(path, message));
        }
        is(&own)
    }
}
