//! Is Vault still what it was? A backup that is restored under a running daemon makes everything that the daemon knows too new.

use crate::clock;
use crate::rotation::ports::{Journal, JournalRead};

use super::Life;
use super::chores::Apply;

impl Life {
    /// Reads the document that was written last: whatever backup is restored, this one is older there. Then all that is known of the journal is
    /// void, every secret is looked at as at the start, and nothing retires until that is done.
    pub(super) fn look_back(&mut self) {
        let entries = self.roster.iter();
        let known = entries.filter_map(|(name, entry)| {
            let known = entry.known.as_ref()?;
            Some((entry.known_since, name.clone(), known.cas))
        });
        let Some((_, name, seen)) = known.max() else {
            return;
        };
        let (ledger, board) = (self.office.wired.ledger.clone(), self.office.board.clone());
        self.chores.begin("look back", async move {
            let read = ledger.read(&name).await;
            board.called("", "journal", read.as_ref().err());
            Box::new(move |life: &mut Life| {
                let version = match read {
                    Ok(JournalRead::Present { version, .. }) => version,
                    Ok(JournalRead::Absent { cas }) => cas,
                    Ok(JournalRead::Unreadable { .. }) | Err(_) => return,
                };
                if version < seen {
                    let now = clock::now();
                    life.roster.values_mut().for_each(|it| it.forget(now));
                    life.ring();
                }
            }) as Apply
        });
    }
}
