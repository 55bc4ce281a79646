//! `sys/`: health, leader, seal status, capabilities and mounts.

use serde_json::{Value, json};

use super::auth::VaultToken;
use super::{CONTENT_TYPE, State, answer, object, store, unsupported_operation};
use crate::calls::Operation;
use crate::clock::Clock;
use crate::message::{Incoming, Reply};

const MOUNT_INFO: &str = "internal/ui/mounts/";
const VERSION: &str = "2.7.2";
const CLUSTER: &str = "simulator";

pub(super) fn operation(path: &str) -> Option<Operation> {
    match path {
        "health" => Some(Operation::Health),
        "leader" => Some(Operation::Leader),
        "seal-status" => Some(Operation::SealStatus),
        "capabilities-self" => Some(Operation::Capabilities),
        path if path.starts_with(MOUNT_INFO) => Some(Operation::MountInfo),
        _ => None,
    }
}

pub(super) fn template(path: &str) -> &str {
    if path.starts_with(MOUNT_INFO) {
        "internal/ui/mounts/{path}"
    } else {
        path
    }
}

/// What answers without a token, sealed or not.
pub(super) fn without_token(
    state: &State,
    clock: &Clock,
    path: &str,
    incoming: &Incoming,
) -> Option<Reply> {
    let body = match path {
        "health" => health(state, clock),
        "leader" => json!({ "ha_enabled": false }),
        "seal-status" => seal_status(state),
        _ => return None,
    };
    if incoming.method == "HEAD" && path == "health" {
        return Some(Reply::empty(if state.sealed { 503 } else { 200 }));
    }
    if incoming.method != "GET" {
        return Some(Reply::vault_error(405, &[]));
    }
    let status = if path == "health" && state.sealed {
        503
    } else {
        200
    };
    Some(Reply::json(status, CONTENT_TYPE, &body))
}

fn health(state: &State, clock: &Clock) -> Value {
    let replication = if state.sealed { "unknown" } else { "disabled" };
    let mut health = json!({
        "initialized": true,
        "sealed": state.sealed,
        "standby": state.sealed,
        "replication_performance_mode": replication,
        "replication_dr_mode": replication,
        "server_time_utc": clock.now().as_second(),
        "version": VERSION,
    });
    if !state.sealed {
        health["cluster_name"] = json!(CLUSTER);
        health["cluster_id"] = json!(CLUSTER);
    }
    health
}

fn seal_status(state: &State) -> Value {
    json!({
        "type": "shamir",
        "initialized": true,
        "sealed": state.sealed,
        "t": 1,
        "n": 1,
        "progress": 0,
        "nonce": "",
        "recovery_seal": false,
        "version": VERSION,
        "migration": false,
        "storage_type": "inmem",
    })
}

pub(super) fn with_token(
    state: &State,
    token: &VaultToken,
    path: &str,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    match (path, incoming.method.as_str()) {
        ("capabilities-self", "POST" | "PUT") => {
            token.needs("sys/capabilities-self", "update")?;
            capabilities(token, incoming)
        }
        ("capabilities-self", _) => Err(unsupported_operation()),
        (path, "GET") if path.starts_with(MOUNT_INFO) => {
            mount_info(state, token, &path[MOUNT_INFO.len()..])
        }
        (path, _) if path.starts_with(MOUNT_INFO) => Err(unsupported_operation()),
        _ => {
            token.needs(&format!("sys/{path}"), "read")?;
            Err(Reply::vault_error(
                404,
                &["1 error occurred:\n\t* unsupported path\n\n"],
            ))
        }
    }
}

fn capabilities(token: &VaultToken, incoming: &Incoming) -> Result<Reply, Reply> {
    let body = object(incoming)?;
    let paths: Vec<&str> = match body.get("paths") {
        Some(Value::Array(paths)) => paths.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(paths)) => paths.split(',').collect(),
        _ => Vec::new(),
    };
    if paths.is_empty() {
        return Err(Reply::vault_error(400, &["paths must be supplied"]));
    }
    let mut data: serde_json::Map<String, Value> = paths
        .iter()
        .map(|path| ((*path).to_owned(), json!(token.capabilities(path))))
        .collect();
    if let [path] = paths.as_slice() {
        data.insert("capabilities".to_owned(), json!(token.capabilities(path)));
    }
    let mut reply = answer(200, Value::Object(data.clone()), &[]);
    // Vault repeats the paths beside `data`.
    if let Ok(Value::Object(mut whole)) = serde_json::from_slice(&reply.body) {
        whole.extend(data);
        reply.body = Value::Object(whole).to_string().into_bytes();
    }
    Ok(reply)
}

fn mount_info(state: &State, token: &VaultToken, path: &str) -> Result<Reply, Reply> {
    let refused = || {
        let shown = format!("{}/", path.trim_end_matches('/'));
        let text = format!(
            "preflight capability check returned 403, please ensure client's policies grant access to path \"{shown}\""
        );
        Reply::vault_error(403, &[&text])
    };
    let slashed = format!("{path}/");
    let (mount, _) = store::split_mount(&state.mounts, &slashed).ok_or_else(refused)?;
    if !token.reaches_into(mount) {
        return Err(refused());
    }
    let data = json!({
        "accessor": format!("kv_{mount}"),
        "config": { "default_lease_ttl": 0, "force_no_cache": false, "max_lease_ttl": 0 },
        "description": "",
        "external_entropy_access": false,
        "local": false,
        "options": { "version": "2" },
        "path": format!("{mount}/"),
        "seal_wrap": false,
        "type": "kv",
    });
    Ok(answer(200, data, &[]))
}
