//! What sets dtrotate apart, shown within twenty seconds: a kill in the middle of a rotation, a consumer that still uses an old token, and a
//! person who puts another token into Vault.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use simulator::{Action, Dynatrace, Kv, Operation, Rule, Seed};

use super::daemon::Daemon;
use super::event::short;
use crate::cli::output;
use crate::clock;

/// The secret whose rotation is interrupted, and that a person changes.
pub(super) const KILLED: &str = "dynatrace/automation";
/// The secret whose old token is still used.
pub(super) const USED: &str = "dynatrace/log-shipper";
/// The address from which it is used.
const CONSUMER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
/// The time between two calls of the consumer.
const BETWEEN_CALLS: Duration = Duration::from_millis(500);
/// A rotation begins within this.
const SOON: Duration = Duration::from_secs(60);

/// Starts the daemon and plays the tour.
///
/// # Errors
/// The daemon cannot be started, or an expected event does not arrive.
pub(super) fn tour(daemon: &Daemon, dynatrace: &Dynatrace, kv: &Kv) -> io::Result<()> {
    let minted = dynatrace.fault(
        Rule::on(Operation::CreateToken)
            .about(KILLED)
            .then(Action::HoldAnswer),
    );
    daemon.start()?;
    daemon.wait(|event| event.event == "daemon_ready")?;
    say("1. A kill in the middle of a rotation")?;
    let before = dynatrace.tokens();
    if !minted.wait_held_blocking(1, SOON) {
        return Err(io::Error::other("no rotation has begun"));
    }
    daemon.kill()?;
    minted.drop_held();
    // Another secret's rotation may have been killed as well.
    let orphan = dynatrace.tokens().into_iter().find(|token| {
        token.name.starts_with(KILLED) && before.iter().all(|known| known.id != token.id)
    });
    let orphan = orphan
        .ok_or_else(|| io::Error::other("no token was minted"))?
        .id;
    say(&format!(
        "   killed (SIGKILL) when Dynatrace had created {}: nobody knows its value. Restarting.",
        short(Some(&orphan))
    ))?;
    daemon.start()?;
    daemon.wait(|event| {
        event.event == "rotation_succeeded" && event.secret.as_deref() == Some(KILLED)
    })?;
    while dynatrace.token(&orphan).is_some() {
        daemon.wait(|_| true)?;
    }
    say(&format!(
        "   {} is gone, and the rotation is done.",
        short(Some(&orphan))
    ))?;

    say("2. A consumer that still uses the old token")?;
    let rotated = daemon.wait(|event| {
        event.event == "rotation_succeeded" && event.secret.as_deref() == Some(USED)
    })?;
    let old = rotated.old_token_id.unwrap_or_default();
    let consumer = Consumer::start(dynatrace.clone(), old.clone());
    say("3. Meanwhile a person puts another token into Vault")?;
    let own = dynatrace.seed(Seed::new("made by hand").scopes(&["metrics.read"]));
    kv.put("secret", KILLED, serde_json::json!({ "token": own.value }));
    daemon.wait(|event| event.event == "retirement_held")?;
    say(&format!(
        "   {CONSUMER} still uses {}: it stays enabled, up to `max_grace`.",
        short(Some(&old))
    ))?;
    consumer.stop();
    say("That was the tour. The daemon continues until Ctrl-C.")
}

/// A consumer that uses a token until it is stopped.
struct Consumer(Arc<AtomicBool>);

impl Consumer {
    fn start(dynatrace: Dynatrace, token: String) -> Consumer {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = stopped.clone();
        thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                dynatrace.touch(&token, CONSUMER, clock::now());
                thread::sleep(BETWEEN_CALLS);
            }
        });
        Consumer(stopped)
    }

    fn stop(self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn say(text: &str) -> io::Result<()> {
    output::print(&format!("\n{text}\n"))
}
