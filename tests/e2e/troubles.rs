//! Everything that can be wrong with one secret or one service: one ERROR that says where and what to do, everything stays as it was, the
//! other secrets continue, it heals when the cause is gone, and the end is reported.

use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde_json::{Value, json};
use simulator::{Action, Answer, Operation, Rule, Seed};

use crate::world::{Daemon, Site, World, note, until};

/// What a person, an accident or an operator does to the world.
type Hand = for<'a> fn(&'a World) -> BoxFuture<'a, ()>;

struct Trouble {
    name: &'static str,
    /// One of these is reported, once.
    events: &'static [&'static str],
    /// Words that the ERROR must hold: where, or what to do.
    says: &'static str,
    /// It concerns a service, and so everybody waits.
    all: bool,
    /// It is there when the daemon starts.
    from_start: bool,
    /// An OpenBao of its own.
    alone: bool,
    begin: Hand,
    end: Hand,
    /// The end shows as one of these, not loud.
    over: &'static [&'static str],
}

/// Of one secret, found when it is rotated or looked at.
const STUCK: Trouble = Trouble {
    name: "",
    events: &["rotation_stuck", "current_invalid"],
    says: "s0",
    all: false,
    from_start: false,
    alone: false,
    begin: |_| async {}.boxed(),
    end: |_| async {}.boxed(),
    over: &["rotation_stuck", "current_invalid", "rotation_succeeded"],
};

const VAULT: Trouble = Trouble {
    events: &["vault_unavailable"],
    says: "Vault is unavailable",
    all: true,
    over: &["vault_available"],
    ..STUCK
};

const DYNATRACE: Trouble = Trouble {
    events: &["dynatrace_unavailable"],
    says: "management token",
    all: true,
    over: &["dynatrace_available"],
    ..STUCK
};

/// A value that works, as a person would put it there.
fn healed(world: &World) -> BoxFuture<'_, ()> {
    async {
        let seed = Seed::new("healed").scopes(&["metrics.read"]);
        let value = world.dynatrace.seed(seed).value;
        world.put(0, &value).await;
    }
    .boxed()
}

async fn master(world: &World) -> String {
    let secret = world.root.secret("secret", &world.master).await;
    let data = secret.expect("the management token").data;
    let value = data["token"].as_str().expect("a value");
    value.rsplit_once('.').expect("a dotted value").0.to_owned()
}

fn denied(world: &World) -> BoxFuture<'_, ()> {
    async {
        let denial = Answer::vault(403, &["1 error occurred: permission denied"]);
        let path = format!("secret/{}", world.secrets[0]);
        let rule = Rule::on(Operation::ReadSecret).about(&path).always();
        world.gate.fault(rule.then(Action::Refuse(denial)));
    }
    .boxed()
}

fn allowed(world: &World) -> BoxFuture<'_, ()> {
    async { world.gate.clear_faults() }.boxed()
}

fn troubles() -> Vec<Trouble> {
    vec![
        Trouble {
            name: "sealed",
            says: "sealed",
            alone: true,
            begin: |world| async { world.site.vault.seal().await }.boxed(),
            end: |world| async { world.site.vault.unseal().await }.boxed(),
            ..VAULT
        },
        Trouble {
            name: "down",
            begin: |world| async { world.gate.shut().await }.boxed(),
            end: |world| async { world.gate.open().await.expect("the port") }.boxed(),
            ..VAULT
        },
        Trouble {
            name: "token-refused",
            says: "token",
            begin: |world| {
                async {
                    let file = world.folder.path().join("vault-token");
                    let token = std::fs::read_to_string(file).expect("the token");
                    world.root.revoke_token(&token).await;
                }
                .boxed()
            },
            end: |world| {
                async {
                    let token = world.root.periodic_token(&["dtrotate"], "1h").await;
                    let file = world.folder.path().join("vault-token");
                    std::fs::write(file, token).expect("the token");
                }
                .boxed()
            },
            ..VAULT
        },
        Trouble {
            name: "denied",
            says: "policy",
            begin: denied,
            end: allowed,
            ..STUCK
        },
        Trouble {
            name: "denied-at-first-sight",
            says: "policy",
            from_start: true,
            begin: denied,
            end: allowed,
            ..STUCK
        },
        Trouble {
            name: "field-missing",
            says: "put the token there",
            begin: |world| {
                async {
                    let data = json!({ "note": note(0) });
                    world.root.put("secret", &world.secrets[0], data).await;
                }
                .boxed()
            },
            end: healed,
            ..STUCK
        },
        Trouble {
            name: "empty",
            says: "put the token there",
            begin: |world| {
                async {
                    world.put(0, "  ").await;
                }
                .boxed()
            },
            end: healed,
            ..STUCK
        },
        Trouble {
            name: "deleted",
            says: "undelete it",
            begin: |world| async { world.root.delete("secret", &world.secrets[0]).await }.boxed(),
            end: healed,
            ..STUCK
        },
        Trouble {
            name: "missing-from-the-start",
            says: "there is nothing at",
            from_start: true,
            begin: |world| {
                async {
                    world
                        .root
                        .delete_metadata("secret", &world.secrets[0])
                        .await
                }
                .boxed()
            },
            end: healed,
            ..STUCK
        },
        Trouble {
            name: "unknown",
            says: "does not know the token",
            begin: |world| {
                async {
                    let value = format!("dt0c01.{}.{}", "A".repeat(24), "B".repeat(64));
                    world.put(0, &value).await;
                }
                .boxed()
            },
            end: healed,
            ..STUCK
        },
        Trouble {
            name: "disabled",
            says: "enable it in Dynatrace",
            begin: |world| {
                async {
                    let id = world.current_id(0).await;
                    assert!(world.dynatrace.disable(&id));
                }
                .boxed()
            },
            end: |world| {
                async {
                    let id = world.current_id(0).await;
                    assert!(world.dynatrace.enable(&id));
                }
                .boxed()
            },
            ..STUCK
        },
        Trouble {
            name: "management-scope",
            says: "apiTokens.write",
            begin: |world| {
                async {
                    let id = master(world).await;
                    assert!(world.dynatrace.set_scopes(&id, &["apiTokens.read"]));
                }
                .boxed()
            },
            end: |world| {
                async {
                    let scopes = ["apiTokens.read", "apiTokens.write"];
                    let id = master(world).await;
                    assert!(world.dynatrace.set_scopes(&id, &scopes));
                }
                .boxed()
            },
            ..DYNATRACE
        },
        Trouble {
            name: "management-disabled",
            begin: |world| async { assert!(world.dynatrace.disable(&master(world).await)) }.boxed(),
            end: |world| async { assert!(world.dynatrace.enable(&master(world).await)) }.boxed(),
            ..DYNATRACE
        },
    ]
}

/// How often a secret was rotated.
fn rotations(daemon: &Daemon, world: &World, number: usize) -> usize {
    let mut lines = daemon.lines();
    lines.retain(|line| {
        line["event"] == "rotation_succeeded" && line["secret"] == world.secrets[number].as_str()
    });
    lines.len()
}

fn is_one_of(line: &Value, events: &[&str]) -> bool {
    line["event"]
        .as_str()
        .is_some_and(|event| events.contains(&event))
}

async fn version(world: &World) -> Option<u64> {
    let secret = world.root.secret("secret", &world.secrets[0]).await;
    secret.map(|secret| secret.version)
}

async fn plays_out(trouble: Trouble, site: std::sync::Arc<Site>) {
    let name = trouble.name;
    let mut world = World::on(site, name, 2).await;
    let token = world.root.periodic_token(&["dtrotate"], "1h").await;
    std::fs::write(world.folder.path().join("vault-token"), token).expect("the token");
    world.set("defaults.schedule", "*/2 * * * * *");
    if trouble.from_start {
        (trouble.begin)(&world).await;
    }
    let daemon = world.start("e2e");
    let first = usize::from(trouble.from_start);
    until(name, async || {
        (first..2).all(|number| rotations(&daemon, &world, number) > 0)
    })
    .await;
    if !trouble.from_start {
        (trouble.begin)(&world).await;
    }
    until(&format!("{name}: the error"), async || {
        !world.errors().is_empty()
    })
    .await;
    let before = match trouble.all {
        true => None,
        false => Some((version(&world).await, rotations(&daemon, &world, 1))),
    };
    let told = world.errors().remove(0);
    assert!(is_one_of(&told, trouble.events), "{name}: {told}");
    let message = told["message"].as_str().expect("a sentence");
    assert!(message.contains(trouble.says), "{name}: {message}");
    let secret = (!trouble.all).then_some(world.secrets[0].as_str());
    assert_eq!(told["secret"].as_str(), secret, "{name}");
    if let Some((version_before, others)) = before {
        until(&format!("{name}: the others to go on"), async || {
            rotations(&daemon, &world, 1) >= others + 3
        })
        .await;
        assert_eq!(
            version(&world).await,
            version_before,
            "{name}: it was touched"
        );
    }
    let seen = world.lines().len();
    (trouble.end)(&world).await;
    until(&format!("{name}: the end to be reported"), async || {
        let lines = world.lines();
        let over = lines[seen..].iter().find(|line| {
            is_one_of(line, trouble.over)
                && line["level"] == "INFO"
                && line["secret"]
                    .as_str()
                    .is_none_or(|name| Some(name) == secret)
        });
        over.is_some()
    })
    .await;
    let healed = [0, 1].map(|number| rotations(&daemon, &world, number));
    until(&format!("{name}: all to rotate again"), async || {
        [0, 1]
            .iter()
            .all(|&number| rotations(&daemon, &world, number) > healed[number])
    })
    .await;
    let errors = world.errors();
    assert_eq!(errors.len(), 1, "{name}: told once: {errors:?}");
}

#[tokio::test]
async fn p7_p8_each_trouble_is_one_error_disturbs_nobody_and_heals_by_itself() {
    let site = Site::new().await;
    let mut plays = vec![];
    for trouble in troubles() {
        let site = match trouble.alone {
            true => Site::new().await,
            false => site.clone(),
        };
        plays.push(plays_out(trouble, site));
    }
    join_all(plays).await;
}

#[tokio::test]
async fn p8_a_management_token_that_ends_soon_is_an_error_until_it_is_replaced() {
    let world = World::new(1).await;
    let now = crate::world::now();
    let day = jiff::SignedDuration::from_hours(24);
    let old = Seed::management("old").created(now - day * 30);
    let old = world.dynatrace.seed(old.expires(now + day));
    let data = json!({ "token": old.value });
    world.root.put("secret", &world.master, data).await;
    let id = master(&world).await;
    let daemon = world.start("e2e");
    until("the error", async || !world.errors().is_empty()).await;
    let told = world.errors().remove(0);
    assert_eq!(told["event"], "management_token_expiring");
    assert_eq!(told["environment"], "prod");
    assert!(world.dynatrace.set_expiry(&id, None));
    until("its end", async || {
        daemon.events("management_token_expiring") == 2
    })
    .await;
    assert_eq!(world.errors().len(), 1);
}

#[tokio::test]
async fn p8_a_current_token_that_stops_working_is_found_by_the_sweep() {
    let mut world = World::new(3).await;
    world.set("defaults.expiry_guard", false);
    let now = crate::world::now();
    let hour = jiff::SignedDuration::from_hours(1);
    let short = Seed::new("short").created(now - hour).expires(now + hour);
    world.put(1, &world.dynatrace.seed(short).value).await;
    let daemon = world.start("e2e");
    until("all to be recorded", async || {
        daemon.events("secret_adopted") == 3
    })
    .await;
    let ids = [world.current_id(0).await, world.current_id(1).await];
    assert!(world.dynatrace.delete(&ids[0]));
    assert!(world.dynatrace.set_expiry(&ids[1], Some(now)));
    until("both errors", async || world.errors().len() == 2).await;
    let wrong = |number: usize| {
        let errors = world.errors();
        let mut errors = errors.into_iter();
        errors.find(|line| line["secret"] == world.secrets[number].as_str())
    };
    for (number, says) in [(0, "does not know"), (1, "expired")] {
        let told = wrong(number).expect("an error");
        assert_eq!(told["event"], "current_invalid");
        assert_eq!(told["token_id"], ids[number].as_str());
        assert!(
            told["message"].as_str().is_some_and(|m| m.contains(says)),
            "{told}"
        );
        assert!(!world.record(number).await["invalid"].is_null());
    }
    // Expired: replaced by one with its rights. Deleted: only the journal knows its rights, and a person confirms them.
    let (code, text) = world.command(&["rotate", &world.secrets[0]]).await;
    assert!(
        code == Some(1) && text.contains("--yes") && text.contains("metrics.read"),
        "{text}"
    );
    for number in [0, 1] {
        let name = world.secrets[number].clone();
        let (code, text) = world.command(&["rotate", &name, "--yes"]).await;
        assert_eq!(code, Some(0), "{text}");
        assert!(world.record(number).await["invalid"].is_null());
    }
    world.assert_valid().await;
    // That the first command needs a person is a condition of its own, if the daemon reads the document before the second one.
    let mut errors = world.errors();
    errors.retain(|line| line["event"] != "rotation_stuck");
    assert_eq!(errors.len(), 2, "{errors:?}");
}
