//! A picture with everything in it, for the tests of this module.

use std::collections::BTreeMap;

use crate::labels::Labels;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::condition::Condition;
use super::page::Extras;
use super::rotations::{LAST, Rotation};
use super::secret::{Failure, Retiring, Secret, State, Token};
use super::status::{Daemon, Reload, Service, ServiceState, Status};
use super::upcoming::{Outlook, Upcoming, What};
use rotation::event::EventName;
use rotation::policy::Drift;
use rotation::record::RetiringState;
use rotation::token::TokenId;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

/// An id of the usual length.
fn id(start: &str) -> TokenId {
    TokenId::new(format!("dt0c01.{start:A<24}"))
}

fn secret(name: &str, state: State) -> Secret {
    Secret {
        name: name.to_owned(),
        environment: "prod".to_owned(),
        labels: Labels::default(),
        place: format!("secret/{name}#token"),
        state,
        current: Some(Token {
            id: id(&state.as_str().to_uppercase().replace('_', "")),
            created: Some(now() - HOUR * 50),
            expires: Some(now() + HOUR * 2000),
            unproven: false,
        }),
        drift: None,
        last_success: Some(now() - HOUR * 50),
        next: Some(now() + HOUR * 4),
        because: "next by schedule `0 14 * * *` UTC".to_owned(),
        next_try: None,
        zone: Some("UTC".to_owned()),
        retiring: Vec::new(),
        failure: None,
        invalid: None,
        holder: None,
        as_of: Some(now() - HOUR / 12),
        settings: Some(7),
        paused: None,
    }
}

fn failure(reason: &str, message: &str, retry_at: Option<Timestamp>) -> Option<Failure> {
    Some(Failure {
        reason: reason.to_owned(),
        message: message.to_owned(),
        since: now() - HOUR * 3,
        count: 3,
        retry_at,
    })
}

/// One secret in every state but unreadable, and one condition that concerns no secret.
pub fn status() -> Status {
    let mut healthy = secret("dynatrace/healthy", State::Healthy);
    let labels = [("team", "checkout"), ("contact", "#on<call>")];
    healthy.labels = Labels::from_iter(labels);
    healthy.retiring.push(Retiring {
        id: id("OLD"),
        state: RetiringState::Grace,
        due: now() + HOUR,
        cannot_be_disabled: false,
        held_since: Some(now() - HOUR * 2),
        used_from: Some("192.0.2.7".to_owned()),
        problems: vec![],
    });
    healthy.drift = Some(Drift {
        missing: vec!["logs.ingest".to_owned()],
        ..Drift::default()
    });
    let mut stuck = secret("dynatrace/stuck", State::Stuck);
    stuck.failure = failure(
        "token_disabled",
        "the token dt0c01.STUCKAAAAAAAAAAAAAAAAAAA was disabled by a person <b>&\"; enable it, or put another value into the secret",
        None,
    );
    let mut failing = secret("dynatrace/failing", State::Retrying);
    failing.failure = failure(
        "unavailable",
        "Dynatrace answered 503",
        Some(now() + HOUR / 6),
    );
    failing.next = failing
        .failure
        .as_ref()
        .and_then(|failure| failure.retry_at);
    failing.because = "retried after a failure".to_owned();
    let mut off = secret(
        "a/switched-off-secret-whose-name-is-longer-than-its-column",
        State::SwitchedOff,
    );
    off.next = None;
    off.because = "switched off (`enabled = false`)".to_owned();
    let mut unseen = secret("dynatrace/unseen", State::NeverSeen);
    unseen.current = None;
    unseen.last_success = None;
    let removed = secret("dynatrace/removed", State::Removed);
    let skew = "the clock of Vault is 400 s ahead of this machine's";
    let skew = Condition::new(EventName::ClockSkew, skew, now() - HOUR);
    let failure_of = |secret: &Secret| secret.failure.clone().unwrap();
    let (why, waits) = (failure_of(&stuck), failure_of(&failing));
    let conditions = vec![
        skew,
        Condition::new(EventName::RotationStuck, why.message, why.since)
            .reason(&why.reason)
            .secret(&stuck.name, "prod"),
        Condition::new(EventName::RotationFailed, waits.message, waits.since)
            .reason(&waits.reason)
            .secret(&failing.name, "prod")
            .warning(),
    ];
    let service = |environment: Option<&str>, state| Service {
        environment: environment.map(str::to_owned),
        state,
        message: (state == ServiceState::Down).then(|| "connection refused".to_owned()),
        since: (state == ServiceState::Down).then(|| now() - HOUR),
    };
    let daemon = Daemon {
        version: "0.2.0".to_owned(),
        instance: "web-1/daemon".to_owned(),
        started: now() - HOUR * 100,
        ready: true,
        readiness: "ready".to_owned(),
        reload: Reload {
            at: now() - HOUR,
            ok: false,
            in_force_since: now() - HOUR * 100,
        },
        journal: Some(super::status::JournalPlace {
            vault: vec!["https://vault.example.com:8200".to_owned()],
            namespace: None,
            mount: "secret".to_owned(),
            path: "dtrotate/journal".to_owned(),
        }),
    };
    Status {
        daemon: Some(daemon),
        services: vec![
            service(None, ServiceState::Up),
            service(Some("prod"), ServiceState::Down),
        ],
        ..Status::new(now())
    }
    .with(
        conditions,
        vec![off, failing, healthy, removed, stuck, unseen],
    )
}

/// So many secrets, one of them stuck, or all.
pub fn many(number: usize, is_healthy: bool) -> Status {
    let mut secrets = vec![];
    let mut conditions = vec![];
    for n in 0..number {
        let stuck = !is_healthy || n + 1 == number;
        let state = match stuck {
            true => State::Stuck,
            false => State::Healthy,
        };
        let mut one = secret(&format!("dynatrace/service-{n:05}"), state);
        one.environment = ["prod", "staging"][n % 2].to_owned();
        if stuck {
            let why = "the token dt0c01.STUCKAAAAAAAAAAAAAAAAAAA was disabled by a person; enable it, or put another value into the secret";
            one.failure = failure("token_disabled", why, None);
            let condition = Condition::new(EventName::RotationStuck, why, now() - HOUR);
            conditions.push(
                condition
                    .reason("token_disabled")
                    .secret(&one.name, &one.environment),
            );
        }
        secrets.push(one);
    }
    Status {
        daemon: status().daemon,
        services: status().services,
        ..Status::new(now())
    }
    .with(conditions, secrets)
}

/// So many secrets: two are stuck, and the consumers of each other one were cut off, while it rotates well.
pub fn cut_off(number: usize) -> Status {
    let mut status = many(number, false);
    for secret in status.secrets.iter_mut().skip(2) {
        secret.state = State::Healthy;
        secret.failure = None;
    }
    let why = "dt0c01.OLDAAAAAAAAAAAAAAAAAAAAA was deleted at max_grace while it was used";
    let conditions = status.conditions.iter().enumerate();
    let conditions = conditions.map(|(at, one)| match at {
        0 | 1 => one.clone(),
        _ => Condition::new(EventName::ConsumerCutOff, why, one.since).secret(
            one.secret.as_deref().unwrap_or_default(),
            one.environment.as_deref().unwrap_or_default(),
        ),
    });
    let conditions = conditions.collect();
    status.clone().with(conditions, status.secrets)
}

/// The next day of these secrets: each is rotated, and old tokens are disabled.
pub fn outlook(secrets: &[Secret]) -> Outlook {
    let mut outlook = Outlook::default();
    for secret in secrets {
        let event = |at, event, token| Upcoming {
            at,
            event,
            secret: Some(secret.name.clone()),
            environment: secret.environment.clone(),
            token,
            because: secret.because.clone(),
        };
        let next = secret.next.map(|at| event(at, What::Rotate, None));
        let retiring = secret.retiring.iter();
        let retiring = retiring.map(|old| event(old.due, What::Disable, Some(old.id.clone())));
        outlook.add(next.into_iter().chain(retiring).collect(), now());
    }
    outlook.finish();
    outlook
}

/// Twelve rotations of each of these secrets, of which two failed first; those that fail now have one more.
pub fn rotations(secrets: &[Secret]) -> BTreeMap<String, Vec<Rotation>> {
    let all = secrets.iter().map(|secret| {
        let at = |n: i32| now() - HOUR * 24 * (LAST as i32 - n);
        let mut all: Vec<Rotation> = (0..LAST as i32)
            .map(|n| Rotation {
                at: at(n),
                failed: if n == 4 { 2 } else { 0 },
                succeeded: true,
            })
            .collect();
        if secret.failure.is_some() {
            all[LAST - 1].failed = 3;
            all[LAST - 1].succeeded = false;
        }
        (secret.name.clone(), all)
    });
    all.collect()
}

/// What the page shows beside the first page of this.
pub fn extras(status: &Status) -> Extras {
    let first = super::view::Query::default().of(status);
    Extras {
        outlook: outlook(&status.secrets),
        rotations: rotations(&first.secrets),
    }
}

/// The same with hazards and a secret in every text that comes from outside.
pub fn hostile() -> Status {
    const HOSTILE: &str =
        "\u{1b}[2J\u{7}\u{9b}\0\u{202e}\u{2028} dt0c01.A.CANARY hvs.CANARYCANARY \nforged line";
    fn spoil(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(spoil),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if FROM_OUTSIDE.contains(&name.as_str()) => {
                            text.push_str(HOSTILE);
                        }
                        other => spoil(other),
                    }
                }
            }
            _ => {}
        }
    }
    const FROM_OUTSIDE: [&str; 15] = [
        "name",
        "environment",
        "place",
        "id",
        "because",
        "message",
        "reason",
        "event",
        "kind",
        "subject",
        "secret",
        "instance",
        "readiness",
        "used_from",
        "holder",
    ];
    let mut value = serde_json::to_value(status()).unwrap();
    spoil(&mut value);
    let mut status: Status = serde_json::from_value(value).unwrap();
    for secret in &mut status.secrets {
        secret.holder = Some(HOSTILE.to_owned());
    }
    status
}
