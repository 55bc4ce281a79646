//! The keys that may stand in `[defaults]` and in every `[[secret]]`, and which of several tables decides.

use std::time::Duration;

use super::checks;
use super::duration;
use super::problem::Placed;
use super::reading::Reading;
use super::section::Section;
use super::settings::Missed;
use super::timing::Timings;
use rotation::plan::{Lifetime, StillUsed};

/// One key of one table.
pub(super) enum Wish<T> {
    /// Not given.
    Absent,
    /// Given and refused; the problem is told already.
    Bad,
    Good(Placed<T>),
}

impl<T> Wish<T> {
    /// What was read under a key, together with whether the key is there.
    pub fn new(section: &Section<'_>, key: &str, read: Option<Placed<T>>) -> Wish<T> {
        match read {
            Some(value) => Wish::Good(value),
            None if section.has(key) => Wish::Bad,
            None => Wish::Absent,
        }
    }

    /// `Err` for what was refused.
    pub fn given(&self) -> Result<Option<&Placed<T>>, Refused> {
        match self {
            Wish::Absent => Ok(None),
            Wish::Bad => Err(Refused),
            Wish::Good(value) => Ok(Some(value)),
        }
    }
}

/// Something was refused, and the problem is told already.
#[derive(Debug)]
pub(super) struct Refused;

/// The wishes of one table.
pub(super) struct Wishes {
    pub environment: Wish<String>,
    pub mount: Wish<String>,
    pub fields: Wish<Vec<String>>,
    pub schedule: Wish<String>,
    pub timezone: Wish<String>,
    pub jitter: Wish<Duration>,
    pub grace: Wish<Duration>,
    pub max_grace: Wish<Duration>,
    pub quarantine: Wish<Duration>,
    pub still_used: Wish<StillUsed>,
    pub lifetime: Wish<Lifetime>,
    pub missed: Wish<Missed>,
    pub expiry_guard: Wish<bool>,
    pub enabled: Wish<bool>,
}

impl Wishes {
    /// Reads them; expressions and zones are checked here, so that a default that nobody uses is checked, too.
    pub fn read(section: &Section<'_>, timings: &mut Timings, reading: &Reading) -> Wishes {
        let length = |key, zero| Wish::new(section, key, section.length(key, zero));
        let flag = |key| Wish::new(section, key, section.boolean(key));
        let schedule = section
            .text("schedule")
            .filter(|text| timings.cron(text, reading).is_some());
        let timezone = section
            .text("timezone")
            .filter(|name| timings.zone(name, reading).is_some());
        let still_used = [("hold", StillUsed::Hold), ("warn", StillUsed::Warn)];
        let missed = [("run", Missed::Run), ("skip", Missed::Skip)];
        Wishes {
            environment: Wish::new(section, "environment", section.text("environment")),
            mount: Wish::new(
                section,
                "mount",
                section.parsed("mount", checks::vault_path),
            ),
            fields: Wish::new(section, "field", fields(section, reading)),
            schedule: Wish::new(section, "schedule", schedule),
            timezone: Wish::new(section, "timezone", timezone),
            jitter: length("jitter", true),
            grace: length("grace", true),
            max_grace: length("max_grace", true),
            quarantine: length("quarantine", true),
            still_used: Wish::new(
                section,
                "still_used",
                section.choice("still_used", &still_used),
            ),
            lifetime: Wish::new(section, "lifetime", section.parsed("lifetime", lifetime)),
            missed: Wish::new(section, "missed", section.choice("missed", &missed)),
            expiry_guard: flag("expiry_guard"),
            enabled: flag("enabled"),
        }
    }
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "inherit" => Ok(Lifetime::Inherit),
        "never" => Ok(Lifetime::Never),
        text => match duration::parse(text) {
            Ok(length) if length.is_zero() => Err("must be longer than zero".into()),
            Ok(length) => Ok(Lifetime::For(length)),
            Err(why) if text.starts_with(|c: char| c.is_ascii_digit()) => Err(why),
            Err(_) => Err(
                "is unknown here; this is \"inherit\", \"never\" or a length such as \"90d\""
                    .into(),
            ),
        },
    }
}

/// One field or several, each named once.
fn fields(section: &Section<'_>, reading: &Reading) -> Option<Placed<Vec<String>>> {
    let written = section.texts("field")?;
    let mut names: Vec<String> = Vec::new();
    let mut refused = false;
    for text in &written.value {
        let why = match checks::field(&text.value) {
            Err(why) => why,
            Ok(name) if names.contains(&name) => "stands twice in this list".to_owned(),
            Ok(name) => {
                names.push(name);
                continue;
            }
        };
        refused = true;
        let message = format!("\"{}\" {why}", text.value);
        reading.problem(super::problem::Problem::new(&text.place, message));
    }
    (!refused).then(|| written.map(|_| names))
}

/// The tables that decide about one secret, the nearest first: its own, its file's defaults, the defaults.
pub(super) struct Layers<'a> {
    pub tables: Vec<&'a Wishes>,
}

impl<'a> Layers<'a> {
    /// The nearest table that has the key.
    pub fn pick<T: 'a>(
        &self,
        key: impl Fn(&'a Wishes) -> &'a Wish<T>,
    ) -> Result<Option<&'a Placed<T>>, Refused> {
        let wish = self.tables.iter().map(|table| key(table));
        let mut given = wish.filter(|wish| !matches!(wish, Wish::Absent));
        given.next().map_or(Ok(None), Wish::given)
    }
}
