//! How a line of the log looks, and the one way to write one.
//!
//! Every line is one event with fields of fixed names (docs/logs.md), flat, in one order: as JSON, as text, or as an entry of systemd's
//! journal. A line never holds a token value: nothing that has a field for one can get here.

mod buffer;
mod format;
mod journald;
mod labels;
mod log_line;

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;

use crate::redact;
use rotation::event::EventName;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Level as Loudness, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use buffer::{Buffer, Entry, Lost};
use journald::Journal;

pub use journald::message_id;
pub use labels::set as set_labels;
pub use log_line::Line;

/// Lines that wait together are written in pieces of about so many bytes.
const AT_ONCE: usize = 64 * 1024;

static INSTANCE: OnceLock<String> = OnceLock::new();
type Handle = reload::Handle<LevelFilter, tracing_subscriber::Registry>;
static LEVEL: OnceLock<Handle> = OnceLock::new();
static OUTPUT: OnceLock<Output> = OnceLock::new();
static BUFFER: OnceLock<Buffer<Record>> = OnceLock::new();

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

/// Starts logging to stderr. `level` is ours; other crates never speak above `info`, because their debug lines may show headers.
/// Called a second time (the configuration is known now), it changes level only.
pub fn start(format: Format, level: &str, instance: &str) {
    let _ = INSTANCE.set(instance.to_owned());
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(LevelFilter::parse(level));
        return;
    }
    // Not the handle of the standard library: its lock would be held while a write waits for the reader.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let stderr = stderr.ok().map(File::from);
    let _ = OUTPUT.set(Output { format, stderr });
    let (filter, handle) = reload::Layer::new(LevelFilter::parse(level));
    let started = tracing_subscriber::registry()
        .with(Lines.with_filter(filter))
        .try_init();
    if started.is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// From now on lines are written by a thread, through a bounded queue: a reader that is slow or stopped does not block the daemon.
pub fn write_in_background() {
    let dropped = |number: u64| {
        let message = format!(
            "{number} log lines were lost: the reader of the log was too slow, or the log could not be written"
        );
        let fields = [
            ("event", EventName::LogLinesDropped.as_str()),
            ("message", &message),
        ];
        let fields = fields.map(|(name, text)| (name.to_owned(), text.into()));
        Record::new(Loudness::WARN, fields.into_iter().collect())
    };
    // Without a thread they are written as before.
    let write = |records| OUTPUT.get().map_or(0, |output| output.write_all(records));
    if let Ok(buffer) = Buffer::start(write, dropped) {
        let _ = BUFFER.set(buffer);
    }
}

/// Waits until all lines are written, but not longer than `timeout`. To be called before the process ends.
pub fn flush(timeout: Duration) {
    if let Some(buffer) = BUFFER.get() {
        buffer.flush(timeout);
    }
}

/// How many lines were lost since the start because the reader was slow or the log could not be written.
pub fn lines_dropped() -> u64 {
    BUFFER.get().map_or(0, Buffer::dropped)
}

/// From now on a panic, a fault of ours, is one line with its place. Its message could quote anything, a value included, and is not shown.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = match panic.location() {
            Some(at) => format!("{}:{}", at.file(), at.line()),
            None => "an unknown place".to_owned(),
        };
        let message = format!("internal error at {place}; please report it");
        if OUTPUT.get().is_some() {
            return Line::new(EventName::InternalError, message).write();
        }
        let stderr = std::io::stderr().as_fd().try_clone_to_owned();
        if let Ok(stderr) = stderr.map(File::from) {
            let _ = write_all(&stderr, format!("{message}\n").as_bytes());
        }
    }));
}

/// Changes the level while running.
pub fn set_level(level: &str) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(LevelFilter::parse(level));
    }
}

/// Decides which lines are written: our own by the configured level, others never above `info`.
struct LevelFilter(Targets);

impl LevelFilter {
    fn parse(level: &str) -> Self {
        let targets = level
            .parse()
            .unwrap_or_else(|_| Targets::new().with_default(Loudness::INFO));
        let targets = targets.with_target("tokio_cron_scheduler", Loudness::WARN);
        // What the DNS client says is in the error of the request that needed it.
        LevelFilter(targets.with_target("hickory", tracing::level_filters::LevelFilter::OFF))
    }

    fn allows(&self, meta: &Metadata<'_>) -> bool {
        let ours = meta.target().starts_with("dtrotate");
        (ours || *meta.level() <= Loudness::INFO)
            && self.0.would_enable(meta.target(), meta.level())
    }
}

impl<S: Subscriber> tracing_subscriber::layer::Filter<S> for LevelFilter {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.allows(meta)
    }
}

/// Where lines go.
struct Output {
    format: Format,
    /// `None` = it is closed.
    stderr: Option<File>,
}

impl Output {
    /// Writes the lines of these records; waits for the reader. Returns how many are lost: a log that cannot be written must not stop the daemon.
    fn write_all(&self, records: Vec<Record>) -> Lost {
        let mut lines = String::new();
        let (mut number, mut lost) = (0, 0);
        let last = records.len();
        for (done, record) in records.into_iter().enumerate() {
            let before = lines.len();
            record.append_line(&self.format, &mut lines);
            number += Lost::from(lines.len() > before);
            if lines.len() >= AT_ONCE || done + 1 == last {
                let is_written = self.write(&std::mem::take(&mut lines));
                lost += if is_written { 0 } else { number };
                number = 0;
            }
        }
        lost
    }

    /// Whether they are written; where there is no stderr, nobody wants them.
    fn write(&self, lines: &str) -> bool {
        let stderr = self.stderr.as_ref();
        stderr.is_none_or(|stderr| write_all(stderr, lines.as_bytes()).is_ok())
    }
}

/// One event that is to become a line.
struct Record {
    at: Timestamp,
    level: Loudness,
    fields: Map<String, Value>,
}

impl Record {
    fn new(level: Loudness, mut fields: Map<String, Value>) -> Self {
        if let Some(instance) = INSTANCE.get() {
            fields.insert("instance".into(), instance.as_str().into());
        }
        Record {
            at: crate::clock::now(),
            level,
            fields,
        }
    }

    /// Writes it; waits for the reader.
    fn write(self) {
        if let Some(output) = OUTPUT.get() {
            output.write_all(vec![self]);
        }
    }

    /// Appends its line, unless systemd's journal has taken it.
    fn append_line(self, format: &Format, lines: &mut String) {
        let Record {
            at,
            level,
            mut fields,
        } = self;
        for value in fields.values_mut() {
            if let Value::String(text) = value {
                *text = redact::by_shape(text);
            }
        }
        let line = match &format.0 {
            Form::Journal(journal) if journal.write(&level, &fields) => return,
            Form::Text => format::text(at, &level, fields),
            Form::Json | Form::Journal(_) => format::json(at, &level, fields),
        };
        lines.push_str(&line);
        lines.push('\n');
    }
}

/// Writes all of it; waits for the reader, also where someone who shares the stream made it non-blocking.
///
/// # Errors
/// The system's.
pub fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        match file.write(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Entry for Record {
    fn size(&self) -> usize {
        let size = |(name, value): (&String, &Value)| {
            // The map's own share of an entry.
            64 + name.len() + value.as_str().map_or(0, str::len)
        };
        self.fields.iter().map(size).sum()
    }
}

/// Writes events as lines.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        labels::add(&mut fields);
        let meta = event.metadata();
        if !meta.target().starts_with("dtrotate") {
            fields.insert("target".into(), meta.target().into());
        }
        let record = Record::new(*meta.level(), fields);
        match BUFFER.get() {
            Some(buffer) => buffer.push(record),
            None => record.write(),
        }
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
        let filter = LevelFilter::parse("trace");
        let enabled = |target: &str, level| filter.0.would_enable(target, &level);
        assert!(
            enabled("h2::client", Loudness::TRACE),
            "the cap, not the filter, must keep it out"
        );
        assert!(
            LevelFilter::parse("nonsense=%%")
                .0
                .would_enable("dtrotate::daemon", &Loudness::INFO)
        );
    }

    #[test]
    fn lines_that_the_system_does_not_take_are_counted() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let lines = |number| {
            let record = |_| Record::new(Loudness::INFO, Map::new());
            (0..number).map(record).collect()
        };
        let output = |stderr| Output {
            format: Format::json(),
            stderr,
        };
        assert_eq!(output(Some(full)).write_all(lines(5_000)), 5_000);
        assert_eq!(output(None).write_all(lines(2)), 0, "it is closed");
    }

    /// A process of its own: this test, started again with the variable.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test tells its second process apart"
    )]
    fn p5_a_panic_shows_its_place_and_never_its_text() {
        const SECOND: &str = "DTROTATE_TEST_PANICS";
        if std::env::var_os(SECOND).is_some() {
            report_panics();
            let panicked = std::thread::spawn(|| panic!("dt0c01.A.CANARY")).join();
            return assert!(panicked.is_err());
        }
        let own = "telemetry::tests::p5_a_panic_shows_its_place_and_never_its_text";
        let second = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", own, "--nocapture"])
            .env(SECOND, "1")
            .output()
            .unwrap();
        let shown = String::from_utf8(second.stderr).unwrap();
        assert!(second.status.success(), "{shown}");
        let place = format!("internal error at {}:", file!());
        assert!(
            shown.contains(&place) && !shown.contains("CANARY"),
            "{shown}"
        );
    }
}
