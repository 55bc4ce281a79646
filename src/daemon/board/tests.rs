use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::super::gate::BLIP;
use super::*;
use rotation::error::ErrorKind;
use rotation::event::EventName;

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

/// Runs `test` with a board of one environment, `prod`, and what is written.
fn with_board(test: impl FnOnce(&Board, &Written)) {
    let written = Written::default();
    let subscriber = tracing_subscriber::registry().with(written.clone());
    tracing::subscriber::with_default(subscriber, || {
        let names = ["prod".to_owned()];
        test(&Board::new(&names, Arc::default()), &written);
    });
}

fn failed(kind: ErrorKind) -> CallError {
    CallError::new(Service::Vault, kind, "503")
}

#[test]
fn p8_a_trouble_is_told_once_then_every_15_minutes_and_its_end_is_told() {
    with_board(|board, written| {
        let line = || Line::new(EventName::CurrentInvalid, "it is dead");
        let began = Instant::now();
        board.raise("key", line(), true);
        board.raise("key", line(), true);
        board.tell_at(began + REPEAT / 2);
        assert_eq!(written.take(), ["ERROR current_invalid it is dead"]);
        let later = Instant::now() + REPEAT;
        board.tell_at(later);
        board.tell_at(later + REPEAT / 2);
        assert_eq!(written.take(), ["ERROR current_invalid since it is dead"]);
        board.tell_at(later + REPEAT);
        assert_eq!(written.take().len(), 1);
        board.settle("key");
        board.settle("key");
        let over = "INFO current_invalid since resolved: it is dead";
        assert_eq!(written.take(), [over]);
        board.tell_at(later + REPEAT * 3);
        assert!(written.take().is_empty());
    });
}

#[test]
fn p8_what_a_run_told_is_only_repeated_and_its_end_is_for_the_run_to_tell() {
    with_board(|board, written| {
        board.raise("a", Line::new(EventName::RotationStuck, "stuck"), false);
        assert!(written.take().is_empty());
        board.tell_at(Instant::now() + REPEAT);
        assert_eq!(written.take(), ["ERROR rotation_stuck since stuck"]);
        board.forget("a");
        board.tell_at(Instant::now() + REPEAT * 3);
        assert!(written.take().is_empty());
    });
}

#[test]
fn an_outage_is_told_when_it_is_no_blip_and_once_for_all_secrets() {
    with_board(|board, written| {
        board.called("prod", "read", None);
        for _ in 0..100 {
            board.called("prod", "read", Some(&failed(ErrorKind::Transient)));
        }
        board.tell_at(Instant::now());
        assert!(board.vault_outage().is_some() && !board.can_start("prod"));
        board.called("prod", "read", None);
        assert!(written.take().is_empty(), "a blip");
        assert_eq!(board.last_vault_outage(), None);

        board.called("prod", "read", Some(&failed(ErrorKind::Transient)));
        board.tell_at(Instant::now() + BLIP);
        board.tell_at(Instant::now() + BLIP);
        let lines = written.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("ERROR vault_unavailable Vault cannot be used: 503"));
        board.called("prod", "read", None);
        let lines = written.take();
        assert_eq!(
            lines,
            ["INFO vault_available since Vault can be used again"]
        );
        let outage = board.last_vault_outage().unwrap();
        assert!(outage.since.unwrap() <= outage.until);
    });
}

#[test]
fn a_refused_credential_is_told_at_once_and_a_refusal_of_one_path_is_no_outage() {
    with_board(|board, written| {
        board.called("prod", "read", None);
        board.called("prod", "read", Some(&failed(ErrorKind::Refused)));
        assert_eq!(board.vault_outage(), None);
        board.called("prod", "read", Some(&failed(ErrorKind::Unauthorized)));
        board.tell_at(Instant::now());
        assert_eq!(written.take().len(), 1);
        // That a node serves does not mean that it accepts the token.
        board.watched(Ok(()));
        assert!(board.vault_outage().is_some());
    });
}

#[test]
fn nobody_knows_when_an_outage_began_that_was_there_at_the_start() {
    with_board(|board, written| {
        board.called("prod", "journal", Some(&failed(ErrorKind::Transient)));
        board.tell_at(Instant::now() + BLIP);
        assert_eq!(written.take().len(), 1);
        board.called("prod", "journal", None);
        assert_eq!(board.last_vault_outage().unwrap().since, None);
    });
}

#[test]
fn p8_what_happened_once_is_shown_for_a_while_and_told_by_nobody_here() {
    with_board(|board, written| {
        let began = Instant::now();
        board.note("once", Line::new(EventName::VaultWentBack, "older"));
        board.tell_at(began + REPEAT / 2);
        assert_eq!(board.troubles().len(), 1);
        board.tell_at(Instant::now() + REPEAT);
        assert!(board.troubles().is_empty());
        assert!(written.take().is_empty());
    });
}
