//! The pages for a task: their commands are run as they are printed, with the name of a secret and the id of a token put in.

use std::path::Path;

use jiff::SignedDuration;
use simulator::Seed;

use crate::ops::{free, ready};
use crate::world::{World, now};

fn read(page: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join("docs").join(page)).expect(page)
}

/// The lines of the blocks of commands.
fn lines(text: &str) -> Vec<&str> {
    let blocks = text.split("\n```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("\n```").next());
    blocks.flat_map(str::lines).collect()
}

/// The command lines in the blocks of a page.
fn commands(page: &str) -> Vec<Vec<String>> {
    lines(&read(page)).into_iter().map(words).collect()
}

/// Those of the block with the mark `<!-- followed: NAME -->`.
pub fn followed(name: &str) -> Vec<Vec<String>> {
    let text = read("token-kinds.md");
    let (_, rest) = text
        .split_once(&format!("<!-- followed: {name} -->"))
        .expect(name);
    let (block, _) = rest.split_once("\n```\n").expect("a block");
    let block = block.replace("\\\n", " ");
    lines(&block).into_iter().map(words).collect()
}

/// The words of a command line, as a shell splits it: single quotes keep a word together, and `#` begins a comment.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" # ").next().expect("a command");
    let parts = line.split('\'').enumerate();
    let words = parts.flat_map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

async fn run(world: &World, words: &[String], name: &str, id: &str) -> (Option<i32>, String) {
    assert_eq!(words[0], "dtrotate");
    let words: Vec<String> = words[1..]
        .iter()
        .map(|word| {
            let word = word.replace("dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX", id);
            word.replace("dynatrace/ci", name)
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    world.command(&words).await
}

#[tokio::test]
async fn the_commands_for_a_leaked_token_do_what_the_page_says() {
    let mut world = World::new(1).await;
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    world.set("defaults.quarantine", "1h");
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let name = world.secrets[0].clone();
    let all = commands("leaked-token.md");
    assert!(all.len() >= 3, "{all:?}");
    for command in &all {
        let before = world.current_id(0).await;
        let (code, text) = run(&world, command, &name, &before).await;
        assert_eq!(code, Some(0), "{command:?}: {text}");
        if command
            .iter()
            .any(|word| word == "revoke" || word == "--compromised")
        {
            let token = world.dynatrace.token(&before).expect("in quarantine");
            assert!(!token.enabled, "{command:?}");
            assert_ne!(world.current_id(0).await, before);
        }
        world.assert_valid().await;
    }
}

#[tokio::test]
async fn the_commands_that_stop_everything_do_what_the_page_says() {
    let world = World::new(2).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let all = commands("stop-everything.md");
    assert!(all.len() >= 5, "{all:?}");
    for command in &all {
        let (code, text) = run(&world, command, &world.secrets[0], "").await;
        assert_eq!(code, Some(0), "{command:?}: {text}");
        let paused = match command[1].as_str() {
            "pause" => true,
            "resume" => false,
            _ => continue,
        };
        for number in 0..2 {
            let record = world.record(number).await;
            assert_eq!(!record["pause"].is_null(), paused, "{command:?}: {record}");
        }
    }
}

#[tokio::test]
async fn the_commands_that_clean_up_do_what_the_page_says() {
    let mut world = World::new(1).await;
    world.set("defaults.quarantine", "1h");
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let long_ago = now() - SignedDuration::from_hours(200 * 24);
    let old = world
        .dynatrace
        .seed(Seed::new("dashboard").created(long_ago))
        .id;
    let all = commands("clean-up.md");
    assert!(all.len() >= 7, "{all:?}");
    let mut is_pruned = false;
    for command in &all {
        let (code, text) = run(&world, command, &world.secrets[0], &old).await;
        assert_eq!(code, Some(0), "{command:?}: {text}");
        match command[1].as_str() {
            "prune" => is_pruned |= command.iter().any(|word| word == "--yes"),
            "undo" => is_pruned = false,
            _ => {}
        }
        let token = world.dynatrace.token(&old).expect("it");
        assert_eq!(token.enabled, !is_pruned, "{command:?}");
        assert_eq!(token.name == "dashboard", !is_pruned, "{command:?}");
    }
    world.assert_valid().await;
}

#[tokio::test]
async fn the_commands_for_one_team_concern_its_secrets_alone() {
    let mut world = World::new(2).await;
    let labels = toml::Table::from_iter([("team".to_owned(), "checkout".into())]);
    let theirs = world.config["secret"][0].as_table_mut().expect("a table");
    theirs.insert("labels".to_owned(), labels.into());
    world.save();
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let before = [world.current_id(0).await, world.current_id(1).await];
    let all = commands("one-team.md");
    assert!(all.len() >= 6, "{all:?}");
    let mut is_rotated = false;
    for command in &all {
        let (code, text) = run(&world, command, &world.secrets[0], "").await;
        assert_eq!(code, Some(0), "{command:?}: {text}");
        assert!(!text.contains(&world.secrets[1]), "{command:?}: {text}");
        is_rotated |= command[1] == "rotate";
        let paused = command[1] == "pause";
        assert_eq!(
            !world.record(0).await["pause"].is_null(),
            paused,
            "{command:?}"
        );
        assert!(world.record(1).await["pause"].is_null(), "{command:?}");
        assert_eq!(world.current_id(0).await != before[0], is_rotated);
    }
    assert!(is_rotated && world.current_id(1).await == before[1]);
}

#[tokio::test]
async fn the_pauses_of_the_reference_begin_and_end_as_it_says() {
    let world = World::new(1).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let all = commands("commands.md");
    assert!(all.len() >= 3, "{all:?}");
    for command in &all {
        let (code, text) = run(&world, command, &world.secrets[0], "").await;
        assert_eq!(code, Some(0), "{command:?}: {text}");
        let pause = &world.record(0).await["pause"];
        assert_eq!(!pause.is_null(), command[1] == "pause", "{pause}");
    }
}

#[tokio::test]
async fn the_status_is_shown_in_every_way_that_its_page_names() {
    let mut world = World::new(2).await;
    world.set("ops.listen", free());
    let daemon = world.start("e2e");
    ready(&world).await;
    let all = commands("status.md");
    assert!(all.len() >= 5, "{all:?}");
    for command in &all {
        let (code, text) = run(&world, command, &world.secrets[0], "").await;
        assert_eq!(code, Some(0), "{command:?}: {text}");
        let one = command.iter().any(|word| word == "dynatrace/ci");
        let names_both = world.secrets.iter().all(|name| text.contains(name));
        assert_eq!(names_both, command[1] == "status" && !one, "{text}");
    }
    drop(daemon);
}
