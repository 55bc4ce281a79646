//! Builders of plans, tokens, entries, documents and requests. Grace is 100 s, `max_grace` 1000 s, quarantine 200 s, `settle` 10 s.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use rotation::capabilities::Capabilities;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::marker::{Epoch, Marker, NameDigest};
use rotation::plan::{
    AtMaxGrace, Desired, Kind, Lifetime, Place, Plan, StillUsed, Terms, Verification,
};
use rotation::record::{
    Attempt, Begin, Claim, Current, Failure, Origin, Reason, Record, Retiring, RetiringState,
    Trigger, Work,
};
use rotation::request::{
    Clock, Goal, Hints, Holder, Known, Now, RotationRequest, RunEnv, RunRequest,
};
use rotation::retiring::Usage;
use rotation::token::{TokenId, TokenInfo, Traits};

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub fn now_at(seconds: i64) -> Now {
    Now {
        wall: at(seconds),
        mono: Duration::from_secs(100_000 + seconds.unsigned_abs()),
        dice: 0,
    }
}

pub fn id(text: &str) -> TokenId {
    TokenId::new(format!("dt0c01.{text}"))
}

/// The value of the token `text`.
pub fn value(text: &str) -> String {
    format!("dt0c01.{text}.SECRET")
}

pub fn epoch() -> Epoch {
    Epoch {
        installation: "inst".into(),
        secret: "sec".into(),
    }
}

/// `BASE [dtrotate:inst.sec.N]`
pub fn marked(base: &str, n: u64) -> String {
    let epoch = epoch();
    Marker { epoch, attempt: n }.name(base, 100)
}

pub fn plan() -> Plan {
    let terms = Terms {
        grace: Duration::from_secs(100),
        max_grace: Duration::from_secs(1000),
        quarantine: Duration::from_secs(200),
        still_used: StillUsed::Warn,
        lifetime: Lifetime::Never,
        settle: Duration::from_secs(10),
        claim_timeout: Duration::from_secs(60),
        desired: Desired::default(),
        manages_tokens: false,
        verify: Verification::Auto,
        at_max_grace: AtMaxGrace::Delete,
        announces: false,
        service: "prod".into(),
    };
    let coordinates = Place {
        mount: "secret".into(),
        fields: vec!["token".into()],
        environment: "prod".into(),
        base_url: "https://e".into(),
        kind: Kind::Api,
    }
    .at("a");
    Plan {
        name: "a".into(),
        coordinates,
        terms: Arc::new(terms),
    }
}

/// The same plan with something else in it.
pub fn plan_with(change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = plan();
    change(&mut plan);
    plan
}

/// A token that a person made.
pub fn plain(text: &str, name: &str) -> TokenInfo {
    TokenInfo {
        id: id(text),
        name: name.into(),
        enabled: true,
        scopes: vec!["metrics.read".into()],
        owner: None,
        personal: false,
        created: Some(at(-1000)),
        expires: None,
        last_used: None,
        last_used_ip: None,
        traits: Traits::default(),
    }
}

/// A token that attempt `n` minted.
pub fn minted(text: &str, n: u64) -> TokenInfo {
    plain(text, &marked("job", n))
}

/// The entry of a token that was put into `retiring` at `since` with its marked name.
pub fn retiring(token: &TokenInfo, state: RetiringState, since: i64, due: i64) -> Retiring {
    Retiring {
        id: token.id.clone(),
        state,
        base: 1,
        clean_through: 0,
        since: at(since),
        due: at(due),
        disable_unconfirmed_since: None,
        origin: Origin::Marker,
        digest: Marker::of(&token.name, &epoch()).map(|_| NameDigest::of(&token.name)),
        base_url: "https://e".into(),
        usage: Usage::default(),
        outage_counted_until: None,
        missed: None,
        backstop: None,
        named: false,
        failure: None,
        undone: false,
        revoked: None,
        unknown: Default::default(),
    }
}

/// The document of a secret whose current token CUR was stored as version 2 by attempt 3.
pub fn record() -> Record {
    let mut record = Record::blank("a", epoch(), plan().coordinates, at(-1000));
    record.attempts.attempt = 3;
    record
        .attempts
        .ledger
        .close(3, NameDigest::of(&marked("job", 3)));
    record.current = Some(Current::new(&minted("CUR", 3), 2, &epoch()));
    record.last_due = Some(at(-500));
    record
}

/// A claim of a dead process that was minting attempt `n` against `base`.
pub fn abandoned_rotation(n: u64, base: u64) -> Claim {
    Claim {
        work: Work::Rotate {
            due: Some(at(-1)),
            trigger: Trigger::Schedule,
            attempt: Some(Attempt {
                n,
                base,
                old: Some(id("CUR")),
                digest: Some(NameDigest::of(&marked("job", n))),
                begin: Begin::default(),
            }),
        },
        holder: "i".into(),
        boot: "dead".into(),
        nonce: "other".into(),
        since: at(-1),
        renewed: 0,
    }
}

pub fn stuck(reason: Reason) -> Failure {
    Failure {
        reason,
        message: "a sentence".into(),
        since: at(-50),
        at: at(-50),
        count: 1,
        retry_at: None,
    }
}

pub fn by_schedule(due: i64) -> Goal {
    Goal::Rotate(RotationRequest {
        due: Some(at(due)),
        trigger: Trigger::Schedule,
        accept_recorded_rights: false,
    })
}

pub fn by_command() -> Goal {
    Goal::Rotate(RotationRequest {
        due: None,
        trigger: Trigger::Command,
        accept_recorded_rights: false,
    })
}

/// A request of a daemon that knows nothing yet.
pub fn request(goal: Goal) -> RunRequest {
    RunRequest {
        plan: Arc::new(plan()),
        holder: Holder {
            user: None,
            instance: "i".into(),
            boot: "b".into(),
            began: at(0),
            is_daemon: true,
            is_pass: false,
        },
        id: "run".into(),
        goal,
        dry_run: false,
        hints: Hints::default(),
        env: RunEnv {
            fresh_epoch: Epoch {
                secret: "fresh".into(),
                ..epoch()
            },
            capabilities: Capabilities::API,
            history: true,
            enabled: true,
            clock: Clock::Agrees,
            blackout_until: None,
            may_retire: true,
            current_tokens: Arc::default(),
            management_tokens: Arc::default(),
            epochs: Some(Arc::default()),
            outage: None,
        },
        known: Known::default(),
    }
}

pub fn settle() -> RunRequest {
    request(Goal::Settle)
}

pub fn dynatrace(kind: ErrorKind) -> CallError {
    CallError::new(Service::Dynatrace, kind, "as the test has it")
}

pub fn vault(kind: ErrorKind) -> CallError {
    CallError::new(Service::Vault, kind, "as the test has it")
}
