//! The commands as people and scripts use them: selection, results, exit status, what is left behind, and pipes that close.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Action, Operation, Rule, Seed};

use crate::world::{LONG, Site, World, now, until};

/// The text without line breaks and indentation, as it was before it was made to fit a terminal.
pub fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The JSON documents of a command, by secret.
fn documents(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    text.lines().map(parse).collect()
}

async fn output(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.expect("a thread").expect("dtrotate")
}

/// Makes a stream.
type Stream = fn() -> Stdio;

/// Streams that fail at the first byte: the reader has gone, or the disk is full.
fn broken_streams() -> [(&'static str, Stream); 2] {
    let closed = || {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a stream");
        drop(theirs);
        Stdio::from(OwnedFd::from(ours))
    };
    let full = || {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        Stdio::from(full.expect("/dev/full"))
    };
    [("closed", closed), ("full", full)]
}

#[tokio::test]
async fn k16_a_closed_or_full_stdout_ends_the_printing_and_not_the_work() {
    let world = World::new(6).await;
    let name = world.secrets[0].clone();
    for (what, stream) in broken_streams() {
        for (arguments, code) in [
            (&["rotate", "--all"][..], 0),
            (&["rotate", "--all", "--json"], 0),
            (&["undo", &name], 0),
            (&["status"], 0),
            (&["check"], 0),
            (&["check", "--all"], 0),
            (&["rotate", "nosuch"], 2),
            (&["health"], 1),
            (&["--help"], 0),
        ] {
            let mut command = world.program();
            command
                .args(arguments)
                .stdout(stream())
                .stderr(Stdio::piped());
            let output = output(command).await;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                output.status.code(),
                Some(code),
                "{what} {arguments:?}: {stderr}"
            );
            assert!(
                !stderr.contains("panic") && !stderr.contains("internal error"),
                "{stderr}"
            );
            // The same without a place for complaints.
            let mut command = world.program();
            command.args(arguments).stdout(stream()).stderr(stream());
            // The undo is done: a second one is refused.
            let code = if arguments[0] == "undo" { 1 } else { code };
            let output = self::output(command).await;
            assert_eq!(output.status.code(), Some(code), "{what} {arguments:?}");
        }
    }
    // Four commands rotated all of them, in each of two ways.
    for number in 0..6 {
        assert!(world.replaced(number).await >= 8, "{number}");
    }
    for (arguments, closed, full) in [(&["schema"][..], 0, 1), (&["completions", "bash"], 0, 1)] {
        let codes = [closed, full];
        for ((what, stream), code) in broken_streams().into_iter().zip(codes) {
            let mut command = world.program();
            command.args(arguments).stdout(stream());
            let output = output(command).await;
            assert_eq!(output.status.code(), Some(code), "{what} {arguments:?}");
        }
    }
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k16_a_reader_that_stops_does_not_stop_the_rotations() {
    let world = World::new(3).await;
    let (ours, reader) = std::os::unix::net::UnixStream::pair().expect("a stream");
    ours.set_nonblocking(true).expect("a stream");
    while std::io::Write::write(&mut &ours, &[b'\n'; 4096]).is_ok() {}
    while std::io::Write::write(&mut &ours, b"\n").is_ok() {}
    let mut command = world.program();
    command
        .args(["rotate", "--all"])
        .stdout(Stdio::from(OwnedFd::from(ours)));
    let mut child = command.spawn().expect("dtrotate");
    until("all to be rotated", async || {
        let mut rotated = 0;
        for number in 0..3 {
            let record = world.record(number).await;
            rotated += usize::from(!record["last_success"].is_null() && record["claim"].is_null());
        }
        rotated == 3
    })
    .await;
    drop(reader);
    let ended = tokio::task::spawn_blocking(move || child.wait()).await;
    assert_eq!(ended.expect("a thread").expect("a child").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k16_the_exit_status_is_the_gravest_and_not_the_greatest() {
    let world = World::new(2).await;
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let held = world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).then(Action::Hold));
    let mut first = world.start_command("first", &["rotate", "dynatrace/s0"]);
    assert!(held.wait_held(1, LONG).await);
    let (code, text) = world.command(&["rotate", "dynatrace/s0"]).await;
    assert_eq!(code, Some(75), "{text}");
    assert!(
        text.starts_with("dynatrace/s0: busy\n") && text.contains("holds the claim"),
        "{text}"
    );
    world.dynatrace.disable(&world.current_id(1).await);
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("dynatrace/s1: failed\n"), "{text}");
    let said = flat(&text);
    assert!(
        said.contains("enable it") && said.contains("reason token_disabled"),
        "{text}"
    );
    held.release();
    assert_eq!(first.exit_code(), Some(0));
}

#[tokio::test]
async fn both_tokens_the_version_and_what_is_next_are_told() {
    let mut world = World::new(1).await;
    for (key, value) in [
        ("grace", "24h"),
        ("max_grace", "48h"),
        ("quarantine", "168h"),
    ] {
        world.set(&format!("defaults.{key}"), value);
    }
    let name = world.secrets[0].clone();
    let first = world.current_id(0).await;
    let (code, text) = world.command(&["rotate", &name]).await;
    assert_eq!(code, Some(0), "{text}");
    let second = world.current_id(0).await;
    let heads = [
        format!("{name}: rotated\n  from      {first}\n  to        {second}\n"),
        format!("  old token {first} is disabled in "),
    ];
    assert!(
        text.starts_with(&heads[0]) && text.contains(&heads[1]),
        "{text}"
    );
    let said = flat(&text);
    assert!(
        said.contains("the current value is version 2 of secret/dynatrace/s0"),
        "{text}"
    );
    assert!(
        said.contains("and deleted in 8d (") || said.contains("and deleted in 7d ("),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );

    let (code, text) = world.command(&["rotate", &name, "--json"]).await;
    assert_eq!(code, Some(0), "{text}");
    let third = world.current_id(0).await;
    let said = &documents(&text)[0];
    for (key, value) in [
        ("secret", json!(name)),
        ("environment", json!("prod")),
        ("result", json!("rotated")),
        ("from", json!(second)),
        ("to", json!(third)),
        ("version", json!(3)),
        ("exit_status", json!(0)),
        ("reason", Value::Null),
    ] {
        assert_eq!(said[key], value, "{key} in {text}");
    }
    let retiring: Vec<&Value> = said["retiring"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(retiring.len(), 2, "{text}");
    assert_eq!(retiring[1]["id"], json!(second));
    assert_eq!(retiring[1]["state"], "grace");

    // Undo: what it would do, what it did, and not once more by accident.
    let before = world.record(0).await;
    let (code, text) = world.command(&["undo", &name, "--dry-run"]).await;
    let said = flat(&text);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        said.contains(&format!("make {second} the current value again")),
        "{text}"
    );
    assert!(said.contains(&format!("{third} would retire")), "{text}");
    assert_eq!(world.record(0).await, before, "P7");
    let (code, text) = world.command(&["undo", &name]).await;
    assert_eq!(code, Some(0), "{text}");
    let restored = format!("{name}: restored\n  from      {third}\n  to        {second}\n");
    assert!(text.starts_with(&restored), "{text}");
    let (code, text) = world.command(&["undo", &name]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(flat(&text).contains(&format!("--token {third}")), "{text}");
    let (code, text) = world
        .command(&["undo", &name, "--token", &third, "--json"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    let said = &documents(&text)[0];
    assert_eq!(
        (&said["result"], &said["from"], &said["to"]),
        (&json!("restored"), &json!(second), &json!(third))
    );
    assert_eq!(world.current_id(0).await, third);

    let forget = ["forget", &name, "--token", &first, "--json"];
    let (code, text) = world.command(&forget).await;
    assert_eq!(
        (code, &documents(&text)[0]["result"]),
        (Some(0), &json!("dropped"))
    );
    let (code, text) = world.command(&forget[..4]).await;
    assert!(
        code == Some(1) && flat(&text).contains("is not among the retiring tokens"),
        "{text}"
    );
    world.assert_valid().await;
}

#[tokio::test]
async fn p2_with_no_grace_and_no_quarantine_the_old_tokens_are_gone_when_the_command_ends() {
    let mut world = World::new(3).await;
    for key in ["grace", "max_grace", "quarantine"] {
        world.set(&format!("defaults.{key}"), "0s");
    }
    let old = world.current_id(2).await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!("  old token {old} is deleted\n")),
        "{text}"
    );
    assert_eq!(world.tokens(), 3, "{text}");
    assert!(world.is_quiet().await, "no daemon is needed: {text}");
    world.assert_valid().await;
}

#[tokio::test]
async fn p1_nothing_is_retired_by_a_command_that_cannot_know_what_another_secret_holds() {
    let mut world = World::new(2).await;
    for key in ["grace", "max_grace", "quarantine"] {
        world.set(&format!("defaults.{key}"), "0s");
    }
    let shared = world.value(0).await;
    world.put(1, &shared).await;
    // The other one was never recorded: its value counts.
    let (code, text) = world.command(&["rotate", "dynatrace/s0"]).await;
    assert_eq!(code, Some(0), "{text}");
    world.assert_valid().await;
    let damaged = json!({ "schema": "x" });
    world.root.put("secret", &world.document(1), damaged).await;
    let (code, text) = world.command(&["rotate", "dynatrace/s0"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("dynatrace/s0: rotated\n"), "{text}");
    assert!(
        flat(&text).contains("it is not known which token dynatrace/s1 holds"),
        "{text}"
    );
    world.assert_valid().await;
}

#[tokio::test]
async fn p4_a_value_that_someone_stored_meanwhile_is_not_reported_as_a_rotation() {
    let world = World::new(1).await;
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let rule = Rule::on(Operation::WriteSecret);
    let path = format!("secret/{}", world.secrets[0]);
    let rule = rule.matching(move |call| call.subject.as_ref() == Some(&path));
    let held = world.gate.fault(rule.then(Action::Hold));
    let theirs = world
        .dynatrace
        .seed(Seed::new("by hand").scopes(&["metrics.read"]));
    let meanwhile = async {
        assert!(held.wait_held(1, LONG).await);
        world.put(0, &theirs.value).await;
        held.release();
    };
    let rotated = world.command(&["rotate", "--all", "--json"]);
    let ((code, text), ()) = tokio::join!(rotated, meanwhile);
    assert_eq!(code, Some(1), "{text}");
    let said = &documents(&text)[0];
    assert_eq!(said["result"], "superseded", "{text}");
    let message = said["message"].as_str().expect("a sentence");
    assert!(message.contains("their value was kept"), "{message}");
    assert_eq!(world.value(0).await, theirs.value);
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_what_a_killed_command_left_is_taken_over_by_the_next_one_without_a_daemon() {
    let mut world = World::new(1).await;
    world.set("journal.claim_timeout", "2s");
    let first = world.current_id(0).await;
    let rule = Rule::on(Operation::WriteSecret);
    let path = format!("secret/{}", world.secrets[0]);
    let rule = rule.matching(move |call| call.subject.as_ref() == Some(&path));
    let held = world.gate.fault(rule.then(Action::HoldAnswer));
    let mut killed = world.start_command("killed", &["rotate", "--all"]);
    assert!(held.wait_performed(1, LONG).await);
    killed.kill();
    held.drop_held();
    let second = world.current_id(0).await;
    assert_ne!(first, second, "it was stored and not recorded");
    let claimed: jiff::Timestamp = world.record(0).await["claim"]["since"]
        .as_str()
        .and_then(|since| since.parse().ok())
        .expect("a claim");
    until("the claim to be old", async || {
        now() > claimed + Duration::from_secs(2)
    })
    .await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    let third = world.current_id(0).await;
    assert_ne!(second, third, "rotated means that a new token was made");
    let heads = format!("dynatrace/s0: rotated\n  from      {second}\n  to        {third}\n");
    assert!(text.starts_with(&heads), "{text}");
    let said = flat(&text);
    assert!(
        said.contains(&format!(
            "before that, {second} was stored by a process that stopped"
        )),
        "{text}"
    );
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_environment_has_its_own_concurrency() {
    let mut world = World::new(6).await;
    world.set("limits.concurrency", 2);
    world.set("defaults.environment", "prod");
    world.set("dynatrace.other.url", world.dynatrace.url().to_owned());
    world.set("dynatrace.other.auth.path", world.master.clone());
    let secrets = world.config["secret"].as_array_mut().expect("secrets");
    for secret in &mut secrets[3..] {
        let table = secret.as_table_mut().expect("a secret");
        table.insert("environment".into(), "other".into());
    }
    world.save();
    let rule = Rule::on(Operation::CreateToken).always();
    let held = world.dynatrace.fault(rule.then(Action::Hold));
    let rotate = world.command(&["rotate", "--all"]);
    let look = async {
        assert!(held.wait_held(4, LONG).await, "two of each environment");
        // A fifth one would have come with the first four.
        assert_eq!(held.held(), 4);
        held.remove();
        held.release();
    };
    let ((code, text), ()) = tokio::join!(rotate, look);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches(": rotated\n").count(), 6, "{text}");
}

#[tokio::test]
async fn a_pattern_that_means_more_than_ten_secrets_needs_a_yes_without_a_terminal() {
    let site = Site::new().await;
    let world = World::on(site, "many", 11).await;
    let (code, text, said) = world
        .command_and_stderr(&["rotate", "dynatrace/many/*"])
        .await;
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(
        said.contains("11 secrets match") && said.contains("--yes"),
        "{said}"
    );
    assert_eq!(world.tokens(), 11, "nothing was rotated");
    let (code, text) = world
        .command(&["rotate", "dynatrace/many/*", "--dry-run"])
        .await;
    assert_eq!(
        (code, text.matches(": dry run\n").count()),
        (Some(0), 11),
        "{text}"
    );
    let (code, text) = world.command(&["rotate", "dynatrace/*/s1*"]).await;
    assert_eq!(
        (code, text.matches(": rotated\n").count()),
        (Some(0), 2),
        "{text}"
    );
    let (code, text) = world
        .command(&["rotate", "--environment", "prod", "--yes"])
        .await;
    assert_eq!(
        (code, text.matches(": rotated\n").count()),
        (Some(0), 11),
        "{text}"
    );
    // What scripts say today is clear enough.
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(
        (code, text.matches(": rotated\n").count()),
        (Some(0), 11),
        "{text}"
    );
    let (code, text, said) = world.command_and_stderr(&["rotate"]).await;
    assert_eq!((code, text.as_str()), (Some(2), ""), "{said}");
    let (code, _, said) = world
        .command_and_stderr(&["undo", "dynatrace/mnay/s0"])
        .await;
    assert_eq!(code, Some(2));
    assert!(
        said.contains("did you mean \"dynatrace/many/s0\"?"),
        "{said}"
    );
    let (code, text) = world
        .command(&["status", "dynatrace/*/s1*", "--json"])
        .await;
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (code, status["secrets"].as_array().map(Vec::len)),
        (Some(0), Some(2))
    );
}

/// Runs the command on a terminal, with this answer; its exit status and what the terminal showed.
async fn on_a_terminal(world: &World, arguments: &[&str], answer: &str) -> (Option<i32>, String) {
    use std::io::Write;
    let program = world.program();
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let words = words.map(|word| word.to_str().expect("text").to_owned());
    let words: Vec<String> = words
        .chain(arguments.iter().map(|&word| word.to_owned()))
        .collect();
    let mut script = Command::new("script");
    script.args([
        "--quiet",
        "--return",
        "--command",
        &words.join(" "),
        "/dev/null",
    ]);
    script
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "dumb");
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("script (util-linux)");
    let stdin = child.stdin.as_mut().expect("a pipe");
    stdin.write_all(answer.as_bytes()).expect("an answer");
    let run = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = run.await.expect("a thread").expect("script");
    (
        output.status.code(),
        String::from_utf8(output.stdout).expect("text"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_on_a_terminal_is_asked_and_sees_the_progress() {
    let site = Site::new().await;
    let world = World::on(site, "many", 11).await;
    let (code, shown) = on_a_terminal(&world, &["rotate", "--all"], "n\n").await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("Rotate 11 secrets? [y/N]") && shown.contains("nothing was changed"),
        "{shown}"
    );
    assert_eq!(world.tokens(), 11);
    let (code, shown) = on_a_terminal(&world, &["rotate", "--all"], "y\n").await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("0 of 11 secrets\r") && shown.contains("10 of 11 secrets\r"),
        "{shown}"
    );
    assert_eq!(shown.matches(": rotated\r\n").count(), 11, "{shown}");
    // The results tell it: the log does not repeat it.
    assert!(!shown.contains("rotation_succeeded"), "{shown}");
}

#[tokio::test]
async fn the_log_of_a_command_has_the_configured_format_and_level() {
    let mut world = World::new(1).await;
    let stderr = async |world: &World, variables: &[(&str, &str)]| {
        let mut command = world.program();
        command
            .args(["rotate", "--all"])
            .envs(variables.iter().copied());
        String::from_utf8(output(command).await.stderr).expect("text")
    };
    let said = stderr(&world, &[]).await;
    assert!(
        said.starts_with('{') && said.contains("\"event\":\"rotation_succeeded\""),
        "{said}"
    );
    world.set("log.format", "text");
    let said = stderr(&world, &[]).await;
    assert!(
        said.contains(" INFO rotation_succeeded dynatrace/s0: "),
        "{said}"
    );
    let said = stderr(&world, &[("DTROTATE_LOG__FORMAT", "json")]).await;
    assert!(said.starts_with('{'), "{said}");
    assert_eq!(
        stderr(&world, &[("DTROTATE_LOG__LEVEL", "error")]).await,
        ""
    );
    assert_eq!(stderr(&world, &[("RUST_LOG", "error")]).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_no_command_can_leave_its_memory_in_a_file() {
    let world = World::new(1).await;
    for arguments in [&["rotate", "--all"][..], &["check"], &["status"]] {
        let held = world.gate.fault(Rule::any().then(Action::Hold));
        let program = world.program();
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "ulimit -S -c unlimited 2>/dev/null || ulimit -S -c hard; exec \"$@\"",
            "sh",
        ]);
        shell
            .arg(program.get_program())
            .args(program.get_args())
            .args(arguments)
            .env_clear();
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = shell.spawn().expect("a shell");
        assert!(held.wait_held(1, LONG).await, "{arguments:?}");
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("limits");
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<&str> = core.expect("a limit").split_whitespace().collect();
        let _ = child.kill();
        let _ = child.wait();
        held.drop_held();
        held.remove();
        assert_eq!(words[4..6], ["0", "0"], "{arguments:?}: {words:?}");
    }
}

#[tokio::test]
async fn k16_a_failure_names_its_cause_and_its_cure() {
    let world = World::new(1).await;
    let name = world.secrets[0].clone();
    let master = world
        .root
        .secret("secret", &world.master)
        .await
        .expect("the secret");
    let value = master.data["token"].as_str().expect("a value").to_owned();
    let id = value.rsplit_once('.').expect("a dotted value").0.to_owned();
    world.dynatrace.set_scopes(&id, &["apiTokens.read"]);
    let (code, text) = world.command(&["rotate", &name]).await;
    assert_eq!(code, Some(1), "{text}");
    let said = flat(&text);
    let cure = "lacks the scope apiTokens.write; add it in Dynatrace";
    assert!(
        text.starts_with("dynatrace/s0: failed\n") && said.contains(cure),
        "{text}"
    );
    assert!(!said.contains("unavailable"), "{text}");
    world
        .dynatrace
        .set_scopes(&id, &["apiTokens.read", "apiTokens.write"]);

    let refused = simulator::Answer::dynatrace(400, "Token quota exceeded.");
    let rule = Rule::on(Operation::CreateToken).then(Action::Refuse(refused));
    world.dynatrace.fault(rule);
    let (code, text) = world.command(&["rotate", &name]).await;
    assert_eq!(code, Some(1), "{text}");
    let said = flat(&text);
    assert!(
        said.starts_with("dynatrace/s0: failed Dynatrace"),
        "the sentence comes first: {text}"
    );
    assert!(
        said.contains("Token quota exceeded.") && said.ends_with("reason mint_refused"),
        "{text}"
    );

    world.gate.shut().await;
    let (code, _, said) = world.command_and_stderr(&["rotate", &name]).await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("Vault"), "{said}");
}

#[tokio::test]
async fn check_ends_with_a_summary_and_shows_what_is_well_only_when_asked() {
    let world = World::new(2).await;
    let master = world
        .root
        .secret("secret", &world.master)
        .await
        .expect("the secret");
    let value = master.data["token"].as_str().expect("a value").to_owned();
    let id = value.rsplit_once('.').expect("a dotted value").0.to_owned();
    world
        .dynatrace
        .set_expiry(&id, Some(now() + jiff::SignedDuration::from_hours(24 * 90)));
    for number in 0..2 {
        let end = now() + jiff::SignedDuration::from_hours(24 * 90);
        world
            .dynatrace
            .set_expiry(&world.current_id(number).await, Some(end));
    }
    let (code, text) = world.command(&["check"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.starts_with("WARN  journal: it shares the mount secret"),
        "{text}"
    );
    assert!(!text.contains("OK  ") && !text.contains("NEXT"), "{text}");
    let last = flat(text.rsplit("\n\n").next().expect("a paragraph"));
    assert!(
        last.starts_with("2 secrets in 1 file: the configuration is valid; 0 errors, 1 warning (")
            && last.ends_with("OK; --all shows them)"),
        "{last}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let (_, text) = world.command(&["check", "--all"]).await;
    assert!(
        text.contains("NEXT  dynatrace/s0: `0 0 1 1 *` UTC: ")
            && text.contains("OK    dynatrace/s1: "),
        "{text}"
    );
    let (code, text) = world.command(&["check", "dynatrace/s1"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("OK    dynatrace/s1: ") && !text.contains("dynatrace/s0"),
        "{text}"
    );
    let (code, _, said) = world.command_and_stderr(&["check", "dynatrace/s9"]).await;
    assert!(code == Some(2) && said.contains("did you mean"), "{said}");

    world.dynatrace.disable(&world.current_id(0).await);
    let (code, text) = world.command(&["check", "--json"]).await;
    assert_eq!(code, Some(1), "{text}");
    let said: Value = serde_json::from_str(&text).expect("one document");
    assert_eq!(
        (&said["errors"], &said["warnings"], &said["exit_status"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let findings = said["findings"].as_array().expect("a list");
    let error = findings
        .iter()
        .find(|one| one["grade"] == "ERROR")
        .expect("an error");
    assert_eq!(error["about"], "dynatrace/s0");
    assert_eq!(said["secrets"][1]["next"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_compares_the_files_with_the_running_daemon() {
    let mut world = World::new(2).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = port.local_addr().expect("its address").to_string();
    drop(port);
    world.set("ops.listen", listen);
    let daemon = world.start("e2e");
    until("the daemon to be ready", async || {
        world.command(&["health"]).await.0 == Some(0)
    })
    .await;
    let warnings = async |world: &World| {
        let (_, text) = world.command(&["check", "--json"]).await;
        let said: Value = serde_json::from_str(&text).expect("one document");
        let findings = said["findings"].as_array().expect("a list").clone();
        let about = |one: &Value| one["about"] == "daemon e2e";
        let own: Vec<Value> = findings.into_iter().filter(about).collect();
        own.iter()
            .map(|one| one["message"].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(&world).await, Vec::<String>::new());
    world.config["secret"]
        .as_array_mut()
        .expect("secrets")
        .pop();
    world.save();
    let said = warnings(&world).await;
    assert!(
        said.len() == 1 && said[0].contains("was changed after it was read"),
        "{said:?}"
    );
    daemon.signal("-HUP");
    until("the reload", async || daemon.events("config_reloaded") == 1).await;
    assert_eq!(warnings(&world).await, Vec::<String>::new());
    let file = world.config_file();
    let good = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, "[nonsense]\n").expect("the configuration");
    daemon.signal("-HUP");
    until("the refusal", async || {
        daemon.events("config_rejected") >= 1
    })
    .await;
    fs::write(&file, good).expect("the configuration");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("its mode");
    let said = warnings(&world).await;
    assert!(
        said.len() == 1 && said[0].contains("it refused the configuration"),
        "{said:?}"
    );
}
