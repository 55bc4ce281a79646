//! The scenarios of processes, networks and people of good will.

use super::scenario::{BASE, NONE, Scenario};
use super::world::{Budget, Intervention};

/// Every scenario with its full budget.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "one daemon, undisturbed",
            ..BASE
        },
        Scenario {
            name: "a daemon that dies",
            budget: Budget { crash: 3, ..NONE },
            ..BASE
        },
        Scenario {
            name: "a daemon that dies twice",
            budget: Budget { crash: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "two daemons",
            daemons: 2,
            ticks: 2,
            ..BASE
        },
        Scenario {
            name: "a claim taken over",
            daemons: 2,
            ticks: 2,
            budget: Budget { steal: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "answers lost",
            budget: Budget { lose: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "effects that come late",
            budget: Budget { late: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "calls that fail",
            budget: Budget { fail: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "processes that are stopped while they wait",
            budget: Budget {
                stop: 1,
                lose: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "a revocation that is stopped while it waits",
            revoke: true,
            budget: Budget {
                stop: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "an undo that is stopped while it waits",
            undo: true,
            budget: Budget {
                stop: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "lost answers and deaths",
            budget: Budget {
                crash: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "late effects and deaths",
            budget: Budget {
                crash: 1,
                late: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "a late effect, a death and a call that fails",
            budget: Budget {
                crash: 1,
                late: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "a token that is listed late",
            budget: Budget {
                crash: 1,
                hide: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "take-over with a lost answer",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "take-over and a call that fails",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "take-over with a late effect",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                late: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "take-over with a stale read",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                stale: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "two due instants",
            dues: &[0, 1],
            budget: Budget {
                crash: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "a person writes",
            budget: Budget {
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "a person writes, an answer is lost",
            budget: Budget {
                person: 1,
                lose: 1,
                ..NONE
            },
            interventions: &[Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "a person writes, a token is listed late",
            budget: Budget {
                person: 1,
                hide: 1,
                ..NONE
            },
            interventions: &[Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "a person writes during a take-over",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                person: 1,
                steal: 1,
                ..NONE
            },
            interventions: &[Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "a person puts a token back",
            ticks: 4,
            budget: Budget {
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::PutBack],
            at_rest: true,
            ..BASE
        },
        Scenario {
            name: "a person deletes the version",
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::DeleteVersion],
            ..BASE
        },
        Scenario {
            name: "a person disables, enables or deletes a token",
            ticks: 4,
            budget: Budget { person: 2, ..NONE },
            interventions: &[
                Intervention::DisableToken,
                Intervention::EnableToken,
                Intervention::DeleteToken,
            ],
            ..BASE
        },
        Scenario {
            name: "a person deletes the journal",
            budget: Budget {
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::DeleteJournal],
            ..BASE
        },
        Scenario {
            name: "a person pauses and resumes",
            budget: Budget {
                person: 2,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::Pause, Intervention::Resume],
            ..BASE
        },
        Scenario {
            name: "a person pauses and resumes beside a take-over",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                person: 2,
                steal: 1,
                ..NONE
            },
            interventions: &[Intervention::Pause, Intervention::Resume],
            ..BASE
        },
        Scenario {
            name: "a person pauses, an answer is lost",
            budget: Budget {
                person: 1,
                lose: 1,
                ..NONE
            },
            interventions: &[Intervention::Pause],
            ..BASE
        },
        Scenario {
            name: "a person pauses, undo",
            undo: true,
            ticks: 3,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::Pause],
            ..BASE
        },
        Scenario {
            name: "the management token",
            manages: true,
            budget: Budget {
                crash: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "the management token, taken over",
            manages: true,
            daemons: 2,
            ticks: 2,
            budget: Budget { steal: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "the management token, an effect comes late",
            manages: true,
            budget: Budget {
                late: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "undo of the management token",
            manages: true,
            undo: true,
            budget: Budget { crash: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo",
            undo: true,
            ticks: 4,
            ..BASE
        },
        Scenario {
            name: "revoke beside a daemon",
            revoke: true,
            ticks: 2,
            ..BASE
        },
        Scenario {
            name: "revoke, and deaths",
            revoke: true,
            ticks: 2,
            budget: Budget { crash: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "revoke, an answer is lost",
            revoke: true,
            ticks: 2,
            budget: Budget { lose: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "revoke, an effect comes late",
            revoke: true,
            ticks: 2,
            budget: Budget { late: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "revoke while a person puts a token back",
            revoke: true,
            ticks: 3,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::PutBack],
            at_rest: true,
            ..BASE
        },
        Scenario {
            name: "revoke of a paused secret",
            revoke: true,
            ticks: 2,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::Pause],
            ..BASE
        },
        Scenario {
            name: "undo beside two daemons",
            daemons: 2,
            undo: true,
            ticks: 2,
            ..BASE
        },
        Scenario {
            name: "undo, and deaths",
            undo: true,
            ticks: 3,
            budget: Budget { crash: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo, an answer is lost",
            undo: true,
            ticks: 3,
            budget: Budget { lose: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo, an effect comes late",
            undo: true,
            ticks: 3,
            budget: Budget { late: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo is taken over",
            undo: true,
            ticks: 3,
            budget: Budget { steal: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo while a person writes",
            undo: true,
            ticks: 3,
            budget: Budget { person: 1, ..NONE },
            interventions: &[Intervention::Write],
            ..BASE
        },
        Scenario {
            name: "the first token, and deaths",
            create: true,
            dues: &[],
            budget: Budget { crash: 3, ..NONE },
            ..BASE
        },
        Scenario {
            name: "the first token, an answer is lost, an effect comes late",
            create: true,
            dues: &[],
            budget: Budget {
                crash: 1,
                lose: 1,
                late: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "the first token, at its due instant",
            create: true,
            budget: Budget {
                crash: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "the first token, taken over",
            create: true,
            dues: &[],
            daemons: 2,
            ticks: 2,
            budget: Budget { steal: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "the first token while a person writes or deletes",
            create: true,
            dues: &[],
            budget: Budget {
                person: 1,
                crash: 1,
                ..NONE
            },
            interventions: &[Intervention::Write, Intervention::DeleteVersion],
            ..BASE
        },
    ]
}
