//! Many secrets: one table for several paths, labels wherever a secret is selected or shown, and blackouts.

use jiff::SignedDuration;
use serde_json::Value;

use crate::commands::flat;
use crate::ops::{get, listening_world, metric, ready};
use crate::world::{World, now, until};

/// A table of TOML.
fn table(text: &str) -> toml::Value {
    let table: toml::Table = text.parse().expect("a table");
    table.into()
}

fn names(json: &str) -> Vec<String> {
    let status: Value = serde_json::from_str(json).expect("a status");
    let secrets = status["secrets"].as_array().expect("secrets").iter();
    secrets
        .map(|secret| secret["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_select_and_are_shown_everywhere() {
    let mut world = listening_world(3).await;
    world.set("defaults.schedule", "0 0 1 1 *");
    let [a, b, c] = world.secrets.clone().try_into().expect("three");
    let mut team = table("labels = { team = \"checkout\", contact = \"#on-call\" }");
    let paths = vec![a.clone(), b.clone()];
    let keys = team.as_table_mut().expect("a table");
    keys.insert("paths".to_owned(), paths.into());
    world.set("secret", vec![team, table(&format!("path = \"{c}\""))]);
    let daemon = world.start("e2e");
    ready(&world).await;
    until("three to be known", async || {
        daemon.events("secret_adopted") == 3
    })
    .await;

    // In the log.
    let lines = daemon.lines();
    let of = |name: &str| {
        let adopted = |line: &&Value| line["event"] == "secret_adopted" && line["secret"] == name;
        lines.iter().find(adopted).expect("a line").clone()
    };
    assert_eq!(of(&a)["label_team"], "checkout");
    assert_eq!(of(&c)["label_team"], Value::Null);

    // In the status, on the page and in the metrics.
    let (code, json) = world
        .command(&["status", "--json", "--label", "team=checkout"])
        .await;
    assert_eq!((code, names(&json)), (Some(0), vec![a.clone(), b.clone()]));
    let both = ["--label", "team=checkout", "--label", "contact=#on-call"];
    let card = world.command(&[&["status", &a], &both[..]].concat()).await;
    assert!(card.1.contains("labels    contact=#on-call team=checkout"));
    let (code, page) = get(&world, "/?label=team%3Dcheckout").await;
    assert_eq!(code, 200);
    assert!(page.contains("href=\"?label=team%3Dcheckout\""), "{page}");
    assert!(page.contains(&b) && !page.contains(&c));
    let (_, json) = get(&world, "/status?label=team=checkout").await;
    assert_eq!(names(&json), [a.as_str(), &b]);
    let (_, page) = get(&world, "/?label=team").await;
    assert!(page.contains("No secret matches"), "{page}");
    let series = format!(
        "dtrotate_secret_info{{secret=\"{a}\",environment=\"prod\",label_contact=\"#on-call\",label_team=\"checkout\"}}"
    );
    assert_eq!(metric(&world, &series).await, Some(1.0));

    // As filters of commands.
    let (code, json, _) = world
        .command_and_stderr(&["check", "--json", "--label", "team=checkout"])
        .await;
    let checked: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(checked["secrets"].as_array().map(Vec::len), Some(2));
    assert_eq!(checked["secrets"][0]["labels"]["contact"], "#on-call");
    let (code, text) = world.command(&["rotate", "--label", "team=checkout"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&a) && text.contains(&b) && !text.contains(&c));
    for command in ["pause", "resume", "history", "upcoming"] {
        let (code, text, stderr) = world
            .command_and_stderr(&[command, "--label", "team=checkout"])
            .await;
        assert_eq!(code, Some(0), "{command}: {text}{stderr}");
        assert!(!text.contains(&c), "{command}: {text}");
        // What is to come may be nothing within a week.
        let both = text.contains(&a) && text.contains(&b);
        assert!(both || command == "upcoming", "{command}: {text}");
    }
    for (arguments, sentence) in [
        (
            &["rotate", "--label", "team=chekout"][..],
            "did you mean \"team=checkout\"?",
        ),
        (&["status", "--label", "team"], "a label is NAME=VALUE"),
    ] {
        let (code, _, stderr) = world.command_and_stderr(arguments).await;
        assert_eq!(code, Some(2), "P7: {stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
    }

    // A changed label is no reason to do anything.
    world.config["secret"][0]["labels"] = table("team = \"search\"");
    world.save();
    daemon.signal("-HUP");
    until("the new label", async || {
        let (_, json) = get(&world, "/status?label=team=search").await;
        names(&json).len() == 2
    })
    .await;
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn due_rotations_wait_for_the_end_of_a_blackout() {
    let mut world = listening_world(2).await;
    let yesterday = now() - SignedDuration::from_hours(24);
    let tomorrow = now() + SignedDuration::from_hours(24);
    let window = format!("{} - {}", yesterday.strftime("%F"), tomorrow.strftime("%F"));
    let secret = |path: &str| table(&format!("path = \"{path}\""));
    let mut quiet = secret(&world.secrets[0]);
    quiet
        .as_table_mut()
        .expect("a table")
        .insert("blackout".into(), window.into());
    world.set("secret", vec![quiet, secret(&world.secrets[1])]);
    let daemon = world.start("e2e");
    // The other one rotates every two seconds.
    until("rotations of the other", async || {
        world.replaced(1).await >= 3
    })
    .await;
    assert_eq!(world.replaced(0).await, 0);
    let status = async |world: &World| -> Value {
        let (_, json) = world
            .command(&["status", "--json", &world.secrets[0]])
            .await;
        serde_json::from_str(&json).expect("JSON")
    };
    let waiting = status(&world).await;
    let because = waiting["secrets"][0]["because"].as_str().expect("a text");
    assert!(
        because.contains("delayed to the end of a blackout at"),
        "{because}"
    );
    assert_eq!(
        waiting["conditions"],
        serde_json::json!([]),
        "P8: nothing is late"
    );
    let (_, text) = world.command(&["check", &world.secrets[0]]).await;
    assert!(flat(&text).contains("(after a blackout)"), "{text}");

    // A person may rotate it all the same, and when the blackout is over it rotates.
    let (code, text) = world.command(&["rotate", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(world.replaced(0).await, 1);
    world.config["secret"][0]["blackout"] = toml::Value::Array(vec![]);
    world.save();
    daemon.signal("-HUP");
    until("rotations after the blackout", async || {
        world.replaced(0).await >= 3
    })
    .await;
    assert_eq!(world.errors(), Vec::<Value>::new());
    world.assert_valid().await;
}
