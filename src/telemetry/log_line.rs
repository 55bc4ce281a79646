//! The builder of one line: what happened, to which secret, in which run.

use std::time::Duration;

use jiff::Timestamp;
use tracing::Level as Loudness;

use rotation::event::{EventName, Level, Report};

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    report: Report,
    secret: Option<String>,
    environment: Option<String>,
    rotation_id: Option<String>,
    step: Option<&'static str>,
    reason: Option<String>,
    duration: Option<Duration>,
    since: Option<Timestamp>,
}

impl Line {
    /// A line that reports `event`.
    pub fn new(event: EventName, message: impl Into<String>) -> Self {
        Line::of(Report::new(event, message))
    }

    /// A line with what the machine reported.
    pub fn of(report: Report) -> Self {
        Line {
            report,
            secret: None,
            environment: None,
            rotation_id: None,
            step: None,
            reason: None,
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
        self.environment(environment)
    }

    /// About this environment; an empty name is none.
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = (!name.is_empty()).then(|| name.to_owned());
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

    /// For this cause.
    pub fn reason(mut self, reason: Option<&str>) -> Self {
        self.reason = reason.map(str::to_owned);
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

    /// The line that reports the end of what this one reported: the same event at INFO.
    pub fn over(mut self, since: Timestamp) -> Self {
        self.report.level = Level::Info;
        let message = &self.report.message;
        // What was to be done about it is no longer to be done.
        let ends = ["; ", ". "].iter().filter_map(|end| message.find(end));
        let fact = &message[..ends.min().unwrap_or(message.len())];
        self.report.message = format!("resolved: {fact}");
        self.since(Some(since))
    }

    /// What the other side said.
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.report.error = Some(error.into());
        self
    }

    /// The event that it reports.
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
                    reason = self
                        .reason
                        .as_deref()
                        .or(report.reason.as_ref().map(|reason| reason.as_str())),
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
