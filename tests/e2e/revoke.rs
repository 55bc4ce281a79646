//! A leaked token: `revoke` and `rotate --compromised`, beside daemons, under faults and a kill in the middle.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Action, Answer, Operation, Rule, Seed};

use crate::world::{LONG, Site, World, until};

/// A world whose graces are so long that nothing else ends a token.
async fn patient(secrets: usize) -> World {
    let mut world = World::new(secrets).await;
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    world.set("defaults.quarantine", "1h");
    world
}

/// It is dead, and the secret holds one that works.
async fn assert_dead(world: &World, id: &str) {
    let token = world.dynatrace.token(id);
    assert!(token.is_none_or(|token| !token.enabled), "{id} is alive");
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaked_token_is_replaced_and_dead_at_once_and_stays_so() {
    let world = patient(2).await;
    let daemon = world.start("e2e");
    until("the start to be over", async || {
        daemon.events("daemon_ready") == 1
    })
    .await;
    let name = world.secrets[0].clone();
    let leaked = world.current_id(0).await;
    // Without a terminal nobody can be asked.
    let (code, text) = world.command(&["revoke", &leaked]).await;
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(world.dynatrace.is_valid(&world.value(0).await));
    let value = world.value(0).await;
    // A whole value that somebody pasted is cut to its id.
    let (code, text) = world.command(&["revoke", &value, "--yes", "--json"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains(&value), "P5");
    let outcome: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!(outcome["result"], "revoked");
    assert_eq!(outcome["from"], json!(leaked));
    assert_eq!(outcome["to"], json!(world.current_id(0).await));
    assert_dead(&world, &leaked).await;
    assert_ne!(world.current_id(0).await, leaked);
    let entry = world.record(0).await["retiring"][0].clone();
    assert_eq!(entry["revoked"]["by"], "token");
    // A deploy script rolls Vault back: the token stays dead, and is replaced once more.
    world.put(0, &value).await;
    until("it to be replaced", async || {
        world.current_id(0).await != leaked
    })
    .await;
    assert_dead(&world, &leaked).await;
    for undo in [&["undo", &name, "--token", &leaked][..], &["undo", &name]] {
        let (code, text) = world.command(undo).await;
        assert_eq!(code == Some(1), undo.len() > 2, "{text}");
    }
    assert_dead(&world, &leaked).await;
    let (code, text) = world
        .command(&["undo", &name, "--token", &leaked, "--yes"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(world.value(0).await, value);
    world.assert_valid().await;
    assert_eq!(world.errors(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_token_and_one_that_no_secret_knows_are_ended() {
    let world = patient(1).await;
    let old = world.current_id(0).await;
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let current = world.current_id(0).await;
    let (code, text) = world.command(&["revoke", &old, "--yes", "--delete"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(world.dynatrace.token(&old).is_none());
    assert_eq!(world.current_id(0).await, current);
    assert_eq!(world.record(0).await["retiring"], json!([]));
    let stranger = world
        .dynatrace
        .seed(Seed::new("dashboard").scopes(&["metrics.read"]));
    let id = stranger
        .value
        .rsplit_once('.')
        .expect("a dotted value")
        .0
        .to_owned();
    let (code, _, log) = world.command_and_stderr(&["revoke", &id, "--yes"]).await;
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("--environment"), "{log}");
    let named = ["revoke", &id, "--environment", "prod"];
    let (code, _, log) = world.command_and_stderr(&named).await;
    assert_eq!(code, Some(2), "{log}");
    assert!(
        log.contains("dashboard") && log.contains("last used"),
        "{log}"
    );
    assert!(
        world
            .dynatrace
            .token(&id)
            .is_some_and(|token| token.enabled)
    );
    let (code, text) = world.command(&[&named[..], &["--yes"]].concat()).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        world
            .dynatrace
            .token(&id)
            .is_some_and(|token| !token.enabled)
    );
    // The management token that nobody rotates is not taken away.
    let master = world
        .root
        .secret("secret", &world.master)
        .await
        .expect("the secret");
    let master = master.data["token"].as_str().expect("a value").to_owned();
    let (code, _, log) = world
        .command_and_stderr(&["revoke", &master, "--environment", "prod", "--yes"])
        .await;
    assert_eq!(code, Some(1), "{log}");
    assert!(world.dynatrace.is_valid(&master));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_several_secrets_hold_is_ended_when_each_has_another_one() {
    let world = patient(2).await;
    let shared = world.value(0).await;
    world.put(1, &shared).await;
    let leaked = world.current_id(0).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_dead(&world, &leaked).await;
    assert_ne!(world.current_id(0).await, world.current_id(1).await);
    for number in 0..2 {
        assert!(world.record(number).await["revoking"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_token_that_only_vault_shows_is_replaced_before_it_is_ended() {
    let world = patient(3).await;
    // No process has recorded it yet.
    let leaked = world.current_id(0).await;
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_dead(&world, &leaked).await;
    // A person put another token there, and its secret has not been looked at since; of the other one there is no document at all.
    let theirs = world.dynatrace.seed(Seed::new("by hand"));
    world.put(0, &theirs.value).await;
    world.put(1, &theirs.value).await;
    let named = ["revoke", &theirs.id, "--environment", "prod", "--yes"];
    let (code, text) = world.command(&named).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&world.secrets[0]) && text.contains(&world.secrets[1]));
    assert_dead(&world, &theirs.id).await;
    // The same for the secrets that are named.
    let shared = world.value(1).await;
    world.put(2, &shared).await;
    let leaked = world.current_id(2).await;
    let (first, second) = (world.secrets[1].clone(), world.secrets[2].clone());
    let both = ["rotate", &first, &second, "--compromised"];
    let (code, text) = world.command(&both).await;
    assert_eq!(code, Some(0), "{text}");
    assert_dead(&world, &leaked).await;
    // Where a value cannot be read, a token of no secret is left alone, unless a person says otherwise.
    world.put(1, "{\"token\": \"x\"}").await;
    let unknown = world.dynatrace.seed(Seed::new("dashboard")).id;
    let named = ["revoke", &unknown, "--environment", "prod", "--yes"];
    let (code, _, log) = world.command_and_stderr(&named).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains(&first) && log.contains("--without-replacement"),
        "{log}"
    );
    let is_alive = |id: &str| world.dynatrace.token(id).is_some_and(|token| token.enabled);
    assert!(is_alive(&unknown));
    let nevertheless = [&named[..], &["--without-replacement"]].concat();
    assert_eq!(world.command(&nevertheless).await.0, Some(0));
    assert!(!is_alive(&unknown));
    world.put(1, &world.value(0).await).await;
    for (named, says) in [
        ("hello", "this is not the id of a token"),
        (first.as_str(), "is a secret, and revoke takes the id"),
    ] {
        let (code, _, log) = world.command_and_stderr(&["revoke", named, "--yes"]).await;
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(says), "{log}");
    }
    let nowhere = ["revoke", "dt0c01.NOWHERE", "--environment", "prod", "--yes"];
    let (code, _, log) = world.command_and_stderr(&nowhere).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("environment prod has no token dt0c01.NOWHERE"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_a_pause_and_a_switch_do_not_keep_it() {
    let mut world = patient(1).await;
    let leaked = world.current_id(0).await;
    let rule = Rule::on(Operation::CreateToken).then(Action::HoldAnswer);
    let held = world.dynatrace.fault(rule);
    let name = world.secrets[0].clone();
    let mut stands = world.start_command("stands", &["rotate", &name]);
    assert!(held.wait_performed(1, LONG).await);
    assert_eq!(world.command(&["pause", &name]).await.0, Some(0));
    let (code, text) = world.command(&["rotate", &name, "--compromised"]).await;
    assert_eq!(code, Some(1), "it asks: {text}");
    assert!(text.contains("--yes"), "{text}");
    let (code, text) = world
        .command(&["rotate", &name, "--compromised", "--yes"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert_dead(&world, &leaked).await;
    held.release();
    // The one that held the claim finds out that it has lost it.
    assert_ne!(stands.exit_code(), Some(0));
    let second = world.current_id(0).await;
    assert_eq!(world.command(&["resume", &name]).await.0, Some(0));
    world.config["secret"][0]
        .as_table_mut()
        .expect("a secret")
        .insert("enabled".into(), false.into());
    world.save();
    let (code, text) = world
        .command(&["rotate", &name, "--compromised", "--yes"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert_dead(&world, &second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_daemon_finishes_what_a_killed_revocation_began() {
    for (operation, gated) in [
        (Operation::CreateToken, false),
        (Operation::WriteSecret, true),
        (Operation::UpdateToken, false),
    ] {
        let mut world = patient(1).await;
        world.set("journal.claim_timeout", "2s");
        assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
        let leaked = world.current_id(0).await;
        let path = format!("secret/{}", world.secrets[0]);
        let rule = Rule::on(operation)
            .matching(move |call| !gated || call.subject.as_ref() == Some(&path));
        let rule = rule.then(Action::HoldAnswer);
        let held = match gated {
            true => world.gate.fault(rule),
            false => world.dynatrace.fault(rule),
        };
        let mut killed = world.start_command("killed", &["revoke", &leaked, "--yes"]);
        assert!(held.wait_performed(1, LONG).await, "{operation:?}");
        killed.kill();
        held.drop_held();
        let _daemon = world.start("e2e");
        until("a daemon to finish it", async || {
            let record = world.record(0).await;
            record["revoking"].is_null() && record["claim"].is_null()
        })
        .await;
        assert_dead(&world, &leaked).await;
        assert_ne!(world.current_id(0).await, leaked, "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_when_somebody_was_faster_and_says_what_to_do_when_vault_is_sealed() {
    let world = patient(2).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let (disabled, deleted) = (world.current_id(0).await, world.current_id(1).await);
    assert!(world.dynatrace.disable(&disabled));
    assert!(world.dynatrace.delete(&deleted));
    world.site.vault.seal().await;
    let (code, _, log) = world
        .command_and_stderr(&["revoke", &disabled, "--yes"])
        .await;
    assert_eq!(code, Some(69), "{log}");
    assert!(
        log.contains(&format!("disable {disabled} in Dynatrace now")),
        "{log}"
    );
    world.site.vault.unseal().await;
    for leaked in [&disabled, &deleted] {
        let (code, text) = world.command(&["revoke", leaked, "--yes"]).await;
        assert_eq!(code, Some(0), "{text}");
    }
    assert_dead(&world, &disabled).await;
    // Rights that only the journal knows need a yes.
    let third = world.current_id(1).await;
    assert!(world.dynatrace.delete(&third));
    let name = world.secrets[1].clone();
    let (code, text) = world.command(&["rotate", &name, "--compromised"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("metrics.read") && text.contains("--yes"),
        "{text}"
    );
    let (code, text) = world
        .command(&["rotate", &name, "--compromised", "--yes"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    world.assert_valid().await;
}

/// Whatever Vault and Dynatrace do. The cases wait at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_back_within_a_minute_and_says_what_to_do_by_hand() {
    let site = Site::new().await;
    let sealed = || Action::Refuse(Answer::vault(503, &["Vault is sealed"]));
    let down = || Action::Refuse(Answer::dynatrace(503, "unavailable"));
    let cases = [
        ("nothing-is-read", true, Operation::ReadSecret, Action::Hold),
        ("nothing-is-written", true, Operation::WriteSecret, sealed()),
        ("writes-hang", true, Operation::WriteSecret, Action::Hold),
        ("nothing-is-minted", false, Operation::CreateToken, down()),
        ("mints-hang", false, Operation::CreateToken, Action::Hold),
        ("nothing-is-disabled", false, Operation::UpdateToken, down()),
    ];
    let cases = cases.map(async |(tag, at_vault, operation, action)| {
        let mut world = World::on(site.clone(), tag, 1).await;
        world.set("defaults.grace", "1h");
        world.set("defaults.max_grace", "2h");
        assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
        let leaked = world.current_id(0).await;
        let rule = Rule::on(operation).always().then(action);
        let fault = match at_vault {
            true => world.gate.fault(rule),
            false => world.dynatrace.fault(rule),
        };
        let began = Instant::now();
        let revoke = ["revoke", &leaked, "--yes"];
        let (code, _, log) = world.command_and_stderr(&revoke).await;
        assert!(began.elapsed() < Duration::from_secs(65), "{tag}: {log}");
        assert_eq!(code, Some(69), "{tag}: {log}");
        let step = format!("disable {leaked} in Dynatrace now");
        assert!(log.contains(&step), "{tag}: {log}");
        fault.drop_held();
        fault.remove();
        let (code, text) = world.command(&revoke).await;
        assert_eq!(code, Some(0), "{tag}: {text}");
        assert_dead(&world, &leaked).await;
    });
    futures_util::future::join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_replacement_it_is_dead_although_nothing_can_be_created() {
    let world = patient(1).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let leaked = world.current_id(0).await;
    let refused = Rule::on(Operation::CreateToken)
        .always()
        .then(Action::Refuse(Answer::dynatrace(
            403,
            "Token is missing required scope.",
        )));
    let fault = world.dynatrace.fault(refused);
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        world
            .dynatrace
            .token(&leaked)
            .is_some_and(|token| token.enabled),
        "P1"
    );
    let (code, text) = world
        .command(&["revoke", &leaked, "--without-replacement", "--yes"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        world
            .dynatrace
            .token(&leaked)
            .is_some_and(|token| !token.enabled)
    );
    fault.remove();
    let _daemon = world.start("e2e");
    until("a new token", async || world.current_id(0).await != leaked).await;
    world.assert_valid().await;
}

/// A world in which a secret rotates the management token.
async fn with_managed_master() -> (World, String) {
    // Its own path, since the shipped policy keeps `dynatrace/master` from being written.
    let mut world = World::on(Site::new().await, "own", 1).await;
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    let mut listed = toml::Table::new();
    listed.insert("path".into(), world.master.clone().into());
    let secrets = world.config["secret"].as_array_mut().expect("the secrets");
    secrets.push(listed.into());
    world.save();
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let leaked = master_id(&world).await;
    (world, leaked)
}

async fn master_id(world: &World) -> String {
    let secret = world.root.secret("secret", &world.master).await;
    let data = secret.expect("the secret").data;
    let value = data["token"].as_str().expect("a value");
    assert!(world.dynatrace.is_valid(value), "P1");
    value.rsplit_once('.').expect("a dotted value").0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaked_management_token_ends_when_its_successor_was_proven_and_stored() {
    let (world, leaked) = with_managed_master().await;
    world.dynatrace.reset_calls();
    world.gate.reset_calls();
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    let successor = master_id(&world).await;
    assert_ne!(successor, leaked);
    let token = world.dynatrace.token(&leaked).expect("in quarantine");
    assert!(!token.enabled);
    let calls = world.dynatrace.calls();
    let by_successor = |call: &&simulator::Call| call.credential.as_ref() == Some(&successor);
    let first = |operation| {
        let mut calls = calls.iter().filter(by_successor);
        let call = calls.find(|call| call.operation == Some(operation));
        call.expect("a call of the successor").instant
    };
    let path = format!("secret/{}", world.master);
    let writes = world.gate.calls();
    let stored = writes.iter().find(|call| {
        call.operation == Some(Operation::WriteSecret) && call.subject.as_ref() == Some(&path)
    });
    let stored = stored.expect("the store").instant;
    // It listed tokens and changed one before it was stored; only then was the leaked one disabled, by the successor.
    assert!(first(Operation::ListTokens) < stored && first(Operation::UpdateToken) < stored);
    let ends: Vec<_> = calls
        .iter()
        .filter(|call| call.operation == Some(Operation::UpdateToken))
        .filter(|call| call.instant > stored && call.subject.as_ref() == Some(&leaked))
        .collect();
    assert!(
        !ends.is_empty() && ends.iter().all(by_successor),
        "{ends:?}"
    );
    // The environment is managed with it.
    assert_eq!(
        world.command(&["rotate", &world.secrets[0]]).await.0,
        Some(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_leaked_management_token_stays_when_its_successor_cannot_manage() {
    let (world, leaked) = with_managed_master().await;
    let refusal = Answer::dynatrace(403, "Token is missing required scope");
    let by_another = leaked.clone();
    let rule = Rule::on(Operation::UpdateToken)
        .matching(move |call| call.credential.as_ref() != Some(&by_another))
        .always()
        .then(Action::Refuse(refusal));
    let fault = world.dynatrace.fault(rule);
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(master_id(&world).await, leaked);
    // When the cause is removed, whoever comes next finishes the order.
    fault.remove();
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_ne!(master_id(&world).await, leaked);
    assert!(!world.dynatrace.token(&leaked).expect("it").enabled);
}

/// The calls to Vault and Dynatrace up to the disable of a leaked token, beside so many old tokens for each secret whose retirement is overdue.
async fn calls_until_dead(old_tokens: usize) -> usize {
    let world = patient(4).await;
    for _ in 0..=old_tokens {
        assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    }
    for number in 0..4 {
        let mut record = world.record(number).await;
        let entries = record["retiring"].as_array_mut().expect("old tokens");
        entries.truncate(old_tokens);
        for entry in entries {
            entry["due"] = entry["since"].clone();
        }
        let data = json!({
            "schema": 2, "min_reader": 2, "name": world.secrets[number], "document": record.to_string(),
        });
        world
            .root
            .put("secret", &world.document(number), data)
            .await;
    }
    let leaked = world.current_id(0).await;
    world.dynatrace.reset_calls();
    world.gate.reset_calls();
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_dead(&world, &leaked).await;
    let calls = world.dynatrace.calls();
    let disable = calls.iter().find(|call| {
        call.operation == Some(Operation::UpdateToken) && call.subject.as_ref() == Some(&leaked)
    });
    let disable = disable.expect("the disable").instant;
    let all = calls
        .iter()
        .chain(&world.gate.calls())
        .map(|call| call.instant)
        .collect::<Vec<_>>();
    all.into_iter()
        .filter(|instant| *instant <= disable)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaked_token_is_dead_after_the_same_few_calls_however_many_retirements_wait() {
    let alone = calls_until_dead(0).await;
    let beside_many = calls_until_dead(5).await;
    assert_eq!(alone, beside_many);
    // At 50 ms a call that is two seconds; the promise is a minute.
    assert!(alone <= 40, "{alone} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_token_waits_for_the_other_secret_that_holds_it_whatever_else_is_run() {
    let mut world = patient(2).await;
    let shared = world.value(0).await;
    world.put(1, &shared).await;
    let leaked = world.current_id(0).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    // Its secret gets no other token.
    let second = world.config["secret"][1].as_table_mut().expect("a table");
    second.insert("scopes".to_owned(), vec!["no.such.scope"].into());
    world.save();
    let (code, text) = world.command(&["revoke", &leaked, "--yes"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert_ne!(world.current_id(0).await, leaked);
    let first = world.secrets[0].clone();
    for (command, expected) in [
        (&["rotate", &first][..], 0),
        (&["undo", &first], 0),
        (&["revoke", &leaked, "--yes"], 1),
        (&["run", "--once"], 1),
    ] {
        let (code, text) = world.command(command).await;
        assert_eq!(code, Some(expected), "{command:?}: {text}");
        assert!(world.dynatrace.is_valid(&shared), "{command:?}: {text}");
    }
    let daemon = world.start("e2e");
    let is_ready = async || daemon.events("daemon_ready") > 0;
    until("the daemon to be ready", is_ready).await;
    world.assert_valid().await;
    let second = world.config["secret"][1].as_table_mut().expect("a table");
    second.remove("scopes");
    world.save();
    daemon.signal("-HUP");
    let second = world.secrets[1].clone();
    let (code, text) = world.command(&["rotate", &second]).await;
    assert_eq!(code, Some(0), "{text}");
    until("the leaked token to be ended", async || {
        !world.dynatrace.is_valid(&shared)
    })
    .await;
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_order_and_a_second_leak_are_carried_out_at_once() {
    let world = patient(1).await;
    let leaked = world.current_id(0).await;
    let _daemon = world.start("e2e");
    for more in [&["--yes"][..], &["--yes"], &["--yes", "--delete"]] {
        let command = [&["revoke", leaked.as_str()], more].concat();
        let (code, text) = world.command(&command).await;
        assert_eq!(code, Some(0), "{more:?}: {text}");
        assert_dead(&world, &leaked).await;
        assert!(world.record(0).await["revoking"].is_null());
    }
    assert!(world.dynatrace.token(&leaked).is_none());
    let successor = world.current_id(0).await;
    let (code, text) = world.command(&["revoke", &successor, "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_dead(&world, &successor).await;
}
