//! One rotation or undo now, in the foreground, under the same claims as the daemon's.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{SecretSettings, Settings};
use rotation::error::CallError;
use rotation::ports::{Journal, JournalRead};
use rotation::record::Trigger;
use rotation::request::{Epochs, Goal, Hints, Holder, Known, RotationRequest};
use rotation::runner::Ended;
use rotation::token::TokenId;

use super::assemble::{self, AssembleError};
use super::job::{self, Office, Start};
use super::sweep;

/// A command at work: its clients, and its name in claims.
pub struct Desk {
    office: Office,
    holder: Holder,
    installation: String,
    epochs: tokio::sync::OnceCell<Arc<Epochs>>,
}

/// Why a command could not begin.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The clients cannot be built.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The journal cannot be reached.
    #[error(transparent)]
    Journal(#[from] CallError),
}

impl Desk {
    /// Connects. `instance` must differ from every daemon's, so that neither takes the other's claim for its own.
    pub async fn open(settings: &Settings, instance: String) -> Result<Desk, DeskError> {
        let office = Office::new(assemble::assemble(settings)?, settings);
        let installation = office.wired.ledger.installation().await?;
        Ok(Desk {
            office,
            holder: Holder {
                instance,
                boot: job::mark(),
                is_daemon: false,
            },
            installation,
            epochs: tokio::sync::OnceCell::new(),
        })
    }

    /// Rotates one secret, or says what would be done. `confirmed` = rights that only the journal knows may be given to the new token. A failure
    /// is in the log and the journal.
    pub async fn rotate(
        &self,
        secret: &SecretSettings,
        dry_run: bool,
        confirmed: bool,
    ) -> Result<Ended, CallError> {
        let goal = Goal::Rotate(RotationRequest {
            due: None,
            trigger: Trigger::Command,
            accept_recorded_rights: confirmed,
        });
        self.work(secret, goal, dry_run).await
    }

    /// Makes the previous token of one secret the current value again, or says why that cannot be done.
    pub async fn undo(&self, secret: &SecretSettings) -> Result<Ended, CallError> {
        self.work(secret, Goal::Undo, false).await
    }

    /// Drops a retiring token of one secret from its journal document; the token is left as it is.
    pub async fn forget(
        &self,
        secret: &SecretSettings,
        token: &TokenId,
    ) -> Result<Ended, CallError> {
        self.work(secret, Goal::Forget(token.clone()), false).await
    }

    async fn work(
        &self,
        secret: &SecretSettings,
        goal: Goal,
        dry_run: bool,
    ) -> Result<Ended, CallError> {
        let environment = &secret.plan.coordinates.environment;
        let start = Start {
            plan: Arc::new(secret.plan.clone()),
            holder: self.holder.clone(),
            installation: self.installation.clone(),
            goal,
            dry_run,
            hints: Hints::default(),
            enabled: secret.enabled,
            // What is due for retirement is the daemon's work.
            clock: sweep::clock_state(&self.office, environment).await,
            may_retire: false,
            current_tokens: Arc::default(),
            epochs: self.epochs(secret).await?,
            outage: None,
            known: Known::default(),
        };
        start.run(&self.office).await
    }

    /// The identities of all documents. They are needed only where a document is to be made, and read once.
    async fn epochs(&self, secret: &SecretSettings) -> Result<Option<Arc<Epochs>>, CallError> {
        let ledger = &self.office.wired.ledger;
        if !matches!(
            ledger.read(&secret.plan.name).await?,
            JournalRead::Absent { .. }
        ) {
            return Ok(None);
        }
        let read = async || {
            let mut index = Epochs::default();
            for name in ledger.list().await? {
                if let JournalRead::Present { record, .. } = ledger.read(&name).await?
                    && record.closed_at.is_none()
                {
                    let plan = record.release_plan("", Duration::ZERO, Duration::ZERO);
                    index
                        .entry(record.epoch.clone())
                        .or_default()
                        .push(Arc::new(plan));
                }
            }
            Ok(Arc::new(index))
        };
        self.epochs.get_or_try_init(read).await.cloned().map(Some)
    }

    /// Gives back what the command logged in for.
    pub async fn close(self) {
        self.office.wired.log_out().await;
    }
}
