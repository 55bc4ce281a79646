//! Does Vault delete journal documents? Then dtrotate would lose track of old tokens, which would stay valid.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::config::show_duration;
use crate::ops::condition::Condition;
use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::ports::SecretPath;

use super::Daemon;
use super::background::Apply;
use super::conditions::Subject;

impl Daemon {
    /// Looks at the limits of the journal's mount and at the documents as they were last read or written. Where the mount's configuration
    /// cannot be read, only the documents are checked.
    pub(super) fn check_journal_retention(&mut self) {
        if self.office.services.vault_outage().is_some() {
            return;
        }
        let ledger = self.office.wired.ledger.clone();
        let mount = self.settings.journal.mount.clone();
        self.background.begin("journal retention", async move {
            let limits = ledger.mount_limits().await;
            // Nothing else depends on this call, so its failure is not an outage.
            let refused = |error: &CallError| error.kind == ErrorKind::Refused;
            let known = limits.as_ref().err().is_none_or(refused);
            let after = limits.ok().and_then(|limits| limits.delete_after());
            if known && after.is_none() {
                // The cause may be resolved.
                ledger.renew_ending().await;
            }
            let ending = ledger.ending().into_iter();
            let ending = ending.map(|(at, ends)| (at, Some(ends))).collect();
            Box::new(move |daemon: &mut Daemon| {
                let message = expiring(&mount, after, &ending);
                if known || message.is_some() {
                    let condition = message.map(|message| {
                        Condition::new(EventName::JournalExpiring, message, clock::now())
                    });
                    let all = condition.into_iter().collect();
                    daemon.office.conditions.set(Subject::JournalRetention, all);
                }
            }) as Apply
        });
    }
}

/// The message about a mount that deletes journal documents, or about documents that will be deleted: at this time, or (none) some time
/// after their next version was written.
pub(super) fn expiring(
    mount: &str,
    after: Option<Duration>,
    ending: &BTreeMap<SecretPath, Option<Timestamp>>,
) -> Option<String> {
    const LOST: &str =
        "without them dtrotate would lose track of old tokens, which would stay valid";
    if let Some(after) = after {
        return Some(format!(
            "the mount {mount} deletes journal documents {} after they were written (delete_version_after), and {LOST}. Run `bao write \
             {mount}/config delete_version_after=0s`",
            show_duration(after)
        ));
    }
    let (first, ends) = ending
        .iter()
        .min_by_key(|(_, ends)| (ends.is_none(), **ends))?;
    let SecretPath { mount, path } = first;
    let time = ends.map_or(String::new(), |ends| format!(" at {ends}"));
    Some(format!(
        "Vault will delete {} of the journal documents, first {mount}/{path}{time}, and {LOST}. Set delete_version_after of the mount and of \
         these documents to 0s (`bao kv metadata get -mount={mount} {path}` shows theirs)",
        ending.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_named_before_its_documents_and_of_these_the_first_to_end() {
        let at = |path: &str| SecretPath {
            mount: "kv".into(),
            path: path.into(),
        };
        let time = |second| Timestamp::from_second(second).unwrap();
        let none = BTreeMap::new();
        assert_eq!(expiring("kv", None, &none), None);
        let ending = [("j/a", Some(9)), ("j/b", Some(5)), ("j/c", None)];
        let ending = ending.map(|(path, ends)| (at(path), ends.map(time)));
        let ending = BTreeMap::from(ending);
        let message = expiring("kv", None, &ending).unwrap();
        assert!(
            message.contains("3 of the journal documents, first kv/j/b at 1970"),
            "{message}"
        );
        let message = expiring("kv", Some(Duration::from_secs(3600)), &ending).unwrap();
        assert!(
            message.contains("the mount kv deletes") && message.contains("1h"),
            "{message}"
        );
    }
}
