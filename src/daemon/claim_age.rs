//! The age of a claim by Vault's own clock. A process that runs for a short time cannot watch a claim for `claim_timeout`, but Vault knows when
//! its document was last written: a document that is older than that was unchanged for as long (rule A13).

use std::time::Duration;

use rotation::request::ClaimObservation;

use crate::clock;

use super::job::Office;

/// The observation of a claim, dated back to when Vault took the document that holds it. Where that cannot be found out it stays as it is.
/// A standby may show an old version: whoever takes the claim over by it is refused by the check-and-set.
pub(super) async fn dated(
    office: &Office,
    name: &str,
    observation: ClaimObservation,
) -> ClaimObservation {
    let Some(age) = age(office, name, observation.version).await else {
        return observation;
    };
    let since = office.mono().saturating_sub(age);
    ClaimObservation {
        since: observation.since.min(since),
        ..observation
    }
}

/// How long this version of the document has been the last one.
async fn age(office: &Office, name: &str, version: u64) -> Option<Duration> {
    let written = office.wired.ledger.written(name).await.ok()??;
    let skew = office.wired.vault_clock().skew()?;
    let now = clock::now().checked_add(skew.ahead).ok()?;
    let (last, at) = written;
    let age = Duration::try_from(at.duration_until(now)).unwrap_or_default();
    (last == version).then_some(age)
}
