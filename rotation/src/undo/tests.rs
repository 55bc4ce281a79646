use super::super::error::{CallError, ErrorKind, Service};
use super::super::facts::{Errand, Holds, Known, Outcome};
use super::super::life::tests::{at, epoch, errand, id, info, moment, record, retiring};
use super::*;

/// CUR is the value in version 2, and OLD, which was it in version 1, stands disabled.
fn before() -> Record {
    let mut record = record();
    let mut old = retiring("OLD", RetiringState::Quarantine, 0, 500);
    old.proof = Proof::Version(1);
    record.retiring = vec![old];
    record
}

fn holding(version: u64, text: &str) -> Outcome {
    Outcome::Secret(Ok(Seen::Present {
        version,
        holds: Some(Holds {
            id: Some(id(text)),
            mark: version,
        }),
    }))
}

/// Carries an undo out up to its commit, which another holder forestalled: it finds `settled`. How it ends.
fn forestalled(settled: &Record) -> Verdict {
    let mut run = Run::new(Errand {
        undo: true,
        ..errand(before())
    });
    let mut restored = false;
    for _ in 0..50 {
        let command = run.step(moment(100));
        let outcome = match &command {
            Command::WriteJournal { cas, record } if record.claim.is_some() && !restored => {
                Outcome::Wrote(Ok(cas + 1))
            }
            Command::WriteJournal { record, .. } if record.claim.is_none() => {
                let kind = ErrorKind::Conflict;
                Outcome::Wrote(Err(CallError::new(Service::Vault, kind, "cas")))
            }
            Command::ReadJournal => Outcome::Journal(Ok(Ok(Known {
                cas: 20,
                record: Some(Box::new(settled.clone())),
            }))),
            Command::ReadSecret if restored => holding(3, "OLD"),
            Command::ReadSecret => holding(2, "CUR"),
            Command::ReadVersion(1) => holding(1, "OLD"),
            Command::LookUp(of) => Outcome::Info(Ok(TokenInfo {
                id: of.clone(),
                ..info("OLD")
            })),
            Command::TryVersion(1) => Outcome::Info(Ok(info("OLD"))),
            Command::Act(Act::Enable, of) if *of == id("OLD") => Outcome::Done(Ok(())),
            Command::Restore { base: 2, from: 1 } if !restored => {
                restored = true;
                Outcome::Stored(Ok(3))
            }
            Command::Finish(verdict) => return verdict.clone(),
            other => panic!("{other:?}"),
        };
        run.fold(&command, outcome, moment(100));
    }
    panic!("it does not come to an end");
}

#[test]
fn p6_an_undo_that_lost_its_claim_does_not_undo_what_it_has_done() {
    // The other one found the value and took it: what was asked for is done.
    let mut done = before();
    done.current = Some(Current::new(&info("OLD"), 3, &epoch()));
    let mut newer = retiring("CUR", RetiringState::Grace, 90, 190);
    newer.proof = Proof::Version(2);
    newer.base = 2;
    done.retiring = vec![newer];
    assert_eq!(forestalled(&done), Verdict::Settled { wake: None });

    // The other one has not come so far: it says so.
    let mut given_up = before();
    given_up.retiring[0].state = RetiringState::Grace;
    given_up.retiring[0].due = at(200);
    let Verdict::Refused(why) = forestalled(&given_up) else {
        panic!("nobody knows yet what came of it");
    };
    assert!(why.contains("dtrotate status"), "{why}");
}
