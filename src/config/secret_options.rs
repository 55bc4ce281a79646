//! The keys of `[defaults]` and `[[secret]]`: which of several tables decides.

use super::context::Context;
use super::problem::Placed;
use super::schedules::Schedules;
use super::section::Section;
use super::table::{Given, Refused, Table};
use super::tables::SecretOptions;

/// Reads a table; expressions and time zones are parsed here, so that a default that nobody uses is checked, too.
pub(super) fn read(
    section: &Section<'_>,
    schedules: &mut Schedules,
    context: &Context,
) -> SecretOptions {
    let options = SecretOptions::read(section);
    if let Some(text) = options.schedule.given() {
        schedules.cron(text, context);
    }
    if let Some(name) = options.timezone.given() {
        schedules.zone(name, context);
    }
    options
}

/// The tables that decide about one secret, the nearest first: its own, its file's defaults, the defaults.
pub(super) struct Layers<'a> {
    pub tables: Vec<&'a SecretOptions>,
}

impl<'a> Layers<'a> {
    /// What the nearest table that has the key says.
    pub fn given<T: Clone>(
        &self,
        key: impl Fn(&'a SecretOptions) -> &'a Given<T>,
    ) -> Result<Option<&'a Placed<T>>, Refused> {
        let mut tables = self.tables.iter().map(|table| key(table));
        tables
            .find(|given| given.is_present())
            .map_or(Ok(None), Given::accepted)
    }

    /// The same, or the declared default.
    pub fn value<T: Clone + 'a>(
        &self,
        key: impl Fn(&'a SecretOptions) -> &'a Given<T>,
    ) -> Result<T, Refused> {
        match self.given(&key)? {
            Some(placed) => Ok(placed.value.clone()),
            None => Ok(key(self.tables[0]).or_default()),
        }
    }
}
