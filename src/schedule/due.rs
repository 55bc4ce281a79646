//! "Due, because ...": when one secret is to be rotated next, and why.
//!
//! A chain of small checks, each of which may strike and says so in a sentence; the earliest
//! counts. Pure: `now` is an argument, and the same journal gives the same instant on every
//! replica. It never looks at retries: after a failure the caller waits as long as it must, and the
//! instant that was not served stays due.

use jiff::{SignedDuration, Timestamp};

use super::calendar::{Blackouts, Schedule, jitter};

/// A due time that passed less than this long ago is still served as `schedule`: the engine polls
/// twice a second, a restart takes seconds, and neither deserves the word "missed".
pub const LATENESS: SignedDuration = SignedDuration::from_mins(1);

/// Missed runs of a secret without jitter start within this time.
pub const CATCH_UP_SPREAD: SignedDuration = SignedDuration::from_mins(1);

/// A token that would expire during a blackout, or shortly after it, is rotated this long before the blackout: time
/// enough for several tries.
const BEFORE_BLACKOUT: SignedDuration = SignedDuration::from_hours(1);

/// A rotation that a blackout overtakes so soon after its due time is not late before the blackout has ended.
const OVERTAKEN: SignedDuration = SignedDuration::from_mins(5);

/// What happens when a due time passed unserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// One run makes up for all that were missed.
    Run,
    /// The next due time is waited for.
    Skip,
}

/// Why a rotation is due; the words of the log field `trigger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A due time of the schedule, on time.
    Schedule,
    /// A due time of the schedule passed unserved.
    Missed,
    /// The expiry guard: too little of the token's lifetime is left.
    Expiry,
}

impl Trigger {
    /// The word in logs and journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::Missed => "missed",
            Trigger::Expiry => "expiry",
        }
    }
}

/// What is known of one secret.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The name of the secret: spreads it among the others.
    pub secret: &'a str,
    /// Switched off, nothing is ever due.
    pub enabled: bool,
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// Runs start in `0..jitter` after the firing. Must be below the schedule's shortest gap.
    pub jitter: SignedDuration,
    /// When nothing that is due begins; the expiry guard alone may disregard it.
    pub blackouts: &'a Blackouts,
    /// What happens when a due time passed unserved.
    pub missed: Missed,
    /// From the journal: when the secret was first seen. No earlier firing counts.
    pub adopted_at: Timestamp,
    /// From the journal: [`Due::instant`] of the last run that succeeded. For a secret that is
    /// stuck, the instant that was given up on, so that it waits for the next one.
    pub last_due: Option<Timestamp>,
    /// When the current token was created, if that is known.
    pub created: Option<Timestamp>,
    /// When the current token expires; `None` when it never does, or when that is not known.
    pub expires: Option<Timestamp>,
    /// When Vault deletes the value; `None` when it never does, or when that is not known. One that lives no longer than twice the grace is
    /// no reason to rotate: its successor would be due at once.
    pub value_ends: Option<Timestamp>,
    /// How long the old token stays valid after a switch.
    pub grace: SignedDuration,
    /// Whether a token is rotated before it expires, whatever the schedule says.
    pub expiry_guard: bool,
    /// Since when this daemon is able to rotate: its start, or when Vault came back, whichever is
    /// later. Runs that were missed before are spread from here.
    pub able_since: Timestamp,
    /// Missed runs start in `0..catch_up_spread` after `able_since`.
    pub catch_up_spread: SignedDuration,
    /// The clock.
    pub now: Timestamp,
}

/// The next run of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// When to start it: at once when this is not after `now`.
    pub at: Timestamp,
    /// What the run serves. The journal keeps it as the last due instant once the run succeeded.
    /// Always after [`Input::last_due`].
    pub instant: Timestamp,
    /// Why.
    pub trigger: Trigger,
    /// The sentence for `status`, without a full stop.
    pub because: String,
}

/// The answer of [`next_due`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The next run, in the future or due now.
    Due(Due),
    /// Nothing will ever be due as things are, with the sentence for `status`.
    Never {
        /// The sentence, without a full stop.
        because: String,
    },
}

impl Next {
    /// The run, if there is one.
    pub fn due(self) -> Option<Due> {
        match self {
            Next::Due(due) => Some(due),
            Next::Never { .. } => None,
        }
    }
}

/// When the secret is due next, and why.
///
/// - No firing before its adoption, or at or before the last one served, is ever due again.
/// - However many firings passed unserved, one run serves them all: it takes the last of them as
///   its instant. Less than [`LATENESS`] after its time it counts as `schedule`, later as `missed`,
///   or is skipped under [`Missed::Skip`].
/// - The expiry guard strikes when less than the larger of the grace and a fifth of the lifetime is
///   left, once for each token. Before a secret's first firing after its adoption it strikes only if
///   the token would not live until then and through the grace after it.
/// - During a blackout nothing begins: what is due then starts at its end. A token that would not live through the blackout
///   and the grace after it is rotated before the blackout; if it came too late for that, at its time.
/// - A run that is due serves everything that has struck by now, the guard and the schedule, so
///   that the one does not follow on the heels of the other.
///
/// Ask again after each run, reload and tick. Do not ask again about a run that waits for its turn
/// in a queue or for a retry: it would turn from `schedule` into `missed`, or be skipped.
pub fn next_due(input: &Input<'_>) -> Next {
    if !input.enabled {
        return Next::Never {
            because: "switched off (`enabled = false`)".to_owned(),
        };
    }
    let scheduled = unserved(input).or_else(|| upcoming(input));
    let guarded = expiry(input);
    match (scheduled, guarded) {
        (Some(scheduled), Some(guarded)) => Next::Due(earlier(input, scheduled, guarded)),
        (Some(due), None) | (None, Some(due)) => Next::Due(due),
        (None, None) => Next::Never {
            because: format!("{} no longer fires", describe(input.schedule)),
        },
    }
}

/// The last firing that passed unserved and is not made up for ([`Missed::Skip`]).
pub fn skipped(input: &Input<'_>) -> Option<Timestamp> {
    let instant = input.schedule.previous_at_or_before(input.now)?;
    let skips = input.enabled
        && input.missed == Missed::Skip
        && instant > served(input)
        && planned(input, instant).duration_until(input.now) >= LATENESS;
    skips.then_some(instant)
}

/// Since when a rotation that is due by now is not done: the planned time of the first firing, or of the strike of the expiry guard, that
/// passed unserved, but not before this daemon was able to rotate.
pub fn unserved_since(input: &Input<'_>) -> Option<Timestamp> {
    let first = match input.missed {
        Missed::Run => input.schedule.next_after(served(input)),
        // What passed before the last firing was skipped as configured.
        Missed::Skip => input.schedule.previous_at_or_before(input.now),
    };
    let first = first.filter(|first| input.enabled && *first > served(input));
    let first = first.map(|first| planned(input, first));
    let guarded = expiry(input).filter(|_| input.enabled).map(|due| due.at);
    let first = first.map(|first| {
        let overtaken = first.checked_add(OVERTAKEN).ok();
        let end = overtaken.and_then(|at| input.blackouts.end(at));
        end.unwrap_or(first)
    });
    let since = first.into_iter().chain(guarded).min()?;
    (since <= input.now).then_some(since.max(input.able_since))
}

/// The last firing that passed since the last one served.
fn unserved(input: &Input<'_>) -> Option<Due> {
    let instant = input.schedule.previous_at_or_before(input.now)?;
    if instant <= served(input) {
        return None;
    }
    let planned = planned(input, instant);
    if planned.duration_until(input.now) < LATENESS {
        return Some(by_schedule(input, instant));
    }
    match input.missed {
        Missed::Skip => None,
        Missed::Run => Some(Due {
            at: waited_out(input, caught_up(input, planned)),
            instant,
            trigger: Trigger::Missed,
            because: format!(
                "the due time {} by {} passed unserved, one run makes up for it{}",
                local(input, instant),
                describe(input.schedule),
                delayed(input, planned)
            ),
        }),
    }
}

/// The first firing still to come.
fn upcoming(input: &Input<'_>) -> Option<Due> {
    let instant = input.schedule.next_after(served(input).max(input.now))?;
    Some(by_schedule(input, instant))
}

/// The end of the token or of its value in Vault, whichever is first, and what happens then.
fn first_end(input: &Input<'_>) -> Option<(Timestamp, &'static str)> {
    let lives = |ends: &Timestamp| {
        let created = input.created.map(|created| created.duration_until(*ends));
        created.is_some_and(|lifetime| lifetime > input.grace * 2)
    };
    let token = input.expires.map(|at| (at, "the token expires"));
    let value = input.value_ends.filter(lives);
    let value = value.map(|at| (at, "Vault deletes the value"));
    token.into_iter().chain(value).min_by_key(|(at, _)| *at)
}

/// The expiry guard.
fn expiry(input: &Input<'_>) -> Option<Due> {
    let (expires, what) = first_end(input).filter(|_| input.expiry_guard)?;
    let lifetime = input.created.map_or(SignedDuration::ZERO, |created| {
        created.duration_until(expires)
    });
    let margin = input.grace.max(lifetime / 5);
    let strikes = expires.checked_sub(margin).unwrap_or(Timestamp::MIN);
    let instant = match input.last_due {
        None => {
            let first = input.schedule.next_after(input.adopted_at);
            let lives_until = expires.checked_sub(input.grace).unwrap_or(Timestamp::MIN);
            if first.is_some_and(|first| input.now < first && planned(input, first) <= lives_until)
            {
                return None;
            }
            strikes.max(input.adopted_at)
        }
        Some(last) if strikes > last => strikes,
        // A token from after the last run, and its guard has struck before it: a short-lived one
        // that someone put in by hand. Its creation is the first instant that is new.
        Some(last) => input.created.filter(|&created| created > last)?,
    };
    let because = format!(
        "{what} at {}, and the expiry guard rotates it when less than {} is left",
        local(input, expires),
        spoken(margin)
    );
    let guarded = Due {
        at: caught_up(input, instant),
        instant,
        trigger: Trigger::Expiry,
        because,
    };
    Some(match input.blackouts.end(guarded.at.max(input.now)) {
        None => guarded,
        Some(end) => around_blackout(input, guarded, end, expires),
    })
}

/// The expiry guard would strike during a blackout that ends at `end`.
fn around_blackout(input: &Input<'_>, guarded: Due, end: Timestamp, expires: Timestamp) -> Due {
    let lives_until = expires.checked_sub(input.grace).unwrap_or(Timestamp::MIN);
    if end <= lives_until {
        return Due {
            at: spread_after(input, end),
            because: guarded.because + &delayed(input, guarded.at),
            ..guarded
        };
    }
    let begin = input.blackouts.begin(guarded.at.max(input.now));
    let before = begin.map(|begin| (begin, before_blackout(input, begin)));
    let is_new = |at: Timestamp| {
        let after = |other: Option<Timestamp>| other.is_none_or(|other| at > other);
        at >= input.adopted_at && after(input.last_due) && after(input.created)
    };
    match before.filter(|(_, at)| *at < guarded.at && is_new(*at)) {
        Some((begin, at)) => Due {
            at,
            instant: guarded.instant.min(at),
            because: format!(
                "{}; rotated before the blackout that begins at {}",
                guarded.because,
                local(input, begin)
            ),
            ..guarded
        },
        // It is due already, or too late for that: a blackout must not let a token expire.
        None => guarded,
    }
}

/// A time shortly before a blackout, outside of any other.
fn before_blackout(input: &Input<'_>, begin: Timestamp) -> Timestamp {
    let mut begin = begin;
    loop {
        let at = begin.checked_sub(BEFORE_BLACKOUT).unwrap_or(Timestamp::MIN);
        let spread = jitter(input.secret, begin, BEFORE_BLACKOUT / 2);
        let at = at.checked_add(spread).unwrap_or(at);
        match input.blackouts.begin(at) {
            Some(earlier) if earlier < begin => begin = earlier,
            _ => return at,
        }
    }
}

/// The earlier of the two; when it is due by now, it serves the other instant, too, if that has
/// struck.
fn earlier(input: &Input<'_>, scheduled: Due, guarded: Due) -> Due {
    let (first, second) = if guarded.at < scheduled.at {
        (guarded, scheduled)
    } else {
        (scheduled, guarded)
    };
    if first.at > input.now || second.instant > input.now {
        return first;
    }
    let instant = first.instant.max(second.instant);
    Due {
        // No run is said to start before the instant that it serves.
        at: first.at.max(instant),
        instant,
        ..first
    }
}

fn by_schedule(input: &Input<'_>, instant: Timestamp) -> Due {
    let spread = if input.jitter.is_positive() {
        format!(", spread from {} by jitter", local(input, instant))
    } else {
        String::new()
    };
    Due {
        at: waited_out(input, planned(input, instant)),
        instant,
        trigger: Trigger::Schedule,
        because: format!(
            "next by {}{spread}{}",
            describe(input.schedule),
            delayed(input, fired(input, instant))
        ),
    }
}

/// Nothing up to this instant is still due.
fn served(input: &Input<'_>) -> Timestamp {
    input
        .last_due
        .map_or(input.adopted_at, |last| last.max(input.adopted_at))
}

/// The firing with its jitter.
fn fired(input: &Input<'_>, instant: Timestamp) -> Timestamp {
    let spread = jitter(input.secret, instant, input.jitter);
    instant.checked_add(spread).unwrap_or(Timestamp::MAX)
}

/// When the run of a firing starts: with its jitter, and after a blackout.
fn planned(input: &Input<'_>, instant: Timestamp) -> Timestamp {
    let fired = fired(input, instant);
    match input.blackouts.end(fired) {
        Some(end) => spread_after(input, end),
        None => fired,
    }
}

/// A start at `at`, or after the blackout that there is now.
fn waited_out(input: &Input<'_>, at: Timestamp) -> Timestamp {
    match input.blackouts.end(at.max(input.now)) {
        Some(end) => spread_after(input, end),
        None => at,
    }
}

/// All that a blackout has delayed does not start at once, and not in the next blackout.
fn spread_after(input: &Input<'_>, end: Timestamp) -> Timestamp {
    let spread = jitter(input.secret, end, input.catch_up_spread);
    let spread = end.checked_add(spread).unwrap_or(Timestamp::MAX);
    match input.blackouts.end(spread) {
        Some(_) => end,
        None => spread,
    }
}

/// The half sentence about a start at `at`, or by now, that a blackout delays.
fn delayed(input: &Input<'_>, at: Timestamp) -> String {
    let end = input.blackouts.end(at);
    match end.or_else(|| input.blackouts.end(at.max(input.now))) {
        Some(end) => format!(
            ", delayed to the end of a blackout at {}",
            local(input, end)
        ),
        None => String::new(),
    }
}

/// A run that should have started at `planned`, once the daemon is able to: spread among all that
/// are made up for, unless it was able to in time.
fn caught_up(input: &Input<'_>, planned: Timestamp) -> Timestamp {
    if planned >= input.able_since {
        return planned;
    }
    let spread = jitter(input.secret, planned, input.catch_up_spread);
    input
        .able_since
        .checked_add(spread)
        .unwrap_or(Timestamp::MAX)
}

fn describe(schedule: &Schedule) -> String {
    format!("schedule `{}` {}", schedule.cron(), schedule.zone_name())
}

/// Such as `18d`, `1d 12h` or `45m`.
fn spoken(duration: SignedDuration) -> String {
    let minutes = duration.as_mins();
    let parts = [
        (minutes / 1440, 'd'),
        (minutes / 60 % 24, 'h'),
        (minutes % 60, 'm'),
    ];
    let words: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if words.is_empty() {
        format!("{}s", duration.as_secs())
    } else {
        words.join(" ")
    }
}

/// On the wall clock of the secret, to the second.
fn local(input: &Input<'_>, at: Timestamp) -> String {
    let offset = input.schedule.zone().to_offset(at);
    format!("{:.0}", at.display_with_offset(offset))
}

#[cfg(test)]
mod tests;
