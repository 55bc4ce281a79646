//! The picture for a terminal: what needs a human first, in words; the rest as a table. It fits 80 columns.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::humanize::{WIDTH, count, due, exact, hanging, relative, span, width, wrapped};
use super::secret::{Mood, Retiring, Secret, State};
use super::status::{ServiceState, Status, Trouble};

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

/// All secrets: a card for each that needs a human or is tried again, a row for each other one.
pub fn overview(status: &Status, paint: Paint) -> String {
    let status = &status.sanitized();
    let mut text = headline(status, paint);
    for trouble in status.general_troubles() {
        text.push('\n');
        text += &trouble_card(trouble, status.at, paint);
    }
    let (cards, rows): (Vec<&Secret>, Vec<&Secret>) =
        status.worst_first().into_iter().partition(|secret| {
            let mood = secret.state.mood();
            mood == Mood::Bad
                || secret.state == State::Retrying
                || status.troubles_of(&secret.name).next().is_some()
        });
    for secret in cards {
        text.push('\n');
        text += &card(status, secret, paint);
    }
    if !rows.is_empty() {
        text.push('\n');
        text += &table(&rows, status.at, paint);
    }
    text
}

/// Each secret as a card.
pub fn cards(status: &Status, paint: Paint) -> String {
    let status = &status.sanitized();
    let cards: Vec<String> = status
        .worst_first()
        .into_iter()
        .map(|secret| card(status, secret, paint))
        .collect();
    cards.join("\n")
}

fn headline(status: &Status, paint: Paint) -> String {
    let secrets = count(status.secrets.len(), "secret");
    let need = match status.troubles.len() {
        0 => paint.good("nothing needs a human"),
        number => paint.bad(&format!(
            "{} a human",
            if number == 1 {
                "1 thing needs".to_owned()
            } else {
                format!("{number} things need")
            }
        )),
    };
    let mut text = format!("{secrets}, {need}\n");
    if let Some(daemon) = &status.daemon {
        let head = format!(
            "dtrotate {} as {}: {}",
            daemon.version, daemon.instance, daemon.readiness
        );
        text += &paint.quiet(&wrapped(&head, ""));
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

fn trouble_card(trouble: &Trouble, now: Timestamp, paint: Paint) -> String {
    let since = span(now.duration_since(trouble.since));
    let title = format!("{} for {since}", trouble.event);
    format!("{}\n{}", paint.bad(&title), wrapped(&trouble.message, "  "))
}

/// Everything about one secret.
fn card(status: &Status, secret: &Secret, paint: Paint) -> String {
    let now = status.at;
    let mut text = format!("{}  {}\n", secret.name, state(secret, now, paint));
    for trouble in status.troubles_of(&secret.name) {
        text += &paint.bad(&wrapped(&trouble.message, "  "));
    }
    let failure = secret.failure.as_ref();
    if let Some(failure) = failure.filter(|_| secret.state == State::Retrying) {
        text += &paint.uneasy(&wrapped(&failure.message, "  "));
    }
    let mut line = |name: &str, value: String| {
        text += &hanging(&format!("  {name:<10}"), &value);
    };
    if let Some(failure) = failure {
        let times = count(failure.count as usize, "time");
        line("reason", format!("{}, {times}", failure.reason));
    }
    line(
        "place",
        format!("{} (environment {})", secret.place, secret.environment),
    );
    if let Some(token) = &secret.current {
        line("token", token.id.to_string());
        if let Some(created) = token.created {
            line("created", when(created, now));
        }
        line(
            "expires",
            token.expires.map_or("never".to_owned(), |at| when(at, now)),
        );
        if token.unproven {
            line(
                "proof",
                "none: listed as ordered, and no call could show that its value works".to_owned(),
            );
        }
    }
    line(
        "last",
        secret
            .last_success
            .map_or("never".to_owned(), |at| when(at, now)),
    );
    line(
        "next",
        match secret.next {
            Some(at) => format!("{} ({}), {}", due(at, now), exact(at), secret.because),
            None => secret.because.clone(),
        },
    );
    if let Some(holder) = &secret.holder {
        line("at work", holder.clone());
    }
    for entry in &secret.retiring {
        line("retiring", retiring(entry, now));
    }
    text
}

fn when(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", relative(at, now), exact(at))
}

fn retiring(entry: &Retiring, now: Timestamp) -> String {
    let mut text = format!(
        "{}, {} {}",
        entry.id,
        entry.next_step(),
        due(entry.due, now)
    );
    if let Some(held) = entry.held_since {
        let from = entry.used_from.as_deref().unwrap_or("an unknown address");
        let since = span(now.duration_since(held));
        let _ = write!(
            text,
            ", held for {since} because it is still used from {from}"
        );
    }
    for problem in &entry.problems {
        let _ = write!(text, "; {}", problem.message);
    }
    text
}

fn state(secret: &Secret, now: Timestamp, paint: Paint) -> String {
    let words = secret.state.words();
    let since = secret.failure.as_ref().map(|failure| failure.since);
    let text = match since {
        Some(since) => format!("{words} for {}", span(now.duration_since(since))),
        None => words.to_owned(),
    };
    match secret.state.mood() {
        Mood::Bad => paint.bad(&text),
        Mood::Uneasy => paint.uneasy(&text),
        Mood::Good => paint.good(&text),
        Mood::Off => paint.quiet(&text),
    }
}

/// A row for each secret. A name too long for its column has a line of its own.
fn table(secrets: &[&Secret], now: Timestamp, paint: Paint) -> String {
    let head = ["SECRET", "LAST", "NEXT", "OLD", "TOKEN"].map(str::to_owned);
    let rows = secrets.iter().map(|secret| row(secret, now));
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let widest = |column: usize| {
        rows.iter()
            .map(|row| width(&row[column]))
            .max()
            .unwrap_or(0)
    };
    let others: usize = (1..5).map(|column| widest(column) + GAP).sum();
    let name = widest(0).min(WIDTH.saturating_sub(others));
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = row[0].clone();
        if width(&line) > name {
            let _ = writeln!(text, "{line}");
            line.clear();
        }
        line += &" ".repeat(name - width(&line));
        for (column, cell) in row.iter().enumerate().skip(1) {
            line += &" ".repeat(GAP);
            line += cell;
            line += &" ".repeat(widest(column) - width(cell));
        }
        let line = line.trim_end();
        let line = if number == 0 {
            paint.quiet(line)
        } else {
            line.to_owned()
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

fn row(secret: &Secret, now: Timestamp) -> [String; 5] {
    let nothing = || "-".to_owned();
    let next = match (secret.state, secret.next) {
        (State::SwitchedOff, _) => "off".to_owned(),
        (State::Removed, _) => "removed".to_owned(),
        (State::NeverSeen, _) => "unseen".to_owned(),
        (_, Some(at)) if at > now => span(at.duration_since(now)),
        (_, Some(_)) => "now".to_owned(),
        (_, None) => "never".to_owned(),
    };
    let held = secret
        .retiring
        .iter()
        .any(|entry| entry.held_since.is_some());
    let old = match secret.retiring.len() {
        0 => nothing(),
        number => format!("{number}{}", if held { " held" } else { "" }),
    };
    [
        secret.name.clone(),
        secret
            .last_success
            .map_or_else(nothing, |at| span(now.duration_since(at))),
        next,
        old,
        secret
            .current
            .as_ref()
            .map_or_else(nothing, |token| token.id.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn it_fits_80_columns_and_tells_what_needs_a_human_first() {
        let status = fixture::status();
        let text = overview(&status, Paint(false));
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
        let held = cards(
            &status.only(|secret| secret.name == "dynatrace/healthy"),
            Paint(false),
        );
        assert!(held.contains("still used from 192.0.2.7"), "{held}");
        assert!(!text.contains('\x1b'), "colours in a pipe");
        let coloured = overview(&status, Paint(true));
        assert!(coloured.contains("\x1b[1;31m"));
    }

    #[test]
    fn p5_nothing_from_outside_acts_on_the_terminal() {
        let status = fixture::hostile();
        for text in [
            overview(&status, Paint(false)),
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
}
