//! Secrets that `discover` finds: what is taken and what is not, what a listing that fails changes (nothing), and when one is released.

use serde_json::{Value, json};
use simulator::Seed;

use crate::commands::flat;
use crate::ops::{get, listening_world, ready};
use crate::world::{Kind, Site, World, note, until};

const SCOPES: [&str; 1] = ["metrics.read"];

fn table(text: &str) -> toml::Value {
    let table: toml::Table = text.parse().expect("a table");
    table.into()
}

async fn put(world: &World, path: &str, value: &str) {
    let data = json!({ "token": value, "note": note(0) });
    world.root.put("secret", path, data).await;
}

/// A secret of `dynatrace/apps/` with a token of its own.
async fn app(world: &World, name: &str) {
    let seed = Seed::new(name).scopes(&SCOPES);
    let value = world.dynatrace.seed(seed).value;
    put(world, &format!("dynatrace/apps/{name}"), &value).await;
}

/// One secret of the files outside of the folder, one in it; and everything that may lie in a folder.
async fn folder_world() -> World {
    let mut world = listening_world(1).await;
    world.set("defaults.schedule", "0 0 1 1 *");
    for name in ["a", "team/b", "sandbox-1", "explicit"] {
        app(&world, name).await;
    }
    let managing = world.dynatrace.seed(Seed::management("another manager"));
    for (name, value) in [
        ("manager", managing.value.as_str()),
        ("opaque", "fsjhkeiu3483kfjskdf2_"),
        (
            "elsewhere",
            "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX.NOTATOKENOFTHISENVIRONMENT",
        ),
        ("blank", ""),
        ("platform", "dt0s16.ABCDEFGH.SECRET"),
    ] {
        put(&world, &format!("dynatrace/apps/{name}"), value).await;
    }
    let other = json!({ "password": "p" });
    world
        .root
        .put("secret", "dynatrace/apps/database", other)
        .await;
    let secrets = vec![
        table(&format!("path = \"{}\"", world.secrets[0])),
        table("path = \"dynatrace/apps/explicit\""),
        table(
            "discover = \"dynatrace/apps/\"\nexclude = [\"dynatrace/apps/sandbox-*\"]\nlabels.team = \"apps\"",
        ),
    ];
    world.set("secret", secrets);
    world
}

/// The names in the status of the daemon, without those that left.
async fn names(world: &World) -> Vec<String> {
    let (_, text) = get(world, "/status").await;
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    let secrets = status["secrets"].as_array().cloned().unwrap_or_default();
    let here = secrets.iter().filter(|secret| secret["state"] != "removed");
    here.map(|secret| secret["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn known(world: &World, expected: &[&str]) {
    until("the secrets to be known", async || {
        names(world).await == expected
    })
    .await;
}

const FOUND: [&str; 4] = [
    "dynatrace/apps/a",
    "dynatrace/apps/explicit",
    "dynatrace/apps/team/b",
    "dynatrace/s0",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_a_token_of_the_environment_is_rotated_as_if_it_were_written_down() {
    let world = folder_world().await;
    let (code, text) = world.command(&["check", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    let sentence =
        "discover secret/dynatrace/apps/#token: 8 of 10 secrets below the folder are examined";
    assert!(flat(&text).contains(sentence), "{text}");

    let mut daemon = world.start("e2e");
    ready(&world).await;
    known(&world, &FOUND).await;
    until("all to be adopted", async || {
        daemon.events("secret_adopted") == 4
    })
    .await;
    // A command knows them, too; nothing else was touched.
    let tokens = world.dynatrace.tokens().len();
    let (code, text) = world.command(&["rotate", "--label", "team=apps"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("dynatrace/apps/a: rotated")
            && text.contains("dynatrace/apps/team/b: rotated")
    );
    assert_eq!(world.dynatrace.tokens().len(), tokens + 2);
    let (code, text) = world.command(&["rotate", "dynatrace/apps/sandbox-1"]).await;
    assert_eq!(code, Some(2), "{text}");

    // A new one is found by a sweep.
    app(&world, "new").await;
    let with_new = [
        "dynatrace/apps/a",
        "dynatrace/apps/explicit",
        "dynatrace/apps/new",
        FOUND[2],
        FOUND[3],
    ];
    known(&world, &with_new).await;

    // A restart remembers them before it lists, and without a daemon the status knows them.
    daemon.kill();
    let (_, json) = world.command(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&json).expect("JSON");
    // The last one may have been found a moment before the kill.
    let count = status["secrets"].as_array().map(Vec::len);
    assert!(count >= Some(4), "{json}");
    let daemon = world.start("e2e");
    known(&world, &with_new).await;

    until("the new one to be adopted", async || {
        let (_, json) = world.command(&["status", "--json"]).await;
        let status: Value = serde_json::from_str(&json).expect("JSON");
        let mut secrets = status["secrets"].as_array().expect("secrets").iter();
        secrets.any(|it| it["name"] == "dynatrace/apps/new" && !it["current"].is_null())
    })
    .await;
    // One that is gone is released after two listings; a token that retires there is finished first.
    world
        .root
        .delete_metadata("secret", "dynatrace/apps/new")
        .await;
    known(&world, &FOUND).await;
    until("it to be released", async || {
        daemon.lines().iter().any(|line| {
            line["event"] == "secret_released" && line["secret"] == "dynatrace/apps/new"
        })
    })
    .await;
    assert_eq!(world.errors(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_listed_changes_nothing_and_is_reported() {
    let world = folder_world().await;
    let mut daemon = world.start("e2e");
    known(&world, &FOUND).await;
    until("all to be adopted", async || {
        daemon.events("secret_adopted") == 4
    })
    .await;
    let shipped = include_str!("../../config/vault-policy.hcl");
    let rule =
        "path \"secret/metadata/dynatrace/apps/*\" {\n  capabilities = [\"list\", \"read\"]\n}\n";
    assert!(shipped.contains(rule));
    world
        .root
        .write_policy("dtrotate", &shipped.replace(rule, ""))
        .await;
    let open = async |world: &World| {
        let (_, text) = get(world, "/status").await;
        text.contains("\"kind\":\"discovery_failing\"")
    };
    until("the condition", async || open(&world).await).await;
    assert_eq!(names(&world).await, FOUND);
    // `check` names the rule.
    let (code, text) = world.command(&["check"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("path \"secret/metadata/dynatrace/apps/*\""),
        "{text}"
    );

    // A restart that cannot list releases nothing.
    daemon.kill();
    let daemon = world.start("e2e");
    known(&world, &FOUND).await;
    until("the condition again", async || open(&world).await).await;
    assert_eq!(daemon.events("secret_released"), 0);
    world.root.write_policy("dtrotate", shipped).await;
    until("the end of it", async || !open(&world).await).await;
    assert_eq!(names(&world).await, FOUND);
}

/// The kind of the table decides which values are taken; an API token in the folder is neither rotated nor sent anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_platform_tokens_takes_values_of_its_kind_alone() {
    let mut world = World::of(Kind::Platform, Site::new().await, "", 1).await;
    let platform = world.issuer.seed(1);
    put(&world, "dynatrace/apps/platform", &platform).await;
    app(&world, "api").await;
    let secrets = vec![
        table(&format!("path = \"{}\"", world.secrets[0])),
        table("discover = \"dynatrace/apps/\""),
    ];
    world.set("secret", secrets);
    let daemon = world.start("e2e");
    until("both to be adopted", async || {
        daemon.events("secret_adopted") == 2
    })
    .await;
    let (code, text) = world.command(&["rotate", "dynatrace/apps/platform"]).await;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = world.command(&["rotate", "dynatrace/apps/api"]).await;
    assert_eq!(code, Some(2), "{text}");
    let looked_up = |call: &simulator::Call| call.path.ends_with("/apiTokens/lookup");
    assert!(!world.dynatrace.calls().iter().any(looked_up));
    assert_eq!(world.errors(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_command_says_that_no_secret_is_known_before_the_first_sweep() {
    let mut world = listening_world(1).await;
    app(&world, "a").await;
    world.set("secret", vec![table("discover = \"dynatrace/apps/\"")]);
    for command in ["rotate", "pause"] {
        let (code, results, text) = world.command_and_stderr(&[command, "--all"]).await;
        assert_eq!((code, results.as_str()), (Some(2), ""), "{text}");
        let text = flat(&text);
        assert!(
            text.contains("no secret is known yet") && text.contains("run --once"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_token_in_a_folder_is_known_whether_a_daemon_has_found_it_or_not() {
    let world = folder_world().await;
    let current = async |name: &str| {
        let path = format!("dynatrace/apps/{name}");
        let secret = world.root.secret("secret", &path).await;
        let data = secret.expect("the secret").data;
        let value = data["token"].as_str().expect("a value");
        value.rsplit_once('.').expect("a dotted value").0.to_owned()
    };
    let audited = async |id: &str| {
        let (_, text) = world.command(&["audit", "--json"]).await;
        let audit: Value = serde_json::from_str(&text).expect("a document");
        assert_eq!(audit["incomplete"], json!([]), "{text}");
        let mut tokens = audit["tokens"].as_array().expect("tokens").iter();
        let token = tokens.find(|token| token["token_id"] == id);
        let token = token.expect("the token").clone();
        (token["relation"].clone(), token["findings"].clone())
    };
    let managed = (json!("current"), json!([]));
    let (a, b) = (current("a").await, current("team/b").await);
    let opaque = current("elsewhere").await;
    assert_eq!(audited(&a).await, managed, "before");
    let owner = world.dynatrace.token(&a).expect("a token").owner;
    let prune = ["prune", "--owner", &owner, "--min-age", "0s", "--json"];
    let planned = async || {
        let (code, text) = world.command(&prune).await;
        assert_eq!(code, Some(0), "{text}");
        text
    };
    let plan = planned().await;
    assert!(!plan.contains(&a) && !plan.contains(&b), "{plan}");
    // A leaked one is replaced first.
    let leaked = ["revoke", &b, "--environment", "prod", "--yes"];
    let (code, text) = world.command(&leaked).await;
    assert_eq!(code, Some(0), "{text}");
    let next = current("team/b").await;
    let is_alive = |id: &str| world.dynatrace.token(id).is_some_and(|token| token.enabled);
    assert!(next != b && is_alive(&next) && !is_alive(&b), "{text}");
    let daemon = world.start("e2e");
    ready(&world).await;
    until("they are found", async || {
        daemon.events("secret_adopted") >= 3
    })
    .await;
    assert_eq!(audited(&a).await, managed, "after");
    assert_eq!(audited(&next).await, managed, "after");
    let plan = planned().await;
    assert!(!plan.contains(&a) && !plan.contains(&next), "{plan}");
    assert!(!plan.contains(&opaque), "it is of another environment");
}
