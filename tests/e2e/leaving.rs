//! Secrets that leave the configuration, come back, move, or change their name: their documents and their former tokens.

use std::time::Duration;

use serde_json::Value;
use simulator::{Action, Answer, Operation, Rule, Seed};

use crate::world::{Daemon, World, parsed, until, within};

/// The document of the secret named `name`.
async fn document(world: &World, name: &str) -> Value {
    let path = format!("{}/{}", world.journal, name.replace('/', "~2F"));
    let document = world.root.secret("secret", &path).await;
    document.map_or(Value::Null, |document| parsed(document.data))
}

fn retiring(document: &Value) -> Vec<&str> {
    let entries = document["retiring"].as_array();
    let ids = entries.into_iter().flatten().map(|entry| &entry["id"]);
    ids.filter_map(Value::as_str).collect()
}

/// Takes the `[[secret]]` out of the configuration.
fn remove(world: &mut World, number: usize) -> toml::Value {
    let secrets = world.config["secret"].as_array_mut().expect("secrets");
    let path = &world.secrets[number];
    let at = secrets
        .iter()
        .position(|secret| secret["path"].as_str() == Some(path));
    let secret = secrets.remove(at.expect("the secret"));
    world.save();
    secret
}

fn add(world: &mut World, secret: toml::Value) {
    let secrets = world.config["secret"].as_array_mut().expect("secrets");
    secrets.push(secret);
    world.save();
}

async fn rotate(world: &World, name: &str) {
    let (code, text) = world.command(&["rotate", name]).await;
    assert_eq!(code, Some(0), "{text}");
}

async fn recorded(world: &World, name: &str) {
    until("the secret to be recorded", async || {
        !document(world, name).await["current"].is_null()
    })
    .await;
}

async fn reload(daemon: &Daemon) {
    let before = daemon.events("config_reloaded");
    daemon.signal("-HUP");
    until("the reload", async || {
        daemon.events("config_reloaded") > before
    })
    .await;
}

async fn closed(world: &World, name: &str) {
    until("the document to be closed", async || {
        !document(world, name).await["closed_at"].is_null()
    })
    .await;
}

#[tokio::test]
async fn p2_a_secret_removed_at_a_reload_finishes_its_retirements_and_comes_back() {
    let mut world = World::new(2).await;
    let name = world.secrets[0].clone();
    let mut daemon = world.start("a");
    recorded(&world, &name).await;
    let first = world.current_id(0).await;
    rotate(&world, &name).await;
    let second = world.current_id(0).await;
    let secret = remove(&mut world, 0);
    reload(&daemon).await;
    closed(&world, &name).await;
    assert_eq!(world.dynatrace.token(&first), None, "P2: left behind");
    assert_eq!(world.current_id(0).await, second);
    assert_eq!(daemon.events("secret_released"), 1);
    // It stays closed, and nobody looks at it.
    let version = document(&world, &name).await["write_id"].clone();
    reload(&daemon).await;
    rotate(&world, &world.secrets[1]).await;
    assert_eq!(document(&world, &name).await["write_id"], version);

    add(&mut world, secret);
    reload(&daemon).await;
    until("the document to be taken up again", async || {
        let document = document(&world, &name).await;
        document["closed_at"].is_null() && document["current"]["id"] == second.as_str()
    })
    .await;
    rotate(&world, &name).await;
    assert_eq!(document(&world, &name).await["attempt"], 2);
    until("quiet", async || world.is_quiet().await).await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    world.assert_holds().await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
}

#[tokio::test]
async fn k13_a_former_secrets_document_that_cannot_be_read_keeps_nobody_from_starting() {
    let mut world = World::new(2).await;
    let name = world.secrets[0].clone();
    let mut daemon = world.start("a");
    recorded(&world, &name).await;
    recorded(&world, &world.secrets[1]).await;
    rotate(&world, &name).await;
    daemon.kill();
    remove(&mut world, 0);
    world.set("defaults.schedule", "*/2 * * * * *");
    let about = format!("secret/{}", world.document(0));
    let rule = Rule::on(Operation::ReadSecret).about(&about).always();
    let fault = world
        .gate
        .fault(rule.then(Action::Refuse(Answer::proxy(502))));
    let daemon = world.start("a");
    until("the others to be rotated, and a report", async || {
        let reported = daemon.events("journal_unreadable") == 1;
        reported && daemon.events("rotation_succeeded") > 1
    })
    .await;
    fault.remove();
    closed(&world, &name).await;
    world.assert_valid().await;
}

#[tokio::test]
async fn p2_a_secret_removed_in_the_middle_of_a_rotation_leaves_no_orphan() {
    let mut world = World::new(1).await;
    let name = world.secrets[0].clone();
    let first = world.current_id(0).await;
    let mut daemon = world.start("a");
    recorded(&world, &name).await;
    let lost = Rule::on(Operation::CreateToken).then(Action::HoldAnswer);
    let fault = world.dynatrace.fault(lost);
    world.set("defaults.schedule", "* * * * * *");
    daemon.signal("-HUP");
    assert!(fault.wait_performed(1, Duration::from_secs(60)).await);
    daemon.kill();
    fault.drop_held();
    world.dynatrace.clear_faults();
    assert_eq!(world.tokens(), 2);
    remove(&mut world, 0);
    let daemon = world.start("a");
    closed(&world, &name).await;
    assert_eq!(world.tokens(), 1, "P2: an orphan is left");
    assert_eq!(world.current_id(0).await, first, "nothing new is made");
    until("it to be reported", async || {
        daemon.events("orphan_deleted") == 1
    })
    .await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
}

#[tokio::test]
async fn p2_former_tokens_of_an_environment_that_is_gone_too_are_an_error_and_left_alone() {
    let mut world = World::new(1).await;
    let name = world.secrets[0].clone();
    let url = world.config["dynatrace"]["prod"]["url"].clone();
    world.set("defaults.grace", "4s");
    let mut daemon = world.start("a");
    recorded(&world, &name).await;
    let first = world.current_id(0).await;
    rotate(&world, &name).await;
    daemon.kill();
    remove(&mut world, 0);
    world.set("dynatrace.prod.url", "http://127.0.0.1:1");
    let mut daemon = world.start("b");
    until("the error", async || {
        let lines = daemon.lines();
        let told =
            |line: &&Value| line["event"] == "retirement_blocked" && line["level"] == "ERROR";
        lines
            .iter()
            .any(|line| told(&line) && line["message"].as_str().is_some_and(|m| m.contains(&first)))
    })
    .await;
    assert!(document(&world, &name).await["closed_at"].is_null());
    daemon.kill();
    // The environment comes back under another name: the rest is finished there, and the end of the condition is reported.
    let mut environment = world.config["dynatrace"]["prod"].clone();
    environment["url"] = url;
    let table = toml::Table::from_iter([("again".to_owned(), environment)]);
    world.set("dynatrace", table);
    world.start("c");
    let _daemon = world.start("c");
    closed(&world, &name).await;
    assert_eq!(world.dynatrace.token(&first), None, "P2: left behind");
}

/// Gives secret 0 the name `new`.
fn rename(world: &mut World, from: Option<&str>) {
    let mut secret = remove(world, 0);
    let table = secret.as_table_mut().expect("a secret");
    table.insert("name".into(), "new".into());
    if let Some(from) = from {
        table.insert("renamed_from".into(), from.into());
    }
    add(world, secret);
}

#[tokio::test]
async fn p2_a_renamed_secret_takes_its_document_along_with_two_replicas() {
    for told in [true, false] {
        let mut world = World::new(1).await;
        let name = world.secrets[0].clone();
        let daemons = [world.start("a"), world.start("b")];
        recorded(&world, &name).await;
        let first = world.current_id(0).await;
        // Its grace does not end before the new document is there.
        world.set("defaults.max_grace", "60s");
        world.set("defaults.grace", "5s");
        rotate(&world, &name).await;
        rename(&mut world, told.then_some(name.as_str()));
        daemons.iter().for_each(|daemon| daemon.signal("-HUP"));
        recorded(&world, "new").await;
        let old = document(&world, &name).await;
        assert_eq!(old["renamed_to"], "new");
        let new = document(&world, "new").await;
        assert_eq!(new["epoch"], old["epoch"], "one story");
        assert_eq!(new["attempt"], 1);
        assert_eq!(retiring(&new), [first.as_str()]);
        until("the former token to be gone", async || {
            world.dynatrace.token(&first).is_none()
        })
        .await;
        rotate(&world, "new").await;
        assert_eq!(document(&world, "new").await["attempt"], 2);
        assert_eq!(document(&world, &name).await["write_id"], old["write_id"]);
        world.assert_valid().await;
        assert!(world.errors().is_empty(), "{:?}", world.errors());
    }
}

#[tokio::test]
async fn p2_a_renaming_that_was_broken_off_is_finished() {
    let mut world = World::new(1).await;
    let name = world.secrets[0].clone();
    let mut daemon = world.start("a");
    recorded(&world, &name).await;
    rotate(&world, &name).await;
    daemon.kill();
    // The first of the two writes, and then a crash.
    let mut old = document(&world, &name).await;
    old["closed_at"] = "2026-01-01T00:00:00Z".into();
    old["renamed_to"] = "new".into();
    let path = world.document(0);
    world.root.put("secret", &path, old.clone()).await;
    rename(&mut world, Some(&name));
    let daemon = world.start("a");
    recorded(&world, "new").await;
    let new = document(&world, "new").await;
    assert_eq!(
        (&new["epoch"], &new["attempt"]),
        (&old["epoch"], &old["attempt"])
    );
    assert_eq!(document(&world, &name).await, old);
    // Who still has the old configuration keeps its hands off.
    let mut world = world;
    let mut secret = remove(&mut world, 0);
    let table = secret.as_table_mut().expect("a secret");
    table.remove("name");
    table.remove("renamed_from");
    add(&mut world, secret);
    let old_one = world.start("old");
    until("the old one to say so", async || {
        let lines = old_one.lines();
        lines.iter().any(|line| {
            line["event"] == "journal_unreadable"
                && line["level"] == "ERROR"
                && line["message"]
                    .as_str()
                    .is_some_and(|m| m.contains("renamed to new"))
        })
    })
    .await;
    assert_eq!(document(&world, &name).await, old);
    drop(daemon);
}

#[tokio::test]
async fn p2_a_name_with_a_document_of_its_own_keeps_it() {
    let mut world = World::new(2).await;
    let name = world.secrets[0].clone();
    let other = world.secrets[1].clone();
    let mut daemon = world.start("a");
    for name in [&name, &other] {
        recorded(&world, name).await;
        rotate(&world, name).await;
    }
    daemon.kill();
    let theirs = document(&world, &other).await["epoch"].clone();
    remove(&mut world, 0);
    let mut secret = remove(&mut world, 1);
    let table = secret.as_table_mut().expect("a secret");
    table.insert("renamed_from".into(), name.as_str().into());
    add(&mut world, secret);
    let daemon = world.start("a");
    closed(&world, &name).await;
    assert!(document(&world, &name).await["renamed_to"].is_null());
    assert_eq!(document(&world, &other).await["epoch"], theirs);
    let lines = daemon.lines();
    let warned = |line: &&Value| line["event"] == "secret_released" && line["level"] == "WARN";
    assert_eq!(lines.iter().filter(warned).count(), 1);
    assert!(within(Duration::from_secs(60), async || world.tokens() == 2).await);
}

/// The reasons of the secrets that are stuck now.
async fn stuck(world: &World) -> Vec<String> {
    let mut reasons = vec![];
    for number in 0..world.secrets.len() {
        let failure = &world.record(number).await["failure"];
        reasons.extend(failure["reason"].as_str().map(str::to_owned));
    }
    reasons
}

#[tokio::test]
async fn p7_p8_a_secret_that_moved_is_told_at_once_and_waits_for_a_person() {
    let mut world = World::new(1).await;
    let name = world.secrets[0].clone();
    let daemon = world.start("e2e");
    recorded(&world, &name).await;
    let secrets = |world: &mut World, path: &str| {
        let secrets = world.config["secret"].as_array_mut().expect("secrets");
        let secret = secrets[0].as_table_mut().expect("a secret");
        secret.insert("name".into(), name.clone().into());
        secret.insert("path".into(), path.into());
        world.save();
    };
    let theirs = world.dynatrace.seed(Seed::new("theirs"));
    let data = serde_json::json!({ "token": theirs.value });
    world.root.put("secret", "dynatrace/elsewhere", data).await;
    secrets(&mut world, "dynatrace/elsewhere");
    reload(&daemon).await;
    until("it to be reported", async || {
        stuck(&world).await == ["moved"] && world.errors().len() == 1
    })
    .await;
    let told = world.errors()[0]["message"].to_string();
    assert!(
        told.contains("dynatrace/elsewhere") && told.contains("retired"),
        "{told}"
    );
    // Moved back: nothing happened.
    secrets(&mut world, &name);
    reload(&daemon).await;
    until("it to be over", async || stuck(&world).await.is_empty()).await;
    assert_eq!(world.replaced(0).await, 0);
    // Accepted: the token of the former place retires as any other.
    let former = world.value(0).await;
    secrets(&mut world, "dynatrace/elsewhere");
    reload(&daemon).await;
    until("it to be reported again", async || {
        stuck(&world).await == ["moved"]
    })
    .await;
    rotate(&world, &name).await;
    until("the former ones to be gone", async || {
        world.tokens() == 1 && world.dynatrace.token_by_value(&former).is_none()
    })
    .await;
}

#[tokio::test]
async fn p2_p8_a_new_url_is_a_move_and_former_tokens_wait_for_their_own() {
    let mut world = World::new(1).await;
    let name = world.secrets[0].clone();
    let daemon = world.start("e2e");
    recorded(&world, &name).await;
    rotate(&world, &name).await;
    let url = world.dynatrace.url().to_owned();
    let other = url.replace("127.0.0.1", "localhost");
    world.set("defaults.grace", "20s");
    world.set("defaults.max_grace", "40s");
    world.set("dynatrace.prod.url", other.as_str());
    reload(&daemon).await;
    until("it to be reported", async || {
        stuck(&world).await == ["moved"] && !world.errors().is_empty()
    })
    .await;
    let told = world.errors()[0]["message"].to_string();
    assert!(told.contains(&url) && told.contains(&other), "{told}");
    let before = world.value(0).await;
    rotate(&world, &name).await;
    assert_ne!(world.value(0).await, before, "it says rotated");
    until("what waits to be reported", async || {
        let errors = world.errors();
        errors
            .iter()
            .any(|line| line["event"] == "retirement_blocked")
    })
    .await;
    world.set("defaults.grace", "2s");
    world.set("defaults.max_grace", "4s");
    world.set("dynatrace.prod.url", url.as_str());
    reload(&daemon).await;
    rotate(&world, &name).await;
    world.assert_valid().await;
}
