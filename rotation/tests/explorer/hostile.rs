//! The scenarios of answers that belong to others, documents and names that were edited, versions that were pruned, and kinds of tokens that
//! can do less.

use rotation::capabilities::{Absence, Capabilities, Expiry, Proof};

use super::scenario::{BASE, NONE, Scenario};
use super::world::{Budget, Edit, Intervention};

/// A kind that cannot be disabled.
const NO_DISABLE: Capabilities = Capabilities {
    disable: false,
    rename: false,
    ..Capabilities::API
};
/// A kind that cannot be read by id. What is not in its listing may only be missing there.
const NO_READ_BY_ID: Capabilities = Capabilities {
    rename: false,
    read_by_id: false,
    absence: Absence::Listing,
    ..Capabilities::API
};
/// A kind whose "not found" proves nothing.
const LISTINGS_ONLY: Capabilities = Capabilities {
    absence: Absence::Listing,
    ..Capabilities::API
};

/// A kind whose expiry can be moved, and whose values prove themselves only by a trial.
const REDATED: Capabilities = Capabilities {
    rename: false,
    redate: true,
    read_by_id: false,
    proof: Proof::Probe,
    absence: Absence::Listing,
    expiry: Expiry::Required,
    ..Capabilities::API
};

/// The same, and nothing proves its values: the first token is recorded by a person's command.
const LISTED: Capabilities = Capabilities {
    proof: Proof::Listed,
    ..REDATED
};

/// A kind that cannot be disabled, and whose values nothing proves: its first token is recorded by a person's command.
const UNPROVABLE: Capabilities = Capabilities {
    disable: false,
    rename: false,
    proof: Proof::Listed,
    ..Capabilities::API
};

pub fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario {
            name: "journal writes answered with a conflict",
            budget: Budget {
                conflict: 2,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "a journal write answered with a conflict, and deaths",
            budget: Budget {
                conflict: 1,
                crash: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "two daemons, a write answered with a conflict",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                conflict: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "undo, a write answered with a conflict",
            undo: true,
            budget: Budget {
                conflict: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "answers that belong to another request",
            strangers: true,
            budget: Budget { swap: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "an answer that belongs to another, and a death",
            strangers: true,
            budget: Budget {
                swap: 1,
                crash: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "an answer that belongs to another, a person writes",
            strangers: true,
            budget: Budget {
                swap: 1,
                person: 1,
                ..NONE
            },
            interventions: &[Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "a version that is another secret's",
            strangers: true,
            budget: Budget {
                runs: 2,
                swap: 1,
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::Write],
            ticks: 0,
            ..BASE
        },
        Scenario {
            name: "undo, an answer that belongs to another",
            strangers: true,
            undo: true,
            budget: Budget { swap: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "a document that retires foreign tokens",
            strangers: true,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::EditJournal(Edit::Retire)],
            ..BASE
        },
        Scenario {
            name: "re-dated: a document that retires foreign tokens",
            strangers: true,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::EditJournal(Edit::Retire)],
            capabilities: REDATED,
            ..BASE
        },
        Scenario {
            name: "listed: a document that retires foreign tokens",
            strangers: true,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::EditJournal(Edit::Retire)],
            capabilities: LISTED,
            ..BASE
        },
        Scenario {
            name: "a document whose claim ends foreign tokens",
            strangers: true,
            budget: Budget {
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::EditJournal(Edit::Claim)],
            ..BASE
        },
        Scenario {
            name: "a document with another secret's identity",
            strangers: true,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::EditJournal(Edit::Epoch)],
            ..BASE
        },
        Scenario {
            name: "a document that claims other rights",
            budget: Budget { person: 2, ..NONE },
            interventions: &[
                Intervention::DeleteToken,
                Intervention::EditJournal(Edit::Rights),
            ],
            ..BASE
        },
        Scenario {
            name: "a document that claims rights to manage tokens",
            accept_rights: true,
            budget: Budget { person: 2, ..NONE },
            interventions: &[
                Intervention::DeleteToken,
                Intervention::EditJournal(Edit::ManagingRights),
            ],
            ..BASE
        },
        Scenario {
            name: "a copy of a marked token",
            budget: Budget {
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::CopyToken],
            ..BASE
        },
        Scenario {
            name: "a copy of a marked token, a late effect",
            budget: Budget {
                person: 1,
                late: 1,
                ..NONE
            },
            interventions: &[Intervention::CopyToken],
            ..BASE
        },
        Scenario {
            name: "numbers that were never given out",
            budget: Budget {
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::PlantNumber],
            ..BASE
        },
        Scenario {
            name: "a value that shows another token's id",
            strangers: true,
            budget: Budget { person: 2, ..NONE },
            interventions: &[Intervention::ForgeValue, Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "a value that was cut short",
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::CutShort],
            ..BASE
        },
        Scenario {
            name: "re-dated: a value that was cut short",
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::CutShort],
            capabilities: REDATED,
            ..BASE
        },
        Scenario {
            name: "unprovable: a value that was cut short",
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::CutShort],
            capabilities: UNPROVABLE,
            ..BASE
        },
        Scenario {
            name: "another secret's token in this secret",
            strangers: true,
            budget: Budget { person: 2, ..NONE },
            interventions: &[Intervention::ShareToken, Intervention::PutBack],
            at_rest: true,
            ..BASE
        },
        Scenario {
            name: "a token that another secret holds",
            shared: true,
            ticks: 3,
            budget: Budget { crash: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "revoke of a token that another secret holds",
            shared: true,
            revoke: true,
            ticks: 2,
            ..BASE
        },
        Scenario {
            name: "revoke of a token that another secret holds, and deaths",
            shared: true,
            revoke: true,
            ticks: 2,
            budget: Budget { crash: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "revoke of a shared token of a paused secret",
            shared: true,
            revoke: true,
            ticks: 2,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::Pause],
            ..BASE
        },
        Scenario {
            name: "undo to a token that another secret holds",
            shared: true,
            undo: true,
            ticks: 3,
            ..BASE
        },
        Scenario {
            name: "one version is kept",
            max_versions: 1,
            budget: Budget {
                crash: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "one version is kept, a person writes",
            max_versions: 1,
            budget: Budget {
                lose: 1,
                person: 1,
                ..NONE
            },
            interventions: &[Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "one version is kept, a person puts a token back",
            max_versions: 1,
            ticks: 4,
            budget: Budget { person: 2, ..NONE },
            interventions: &[Intervention::PutBack, Intervention::Write],
            at_rest: true,
            ..BASE
        },
        Scenario {
            name: "two versions are kept, undo",
            max_versions: 2,
            undo: true,
            budget: Budget { lose: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "a listing that lacks a token",
            budget: Budget {
                partial: 1,
                crash: 1,
                ..NONE
            },
            capabilities: NO_READ_BY_ID,
            ..BASE
        },
    ];
    let kinds = [
        (
            NO_DISABLE,
            [
                "no disable: a daemon that dies",
                "no disable: a late effect",
                "no disable: retirement, and a person",
                "no disable: undo",
            ],
        ),
        (
            NO_READ_BY_ID,
            [
                "no read by id: a daemon that dies",
                "no read by id: a late effect",
                "no read by id: retirement, and a person",
                "no read by id: undo",
            ],
        ),
        (
            LISTINGS_ONLY,
            [
                "listings prove: a daemon that dies",
                "listings prove: a late effect",
                "listings prove: retirement, and a person",
                "listings prove: undo",
            ],
        ),
        (
            REDATED,
            [
                "re-dated: a daemon that dies",
                "re-dated: a late effect",
                "re-dated: retirement, and a person",
                "re-dated: undo",
            ],
        ),
        (
            UNPROVABLE,
            [
                "unprovable: a daemon that dies",
                "unprovable: a late effect",
                "unprovable: retirement, and a person",
                "unprovable: undo",
            ],
        ),
    ];
    for (capabilities, [deaths, late, retirement, undo]) in kinds {
        let kind = Scenario {
            capabilities,
            ..BASE
        };
        all.extend([
            Scenario {
                name: deaths,
                budget: Budget { crash: 2, ..NONE },
                ..kind.clone()
            },
            Scenario {
                name: late,
                budget: Budget { late: 1, ..NONE },
                ..kind.clone()
            },
            Scenario {
                name: retirement,
                ticks: 4,
                budget: Budget { person: 1, ..NONE },
                interventions: &[Intervention::DeleteToken, Intervention::Write],
                ..kind.clone()
            },
            Scenario {
                name: undo,
                undo: true,
                ..kind.clone()
            },
        ]);
    }
    all
}
