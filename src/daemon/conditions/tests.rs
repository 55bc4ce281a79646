use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;

/// Keeps the lines that are written: level, event, whether it has `since`, message.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Written {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let word = |name| fields.0.get(name).cloned().unwrap_or_default();
        let since = if fields.0.contains_key("since") {
            " since"
        } else {
            ""
        };
        let line = format!(
            "{} {}{since} {}",
            event.metadata().level(),
            word("event"),
            word("message")
        );
        lock(&self.0).push(line.trim_end().to_owned());
    }
}

impl Written {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// Runs `test` with no open condition, and what is written.
fn with_conditions(test: impl FnOnce(&Conditions, &Written)) {
    let written = Written::default();
    let subscriber = tracing_subscriber::registry().with(written.clone());
    tracing::subscriber::with_default(subscriber, || test(&Conditions::default(), &written));
}

fn condition(event: EventName, message: &str) -> Condition {
    Condition::new(event, message, clock::now())
}

fn stuck() -> Condition {
    condition(EventName::RotationStuck, "stuck; enable it").secret("a", "prod")
}

#[test]
fn p8_a_condition_is_written_when_it_opens_then_every_15_minutes_and_when_it_is_resolved() {
    with_conditions(|conditions, written| {
        let skew = || vec![condition(EventName::ClockSkew, "400 s ahead")];
        let began = Instant::now();
        conditions.set(Subject::Clocks, skew());
        let since = conditions.all()[0].since;
        conditions.set(Subject::Clocks, skew());
        conditions.repeat_at(began + REPEAT / 2);
        assert_eq!(written.take(), ["ERROR clock_skew 400 s ahead"]);
        assert_eq!(conditions.all()[0].since, since, "it is the same one");
        let later = Instant::now() + REPEAT;
        conditions.repeat_at(later);
        conditions.repeat_at(later + REPEAT / 2);
        assert_eq!(written.take(), ["ERROR clock_skew since 400 s ahead"]);
        conditions.repeat_at(later + REPEAT);
        assert_eq!(written.take().len(), 1);
        conditions.set(Subject::Clocks, vec![]);
        conditions.set(Subject::Clocks, vec![]);
        let end = "INFO clock_skew since resolved: 400 s ahead";
        assert_eq!(written.take(), [end]);
        conditions.repeat_at(later + REPEAT * 3);
        assert!(written.take().is_empty());
    });
}

#[test]
fn p8_what_a_run_has_written_is_only_repeated() {
    with_conditions(|conditions, written| {
        conditions.reported(stuck());
        // Something else looked at the secret before its run came to its end.
        conditions.set_secret("a", vec![]);
        conditions.set_secret_after_run("a", vec![stuck()]);
        assert!(written.take().is_empty());
        conditions.repeat_at(Instant::now() + REPEAT);
        assert_eq!(
            written.take(),
            ["ERROR rotation_stuck since stuck; enable it"]
        );
        conditions.set_secret("a", vec![]);
        // What was to be done is not repeated.
        let end = "INFO rotation_stuck since resolved: stuck";
        assert_eq!(written.take(), [end]);
    });
}

#[test]
fn p8_what_another_process_has_found_is_written_once() {
    with_conditions(|conditions, written| {
        conditions.set_secret("a", vec![stuck()]);
        conditions.set_secret("a", vec![stuck()]);
        assert_eq!(written.take(), ["ERROR rotation_stuck stuck; enable it"]);
    });
}

#[test]
fn p8_what_no_document_shows_is_open_until_a_later_run_resolves_it() {
    with_conditions(|conditions, written| {
        conditions.reported(condition(EventName::InternalError, "a fault").secret("a", "prod"));
        conditions.set_secret_after_run("b", vec![]);
        assert!(conditions.all().is_empty(), "it is that of another secret");
        conditions.set_secret_after_run("a", vec![]);
        conditions.resolve_incidents("a", |_| false);
        conditions.set_secret_after_run("a", vec![]);
        assert!(written.take().is_empty());
        conditions.repeat_at(Instant::now() + REPEAT);
        assert_eq!(written.take(), ["ERROR internal_error since a fault"]);
        assert_eq!(conditions.all()[0].kind, "internal_error");
        conditions.resolve_incidents("a", |open| open.kind == "internal_error");
        assert!(conditions.all().is_empty());
        let end = "INFO internal_error since resolved: a fault";
        assert_eq!(written.take(), [end]);
    });
}

#[test]
fn a_warning_is_shown_and_not_written_again() {
    with_conditions(|conditions, written| {
        let held = condition(EventName::RetirementHeld, "in use").warning();
        conditions.set_secret("a", vec![held.secret("a", "prod")]);
        conditions.repeat_at(Instant::now() + REPEAT);
        assert_eq!(conditions.all().len(), 1);
        conditions.set_secret("a", vec![]);
        assert!(written.take().is_empty());
    });
}

#[test]
fn p8_two_tokens_of_a_secret_are_two_conditions_and_a_secret_that_is_gone_has_none() {
    with_conditions(|conditions, written| {
        let blocked = |id: &str| {
            let message = format!("cannot retire {id}");
            condition(EventName::RetirementBlocked, &message)
                .secret("a", "prod")
                .subject(id)
        };
        conditions.set_secret("a", vec![blocked("x"), blocked("y")]);
        assert_eq!(written.take().len(), 2);
        conditions.set_secret("a", vec![blocked("y")]);
        let end = "INFO retirement_blocked since resolved: cannot retire x";
        assert_eq!(written.take(), [end]);
        conditions.forget_secret("a");
        assert!(conditions.all().is_empty() && written.take().is_empty());
    });
}

#[test]
fn the_end_of_an_outage_has_an_event_of_its_own() {
    with_conditions(|conditions, written| {
        let down = condition(EventName::DynatraceUnavailable, "503").environment("prod");
        conditions.set(Subject::Services, vec![down]);
        conditions.set(Subject::Services, vec![]);
        let end = "INFO dynatrace_available since Dynatrace prod is available again";
        assert_eq!(written.take()[1], end);
    });
}

#[test]
fn p8_a_cause_that_is_found_again_under_another_kind_is_not_written_again() {
    with_conditions(|conditions, written| {
        let of = |event| condition(event, "someone disabled it").secret("a", "prod");
        conditions.set_secret("a", vec![of(EventName::CurrentInvalid)]);
        conditions.set_secret("a", vec![of(EventName::RotationStuck)]);
        let first = "ERROR current_invalid someone disabled it";
        assert_eq!(written.take(), [first]);
        conditions.set_secret("a", vec![]);
        assert_eq!(written.take().len(), 1, "its end");
    });
}

#[test]
fn p8_a_warning_that_becomes_an_error_is_written() {
    with_conditions(|conditions, written| {
        let of = |event| condition(event, "503").secret("a", "prod");
        conditions.set_secret("a", vec![of(EventName::RotationFailed).warning()]);
        conditions.set_secret("a", vec![of(EventName::RotationStuck)]);
        assert_eq!(written.take(), ["ERROR rotation_stuck 503"]);
    });
}

#[test]
fn an_environment_that_is_gone_has_no_condition() {
    with_conditions(|conditions, written| {
        for subject in [Subject::Sweep, Subject::ManagementToken] {
            let failing = condition(EventName::SweepFailing, "503").environment("prod");
            conditions.set(subject("prod".to_owned()), vec![failing]);
        }
        written.take();
        conditions.forget_environment("prod");
        assert!(conditions.all().is_empty() && written.take().is_empty());
    });
}
