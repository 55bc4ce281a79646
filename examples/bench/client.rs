//! Other clients that make the same calls: the plain one (`examples/floor.rs`), and what the script did that dtrotate replaces.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{World, path};
use crate::{CONCURRENCY, Outcome};

/// What the plain client needed for all secrets.
#[derive(Deserialize)]
pub struct Needed {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub calls: usize,
}

/// Rotates every secret with the plain client.
pub fn rotate(world: &World) -> Outcome<Needed> {
    run(world, world.secrets, None)
}

/// Reads these paths below `/v1/` with the plain client.
pub fn read(world: &World, paths: &[String]) -> Outcome<Needed> {
    run(world, paths.len(), Some(paths))
}

fn run(world: &World, secrets: usize, reads: Option<&[String]>) -> Outcome<Needed> {
    // It only reads where there is another Vault.
    let management_token = match reads {
        None => world.management_token()?,
        Some(_) => String::new(),
    };
    let order = json!({
        "vault": world.vault,
        "vault_token": world.vault_token,
        "dynatrace": world.simulator.url(),
        "management_token": management_token,
        "secrets": secrets,
        "concurrency": CONCURRENCY,
        "reads": reads,
    });
    // Both are built by the same command.
    let program = std::env::current_exe()?.with_file_name("floor");
    let mut child = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let mut input = child.stdin.take().ok_or("no stdin")?;
    input.write_all(order.to_string().as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err("the plain client failed".into()),
    }
}

/// Read, look up, create, write, delete, one secret after the other and a connection for each call: the time for `sample` secrets.
pub fn sequential(world: &World, sample: usize) -> Outcome<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()?;
    let (vault, dynatrace) = (&world.vault, world.simulator.url());
    let management = format!("Api-Token {}", world.management_token()?);
    let call = |method: reqwest::Method, url: String, body: Value| {
        let mut request = client.request(method, url);
        request = request
            .header("X-Vault-Token", &world.vault_token)
            .header("Authorization", &management);
        if !body.is_null() {
            request = request.json(&body);
        }
        runtime.block_on(async {
            let bytes = request.send().await?.error_for_status()?.bytes().await?;
            Outcome::Ok(serde_json::from_slice::<Value>(&bytes).unwrap_or_default())
        })
    };
    let began = Instant::now();
    for number in 0..sample {
        let secret = format!("{vault}/v1/secret/data/{}", path(number));
        let tokens = format!("{dynatrace}/api/v2/apiTokens");
        let read = call(reqwest::Method::GET, secret.clone(), Value::Null)?;
        let old = json!({ "token": read["data"]["data"]["token"] });
        let old = call(reqwest::Method::POST, format!("{tokens}/lookup"), old)?;
        let order = json!({ "name": old["name"], "scopes": old["scopes"] });
        let new = call(reqwest::Method::POST, tokens.clone(), order)?;
        let data = json!({ "data": { "token": new["token"] } });
        call(reqwest::Method::POST, secret, data)?;
        let id = old["id"].as_str().unwrap_or_default();
        call(
            reqwest::Method::DELETE,
            format!("{tokens}/{id}"),
            Value::Null,
        )?;
    }
    Ok(began.elapsed())
}
