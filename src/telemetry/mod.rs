//! How a line of the log looks, and the one way to write one.
//!
//! Every line is one event with fields of fixed names (docs/logs.md), flat, in one order: as JSON, as text, or as an entry of systemd's
//! journal. A line never holds a token value: nothing that has a field for one can get here.

mod form;
mod journald;
mod line;

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use rotation::event::{EventName, Level};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Level as Loudness, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use journald::Journal;

pub use journald::message_id;
pub use line::Line;

static INSTANCE: OnceLock<String> = OnceLock::new();
type Handle = reload::Handle<Loud, tracing_subscriber::Registry>;
static LOUD: OnceLock<Handle> = OnceLock::new();

/// The form of a line.
pub struct Format(Form);

enum Form {
    Json,
    Text,
    Journal(Journal),
}

impl Format {
    /// One JSON object.
    pub fn json() -> Self {
        Format(Form::Json)
    }

    /// For people.
    pub fn text() -> Self {
        Format(Form::Text)
    }

    /// Text on a terminal, entries where systemd connected stderr to its journal (`stream` is `$JOURNAL_STREAM`), else JSON.
    pub fn auto(stream: Option<&str>) -> Self {
        if std::io::stderr().is_terminal() {
            return Format::text();
        }
        match Journal::of_stderr(stream) {
            Some(journal) => Format(Form::Journal(journal)),
            None => Format::json(),
        }
    }

    /// Whether people read it.
    pub fn is_text(&self) -> bool {
        matches!(self.0, Form::Text)
    }
}

/// Starts logging to stderr. `level` is ours; other crates never speak above `info`, since their debug lines may show headers.
/// Called a second time (the configuration is known now), it changes level only.
pub fn start(format: Format, level: &str, instance: &str) {
    let _ = INSTANCE.set(instance.to_owned());
    if let Some(handle) = LOUD.get() {
        let _ = handle.reload(Loud::parse(level));
        return;
    }
    let (filter, handle) = reload::Layer::new(Loud::parse(level));
    let started = tracing_subscriber::registry()
        .with(Lines { format }.with_filter(filter))
        .try_init();
    if started.is_ok() {
        let _ = LOUD.set(handle);
    }
}

/// From now on a panic, a fault of ours, is a line with its place. Its message could quote anything, a value included, and is not shown.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = match panic.location() {
            Some(at) => format!("{}:{}", at.file(), at.line()),
            None => "an unknown place".to_owned(),
        };
        let message = format!("a fault of dtrotate at {place}; please report it");
        Line::new(EventName::RotationFailed, message)
            .at(Level::Error)
            .write();
    }));
}

/// Changes the level while running.
pub fn set_level(level: &str) {
    if let Some(handle) = LOUD.get() {
        let _ = handle.reload(Loud::parse(level));
    }
}

/// Decides which lines are written: our own by the configured level, others never above `info`.
struct Loud(Targets);

impl Loud {
    fn parse(level: &str) -> Self {
        let targets = level
            .parse()
            .unwrap_or_else(|_| Targets::new().with_default(Loudness::INFO));
        Loud(targets.with_target("tokio_cron_scheduler", Loudness::WARN))
    }

    fn allows(&self, meta: &Metadata<'_>) -> bool {
        let ours = meta.target().starts_with("dtrotate");
        (ours || *meta.level() <= Loudness::INFO)
            && self.0.would_enable(meta.target(), meta.level())
    }
}

impl<S: Subscriber> tracing_subscriber::layer::Filter<S> for Loud {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.allows(meta)
    }
}

/// Writes events as lines.
struct Lines {
    format: Format,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut found = fields.0;
        let meta = event.metadata();
        if let Some(instance) = INSTANCE.get() {
            found.insert("instance".into(), instance.as_str().into());
        }
        if !meta.target().starts_with("dtrotate") {
            found.insert("target".into(), meta.target().into());
        }
        let mut line = match &self.format.0 {
            Form::Journal(journal) if journal.write(meta.level(), &found) => return,
            Form::Text => form::text(meta.level(), found),
            Form::Json | Form::Journal(_) => form::json(meta.level(), found),
        };
        line.push('\n');
        // A log that cannot be written must not stop the daemon.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_foreign_debug_lines_are_never_written() {
        let loud = Loud::parse("trace");
        let enabled = |target: &str, level| loud.0.would_enable(target, &level);
        assert!(
            enabled("h2::client", Loudness::TRACE),
            "the cap, not the filter, must keep it out"
        );
        assert!(
            Loud::parse("nonsense=%%")
                .0
                .would_enable("dtrotate::daemon", &Loudness::INFO)
        );
    }
}
