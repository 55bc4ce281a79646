//! Cron text to [`Cron`].
//!
//! One dialect, the standard one; whatever another cron reads differently is refused with a
//! sentence that names the replacement, never guessed at.
//!
//! - Five fields: minute, hour, day of month, month, day of week. A sixth one in front is seconds.
//! - `*`, `N`, `A-B`, each with a step (`*/5`, `10-40/10`), and lists of them. `N/S` is `N-max/S`.
//! - Months and weekdays by number or by the first three letters of the English name, in any case.
//!   Sunday is 0 or 7, and may end a range (`FRI-SUN`, `5-7`).
//! - `@yearly @annually @monthly @weekly @daily @midnight @hourly`, in any case.

use std::ops::Range;

use super::cron::Cron;
use super::dialect::{nickname, refuse_foreign, refuse_time_zone};

/// Longer than a list of every number in every field.
const MAX_LENGTH: usize = 1000;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A text that is not a cron expression, or one that never fires.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    message: String,
    span: Range<usize>,
}

impl CronError {
    pub(super) fn new(part: Part<'_>, message: impl Into<String>) -> CronError {
        CronError {
            message: message.into(),
            span: part.start..part.start + part.text.len(),
        }
    }

    /// What is wrong and what to write. One sentence or two, no full stop, no line break.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The bytes of the parsed text that are wrong, on character boundaries. Empty only when the
    /// text is.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

/// A piece of the text, and where it starts there.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl<'a> Part<'a> {
    /// For a message: bounded, and without control characters.
    pub(super) fn shown(self) -> String {
        let mut shown: String = self.text.chars().take(40).collect();
        if shown.len() < self.text.len() {
            shown.push('…');
        }
        shown.escape_debug().to_string()
    }

    pub(super) fn split(self, at: impl Fn(char) -> bool) -> impl Iterator<Item = Part<'a>> {
        let mut start = self.start;
        self.text.split(at).map(move |text| {
            let part = Part { text, start };
            // The separators are all one byte long.
            start += text.len() + 1;
            part
        })
    }

    fn split_once(self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        let (left, right) = self.text.split_once(separator)?;
        let right = Part {
            text: right,
            start: self.start + left.len() + separator.len_utf8(),
        };
        Some((
            Part {
                text: left,
                start: self.start,
            },
            right,
        ))
    }
}

/// What one field may hold.
pub(super) struct Kind {
    pub(super) name: &'static str,
    first: u8,
    last: u8,
    /// The largest number that is understood: 7 is one more Sunday.
    highest: u8,
    /// Names of the numbers from `first` on.
    names: &'static [&'static str],
}

const KINDS: [Kind; 6] = [
    Kind::plain("second", 0, 59),
    Kind::plain("minute", 0, 59),
    Kind::plain("hour", 0, 23),
    Kind::plain("day of month", 1, 31),
    Kind {
        names: &MONTHS,
        ..Kind::plain("month", 1, 12)
    },
    Kind {
        highest: 7,
        names: &WEEKDAYS,
        ..Kind::plain("day of week", 0, 6)
    },
];

impl Kind {
    const fn plain(name: &'static str, first: u8, last: u8) -> Kind {
        Kind {
            name,
            first,
            last,
            highest: last,
            names: &[],
        }
    }

    fn is_weekday(&self) -> bool {
        self.highest > self.last
    }
}

impl Cron {
    /// Reads an expression. The module's documentation says what is understood.
    ///
    /// # Errors
    /// Anything else, and expressions that can never fire, such as 30 February.
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let trimmed = text.trim();
        let whole = Part {
            text: trimmed,
            start: text.len() - text.trim_start().len(),
        };
        if trimmed.is_empty() {
            return Err(CronError::new(
                Part { text, start: 0 },
                "the schedule is empty; write five fields (minute, hour, day of month, month, \
                 day of week), such as `0 3 * * *` for 03:00 every day",
            ));
        }
        if trimmed.len() > MAX_LENGTH {
            return Err(CronError::new(
                whole,
                format!("the schedule is longer than {MAX_LENGTH} bytes; use ranges and steps"),
            ));
        }
        refuse_time_zone(whole)?;
        if trimmed.starts_with('@') {
            return nickname(whole);
        }
        let fields: Vec<Part<'_>> = whole
            .split(|c| c.is_ascii_whitespace())
            .filter(|part| !part.text.is_empty())
            .collect();
        let cron = from_fields(whole, &fields)?;
        if cron.fires() {
            return Ok(cron);
        }
        let days = fields[fields.len() - 3];
        let months = fields[fields.len() - 2];
        let never = Part {
            text: &text[days.start..months.start + months.text.len()],
            start: days.start,
        };
        Err(CronError::new(
            never,
            format!(
                "this never fires: no such month has day {}; write a day that exists, such as 28",
                days.shown()
            ),
        ))
    }
}

fn from_fields(whole: Part<'_>, fields: &[Part<'_>]) -> Result<Cron, CronError> {
    let kinds = match fields.len() {
        5 => &KINDS[1..],
        6 => &KINDS[..],
        7 => {
            return Err(CronError::new(
                fields[6],
                "a seventh field (the year) is not supported; write five fields, or six with \
                 seconds in front",
            ));
        }
        found => {
            return Err(CronError::new(
                whole,
                format!(
                    "a schedule has five fields (minute, hour, day of month, month, day of week), \
                     or six with seconds in front, but this has {found}"
                ),
            ));
        }
    };
    let mut masks = [1, 0, 0, 0, 0, 0];
    let skipped = KINDS.len() - kinds.len();
    for ((mask, kind), part) in masks[skipped..].iter_mut().zip(kinds).zip(fields) {
        *mask = field(*part, kind).map_err(|error| with_seconds(error, whole, fields))?;
    }
    let starred = |from_the_end: usize| fields[fields.len() - from_the_end].text.starts_with('*');
    let words: Vec<&str> = fields.iter().map(|part| part.text).collect();
    let [seconds, minutes, hours, days, months, weekdays] = masks;
    Ok(Cron {
        text: words.join(" "),
        seconds,
        minutes,
        hours,
        days,
        months,
        weekdays,
        any_hour: starred(4),
        any_day: starred(3),
        any_weekday: starred(1),
    })
}

/// Six fields that are wrong, and whose first five are an expression: the last one was taken for something else, such as a year.
fn with_seconds(error: CronError, whole: Part<'_>, fields: &[Part<'_>]) -> CronError {
    let first: Vec<&str> = fields.iter().take(5).map(|part| part.text).collect();
    if fields.len() != 6 || from_fields(whole, &fields[..5]).is_err() {
        return error;
    }
    CronError {
        message: format!(
            "{}; six fields begin with the seconds: write `{}` if five are meant",
            error.message,
            first.join(" ")
        ),
        ..error
    }
}

fn field(part: Part<'_>, kind: &Kind) -> Result<u64, CronError> {
    refuse_foreign(part, kind)?;
    part.split(|c| c == ',')
        .try_fold(0, |mask, item| Ok(mask | self::item(item, part, kind)?))
}

/// One element of a list. `whole` is the field, to point at when the element is empty.
fn item(part: Part<'_>, whole: Part<'_>, kind: &Kind) -> Result<u64, CronError> {
    if part.text.is_empty() {
        return Err(CronError::new(
            whole,
            format!(
                "an empty place in the list of the {} field; remove the comma",
                kind.name
            ),
        ));
    }
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(self::step(step, part, kind)?)),
        None => (part, None),
    };
    let (first, last) = if range.text == "*" {
        (kind.first, kind.last)
    } else if let Some((from, to)) = range.split_once('-') {
        let first = number(from, part, kind)?;
        let mut last = number(to, part, kind)?;
        if kind.is_weekday() && last == 0 && to.text.eq_ignore_ascii_case("SUN") {
            last = 7;
        }
        if first > last {
            let (end, begin) = (kind.last, kind.first);
            let right = match (kind.is_weekday(), first, last) {
                // Sunday is 0 at the beginning of a range, and 7 at its end.
                (true, 7, _) => format!("write `0-{last}`"),
                (true, _, 0) => format!("write `{first}-7`"),
                _ => format!("write it as two: `{first}-{end},{begin}-{last}`"),
            };
            let message = format!("the range `{}` runs backwards; {right}", range.shown());
            return Err(CronError::new(range, message));
        }
        (first, last)
    } else {
        let first = number(range, part, kind)?;
        // `N/S` counts from N to the end of the field.
        (
            first,
            if step.is_some() {
                kind.last.max(first)
            } else {
                first
            },
        )
    };
    Ok((first..=last)
        .step_by(usize::from(step.unwrap_or(1)))
        .map(|value| if kind.is_weekday() { value % 7 } else { value })
        .fold(0, |mask, value| mask | 1 << value))
}

fn step(part: Part<'_>, whole: Part<'_>, kind: &Kind) -> Result<u8, CronError> {
    let size = kind.last - kind.first + 1;
    let Some(step) = digits(part) else {
        return Err(CronError::new(
            if part.text.is_empty() { whole } else { part },
            format!("the step after `/` must be a number from 1 to {size}"),
        ));
    };
    if step == 0 {
        return Err(CronError::new(
            part,
            "a step of 0 never advances; write 1 or more",
        ));
    }
    if step > usize::from(size) {
        return Err(CronError::new(
            part,
            format!(
                "a step of {} is more than the {size} values of the {} field, so it would fire \
                 at the first one only; steps do not carry over into the next field",
                part.shown(),
                kind.name
            ),
        ));
    }
    Ok(u8::try_from(step).unwrap_or(size))
}

fn number(part: Part<'_>, whole: Part<'_>, kind: &Kind) -> Result<u8, CronError> {
    let named = kind
        .names
        .iter()
        .zip(kind.first..)
        .find(|(name, _)| name.eq_ignore_ascii_case(part.text));
    if let Some((_, value)) = named {
        return Ok(value);
    }
    let at = if part.text.is_empty() { whole } else { part };
    match digits(part) {
        Some(value) if (usize::from(kind.first)..=usize::from(kind.highest)).contains(&value) => {
            Ok(u8::try_from(value).unwrap_or(kind.highest))
        }
        Some(_) => Err(CronError::new(
            at,
            format!(
                "the {} field takes {} to {}, not {}",
                kind.name,
                kind.first,
                kind.highest,
                part.shown()
            ),
        )),
        None => Err(CronError::new(at, not_a_number(part, whole, kind))),
    }
}

fn not_a_number(part: Part<'_>, whole: Part<'_>, kind: &Kind) -> String {
    let upper = part.text.to_ascii_uppercase();
    let long = kind.names.iter().find(|name| upper.starts_with(**name));
    if let Some(name) = long {
        return format!("names have three letters: write {name}");
    }
    let names = match kind.names {
        [first, .., last] => format!(", or {first} to {last}"),
        _ => String::new(),
    };
    format!(
        "`{}` is not valid in the {} field; write {} to {}{names}, or `*`",
        whole.shown(),
        kind.name,
        kind.first,
        kind.highest
    )
}

/// Plain decimal digits; more than nine count as a number that is too large.
fn digits(part: Part<'_>) -> Option<usize> {
    let plain = !part.text.is_empty() && part.text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| part.text.parse().unwrap_or(usize::MAX))
}
