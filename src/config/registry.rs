//! What secrets are called and where they are in Vault; no two of them may have the same.

use std::collections::{HashMap, HashSet};

use super::context::Context;
use super::kv_path::check_path;
use super::problem::{Place, Placed, Problem};
use super::tables::{Journal, SecretKeys, SecretOptions};

/// Where one secret is in Vault, and its name.
pub(super) struct Identity {
    pub name: String,
    pub mount: String,
    pub path: String,
    pub fields: Vec<String>,
}

impl Identity {
    /// Where it is and what it is called: `name`, else the path, else `MOUNT/PATH#FIELD` when mount or field is not the default.
    pub(super) fn of(
        options: &SecretOptions,
        keys: &SecretKeys,
        defaults: &SecretOptions,
        path: &str,
    ) -> Option<Identity> {
        let fields = |options: &SecretOptions| -> Option<Vec<String>> {
            let fields = options.field.value()?.into_iter();
            Some(fields.map(|field| field.value).collect())
        };
        let (mount, fields_here) = (options.mount.value()?, fields(options)?);
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
}

/// The names and fields that are taken.
pub(super) struct Registry<'a> {
    context: &'a Context,
    journal: &'a Journal,
    by_name: HashMap<String, Place>,
    by_field: HashMap<(String, String, String), Place>,
    /// Former names with their places.
    renamed: Vec<Placed<String>>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(journal: &'a Journal, context: &'a Context) -> Self {
        Registry {
            context,
            journal,
            by_name: HashMap::new(),
            by_field: HashMap::new(),
            renamed: Vec::new(),
        }
    }

    /// A secret had other names before.
    pub(super) fn rename(&mut self, keys: &SecretKeys) {
        self.renamed.extend(keys.renamed_from.given().cloned());
    }

    /// Refuses what another secret has already, and a path that cannot be right.
    pub(super) fn register(&mut self, identity: &Identity, keys: &SecretKeys, place: &Place) {
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
            return self.context.twice(place, message, &first);
        }
        let named = keys.name.given().map_or(place, |name| &name.place);
        match self.by_name.get(called) {
            Some(first) => self.context.twice(
                named,
                format!("two secrets have the name \"{called}\"; give one of them another name"),
                first,
            ),
            None => drop(self.by_name.insert(called.clone(), named.clone())),
        }
        let journal = self.journal;
        let below = path.strip_prefix(&journal.path);
        if *mount == journal.mount
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            let message = format!(
                "this path is inside the journal ({mount}/{}); choose another",
                journal.path
            );
            self.context.problem(Problem::new(place, message));
        }
        warn_of_pattern(path, place, self.context);
        check_path(mount, path, place, self.context);
    }

    /// The former names, when all names are known.
    pub(super) fn finish(&self) {
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
                self.context.twice(&former.place, message, first);
            }
        }
    }
}

/// Finds a path that is meant as a pattern.
fn warn_of_pattern(path: &str, place: &Place, context: &Context) {
    if path.contains('*') {
        context.warn(format!(
            "{}: the path \"{path}\" has a \"*\" in it, which is taken literally; to rotate every secret below a folder, set discover",
            context.spot(place)
        ));
    }
}

/// Refuses a field that one secret lists twice.
pub(super) fn refuse_double_fields(options: &SecretOptions, context: &Context) {
    let mut seen = HashSet::new();
    let fields = options.field.given();
    for field in fields.iter().flat_map(|given| &given.value) {
        if !seen.insert(&field.value) {
            let message = format!("\"{}\" is listed twice", field.value);
            context.problem(Problem::new(&field.place, message));
        }
    }
}
