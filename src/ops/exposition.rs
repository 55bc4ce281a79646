//! The text format of Prometheus.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::MutexGuard;
use std::time::Duration;

use jiff::Timestamp;

use super::counters::Counted;
use super::secret::Secret;
use super::status::{Daemon, Status};

/// One metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) write: Write,
}

/// What writes the series of a metric.
type Write = fn(&mut Series<'_>, &Picture<'_>);

impl Metric {
    pub(super) const fn gauge(name: &'static str, help: &'static str, write: Write) -> Metric {
        Metric::new("gauge", name, help, write)
    }

    pub(super) const fn counter(name: &'static str, help: &'static str, write: Write) -> Metric {
        Metric::new("counter", name, help, write)
    }

    pub(super) const fn histogram(name: &'static str, help: &'static str, write: Write) -> Metric {
        Metric::new("histogram", name, help, write)
    }

    const fn new(
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        write: Write,
    ) -> Metric {
        Metric {
            name,
            kind,
            help,
            write,
        }
    }
}

/// What a scrape is made of.
pub(super) struct Picture<'a> {
    pub(super) status: Status,
    pub(super) counted: MutexGuard<'a, Counted>,
    pub(super) idle: Duration,
    pub(super) log_lines_dropped: u64,
}

impl Picture<'_> {
    pub(super) fn daemon(&self, value: impl Fn(&Daemon) -> f64) -> Option<f64> {
        self.status.daemon.as_ref().map(value)
    }

    /// The environments that there are, and those of which something was counted.
    pub(super) fn environments<'a>(
        &'a self,
        counted: impl Iterator<Item = &'a str>,
    ) -> BTreeSet<&'a str> {
        let services = self.status.services.iter();
        let known = services.filter_map(|service| service.environment.as_deref());
        known
            .chain(counted.filter(|name| !name.is_empty()))
            .collect()
    }
}

/// The series of one metric.
pub(super) struct Series<'a> {
    pub(super) text: &'a mut String,
    pub(super) name: &'static str,
}

impl Series<'_> {
    pub(super) fn add(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (number, (name, value)) in labels.iter().enumerate() {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(
                self.text,
                "{}{name}=\"{value}\"",
                if number == 0 { '{' } else { ',' }
            );
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// The only value of a metric without labels.
    pub(super) fn one(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.add("", &[], value);
        }
    }

    /// One value for each secret that has one.
    pub(super) fn each(&mut self, picture: &Picture<'_>, value: impl Fn(&Secret) -> Option<f64>) {
        for secret in &picture.status.secrets {
            if let Some(value) = value(secret) {
                let labels = [
                    ("secret", &*secret.name),
                    ("environment", &*secret.environment),
                ];
                self.add("", &labels, value);
            }
        }
    }
}

pub(super) fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
