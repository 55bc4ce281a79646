//! `[account.*]`: the accounts and where their OAuth clients are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::kv_path::{check_mount, check_path};
use super::problem::Problem;
use super::section::Section;
use super::settings::{Account, OAuthPlace};
use super::table::{Given, Table};
use super::tables::{AccountTable, OAuthClientTable};
use super::transport::{added, transport};
use super::validate;
use crate::dynatrace::{AccountOptions, BaseUrl};

/// Disabling a platform token may take five minutes; what is concluded sooner than after twice that may be wrong.
const LEAST_SETTLE: Duration = Duration::from_secs(600);

/// `[account]`, and the names of all accounts in the files, valid or not.
pub(super) fn accounts(
    section: &Section<'_>,
    default_mount: &str,
    context: &Context,
) -> (BTreeMap<String, Account>, Vec<String>) {
    let mut accounts = BTreeMap::new();
    let mut names = Vec::new();
    for (name, place) in section.keys() {
        names.push(name.to_owned());
        if let Err(why) = validate::environment_name(name) {
            let message = format!("\"{name}\" {}", why.replace("an environment", "an account"));
            context.problem(Problem::new(place, message));
        }
        let account = account(name, section.table(name), default_mount, context);
        accounts.extend(account.map(|found| (name.to_owned(), found)));
    }
    (accounts, names)
}

fn account(
    name: &str,
    section: Section<'_>,
    default_mount: &str,
    context: &Context,
) -> Option<Account> {
    section.has_tables(["auth"]);
    let table = AccountTable::read(&section);
    if !table.uuid.is_present() {
        section.missing("uuid", &format!("[account.{name}] has no uuid"));
    }
    let addresses: Vec<_> = [&table.api_url, &table.sso_url]
        .into_iter()
        .filter_map(Given::given)
        .map(|placed| (placed.value.url(), &placed.place))
        .collect();
    let trust = added(table.ca_file.or_default());
    let mut http = transport(&section, &table.transport, trust, &addresses, context);
    // An address that was not written is the default, which is https.
    let https = |url: &BaseUrl| url.url().scheme() == "https";
    http.https_only = https(&table.api_url.or_default()) && https(&table.sso_url.or_default());
    let settle = table.settle.or_default();
    if let Some(given) = table.settle.given().filter(|_| settle < LEAST_SETTLE) {
        context.warn(format!(
            "{}: settle of [account.{name}] is below 10m, and disabling a platform token alone may take 5 minutes",
            context.spot(&given.place)
        ));
    }
    let auth = oauth_client(name, section.table("auth"), default_mount, context);
    section.finish();
    let limits = [&table.tokens_per_user, &table.tokens_per_service_user];
    Some(Account {
        client: AccountOptions {
            name: name.to_owned(),
            uuid: table.uuid.value()?,
            api_url: table.api_url.value()?,
            sso_url: table.sso_url.value()?,
            limit: limits.iter().map(|limit| limit.or_default()).min()?,
            http,
        },
        settle,
        auth: auth?,
    })
}

/// `[account.X.auth]`
fn oauth_client(
    name: &str,
    section: Section<'_>,
    default_mount: &str,
    context: &Context,
) -> Option<OAuthPlace> {
    let table = OAuthClientTable::read(&section);
    if !table.path.is_present() {
        section.missing(
            "path",
            &format!(
                "[account.{name}.auth] has no path: where in Vault are the credentials of the OAuth client?"
            ),
        );
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
    Some(OAuthPlace {
        mount,
        path: table.path.value()?,
        id_field: table.id_field.or_default(),
        secret_field: table.secret_field.or_default(),
    })
}
