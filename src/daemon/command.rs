//! One rotation or undo now, in the foreground, under the same claims as the daemon's.

use std::sync::Arc;

use crate::config::{SecretSettings, Settings};
use rotation::error::CallError;
use rotation::facts::{Errand, Holder, Verdict, Wish};
use rotation::record::Trigger;
use rotation::token::Epoch;

use super::assemble::{self, AssembleError};
use super::job::{self, Office};

/// A command at work: its clients, and its name in claims.
pub struct Desk {
    office: Office,
    holder: Holder,
    installation: String,
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
                resumes: false,
            },
            installation,
        })
    }

    /// Rotates one secret, or says what would be done. A failure is in the log and the journal.
    pub async fn rotate(&self, secret: &SecretSettings, dry: bool) -> Result<Verdict, CallError> {
        let now = Wish {
            due: None,
            trigger: Trigger::Command,
        };
        self.work(secret, Some(now), dry).await
    }

    /// Makes the previous token of one secret the current value again, or says why that cannot be done.
    pub async fn undo(&self, secret: &SecretSettings) -> Result<Verdict, CallError> {
        self.work(secret, None, false).await
    }

    async fn work(
        &self,
        secret: &SecretSettings,
        wish: Option<Wish>,
        dry: bool,
    ) -> Result<Verdict, CallError> {
        let plan = Arc::new(secret.plan.clone());
        let errand = |abilities, history| Errand {
            plan: plan.clone(),
            holder: self.holder.clone(),
            id: job::mark(),
            fresh_epoch: Epoch {
                installation: self.installation.clone(),
                secret: job::mark()[..6].to_owned(),
            },
            abilities,
            history,
            undo: wish.is_none(),
            wish,
            dry,
            // What is due for retirement is the daemon's work.
            clock_ok: false,
            holders: Arc::default(),
            journal: None,
            watch: None,
            listing: None,
            leaving: false,
            glance: false,
            doubt: false,
            outage: None,
        };
        Ok(super::dispatch::run_one(&self.office, &plan, errand)
            .await?
            .verdict)
    }

    /// Gives back what the command logged in for.
    pub async fn close(self) {
        self.office.wired.log_out().await;
    }
}
