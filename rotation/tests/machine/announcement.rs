//! An announcement: it is written with the commit of a rotation, and is no obstacle to anything.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use rotation::announcement::Announcement;
use rotation::command::Command;
use rotation::event::EventName;
use rotation::request::{Goal, RunRequest};

use crate::builders::{at, by_schedule, id, record, request};
use crate::world::World;

fn announced(goal: Goal) -> RunRequest {
    let mut request = request(goal);
    Arc::make_mut(&mut request.plan).announces = true;
    request
}

fn former() -> Announcement {
    Announcement {
        token: id("CUR"),
        version: 2,
        old: None,
        at: at(-500),
        until: at(500),
        by: "gone".into(),
        unknown: Default::default(),
    }
}

#[test]
fn a_completed_rotation_is_announced_in_the_same_write_and_only_if_someone_is_told() {
    let mut world = World::new(record());
    world.run_at(0, request(by_schedule(-1)));
    assert_eq!(world.document().announcement, None);
    let mut world = World::new(record());
    let ended = world.run_at(0, announced(by_schedule(-1)));
    let commit = ended
        .written()
        .into_iter()
        .find(|it| it.is_current(&id("NEW1")));
    let commit = commit.expect("the commit").announcement.clone();
    let commit = commit.expect("an announcement");
    assert_eq!(
        (&commit.token, &commit.old),
        (&id("NEW1"), &Some(id("CUR")))
    );
    let current = world.document().current.clone().expect("a token");
    assert_eq!(commit.version, current.version);
    assert_eq!(commit.until, at(24 * 3600));
    assert_eq!(world.document().announcement, Some(commit));
    // An undo is no rotation.
    let before = world.document().announcement.clone();
    let ended = world.run_at(1, announced(Goal::Undo(None)));
    assert!(
        ended.events().contains(&EventName::UndoSucceeded),
        "{:?}",
        ended.events()
    );
    assert_eq!(world.document().announcement, before);
}

#[test]
fn a14_a_delivery_preserves_the_claim_of_a_holder_whose_rotation_is_announced() {
    for write in 1..=2 {
        let mut before = record();
        before.announcement = Some(former());
        let mut world = World::new(before);
        let writes = Rc::new(Cell::new(0));
        world.fault(move |world, command| {
            if let Command::WriteJournal { .. } = command {
                writes.set(writes.get() + 1);
                if writes.get() == write {
                    world.edit().announcement = None;
                }
            }
            None
        });
        let ended = world.run_at(0, announced(by_schedule(-1)));
        let document = world.document();
        assert_eq!(
            (document.claim.as_ref(), ended.mints()),
            (None, 1),
            "{write}"
        );
        assert!(document.is_current(&id("NEW1")), "{write}");
        let announcement = document.announcement.as_ref().expect("an announcement");
        assert_eq!(announcement.token, id("NEW1"), "{write}");
    }
}
