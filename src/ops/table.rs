//! The picture for a terminal: what needs a human first, in words; the rest as a table. It fits 80 columns.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::condition::Condition;
use super::humanize::{
    WIDTH, count, exact, hanging, moment, needs_human, relative, span, width, wrapped,
};
use super::secret::{Mood, Secret, State};
use super::status::{Counts, ServiceState, Status, Trouble};

mod card;

/// Two columns are this far apart.
const GAP: usize = 2;

/// Colours, or none: a file or a pipe gets plain text.
#[derive(Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
    fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }
    fn uneasy(self, text: &str) -> String {
        self.with("33", text)
    }
    fn good(self, text: &str) -> String {
        self.with("32", text)
    }
    fn quiet(self, text: &str) -> String {
        self.with("2", text)
    }
}

/// More rows than this are a number, unless all are asked for.
const MANY: usize = 100;

/// So many secrets that need a human are shown with everything that is known of them; of more only what is wrong.
const IN_FULL: usize = 3;
/// Of still more a number, unless all are asked for.
const IN_BRIEF: usize = 10;
/// A terminal shows so many lines; what is longer ends with the headline again.
const SCREEN: usize = 24;

/// All secrets: a card for each that needs a human or is tried again, a row for each other one. What does not fit is a number, unless `all` are
/// asked for.
pub fn overview(status: &Status, paint: Paint, all: bool) -> String {
    let status = &status.sanitized();
    let mut text = headline(status, paint) + &around(status, paint);
    for trouble in status.general_troubles() {
        text.push('\n');
        text += &trouble_card(status, trouble, paint);
    }
    for warning in status.general_warnings() {
        text.push('\n');
        text += &warning_card(warning, status.at, paint);
    }
    let (cards, rows): (Vec<&Secret>, Vec<&Secret>) =
        status.worst_first().into_iter().partition(|secret| {
            let mood = secret.state.mood();
            mood == Mood::Bad
                || secret.state == State::Retrying
                || status.troubles_of(&secret.name).next().is_some()
        });
    let in_full = cards.len() <= IN_FULL;
    let number = if all { cards.len() } else { IN_BRIEF };
    for secret in cards.iter().take(number) {
        text.push('\n');
        text += &match in_full {
            true => card::whole(status, secret, paint),
            false => card::brief(status, secret, paint),
        };
    }
    if cards.len() > number {
        let left = format!(
            "not shown: {}; --all shows each",
            states(status, &cards[number..])
        );
        text.push('\n');
        text += &wrapped(&left, "");
    }
    match rows.len() {
        0 => {}
        number if number > MANY && !all => {
            text.push('\n');
            text += &wrapped(&format!("{}; --all shows each", states(status, &rows)), "");
        }
        _ => {
            text.push('\n');
            text += &table(&rows, status.at, paint);
        }
    }
    if text.lines().count() > SCREEN {
        text.push('\n');
        text += &headline(status, paint);
    }
    text
}

/// `9998 healthy, 2 waiting`.
fn states(status: &Status, secrets: &[&Secret]) -> String {
    let counts = Counts::of(secrets.iter().copied(), &status.troubles);
    let groups = counts.groups().into_iter();
    let groups = groups.map(|group| format!("{} {}", group.number, group.words()));
    groups.collect::<Vec<_>>().join(", ")
}

/// Each secret as a card.
pub fn cards(status: &Status, paint: Paint) -> String {
    let status = &status.sanitized();
    let secrets = status.worst_first().into_iter();
    let secrets = secrets.map(|secret| card::whole(status, secret, paint));
    let pruned = status.pruned.iter().map(|token| token.card(status.at));
    secrets.chain(pruned).collect::<Vec<_>>().join("\n")
}

fn headline(status: &Status, paint: Paint) -> String {
    let secrets = count(status.secrets.len(), "secret");
    let need = match status.troubles.len() {
        0 => paint.good("nothing needs a human"),
        number => paint.bad(&needs_human(number)),
    };
    format!("{secrets}, {need}\n")
}

/// The daemon, its configuration, and the services that are down.
fn around(status: &Status, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(daemon) = &status.daemon {
        let head = format!(
            "dtrotate {} as {}: {}",
            daemon.version, daemon.instance, daemon.readiness
        );
        text += &paint.quiet(&wrapped(&head, ""));
        if let Some(oldest) = status.secrets.iter().filter_map(|it| it.as_of).min() {
            let age = span(status.at.duration_since(oldest));
            let age = format!("each journal document was read within the last {age}");
            text += &paint.quiet(&wrapped(&age, ""));
        }
        if !daemon.reload.ok {
            let refused = format!(
                "the configuration read {} was refused; the one of {} is in force",
                relative(daemon.reload.at, status.at),
                exact(daemon.reload.in_force_since)
            );
            text += &paint.uneasy(&wrapped(&refused, ""));
        }
    }
    for service in &status.services {
        if let (ServiceState::Down, Some(message)) = (service.state, &service.message) {
            let since = service
                .since
                .map(|since| format!(" for {}", span(status.at.duration_since(since))));
            let down = format!(
                "{} is down{}: {message}",
                service.title(),
                since.unwrap_or_default()
            );
            text += &paint.uneasy(&wrapped(&down, ""));
        }
    }
    text
}

fn trouble_card(status: &Status, trouble: &Trouble, paint: Paint) -> String {
    let since = span(status.at.duration_since(trouble.since));
    let title = format!("{} for {since}", trouble.event);
    let advice = status.advice(trouble);
    let advice = advice.map_or_else(String::new, |advice| hanging("  to do     ", &advice));
    let message = wrapped(&trouble.message, "  ");
    format!("{}\n{message}{advice}", paint.bad(&title))
}

/// What needs no human now, and is seen nowhere else.
fn warning_card(warning: &Condition, now: Timestamp, paint: Paint) -> String {
    let since = span(now.duration_since(warning.since));
    let title = format!("{} for {since}, a warning", warning.kind);
    let text = format!("{}. {}", warning.message, warning.what_to_do);
    format!("{}\n{}", paint.uneasy(&title), wrapped(&text, "  "))
}

/// A row for each secret. A long name is shortened in its middle.
fn table(secrets: &[&Secret], now: Timestamp, paint: Paint) -> String {
    let head = ["SECRET", "ENVIRONMENT", "STATE", "LAST", "NEXT", "OLD"].map(str::to_owned);
    let rows = secrets.iter().map(|secret| row(secret, now));
    let mut rows: Vec<[String; COLUMNS]> = std::iter::once(head).chain(rows).collect();
    let widest = |rows: &[[String; COLUMNS]], column: usize| {
        let cells = rows.iter().map(|row| width(&row[column]));
        cells.max().unwrap_or(0)
    };
    for (column, least) in [(1, ENVIRONMENT), (0, 0)] {
        let others = (0..COLUMNS).filter(|it| *it != column);
        let others: usize = others.map(|column| widest(&rows, column) + GAP).sum();
        for row in &mut rows {
            row[column] = shortened(&row[column], WIDTH.saturating_sub(others).max(least));
        }
    }
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| widest(&rows, column));
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))));
        let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        let line = match number {
            0 => paint.quiet(line.trim_end()),
            _ => line.trim_end().to_owned(),
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

const COLUMNS: usize = 6;
/// An environment's name is shown in at least this width.
const ENVIRONMENT: usize = 16;

fn row(secret: &Secret, now: Timestamp) -> [String; COLUMNS] {
    let nothing = || "-".to_owned();
    let zone = secret.zone.as_deref();
    let next = secret.next.map_or_else(nothing, |at| moment(at, now, zone));
    let held = secret.is_held();
    let old = match secret.retiring.len() {
        0 => nothing(),
        number => format!("{number}{}", if held { " held" } else { "" }),
    };
    let last = secret.last_success;
    [
        secret.name.clone(),
        secret.environment.clone(),
        secret.state.words().to_owned(),
        last.map_or_else(nothing, |at| span(now.duration_since(at))),
        next,
        old,
    ]
}

/// `text` in at most `most` columns, its middle left out.
fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (start, end) = (kept / 2, kept - kept / 2);
    let start: String = text.chars().take(start).collect();
    let end: String = text.chars().skip(width(text) - end).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use rotation::event::EventName;
    use rotation::retiring::Problem;

    use super::super::fixture;
    use super::*;

    #[test]
    fn it_fits_80_columns_and_tells_what_needs_a_human_first() {
        let status = fixture::status();
        let text = overview(&status, Paint(false), false);
        for line in text.lines().filter(|line| line.contains(' ')) {
            assert!(width(line) <= WIDTH, "{} columns: {line}", width(line));
        }
        let at = |word: &str| {
            text.find(word)
                .unwrap_or_else(|| panic!("no {word} in\n{text}"))
        };
        assert!(
            text.starts_with("6 secrets, 2 things need a human\n"),
            "{text}"
        );
        assert!(at("dynatrace/stuck") < at("dynatrace/failing"));
        assert!(at("dynatrace/failing") < at("SECRET"));
        assert!(at("SECRET") < at("dynatrace/healthy"));
        assert!(text.contains("1 held"), "{text}");
        let row = "a/switched-…n-its-column  prod         switched off  2d    -              -";
        assert!(text.contains(row), "{text}");
        let held = cards(
            &status.only(|secret| secret.name == "dynatrace/healthy"),
            Paint(false),
        );
        assert!(held.contains("still used from 192.0.2.7"), "{held}");
        let drift = "drift     it lacks logs.ingest; the next rotation applies it";
        assert!(held.contains(drift), "{held}");
        assert!(!text.contains('\x1b'), "colours in a pipe");
        let coloured = overview(&status, Paint(true), false);
        assert!(coloured.contains("\x1b[1;31m"));
    }

    #[test]
    fn p8_a_retirement_that_is_blocked_is_not_announced() {
        let mut status = fixture::status();
        let mut held = status.secrets.iter_mut().filter(|it| it.is_held());
        let entry = &mut held.next().expect("a secret").retiring[0];
        entry.problems = vec![Problem {
            event: "retirement_blocked".to_owned(),
            message: "nothing proves it".to_owned(),
            since: status.at,
        }];
        let text = cards(&status.only(|it| it.is_held()), Paint(false));
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(", tried again "), "{text}");
        assert!(
            !text.contains(", disabled ") && text.contains("; nothing proves it"),
            "{text}"
        );
    }

    #[test]
    fn p8_a_warning_about_no_secret_is_shown() {
        let mut status = fixture::status();
        let message = "3 tokens of account main can be deleted now";
        let mut warning = Condition::new(EventName::RetirementBlocked, message, status.at);
        warning.what_to_do = "Run it again.".to_owned();
        status
            .conditions
            .push(warning.environment("account main").warning());
        let text = overview(&status, Paint(false), false);
        assert!(
            text.contains("\nretirement_blocked for 0s, a warning\n  3 tokens of account main can be deleted now. Run it again.\n"),
            "{text}"
        );
        assert!(
            text.starts_with("6 secrets, 2 things need a human\n"),
            "it needs no human: {text}"
        );
    }

    #[test]
    fn many_healthy_secrets_are_a_number() {
        let status = fixture::many(1_000, true);
        let text = overview(&status, Paint(false), false);
        assert!(text.lines().count() < 30, "{text}");
        assert!(text.contains("\n999 healthy; --all shows each\n"), "{text}");
        assert!(
            text.contains("dynatrace/service-00999"),
            "the one that is stuck"
        );
        let all = overview(&status, Paint(false), true);
        assert!(all.lines().count() > 1_000);
    }

    #[test]
    fn p8_a_secret_with_an_open_error_is_not_counted_as_healthy() {
        let status = fixture::cut_off(40);
        let text = overview(&status, Paint(false), false);
        assert!(
            text.contains("\nnot shown: 30 with a problem; --all shows each\n"),
            "{text}"
        );
        assert!(!text.contains(" healthy"), "{text}");
    }

    #[test]
    fn many_problems_do_not_scroll_the_headline_away() {
        let status = fixture::many(40, false);
        let text = overview(&status, Paint(false), false);
        let headline = "40 secrets, 40 things need a human\n";
        assert!(
            text.starts_with(headline) && text.ends_with(headline),
            "{text}"
        );
        assert!(
            text.contains("\nnot shown: 30 stuck; --all shows each\n"),
            "{text}"
        );
        assert!(text.lines().count() < 60, "{text}");
        let all = overview(&status, Paint(false), true);
        assert!(all.contains("dynatrace/service-00039"), "{all}");
    }

    #[test]
    fn times_are_those_of_the_zone_of_the_schedule() {
        let mut status = fixture::status();
        for secret in &mut status.secrets {
            secret.zone = Some("Europe/Vienna".to_owned());
        }
        let text = overview(&status, Paint(false), false);
        assert!(text.contains("Wed 15:00 CET"), "{text}");
        let card = cards(
            &status.only(|it| it.name == "dynatrace/healthy"),
            Paint(false),
        );
        assert!(card.contains("(2026-11-25 15:00:00 CET)"), "{card}");
    }

    #[test]
    fn p5_nothing_from_outside_acts_on_the_terminal() {
        let status = fixture::hostile();
        for text in [
            overview(&status, Paint(false), false),
            cards(&status, Paint(false)),
        ] {
            let acts = |c| c != '\n' && crate::sanitize::is_hazard(c);
            assert!(!text.contains(acts), "{text:?}");
            assert!(
                text.contains("\\u{1b}[2J") && !text.contains("CANARY"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_secret_is_found_by_the_id_of_any_of_its_tokens_and_shown_without_the_troubles_of_others() {
        let status = fixture::status();
        let names = |id: &str| -> Vec<String> {
            let only = status.only(|secret| secret.has_token(id));
            only.secrets.into_iter().map(|secret| secret.name).collect()
        };
        for id in [
            "dt0c01.OLDAAAAAAAAAAAAAAAAAAAAA",
            "dt0c01.HEALTHYAAAAAAAAAAAAAAAAA.PASTED",
        ] {
            assert_eq!(names(id), ["dynatrace/healthy"]);
        }
        assert!(names("nosuch").is_empty());
        let of = |name: &str| status.only(|secret| secret.name == name).troubles.len();
        assert_eq!((of("dynatrace/healthy"), of("dynatrace/stuck")), (0, 1));
    }

    #[test]
    fn p8_every_condition_that_is_counted_is_shown() {
        let mut status = fixture::many(5, false);
        let second = Trouble {
            event: "retirement_blocked".to_owned(),
            message: "the second problem of the same secret".to_owned(),
            ..status.troubles[0].clone()
        };
        status.troubles.push(second);
        let text = overview(&status, Paint(false), false);
        assert!(
            text.starts_with("5 secrets, 6 things need a human\n"),
            "{text}"
        );
        assert!(text.contains("the second problem"), "{text}");
    }
}
