//! How a line of the log looks, and the one way to write one.
//!
//! Every line is one event with fields of fixed names (docs/logs.md), flat, in one order, as JSON or as text. A line never holds a
//! token value: nothing that has a field for one can get here.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Level as Loudness, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::rotation::event::{EventName, Level, Report};

/// The order of the fields in a line; others follow.
const ORDER: [&str; 16] = [
    "event",
    "message",
    "secret",
    "environment",
    "rotation_id",
    "trigger",
    "token_id",
    "old_token_id",
    "step",
    "attempt",
    "reason",
    "duration_ms",
    "error",
    "since",
    "instance",
    "target",
];

static INSTANCE: OnceLock<String> = OnceLock::new();
type Handle = reload::Handle<Loud, tracing_subscriber::Registry>;
static LOUD: OnceLock<Handle> = OnceLock::new();

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

impl Format {
    /// Text on a terminal, else JSON.
    pub fn auto() -> Self {
        if std::io::stderr().is_terminal() {
            Format::Text
        } else {
            Format::Json
        }
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
        let mut line = match self.format {
            Format::Json => json(meta.level(), found),
            Format::Text => text(meta.level(), found),
        };
        line.push('\n');
        // A log that cannot be written must not stop the daemon.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn json(level: &Loudness, mut found: Map<String, Value>) -> String {
    let mut parts = vec![
        format!("\"timestamp\":\"{:.6}\"", crate::clock::now()),
        format!("\"level\":\"{level}\""),
    ];
    let mut push = |name: &str, value: &Value| {
        parts.push(format!("{}:{value}", Value::from(name)));
    };
    for name in ORDER {
        if let Some(value) = found.remove(name) {
            push(name, &value);
        }
    }
    for (name, value) in &found {
        push(name, value);
    }
    format!("{{{}}}", parts.join(","))
}

fn text(level: &Loudness, mut found: Map<String, Value>) -> String {
    let plain = |value: &Value| match value {
        // A line stays one line, whatever the other side said.
        Value::String(text) => text.replace(['\n', '\r'], " "),
        other => other.to_string(),
    };
    let mut take = |name: &str| found.remove(name).map(|value| plain(&value));
    let now = crate::clock::now();
    let mut line = format!("{now:.3} {level:5}");
    for part in [
        take("event"),
        take("secret").map(|secret| format!("{secret}:")),
        take("message"),
    ] {
        line.push(' ');
        line.push_str(&part.unwrap_or_default());
    }
    take("instance");
    let mut details = Vec::new();
    for name in ORDER {
        if let Some(value) = take(name) {
            details.push(format!("{name}={value}"));
        }
    }
    for (name, value) in &found {
        details.push(format!("{name}={}", plain(value)));
    }
    if !details.is_empty() {
        line.push_str(&format!(" ({})", details.join(" ")));
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
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

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    report: Report,
    secret: Option<String>,
    environment: Option<String>,
    rotation_id: Option<String>,
    step: Option<&'static str>,
    duration: Option<Duration>,
    since: Option<Timestamp>,
}

impl Line {
    /// A line that tells of `event`.
    pub fn new(event: EventName, message: impl Into<String>) -> Self {
        Line::of(Report::new(event, message))
    }

    /// A line that tells of what the machine reported.
    pub fn of(report: Report) -> Self {
        Line {
            report,
            secret: None,
            environment: None,
            rotation_id: None,
            step: None,
            duration: None,
            since: None,
        }
    }

    /// Louder or quieter than usual.
    pub fn at(mut self, level: Level) -> Self {
        self.report.level = level;
        self
    }

    /// About this secret of this environment.
    pub fn secret(mut self, name: &str, environment: &str) -> Self {
        self.secret = Some(name.to_owned());
        self.environment = Some(environment.to_owned());
        self
    }

    /// About this environment.
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = Some(name.to_owned());
        self
    }

    /// In this run.
    pub fn rotation(mut self, id: &str) -> Self {
        self.rotation_id = Some(id.to_owned());
        self
    }

    /// At this step.
    pub fn step(mut self, step: &'static str) -> Self {
        self.step = Some(step);
        self
    }

    /// It took this long.
    pub fn took(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// It lasts since then.
    pub fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    /// Since when it lasts, as far as the line says.
    pub fn begin(&self) -> Option<Timestamp> {
        self.since
    }

    /// The line that tells the end of what this one told: the same event, not loud.
    pub fn over(mut self, since: Timestamp) -> Self {
        self.report.level = Level::Info;
        self.report.message = format!("it is over: {}", self.report.message);
        self.since(Some(since))
    }

    /// What the other side said.
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.report.error = Some(error.into());
        self
    }

    /// What it tells of.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The secret and the environment that it is about.
    pub fn place(&self) -> (Option<&str>, Option<&str>) {
        (self.secret.as_deref(), self.environment.as_deref())
    }

    /// Writes it.
    pub fn write(self) {
        let Line { report, .. } = &self;
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    event = report.event.as_str(),
                    secret = self.secret.as_deref(),
                    environment = self.environment.as_deref(),
                    rotation_id = self.rotation_id.as_deref(),
                    trigger = report.trigger.map(|trigger| trigger.as_str()),
                    token_id = report.token_id.as_ref().map(|id| id.as_str()),
                    old_token_id = report.old_token_id.as_ref().map(|id| id.as_str()),
                    step = self.step,
                    attempt = report.attempt,
                    reason = report.reason.map(|reason| reason.as_str()),
                    duration_ms = self.duration.map(|took| took.as_millis() as u64),
                    error = report.error.as_deref(),
                    since = self.since.map(|since| since.to_string()),
                    message = report.message.as_str(),
                )
            };
        }
        match report.level {
            Level::Debug => line!(Loudness::DEBUG),
            Level::Info => line!(Loudness::INFO),
            Level::Warn => line!(Loudness::WARN),
            Level::Error => line!(Loudness::ERROR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Map<String, Value> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect()
    }

    #[test]
    fn a_json_line_is_flat_and_keeps_its_order() {
        let line = json(
            &Loudness::INFO,
            fields(&[
                ("since", "x"),
                ("event", "e"),
                ("zeta", "z"),
                ("message", "a \"b\"\nc"),
            ]),
        );
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"b\"\nc");
        let at = |name: &str| line.find(&format!("\"{name}\"")).unwrap();
        assert!(at("timestamp") < at("level") && at("level") < at("event"));
        assert!(at("event") < at("message") && at("since") < at("zeta"));
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_text_line_is_one_line() {
        let line = text(
            &Loudness::WARN,
            fields(&[
                ("event", "rotation_failed"),
                ("secret", "ci"),
                ("message", "a\nb"),
                ("error", "c\nd"),
            ]),
        );
        assert!(!line.contains('\n'));
        assert!(
            line.contains("WARN rotation_failed ci: a b (error=c d)"),
            "{line}"
        );
    }

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
