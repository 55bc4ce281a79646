//! What the outside sees of a running daemon, and of one that is not there: listener, `dtrotate status`, `dtrotate health`.

use std::net::TcpListener;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{Action, Operation, Rule, Seed};

use crate::world::{LONG, World, note, now, until};

/// An address that is free now.
pub fn free() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("its address").to_string()
}

/// Secrets that rotate every two seconds, and a listener.
pub async fn listening_world(secrets: usize) -> World {
    let mut world = World::new(secrets).await;
    world.set("ops.listen", free());
    world.set("defaults.schedule", "*/2 * * * * *");
    world
}

fn listen(world: &World) -> &str {
    world.config["ops"]["listen"].as_str().expect("an address")
}

/// The status and the text of an answer of the listener.
pub async fn get(world: &World, path: &str) -> (u16, String) {
    let answer = match reqwest::get(format!("http://{}{path}", listen(world))).await {
        Ok(answer) => answer,
        Err(_) => return (0, String::new()),
    };
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a text"))
}

/// The value of a series; none = there is no such series.
pub async fn metric(world: &World, series: &str) -> Option<f64> {
    let (_, text) = get(world, "/metrics").await;
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

pub async fn ready(world: &World) {
    until("the daemon to be ready", async || {
        get(world, "/readyz").await.0 == 200
    })
    .await;
}

/// A picture without what changes from moment to moment.
fn still(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    value["at"] = Value::Null;
    for secret in value["secrets"].as_array_mut().expect("secrets") {
        assert!(secret["as_of"].is_string(), "{secret}");
        secret["as_of"] = Value::Null;
    }
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_stuck_secret_is_seen_from_everywhere_and_heals() {
    let world = listening_world(3).await;
    world
        .root
        .put("secret", "dynatrace/s0", json!({ "note": note(0) }))
        .await;
    let mut daemon = world.start("e2e");
    until("rotations of the others", async || {
        daemon.events("rotation_succeeded") >= 4 && daemon.events("rotation_stuck") >= 1
    })
    .await;
    ready(&world).await;
    assert_eq!(get(&world, "/healthz").await.0, 200);
    assert_eq!(world.command(&["health"]).await.0, Some(0));

    let (code, text) = world.command(&["status"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with("3 secrets, 1 thing needs a human\n"),
        "{text}"
    );
    let at = |word: &str| {
        text.find(word)
            .unwrap_or_else(|| panic!("no {word} in\n{text}"))
    };
    assert!(at("dynatrace/s0  stuck") < at("SECRET") && at("SECRET") < at("dynatrace/s1"));
    assert!(at("dynatrace/s0  stuck") < at("reason    field_missing"));
    assert!(at("reason    field_missing") < at("SECRET"));

    assert_eq!(world.command(&["status", "dynatrace/s1"]).await.0, Some(0));
    let (code, text) = world.command(&["status", "dynatrace/s0"]).await;
    assert!(code == Some(1) && text.contains("stuck"), "{text}");
    // A whole token that was pasted is not repeated.
    let pasted = ["status", "dt0c01.NOBODYS.CANARYCANARY"];
    let (code, _, said) = world.command_and_stderr(&pasted).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("dt0c01.NOBODYS.[hidden]"), "{said}");
    let (code, text) = world.command(&["status", "nosuch"]).await;
    assert_eq!((code, text.as_str()), (Some(2), ""));

    let stuck = r#"dtrotate_secret_stuck{secret="dynatrace/s0",environment="prod"}"#;
    assert_eq!(metric(&world, stuck).await, Some(1.0));
    let trouble = r#"dtrotate_troubles{event="rotation_stuck"}"#;
    assert_eq!(metric(&world, trouble).await, Some(1.0));
    let succeeded = r#"dtrotate_rotations_total{outcome="succeeded",environment="prod"}"#;
    assert!(metric(&world, succeeded).await >= Some(4.0));
    assert!(metric(&world, "dtrotate_rotation_duration_seconds_count").await >= Some(4.0));

    let (code, page) = get(&world, "/").await;
    assert_eq!(code, 200);
    for word in [
        "1 thing needs a human",
        "dynatrace/s0",
        "field_missing",
        "dynatrace/s2",
    ] {
        assert!(page.contains(word), "no {word} in\n{page}");
    }

    // The cause is gone: all of it heals.
    let value = world.dynatrace.seed(Seed::new("healed")).value;
    world.put(0, &value).await;
    until("the status to be well", async || {
        world.command(&["status"]).await.0 == Some(0)
    })
    .await;
    assert_eq!(metric(&world, trouble).await, Some(0.0));
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    assert_eq!(world.command(&["health"]).await.0, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_and_the_journal_tell_the_same() {
    let mut world = listening_world(2).await;
    world.set("defaults.schedule", "0 0 1 1 *");
    // Nothing retires between one look and the next.
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    let mut daemon = world.start("e2e");
    ready(&world).await;
    assert_eq!(world.command(&["rotate", "dynatrace/s1"]).await.0, Some(0));
    daemon.signal("-HUP");
    until(
        "the daemon to see the rotation of the command",
        async || {
            let (_, text) = get(&world, "/status").await;
            still(&text)["secrets"][1]["retiring"][0].is_object()
        },
    )
    .await;
    let (_, told) = get(&world, "/status").await;
    let (code, printed) = world.command(&["status", "--json"]).await;
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(still(&told), still(&printed), "/status and status --json");
    let id = world.current_id(0).await;
    let (_, one) = world.command(&["status", "--json", &id]).await;
    assert_eq!(still(&one)["secrets"][0]["name"], "dynatrace/s0");
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));

    let (code, read) = world.command(&["status", "--json"]).await;
    assert_eq!(code, Some(0), "{read}");
    let read = still(&read);
    assert_eq!(read["daemon"], Value::Null);
    assert_eq!(
        read["secrets"],
        still(&told)["secrets"],
        "the journal tells the same"
    );

    world.gate.shut().await;
    let (code, text) = world.command(&["status"]).await;
    assert_eq!((code, text.as_str()), (Some(69), ""));
    std::fs::write(world.config_file(), "[nonsense]\n").expect("the configuration");
    assert_eq!(world.command(&["status"]).await.0, Some(78));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_taken_address_is_one_error_and_a_reload_gives_another() {
    let mut world = World::new(1).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    world.set("ops.listen", address);
    world.set("defaults.schedule", "*/2 * * * * *");
    let daemon = world.start("e2e");
    until("rotations all the same", async || {
        daemon.events("rotation_succeeded") >= 2
    })
    .await;
    assert_eq!(world.errors().len(), 1, "{:?}", world.errors());
    assert_eq!(world.errors()[0]["event"], "ops_unavailable");
    let (code, text) = world.command(&["status"]).await;
    assert_eq!(code, Some(0), "the journal knows no such trouble: {text}");

    world.set("ops.listen", free());
    daemon.signal("-HUP");
    ready(&world).await;
    assert_eq!(world.command(&["status"]).await.0, Some(0));
    let reloaded = "dtrotate_config_last_reload_successful";
    assert_eq!(metric(&world, reloaded).await, Some(1.0));

    // A bad file is refused as a whole, and the metric says so.
    std::fs::write(world.config_file(), "[nonsense]\n").expect("the configuration");
    daemon.signal("-HUP");
    until("the refused reload to be seen", async || {
        metric(&world, reloaded).await == Some(0.0)
    })
    .await;
    assert_eq!(
        world.command(&["health"]).await.0,
        Some(1),
        "another address than the daemon's"
    );

    // The same file, with another listener: the old address is free again.
    let former = listen(&world).to_owned();
    world.set("ops.listen", free());
    daemon.signal("-HUP");
    ready(&world).await;
    TcpListener::bind(&former).expect("the former address is free");
    assert_eq!(world.command(&["health"]).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_sealed_vault_is_not_ready_but_alive() {
    let world = listening_world(1).await;
    let _daemon = world.start("e2e");
    ready(&world).await;
    world.site.vault.seal().await;
    until("the outage to be reported", async || {
        world.command(&["status"]).await.0 == Some(1)
    })
    .await;
    let (code, text) = get(&world, "/readyz").await;
    assert!(code == 503 && text.contains("sealed"), "{code} {text}");
    assert_eq!(get(&world, "/healthz").await.0, 200);
    assert_eq!(world.command(&["health"]).await.0, Some(1));
    let (_, text) = world.command(&["status"]).await;
    assert!(text.contains("vault_unavailable"), "{text}");
    assert_eq!(metric(&world, "dtrotate_vault_up").await, Some(0.0));
    world.site.vault.unseal().await;
    ready(&world).await;
    until("the end of the trouble", async || {
        world.command(&["status"]).await.0 == Some(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_no_value_is_shown_to_anybody() {
    let world = listening_world(2).await;
    let daemon = world.start("e2e");
    until("a token on its way out", async || {
        daemon.events("token_disabled") > 0
    })
    .await;
    let mut shown = String::new();
    for path in ["/", "/status", "/metrics", "/healthz", "/readyz", "/nosuch"] {
        shown += &get(&world, path).await.1;
    }
    for arguments in [
        vec!["status"],
        vec!["status", "--json"],
        vec!["status", "dynatrace/s0"],
    ] {
        shown += &world.command(&arguments).await.1;
    }
    let mut seen = 0;
    for path in ["dynatrace/s0", "dynatrace/s1", "dynatrace/master"] {
        for version in world.root.versions("secret", path).await.into_keys() {
            let read = world.root.secret_version("secret", path, version).await;
            let value = read.expect("a version").data["token"].clone();
            let value = value.as_str().expect("a value").to_owned();
            let secret = value.rsplit('.').next().expect("a secret part");
            assert!(!shown.contains(secret), "P5: a value was shown");
            seen += usize::from(shown.contains(value.rsplit_once('.').expect("dotted").0));
        }
    }
    assert!(seen >= 2, "the ids are shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_what_is_an_error_only_at_times_is_a_trouble_too() {
    let mut world = listening_world(1).await;
    // Due once, and no other look at it for an hour.
    let due = now() + SignedDuration::from_secs(5);
    let schedule = due.strftime("%S %M %H * * *").to_string();
    for (key, value) in [
        ("schedule", &*schedule),
        ("grace", "1h"),
        ("max_grace", "2h"),
    ] {
        world.set(&format!("defaults.{key}"), value);
    }
    let rule = Rule::on(Operation::WriteSecret);
    let path = format!("secret/{}", world.secrets[0]);
    let rule = rule.matching(move |call| call.subject.as_ref() == Some(&path));
    let held = world.gate.fault(rule.then(Action::Hold));
    let mut daemon = world.start("e2e");
    assert!(held.wait_held(1, LONG).await);
    world.root.delete("secret", &world.secrets[0]).await;
    held.release();
    let deleted = r#"dtrotate_troubles{event="secret_changed_elsewhere"}"#;
    until("the deletion to be reported", async || {
        metric(&world, deleted).await == Some(1.0)
    })
    .await;
    let (code, text) = world.command(&["status"]).await;
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(
        code == Some(1) && words.join(" ").contains("was deleted during the rotation"),
        "{text}"
    );

    // A document that is older than what Dynatrace has.
    daemon.kill();
    let document = world.document(0);
    let before = world.root.secret("secret", &document).await;
    let (code, text) = world.command(&["rotate", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    let before = before.expect("a document").data;
    world.root.put("secret", &document, before).await;
    let _daemon = world.start("e2e");
    let older = r#"dtrotate_troubles{event="vault_went_back"}"#;
    until("the older document to be reported", async || {
        metric(&world, older).await == Some(1.0)
    })
    .await;
    assert_eq!(world.command(&["status"]).await.0, Some(1));
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_what_a_command_did_is_seen_by_the_daemon() {
    let mut world = World::new(2).await;
    world.set("ops.listen", free());
    let value = world.value(0).await;
    let empty = json!({ "note": note(0) });
    world.root.put("secret", &world.secrets[0], empty).await;
    let daemon = world.start("e2e");
    until("it to be stuck", async || {
        world.command(&["status"]).await.0 == Some(1)
    })
    .await;
    world.put(0, &value).await;
    for name in &world.secrets {
        let (code, text) = world.command(&["rotate", name]).await;
        assert_eq!(code, Some(0), "{text}");
    }
    until("the daemon to see it", async || {
        let (code, text) = world.command(&["status", &world.secrets[1]]).await;
        code == Some(0) && text.contains(&world.current_id(1).await)
    })
    .await;
    assert_eq!(world.command(&["status"]).await.0, Some(0));
    until("what it left behind to be gone", async || {
        world.tokens() == 2 && world.is_quiet().await
    })
    .await;
    // That a command found it stuck is the daemon's business, too.
    world.root.delete("secret", &world.secrets[0]).await;
    let (code, text) = world.command(&["rotate", &world.secrets[0]]).await;
    assert_eq!(code, Some(1), "{text}");
    until("the daemon to see that", async || {
        let (_, text) = get(&world, "/metrics").await;
        text.contains(r#"dtrotate_secret_stuck{secret="dynatrace/s0",environment="prod"} 1"#)
    })
    .await;
    // The token that the command made is watched as any other.
    assert!(world.dynatrace.delete(&world.current_id(1).await));
    until("it to be reported", async || {
        daemon.events("current_invalid") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_trouble_of_no_configured_secret_is_shown_in_words() {
    let mut world = World::new(1).await;
    world.set("ops.listen", free());
    let stranger = format!("{}/stranger", world.journal);
    let damaged = json!({ "schema": 1, "claim": "nonsense" });
    world.root.put("secret", &stranger, damaged).await;
    let daemon = world.start("e2e");
    until("it to be reported", async || {
        daemon.events("journal_unreadable") == 1
    })
    .await;
    let place = format!("journal document secret/{stranger} cannot be used");
    let (code, text) = world.command(&["status"]).await;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == Some(1) && text.contains(&place), "{text}");
    let (_, page) = get(&world, "/").await;
    assert!(page.contains(&place), "{page}");
    let said = daemon.lines();
    let said = said
        .iter()
        .find(|line| line["event"] == "journal_unreadable");
    assert_eq!(said.expect("a line").get("environment"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_status_and_health_believe_no_daemon_of_another_configuration() {
    let mut world = listening_world(2).await;
    world.set("defaults.schedule", "0 0 1 1 *");
    let _daemon = world.start("e2e");
    ready(&world).await;
    assert_eq!(world.command(&["health"]).await.0, Some(0));
    let (code, text, _) = world.command_and_stderr(&["status"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("each journal document was read within the last"),
        "{text}"
    );

    // Broken on disk: the daemon that runs is shown, and that a restart would fail is said.
    let whole = std::fs::read_to_string(world.config_file()).expect("the configuration");
    for (edit, about) in [
        ("[nonsense]\n", "nonsense"),
        ("this line is no TOML\n", "not TOML"),
    ] {
        std::fs::write(world.config_file(), format!("{whole}\n{edit}")).expect("the file");
        let (code, text, said) = world.command_and_stderr(&["status"]).await;
        assert_eq!(code, Some(0), "{text}{said}");
        assert!(
            text.starts_with("2 secrets, nothing needs a human"),
            "{text}"
        );
        assert!(said.contains("not valid") && said.contains(about), "{said}");
        assert_eq!(world.command(&["health"]).await.0, Some(0), "{edit}");
    }

    world.set("journal.path", "another/journal");
    let (_, _, said) = world.command_and_stderr(&["status"]).await;
    assert!(said.contains("belongs to another configuration"), "{said}");
    assert!(said.contains("secret/another/journal at http://"), "{said}");
    let (code, _, said) = world.command_and_stderr(&["health"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("belongs to another configuration"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_and_check_name_what_differs() {
    let mut world = listening_world(3).await;
    world.set("defaults.schedule", "0 0 1 1 *");
    let daemon = world.start("e2e");
    ready(&world).await;
    let secrets = world.config["secret"].as_array_mut().expect("the secrets");
    secrets.remove(0);
    let table = secrets[0].as_table_mut().expect("a table");
    table.insert("grace".into(), "3s".into());
    let table = secrets[1].as_table_mut().expect("a table");
    table.insert("name".into(), "renamed".into());
    table.insert("renamed_from".into(), "dynatrace/s2".into());
    let added = toml::toml! { path = "dynatrace/s0" name = "added" };
    secrets.push(added.into());
    world.save();
    let differs =
        "added added; removed dynatrace/s0; renamed dynatrace/s2 to renamed; changed dynatrace/s1";
    let (_, text) = world.command(&["check"]).await;
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.join(" ").contains(differs), "{text}");
    daemon.signal("-HUP");
    until("the reload", async || daemon.events("config_reloaded") == 1).await;
    let lines = daemon.lines();
    let line = lines.iter().find(|line| line["event"] == "config_reloaded");
    let message = line.expect("the line")["message"]
        .as_str()
        .unwrap_or_default();
    assert_eq!(message, format!("3 secrets; {differs}"));
    let (_, text) = world.command(&["check"]).await;
    assert!(!text.contains("send SIGHUP"), "{text}");
}
