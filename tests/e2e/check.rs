//! `dtrotate check` against a real OpenBao and the simulator: it finds what is missing, says how to get it, and changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Options, Seed, Simulator};
use tempfile::TempDir;
use tokio::process::Command;

use crate::openbao::{Api, OpenBao};

const POLICY: &str = include_str!("../../config/vault-policy.hcl");

/// A Vault with the shipped policy and a management token, an environment, and a configuration to be written.
struct Scene {
    vault: OpenBao,
    root: Api,
    dynatrace: Simulator,
    folder: TempDir,
}

/// What the command said.
struct Said {
    code: Option<i32>,
    out: String,
}

impl Said {
    /// The findings of a grade about something.
    fn lines(&self, grade: &str, about: &str) -> Vec<&str> {
        let start = format!("{grade:5} {about}: ");
        let lines = self.out.lines();
        lines.filter_map(|line| line.strip_prefix(&start)).collect()
    }

    /// There is exactly one such line, and it holds `part`.
    #[track_caller]
    fn tells(&self, grade: &str, about: &str, part: &str) {
        let lines = self.lines(grade, about);
        assert!(
            lines.len() == 1 && lines[0].contains(part),
            "{grade} {about} {part:?}:\n{}",
            self.out
        );
    }

    /// The rules to paste.
    fn rules(&self) -> &str {
        let rules = self.out.split_once("lacks:\n");
        rules.map_or("", |(_, rest)| &rest[..=rest.rfind('}').expect("a rule")])
    }
}

/// Each finding on one line, as it was before it was made to fit a terminal.
fn unwrapped(text: &str) -> String {
    text.replace("\n      ", " ")
}

/// A token as most are: of the owner of the management token, with an end.
fn usual(name: &str) -> Seed {
    let now = dtrotate::clock::now();
    Seed::new(name)
        .scopes(&["metrics.read"])
        .created(now - SignedDuration::from_hours(24))
        .expires(now + SignedDuration::from_hours(90 * 24))
}

fn management() -> Seed {
    Seed::management("management")
        .expires(dtrotate::clock::now() + SignedDuration::from_hours(90 * 24))
}

impl Scene {
    async fn new() -> Scene {
        let vault = OpenBao::dev().await;
        let root = vault.root();
        root.write_shipped_policy().await;
        let token = root.periodic_token(&["dtrotate"], "1h").await;
        let options = Options::default();
        let dynatrace = Simulator::start(options).await.expect("the simulator");
        let folder = tempfile::tempdir().expect("a folder");
        let token_file = folder.path().join("vault-token");
        fs::write(&token_file, token).expect("the token file");
        fs::set_permissions(&token_file, PermissionsExt::from_mode(0o600)).expect("its mode");
        let scene = Scene {
            vault,
            root,
            dynatrace,
            folder,
        };
        scene.seed("dynatrace/master", management()).await;
        scene
    }

    /// Makes a token and puts it into Vault; its id.
    async fn seed(&self, path: &str, seed: Seed) -> String {
        let seeded = self.dynatrace.dynatrace().seed(seed);
        self.root
            .put("secret", path, json!({ "token": seeded.value }))
            .await;
        seeded.id
    }

    /// Sets limits of a mount (`MOUNT/config`) or of a key (`MOUNT/metadata/PATH`).
    async fn limits(&self, path: &str, limits: Value) {
        self.root.ok(Method::POST, path, limits).await;
    }

    /// Runs the command with these secrets.
    async fn check(&self, secrets: &str) -> Said {
        self.check_as(secrets, "secret", &[]).await
    }

    async fn check_as(&self, secrets: &str, journal: &str, environment: &[(&str, &str)]) -> Said {
        let (vault, dynatrace) = (&self.vault.address, self.dynatrace.url());
        let schedule = match secrets.starts_with("schedule") {
            true => "",
            false => "schedule = \"0 10 * * TUE\"",
        };
        let text = format!(
            r#"
[vault]
address = "{vault}"
timeout = "5s"
[vault.auth]
method = "token"
token_file = "vault-token"
[journal]
mount = "{journal}"
[ops]
listen = ""
[dynatrace.prod]
url = "{dynatrace}"
[dynatrace.prod.auth]
path = "dynatrace/master"
[defaults]
{schedule}
timezone = "Europe/Vienna"
{secrets}"#
        );
        let file = self.folder.path().join("dtrotate.toml");
        fs::write(&file, text).expect("the configuration");
        self.run(&[], environment).await
    }

    /// With the configuration of the last one, without asking anybody.
    async fn check_offline(&self) -> Said {
        self.run(&["--offline"], &[]).await
    }

    async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let output = Command::new(crate::world::program())
            .arg("--config")
            .arg(self.folder.path().join("dtrotate.toml"))
            .args(["check", "--all"])
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .output()
            .await
            .expect("dtrotate");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(stderr, "", "results go to stdout, and this is no terminal");
        let out = unwrapped(&String::from_utf8(output.stdout).expect("text"));
        for token in self.dynatrace.dynatrace().tokens() {
            assert!(!out.contains(&token.value), "P5: {out}");
        }
        Said {
            code: output.status.code(),
            out,
        }
    }
}

const TWO: &str = "[[secret]]\npath = \"dynatrace/a\"\n[[secret]]\npath = \"dynatrace/b\"\n";

#[tokio::test]
async fn p7_the_shipped_policy_is_enough_and_nothing_is_changed() {
    let scene = Scene::new().await;
    let a = scene.seed("dynatrace/a", usual("a")).await;
    scene.seed("dynatrace/b", usual("b")).await;
    let before = scene.dynatrace.dynatrace().history().len();
    let said = scene.check(TWO).await;
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(
        said.out.contains("CET") || said.out.contains("CEST"),
        "{}",
        said.out
    );
    said.tells("OK", "environment prod", "apiTokens.write");
    said.tells(
        "OK",
        "dynatrace/a",
        &format!("holds {a} of admin (metrics.read)"),
    );
    said.tells("WARN", "journal", "shares the mount secret");
    assert_eq!(said.lines("OK", "Vault").len(), 2, "{}", said.out);
    let end = "2 secrets in 1 file: the configuration is valid; 0 errors, 1 warning\n";
    assert!(said.out.ends_with(end), "{}", said.out);

    assert_eq!(scene.dynatrace.dynatrace().history().len(), before);
    assert_eq!(
        scene.root.list("secret", "dtrotate").await,
        Vec::<String>::new()
    );
    for path in ["dynatrace/a", "dynatrace/b", "dynatrace/master"] {
        assert_eq!(scene.root.versions("secret", path).await.len(), 1, "{path}");
    }
}

/// The rules of the shipped policy, without comments.
fn shipped_rules() -> Vec<String> {
    let plain: Vec<&str> = POLICY
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let rules = plain.join("\n");
    rules.split_inclusive("}\n").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_rule_that_is_taken_away_is_named_and_the_printed_one_heals() {
    let scene = Scene::new().await;
    scene.seed("dynatrace/a", usual("a")).await;
    scene.seed("dynatrace/b", usual("b")).await;
    let rules = shipped_rules();
    assert_eq!(rules.len(), POLICY.matches("\npath ").count());
    for (number, rule) in rules.iter().enumerate() {
        let mut rest = rules.clone();
        rest.remove(number);
        let rest = rest.concat();
        scene.root.write_policy("dtrotate", &rest).await;
        let said = scene.check(TWO).await;
        // The one about the management token only takes rights away, the token never logs out, without the limits of the mount less is
        // checked, and without the right to look itself up a token does not work at all.
        let harmless = [
            "dynatrace/master",
            // Only platform tokens need it.
            "oauth-client",
            // Only discovery needs it.
            "metadata/dynatrace/apps",
            "revoke-self",
            "secret/config",
        ];
        let harmless = harmless.iter().any(|path| rule.contains(path));
        if rule.contains("lookup-self") {
            said.tells("ERROR", "Vault", "path \"auth/token/lookup-self\"");
            continue;
        }
        assert_eq!(
            said.code,
            Some(i32::from(!harmless)),
            "without {rule}: {}",
            said.out
        );
        if rule.contains("secret/config") {
            said.tells("WARN", "Vault", "may not read secret/config");
        }
        let healed = format!("{rest}\n{}", said.rules());
        scene.root.write_policy("dtrotate", &healed).await;
        let said = scene.check(TWO).await;
        assert_eq!(said.code, Some(0), "with {healed}: {}", said.out);
        assert!(said.lines("WARN", "Vault").is_empty(), "{}", said.out);
    }

    // A single right is named, too.
    let weaker = POLICY.replacen("[\"create\", \"read\", \"update\"]", "[\"read\"]", 1);
    scene.root.write_policy("dtrotate", &weaker).await;
    let said = scene.check(TWO).await;
    assert_eq!(said.code, Some(1));
    said.tells(
        "ERROR",
        "dynatrace/a",
        "may not create, update at secret/data/dynatrace/a",
    );
    let rule = "\npath \"secret/data/dynatrace/b\" {\n  capabilities = [\"create\", \"read\", \"update\"]\n}\n";
    assert!(said.out.contains(rule), "{}", said.out);
}

/// The shipped policy without the rule for this path.
fn without(path: &str) -> String {
    let rules = shipped_rules().into_iter();
    let rules = rules.filter(|rule| !rule.contains(&format!("\"{path}\"")));
    rules.collect()
}

#[tokio::test]
async fn the_token_that_tells_people_is_proved_without_opening_a_problem() {
    let scene = Scene::new().await;
    scene.seed("dynatrace/a", usual("a")).await;
    scene.seed("dynatrace/b", usual("b")).await;
    let environment = scene.dynatrace.dynatrace();
    let teller = environment.seed(Seed::new("teller").scopes(&["events.ingest"]));
    fs::write(scene.folder.path().join("notify-token"), &teller.value).expect("the token");
    let telling = format!("{TWO}[notify.dynatrace]\ntoken_file = \"notify-token\"\n");
    let said = scene.check(&telling).await;
    assert_eq!(said.code, Some(0), "{}", said.out);
    said.tells("OK", "[notify.dynatrace]", "has events.ingest");
    assert!(environment.events().is_empty());
    environment.set_scopes(&teller.id, &["metrics.ingest"]);
    let said = scene.check(&telling).await;
    assert_eq!(said.code, Some(1));
    said.tells(
        "ERROR",
        "[notify.dynatrace]",
        "lacks the scope events.ingest",
    );
    environment.disable(&teller.id);
    let said = scene.check(&telling).await;
    said.tells("ERROR", "[notify.dynatrace]", "401");
    assert!(!said.out.contains(&teller.value), "P5");
}

#[tokio::test]
async fn what_is_wrong_at_an_environment_is_one_line_about_the_environment() {
    let scene = Scene::new().await;
    scene.seed("dynatrace/a", usual("a")).await;
    scene.seed("dynatrace/b", usual("b")).await;
    let master = scene.seed("dynatrace/master", management()).await;
    let environment = scene.dynatrace.dynatrace();

    environment.set_scopes(&master, &["apiTokens.read"]);
    let said = scene.check(TWO).await;
    assert_eq!(said.code, Some(1));
    said.tells(
        "ERROR",
        "environment prod",
        "lacks the scope apiTokens.write",
    );

    environment.set_scopes(&master, &["apiTokens.read", "apiTokens.write"]);
    let soon = dtrotate::clock::now() + SignedDuration::from_hours(72);
    environment.set_expiry(&master, Some(soon));
    let said = scene.check(TWO).await;
    assert_eq!(said.code, Some(0));
    said.tells("WARN", "environment prod", "ends in 2 days");
    environment.set_expiry(&master, None);
    scene
        .check(TWO)
        .await
        .tells("WARN", "environment prod", "never expires");
    // It rotates: no reason to worry, but then it needs the rights for that.
    let itself = format!("{TWO}[[secret]]\npath = \"dynatrace/master\"\nlifetime = \"90d\"\n");
    let said = scene.check(&itself).await;
    assert_eq!(
        (said.code, said.lines("WARN", "environment prod").len()),
        (Some(1), 0)
    );
    said.tells(
        "ERROR",
        "dynatrace/master",
        "may not create, update at secret/data/dynatrace/master",
    );

    let personal = Seed::management("personal").personal();
    scene.seed("dynatrace/master", personal).await;
    let said = scene.check(TWO).await;
    assert!(
        said.out
            .contains("is a personal access token, which can delete only"),
        "{}",
        said.out
    );

    environment.disable(&scene.seed("dynatrace/master", management()).await);
    let said = scene.check(TWO).await;
    assert_eq!(said.code, Some(1));
    said.tells("ERROR", "environment prod", "401");
    said.tells(
        "ERROR",
        "environment prod",
        "secret/dynatrace/master#token of Vault; it was disabled or deleted",
    );
    said.tells("OK", "dynatrace/a", "was not looked up");
    assert!(said.lines("ERROR", "dynatrace/a").is_empty());

    let alone = json!({ "token": "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX" });
    scene.root.put("secret", "dynatrace/master", alone).await;
    let said = scene.check(TWO).await;
    said.tells(
        "ERROR",
        "environment prod",
        "the value in secret/dynatrace/master#token is the id of a token without its secret part",
    );
}

#[tokio::test]
async fn every_secret_that_cannot_be_rotated_is_an_error_and_what_may_surprise_a_warning() {
    let scene = Scene::new().await;
    let environment = scene.dynatrace.dynatrace();
    let hour = SignedDuration::from_hours(1);
    let now = dtrotate::clock::now();
    let mut config = String::new();
    let mut list = |name: &str| config += &format!("[[secret]]\npath = \"dynatrace/{name}\"\n");
    for (name, seed) in [
        ("personal", usual("p").personal()),
        ("disabled", usual("d").disabled()),
        (
            "manages",
            usual("m").scopes(&["metrics.read", "apiTokens.write"]),
        ),
        ("short", usual("s").created(now - hour).expires(now + hour)),
        ("forever", Seed::new("f")),
        ("foreign", usual("o").owner("somebody")),
        (
            "expired",
            usual("e").created(now - hour * 24 * 30).expires(now - hour),
        ),
        ("unknown", usual("u")),
        ("one", usual("x")),
    ] {
        let id = scene.seed(&format!("dynatrace/{name}"), seed).await;
        if name == "unknown" {
            environment.delete(&id);
        }
        list(name);
    }
    let one = scene
        .root
        .secret("secret", "dynatrace/one")
        .await
        .expect("a secret")
        .data;
    scene.root.put("secret", "dynatrace/two", one).await;
    for (name, data) in [
        ("blank", json!({ "token": "  " })),
        ("gone", json!({ "token": "x" })),
        (
            "alone",
            json!({ "token": "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX" }),
        ),
        ("worded", json!({ "token": "Api-Token x" })),
    ] {
        scene
            .root
            .put("secret", &format!("dynatrace/{name}"), data)
            .await;
    }
    scene.root.delete("secret", "dynatrace/gone").await;
    for name in ["two", "blank", "gone", "absent", "alone", "worded"] {
        list(name);
    }
    let said = scene.check(&config).await;
    assert_eq!(said.code, Some(1));
    for (grade, name, part) in [
        ("ERROR", "personal", "personal access token"),
        ("ERROR", "disabled", "a person disabled"),
        ("ERROR", "manages", "can manage tokens"),
        ("ERROR", "short", "twice the grace"),
        ("ERROR", "unknown", "does not know the token"),
        ("ERROR", "blank", "missing, empty or not a string"),
        ("ERROR", "gone", "is deleted"),
        ("ERROR", "absent", "there is nothing at"),
        ("ERROR", "alone", "without its secret part"),
        ("ERROR", "worded", "delete it in front"),
        ("WARN", "forever", "never expires"),
        (
            "WARN",
            "foreign",
            "belongs to somebody, and its successor will belong to admin",
        ),
        ("WARN", "expired", "has expired"),
        ("WARN", "one and dynatrace/two", "the same token"),
    ] {
        said.tells(grade, &format!("dynatrace/{name}"), part);
    }
    for name in ["forever", "foreign", "expired", "one", "two"] {
        said.tells("OK", &format!("dynatrace/{name}"), "holds dt0c01.");
    }
    assert!(
        said.out.ends_with("; 10 errors, 5 warnings\n"),
        "{}",
        said.out
    );
    // Told otherwise, a token may live without end.
    let meant = "[[secret]]\npath = \"dynatrace/forever\"\nlifetime = \"never\"\n";
    assert!(
        scene
            .check(meant)
            .await
            .lines("WARN", "dynatrace/forever")
            .is_empty()
    );
    let off = "[[secret]]\npath = \"dynatrace/absent\"\nenabled = false\n";
    assert_eq!(
        scene.check(off).await.code,
        Some(0),
        "what is switched off is left alone"
    );
}

#[tokio::test]
async fn what_vault_keeps_is_looked_at() {
    let scene = Scene::new().await;
    scene.seed("dynatrace/a", usual("a")).await;
    scene.seed("dynatrace/b", usual("b")).await;
    let limit = json!({ "max_versions": 2 });
    scene
        .root
        .ok(Method::POST, "secret/metadata/dynatrace/a", limit)
        .await;
    let said = scene.check(TWO).await;
    said.tells("WARN", "dynatrace/a", "keeps only 2 versions");
    assert!(said.lines("WARN", "dynatrace/b").is_empty(), "{}", said.out);
    // The larger one of the two limits counts.
    scene
        .limits("secret/config", json!({ "max_versions": 3 }))
        .await;
    let said = scene.check(TWO).await;
    assert_eq!(said.code, Some(0));
    for name in ["dynatrace/a", "dynatrace/b"] {
        said.tells("WARN", name, "keeps only 3 versions");
        said.tells("WARN", name, "to at least 5");
    }
    // The number follows from the schedule: as many as fit into 14 days at 23 hours each (summer time begins), and two more.
    let daily = format!("schedule = \"0 10 * * *\"\n{TWO}");
    let said = scene.check(&daily).await;
    said.tells("WARN", "dynatrace/a", "to at least 17");
    // Without the right to read it, the limit of the mount shows when versions were dropped.
    scene
        .root
        .write_policy("dtrotate", &without("secret/config"))
        .await;
    let b = scene
        .root
        .secret("secret", "dynatrace/b")
        .await
        .expect("a secret")
        .data;
    for _ in 0..4 {
        scene.root.put("secret", "dynatrace/b", b.clone()).await;
    }
    let said = scene.check(TWO).await;
    assert_eq!(said.code, Some(0));
    said.tells("WARN", "Vault", "max_versions and delete_version_after");
    said.tells("WARN", "dynatrace/a", "keeps only 2 versions");
    said.tells("WARN", "dynatrace/b", "keeps only 3 versions");
    scene.root.write_policy("dtrotate", POLICY).await;
    scene
        .limits("secret/config", json!({ "max_versions": 0 }))
        .await;

    let token = |name| scene.dynatrace.dynatrace().seed(usual(name)).value;
    let two_fields = json!({ "token": token("c"), "other": token("d") });
    scene.root.put("secret", "dynatrace/c", two_fields).await;
    let said = scene
        .check("[[secret]]\nname = \"c\"\npath = \"dynatrace/c\"\nfield = [\"token\", \"other\"]\n")
        .await;
    said.tells("WARN", "c", "other holds another value than token");

    scene.root.mount_kv("old", 1).await;
    scene
        .root
        .put_v1("old", "dynatrace/a", json!({ "token": token("e") }))
        .await;
    let v1 = "[[secret]]\nmount = \"old\"\npath = \"dynatrace/a\"\n";
    let said = scene.check_as(v1, "nosuch", &[]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("there is no such mount"), "{}", said.out);
    let rules = format!("{POLICY}\n{}", said.rules());
    scene.root.write_policy("dtrotate", &rules).await;
    scene.root.mount_kv("nosuch", 2).await;
    let said = scene.check_as(v1, "nosuch", &[]).await;
    assert_eq!(
        said.code,
        Some(1),
        "the KV version 1 mount shows itself only now: {}",
        said.out
    );
    let rules = format!("{rules}\n{}", said.rules());
    scene.root.write_policy("dtrotate", &rules).await;
    let said = scene.check_as(v1, "nosuch", &[]).await;
    assert_eq!(said.code, Some(0), "{}", said.out);
    said.tells("WARN", "Vault", "the mount old is KV version 1");
    assert!(
        said.lines("WARN", "journal").is_empty(),
        "it has a mount of its own"
    );
    let said = scene.check_as(v1, "old", &[]).await;
    assert_eq!(said.code, Some(1));
    assert!(
        said.out.contains("the journal needs version 2"),
        "{}",
        said.out
    );
}

/// Grace 24 h, quarantine 7 days, and 7 days between two rotations.
#[tokio::test]
async fn k17_what_vault_deletes_by_itself_is_found_before_it_is_gone() {
    let scene = Scene::new().await;
    scene.seed("dynatrace/a", usual("a")).await;
    scene.root.mount_kv("journal", 2).await;
    let rules = [
        ("secret/data/dtrotate", "journal/data/dtrotate"),
        ("secret/metadata/dtrotate", "journal/metadata/dtrotate"),
    ];
    let rules = rules.iter().fold(POLICY.to_owned(), |policy, (old, new)| {
        policy.replace(old, new)
    });
    let rules = format!("{rules}\npath \"journal/config\" {{\n  capabilities = [\"read\"]\n}}\n");
    scene.root.write_policy("dtrotate", &rules).await;
    let a = "[[secret]]\npath = \"dynatrace/a\"\n";
    let check = async || scene.check_as(a, "journal", &[]).await;
    let said = check().await;
    assert!(said.out.ends_with("0 errors, 0 warnings\n"), "{}", said.out);

    let after = |length: &str| json!({ "delete_version_after": length });
    for (mount, key, error, warning) in [
        ("168h", "0s", "7d1h can pass between two rotations", ""),
        ("0s", "72h", "3d after it was written", ""),
        ("170h", "0s", "", "or to at least 15d1h"),
        ("170h", "72h", "3d after it was written", ""),
        ("361h", "0s", "", ""),
        ("-1s", "72h", "", ""),
    ] {
        scene.limits("secret/config", after(mount)).await;
        scene
            .limits("secret/metadata/dynatrace/a", after(key))
            .await;
        let said = check().await;
        assert_eq!(
            said.code,
            Some(i32::from(!error.is_empty())),
            "{}",
            said.out
        );
        for (grade, part) in [("ERROR", error), ("WARN", warning)] {
            match part {
                "" => assert!(
                    said.lines(grade, "dynatrace/a").is_empty(),
                    "{mount} {key}: {}",
                    said.out
                ),
                part => said.tells(grade, "dynatrace/a", part),
            }
        }
        assert!(said.lines("ERROR", "journal").is_empty(), "{}", said.out);
    }

    // What was written under such a limit keeps its end when the limit is gone.
    scene.limits("secret/config", after("24h")).await;
    scene
        .limits("secret/metadata/dynatrace/a", after("0s"))
        .await;
    scene.seed("dynatrace/a", usual("a")).await;
    scene.seed("dynatrace/master", management()).await;
    scene.limits("secret/config", after("0s")).await;
    let said = check().await;
    assert_eq!(said.code, Some(0), "{}", said.out);
    said.tells(
        "WARN",
        "dynatrace/a",
        "will delete the current value of secret/dynatrace/a at",
    );
    said.tells(
        "WARN",
        "environment prod",
        "will delete the management token's value",
    );

    scene.limits("journal/config", after("720h")).await;
    let said = check().await;
    assert_eq!(said.code, Some(1));
    said.tells(
        "ERROR",
        "journal",
        "the mount journal deletes journal documents 30d after",
    );
    scene.limits("journal/config", after("0s")).await;
    let document = "journal/metadata/dtrotate/journal/dynatrace~2Fa";
    scene.limits(document, after("720h")).await;
    let said = check().await;
    assert_eq!(said.code, Some(1));
    said.tells(
        "ERROR",
        "journal",
        "1 of the journal documents, first journal/dtrotate/journal/dynatrace~2Fa,",
    );
    // A policy that does not let us look is no error.
    let blind = rules.replace("[\"list\", \"read\"]", "[\"list\"]");
    scene.root.write_policy("dtrotate", &blind).await;
    let said = check().await;
    assert_eq!(said.code, Some(0), "{}", said.out);
    said.tells(
        "WARN",
        "journal",
        "cannot be checked whether Vault deletes a document",
    );
    assert!(
        said.rules().contains("[\"list\", \"read\"]"),
        "{}",
        said.out
    );
}

/// A document of more bytes than Vault accepts would stop its secret; how many tokens retire follows from the configuration.
#[tokio::test]
async fn k7_a_schedule_whose_document_would_become_too_large_is_refused() {
    let scene = Scene::new().await;
    let scopes: Vec<String> = (0..10_000)
        .map(|n| format!("scope.number{n}.read"))
        .collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    scene.seed("dynatrace/a", usual("a")).await;
    scene.seed("dynatrace/b", usual("b").scopes(&scopes)).await;
    let often = |max_grace: &str| {
        format!(
            "schedule = \"@hourly\"\ngrace = \"1h\"\nquarantine = \"48h\"\nmax_grace = \"{max_grace}\"\n{TWO}"
        )
    };
    for (max_grace, errors) in [
        ("30d", ["769", "769"]),
        ("10d", ["", "289"]),
        ("5d", ["", ""]),
    ] {
        let said = scene.check(&often(max_grace)).await;
        for (name, tokens) in ["dynatrace/a", "dynatrace/b"].into_iter().zip(errors) {
            match tokens {
                "" => assert!(
                    said.lines("ERROR", name).is_empty(),
                    "{max_grace}: {:?}",
                    said.lines("ERROR", name)
                ),
                tokens => said.tells("ERROR", name, &format!("up to {tokens} of its old tokens")),
            }
        }
        assert_eq!(
            said.code,
            Some(i32::from(errors != ["", ""])),
            "{max_grace}"
        );
        // The scopes are Dynatrace's to tell; everything else is known offline as well.
        let said = scene.check_offline().await;
        let said_errors =
            said.lines("ERROR", "dynatrace/a").len() + said.lines("ERROR", "dynatrace/b").len();
        assert_eq!(
            said_errors,
            if errors[0].is_empty() { 0 } else { 2 },
            "{}",
            said.out
        );
        assert_eq!(said.code, Some(i32::from(!errors[0].is_empty())));
    }
}

#[tokio::test]
async fn a_person_with_a_token_of_their_own_is_told_whose_rights_are_proved() {
    let scene = Scene::new().await;
    scene.seed("dynatrace/a", usual("a")).await;
    let a = "[[secret]]\npath = \"dynatrace/a\"\n";
    let reply = scene
        .root
        .ok(Method::GET, "auth/token/lookup-self", Value::Null)
        .await;
    let root = reply["data"]["id"].as_str().expect("an id");
    let said = scene.check_as(a, "secret", &[("BAO_TOKEN", root)]).await;
    assert_eq!(said.code, Some(0));
    let warnings = said.lines("WARN", "Vault");
    assert!(
        warnings[0].contains("BAO_TOKEN") && warnings[1].contains("root token"),
        "{}",
        said.out
    );
    let short = json!({ "policies": ["dtrotate"], "ttl": "3h", "renewable": false });
    let reply = scene
        .root
        .ok(Method::POST, "auth/token/create-orphan", short)
        .await;
    let short = reply["auth"]["client_token"].as_str().expect("a token");
    let said = scene.check_as(a, "secret", &[("VAULT_TOKEN", short)]).await;
    assert!(
        said.out.contains(" h and cannot be renewed"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn what_cannot_be_reached_is_69_and_a_dead_token_1() {
    let mut scene = Scene::new().await;
    scene.seed("dynatrace/a", usual("a")).await;
    let a = "[[secret]]\npath = \"dynatrace/a\"\n";
    let elsewhere = Simulator::start(Options::default())
        .await
        .expect("the simulator");
    let real = std::mem::replace(&mut scene.dynatrace, elsewhere);
    let said = scene.check(a).await;
    said.tells("ERROR", "environment prod", "401");
    let gone = std::mem::replace(&mut scene.dynatrace, real);
    let url = gone.url().to_owned();
    drop(gone);
    let said = scene.check(&format!("{a}environment = \"prod\"\n[dynatrace.down]\nurl = \"{url}\"\nauth.path = \"dynatrace/master\"\n")).await;
    assert_eq!(said.code, Some(69), "{}", said.out);
    assert_eq!(
        said.lines("ERROR", "environment down").len(),
        1,
        "{}",
        said.out
    );
    said.tells("OK", "dynatrace/a", "holds");

    let file = scene.folder.path().join("vault-token");
    scene
        .root
        .revoke_token(&fs::read_to_string(file).expect("a token"))
        .await;
    let said = scene.check(a).await;
    assert_eq!(said.code, Some(1));
    said.tells("ERROR", "Vault", "wrong, expired or revoked");
    scene.vault.seal().await;
    let said = scene.check(a).await;
    assert_eq!(said.code, Some(69));
    said.tells("ERROR", "Vault", "sealed");
    scene.vault.kill();
    let said = scene.check(a).await;
    assert_eq!(said.code, Some(69));
    assert_eq!(said.lines("ERROR", "Vault").len(), 1, "{}", said.out);
}
