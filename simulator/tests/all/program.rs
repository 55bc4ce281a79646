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
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut running = Running { child, folder };
    let stdout = running.child.stdout.take().expect("piped");
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).lines() {
        lines.push(line.expect("text"));
        if lines
            .last()
            .is_some_and(|line| line.starts_with("dynatrace http"))
        {
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

    let killed = Command::new("kill")
        .arg(running.child.id().to_string())
        .status()
        .expect("kill runs");
    assert!(killed.success());
    assert!(running.child.wait().expect("ends").success());
}
