//! The thin program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// Ends the program and removes its folder, also when a test fails.
struct Running {
    child: Child,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when the test has already ended it, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn it_seeds_serves_and_ends_on_sigterm() {
    let folder = std::env::temp_dir().join(format!("simulator-test-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let child = Command::new(env!("CARGO_BIN_EXE_simulator"))
        .current_dir(&folder)
        .args([
            "--tokens",
            "3",
            "--tokens-file",
            "tokens.json",
            "--management-token-file",
            "management",
        ])
        .args(["--environment", "abc"])
        .args(["--account", "acc", "--client-file", "client"])
        .args([
            "--platform-tokens",
            "2",
            "--platform-tokens-file",
            "platform",
        ])
        .args([
            "--activegate-tokens",
            "1",
            "--activegate-tokens-file",
            "gates",
        ])
        .args(["--cluster-token-file", "cluster"])
        .args(["--tokens-per-owner", "2", "--disable-lag", "0"])
        .args(["--vault-token-file", "vault"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut running = Running { child, folder };
    let stdout = running.child.stdout.take().expect("piped");
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).lines() {
        lines.push(line.expect("text"));
        // The cluster's is the last one.
        let addresses = lines.iter().filter(|line| line.starts_with("dynatrace "));
        if addresses.count() == 2 {
            break;
        }
    }
    let printed = lines.join("\n");
    let url = lines
        .iter()
        .find_map(|line| line.strip_prefix("dynatrace "))
        .expect("an address")
        .to_owned();
    let root = url.strip_suffix("/e/abc").expect("the prefix").to_owned();

    let file = running.folder.join("tokens.json");
    assert_eq!(
        fs::metadata(&file).expect("there").permissions().mode() & 0o777,
        0o600
    );
    let tokens: Vec<Value> =
        serde_json::from_slice(&fs::read(&file).expect("there")).expect("JSON");
    let values: Vec<&str> = tokens
        .iter()
        .map(|token| token["value"].as_str().expect("text"))
        .collect();
    let management = fs::read_to_string(running.folder.join("management")).expect("there");
    assert_eq!(values.len(), 3);
    assert!(values.iter().all(|value| !printed.contains(value)) && !printed.contains(&management));

    let client: Value =
        serde_json::from_slice(&fs::read(running.folder.join("client")).expect("there"))
            .expect("JSON");
    let secret = client["client_secret"].as_str().expect("text");
    assert!(!printed.contains(secret));
    assert!(printed.contains(&format!("sso {root}/sso/oauth2/token")));

    let client = crate::client::client_builder().build().expect("a client");
    let path = format!(
        "{url}/api/v2/apiTokens/{}",
        tokens[0]["id"].as_str().expect("text")
    );
    let key = format!("Api-Token {management}");
    let disabled = client
        .put(path)
        .header("authorization", key)
        .json(&json!({ "enabled": false }))
        .send()
        .await;
    assert_eq!(disabled.expect("an answer").status(), 204);
    let body = json!({ "values": [values[0], values[1], "unknown"] });
    let check = client
        .post(format!("{root}/_simulator/check"))
        .json(&body)
        .send()
        .await
        .expect("an answer");
    let check: Value = check.json().await.expect("JSON");
    let valid: Vec<&Value> = check["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["valid"])
        .collect();
    assert_eq!(valid, [&json!(false), &json!(true), &json!(false)]);
    for page in ["tokens", "history"] {
        let text = client
            .get(format!("{root}/_simulator/{page}"))
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text");
        assert!(text.contains("seeded-1"), "{page}: {text}");
        assert!(
            values.iter().all(|value| !text.contains(value)),
            "{page} shows a value"
        );
    }

    let seeded = |file: &str| -> Vec<Value> {
        let file = fs::read(running.folder.join(file)).expect("there");
        serde_json::from_slice(&file).expect("JSON")
    };
    let (platform, gates) = (seeded("platform"), seeded("gates"));
    assert_eq!((platform.len(), gates.len()), (2, 1));
    let apps = lines.iter().find_map(|line| line.strip_prefix("apps "));
    let value = platform[1]["value"].as_str().expect("text");
    assert!(!printed.contains(value));
    let probe = client
        .get(format!(
            "{}/platform/management/v1/environment",
            apps.expect("an address")
        ))
        .bearer_auth(value)
        .send()
        .await;
    assert_eq!(probe.expect("an answer").status(), 200);
    let vault = lines.iter().find_map(|line| line.strip_prefix("vault "));
    let (vault, _) = vault
        .expect("an address")
        .split_once(": ")
        .expect("a colon");
    let token = fs::read_to_string(running.folder.join("vault")).expect("there");
    for (path, key) in [
        ("platform-2", "token"),
        ("activegate-1", "token"),
        ("management", "token"),
        ("cluster-management", "token"),
        ("oauth-client", "client_id"),
    ] {
        let read = client
            .get(format!("{vault}/v1/secret/data/dynatrace/{path}"))
            .header("x-vault-token", &token)
            .send()
            .await
            .expect("an answer");
        let read: Value = read.json().await.expect("JSON");
        assert!(read["data"]["data"][key].is_string(), "{path}: {read}");
    }

    let retired = client
        .post(format!("{root}/_simulator/retire-classic-tokens"))
        .send()
        .await;
    assert_eq!(retired.expect("an answer").status(), 204);
    let key = format!("Api-Token {management}");
    let list = client
        .get(format!("{url}/api/v2/apiTokens"))
        .header("authorization", key)
        .send()
        .await;
    assert_eq!(list.expect("an answer").status(), 400);

    let killed = Command::new("kill")
        .arg(running.child.id().to_string())
        .status()
        .expect("kill runs");
    assert!(killed.success());
    assert!(running.child.wait().expect("ends").success());
}
