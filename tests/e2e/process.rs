//! The process: what systemd hears, signals, and a configuration that is read again.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use simulator::{Action, Operation, Rule};

use crate::world::{World, until};

/// systemd's end of the notification socket.
struct Systemd {
    socket: UnixDatagram,
    path: String,
    heard: Vec<String>,
}

impl Systemd {
    fn listens(world: &World) -> Systemd {
        let path = world.folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let path = path.to_str().expect("text").to_owned();
        Systemd {
            socket,
            path,
            heard: vec![],
        }
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }

    async fn hears(&mut self, what: &str) {
        until(&format!("systemd to hear {what}"), async || {
            self.listen();
            self.heard.iter().any(|line| line.starts_with(what))
        })
        .await;
    }

    fn forgets(&mut self) {
        self.listen();
        self.heard.clear();
    }
}

#[tokio::test]
async fn systemd_hears_of_start_reload_watchdog_and_stop() {
    let mut world = World::new(2).await;
    let mut systemd = Systemd::listens(&world);
    let mut daemon = world.start_with("e2e", &[("NOTIFY_SOCKET", &systemd.path)]);
    systemd.hears("READY=1").await;
    systemd.hears("STATUS=2 secrets").await;
    // The log is written a moment later.
    until("the log to say so", async || {
        daemon.events("daemon_ready") == 1
    })
    .await;
    for _ in 0..2 {
        systemd.forgets();
        systemd.hears("WATCHDOG=1").await;
    }

    systemd.forgets();
    daemon.signal("-HUP");
    systemd.hears("READY=1").await;
    let heard = systemd.heard.iter();
    let heard: Vec<&str> = heard
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key)
        .collect();
    let at = |key| heard.iter().position(|heard| *heard == key).expect(key);
    assert!(at("RELOADING") < at("READY") && heard.contains(&"MONOTONIC_USEC"));

    // A bad file is refused as a whole and said so; the old configuration stays in force.
    let good = world.config.clone();
    world.set("defaults.schedule", "61 * * * *");
    systemd.forgets();
    daemon.signal("-HUP");
    systemd
        .hears("STATUS=2 secrets; the changed configuration was refused")
        .await;
    systemd.hears("READY=1").await;
    // Lines are written by a thread of their own.
    until("the ERROR", async || !world.errors().is_empty()).await;
    let errors = world.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["event"], "config_rejected");
    world.config = good;
    world.save();
    daemon.signal("-HUP");
    until("the good one", async || {
        daemon.events("config_reloaded") == 2
    })
    .await;
    systemd.forgets();
    daemon.signal("-TERM");
    systemd.hears("STOPPING=1").await;
    assert_eq!(daemon.exit_code(), Some(0));
    assert_eq!(
        daemon.lines().last().expect("a line")["event"],
        "shutdown_finished"
    );
}

#[tokio::test]
async fn a_start_with_a_sealed_vault_waits_for_it_and_says_so() {
    let world = World::new(1).await;
    world.site.vault.seal().await;
    let mut systemd = Systemd::listens(&world);
    let daemon = world.start_with("e2e", &[("NOTIFY_SOCKET", &systemd.path)]);
    systemd.hears("STATUS=waiting for Vault: sealed").await;
    until("one ERROR", async || world.errors().len() == 1).await;
    assert_eq!(daemon.events("daemon_ready"), 0);
    world.site.vault.unseal().await;
    systemd.hears("READY=1").await;
    systemd.hears("STATUS=1 secrets").await;
    until("the secret to be recorded", async || {
        daemon.events("secret_adopted") == 1
    })
    .await;
    assert_eq!(world.errors().len(), 1);
}

#[tokio::test]
async fn a_vault_that_hangs_stops_neither_watchdog_nor_signals() {
    let mut world = World::new(1).await;
    let mut systemd = Systemd::listens(&world);
    world.set("daemon.shutdown_timeout", "2s");
    let mut daemon = world.start_with("e2e", &[("NOTIFY_SOCKET", &systemd.path)]);
    systemd.hears("READY=1").await;
    let hang = world.gate.fault(Rule::any().always().then(Action::Hold));
    assert!(hang.wait_held(1, Duration::from_secs(60)).await);
    for _ in 0..5 {
        systemd.forgets();
        let began = Instant::now();
        systemd.hears("WATCHDOG=1").await;
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "the loop is blocked"
        );
    }
    let began = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_work_come_to_its_end_within_its_time_and_a_second_signal_ends_at_once() {
    let mut world = World::new(1).await;
    world.set("daemon.shutdown_timeout", "3s");
    world.set("defaults.schedule", "* * * * * *");
    let dynatrace = world.dynatrace.clone();
    let held = || {
        let rule = Rule::on(Operation::CreateToken);
        dynatrace.fault(rule.then(Action::HoldAnswer))
    };
    // What is in flight ends well when it can.
    let fault = held();
    let mut daemon = world.start("e2e");
    assert!(fault.wait_performed(1, Duration::from_secs(60)).await);
    daemon.signal("-TERM");
    until("the stop to begin", async || {
        daemon.events("shutdown_started") == 1
    })
    .await;
    fault.release();
    assert_eq!(daemon.exit_code(), Some(0));
    assert_eq!(daemon.events("rotation_succeeded"), 1);

    // It is left where it is when its time is over.
    let fault = held();
    let mut daemon = world.start("e2e");
    assert!(fault.wait_performed(1, Duration::from_secs(60)).await);
    let began = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(10),
        "{took:?}"
    );
    fault.drop_held();

    // A second signal does not wait.
    world.set("daemon.shutdown_timeout", "60s");
    let fault = held();
    let mut daemon = world.start("e2e");
    assert!(fault.wait_performed(1, Duration::from_secs(60)).await);
    daemon.signal("-TERM");
    until("the stop to begin", async || {
        daemon.events("shutdown_started") == 1
    })
    .await;
    let began = Instant::now();
    daemon.signal("-INT");
    assert_eq!(daemon.exit_code(), Some(1));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    fault.drop_held();
    world.assert_valid().await;

    world.set("defaults.schedule", "0 0 1 1 *");
    let _daemon = world.start("e2e");
    until("everything to be settled", async || world.is_quiet().await).await;
    world.assert_holds().await;
}

#[tokio::test]
async fn a_reload_changes_what_differs_and_the_log_level_too() {
    let mut world = World::new(2).await;
    world.set("log.level", "warn");
    let daemon = world.start("e2e");
    until("the secrets to be recorded", async || {
        !world.record(0).await["current"].is_null() && !world.record(1).await["current"].is_null()
    })
    .await;
    assert_eq!(daemon.lines().len(), 0, "{:?}", daemon.lines());
    // Without a level in the file it is RUST_LOG's: trace.
    let log = world.config.remove("log");
    assert!(log.is_some());
    // Only one of the two gets another schedule.
    let secrets = world.config["secret"].as_array_mut().expect("secrets");
    let first = secrets[0].as_table_mut().expect("a secret");
    first.insert("schedule".into(), "*/2 * * * * *".into());
    world.save();
    daemon.signal("-HUP");
    until("rotations", async || {
        daemon.events("rotation_succeeded") >= 2
    })
    .await;
    assert!(daemon.events("schedule_due") >= 2, "a debug line");
    assert_eq!(world.replaced(1).await, 0);
    world.set("log.level", "error");
    daemon.signal("-HUP");
    let rotated_more = async |more: usize| {
        let before = world.replaced(0).await;
        until("rotations", async || {
            world.replaced(0).await >= before + more
        })
        .await;
    };
    rotated_more(2).await;
    let before = daemon.lines().len();
    rotated_more(3).await;
    assert_eq!(daemon.lines().len(), before, "nothing is an error");
}

#[tokio::test]
async fn a_stuck_secret_is_tried_again_when_its_settings_change() {
    let mut world = World::new(1).await;
    world.set("daemon.sweep", "1h");
    let daemon = world.start("e2e");
    until("the secret to be recorded", async || {
        daemon.events("secret_adopted") == 1
    })
    .await;
    let id = world.current_id(0).await;
    assert!(world.dynatrace.disable(&id));
    let name = world.secrets[0].clone();
    assert_eq!(world.command(&["rotate", &name]).await.0, Some(1));
    world.set("defaults.grace", "3s");
    daemon.signal("-HUP");
    until("the daemon to know that it is stuck", async || {
        daemon.events("config_reloaded") == 1 && world.record(0).await["failure"]["count"] == 1
    })
    .await;
    assert!(world.dynatrace.enable(&id));
    // Nothing changed: nothing is tried.
    daemon.signal("-HUP");
    until("the second reload", async || {
        daemon.events("config_reloaded") == 2
    })
    .await;
    world.set("defaults.grace", "2s");
    daemon.signal("-HUP");
    until("another try", async || {
        daemon.events("rotation_succeeded") == 1
    })
    .await;
    let lines = daemon.lines();
    let success = lines
        .iter()
        .find(|line| line["event"] == "rotation_succeeded");
    assert_eq!(success.expect("a line")["trigger"], "retry");
    world.assert_valid().await;
}

#[tokio::test]
async fn clients_that_cannot_be_built_are_a_bad_configuration() {
    let mut world = World::new(1).await;
    let file = world.folder.path().join("ca.pem");
    std::fs::write(file, "no certificate").expect("a file");
    let mut good = world.start("e2e");
    until("it to be known", async || {
        good.events("secret_adopted") == 1
    })
    .await;
    world.set("dynatrace.prod.ca_file", "ca.pem");
    good.signal("-HUP");
    until("the refusal", async || good.events("config_rejected") == 1).await;
    good.kill();
    let mut daemon = world.start("e2e");
    assert_eq!(daemon.exit_code(), Some(78));
    let refused = daemon.lines();
    let refused = refused
        .iter()
        .find(|line| line["event"] == "config_rejected");
    let message = refused.expect("a line")["message"].to_string();
    assert!(message.contains("ca.pem"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_logs_in_again_gives_the_former_login_back() {
    let mut world = World::new(1).await;
    let root = &world.root;
    root.enable_approle().await;
    let role = root.approle_role("r", &["dtrotate"], "1h").await;
    let secret = root.approle_secret_id("r").await;
    for (name, text) in [("role", role), ("secret", secret)] {
        std::fs::write(world.folder.path().join(name), text).expect("a file");
    }
    let all = async |world: &World| {
        let path = "auth/token/accessors?list=true";
        let reply = world.root.ok(Method::GET, path, Value::Null).await;
        let keys = reply["data"]["keys"].as_array().expect("a list").clone();
        let keys = keys.iter().map(Value::to_string);
        keys.collect::<BTreeSet<String>>()
    };
    let auth = toml::toml! {
        method = "approle"
        role_id_file = "role"
        secret_id_file = "secret"
    };
    let before = all(&world).await;
    let vault = world.config["vault"].as_table_mut().expect("vault");
    vault.insert("auth".into(), auth.into());
    world.save();
    let mut daemon = world.start("e2e");
    until("it to be known", async || {
        daemon.events("secret_adopted") == 1
    })
    .await;
    let first = all(&world).await;
    assert_eq!(first.len(), before.len() + 1);
    world.set("vault.timeout", "7s");
    daemon.signal("-HUP");
    until("another login, and one only", async || {
        let now = all(&world).await;
        now.len() == first.len() && now != first
    })
    .await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    assert_eq!(all(&world).await, before, "all are given back");
}

#[tokio::test]
async fn k14_a_token_file_that_is_not_there_yet_is_waited_for() {
    let world = World::new(1).await;
    let file = world.folder.path().join("vault-token");
    let token = std::fs::read_to_string(&file).expect("the token");
    std::fs::remove_file(&file).expect("it is gone");
    let daemon = world.start("e2e");
    until("it to be waited for", async || {
        let lines = daemon.lines();
        lines.iter().any(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN"
                && message.contains("vault-token")
                && message.contains("waited for")
        })
    })
    .await;
    std::fs::write(&file, token).expect("the token");
    until("the start", async || daemon.events("secret_adopted") == 1).await;
    // A reload with a file that is not there is refused: what runs continues.
    std::fs::remove_file(&file).expect("it is gone");
    daemon.signal("-HUP");
    until("the refusal", async || {
        daemon.events("config_rejected") == 1
    })
    .await;
}
