//! The commands that the pages for users print, run as they are printed: against a real OpenBao and the Dynatrace stand-in, with nothing
//! replaced but where these are. Blocks marked `tried` need a machine of their own and are run by `tests/packaging`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Dynatrace, EnvironmentOptions, Options, Seed, Simulator};
use tempfile::TempDir;

use crate::openbao::{self, Api, OpenBao};
use crate::vault_login::{Authority, Issuer};
use crate::world::program;

/// The secret that every page rotates.
const SECRET: &str = "dynatrace/automation_script1";

/// The `sh` blocks of a page without those that are marked as run elsewhere or only shown.
fn blocks(page: &str) -> Vec<String> {
    let (mut blocks, mut open, mut marked) = (vec![], None, false);
    for line in page.lines() {
        let bare = line.trim_start();
        match (bare.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take().flatten()),
            (Some(language), None) => {
                open = Some((language == "sh" && !marked).then(String::new));
                marked = false;
            }
            (None, Some(Some(block))) => *block += &format!("{line}\n"),
            (None, Some(None)) => {}
            (None, None) if bare.is_empty() => {}
            (None, None) => {
                let words = ["<!-- tried: ", "<!-- shown: ", "<!-- followed: "];
                marked = words.iter().any(|word| bare.starts_with(word));
            }
        }
    }
    blocks
}

/// The blocks as one script. A block that reads a value from standard input gets it from a file: the first from `typed-0`, the last of
/// `values` is for all that follow.
fn script(page: &str, values: usize) -> String {
    let mut reading = 0;
    let blocks = blocks(page).into_iter().map(|block| {
        if !block.contains("=-\n") {
            return block;
        }
        let file = reading.min(values - 1);
        reading += 1;
        format!("{{\n{block}}} < typed-{file}\n")
    });
    blocks.collect()
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
        let management = self.dynatrace.seed(Seed::management("management"));
        self.types(page, &read(page), &[&management.value]).await
    }

    /// The same of one section of it, where these values are to be typed in. The environment is the first that it names.
    async fn follows_section(&self, page: &str, heading: &str, values: &[&str]) -> String {
        let text = read(page);
        let begin = format!("\n## {heading}\n");
        let (_, section) = text.split_once(&begin).expect("the section");
        let section = section.split("\n## ").next().unwrap_or_default();
        self.types(page, section, values).await
    }

    async fn types(&self, page: &str, text: &str, values: &[&str]) -> String {
        let script = script(text, values.len());
        assert!(!script.is_empty(), "{page} has no command");
        let at = |name: &str| self.folder.path().join(name);
        fs::write(at("script"), script).expect("the script");
        for (number, value) in values.iter().enumerate() {
            fs::write(at(&format!("typed-{number}")), value).expect("what is typed");
        }
        let path = format!("{}:/usr/bin:/bin", at("bin").display());
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
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("a thread").expect("bash");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).expect("text");
        assert!(output.status.success(), "{page}: {printed}");
        printed
    }

    /// A pass of the daemon logs in with these keys of `[vault.auth]`.
    async fn logs_in(&self, method: &str, keys: &str) {
        let at = |name: &str| self.folder.path().join(name);
        for file in fs::read_dir(self.folder.path()).expect("the folder") {
            let file = file.expect("a file").path();
            if file.is_file() {
                fs::set_permissions(file, PermissionsExt::from_mode(0o600)).expect("its mode");
            }
        }
        let config = format!(
            "[vault]\naddress = \"{}\"\n[vault.auth]\nmethod = \"{method}\"\n{keys}\n[dynatrace.prod]\nurl = \"{}\"\n[dynatrace.prod.auth]\n\
             path = \"dynatrace/master\"\n[[secret]]\npath = \"{SECRET}\"\nschedule = \"@yearly\"\n",
            self.address,
            self.dynatrace.url()
        );
        fs::write(at("login.toml"), config).expect("the configuration");
        let mut command = Command::new(program());
        command
            .args(["--config", "login.toml", "run", "--once"])
            .current_dir(self.folder.path())
            .env_clear();
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("a thread").expect("dtrotate");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{keys}: {log}");
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

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect(page)
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

/// Cron sets no variables: the configuration and the line that the page shows are all that a pass has. Cron mails what a job prints: a pass without
/// a problem prints nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_for_the_crontab_needs_no_variable() {
    let reader = Reader::with_management_token().await;
    let page = read("docs/from-the-script.md");
    let between = |begin: &str, end: &str| {
        let (_, rest) = page.split_once(begin).expect(begin);
        rest.split(end).next().expect(end).to_owned()
    };
    let lines = between("<<'TOML'\n", "TOML\n") + &between("```toml\n", "```");
    let config = lines
        .replace(
            "https://abc12345.live.dynatrace.com",
            reader.dynatrace.url(),
        )
        .replace("https://vault.example.com:8200", &reader.address);
    let at = |name: &str| reader.folder.path().join(name);
    fs::write(at("dtrotate.toml"), config).expect("the configuration");
    fs::write(at("vault-token"), &reader.token).expect("the token");
    fs::set_permissions(at("vault-token"), PermissionsExt::from_mode(0o600)).expect("its mode");
    let line = between(" root ", "\n");
    let (variable, command) = line.split_once(" /usr/bin/dtrotate ").expect("a command");
    let variable = variable.split_once('=').expect("a variable");
    let pass = async |variables: Vec<(&str, &str)>| {
        let mut dtrotate = Command::new(program());
        dtrotate
            .arg("--config")
            .arg(at("dtrotate.toml"))
            .args(command.split_whitespace())
            .env_clear()
            .envs(variables);
        let output = tokio::task::spawn_blocking(move || dtrotate.output()).await;
        let output = output.expect("a thread").expect("dtrotate");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log
    };
    assert_eq!(pass(vec![variable]).await, "");
    let log = pass(vec![]).await;
    assert!(log.contains("pass_completed"), "{log}");
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
    let page = "```sh\na\n```\n<!-- tried: x -->\n```sh\nb\n```\n\n  ```sh\n  c\n  ```\n```\nd\n```\n<!-- shown: y -->\n\n```sh\ne\n```\n";
    assert_eq!(script(page, 1), "a\n  c\n");
    let page = "```sh\na v=-\n```\n```sh\nb w=-\n```\n";
    assert_eq!(
        script(page, 2),
        "{\na v=-\n} < typed-0\n{\nb w=-\n} < typed-1\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activegate_tokens_are_set_up_from_nothing() {
    let reader = Reader::new().await;
    let manager = Seed::active_gate_management("activegate-manager");
    let manager = reader.dynatrace.seed(manager).value;
    let printed = reader
        .follows_section("docs/token-kinds.md", "ActiveGate tokens", &[&manager])
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
    let manager = reader.dynatrace.seed(manager).value;
    let printed = reader
        .follows_section("docs/token-kinds.md", "Cluster tokens", &[&manager])
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_and_the_token_of_an_account_are_put_into_vault() {
    let reader = Reader::new().await;
    let values = ["dt0s02.ABCDEFGH.SECRET", "dt0s16.FIRST.VALUE"];
    reader
        .follows_section("docs/token-kinds.md", "Platform tokens", &values)
        .await;
    let client = reader.root.secret("secret", "dynatrace/oauth-client").await;
    let client = client.expect("the client").data;
    let expected = json!({ "client_id": "dt0s02.ABCDEFGH", "client_secret": values[0] });
    assert_eq!(client, expected);
    assert_eq!(reader.token("dynatrace/otel-exporter").await, values[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_management_token_is_put_into_vault() {
    let reader = Reader::new().await;
    reader
        .follows_section("docs/operations.md", "Prerequisites", &["typed"])
        .await;
    assert_eq!(reader.token("dynatrace/master").await, "typed");
}

/// The files are those that a reader brings; only the address of the issuer differs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_log_in_is_set_up() {
    let reader = Reader::with_management_token().await;
    let at = |name: &str| reader.folder.path().join(name);
    for name in ["clients-ca.pem", "kubernetes-ca.pem"] {
        fs::write(at(name), Authority::new().pem()).expect(name);
    }
    fs::write(at("token-reviewer.jwt"), "e30.e30.e30").expect("a token");
    let issuer = Issuer::start().await;
    let text = read("docs/vault-login.md").replace("https://issuer.example.com", &issuer.url);
    reader.types("docs/vault-login.md", &text, &[""]).await;
    for (path, policies) in [
        ("auth/kubernetes/role/dtrotate", "token_policies"),
        ("auth/cert/certs/dtrotate", "token_policies"),
        ("auth/approle/role/dtrotate", "token_policies"),
        ("auth/jwt/role/dtrotate", "token_policies"),
    ] {
        let role = reader.root.ok(Method::GET, path, Value::Null).await;
        assert_eq!(role["data"][policies], json!(["dtrotate"]), "{path}");
    }
    for (method, keys) in [
        (
            "approle",
            "role_id_file = \"vault-role-id\"\nsecret_id_file = \"vault-secret-id\"",
        ),
        (
            "approle",
            "role_id_file = \"vault-role-id\"\nwrapped_secret_id_file = \"vault-wrapped-secret-id\"",
        ),
        ("token", "token_file = \"vault-token\""),
    ] {
        for line in keys.lines() {
            assert!(text.contains(line), "{line}");
        }
        reader.logs_in(method, keys).await;
    }
}
