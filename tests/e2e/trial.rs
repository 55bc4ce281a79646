//! The trial of `docs/token-kinds.md` works as it is written there: only the ports differ.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use simulator::{Options, PlatformSeed, Simulator};

use crate::task_pages::followed;
use crate::world::{Daemon, program, until};

const PAGE: &str = "docs/token-kinds.md";

/// The configuration of the page, with the addresses of this simulator.
fn configuration(simulator: &Simulator) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(page).expect("the page");
    let (_, trial) = page.split_once("## Try it").expect("the section");
    let (_, block) = trial.split_once("```toml\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    let account = simulator.account().expect("an account");
    let dynatrace = simulator.dynatrace();
    let apps = dynatrace.apps_url().expect("apps");
    for address in [
        "http://127.0.0.1:PORT",
        "http://127.0.0.1:8081",
        "http://127.0.0.1:8082",
    ] {
        assert!(block.contains(address), "{address}");
    }
    assert!(block.contains(account.uuid()) && block.contains(dynatrace.id()));
    block
        .replace("http://127.0.0.1:PORT", simulator.kv().url())
        .replace("http://127.0.0.1:8081", simulator.url())
        .replace("http://127.0.0.1:8082", apps)
}

async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command
        .current_dir(folder)
        .args(["--config", "dtrotate.toml"]);
    command.args(arguments).env_clear();
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("a thread").expect("dtrotate")
}

/// The daemon rotates within its minute.
async fn rotates(folder: &Path) {
    let log = folder.join("log");
    let mut command = Command::new(program());
    command.args(["--config", "dtrotate.toml", "run"]);
    let child = command
        .current_dir(folder)
        .env_clear()
        .stderr(fs::File::create(&log).expect("the log"))
        .spawn()
        .expect("dtrotate");
    let daemon = Daemon::watch(child, log);
    until("the first rotation", async || {
        daemon.events("rotation_succeeded") >= 1
    })
    .await;
}

#[tokio::test]
async fn a_platform_token_is_checked_and_rotated_as_the_page_says() {
    let options = Options {
        account: Some("0f5c3b1e-1c5e-4a3c-9d4b-4d2f3c1a7b10".to_owned()),
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.expect("the simulator");
    let account = simulator.account().expect("an account");
    let user = account.seed_service_user();
    let scopes = [
        "platform-token:tokens:manage",
        "platform-token:tokens:write",
    ];
    let client = account.seed_client(&user, &scopes);
    let kv = simulator.kv();
    let client = serde_json::json!({ "client_id": client.id, "client_secret": client.value });
    kv.put("secret", "dynatrace/oauth-client", client);
    let seed = PlatformSeed::new("platform-1", &user)
        .scopes(&["app-engine:apps:run", "storage:logs:read"])
        .environment(simulator.dynatrace().id());
    let first = account.seed(seed);
    kv.put(
        "secret",
        "dynatrace/platform-1",
        serde_json::json!({ "token": first.value }),
    );

    let folder = tempfile::tempdir().expect("a folder");
    let write = |file: &str, text: &str| {
        let file = folder.path().join(file);
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its mode");
    };
    write("vault-token", kv.root_token());
    write("dtrotate.toml", &configuration(&simulator));
    let commands = followed("trial");
    assert!(commands.len() == 3, "{commands:?}");
    for words in &commands {
        let ["dtrotate", "--config", "dtrotate.toml", arguments @ ..] =
            &words.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            panic!("{words:?}");
        };
        if arguments == ["run"] {
            rotates(folder.path()).await;
            continue;
        }
        let output = run(folder.path(), arguments).await;
        let (results, log) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let status = output.status.code();
        assert_eq!(status, Some(0), "{arguments:?}: {results}{log}");
        for value in simulator.secrets() {
            let secret = value.rsplit('.').next().expect("a part");
            assert!(!results.contains(secret) && !log.contains(secret));
        }
    }
    let (_, secret) = kv
        .get("secret", "dynatrace/platform-1")
        .expect("the secret");
    let value = secret["token"].as_str().expect("a value");
    assert_ne!(value, first.value);
    assert!(account.is_valid(value));
    let tokens = account.tokens();
    let new = tokens.iter().find(|token| token.value == value);
    assert_eq!(new.expect("there").owner, user);
}
