//! Names of time zones.
//!
//! Only IANA names and `UTC`: a fixed offset or an abbreviation such as `CEST` would be wrong for
//! half of the year. The rules come from the system's zoneinfo, which the distribution keeps up to
//! date, and from the copy in the binary where there is none (an empty container).

use jiff::tz::{TimeZone, TimeZoneDatabase, db};

/// A name that is no IANA time zone. The text says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ZoneError {
    message: String,
}

/// The time zone of an IANA name such as `Europe/Vienna`, or `UTC`. Letter case does not matter;
/// [`TimeZone::iana_name`] of the answer has the usual spelling.
///
/// # Errors
/// Any other text, with the nearest name when there is one.
pub fn zone(name: &str) -> Result<TimeZone, ZoneError> {
    let bundled = TimeZoneDatabase::bundled();
    let known = bundled
        .available()
        .any(|other| other.as_str().eq_ignore_ascii_case(name));
    // A zone younger than this binary. The capital letter keeps out the system's private folders
    // (`posix/...`, and `right/...`, which counts leap seconds).
    let newer = name.contains('/') && name.starts_with(|first: char| first.is_ascii_uppercase());
    if known || newer {
        let found = db().get(name).or_else(|_| bundled.get(name));
        if let Some(found) = found.ok().filter(|zone| !zone.is_unknown()) {
            return Ok(found);
        }
    }
    Err(ZoneError {
        message: refusal(name, &bundled),
    })
}

fn refusal(name: &str, bundled: &TimeZoneDatabase) -> String {
    const EXAMPLES: &str = "write an IANA name such as `Europe/Vienna`, or `UTC`";
    if name.trim().is_empty() {
        return format!("the time zone is empty; {EXAMPLES}");
    }
    let shown: String = name.chars().take(64).collect();
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    if digits.starts_with(['+', '-']) && digits[1..].chars().all(|c| c.is_ascii_digit() || c == ':')
    {
        return format!(
            "`{shown}` is a fixed offset, which would be wrong for half of the year where clocks \
             are changed; {EXAMPLES}"
        );
    }
    match nearest(name, bundled) {
        Some(near) => format!("`{shown}` is not a known time zone; did you mean `{near}`?"),
        None => format!("`{shown}` is not a known time zone; {EXAMPLES}"),
    }
}

/// The IANA name with the fewest typing errors, by the whole name or by its last part (`Vienna`).
fn nearest(name: &str, bundled: &TimeZoneDatabase) -> Option<String> {
    // Nobody mistypes a name of this length, and the distance is quadratic.
    if name.len() > 64 {
        return None;
    }
    let wanted = name.to_lowercase().replace(' ', "_");
    let own_last = wanted.rsplit('/').next().unwrap_or(&wanted);
    let allowed = (wanted.chars().count() / 4).min(3);
    bundled
        .available()
        .filter_map(|candidate| {
            let lower = candidate.as_str().to_lowercase();
            let last = lower.rsplit('/').next().unwrap_or(&lower);
            let whole = strsim::damerau_levenshtein(&wanted, &lower);
            // Equally near by its last part is less convincing than by the whole name.
            let part = strsim::damerau_levenshtein(&wanted, last);
            let rank = (whole * 2).min(part * 2 + 1);
            // The whole of `Europe/Wien` has a few errors less than `Europe/Kiev` has letters; its last part is another word.
            let is_word = strsim::damerau_levenshtein(own_last, last) <= (last.len() / 3).max(1);
            (is_word && rank <= allowed * 2 + 1).then(|| (rank, candidate.as_str().to_owned()))
        })
        .min()
        .map(|(_, name)| name)
}
