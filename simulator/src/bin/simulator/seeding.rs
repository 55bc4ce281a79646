//! What the program puts into its stand-ins at the start, and where it writes the values.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{
    Account, ActiveGate, Dynatrace, Kv, PlatformSeed, Seed, Seeded, Simulator, scopes,
};

use crate::Arguments;

/// What a management token needs for API tokens of both generations and for ActiveGate tokens.
const MANAGEMENT_SCOPES: [&str; 5] = [
    scopes::READ,
    scopes::WRITE,
    scopes::MANAGE_V1,
    "activeGateTokenManagement.read",
    "activeGateTokenManagement.write",
];

/// What an OAuth client of dtrotate needs.
const CLIENT_SCOPES: [&str; 2] = [
    "platform-token:tokens:manage",
    "platform-token:tokens:write",
];

/// The scopes of a seeded platform token; by the first it can be tried.
const PLATFORM_SCOPES: [&str; 2] = ["app-engine:apps:run", "storage:logs:read"];

pub fn seed(simulator: &Simulator, arguments: &Arguments) -> io::Result<()> {
    let (dynatrace, kv) = (simulator.dynatrace(), simulator.kv());
    if let Some(file) = &arguments.management_token_file {
        let seed = Seed::new("management").scopes(&MANAGEMENT_SCOPES);
        let token = management(&dynatrace, seed, file)?;
        keep(&kv, "management", &token.value);
        say("management token", &token.id, file);
    }
    if let Some(file) = &arguments.tokens_file {
        let number = arguments.tokens;
        list(&kv, "seeded", number, file, |name| {
            dynatrace.seed(Seed::new(name))
        })?;
    }
    if let Some(file) = &arguments.activegate_tokens_file {
        let number = arguments.activegate_tokens;
        list(&kv, "activegate", number, file, |name| {
            let kind = Some("ENVIRONMENT".to_owned());
            dynatrace.seed_active_gate(Seed::new(name), ActiveGate { kind, seed: false })
        })?;
    }
    if let (Some(file), Some(cluster)) = (
        &arguments.cluster_token_file,
        simulator.environments().last(),
    ) {
        let seed = Seed::cluster_management("cluster-management");
        let token = management(cluster, seed, file)?;
        keep(&kv, "cluster-management", &token.value);
        say("cluster token", &token.id, file);
    }
    if let Some(account) = simulator.account() {
        seed_account(simulator, &account, arguments)?;
    }
    if let Some(file) = &arguments.vault_token_file {
        write_private(file, kv.root_token())?;
        println!("vault {}: token in {}", kv.url(), file.display());
    }
    Ok(())
}

fn seed_account(simulator: &Simulator, account: &Account, arguments: &Arguments) -> io::Result<()> {
    let kv = simulator.kv();
    account.configure(|settings| {
        if let Some(limit) = arguments.tokens_per_owner {
            settings.user_limit = limit;
            settings.service_user_limit = limit;
        }
        if let Some(lag) = arguments.disable_lag {
            settings.disable_lag = Duration::from_secs(lag);
        }
    });
    let user = account.seed_service_user();
    if let Some(file) = &arguments.client_file {
        let client = account.seed_client(&user, &CLIENT_SCOPES);
        let body = json!({
            "client_id": client.id,
            "client_secret": client.value,
            "user_uuid": user,
        });
        write_private(file, &body.to_string())?;
        kv.put("secret", "dynatrace/oauth-client", body);
        println!("account {}: client in {}", account.uuid(), file.display());
        println!("api {}", account.api_url());
        println!("sso {}", account.sso_url());
    }
    if let Some(file) = &arguments.platform_tokens_file {
        let number = arguments.platform_tokens;
        list(&kv, "platform", number, file, |name| {
            let seed = PlatformSeed::new(name, &user).scopes(&PLATFORM_SCOPES);
            let environments = simulator.environments().iter();
            let places = environments.filter(|one| one.apps_url().is_some());
            account.seed(places.fold(seed, |seed, one| seed.environment(one.id())))
        })?;
    }
    Ok(())
}

/// Seeds tokens and writes their list.
fn list(
    kv: &Kv,
    kind: &str,
    number: usize,
    file: &Path,
    mut seed: impl FnMut(&str) -> Seeded,
) -> io::Result<()> {
    let list: Vec<Value> = (1..=number)
        .map(|number| {
            let name = format!("{kind}-{number}");
            let seeded = seed(&name);
            keep(kv, &name, &seeded.value);
            json!({ "id": seeded.id, "name": name, "value": seeded.value })
        })
        .collect();
    write_private(file, &json!(list).to_string())?;
    println!("{number} {kind} tokens: values in {}", file.display());
    Ok(())
}

/// Into the small Vault.
fn keep(kv: &Kv, name: &str, value: &str) {
    let path = format!("dynatrace/{name}");
    kv.put("secret", &path, json!({ "token": value }));
}

fn say(what: &str, id: &str, file: &Path) {
    println!("{what} {id}: value in {}", file.display());
}

/// A token with the value of this file, or one whose value is written to it.
fn management(dynatrace: &Dynatrace, seed: Seed, file: &Path) -> io::Result<Seeded> {
    match std::fs::read_to_string(file) {
        Ok(value) if value.trim().is_empty() => {
            Err(io::Error::other(format!("{} is empty", file.display())))
        }
        Ok(value) => Ok(dynatrace.seed(seed.value(value.trim()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seeded = dynatrace.seed(seed);
            write_private(file, &seeded.value)?;
            Ok(seeded)
        }
        Err(error) => Err(about(file, &error)),
    }
}

/// Replaces the file; only its owner may read it.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(about(file, &error)),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .map_err(|error| about(file, &error))
}

fn about(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}
