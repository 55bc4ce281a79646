use std::sync::Arc;
use std::time::Duration;

use super::super::facts::{Errand, Holder, Holds, Known, Listing, Outage, Outcome};
use super::super::plan::StillUsed;
use super::super::record::{Attempt, Claim, Current, Failure, Proof, Retiring, SCHEMA, Work};
use super::super::token::{Abilities, Epoch, TokenId};
use super::*;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub(crate) fn moment(seconds: i64) -> Now {
    Now {
        wall: at(seconds),
        mono: Duration::from_secs(seconds.unsigned_abs()),
        dice: 0,
    }
}

pub(crate) fn id(text: &str) -> TokenId {
    TokenId::new(format!("dt0c01.{text}"))
}

pub(crate) fn epoch() -> Epoch {
    Epoch {
        installation: "inst".into(),
        secret: "sec".into(),
    }
}

pub(crate) fn plan() -> Plan {
    Plan {
        name: "a".into(),
        coordinates: Coordinates {
            mount: "secret".into(),
            path: "a".into(),
            fields: vec!["token".into()],
            environment: "prod".into(),
            base_url: "https://e".into(),
            kind: super::super::plan::Kind::Api,
        },
        grace: Duration::from_secs(100),
        max_grace: Duration::from_secs(1000),
        quarantine: Duration::from_secs(200),
        still_used: StillUsed::Warn,
        lifetime: Lifetime::Never,
        settle: Duration::from_secs(10),
        claim_timeout: Duration::from_secs(60),
        manages_tokens: false,
    }
}

pub(crate) fn info(text: &str) -> TokenInfo {
    TokenInfo {
        id: id(text),
        name: "job [dtrotate:inst.sec.1]".into(),
        enabled: true,
        scopes: vec!["metrics.read".into()],
        owner: None,
        personal: false,
        created: Some(at(-1000)),
        expires: None,
        last_used: None,
        last_used_ip: None,
    }
}

pub(crate) fn retiring(text: &str, state: RetiringState, since: i64, due: i64) -> Retiring {
    Retiring {
        id: id(text),
        state,
        base: 1,
        since: at(since),
        due: at(due),
        tainted: None,
        proof: Proof::Marker,
        base_url: "https://e".into(),
        held_since: None,
        used_from: None,
        extended_to: None,
        unknown: Default::default(),
    }
}

pub(crate) fn record() -> Record {
    Record {
        schema: SCHEMA,
        write_id: String::new(),
        name: "a".into(),
        epoch: epoch(),
        coordinates: plan().coordinates,
        adopted_at: at(-1000),
        attempt: 3,
        current: Some(Current::new(&info("CUR"), 2, &epoch())),
        last_due: Some(at(-500)),
        claim: None,
        open: vec![],
        retiring: vec![],
        last_success: None,
        failure: None,
        hold_until: None,
        invalid: None,
        terms: None,
        closed_at: None,
        renamed_to: None,
        events: Default::default(),
        unknown: Default::default(),
    }
}

pub(crate) fn errand(record: Record) -> Errand {
    Errand {
        plan: Arc::new(plan()),
        holder: Holder {
            instance: "i".into(),
            boot: "b".into(),
            resumes: true,
        },
        id: "run".into(),
        fresh_epoch: epoch(),
        abilities: Abilities {
            disable: true,
            look_up_by_value: true,
            last_used: true,
        },
        history: true,
        wish: None,
        undo: false,
        dry: false,
        clock_ok: true,
        holders: Arc::default(),
        journal: Some(Known {
            cas: 7,
            record: Some(Box::new(record)),
        }),
        watch: None,
        listing: None,
        leaving: false,
        glance: false,
        doubt: false,
        outage: None,
    }
}

/// Carries a run out: journal writes succeed, the secret holds `holds` in version 2, and a look-up of it finds `found`. The document at the
/// end, the verdict, the reports, and the commands that have an effect outside.
fn carry_out(
    errand: Errand,
    holds: &str,
    found: Option<TokenInfo>,
    seconds: i64,
) -> (Record, Verdict, Vec<Report>, Vec<Command>) {
    let mut run = Run::new(errand);
    let (mut reports, mut effects) = (vec![], vec![]);
    for _ in 0..50 {
        let command = run.step(moment(seconds));
        let outcome = match &command {
            Command::Finish(verdict) => {
                reports.extend(run.take_reports());
                let record = run.journal().unwrap().record.clone().unwrap();
                return (*record, verdict.clone(), reports, effects);
            }
            Command::WriteJournal { cas, .. } => Outcome::Wrote(Ok(cas + 1)),
            Command::ReadJournal => Outcome::Journal(Ok(Ok(run.journal().unwrap().clone()))),
            Command::ReadSecret => Outcome::Secret(Ok(Seen::Present {
                version: 2,
                holds: Some(Holds {
                    id: Some(id(holds)),
                    mark: 1,
                }),
            })),
            Command::LookUpValue => Outcome::Info(found.clone().ok_or_else(gone)),
            Command::Witness => Outcome::Done(Ok(())),
            Command::List => Outcome::Listed(Ok(Listing {
                at: at(seconds),
                tokens: Arc::default(),
            })),
            other => {
                effects.push(other.clone());
                reports.extend(run.take_reports());
                let record = run.journal().unwrap().record.clone().unwrap();
                let verdict = Verdict::Would("stopped before an effect".into());
                return (*record, verdict, reports, effects);
            }
        };
        run.fold(&command, outcome, moment(seconds));
    }
    panic!("it does not come to an end");
}

fn gone() -> super::super::error::CallError {
    use super::super::error::{CallError, ErrorKind, Service};
    CallError::new(Service::Dynatrace, ErrorKind::Gone, "404")
}

fn dues(record: &Record) -> Vec<Timestamp> {
    record.retiring.iter().map(|entry| entry.due).collect()
}

#[test]
fn p3_an_outage_lengthens_the_graces_that_ran_in_it_and_counts_once() {
    use RetiringState::{Grace, Quarantine};
    let mut before = record();
    before.retiring = vec![
        retiring("RAN", Grace, 0, 100),
        retiring("BEGAN", Grace, 60, 160),
        retiring("OVER", Grace, -200, 40),
        retiring("LATER", Grace, 95, 195),
        retiring("OFF", Quarantine, 0, 300),
    ];
    // Vault was down from 50 to 90.
    let outage = |since: i64, until: i64| {
        Some(Outage {
            since: Some(at(since)),
            until: at(until),
        })
    };
    let lengthened = |record: Record, outage| {
        let errand = Errand {
            outage,
            // So that nothing is retired here.
            clock_ok: false,
            ..errand(record)
        };
        carry_out(errand, "CUR", Some(info("CUR")), 95).0
    };
    let after = lengthened(before, outage(50, 90));
    let expected = [140, 190, 40, 195, 300].map(at);
    assert_eq!(dues(&after), expected);
    // Another replica saw it a little otherwise: only what is new counts.
    assert_eq!(dues(&lengthened(after.clone(), outage(45, 88))), expected);
    let more = lengthened(after, outage(48, 92));
    assert_eq!(dues(&more)[..2], [at(142), at(192)]);
}

#[test]
fn p3_an_outage_whose_beginning_nobody_saw_lets_graces_begin_anew() {
    use RetiringState::Grace;
    let mut before = record();
    before.retiring = vec![
        retiring("OVERDUE", Grace, -300, -200),
        retiring("HELD", Grace, -300, 900),
    ];
    let errand = Errand {
        outage: Some(Outage {
            since: None,
            until: at(90),
        }),
        ..errand(before)
    };
    let (after, _, _, effects) = carry_out(errand, "CUR", Some(info("CUR")), 95);
    assert_eq!(dues(&after), [at(190), at(900)]);
    assert!(effects.is_empty(), "nothing is disabled");
}

#[test]
fn p2_a_leaver_ends_its_retirements_by_the_terms_it_had_and_is_closed() {
    let mut before = record();
    before.failure = Some(stuck(Reason::Moved));
    let leaving = |record| Errand {
        leaving: true,
        ..errand(record)
    };
    let (after, verdict, reports, _) = carry_out(leaving(before), "CUR", None, 0);
    assert_eq!(after.closed_at, Some(at(0)));
    assert_eq!(after.failure, None);
    assert_eq!(verdict, Verdict::Settled { wake: None });
    assert_eq!(reports[0].event, EventName::SecretReleased);
    // Once and for all.
    let (again, _, reports, _) = carry_out(leaving(after.clone()), "CUR", None, 5);
    assert_eq!((again, reports.len()), (after, 0));

    let mut waiting = record();
    waiting.terms = Some(super::super::plan::Terms::of(&plan()));
    waiting.retiring = vec![retiring("OLD", RetiringState::Grace, 0, 50)];
    let (after, verdict, _, _) = carry_out(leaving(waiting.clone()), "CUR", None, 0);
    assert_eq!(
        (after.closed_at, verdict),
        (None, Verdict::Settled { wake: Some(at(50)) })
    );
    let own = Plan::of_document(&waiting, "new-name", plan().settle, plan().claim_timeout);
    assert_eq!(
        (own.grace, own.quarantine),
        (plan().grace, plan().quarantine)
    );
    assert_eq!(own.coordinates.environment, "new-name");
}

#[test]
fn p2_p8_a_move_is_told_once_ends_with_a_word_and_takes_no_token_to_another_url() {
    let moved = |record, path: &str, url: &str, asked: bool| {
        let mut errand = errand(record);
        let mut plan = plan();
        plan.coordinates.path = path.into();
        plan.coordinates.base_url = url.into();
        errand.plan = Arc::new(plan);
        errand.wish = asked.then_some(super::super::facts::Wish {
            due: None,
            trigger: Trigger::Command,
        });
        errand
    };
    let here = plan().coordinates;
    let run = |errand| carry_out(errand, "OTHER", None, 0);
    let (told, verdict, reports, _) = run(moved(record(), "elsewhere", &here.base_url, false));
    assert!(matches!(
        verdict,
        Verdict::Failed {
            reason: Reason::Moved,
            ..
        }
    ));
    assert_eq!(reports[0].event, EventName::RotationStuck);
    let again = run(moved(told.clone(), "elsewhere", &here.base_url, false));
    assert_eq!((&again.0, again.2.len()), (&told, 0));
    // Moved back. Who has not read the document itself may have the older settings.
    let stale = run(moved(told.clone(), &here.path, &here.base_url, false));
    assert_eq!(stale.0.failure, told.failure);
    let mut back = moved(told.clone(), &here.path, &here.base_url, false);
    let read = std::mem::take(&mut back.journal);
    let mut back = Run::new(back);
    let command = back.step(moment(0));
    assert_eq!(command, Command::ReadJournal);
    back.fold(&command, Outcome::Journal(Ok(Ok(read.unwrap()))), moment(0));
    let Command::WriteJournal { record: over, .. } = back.step(moment(0)) else {
        panic!("nothing is written");
    };
    assert_eq!(over.failure, None);
    assert!(over.events.back().unwrap().detail.starts_with("it is over"));
    // To another place its token goes along, to another URL it does not.
    let (after, ..) = run(moved(told.clone(), "elsewhere", &here.base_url, true));
    assert!(after.current.is_some() && after.retiring.is_empty());
    let (after, ..) = run(moved(told, &here.path, "https://other", true));
    assert_eq!(after.current, None);
    assert_eq!(after.retiring[0].id, id("CUR"));
    assert_eq!(after.retiring[0].base_url, here.base_url);
}

#[test]
fn p2_nothing_is_minted_for_a_leaver_whose_rotation_was_broken_off() {
    let mut before = record();
    before.claim = Some(Claim {
        work: Work::Rotate {
            due: Some(at(-1)),
            trigger: Trigger::Schedule,
            attempt: Some(Attempt {
                n: 3,
                base: 2,
                old: id("CUR"),
            }),
        },
        holder: "i".into(),
        boot: "dead".into(),
        nonce: "other".into(),
        since: at(-1),
        renewed: 0,
    });
    let errand = Errand {
        leaving: true,
        ..errand(before)
    };
    let (after, _, _, effects) = carry_out(errand, "CUR", Some(info("CUR")), 0);
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(
        (after.claim, after.open.len(), after.closed_at),
        (None, 1, None)
    );
}

#[test]
fn a_closed_document_is_taken_up_again_as_at_first_sight() {
    let mut before = record();
    before.closed_at = Some(at(-100));
    before.coordinates.path = "elsewhere".into();
    let (after, _, reports, _) = carry_out(errand(before), "NEW", Some(info("NEW")), 0);
    assert_eq!(after.closed_at, None);
    assert_eq!(after.adopted_at, at(0), "no due time was missed");
    assert_eq!(after.current.unwrap().id, id("NEW"));
    assert_eq!((after.attempt, after.coordinates), (3, plan().coordinates));
    assert_eq!(reports[0].event, EventName::SecretAdopted);
}

#[test]
fn p2_a_document_that_goes_on_under_another_name_is_left_alone() {
    let before = record().closed_for("b", at(-100));
    let (after, verdict, _, _) = carry_out(errand(before.clone()), "CUR", None, 0);
    assert_eq!(after, before);
    assert!(matches!(verdict, Verdict::Unreadable(why) if why.contains("the name b")));
    let on = before.carried_over("b");
    assert_eq!(
        (on.name.as_str(), on.closed_at, &on.renamed_to),
        ("b", None, &None)
    );
    assert_eq!((on.epoch, on.attempt), (epoch(), 3), "one story");
}

fn stuck(reason: Reason) -> Failure {
    Failure {
        reason,
        message: "a sentence".into(),
        since: at(-50),
        at: at(-50),
        count: 1,
        retry_at: None,
    }
}

fn doubting(record: Record) -> Errand {
    Errand {
        doubt: true,
        ..errand(record)
    }
}

#[test]
fn p8_a_current_token_that_does_not_work_is_one_error_and_its_end_is_told() {
    let disabled = TokenInfo {
        enabled: false,
        ..info("CUR")
    };
    let (wrong, _, reports, _) = carry_out(doubting(record()), "CUR", Some(disabled.clone()), 0);
    assert_eq!(
        (reports.len(), reports[0].event),
        (1, EventName::CurrentInvalid)
    );
    assert_eq!(reports[0].level, Level::Error);
    // It lasts: told already. Being stuck for the same reason is no news either.
    let (same, _, reports, _) =
        carry_out(doubting(wrong.clone()), "CUR", Some(disabled.clone()), 5);
    assert_eq!((same, reports.len()), (wrong.clone(), 0));
    let due = Errand {
        wish: Some(Wish {
            due: Some(at(1)),
            trigger: Trigger::Schedule,
        }),
        ..errand(wrong.clone())
    };
    let (failed, _, reports, _) = carry_out(due, "CUR", Some(disabled), 5);
    assert_eq!(
        failed.failure.as_ref().unwrap().reason,
        Reason::TokenDisabled
    );
    assert!(
        reports.iter().all(|report| report.level < Level::Warn),
        "{reports:?}"
    );
    // A person enables it.
    for record in [wrong, failed] {
        let (after, _, reports, _) = carry_out(doubting(record), "CUR", Some(info("CUR")), 9);
        assert_eq!((&after.invalid, &after.failure), (&None, &None));
        assert_eq!((reports.len(), reports[0].level), (1, Level::Info));
    }
}

#[test]
fn a_doubt_that_is_not_confirmed_and_a_failure_of_another_kind_change_nothing() {
    let mut other = record();
    other.failure = Some(stuck(Reason::MintRefused));
    for before in [record(), other] {
        let (after, _, reports, _) =
            carry_out(doubting(before.clone()), "CUR", Some(info("CUR")), 0);
        assert_eq!((after, reports.len()), (before, 0));
    }
}

#[test]
fn p1_a_dead_value_after_vault_went_back_is_replaced_once() {
    let dead = TokenInfo {
        enabled: false,
        ..info("CUR")
    };
    for found in [Some(dead), None] {
        let mut back = record();
        back.hold_until = Some(at(10));
        back.last_success = Some(at(-400));
        let (claimed, _, _, effects) = carry_out(doubting(back.clone()), "CUR", found.clone(), 0);
        assert!(matches!(effects[..], [Command::Mint(_)]), "{effects:?}");
        let work = claimed.claim.unwrap().work;
        assert!(matches!(
            work,
            Work::Rotate {
                trigger: Trigger::Sweep,
                ..
            }
        ));
        // A success since then: from now on it is a person's matter.
        back.last_success = Some(at(10));
        let (after, _, reports, effects) = carry_out(doubting(back), "CUR", found, 20);
        assert!(effects.is_empty() && after.invalid.is_some());
        assert_eq!(reports[0].event, EventName::CurrentInvalid);
    }
}

#[test]
fn a_sweep_doubts_what_is_not_there_disabled_or_expired_and_what_is_stuck() {
    let record = record();
    let doubts = |tokens: &[TokenInfo]| doubtful(&record, tokens, at(0));
    assert!(!doubts(&[info("OTHER"), info("CUR")]));
    assert!(doubts(&[info("OTHER")]));
    let off = TokenInfo {
        enabled: false,
        ..info("CUR")
    };
    let expires = |end| TokenInfo {
        expires: Some(end),
        ..info("CUR")
    };
    assert!(doubts(&[off]) && doubts(&[expires(at(0))]));
    assert!(!doubts(&[expires(at(0) + SECOND)]));
    let mut stuck_one = record.clone();
    stuck_one.failure = Some(stuck(Reason::FieldMissing));
    assert!(doubtful(&stuck_one, &[info("CUR")], at(0)));
    stuck_one.failure = Some(stuck(Reason::Moved));
    assert!(!doubtful(&stuck_one, &[info("CUR")], at(0)));
}
