//! What other crons understand and this one does not, each refused with what to write instead; and the nicknames, which are the same
//! everywhere.

use super::cron::Cron;
use super::parse::{CronError, Kind, Part};

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// `CRON_TZ=Europe/Vienna 0 3 * * *`, as some crons have it.
pub(super) fn refuse_time_zone(whole: Part<'_>) -> Result<(), CronError> {
    let (first, rest) = whole
        .text
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or((whole.text, ""));
    let Some((variable, zone)) = first.split_once('=') else {
        return Ok(());
    };
    let part = Part {
        text: first,
        start: whole.start,
    };
    if !variable.eq_ignore_ascii_case("CRON_TZ") && !variable.eq_ignore_ascii_case("TZ") {
        return Err(CronError::new(
            part,
            "a schedule takes no variables; write only the five fields, such as `0 3 * * *`",
        ));
    }
    let zone = Part {
        text: zone,
        start: 0,
    };
    let rest = Part {
        text: rest.trim(),
        start: 0,
    };
    Err(CronError::new(
        part,
        format!(
            "the time zone has a separate key: write `timezone = \"{}\"` and \
             `schedule = \"{}\"`",
            zone.shown(),
            rest.shown()
        ),
    ))
}

pub(super) fn nickname(whole: Part<'_>) -> Result<Cron, CronError> {
    let word = whole.text.to_ascii_lowercase();
    if let Some((_, fields)) = NICKNAMES.iter().find(|(name, _)| *name == word) {
        return Cron::parse(fields).map(|cron| Cron {
            text: whole.text.to_owned(),
            ..cron
        });
    }
    let message = if word == "@reboot" {
        "`@reboot` is not a time; with `missed = \"run\"` (the default) a run that was missed while \
         the daemon was down is made up for at its start, and `dtrotate rotate NAME` rotates now"
            .to_owned()
    } else if word.starts_with("@every") {
        "`@every` would count from the start of the daemon; write fixed times, such as \
         `*/5 * * * *` for every 5 minutes or `0 */6 * * *` for every 6 hours"
            .to_owned()
    } else {
        let near = NICKNAMES
            .iter()
            .map(|(name, _)| (strsim::damerau_levenshtein(name, &word), *name))
            .min()
            .filter(|(distance, _)| *distance <= 2);
        match near {
            Some((_, name)) => format!("unknown nickname; did you mean `{name}`?"),
            None => "unknown nickname; there are @yearly, @annually, @monthly, @weekly, @daily, \
                     @midnight and @hourly"
                .to_owned(),
        }
    };
    Err(CronError::new(whole, message))
}

/// Signs of other dialects, which would be misread.
pub(super) fn refuse_foreign(part: Part<'_>, kind: &Kind) -> Result<(), CronError> {
    let letter = |wanted: char| {
        // A letter of its own, not one of a name such as JUL or WED.
        part.split(|c| matches!(c, ',' | '-' | '/')).any(|word| {
            let rest = word.text.trim_matches(|c: char| c.is_ascii_digit());
            rest.eq_ignore_ascii_case(wanted.encode_utf8(&mut [0; 4]))
        })
    };
    let upper = part.text.to_ascii_uppercase();
    let message = if part.text.contains('?') {
        "`?` belongs to another cron (Quartz), which also counts Sunday as 1; write `*`, and check \
         the days of the week (here Sunday is 0 or 7)"
    } else if part.text.contains('#') {
        "`#` (the n-th weekday of a month) is not supported; write one day of the month, or every \
         such weekday"
    } else if part.text.contains('~') || letter('H') || upper.starts_with("H(") {
        "random times (`H`, `~`) are not supported; write a time, and set `jitter` to spread the \
         secrets"
    } else if letter('L') {
        "`L` (the last) is not supported; write a day that every month has, such as 28"
    } else if letter('W') || upper.contains("LW") {
        "`W` (the nearest working day) is not supported; write weekdays, such as `0 3 * * MON-FRI`"
    } else if part.text.contains(['–', '—', '−']) {
        "this dash is not the one of the keyboard; write `-`"
    } else {
        return Ok(());
    };
    Err(CronError::new(
        part,
        format!("{message} (in the {} field)", kind.name),
    ))
}
