//! What a test does at OpenBao in the place of its administrator, and as anyone whose token it has.
//!
//! A call that a test takes for granted panics with status and errors of the reply; `Api::raw` is for replies that are
//! looked at. Written without any code of dtrotate, so that it cannot share its mistakes.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};

/// One token at one server, in one namespace.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    address: String,
    token: String,
    namespace: Option<String>,
}

/// A reply as it came; the body is null when it was empty or not JSON.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

/// One version of a KV v2 secret.
#[derive(Debug, PartialEq)]
pub struct Secret {
    pub version: u64,
    pub data: Value,
}

impl Api {
    pub fn new(http: reqwest::Client, address: &str, token: &str) -> Api {
        Api {
            http,
            address: address.to_owned(),
            token: token.to_owned(),
            namespace: None,
        }
    }

    /// The same server with another token (an empty one: none).
    pub fn with_token(&self, token: &str) -> Api {
        Api {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same in a namespace, whose full path is given.
    pub fn in_namespace(&self, namespace: &str) -> Api {
        Api {
            namespace: Some(namespace.to_owned()),
            ..self.clone()
        }
    }

    /// Any call; `path` without `/v1/`. A null `body` is none. Panics when there is no reply at all.
    pub async fn raw(&self, method: Method, path: &str, body: Value) -> Reply {
        self.send(method.clone(), path, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: no reply: {error:?}"))
    }

    /// The same, for a server that may not answer.
    pub async fn try_raw(&self, method: Method, path: &str, body: Value) -> Option<Reply> {
        self.send(method, path, body).await.ok()
    }

    /// A call that must succeed; its body.
    pub async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let reply = self.raw(method.clone(), path, body).await;
        assert!(
            (200..300).contains(&reply.status),
            "{method} {path}: {} {}",
            reply.status,
            reply.body["errors"]
        );
        reply.body
    }

    /// Whether a GET is answered with 200.
    pub async fn get(&self, path: &str) -> bool {
        self.send(Method::GET, path, Value::Null)
            .await
            .is_ok_and(|reply| reply.status == 200)
    }

    /// The status of `sys/health`: 200 active, 429 standby, 501 not initialised, 503 sealed; none = nobody answers.
    pub async fn health(&self) -> Option<u16> {
        self.send(Method::GET, "sys/health", Value::Null)
            .await
            .ok()
            .map(|reply| reply.status)
    }

    /// A call whose answer is wrapped for `ttl`: it tells the wrapping token alone.
    pub async fn wrapped(&self, path: &str, body: Value, ttl: &str) -> Value {
        let request = self.request(Method::POST, path, body);
        let response = request.header("X-Vault-Wrap-TTL", ttl).send().await;
        let response = response.expect("a reply");
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.json().await.expect("JSON")
    }

    fn request(&self, method: Method, path: &str, body: Value) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .request(method, format!("{}/v1/{path}", self.address));
        if !self.token.is_empty() {
            request = request.header("X-Vault-Token", &self.token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        request
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> reqwest::Result<Reply> {
        let response = self.request(method, path, body).send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        Ok(Reply {
            status,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}

/// KV.
impl Api {
    /// Mounts KV `version` (1 or 2) and waits until it serves: a fresh KV v2 answers 400 for a brief period.
    pub async fn mount_kv(&self, mount: &str, version: u8) {
        let body = json!({"type": "kv", "options": {"version": version.to_string()}});
        self.ok(Method::POST, &format!("sys/mounts/{mount}"), body)
            .await;
        let deadline = std::time::Instant::now() + super::START;
        while version == 2 && !self.get(&format!("{mount}/config")).await {
            assert!(
                std::time::Instant::now() < deadline,
                "the mount {mount} does not become ready"
            );
            super::pause().await;
        }
    }

    /// Writes a new version without check-and-set, as a person does; its number.
    pub async fn put(&self, mount: &str, path: &str, data: Value) -> u64 {
        let reply = self
            .ok(
                Method::POST,
                &format!("{mount}/data/{path}"),
                json!({ "data": data }),
            )
            .await;
        reply["data"]["version"].as_u64().expect("a version")
    }

    /// Writes with check-and-set on `cas`.
    pub async fn put_cas(&self, mount: &str, path: &str, data: Value, cas: u64) -> Reply {
        let body = json!({"options": {"cas": cas}, "data": data});
        self.raw(Method::POST, &format!("{mount}/data/{path}"), body)
            .await
    }

    /// The current version; none when there is none or it is deleted.
    pub async fn secret(&self, mount: &str, path: &str) -> Option<Secret> {
        self.secret_version(mount, path, 0).await
    }

    /// One version (0 = the current one); none when it is absent, deleted or destroyed.
    pub async fn secret_version(&self, mount: &str, path: &str, version: u64) -> Option<Secret> {
        let path = format!("{mount}/data/{path}?version={version}");
        let reply = self.raw(Method::GET, &path, Value::Null).await;
        match reply.status {
            404 => None,
            200 => Some(Secret {
                version: reply.body["data"]["metadata"]["version"]
                    .as_u64()
                    .expect("a version"),
                data: reply.body["data"]["data"].clone(),
            }),
            other => panic!("GET {path}: {other} {}", reply.body["errors"]),
        }
    }

    /// All versions that the metadata still knows, with what it says of each.
    pub async fn versions(&self, mount: &str, path: &str) -> BTreeMap<u64, Value> {
        let reply = self
            .ok(
                Method::GET,
                &format!("{mount}/metadata/{path}"),
                Value::Null,
            )
            .await;
        let versions: Map<String, Value> =
            serde_json::from_value(reply["data"]["versions"].clone()).expect("a map of versions");
        versions
            .into_iter()
            .map(|(number, version)| (number.parse().expect("a number"), version))
            .collect()
    }

    /// The names right below a folder; those that end in `/` are folders.
    pub async fn list(&self, mount: &str, folder: &str) -> Vec<String> {
        let path = format!("{mount}/metadata/{folder}?list=true");
        let reply = self.raw(Method::GET, &path, Value::Null).await;
        match reply.status {
            404 => Vec::new(),
            200 => {
                serde_json::from_value(reply.body["data"]["keys"].clone()).expect("a list of names")
            }
            other => panic!("LIST {mount}/{folder}: {other} {}", reply.body["errors"]),
        }
    }

    /// Soft-deletes the current version.
    pub async fn delete(&self, mount: &str, path: &str) {
        self.ok(Method::DELETE, &format!("{mount}/data/{path}"), Value::Null)
            .await;
    }

    pub async fn undelete(&self, mount: &str, path: &str, versions: &[u64]) {
        self.ok(
            Method::POST,
            &format!("{mount}/undelete/{path}"),
            json!({ "versions": versions }),
        )
        .await;
    }

    pub async fn destroy(&self, mount: &str, path: &str, versions: &[u64]) {
        self.ok(
            Method::PUT,
            &format!("{mount}/destroy/{path}"),
            json!({ "versions": versions }),
        )
        .await;
    }

    /// Removes a secret with all its versions; its counter starts again.
    pub async fn delete_metadata(&self, mount: &str, path: &str) {
        self.ok(
            Method::DELETE,
            &format!("{mount}/metadata/{path}"),
            Value::Null,
        )
        .await;
    }

    /// Writes a KV v1 secret.
    pub async fn put_v1(&self, mount: &str, path: &str, data: Value) {
        self.ok(Method::POST, &format!("{mount}/{path}"), data)
            .await;
    }

    /// Reads a KV v1 secret.
    pub async fn secret_v1(&self, mount: &str, path: &str) -> Option<Value> {
        let reply = self
            .raw(Method::GET, &format!("{mount}/{path}"), Value::Null)
            .await;
        (reply.status == 200).then(|| reply.body["data"].clone())
    }
}

/// Policies, tokens, logins, namespaces.
impl Api {
    /// Writes `config/vault-policy.hcl` as it is shipped under the name `dtrotate`.
    pub async fn write_shipped_policy(&self) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/vault-policy.hcl");
        let policy = std::fs::read_to_string(file).expect("config/vault-policy.hcl");
        self.write_policy("dtrotate", &policy).await;
    }

    pub async fn write_policy(&self, name: &str, policy: &str) {
        self.ok(
            Method::PUT,
            &format!("sys/policies/acl/{name}"),
            json!({ "policy": policy }),
        )
        .await;
    }

    /// A token that lives as long as it is renewed within `period` (`"60s"`), outlives its creator, and has these policies
    /// only: not even `default`.
    pub async fn periodic_token(&self, policies: &[&str], period: &str) -> String {
        let body = json!({"policies": policies, "period": period, "no_default_policy": true});
        let reply = self
            .ok(Method::POST, "auth/token/create-orphan", body)
            .await;
        reply["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    pub async fn revoke_token(&self, token: &str) {
        self.ok(Method::POST, "auth/token/revoke", json!({ "token": token }))
            .await;
    }

    pub async fn enable_approle(&self) {
        self.ok(Method::POST, "sys/auth/approle", json!({"type": "approle"}))
            .await;
    }

    /// Makes a role whose tokens live for `ttl` and have these policies only; its role id.
    pub async fn approle_role(&self, role: &str, policies: &[&str], ttl: &str) -> String {
        let body =
            json!({"token_policies": policies, "token_ttl": ttl, "token_no_default_policy": true});
        self.ok(Method::POST, &format!("auth/approle/role/{role}"), body)
            .await;
        let reply = self
            .ok(
                Method::GET,
                &format!("auth/approle/role/{role}/role-id"),
                Value::Null,
            )
            .await;
        reply["data"]["role_id"]
            .as_str()
            .expect("a role id")
            .to_owned()
    }

    /// A new secret id for a role.
    pub async fn approle_secret_id(&self, role: &str) -> String {
        let reply = self
            .ok(
                Method::POST,
                &format!("auth/approle/role/{role}/secret-id"),
                json!({}),
            )
            .await;
        reply["data"]["secret_id"]
            .as_str()
            .expect("a secret id")
            .to_owned()
    }

    /// Makes a namespace in the present one.
    pub async fn create_namespace(&self, name: &str) {
        self.ok(Method::POST, &format!("sys/namespaces/{name}"), json!({}))
            .await;
    }
}
