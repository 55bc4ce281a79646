//! The status page of many kinds of days, served by the real listener: no violation of axe-core, nothing to scroll sideways, a small answer, and a
//! picture of each to look at.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dtrotate::ops::client::ask;
use dtrotate::ops::counters::Counters;
use dtrotate::ops::listener::{Details, Listener};
use dtrotate::ops::rotations::Rotation;
use dtrotate::ops::secret::Secret;
use dtrotate::ops::status::{JournalPlace, Status};
use dtrotate::ops::upcoming::{Outlook, Upcoming, What};
use dtrotate::ops::{Recheck, Source};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use rotation::event::EventName;
use serde_json::{Value, json};

use crate::browser::Browser;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A day: how many secrets there are, and how those are that are not healthy.
struct Day {
    name: &'static str,
    secrets: usize,
    /// The first so many are not healthy.
    ill: usize,
    state: &'static str,
    vault_is_up: bool,
}

const DAYS: [Day; 9] = [
    Day::healthy("none", 0),
    Day::healthy("five", 5),
    Day::healthy("forty", 40),
    Day::healthy("ten-thousand", 10_000),
    Day::ill("stuck", 40, 1, "stuck"),
    Day::ill("all-stuck", 40, 40, "stuck"),
    Day::ill("cut-off", 5, 2, "cut_off"),
    Day::ill("paused", 5, 3, "paused"),
    Day {
        vault_is_up: false,
        ..Day::ill("waiting", 40, 40, "waiting")
    },
];

/// The day of the pictures in README.md, which `scripts/pictures` takes.
const README: &str = "stuck";

impl Day {
    const fn healthy(name: &'static str, secrets: usize) -> Day {
        Day::ill(name, secrets, 0, "healthy")
    }

    const fn ill(name: &'static str, secrets: usize, ill: usize, state: &'static str) -> Day {
        Day {
            name,
            secrets,
            ill,
            state,
            vault_is_up: true,
        }
    }

    fn status(&self) -> Status {
        let now: Timestamp = "2026-11-25T10:00:00Z".parse().expect("a time");
        let secrets = (0..self.secrets).map(|n| self.secret(n, now));
        let secrets: Vec<Value> = secrets.collect();
        let conditions: Vec<Value> = secrets
            .iter()
            .take(self.ill)
            .filter_map(|secret| self.condition(secret, now))
            .chain((!self.vault_is_up).then(|| sealed(now)))
            .collect();
        let (state, message, since) = match self.vault_is_up {
            true => ("up", None, None),
            false => ("down", Some(SEALED), Some(now - HOUR / 2)),
        };
        let status = json!({
            "schema": 1, "at": now, "troubles": [], "secrets": [],
            "daemon": {
                "version": "0.2.0", "instance": "rotator-0", "started": now - HOUR * 400, "ready": self.vault_is_up,
                "readiness": if self.vault_is_up { "ready" } else { "waiting for Vault: sealed" },
                "reload": { "at": now - HOUR * 30, "ok": true, "in_force_since": now - HOUR * 30 },
            },
            "services": [
                { "environment": null, "state": state, "message": message, "since": since },
                { "environment": "prod", "state": "up", "message": null, "since": null },
                { "environment": "staging", "state": "up", "message": null, "since": null },
            ],
        });
        let status: Status = serde_json::from_value(status).expect("a status");
        let read = |value: Vec<Value>| Value::Array(value);
        status.with(
            serde_json::from_value(read(conditions)).expect("conditions"),
            serde_json::from_value(read(secrets)).expect("secrets"),
        )
    }

    fn secret(&self, n: usize, now: Timestamp) -> Value {
        const SERVICES: [&str; 6] = [
            "checkout/ingest",
            "otel-exporter",
            "ci-metrics",
            "billing/events",
            "edge/loadtest",
            "sre/dashboards",
        ];
        let hours = |n: usize| HOUR * i32::try_from(n).expect("few");
        let is_ill = n < self.ill;
        let name = match n {
            0..6 => format!("dynatrace/{}", SERVICES[n]),
            _ => format!("dynatrace/team-{:02}/service-{n:05}", n % 23),
        };
        let retiring = match (is_ill, self.state, n % 4) {
            (true, "cut_off", _) => json!([old(n, "quarantine", now + HOUR * 100, None)]),
            (_, _, 1) => json!([old(n, "grace", now + hours(1 + n % 30), None)]),
            (_, _, 2) if n % 8 == 2 => {
                json!([old(n, "grace", now + hours(5), Some(now - HOUR * 3))])
            }
            _ => json!([]),
        };
        let state = match (is_ill, self.state) {
            (true, "cut_off") | (false, _) => "healthy",
            (true, other) => other,
        };
        let paused = (is_ill && self.state == "paused").then(|| {
            json!({ "by": "alice", "reason": "change freeze", "since": now - HOUR, "until": now + HOUR * 9 })
        });
        let failure = (is_ill && self.state == "stuck").then(|| {
            json!({ "reason": "token_disabled", "message": DISABLED, "since": now - HOUR * 3, "count": 3, "retry_at": null })
        });
        let next = (paused.is_none() && failure.is_none()).then(|| now + hours(1 + n * 7 % 167));
        let environment = ["prod", "staging"][n % 2];
        json!({
            "name": name, "environment": environment, "labels": { "team": "checkout" },
            "place": format!("secret/{name}#token"), "state": state,
            "current": { "id": id("NEW", n), "created": now - hours(20 + n % 100), "expires": now + HOUR * 2000 },
            "last_success": now - hours(20 + n % 100), "next": next, "because": "next by schedule `0 14 * * TUE` Europe/Vienna",
            "zone": "Europe/Vienna", "retiring": retiring, "failure": failure, "invalid": null, "holder": null, "paused": paused,
            "as_of": now,
        })
    }

    fn condition(&self, secret: &Value, now: Timestamp) -> Option<Value> {
        let about = |kind: &str,
                     message: &str,
                     reason: Option<&str>,
                     runbook: &str,
                     event: EventName| {
            json!({
                "kind": kind, "reason": reason, "severity": "error", "secret": secret["name"], "environment": secret["environment"],
                "subject": null, "since": now - HOUR * 3, "attempts": reason.map(|_| 3), "next_try": null, "error": null,
                "message": message, "what_to_do": event.what_to_do_for(secret["name"].as_str().unwrap_or_default()), "runbook": runbook,
            })
        };
        match self.state {
            "stuck" => Some(about(
                "rotation_stuck",
                DISABLED,
                Some("token_disabled"),
                "runbooks/stuck-token-disabled.md",
                EventName::RotationStuck,
            )),
            "cut_off" => Some(about(
                "consumer_cut_off",
                "dt0c01.OLD00000AAAAAAAAAAAAAAAA was disabled although 192.0.2.7 still used it 2h before; it can be enabled again until 2026-11-29T14:00:00Z",
                None,
                "runbooks/DtrotateTokenStillUsed.md",
                EventName::ConsumerCutOff,
            )),
            _ => None,
        }
    }
}

const DISABLED: &str = "the token dt0c01.NEW00000AAAAAAAAAAAAAAAA was disabled by a person at Dynatrace; enable it, or put another value into the secret";
const SEALED: &str = "https://vault.example.com:8200: 503: Vault is sealed";

fn sealed(now: Timestamp) -> Value {
    json!({
        "kind": "vault_unavailable", "reason": null, "severity": "error", "secret": null, "environment": null, "subject": null,
        "since": now - HOUR / 2, "attempts": 42, "next_try": now + SignedDuration::from_secs(20), "error": SEALED, "message": SEALED,
        "what_to_do": "Check Vault: is it sealed, unreachable, or does it refuse the token? It recovers automatically when the cause is resolved.",
        "runbook": "runbooks/DtrotateVaultUnavailable.md",
    })
}

fn id(start: &str, n: usize) -> String {
    let public = format!("{start}{n:05}");
    format!("dt0c01.{public:A<24}")
}

fn old(n: usize, state: &str, due: Timestamp, held: Option<Timestamp>) -> Value {
    let from = held.map(|_| "192.0.2.7");
    json!({ "id": id("OLD", n), "state": state, "due": due, "held_since": held, "used_from": from, "problems": [] })
}

impl Source for Day {
    fn status(&self) -> Status {
        Day::status(self)
    }
    fn journal(&self) -> JournalPlace {
        JournalPlace {
            vault: vec![],
            namespace: None,
            mount: "secret".to_owned(),
            path: "dtrotate".to_owned(),
        }
    }
    fn readiness(&self) -> Result<String, String> {
        Ok("ready".to_owned())
    }
    fn idle(&self) -> Duration {
        Duration::ZERO
    }
    fn counters(&self) -> &Counters {
        unreachable!("nobody asks for metrics")
    }
    fn log_lines_dropped(&self) -> u64 {
        0
    }
    fn outlook(&self, secrets: &[Secret]) -> Outlook {
        let now = self.status().at;
        let mut outlook = Outlook::default();
        for secret in secrets {
            let at = |at: Timestamp, event| Upcoming {
                at,
                event,
                secret: Some(secret.name.clone()),
                environment: secret.environment.clone(),
                token: None,
                because: String::new(),
            };
            let next = secret.next.map(|next| at(next, What::Rotate));
            let due = secret.retiring.iter().map(|old| at(old.due, What::Disable));
            let resumed = secret.paused.iter().filter_map(|pause| pause.until);
            let all = next.into_iter().chain(due);
            let all = all.chain(resumed.map(|until| at(until, What::Resume)));
            let all = all.filter(|one| one.at < now + HOUR * 24);
            outlook.add(all.collect(), now);
        }
        outlook.finish();
        outlook
    }
    fn rotations(&self, secrets: &[Secret]) -> BoxFuture<'static, BTreeMap<String, Vec<Rotation>>> {
        let strip = |secret: &Secret| {
            let number = secret.name.len();
            let last = secret.last_success.expect("a rotation");
            let mut all: Vec<Rotation> = (0..12)
                .map(|n| Rotation {
                    at: last - HOUR * 168 * (11 - n),
                    failed: u32::from(n as usize == number % 17),
                    succeeded: true,
                })
                .collect();
            if let Some(failure) = &secret.failure {
                all.push(Rotation {
                    at: failure.since,
                    failed: failure.count,
                    succeeded: false,
                });
            }
            (secret.name.clone(), all)
        };
        let all: BTreeMap<_, _> = secrets.iter().map(strip).collect();
        Box::pin(async move { all })
    }
    fn recheck(&self, _: &str) -> BoxFuture<'static, Recheck> {
        Box::pin(async { Recheck::Unknown })
    }
}

/// What axe-core objects to, one line for each rule.
fn violations(browser: &mut Browser, axe: &str) -> Value {
    browser.evaluate(axe);
    browser.evaluate(
        "axe.run().then(found => found.passes.length < 10 ? ['hardly a rule applied'] : found.violations.map(one => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map(node => node.html).join(' | ')}`))",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_day_is_readable_for_everybody() {
    let axe = fs::read_to_string(crate::program("AXE")).expect("axe-core");
    // Its value would be the whole library.
    let axe = axe + "\n;axe.version";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("status-page");
    fs::create_dir_all(&folder).expect("a folder");
    let mut browser = Browser::start();
    let mut problems = vec![];
    for day in DAYS {
        let name = day.name;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, Details::Loopback, Arc::new(day)).expect("a port");
        let url = format!("http://{}/?refresh=off", listener.address());
        let html = ask(listener.address(), "/").await.expect("the page").text;
        assert!(html.len() < 200_000, "{name}: {} bytes", html.len());
        for (device, width, height) in [("phone", 360, 740), ("desk", 1120, 960)] {
            for scheme in ["light", "dark"] {
                browser.open(&url, width, height, scheme);
                let file = folder.join(format!("{name}-{device}-{scheme}.png"));
                fs::write(file, browser.screenshot()).expect("a picture");
                if (name, device) == (README, "desk") {
                    let file = folder.join(format!("readme-{scheme}.png"));
                    fs::write(file, browser.window()).expect("a picture");
                }
                let wide = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
                if wide.as_i64() > Some(0) {
                    problems.push(format!("{name} {device}: {wide} pixels too wide"));
                }
                browser.evaluate(
                    "[...document.querySelectorAll('details')].slice(0, 8).forEach(one => one.open = true)",
                );
                let found = violations(&mut browser, &axe);
                for one in found.as_array().expect("a list") {
                    problems.push(format!("{name} {device} {scheme}: {one}"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
