//! `/metrics`, in the text format of Prometheus.
//!
//! Series of secrets are made from the picture at each scrape, so a secret that is gone leaves none behind. Labels are secret,
//! environment, words of fixed lists, and those of the configuration; nothing from outside can add one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Source;
use super::counters::{BUCKETS, OUTCOMES};
use super::exposition::{Metric, Picture, Series, flag, seconds};
use super::secret::State;
use super::status::ServiceState;
use rotation::event::{EventName, Level};

/// Every metric.
const METRICS: [Metric; 30] = [
    Metric::gauge(
        "dtrotate_build_info",
        "Constant 1, labelled with the version.",
        |series, picture| {
            if let Some(daemon) = &picture.status.daemon {
                series.add("", &[("version", &daemon.version)], 1.0);
            }
        },
    ),
    Metric::gauge(
        "dtrotate_start_timestamp_seconds",
        "When the daemon started.",
        |series, picture| {
            series.one(picture.daemon(|daemon| seconds(daemon.started)));
        },
    ),
    Metric::gauge(
        "dtrotate_ready",
        "1 = logged in to Vault and the journal is read.",
        |series, picture| {
            series.one(picture.daemon(|daemon| flag(daemon.ready)));
        },
    ),
    Metric::gauge(
        "dtrotate_main_loop_idle_seconds",
        "Time since the main loop last ran.",
        |series, picture| {
            series.one(Some(picture.idle.as_secs_f64()));
        },
    ),
    Metric::gauge(
        "dtrotate_config_last_reload_successful",
        "1 = the configuration read last is in force; 0 = it was refused.",
        |series, picture| series.one(picture.daemon(|daemon| flag(daemon.reload.ok))),
    ),
    Metric::gauge(
        "dtrotate_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read.",
        |series, picture| {
            series.one(picture.daemon(|daemon| seconds(daemon.reload.in_force_since)))
        },
    ),
    Metric::gauge(
        "dtrotate_vault_up",
        "1 = Vault can be used as far as is known; 0 = it cannot.",
        |series, picture| up(series, picture, true),
    ),
    Metric::gauge(
        "dtrotate_dynatrace_up",
        "1 = the environment can be used as far as is known; 0 = it cannot.",
        |series, picture| up(series, picture, false),
    ),
    Metric::counter(
        "dtrotate_log_lines_dropped_total",
        "Log lines that were lost because the reader of the log was too slow or the log could not be written.",
        |series, picture| series.one(Some(picture.log_lines_dropped as f64)),
    ),
    Metric::counter(
        "dtrotate_vault_calls_total",
        "Calls to Vault by outcome.",
        |series, picture| {
            calls(series, picture, true);
        },
    ),
    Metric::counter(
        "dtrotate_dynatrace_calls_total",
        "Calls to an environment by outcome.",
        |series, picture| calls(series, picture, false),
    ),
    Metric::counter(
        "dtrotate_rotations_total",
        "Rotations by outcome: succeeded, failed (retried automatically), stuck.",
        rotations,
    ),
    Metric::histogram(
        "dtrotate_rotation_duration_seconds",
        "How long rotations that succeeded took.",
        durations,
    ),
    Metric::counter(
        "dtrotate_events_total",
        "Events of secrets by their word in the log, without those at level debug.",
        |series, picture| {
            for (event, number) in &picture.counted.events {
                series.add("", &[("event", event)], *number as f64);
            }
        },
    ),
    Metric::counter(
        "dtrotate_notifications_total",
        "Attempts to deliver a notification, by channel and outcome.",
        |series, picture| {
            for channel in ["dynatrace", "webhook", "route"] {
                for outcome in ["succeeded", "failed"] {
                    let counted = picture.counted.notifications.get(&(channel, outcome));
                    let labels = [("channel", channel), ("outcome", outcome)];
                    series.add("", &labels, counted.copied().unwrap_or_default() as f64);
                }
            }
        },
    ),
    Metric::gauge(
        "dtrotate_troubles",
        "Open conditions that need a human, by the event of their ERROR line.",
        troubles,
    ),
    Metric::gauge(
        "dtrotate_condition",
        "1 = this condition is open.",
        conditions,
    ),
    Metric::gauge(
        "dtrotate_secrets",
        "Secrets by state.",
        |series, picture| {
            for state in State::ALL {
                let secrets = picture.status.secrets.iter();
                let number = secrets.filter(|secret| secret.state == state).count();
                series.add("", &[("state", state.as_str())], number as f64);
            }
        },
    ),
    Metric::gauge(
        "dtrotate_secret_info",
        "Constant 1 for each secret, with its labels from the configuration as label_NAME.",
        |series, picture| {
            for secret in &picture.status.secrets {
                let own = [
                    ("secret".to_owned(), secret.name.as_str()),
                    ("environment".to_owned(), secret.environment.as_str()),
                ];
                let labels: Vec<_> = own.into_iter().chain(secret.labels.fields()).collect();
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(name, value)| (name.as_str(), *value))
                    .collect();
                series.add("", &labels, 1.0);
            }
        },
    ),
    Metric::gauge(
        "dtrotate_secret_enabled",
        "1 = the secret is rotated; 0 = switched off, or it left the configuration.",
        |series, picture| {
            series.each(picture, |secret| {
                Some(flag(!matches!(
                    secret.state,
                    State::SwitchedOff | State::Removed
                )))
            });
        },
    ),
    Metric::gauge(
        "dtrotate_secret_stuck",
        "1 = the secret cannot rotate without a human.",
        |series, picture| {
            let stuck: BTreeSet<&str> = picture
                .status
                .conditions
                .iter()
                .filter(|one| one.kind == EventName::RotationStuck.as_str())
                .filter_map(|one| one.secret.as_deref())
                .collect();
            series.each(picture, |secret| Some(flag(stuck.contains(&*secret.name))));
        },
    ),
    Metric::gauge(
        "dtrotate_secret_failures",
        "Failed rotations of the secret since the last one that succeeded.",
        |series, picture| {
            series.each(picture, |secret| {
                Some(
                    secret
                        .failure
                        .as_ref()
                        .map_or(0.0, |failure| f64::from(failure.count)),
                )
            });
        },
    ),
    Metric::gauge(
        "dtrotate_secret_failing_since_timestamp_seconds",
        "Since when the secret's rotation fails or is stuck; absent = it does not.",
        |series, picture| {
            series.each(picture, |secret| {
                secret
                    .failure
                    .as_ref()
                    .map(|failure| seconds(failure.since))
            });
        },
    ),
    Metric::gauge(
        "dtrotate_last_success_timestamp_seconds",
        "When the last rotation of the secret succeeded; absent = never.",
        |series, picture| series.each(picture, |secret| secret.last_success.map(seconds)),
    ),
    Metric::gauge(
        "dtrotate_next_rotation_timestamp_seconds",
        "When the secret is rotated next; absent = never.",
        |series, picture| series.each(picture, |secret| secret.next.map(seconds)),
    ),
    Metric::gauge(
        "dtrotate_token_created_timestamp_seconds",
        "When the secret's current token was created; absent = not known.",
        |series, picture| {
            series.each(picture, |secret| {
                secret.current.as_ref()?.created.map(seconds)
            });
        },
    ),
    Metric::gauge(
        "dtrotate_token_expiry_timestamp_seconds",
        "When the secret's current token expires; absent = never.",
        |series, picture| {
            series.each(picture, |secret| {
                secret.current.as_ref()?.expires.map(seconds)
            });
        },
    ),
    Metric::gauge(
        "dtrotate_secret_drift",
        "1 = rights or name of the secret's current token are not what the configuration asks for; the next rotation applies it.",
        |series, picture| {
            series.each(picture, |secret| Some(flag(secret.drift.is_some())));
        },
    ),
    Metric::gauge(
        "dtrotate_retiring_tokens",
        "Former tokens of the secret that are not deleted yet.",
        |series, picture| series.each(picture, |secret| Some(secret.retiring.len() as f64)),
    ),
    Metric::gauge(
        "dtrotate_held_tokens",
        "Former tokens of the secret whose grace is extended because they are still used.",
        |series, picture| {
            series.each(picture, |secret| {
                let held = secret
                    .retiring
                    .iter()
                    .filter(|entry| entry.held_since.is_some());
                Some(held.count() as f64)
            });
        },
    ),
];

/// Every name that `/metrics` may show, for those who check dashboards and alerts against it.
pub fn names() -> impl Iterator<Item = &'static str> {
    METRICS.iter().map(|metric| metric.name)
}

/// The whole page for a scrape.
pub fn render(source: &dyn Source) -> String {
    let picture = Picture {
        status: source.status(),
        counted: source.counters().lock(),
        idle: source.idle(),
        log_lines_dropped: source.log_lines_dropped(),
    };
    let mut text = String::with_capacity(4096 + picture.status.secrets.len() * 1024);
    for Metric {
        name,
        kind,
        help,
        write,
    } in &METRICS
    {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let mut series = Series {
            text: &mut text,
            name,
        };
        write(&mut series, &picture);
    }
    text
}

fn up(series: &mut Series<'_>, picture: &Picture<'_>, vault: bool) {
    for service in &picture.status.services {
        let up = flag(service.state != ServiceState::Down);
        match &service.environment {
            None if vault => series.add("", &[], up),
            Some(name) if !vault => series.add("", &[("environment", name)], up),
            _ => {}
        }
    }
}

fn calls(series: &mut Series<'_>, picture: &Picture<'_>, vault: bool) {
    let calls = &picture.counted.calls;
    let names = match vault {
        true => BTreeSet::from([""]),
        false => picture.environments(calls.keys().map(|(name, _)| name.as_str())),
    };
    for name in names {
        for (number, outcome) in OUTCOMES.into_iter().enumerate() {
            let count = calls
                .get(&(name.to_owned(), number))
                .copied()
                .unwrap_or_default();
            let labels = [("outcome", outcome), ("environment", name)];
            series.add("", &labels[..if vault { 1 } else { 2 }], count as f64);
        }
    }
}

fn rotations(series: &mut Series<'_>, picture: &Picture<'_>) {
    let rotations = &picture.counted.rotations;
    for name in picture.environments(rotations.keys().map(|(name, _)| name.as_str())) {
        for outcome in ["succeeded", "failed", "stuck"] {
            let count = rotations
                .get(&(name.to_owned(), outcome))
                .copied()
                .unwrap_or_default();
            series.add(
                "",
                &[("outcome", outcome), ("environment", name)],
                count as f64,
            );
        }
    }
}

fn durations(series: &mut Series<'_>, picture: &Picture<'_>) {
    let counted = &picture.counted;
    for (end, count) in BUCKETS.into_iter().zip(counted.buckets) {
        series.add("_bucket", &[("le", &end.to_string())], count as f64);
    }
    series.add("_bucket", &[("le", "+Inf")], counted.duration_count as f64);
    series.add("_sum", &[], counted.duration_sum);
    series.add("_count", &[], counted.duration_count as f64);
}

fn troubles(series: &mut Series<'_>, picture: &Picture<'_>) {
    let loud = EventName::ALL.iter();
    let loud = loud.filter(|event| event.level() == Level::Error);
    let mut numbers: BTreeMap<&str, u32> = loud.map(|event| (event.as_str(), 0)).collect();
    // Also events that are an ERROR only at times.
    for trouble in &picture.status.troubles {
        *numbers.entry(&trouble.event).or_default() += 1;
    }
    for (word, number) in numbers {
        series.add("", &[("event", word)], f64::from(number));
    }
}

fn conditions(series: &mut Series<'_>, picture: &Picture<'_>) {
    // Several tokens of one secret can have the same condition.
    let open: BTreeSet<[&str; 5]> = picture
        .status
        .conditions
        .iter()
        .map(|one| {
            [
                &one.kind,
                one.reason.as_deref().unwrap_or_default(),
                one.severity.as_str(),
                one.secret.as_deref().unwrap_or_default(),
                one.environment.as_deref().unwrap_or_default(),
            ]
        })
        .collect();
    for [kind, reason, severity, secret, environment] in open {
        let labels = [
            ("kind", kind),
            ("reason", reason),
            ("severity", severity),
            ("secret", secret),
            ("environment", environment),
        ];
        series.add("", &labels, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::future::BoxFuture;

    use super::super::fixture;
    use super::super::rotations::Rotation;
    use super::super::secret::Secret;
    use super::super::upcoming::Outlook;
    use std::time::Duration;

    use rotation::error::{CallError, ErrorKind, Service};

    use super::super::counters::Counters;
    use super::super::status::Status;
    use super::*;

    struct Sample(Counters);

    impl Source for Sample {
        fn journal(&self) -> crate::ops::status::JournalPlace {
            let daemon = crate::ops::fixture::status().daemon;
            daemon.and_then(|daemon| daemon.journal).expect("a journal")
        }
        fn status(&self) -> Status {
            fixture::status()
        }
        fn readiness(&self) -> Result<String, String> {
            Ok("ready".to_owned())
        }
        fn idle(&self) -> Duration {
            Duration::from_millis(250)
        }
        fn log_lines_dropped(&self) -> u64 {
            7
        }
        fn counters(&self) -> &Counters {
            &self.0
        }
        fn outlook(&self, secrets: &[Secret]) -> Outlook {
            fixture::outlook(secrets)
        }
        fn rotations(
            &self,
            secrets: &[Secret],
        ) -> BoxFuture<'static, BTreeMap<String, Vec<Rotation>>> {
            let rotations = fixture::rotations(secrets);
            Box::pin(async move { rotations })
        }
        fn recheck(&self, _: &str) -> BoxFuture<'static, super::super::Recheck> {
            Box::pin(async { super::super::Recheck::Unknown })
        }
    }

    #[test]
    fn a_scrape_tells_states_counts_and_durations() {
        let counters = Counters::default();
        let took = Duration::from_millis(300);
        counters.event(EventName::RotationSucceeded, Level::Info, "prod", took);
        counters.event(EventName::RotationStuck, Level::Debug, "prod", took);
        let error = CallError::new(Service::Dynatrace, ErrorKind::Unclear, "x");
        counters.called(Service::Dynatrace, "old", Some(&error));
        counters.called(Service::Vault, "prod", None);
        counters.notified("webhook", false);
        let text = render(&Sample(counters));
        for line in [
            "dtrotate_ready 1",
            "dtrotate_log_lines_dropped_total 7",
            "dtrotate_config_last_reload_successful 0",
            "dtrotate_dynatrace_up{environment=\"prod\"} 0",
            "dtrotate_vault_calls_total{outcome=\"ok\"} 1",
            "dtrotate_dynatrace_calls_total{outcome=\"unclear\",environment=\"old\"} 1",
            "dtrotate_rotations_total{outcome=\"succeeded\",environment=\"prod\"} 1",
            "dtrotate_rotations_total{outcome=\"stuck\",environment=\"prod\"} 1",
            "dtrotate_rotation_duration_seconds_bucket{le=\"0.25\"} 0",
            "dtrotate_rotation_duration_seconds_bucket{le=\"0.5\"} 1",
            "dtrotate_rotation_duration_seconds_bucket{le=\"+Inf\"} 1",
            "dtrotate_events_total{event=\"rotation_succeeded\"} 1",
            "dtrotate_notifications_total{channel=\"webhook\",outcome=\"failed\"} 1",
            "dtrotate_notifications_total{channel=\"dynatrace\",outcome=\"failed\"} 0",
            "dtrotate_troubles{event=\"rotation_stuck\"} 1",
            "dtrotate_condition{kind=\"rotation_stuck\",reason=\"token_disabled\",severity=\"error\",secret=\"dynatrace/stuck\",environment=\"prod\"} 1",
            "dtrotate_condition{kind=\"clock_skew\",reason=\"\",severity=\"error\",secret=\"\",environment=\"\"} 1",
            "dtrotate_troubles{event=\"vault_unavailable\"} 0",
            "dtrotate_secrets{state=\"never_seen\"} 1",
            "dtrotate_secret_stuck{secret=\"dynatrace/stuck\",environment=\"prod\"} 1",
            "dtrotate_secret_drift{secret=\"dynatrace/healthy\",environment=\"prod\"} 1",
            "dtrotate_secret_drift{secret=\"dynatrace/stuck\",environment=\"prod\"} 0",
            "dtrotate_secret_info{secret=\"dynatrace/healthy\",environment=\"prod\",label_contact=\"#on<call>\",label_team=\"checkout\"} 1",
            "dtrotate_secret_info{secret=\"dynatrace/stuck\",environment=\"prod\"} 1",
            "dtrotate_held_tokens{secret=\"dynatrace/healthy\",environment=\"prod\"} 1",
            "dtrotate_token_created_timestamp_seconds{secret=\"dynatrace/healthy\",environment=\"prod\"} 1795420800",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "no {line} in\n{text}"
            );
        }
        assert!(!text.contains("event=\"rotation_stuck\"} 1\n# HELP dtrotate_troubles"));
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut text = String::new();
        let mut series = Series {
            text: &mut text,
            name: "m",
        };
        series.add("", &[("a", "x\"y\\z\n")], 0.5);
        assert_eq!(text, "m{a=\"x\\\"y\\\\z\\n\"} 0.5\n");
    }
}
