//! `[dynatrace.*]`: the environments and where their management tokens are.

use std::collections::BTreeMap;

use super::context::Context;
use super::kv_path::{check_mount, check_path};
use super::problem::Problem;
use super::section::Section;
use super::settings::{Environment, Field};
use super::table::Table;
use super::tables::{EnvironmentTable, ManagementToken};
use super::transport::{added, transport};
use super::url::{apps_url, environment_id};
use super::validate;
use crate::dynatrace::{self, Api};

/// `[dynatrace]`. The second part of the result are the names of all environments in the files, valid or not, so that a secret that names a
/// broken one is not reported as well.
pub(super) fn environments(
    section: &Section<'_>,
    default_mount: &str,
    accounts: &[String],
    context: &Context,
) -> (BTreeMap<String, Environment>, Vec<String>) {
    let mut environments = BTreeMap::new();
    let mut names = Vec::new();
    for (name, place) in section.keys() {
        names.push(name.to_owned());
        if let Err(why) = validate::environment_name(name) {
            context.problem(Problem::new(place, format!("\"{name}\" {why}")));
        }
        let table = section.table(name);
        let environment = environment(name, table, default_mount, accounts, context);
        environments.extend(environment.map(|found| (name.to_owned(), found)));
    }
    if names.is_empty() {
        section.missing(
            "*",
            "no Dynatrace environment is configured: add a table such as [dynatrace.prod]",
        );
    }
    (environments, names)
}

fn environment(
    name: &str,
    section: Section<'_>,
    default_mount: &str,
    accounts: &[String],
    context: &Context,
) -> Option<Environment> {
    section.has_tables(["auth"]);
    let table = EnvironmentTable::read(&section);
    if !table.url.is_present() {
        section.missing("url", &format!("[dynatrace.{name}] has no url"));
    }
    let url = table.url.given();
    if let Some((url, web)) = url.and_then(|url| Some((url, url.value.web.as_ref()?))) {
        context.warn(format!(
            "{}: {web} is the web interface; the API at {} is used instead, so write that",
            context.spot(&url.place),
            url.value.base
        ));
    }
    let trust = added(table.ca_file.or_default());
    let placed = url.map(|url| (url.value.base.url(), &url.place));
    let mut http = transport(
        &section,
        &table.transport,
        trust,
        placed.as_slice(),
        context,
    );
    http.tls_server_name = table.tls_server_name.or_default();
    let api = table.api.or_default();
    if let Some(url) = url
        && let Some(why) = wrong_address(url.value.base.url().path(), api)
    {
        context.problem(Problem::new(&url.place, why));
    }
    let account = account(&table, accounts, context);
    let auth = section.table("auth");
    // Only platform tokens may be rotated here; a secret that needs more says so.
    let auth = match auth.is_empty() && !accounts.is_empty() && !section.is_misspelt("auth") {
        true => Some(None),
        false => management_token(name, auth, default_mount, context).map(Some),
    };
    section.finish();
    let base = url.map(|url| url.value.base.url());
    Some(Environment {
        client: dynatrace::Options {
            name: name.to_owned(),
            base_url: url?.value.base.clone(),
            api,
            http,
        },
        allowed_scopes: table
            .allowed_scopes
            .given()
            .map(|given| given.value.iter().map(|it| it.value.clone()).collect()),
        settle: table.settle.or_default(),
        auth: auth?,
        account,
        environment_id: (table.environment_id.value()).or_else(|| environment_id(base?)),
        apps_url: table.apps_url.value().or_else(|| apps_url(base?)),
    })
}

/// The address is that of a cluster, and an environment is meant, or the reverse.
fn wrong_address(path: &str, api: Api) -> Option<&'static str> {
    let environment = path.split('/').any(|part| part == "e");
    (api == Api::Cluster && environment).then_some(
        "with api = \"cluster\" this is the address of the cluster, without an environment; write https://HOST",
    )
}

/// The account: named, or the only one.
fn account(table: &EnvironmentTable, accounts: &[String], context: &Context) -> Option<String> {
    match (table.account.given(), accounts) {
        (Some(name), _) if !accounts.contains(&name.value) => {
            let message = format!("there is no [account.{}]", name.value);
            context.problem(Problem::new(&name.place, message));
            Some(name.value.clone())
        }
        (Some(name), _) => Some(name.value.clone()),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// `[dynatrace.X.auth]`
fn management_token(
    name: &str,
    section: Section<'_>,
    default_mount: &str,
    context: &Context,
) -> Option<Field> {
    let table = ManagementToken::read(&section);
    if !table.path.is_present() {
        section.missing("path", &format!(
            "[dynatrace.{name}.auth] has no path: where in Vault is the token that may manage tokens?"
        ));
    }
    section.finish();
    if let Some(mount) = table.mount.given() {
        check_mount(&mount.value, &mount.place, context);
    }
    let mount = table.mount.value();
    let mount = mount.unwrap_or_else(|| default_mount.to_owned());
    if let Some(path) = table.path.given() {
        check_path(&mount, &path.value, &path.place, context);
    }
    Some(Field {
        mount,
        field: table.field.or_default(),
        path: table.path.value()?,
    })
}
