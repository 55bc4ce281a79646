//! Tokens of the KV stand-in: the root token, the one AppRole, renewal, and what a policy allows.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{AppRole, CONTENT_TYPE, KvOptions, PolicyRule, answer, object, unsupported_operation};
use crate::calls::Operation;
use crate::clock::Clock;
use crate::dynatrace::secret::uuid;
use crate::message::{Incoming, Reply};

/// A token that calls.
#[derive(Clone)]
pub(super) struct VaultToken {
    value: String,
    pub(super) accessor: String,
    issued: Timestamp,
    /// `None` for the root token, which never ends.
    lease: Option<Lease>,
    policy: Vec<PolicyRule>,
}

#[derive(Clone, Copy)]
struct Lease {
    ttl: Duration,
    expires: Timestamp,
    max: Timestamp,
}

pub(super) struct Auth {
    clock: Clock,
    role: AppRole,
    pub(super) root: String,
    tokens: HashMap<String, VaultToken>,
}

pub(super) fn operation(path: &str) -> Option<Operation> {
    match path {
        "approle/login" => Some(Operation::Login),
        "token/lookup-self" => Some(Operation::LookupSelf),
        "token/renew-self" => Some(Operation::RenewSelf),
        "token/revoke-self" => Some(Operation::RevokeSelf),
        _ => None,
    }
}

fn denied() -> Reply {
    Reply::vault_error(403, &["permission denied"])
}

impl Auth {
    pub(super) fn new(options: &KvOptions, clock: Clock) -> Auth {
        let root = options
            .root_token
            .clone()
            .unwrap_or_else(|| drawn_token("s."));
        let token = VaultToken {
            value: root.clone(),
            accessor: uuid(),
            issued: clock.now(),
            lease: None,
            policy: Vec::new(),
        };
        Auth {
            clock,
            role: options.app_role.clone(),
            tokens: HashMap::from([(root.clone(), token)]),
            root,
        }
    }

    pub(super) fn role(&self) -> &AppRole {
        &self.role
    }

    pub(super) fn set_secret_id(&mut self, secret_id: &str) {
        self.role.secret_id = secret_id.to_owned();
    }

    /// Ends every token but the root token.
    pub(super) fn revoke_all(&mut self) {
        self.tokens.retain(|_, token| token.lease.is_none());
    }

    fn sent(incoming: &Incoming) -> Option<&str> {
        incoming
            .header("x-vault-token")
            .or_else(|| incoming.header("authorization")?.strip_prefix("Bearer "))
    }

    pub(super) fn accessor_of(&self, incoming: &Incoming) -> Option<String> {
        Some(self.tokens.get(Self::sent(incoming)?)?.accessor.clone())
    }

    pub(super) fn authenticated(&mut self, incoming: &Incoming) -> Result<VaultToken, Reply> {
        let value = Self::sent(incoming).ok_or_else(denied)?;
        let token = self.tokens.get(value).ok_or_else(denied)?.clone();
        if token
            .lease
            .is_some_and(|lease| lease.expires <= self.clock.now())
        {
            self.tokens.remove(value);
            return Err(denied());
        }
        Ok(token)
    }
}

fn drawn_token(prefix: &str) -> String {
    let rest: String = (0..24).map(|_| fastrand::alphanumeric()).collect();
    format!("{prefix}{rest}")
}

fn plus(at: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

/// POST `auth/approle/login`.
pub(super) fn login(auth: &mut Auth, incoming: &Incoming) -> Result<Reply, Reply> {
    if !matches!(incoming.method.as_str(), "POST" | "PUT") {
        return Err(unsupported_operation());
    }
    let body = object(incoming)?;
    let text = |key: &str| {
        body.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let Some(role_id) = text("role_id") else {
        return Err(Reply::vault_error(500, &["missing role_id"]));
    };
    if role_id != auth.role.role_id {
        return Err(Reply::vault_error(400, &["invalid role or secret ID"]));
    }
    let Some(secret_id) = text("secret_id") else {
        return Err(Reply::vault_error(400, &["missing secret_id"]));
    };
    if secret_id != auth.role.secret_id {
        return Err(Reply::vault_error(400, &["invalid role or secret ID"]));
    }
    let now = auth.clock.now();
    let token = VaultToken {
        value: drawn_token("s."),
        accessor: uuid(),
        issued: now,
        lease: Some(Lease {
            ttl: auth.role.ttl,
            expires: plus(now, auth.role.ttl),
            max: plus(now, auth.role.max_ttl),
        }),
        policy: auth.role.policy.clone(),
    };
    let reply = auth_reply(&token, auth.role.ttl.as_secs(), &[]);
    auth.tokens.insert(token.value.clone(), token);
    Ok(reply)
}

fn auth_reply(token: &VaultToken, lease_seconds: u64, warnings: &[String]) -> Reply {
    let policies = ["default", "simulator"];
    let body = json!({
        "request_id": uuid(),
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": null,
        "wrap_info": null,
        "warnings": if warnings.is_empty() { Value::Null } else { json!(warnings) },
        "auth": {
            "client_token": token.value,
            "accessor": token.accessor,
            "policies": policies,
            "token_policies": policies,
            "metadata": { "role_name": "simulator" },
            "lease_duration": lease_seconds,
            "renewable": true,
            "entity_id": token.accessor,
            "token_type": "service",
            "orphan": true,
            "mfa_requirement": null,
            "num_uses": 0,
        },
    });
    Reply::json(200, CONTENT_TYPE, &body).with_header("cache-control", "no-store")
}

/// `auth/token/*-self`.
pub(super) fn answer_auth(
    auth: &mut Auth,
    token: &VaultToken,
    path: &str,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let writes = matches!(incoming.method.as_str(), "POST" | "PUT");
    match path {
        "token/lookup-self" if incoming.method == "GET" => {
            token.needs("auth/token/lookup-self", "read")?;
            Ok(lookup(auth, token))
        }
        "token/renew-self" if writes => {
            token.needs("auth/token/renew-self", "update")?;
            renew(auth, token, incoming)
        }
        "token/revoke-self" if writes => {
            token.needs("auth/token/revoke-self", "update")?;
            auth.tokens.remove(&token.value);
            Ok(Reply::empty(204))
        }
        "token/lookup-self" | "token/renew-self" | "token/revoke-self" => {
            Err(unsupported_operation())
        }
        _ => {
            token.needs(&format!("auth/{path}"), "read")?;
            let text = format!("no handler for route \"auth/{path}\". route entry not found.");
            Err(Reply::vault_error(404, &[&text]))
        }
    }
}

fn lookup(auth: &Auth, token: &VaultToken) -> Reply {
    let now = auth.clock.now();
    let ttl = token.lease.map_or(0, |lease| {
        lease.expires.duration_since(now).as_secs().max(0)
    });
    let root = token.lease.is_none();
    let data = json!({
        "accessor": token.accessor,
        "creation_time": token.issued.as_second(),
        "creation_ttl": token.lease.map_or(0, |lease| lease.ttl.as_secs()),
        "display_name": if root { "token" } else { "approle" },
        "entity_id": if root { "" } else { token.accessor.as_str() },
        "expire_time": token.lease.map(|lease| lease.expires.to_string()),
        "explicit_max_ttl": 0,
        "id": token.value,
        "issue_time": token.issued.to_string(),
        "meta": if root { Value::Null } else { json!({ "role_name": "simulator" }) },
        "num_uses": 0,
        "orphan": true,
        "path": if root { "auth/token/create" } else { "auth/approle/login" },
        "policies": if root { json!(["root"]) } else { json!(["default", "simulator"]) },
        "renewable": !root,
        "ttl": ttl,
        "type": "service",
    });
    answer(200, data, &[])
}

fn renew(auth: &mut Auth, token: &VaultToken, incoming: &Incoming) -> Result<Reply, Reply> {
    let Some(lease) = token.lease else {
        return Err(Reply::vault_error(400, &["lease is not renewable"]));
    };
    let body = object(incoming)?;
    let asked = match body.get("increment") {
        None | Some(Value::Null) => lease.ttl,
        Some(Value::Number(seconds)) => Duration::from_secs(seconds.as_u64().unwrap_or(0)),
        Some(value) => seconds_of(value.as_str().unwrap_or("")).ok_or_else(|| {
            Reply::vault_error(400, &["error converting input for field \"increment\""])
        })?,
    };
    let asked = if asked.is_zero() { lease.ttl } else { asked };
    let now = auth.clock.now();
    let expires = plus(now, asked).min(lease.max);
    let granted = expires.duration_since(now).as_secs_f64().round().max(0.0) as u64;
    let mut warnings = Vec::new();
    if plus(now, asked) > lease.max {
        warnings.push(format!(
            "TTL of \"{}s\" exceeded the effective max_ttl of \"{granted}s\"; TTL value is capped accordingly",
            asked.as_secs()
        ));
    }
    if let Some(own) = auth.tokens.get_mut(&token.value) {
        own.lease = Some(Lease { expires, ..lease });
    }
    Ok(auth_reply(token, granted, &warnings))
}

/// `90`, `90s`, `5m` or `1h`.
fn seconds_of(text: &str) -> Option<Duration> {
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h']) {
        None => (text, 1),
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) => (number, 1),
    };
    let seconds: u64 = number.parse().ok()?;
    Some(Duration::from_secs(seconds.checked_mul(factor)?))
}

impl VaultToken {
    /// 403 unless the token may do this; the path is without `v1/`.
    pub(super) fn needs(&self, path: &str, capability: &str) -> Result<(), Reply> {
        let own = self.capabilities(path);
        if own.iter().any(|have| have == "root" || have == capability) {
            return Ok(());
        }
        Err(Reply::vault_error(
            403,
            &["1 error occurred:\n\t* permission denied\n\n"],
        ))
    }

    /// As `sys/capabilities-self` shows them, sorted.
    pub(super) fn capabilities(&self, path: &str) -> Vec<String> {
        if self.lease.is_none() {
            return vec!["root".to_owned()];
        }
        let best = self
            .policy
            .iter()
            .filter(|rule| matches(&rule.path, path))
            // An exact path before a pattern, then the longer pattern.
            .max_by_key(|rule| (!rule.path.contains(['*', '+']), rule.path.len()));
        match best {
            Some(rule)
                if !rule
                    .capabilities
                    .iter()
                    .any(|capability| capability == "deny") =>
            {
                let mut capabilities = rule.capabilities.clone();
                capabilities.sort();
                capabilities
            }
            _ => vec!["deny".to_owned()],
        }
    }

    /// Whether there is any right below this mount.
    pub(super) fn reaches_into(&self, mount: &str) -> bool {
        let inside = format!("{mount}/");
        let below = |rule: &PolicyRule| {
            let fixed = rule.path.split(['*', '+']).next().unwrap_or("");
            fixed.starts_with(&inside)
                || (fixed.len() < rule.path.len() && inside.starts_with(fixed))
        };
        self.lease.is_none() || self.policy.iter().any(below)
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, open) = match pattern.strip_suffix('*') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    if !pattern.contains('+') {
        return if open {
            path.starts_with(pattern)
        } else {
            path == pattern
        };
    }
    let wanted: Vec<&str> = pattern.split('/').collect();
    let given: Vec<&str> = path.split('/').collect();
    if given.len() < wanted.len() || (!open && given.len() != wanted.len()) {
        return false;
    }
    let last = wanted.len() - 1;
    wanted
        .iter()
        .zip(&given)
        .enumerate()
        .all(|(at, (wanted, given))| {
            *wanted == "+" || wanted == given || (open && at == last && given.starts_with(wanted))
        })
}

#[cfg(test)]
mod tests {
    use super::{matches, seconds_of};
    use std::time::Duration;

    #[test]
    fn matches_paths_as_policies_do() {
        for (pattern, path, expected) in [
            ("secret/data/a", "secret/data/a", true),
            ("secret/data/a", "secret/data/ab", false),
            ("secret/data/*", "secret/data/a/b", true),
            ("secret/data/a*", "secret/data/ab", true),
            ("secret/+/a", "secret/data/a", true),
            ("secret/+/a", "secret/data/b", false),
            ("secret/+/a", "secret/data/a/b", false),
            ("+/data/*", "secret/data/a/b", true),
            ("*", "anything/at/all", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn reads_increments() {
        assert_eq!(seconds_of("90"), Some(Duration::from_secs(90)));
        assert_eq!(seconds_of("2m"), Some(Duration::from_secs(120)));
        assert_eq!(seconds_of("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(seconds_of("x"), None);
    }
}
