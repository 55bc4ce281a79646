//! Values that people put into Vault: rule A10 (a second look) and rule A11 (what retires is marked).

use rotation::command::{Command, Outcome, RunResult, SecretSnapshot, TokenAction};
use rotation::error::ErrorKind;
use rotation::event::{EventName, Level};
use rotation::marker::{Marker, NameDigest};
use rotation::record::{Current, Origin, Retiring, RetiringState};
use rotation::token::TokenInfo;

use crate::builders::{
    at, by_command, by_schedule, dynatrace, epoch, id, marked, minted, plain, record, request,
    retiring, settle, value,
};
use crate::identity::sweep;
use crate::world::{Ended, Version, World, holds};

/// Another secret's answer: it holds a stranger's value.
fn stranger(version: u64) -> SecretSnapshot {
    holds(version, &value("STRANGER"))
}

/// A world in which the first read of the secret is another secret's.
fn mixed_up(reads: usize) -> World {
    let mut world = World::new(record());
    world.add(TokenInfo {
        scopes: vec!["strangers.right".into()],
        ..plain("STRANGER", "payments")
    });
    let mut left = reads;
    world.fault(move |_, command| match command {
        Command::ReadSecret if left > 0 => {
            left -= 1;
            Some(Outcome::Secret(Ok(stranger(2))))
        }
        _ => None,
    });
    world
}

#[test]
fn a10_a_read_that_the_second_one_contradicts_adopts_and_clones_nothing() {
    for request in [request(by_schedule(-1)), request(by_command())] {
        let mut world = mixed_up(1);
        let ended = world.run_at(0, request);
        assert_eq!(ended.commands[1], Command::ConfirmSecret);
        assert_eq!(ended.events(), [EventName::RotationSucceeded]);
        assert_eq!(world.token("NEW1").scopes, ["metrics.read"]);
        assert_eq!(world.document().retiring(&id("STRANGER")), None);
        assert_eq!(world.entry("CUR").state, RetiringState::Grace);
    }
    // A sweep adopts nothing by it.
    let mut world = mixed_up(1);
    let before = world.document().clone();
    let request = sweep(&world, 0);
    world.tokens.remove(&id("OLD"));
    let ended = world.run_at(0, request);
    assert_eq!(ended.of(EventName::SecretChangedElsewhere).len(), 0);
    assert_eq!(world.document().current, before.current);
}

#[test]
fn a10_two_reads_must_agree_on_version_and_value() {
    let mut world = World::new(record());
    world.add(plain("STRANGER", "payments"));
    let mut reads = 0;
    world.fault(move |_, command| {
        reads += usize::from(matches!(
            command,
            Command::ReadSecret | Command::ConfirmSecret
        ));
        match command {
            Command::ReadSecret => Some(Outcome::Secret(Ok(stranger(2)))),
            // The same value in another version, and then another value in the same version.
            Command::ConfirmSecret if reads < 5 => {
                Some(Outcome::Confirmed(Ok(stranger(1 + reads as u64))))
            }
            Command::ConfirmSecret => None,
            _ => None,
        }
    });
    let mut request = settle();
    request.hints.reread_secret = true;
    let ended = world.run_at(0, request);
    assert_eq!(ended.count(|it| *it == Command::ConfirmSecret), 4);
    assert!(world.document().is_current(&id("CUR")));
}

/// Two equal wrong answers about the latest value are believed; the versions show later in the same run what was there.
#[test]
fn a10_two_equal_wrong_answers_prove_nothing_to_a_retirement() {
    let mut world = World::with_retiring(vec![retiring(
        &minted("OLD", 2),
        RetiringState::Grace,
        -200,
        -10,
    )]);
    world.add(plain("STRANGER", "payments"));
    let mut left = 3;
    world.fault(move |world, command| {
        let outcome = match command {
            _ if left == 0 => return None,
            Command::ReadSecret => Outcome::Secret(Ok(stranger(2))),
            Command::ConfirmSecret => Outcome::Confirmed(Ok(stranger(2))),
            Command::LookUpValue => Outcome::Value(world.look_up(&id("STRANGER"))),
            _ => return None,
        };
        left -= 1;
        Some(outcome)
    });
    let mut request = settle();
    request.hints.reread_secret = true;
    let ended = world.run_at(0, request);
    assert!(ended.did(TokenAction::Disable, "OLD"));
    assert_eq!(renames(&ended), Vec::<String>::new());
    assert_eq!(world.token("STRANGER").name, "payments");
    assert!(world.document().is_current(&id("CUR")));
}

/// Answers of two secrets in turns, forever: the run gives up instead of asking until its step limit.
#[test]
fn a10_reads_that_never_agree_end_the_run() {
    let mut world = World::new(record());
    world.add(plain("STRANGER", "payments"));
    let mut reads = 2;
    world.fault(move |_, command| match command {
        Command::ReadSecret | Command::ConfirmSecret => {
            reads += 1;
            let read = Ok(stranger(reads));
            Some(match command {
                Command::ReadSecret => Outcome::Secret(read),
                _ => Outcome::Confirmed(read),
            })
        }
        _ => None,
    });
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert!(
        matches!(ended.result, RunResult::Retry(_)),
        "{:?}",
        ended.result
    );
    assert!(ended.commands.len() < 50, "{}", ended.commands.len());
    assert!(world.document().is_current(&id("CUR")));
}

#[test]
fn a10_a_persons_value_that_both_reads_show_is_kept_and_the_former_one_retires() {
    let mut world = World::new(record());
    world.add(plain("HAND", "by hand"));
    world.put(value("HAND"));
    let request = sweep(&world, 0);
    world.tokens.remove(&id("OLD"));
    let ended = world.run_at(0, request);
    assert_eq!(ended.events()[0], EventName::SecretChangedElsewhere);
    assert!(world.document().is_current(&id("HAND")));
    let entry = world.entry("CUR");
    assert_eq!(
        (entry.state.clone(), entry.due, entry.base),
        (RetiringState::Grace, at(100), 2)
    );
    assert_eq!(entry.origin, Origin::Version(2));
}

#[test]
fn a9_an_id_that_a_person_wrote_into_the_secret_adopts_and_clones_nothing() {
    let mut world = World::new(record());
    world.add(TokenInfo {
        scopes: vec!["victims.right".into()],
        ..plain("VICTIM", "payments")
    });
    world.put("dt0c01.VICTIM.junk");
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert!(matches!(ended.result, RunResult::Failed { .. }));
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert!(world.document().is_current(&id("CUR")));
    assert_eq!(world.document().retiring, []);
}

// ------------------------------------------------------------------------------------------------------------- put back ---

#[test]
fn p1_a_retiring_token_that_a_person_put_back_is_enabled_and_current_again() {
    let mut old = retiring(&minted("OLD", 2), RetiringState::Quarantine, 0, 500);
    old.origin = Origin::Version(1);
    let mut world = World::with_retiring(vec![old]);
    world.token("OLD").enabled = false;
    world.put(value("OLD"));
    let request = sweep(&world, 100);
    let ended = world.run_at(100, request);
    assert!(ended.did(TokenAction::Enable, "OLD") && world.token("OLD").enabled);
    assert!(world.document().is_current(&id("OLD")) && world.document().claim.is_none());
    assert_eq!(world.entry("CUR").due, at(200));
    assert_eq!(ended.reports[0].event, EventName::SecretChangedElsewhere);
    assert_eq!(ended.reports[0].level, Level::Warn);
}

/// P4: a token in its grace that a person disabled stays so, even if it is the value in Vault.
#[test]
fn p4_a_token_that_a_person_disabled_is_not_enabled_because_it_is_put_back() {
    let mut world = World::with_retiring(vec![retiring(
        &minted("OLD", 2),
        RetiringState::Grace,
        0,
        500,
    )]);
    world.token("OLD").enabled = false;
    world.put(value("OLD"));
    for request in [sweep(&world, 100), request(by_schedule(50))] {
        let ended = world.run_at(100, request);
        assert!(!ended.did(TokenAction::Enable, "OLD"));
        assert_eq!(ended.mints(), 0);
    }
}

// -------------------------------------------------------------------------------------------------------------- marking ---

/// FIRST was made by a person and is the current value; the next rotation retires it.
fn first(name: &str) -> World {
    let mut before = record();
    let token = plain("CUR", name);
    before.current = Some(Current::new(&token, 2, &epoch()));
    let mut world = World::new(before);
    world.add(token);
    world
}

fn renames(ended: &Ended) -> Vec<String> {
    let names = ended.commands.iter().filter_map(|command| match command {
        Command::Change(TokenAction::Rename(name), _) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

#[test]
fn a11_an_adopted_token_is_renamed_when_it_enters_retiring_and_its_name_is_remembered() {
    for base in ["metrics of checkout".to_owned(), "ü".repeat(150)] {
        let mut world = first(&base);
        let ended = world.run_at(0, request(by_schedule(-1)));
        let names = renames(&ended);
        assert_eq!(names.len(), 1, "in the same run, once");
        assert!(names[0].chars().count() <= 100, "{}", names[0]);
        let (kept, marker) = Marker::split(&names[0]);
        assert!(base.starts_with(&kept) && !kept.is_empty());
        assert_eq!(
            marker,
            Some(Marker {
                epoch: epoch(),
                attempt: 0
            })
        );
        assert_eq!(world.entry("CUR").digest, Some(NameDigest::of(&names[0])));
        assert_eq!(renames(&world.run_at(5, settle())), Vec::<String>::new());
        // From now on its name proves it, whatever becomes of the versions.
        world.versions[1] = Version::Pruned;
        world.run_at(100, settle());
        assert!(!world.token("CUR").enabled);
        // And a copy of that name is nobody's.
        let copy = plain("COPY", &format!("Duplicate of: {}", names[0]));
        world.add(copy.clone());
        let request = sweep(&world, 110);
        world.run_at(110, request);
        world.run_at(5000, settle());
        assert_eq!(world.tokens.get(&id("COPY")), Some(&copy));
    }
}

#[test]
fn a11_a_person_who_replaces_an_adopted_token_gets_it_marked_as_well() {
    let mut world = first("by hand");
    world.add(plain("HAND", "another by hand"));
    world.put(value("HAND"));
    let mut request = settle();
    request.hints.reread_secret = true;
    let ended = world.run_at(0, request);
    assert_eq!(renames(&ended), [marked("by hand", 0)]);
    assert!(world.document().is_current(&id("HAND")));
}

#[test]
fn a11_a_refused_rename_is_tried_once_per_run_and_the_token_still_retires_by_its_version() {
    let mut world = first("by hand");
    world.fault(|_, command| match command {
        Command::Change(TokenAction::Rename(_), _) => {
            Some(Outcome::Changed(Err(dynatrace(ErrorKind::Refused))))
        }
        _ => None,
    });
    for second in [0, 10, 20] {
        let ended = world.run_at(second, request(by_schedule(-1)));
        assert_eq!(renames(&ended).len(), 1, "{second}");
        assert!(matches!(ended.result, RunResult::Done { .. }));
    }
    assert_eq!(world.entry("CUR").digest, None);
    let ended = world.run_at(100, settle());
    assert!(ended.did(TokenAction::Disable, "CUR"));
}

/// Several of them: the run ends, each is read, and none keeps the next one from being marked.
#[test]
fn a11_many_unmarked_tokens_are_marked_in_one_run_and_unprovable_ones_do_not_stop_it() {
    let mut world = World::new(record());
    let mut entries = vec![];
    let names = ["A", "B", "C", "D"];
    for (n, name) in names.iter().enumerate() {
        let token = TokenInfo {
            personal: *name == "B",
            ..plain(name, "by hand")
        };
        world.add(token.clone());
        // D's version is pruned: it cannot be proven.
        let version = match *name {
            "D" => Version::Pruned,
            _ => Version::Holds(value(name)),
        };
        world.versions.insert(n, version);
        entries.push(Retiring {
            origin: Origin::Version(n as u64 + 1),
            base: 5,
            ..retiring(&token, RetiringState::Grace, 0, 500)
        });
    }
    let document = world.edit();
    document.retiring = entries;
    document.current.as_mut().unwrap().version = 6;
    let ended = world.run_at(0, settle());
    assert!(
        matches!(ended.result, RunResult::Done { .. }),
        "{:?}",
        ended.result
    );
    assert_eq!(renames(&ended).len(), 2);
    for (name, is_marked) in [("A", true), ("B", false), ("C", true), ("D", false)] {
        let token = world.token(name).clone();
        assert_eq!(
            Marker::of(&token.name, &epoch()).is_some(),
            is_marked,
            "{name}"
        );
    }
    assert!(ended.commands.len() < 60, "{}", ended.commands.len());
}

#[test]
fn a11_a_personal_token_that_was_this_secrets_value_is_never_renamed() {
    let mut world = first("mine");
    world.token("CUR").personal = true;
    world.add(plain("HAND", "by hand"));
    world.put(value("HAND"));
    let mut request = settle();
    request.hints.reread_secret = true;
    let ended = world.run_at(0, request);
    assert!(world.document().is_current(&id("HAND")));
    assert_eq!(renames(&ended), Vec::<String>::new());
    assert_eq!(world.token("CUR").name, "mine");
}

/// It is another secret's current token as well: that secret could not end it later if its name bore our marker.
#[test]
fn a11_the_current_token_of_another_secret_is_not_renamed() {
    let mut world = first("shared");
    let mut request = request(by_schedule(-1));
    let current =
        rotation::request::CurrentTokens::from_iter([(id("CUR"), vec!["a".into(), "b".into()])]);
    request.env.current_tokens = std::sync::Arc::new(current);
    let ended = world.run_at(0, request);
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    assert_eq!(
        (renames(&ended), world.token("CUR").name.as_str()),
        (vec![], "shared")
    );
}

/// At the start of a daemon, and in a command, the current tokens of the other secrets are not known.
#[test]
fn a11_nothing_is_renamed_before_it_is_known_what_the_other_secrets_hold() {
    let mut world = first("shared");
    let mut unknown = request(by_schedule(-1));
    unknown.env.may_retire = false;
    let ended = world.run_at(0, unknown);
    assert_eq!(renames(&ended), Vec::<String>::new());
    // The next run is soon, and does it then.
    assert_eq!(ended.result, RunResult::Done { wake: Some(at(30)) });
    assert_eq!(renames(&world.run_at(30, settle())), [marked("shared", 0)]);
}
