//! Routes: who gets which conditions, and completed rotations announced at least once: beside kills, a webhook that is down, and replicas.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::notify::Sink;
use crate::world::{Daemon, World, until};

const ROTATED: &str = "rotation_succeeded";

/// The URL of a sink as the file `name`.
fn url_file(world: &World, name: &str, sink: &Sink) {
    std::fs::write(world.folder.path().join(name), &sink.url).expect("a file");
}

/// Adds a `[[notify.route]]`.
fn route(world: &mut World, text: &str) {
    let route: toml::Table = text.parse().expect("a route");
    let notify = world
        .config
        .entry("notify")
        .or_insert_with(|| toml::Table::new().into());
    let notify = notify.as_table_mut().expect("a table");
    let routes = notify
        .entry("route")
        .or_insert_with(|| toml::Value::Array(vec![]));
    routes.as_array_mut().expect("routes").push(route.into());
    world.save();
}

fn label(world: &mut World, number: usize, team: &str) {
    let labels: toml::Table = format!("team = \"{team}\"").parse().expect("labels");
    let secret = world.config["secret"][number]
        .as_table_mut()
        .expect("a secret");
    secret.insert("labels".into(), labels.into());
    world.save();
}

fn schedule(world: &mut World, number: usize, cron: &str) {
    let secret = world.config["secret"][number]
        .as_table_mut()
        .expect("a secret");
    secret.insert("schedule".into(), cron.into());
    world.save();
}

async fn ready(world: &World, name: &str) -> Daemon {
    let daemon = world.start(name);
    until("the daemon to be ready", async || {
        daemon.events("daemon_ready") == 1
    })
    .await;
    daemon
}

/// A command whose instance name is that of this daemon's machine.
async fn rotate(world: &World, number: usize, instance: &str) {
    let mut command = world.program();
    command
        .args(["rotate", &world.secrets[number]])
        .env("DTROTATE_INSTANCE", instance);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("a thread").expect("dtrotate");
    assert!(output.status.success(), "{output:?}");
}

/// The ids of the tokens in the posts about rotations.
fn announced(sink: &Sink) -> Vec<Value> {
    let posts = sink.posts(ROTATED, "rotated");
    posts.iter().map(|post| post["token_id"].clone()).collect()
}

async fn is_announced(world: &World, number: usize) -> bool {
    world.record(number).await["announcement"].is_null()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_announced_to_the_routes_that_match() {
    let (checkout, everything, platform) = (
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
    );
    let mut world = World::new(2).await;
    for (name, sink) in [
        ("checkout", &checkout),
        ("all", &everything),
        ("platform", &platform),
    ] {
        url_file(&world, name, sink);
    }
    label(&mut world, 0, "checkout");
    route(
        &mut world,
        "match = { team = \"checkout\" }\nevents = [\"condition\", \"rotated\"]\nurl_file = \"checkout\"",
    );
    route(
        &mut world,
        "match = { environment = \"prod\" }\nevents = \"rotated\"\nurl_file = \"all\"",
    );
    route(
        &mut world,
        "match = { kind = \"platform\" }\nevents = [\"condition\", \"rotated\"]\nurl_file = \"platform\"",
    );
    let _daemon = ready(&world, "e2e").await;
    for number in 0..2 {
        rotate(&world, number, "e2e").await;
    }
    until("both posts", async || announced(&everything).len() == 2).await;
    for number in 0..2 {
        until("the note to be taken away", async || {
            is_announced(&world, number).await
        })
        .await;
    }
    let current = world.current_id(0).await;
    assert_eq!(announced(&checkout), [json!(current)]);
    let post = &checkout.posts(ROTATED, "rotated")[0];
    assert_eq!(post["secret"], json!(world.secrets[0]));
    assert_eq!(
        (&post["labels"], &post["version"]),
        (&json!({ "team": "checkout" }), &json!(2))
    );
    assert!(!post.to_string().contains(&world.value(0).await), "P5");
    // A condition reaches the team's route and not the one that only hears of rotations.
    assert!(world.dynatrace.disable(&current));
    until("the condition", async || {
        !checkout.posts("current_invalid", "begins").is_empty()
    })
    .await;
    assert!(everything.posts("current_invalid", "begins").is_empty());
    assert_eq!(announced(&platform).len(), 0);
    world.dynatrace.enable(&current);
    until("its end", async || {
        !checkout.posts("current_invalid", "over").is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_an_announcement_survives_a_kill_between_commit_and_delivery() {
    let sink = Sink::start().await;
    let mut world = World::new(1).await;
    url_file(&world, "hook", &sink);
    route(&mut world, "events = \"rotated\"\nurl_file = \"hook\"");
    sink.answer(StatusCode::SERVICE_UNAVAILABLE);
    let mut daemon = ready(&world, "e2e").await;
    rotate(&world, 0, "e2e").await;
    assert!(
        !is_announced(&world, 0).await,
        "it is written with the commit"
    );
    daemon.kill();
    sink.answer(StatusCode::OK);
    let mut daemon = ready(&world, "e2e").await;
    until("the post", async || {
        announced(&sink) == [json!(world.current_id(0).await)]
    })
    .await;
    until("the note to be taken away", async || {
        is_announced(&world, 0).await
    })
    .await;
    daemon.kill();
    // Without a daemon a pass delivers it.
    rotate(&world, 0, "e2e").await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    assert_eq!(
        announced(&sink).last(),
        Some(&json!(world.current_id(0).await))
    );
    assert!(is_announced(&world, 0).await);
    assert_eq!(world.errors(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rotation_waits_for_a_webhook_that_is_down_and_the_last_one_is_announced() {
    let sink = Sink::start().await;
    let mut world = World::new(1).await;
    url_file(&world, "hook", &sink);
    route(&mut world, "events = \"rotated\"\nurl_file = \"hook\"");
    schedule(&mut world, 0, "*/2 * * * * *");
    sink.answer(StatusCode::SERVICE_UNAVAILABLE);
    let daemon = ready(&world, "e2e").await;
    until("rotations", async || daemon.events(ROTATED) >= 3).await;
    assert_eq!(announced(&sink), Vec::<Value>::new());
    schedule(&mut world, 0, "0 0 1 1 *");
    daemon.signal("-HUP");
    until("the reload", async || daemon.events("config_reloaded") == 1).await;
    until("it to become idle", async || world.is_quiet().await).await;
    // What should have been delivered by now needs a human.
    let mut record = world.record(0).await;
    record["announcement"]["until"] = json!("2020-01-01T00:00:00Z");
    let data = json!({
        "schema": 2, "min_reader": 2, "name": world.secrets[0], "document": record.to_string(),
    });
    world.root.put("secret", &world.document(0), data).await;
    until("the condition", async || {
        daemon.events("notification_undelivered") == 1
    })
    .await;
    sink.answer(StatusCode::OK);
    until("the post", async || {
        announced(&sink) == [json!(world.current_id(0).await)]
    })
    .await;
    until("its end", async || {
        daemon.events("notification_undelivered") == 2
    })
    .await;
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_announce_each_rotation_and_the_other_one_when_its_own_is_dead() {
    let sink = Sink::start().await;
    let mut world = World::new(4).await;
    url_file(&world, "hook", &sink);
    route(&mut world, "events = \"rotated\"\nurl_file = \"hook\"");
    let mut first = ready(&world, "first").await;
    let _second = ready(&world, "second").await;
    for number in 0..4 {
        rotate(&world, number, "first").await;
    }
    for number in 0..4 {
        until("its note to be taken away", async || {
            is_announced(&world, number).await
        })
        .await;
    }
    let mut all = announced(&sink);
    all.sort_by_key(Value::to_string);
    all.dedup();
    assert_eq!(all.len(), 4, "each of them");
    first.kill();
    rotate(&world, 0, "first").await;
    until("the other one to deliver it", async || {
        is_announced(&world, 0).await
    })
    .await;
    assert_eq!(
        announced(&sink).last(),
        Some(&json!(world.current_id(0).await))
    );
    assert_eq!(world.errors(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cause_of_many_secrets_is_one_message() {
    let sink = Sink::start().await;
    let mut world = World::new(12).await;
    url_file(&world, "hook", &sink);
    world.set("notify.webhook.url_file", "hook");
    let daemon = ready(&world, "e2e").await;
    for number in 0..12 {
        assert!(world.dynatrace.disable(&world.current_id(number).await));
    }
    until("all to be found", async || {
        daemon.events("current_invalid") == 12
    })
    .await;
    let posted = |state| {
        let posts = sink.posts("current_invalid", state);
        let all = posts
            .iter()
            .flat_map(|post| post["secrets"].as_array().cloned().unwrap_or_default());
        let secrets = all.collect::<Vec<_>>().len();
        (posts.len(), secrets)
    };
    until("all to be posted", async || posted("begins").1 == 12).await;
    let posts = posted("begins").0;
    assert!(posts <= 3, "{posts} posts");
    for number in 0..12 {
        assert!(world.dynatrace.enable(&world.current_id(number).await));
    }
    until("all ends to be posted", async || posted("over").1 == 12).await;
    assert!(posted("over").0 <= 4);
}
