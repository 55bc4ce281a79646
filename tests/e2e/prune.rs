//! `prune`: a plan first, then disabled and marked, deleted by a daemon after the quarantine; beside daemons, people, faults and kills.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Action, Answer, Operation, PlatformSeed, Rule, Seed, TokenInfo};

use crate::world::{Daemon, Issuer, Kind, LONG, Site, World, now, parsed, until, within};

const UNUSED: [&str; 3] = ["prune", "--unused", "90d"];

fn days_ago(days: i64) -> Timestamp {
    now() - SignedDuration::from_hours(24 * days)
}

/// A token that nobody has used since it was made, 200 days ago.
fn old(world: &World, name: &str) -> String {
    let seed = Seed::new(name).created(days_ago(200)).owner("bob");
    world.dynatrace.seed(seed).id
}

fn token(world: &World, id: &str) -> TokenInfo {
    world
        .dynatrace
        .token(id)
        .unwrap_or_else(|| panic!("{id} is gone"))
}

fn states(world: &World) -> Vec<(String, String, bool)> {
    let tokens = world.dynatrace.tokens().into_iter();
    tokens
        .map(|token| (token.id, token.name, token.enabled))
        .collect()
}

async fn carry_out(world: &World) -> Value {
    let (code, text) = world
        .command(&[&UNUSED[..], &["--yes", "--json"]].concat())
        .await;
    assert_eq!(code, Some(0), "{text}");
    serde_json::from_str(&text).expect("a document")
}

/// The entries of the document of pruned tokens.
async fn entries(world: &World) -> Vec<Value> {
    let document = document(world).await;
    let tokens = document["tokens"].as_array();
    tokens.cloned().unwrap_or_default()
}

async fn document(world: &World) -> Value {
    let path = format!("{}/_prune", world.journal);
    let document = world.root.secret("secret", &path).await;
    document.map_or(Value::Null, |document| parsed(document.data))
}

/// Someone edits the document.
async fn edit(world: &World, change: impl FnOnce(&mut Value)) {
    let mut content = document(world).await;
    change(&mut content);
    let path = format!("{}/_prune", world.journal);
    let data = json!({ "schema": 2, "min_reader": 2, "document": content.to_string() });
    world.root.put("secret", &path, data).await;
}

async fn ready(world: &World, name: &str) -> Daemon {
    let daemon = world.start(name);
    until("the daemon to be ready", async || {
        daemon.events("daemon_ready") == 1
    })
    .await;
    daemon
}

fn deletions(world: &World, id: &str) -> usize {
    let lines = world.lines();
    let deleted = |line: &&Value| {
        line["event"] == "token_pruned" && line["level"] == "INFO" && line["token_id"] == id
    };
    lines.iter().filter(deleted).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_shown_then_disabled_and_marked_and_deleted_after_the_quarantine() {
    let mut world = World::new(1).await;
    world.set("defaults.quarantine", "8s");
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let pruned = old(&world, "dashboard \u{1b}[2J");
    let others = [
        world.dynatrace.seed(Seed::new("young")).id,
        old(&world, "job [dtrotate:zzzz.a7q2.1]"),
        world
            .dynatrace
            .seed(Seed::new("laptop").created(days_ago(200)).personal())
            .id,
        world
            .dynatrace
            .seed(Seed::management("bot").created(days_ago(200)))
            .id,
        world.current_id(0).await,
    ];
    let used = old(&world, "used");
    let address = std::net::IpAddr::from([10, 0, 0, 1]);
    assert!(world.dynatrace.touch(&used, address, days_ago(1)));
    let before = states(&world);
    // Without one of the criteria there is nothing to plan; without --yes nothing is changed.
    assert_eq!(world.command(&["prune", "--yes"]).await.0, Some(2));
    let (code, text) = world.command(&UNUSED).await;
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "prod: 1 token to disable\n",
        &format!("  {pruned}: never used, created 200d ago\n"),
        "1 token left alone: each is personal\n",
        "1 token left alone: each has rights to manage tokens\n",
        "1 token left alone: each belongs to another installation of dtrotate\n",
        "Nothing was changed.",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 80));
    assert_eq!(states(&world), before);
    assert_eq!(document(&world).await, Value::Null);
    // One call disables it and marks its name.
    world.dynatrace.reset_calls();
    let outcome = carry_out(&world).await;
    assert_eq!(world.dynatrace.count(Operation::UpdateToken), 1);
    let first = &outcome["tokens"][0];
    assert_eq!(
        (&first["token_id"], &first["result"]),
        (&json!(pruned), &json!("disabled"))
    );
    assert_eq!(outcome["tokens"].as_array().map(Vec::len), Some(1));
    let marked = token(&world, &pruned);
    assert!(!marked.enabled);
    let installation = outcome["installation"].as_str().expect("an id");
    let mark = format!(" [dtrotate:{installation}.prune.");
    assert!(
        marked
            .name
            .starts_with(&format!("dashboard \u{1b}[2J{mark}")),
        "{}",
        marked.name
    );
    let (code, audit) = world
        .command(&["audit", "--json", "--fail-on", "never"])
        .await;
    assert_eq!(code, Some(0), "{audit}");
    let audit: Value = serde_json::from_str(&audit).expect("a document");
    let mut audited = audit["tokens"].as_array().expect("tokens").iter();
    let audited = audited
        .find(|it| it["token_id"] == json!(pruned))
        .expect("it");
    assert_eq!(
        (&audited["relation"], &audited["findings"]),
        (&json!("pruned"), &json!([]))
    );
    // Its deletion is shown, unless secrets are selected by name.
    let upcoming = async |more: &[&str]| {
        let (code, text) = world
            .command(&[&["upcoming", "--json"], more].concat())
            .await;
        assert_eq!(code, Some(0), "{text}");
        let document: Value = serde_json::from_str(&text).expect("a document");
        let events = document["events"].as_array().cloned().unwrap_or_default();
        let about = |event: &Value| event["token"] == json!(pruned);
        events.into_iter().find(about)
    };
    for more in [&[][..], &["--environment", "prod"]] {
        let deletion = upcoming(more).await.expect("its deletion");
        assert_eq!(
            (&deletion["event"], &deletion["secret"]),
            (&json!("delete"), &Value::Null)
        );
    }
    assert_eq!(upcoming(&[&world.secrets[0]]).await, None);
    let (_, text) = world.command(&["upcoming"]).await;
    assert!(text.contains("delete  pruned token of prod"), "{text}");
    // A second command finds nothing to do.
    let again = carry_out(&world).await;
    assert_eq!(
        (&again["tokens"], &again["protected"]["pruned"]),
        (&json!([]), &json!(1))
    );
    let _daemon = ready(&world, "e2e").await;
    until("the deletion", async || {
        world.dynatrace.token(&pruned).is_none()
    })
    .await;
    let deleted = world.dynatrace.history();
    let at = |change: &&simulator::TokenChange| change.token_id == pruned;
    let changes: Vec<_> = deleted.iter().filter(at).collect();
    let span = changes[changes.len() - 2]
        .at
        .duration_until(changes[changes.len() - 1].at);
    assert!(span >= SignedDuration::from_secs(7), "P3: {span}");
    until("its entry to be dropped", async || {
        entries(&world).await.is_empty()
    })
    .await;
    until("the line", async || deletions(&world, &pruned) > 0).await;
    assert_eq!(deletions(&world, &pruned), 1);
    for id in &others {
        assert!(token(&world, id).enabled, "{id}");
    }
    assert!(token(&world, &used).enabled);
    assert_eq!(world.errors(), Vec::<Value>::new());
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_brings_a_pruned_token_back_as_it_was() {
    let mut world = World::new(1).await;
    world.set("defaults.quarantine", "1h");
    let _daemon = ready(&world, "e2e").await;
    let name = "a name that is so long that the mark does not fit behind it, so that it is cut for the time being";
    let long = old(&world, name);
    let disabled = old(&world, "disabled before");
    assert!(world.dynatrace.disable(&disabled));
    let renamed = old(&world, "renamed by someone");
    carry_out(&world).await;
    assert!(token(&world, &long).name.chars().count() <= 100);
    assert!(world.dynatrace.rename(&renamed, "theirs"));
    let (code, text) = world
        .command(&["undo", "--token", &long, "--dry-run"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert!(!token(&world, &long).enabled);
    let (code, text) = world.command(&["status", &long]).await;
    assert_eq!(code, Some(0), "{text}");
    for part in [
        &format!("{long}  pruned token of prod"),
        name.split(" the").next().expect("its beginning"),
        "by token",
        "deleted   in ",
        &format!("dtrotate undo --token {long}"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let both = ["status", &world.secrets[0], &long, "--json"];
    let (code, text) = world.command(&both).await;
    assert_eq!(code, Some(0), "{text}");
    let status: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!(status["secrets"][0]["name"], json!(world.secrets[0]));
    assert_eq!(status["pruned"][0]["token"], json!(long));
    assert_eq!(status["pruned"][0]["name"], json!(name));
    let (code, _) = world.command(&["status", "dt0c01.NOWHERE"]).await;
    assert_eq!(code, Some(2));
    for id in [&long, &disabled, &renamed] {
        let (code, text) = world.command(&["undo", "--token", id]).await;
        assert_eq!(code, Some(0), "{text}");
        // What it says is what is true now.
        assert!(text.contains(&token(&world, id).name[..6]), "{text}");
        assert_eq!(text.contains("someone gave it"), *id == renamed, "{text}");
    }
    let facts = |id: &str| (token(&world, id).name, token(&world, id).enabled);
    assert_eq!(facts(&long), (name.to_owned(), true));
    assert_eq!(facts(&disabled), ("disabled before".to_owned(), false));
    assert_eq!(facts(&renamed), ("theirs".to_owned(), true), "P4");
    assert!(entries(&world).await.is_empty());
    let (code, text) = world.command(&["undo", "--token", &long, "--json"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("dtrotate undo NAME --token ID"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_only_what_bears_the_mark_and_is_still_disabled_is_deleted_whatever_a_document_says() {
    let world = World::new(1).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let edited = old(&world, "edited");
    let enabled = old(&world, "enabled");
    let copied = old(&world, "copied");
    let control = old(&world, "control");
    carry_out(&world).await;
    assert_eq!(entries(&world).await.len(), 4);
    // A person renames one, enables one, and copies a marked name to another token that they disable.
    let mark = token(&world, &control).name;
    assert!(world.dynatrace.rename(&edited, "edited: keep"));
    assert!(world.dynatrace.enable(&enabled));
    let copy = world.dynatrace.seed(Seed::new(&mark).disabled()).id;
    // The document names a stranger, a token with the mark of another installation, and a managed token that someone gave a mark.
    let stranger = world.dynatrace.seed(Seed::new("stranger").disabled()).id;
    let foreign = world
        .dynatrace
        .seed(Seed::new("x [dtrotate:zzzz.prune.1]").disabled())
        .id;
    let managed = world.current_id(0).await;
    assert!(world.dynatrace.rename(&managed, &mark) && world.dynatrace.disable(&managed));
    // Someone disabled it because it leaked: the document says that it is to be enabled again.
    let leaked = world.dynatrace.seed(Seed::new("leaked").disabled()).id;
    edit(&world, |content| {
        let tokens = content["tokens"].as_array_mut().expect("tokens");
        let control = tokens.iter().find(|it| it["name"] == "control").cloned();
        let control = control.expect("the entry");
        for id in [&stranger, &foreign, &managed] {
            let mut entry = control.clone();
            entry["id"] = json!(id);
            entry["at"] = json!("2020-01-01T00:00:00Z");
            entry["since"] = json!("2020-01-01T00:00:00Z");
            tokens.push(entry);
        }
        let mut entry = control;
        entry["id"] = json!(leaked);
        entry["name"] = json!("leaked");
        entry["state"] = json!("restoring");
        entry["since"] = json!("2020-01-01T00:00:00Z");
        tokens.push(entry);
    })
    .await;
    let daemon = ready(&world, "e2e").await;
    until("the deletion of the others", async || {
        let gone = |id: &str| world.dynatrace.token(id).is_none();
        gone(&control) && gone(&copied)
    })
    .await;
    until("the rest to be reported", async || {
        let lines = daemon.lines();
        let blocked = |id: &str| {
            let about = |line: &Value| {
                line["event"] == "retirement_blocked"
                    && line["message"].as_str().is_some_and(|it| it.contains(id))
            };
            lines.iter().any(about)
        };
        [&edited, &stranger, &foreign, &managed, &leaked]
            .iter()
            .all(|id| blocked(id))
    })
    .await;
    for id in [&edited, &enabled, &copy, &stranger, &foreign, &managed] {
        token(&world, id);
    }
    assert!(token(&world, &enabled).enabled, "P4");
    assert!(!token(&world, &leaked).enabled, "P4");
    let ids: Vec<Value> = entries(&world)
        .await
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert!(
        !ids.contains(&json!(enabled)) && ids.contains(&json!(edited)),
        "{ids:?}"
    );
    // What a person does about it ends it.
    let (code, text) = world.command(&["undo", "--token", &edited]).await;
    assert_eq!(code, Some(0), "{text}");
    until("its end", async || {
        let lines = daemon.lines();
        let resolved = |line: &Value| {
            line["message"]
                .as_str()
                .is_some_and(|it| it.starts_with("resolved:") && it.contains(&edited))
        };
        lines.iter().any(resolved)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_it_after_the_tokens_that_are_under_way() {
    let world = World::new(1).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    for number in 0..60 {
        old(&world, &format!("job{number}"));
    }
    let held = world
        .dynatrace
        .fault(Rule::on(Operation::UpdateToken).then(Action::Hold));
    let mut command = world.start_command("prune", &[&UNUSED[..], &["--yes"]].concat());
    assert!(held.wait_held(1, LONG).await);
    command.signal("-TERM");
    let log = || std::fs::read_to_string(&command.log).unwrap_or_default();
    until("the stop", async || log().contains("stopping")).await;
    assert_eq!(held.release(), 1);
    until("its last sentence", async || {
        log().contains("stopped: the rest of the plan was not begun")
    })
    .await;
    assert_eq!(command.exit_code(), Some(1));
    let tokens = world.dynatrace.tokens();
    assert_eq!(tokens.iter().filter(|token| !token.enabled).count(), 50);
    assert_eq!(entries(&world).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_daemon_finishes_what_a_killed_command_began() {
    for (name, in_vault, action) in [
        ("before the first write", true, Action::Hold),
        ("after the first write", true, Action::HoldAnswer),
        ("before the disable", false, Action::Hold),
        ("after the disable", false, Action::HoldAnswer),
    ] {
        let world = World::new(1).await;
        assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
        let pruned = old(&world, "dashboard");
        let before_effect = action == Action::Hold;
        let held = match in_vault {
            true => {
                let rule = Rule::on(Operation::WriteSecret).about("_prune");
                world.gate.fault(rule.then(action))
            }
            false => world
                .dynatrace
                .fault(Rule::on(Operation::UpdateToken).then(action)),
        };
        let mut killed = world.start_command("killed", &[&UNUSED[..], &["--yes"]].concat());
        match before_effect {
            true => assert!(held.wait_held(1, LONG).await, "{name}"),
            false => assert!(held.wait_performed(1, LONG).await, "{name}"),
        }
        killed.kill();
        held.drop_held();
        let is_disabled = !in_vault && !before_effect;
        assert_eq!(token(&world, &pruned).enabled, !is_disabled, "{name}");
        let _daemon = ready(&world, "e2e").await;
        until("a daemon to settle it", async || {
            entries(&world).await.is_empty()
        })
        .await;
        // What was disabled is deleted; what was not is as it was.
        match is_disabled {
            true => assert!(world.dynatrace.token(&pruned).is_none(), "{name}"),
            false => {
                let token = token(&world, &pruned);
                assert_eq!(
                    (token.name.as_str(), token.enabled),
                    ("dashboard", true),
                    "{name}"
                );
            }
        }
        assert_eq!(world.errors(), Vec::<Value>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_another_daemon_finishes_a_deletion_and_an_undo_whose_process_was_killed() {
    for action in [Action::Hold, Action::HoldAnswer] {
        let world = World::new(1).await;
        let pruned = old(&world, "dashboard");
        carry_out(&world).await;
        let rule = Rule::on(Operation::DeleteToken).about(&pruned);
        let held = world.dynatrace.fault(rule.then(action.clone()));
        let mut first = world.start("first");
        match action {
            Action::Hold => assert!(held.wait_held(1, LONG).await),
            _ => assert!(held.wait_performed(1, LONG).await),
        }
        first.kill();
        held.drop_held();
        // From here on it is not brought back.
        let (code, text) = world.command(&["undo", "--token", &pruned]).await;
        assert_eq!(code, Some(1), "{text}");
        let _second = ready(&world, "second").await;
        until("its end", async || entries(&world).await.is_empty()).await;
        assert!(world.dynatrace.token(&pruned).is_none());
        assert_eq!(world.errors(), Vec::<Value>::new());
    }
    let mut world = World::new(1).await;
    world.set("defaults.quarantine", "1h");
    let pruned = old(&world, "dashboard");
    carry_out(&world).await;
    let rule = Rule::on(Operation::UpdateToken).about(&pruned);
    let held = world.dynatrace.fault(rule.then(Action::Hold));
    let mut undo = world.start_command("undo", &["undo", "--token", &pruned]);
    assert!(held.wait_held(1, LONG).await);
    undo.kill();
    held.drop_held();
    let _daemon = ready(&world, "e2e").await;
    until("the undo to be finished", async || {
        entries(&world).await.is_empty()
    })
    .await;
    let token = token(&world, &pruned);
    assert_eq!((token.name.as_str(), token.enabled), ("dashboard", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_delete_each_token_once_and_a_pass_does_it_without_a_daemon() {
    let world = World::new(1).await;
    let pruned: Vec<String> = (0..12)
        .map(|number| old(&world, &format!("job {number}")))
        .collect();
    carry_out(&world).await;
    let daemons = [ready(&world, "first").await, ready(&world, "second").await];
    until("the deletions", async || entries(&world).await.is_empty()).await;
    for id in &pruned {
        assert!(world.dynatrace.token(id).is_none());
        until("the line", async || deletions(&world, id) > 0).await;
        assert_eq!(deletions(&world, id), 1, "{id}");
    }
    drop(daemons);
    let last = old(&world, "last");
    carry_out(&world).await;
    until("the end of its quarantine", async || {
        assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
        world.dynatrace.token(&last).is_none()
    })
    .await;
    assert_eq!(world.errors(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_leave_a_token_as_it_was_or_to_a_daemon() {
    let refused = || Action::Refuse(Answer::dynatrace(403, "Token is missing required scope."));
    let lost = Action::PerformThenAnswer(Answer::proxy(502));
    for (name, action, code, is_disabled) in [
        ("refused", refused(), 1, false),
        ("unavailable", Action::Refuse(Answer::proxy(503)), 69, false),
        ("its answer lost", lost, 0, true),
    ] {
        let mut world = World::new(1).await;
        world.set("defaults.quarantine", "1h");
        let pruned = old(&world, "dashboard");
        // A refusal makes the management token be read again, and the call be repeated if that has changed.
        let fault = world
            .dynatrace
            .fault(Rule::on(Operation::UpdateToken).then(action));
        let (status, text) = world.command(&[&UNUSED[..], &["--yes"]].concat()).await;
        fault.remove();
        let found = token(&world, &pruned);
        assert_eq!(
            (status, found.enabled),
            (Some(code), !is_disabled),
            "{name}: {text}"
        );
        match is_disabled {
            true => assert_eq!(entries(&world).await.len(), 1, "{name}"),
            false => {
                let _daemon = ready(&world, "e2e").await;
                until("nothing to be left", async || {
                    entries(&world).await.is_empty()
                })
                .await;
                assert_eq!(token(&world, &pruned).name, "dashboard", "{name}");
            }
        }
    }
    // A deletion that is refused is reported, and done when the cause is removed.
    let world = World::new(1).await;
    let pruned = old(&world, "dashboard");
    carry_out(&world).await;
    let fault = world
        .dynatrace
        .fault(Rule::on(Operation::DeleteToken).always().then(refused()));
    let daemon = ready(&world, "e2e").await;
    until("the refusal to be reported", async || {
        daemon.events("retirement_blocked") == 1
    })
    .await;
    fault.remove();
    until("its deletion", async || {
        world.dynatrace.token(&pruned).is_none()
    })
    .await;
    until("the end to be reported", async || {
        daemon.events("retirement_blocked") == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_used_or_put_into_a_secret_after_the_plan_was_made_is_left_alone() {
    let mut world = World::new(1).await;
    world.set("defaults.quarantine", "1h");
    let used = old(&world, "used");
    let value = world
        .dynatrace
        .seed(Seed::new("put into a secret").created(days_ago(200)));
    // The plan is made; then the command waits for the journal.
    let rule = Rule::on(Operation::GetToken).about(&used);
    let held = world.dynatrace.fault(rule.then(Action::Hold));
    let mut command = world.start_command("prune", &[&UNUSED[..], &["--yes", "--json"]].concat());
    assert!(held.wait_held(1, LONG).await);
    assert!(world.dynatrace.touch(&used, [10, 0, 0, 1].into(), now()));
    held.release();
    assert_eq!(command.exit_code(), Some(0));
    assert!(token(&world, &used).enabled);
    assert!(!token(&world, &value.id).enabled);
    assert_eq!(
        world.command(&["undo", "--token", &value.id]).await.0,
        Some(0)
    );
    // The value of a secret that no document knows yet.
    world.put(0, &value.value).await;
    let outcome = carry_out(&world).await;
    assert_eq!(outcome["tokens"], json!([]), "{outcome}");
    assert_eq!(outcome["protected"]["managed"], 1);
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn platform_tokens_are_deleted_by_a_second_command() {
    let mut world = World::of(Kind::Platform, Site::new().await, "", 1).await;
    world.set("ops.listen", crate::ops::free());
    let Issuer::Platform { account, owner, .. } = &world.issuer else {
        panic!("a world of platform tokens")
    };
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let pruned = account.seed(PlatformSeed::new("dashboard", owner)).id;
    let back = account.seed(PlatformSeed::new("back", owner)).id;
    for id in [&pruned, &back] {
        assert!(account.touch(id, [10, 0, 0, 1].into(), days_ago(200)));
    }
    let said = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, plan) = world.command(&UNUSED).await;
    assert!(
        said(&plan).contains("so the same command deletes them"),
        "{plan}"
    );
    assert!(!plan.contains("running"), "no daemon deletes them: {plan}");
    let all = [&UNUSED[..], &["--yes"]].concat();
    let (code, text) = world.command(&all).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        said(&text).contains("disabled; the same command deletes it after"),
        "{text}"
    );
    let is_enabled = |id: &str| account.token(id).map(|token| token.enabled);
    assert_eq!(
        (is_enabled(&pruned), is_enabled(&back)),
        (Some(false), Some(false))
    );
    assert_eq!(world.command(&["undo", "--token", &back]).await.0, Some(0));
    assert_eq!(is_enabled(&back), Some(true));
    let daemon = ready(&world, "e2e").await;
    let (mut code, mut text) = (None, String::new());
    until("the end of the quarantine", async || {
        (code, text) = world.command(&UNUSED).await;
        text.contains("1 token to delete, disabled before")
    })
    .await;
    assert_eq!(code, Some(0), "{text}");
    // It is no error, but a person has to know it.
    until("the warning", async || {
        let (code, text) = world.command(&["status"]).await;
        code == Some(0) && said(&text).contains("a warning 1 token of account")
    })
    .await;
    // No daemon deletes what bears no mark.
    let deleted = async || is_enabled(&pruned).is_none();
    assert!(!within(Duration::from_secs(4), deleted).await);
    let (code, text) = world.command(&all).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(is_enabled(&pruned), None, "{text}");
    assert!(
        entries(&world)
            .await
            .iter()
            .all(|entry| entry["id"] != json!(pruned))
    );
    assert_eq!(daemon.events("retirement_blocked"), 0, "it is no error");
    world.assert_valid().await;
}
