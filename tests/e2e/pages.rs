//! The commands that the pages for users print, run as they are printed: against a real OpenBao and the Dynatrace stand-in, with nothing
//! replaced but where these are. Blocks marked `tried` need a machine of their own and are run by `tests/packaging`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use simulator::{Dynatrace, EnvironmentOptions, Options, Seed, Simulator};
use tempfile::TempDir;

use crate::openbao::{self, Api, OpenBao};
use crate::world::program;

/// The secret that every page rotates.
const SECRET: &str = "dynatrace/automation_script1";

/// The `sh` blocks of a page without those that are marked `tried`, as one script.
fn script(page: &str) -> String {
    let (mut lines, mut inside, mut marked) = (vec![], false, false);
    for line in page.lines() {
        let bare = line.trim_start();
        if bare.starts_with("```") {
            inside = bare == "```sh" && !marked;
            marked = false;
        } else if inside {
            lines.push(line);
        } else if !bare.is_empty() {
            marked = bare.starts_with("<!-- tried: ");
        }
    }
    lines.join("\n") + "\n"
}

/// What a reader of the pages has: a Vault with two secrets, Dynatrace, and the programs on the `PATH`.
struct Reader {
    _vault: OpenBao,
    root: Api,
    address: String,
    token: String,
    _simulator: Simulator,
    dynatrace: Dynatrace,
    first: String,
    folder: TempDir,
}

impl Reader {
    async fn new() -> Reader {
        Reader::of(EnvironmentOptions::default()).await
    }

    /// One whose environment, or cluster, is this.
    async fn of(environment: EnvironmentOptions) -> Reader {
        let vault = OpenBao::dev().await;
        let root = vault.root();
        let options = Options {
            environments: vec![environment],
            ..Options::default()
        };
        let simulator = Simulator::start(options).await;
        let simulator = simulator.expect("the simulator");
        let dynatrace = simulator.dynatrace();
        let mut values = vec![];
        for path in [SECRET, "dynatrace/automation_script2"] {
            let value = dynatrace.seed(Seed::new(path)).value;
            let data = json!({ "token": value, "owner": "kept" });
            root.put("secret", path, data).await;
            values.push(value);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let link = |to: &Path, name: &str| symlink(to, folder.path().join(name)).expect(name);
        for name in ["config", "docs"] {
            link(&source.join(name), name);
        }
        fs::create_dir(folder.path().join("bin")).expect("a folder for programs");
        link(&program(), "bin/dtrotate");
        for name in ["bin/bao", "bin/vault"] {
            link(&absolute(&openbao::program()), name);
        }
        Reader {
            address: vault.address.clone(),
            token: vault.root_token().to_owned(),
            _vault: vault,
            root,
            _simulator: simulator,
            dynatrace,
            first: values.swap_remove(0),
            folder,
        }
    }

    /// One whose management token is in Vault already.
    async fn with_management_token() -> Reader {
        let reader = Reader::new().await;
        let value = reader.dynatrace.seed(Seed::management("management")).value;
        let data = json!({ "token": value });
        reader.root.put("secret", "dynatrace/master", data).await;
        reader
    }

    /// Follows a page to its end; everything it prints.
    async fn follows(&self, page: &str) -> String {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page));
        let management = Seed::management("management");
        self.types(page, &text.expect(page), management).await
    }

    /// The same of one section of it, where a management token like this is to be typed in. The environment is the first that it names.
    async fn follows_section(&self, page: &str, heading: &str, management: Seed) -> String {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page));
        let text = text.expect(page);
        let begin = format!("\n## {heading}\n");
        let (_, section) = text.split_once(&begin).expect("the section");
        let section = section.split("\n## ").next().unwrap_or_default();
        self.types(page, section, management).await
    }

    async fn types(&self, page: &str, text: &str, management: Seed) -> String {
        let script = script(text);
        assert!(script.contains("dtrotate "), "{page} has no command");
        let at = |name: &str| self.folder.path().join(name);
        fs::write(at("script"), script).expect("the script");
        let management = self.dynatrace.seed(management).value;
        fs::write(at("typed"), management).expect("what is typed");
        let path = format!("{}:/usr/bin:/bin", at("bin").display());
        let typed = fs::File::open(at("typed")).expect("what is typed");
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "script"])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("VAULT_ADDR", &self.address)
            .env("VAULT_TOKEN", &self.token)
            .env(address_of(text), self.dynatrace.url())
            .env("DTROTATE_OPS__LISTEN", "")
            .stdin(Stdio::from(typed));
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("a thread").expect("bash");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).expect("text");
        assert!(output.status.success(), "{page}: {printed}");
        printed
    }

    /// The token in a secret.
    async fn token(&self, path: &str) -> String {
        let secret = self.root.secret("secret", path).await.expect(path);
        secret.data["token"].as_str().expect("text").to_owned()
    }

    /// The value in Vault now.
    async fn value(&self) -> String {
        let secret = self.root.secret("secret", SECRET).await;
        let data = secret.expect("the secret").data;
        assert_eq!(data["owner"], "kept");
        data["token"].as_str().expect("text").to_owned()
    }

    async fn assert_rotated(&self) {
        let now = self.value().await;
        assert_ne!(now, self.first);
        assert!(self.dynatrace.is_valid(&now));
    }
}

/// The variable that replaces the address of the environment.
fn address_of(text: &str) -> &'static str {
    match text.contains("[dynatrace.cluster]") {
        true => "DTROTATE_DYNATRACE__CLUSTER__URL",
        false => "DTROTATE_DYNATRACE__PROD__URL",
    }
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).expect("a program")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quick_start_checks_rotates_and_goes_back() {
    let reader = Reader::new().await;
    let printed = reader.follows("README.md").await;
    assert!(printed.contains(": rotated\n"), "{printed}");
    // Its last command is an undo.
    assert_eq!(reader.value().await, reader.first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_the_script_moves_in_ten_lines() {
    let reader = Reader::new().await;
    let printed = reader.follows("docs/from-the-script.md").await;
    assert!(printed.contains(": rotated\n"), "{printed}");
    reader.assert_rotated().await;
    let file = fs::read_to_string(reader.folder.path().join("dtrotate.toml"));
    assert_eq!(file.expect("the configuration").lines().count(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_renders_the_token_and_a_rotation_shows_who_is_late() {
    let reader = Reader::with_management_token().await;
    let printed = reader.follows("docs/consumers.md").await;
    let rendered = fs::read_to_string(reader.folder.path().join("dynatrace-token"));
    // The agent ran before the rotation.
    assert_eq!(rendered.expect("what the agent wrote"), reader.first);
    assert!(printed.contains(": rotated\n"), "{printed}");
    reader.assert_rotated().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_gets_a_report_and_a_history() {
    let reader = Reader::with_management_token().await;
    let printed = reader.follows("docs/faq.md").await;
    assert!(printed.contains("rotation_succeeded"), "{printed}");
    let report = fs::read_to_string(reader.folder.path().join("rotation-report.json"));
    let report: Value = serde_json::from_str(&report.expect("the report")).expect("JSON");
    assert_eq!(report["secrets"][0]["name"], SECRET);
    reader.assert_rotated().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_of_vault_are_compared_with_the_schedules() {
    let reader = Reader::with_management_token().await;
    let printed = reader.follows("docs/sizing.md").await;
    let checks: Vec<&str> = printed.split("the configuration is valid").collect();
    let [before, after, _] = checks[..] else {
        panic!("two checks: {printed}");
    };
    assert!(before.contains("max_versions"), "{printed}");
    assert!(
        !after.contains("WARN  dynatrace/automation_script1: Vault"),
        "{printed}"
    );
    assert!(!after.contains("max_versions"), "{printed}");
    assert_eq!(reader.value().await, reader.first, "nothing was changed");
}

#[test]
fn only_blocks_of_commands_that_are_not_marked_are_run() {
    let page =
        "```sh\na\n```\n<!-- tried: x -->\n```sh\nb\n```\n\n  ```sh\n  c\n  ```\n```\nd\n```\n";
    assert_eq!(script(page), "a\n  c\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activegate_tokens_are_set_up_from_nothing() {
    let reader = Reader::new().await;
    let manager = Seed::active_gate_management("activegate-manager");
    let page = "docs/token-kinds.md";
    let printed = reader
        .follows_section(page, "ActiveGate tokens", manager)
        .await;
    let value = fs::read_to_string(reader.folder.path().join("activegate.token"));
    let value = value.expect("the token");
    assert_eq!(value.trim(), reader.token("dynatrace/activegate").await);
    assert!(reader.dynatrace.is_valid(value.trim()));
    let made = reader.dynatrace.active_gate_tokens();
    assert!(
        made[0].name.starts_with("activegates [dtrotate:"),
        "{}",
        made[0].name
    );
    assert!(printed.contains("rotate"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_tokens_are_set_up_from_nothing_and_the_management_token_rotates_itself() {
    let reader = Reader::of(EnvironmentOptions::cluster()).await;
    let manager = Seed::cluster_management("cluster-master");
    let page = "docs/token-kinds.md";
    let printed = reader
        .follows_section(page, "Cluster tokens", manager)
        .await;
    assert_eq!(printed.matches(": rotated\n").count(), 2, "{printed}");
    for path in ["dynatrace/cluster-automation", "dynatrace/cluster-master"] {
        let value = reader.token(path).await;
        let token = reader.dynatrace.token_by_value(&value).expect(path);
        assert!(
            token.enabled && token.name.contains(" [dtrotate:"),
            "{path}"
        );
    }
}
