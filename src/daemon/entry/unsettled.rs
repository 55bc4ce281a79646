//! What is of use only while something of a secret is under way or wrong.

use jiff::Timestamp;

use crate::ops::known::{Failing, Unusable};
use rotation::pause::Pause;
use rotation::record::Reason;
use rotation::request::{ClaimObservation, Listing};
use rotation::token::TokenId;

use super::super::values::KnownValue;

/// What is out of the ordinary with a secret.
#[derive(Clone, PartialEq)]
pub struct Unsettled {
    /// Its pause, by its document.
    pub(super) recorded_pause: Option<Pause>,
    /// Why only a person can resolve it, by its document.
    pub(super) stuck: Option<Reason>,
    /// How long a foreign claim has stood.
    pub watch: Option<ClaimObservation>,
    /// A sweep cast a doubt on its current token, or it may be stuck no more: the next run looks.
    pub doubt: bool,
    /// The next run reads the secret: while former tokens are on their way out, a person may put one of them back.
    pub reread: bool,
    /// What the run under way was to look at: recheck the token, reread the secret.
    pub hinted: (bool, bool),
    /// The sweep's picture, for the next run.
    pub listing: Option<Listing>,
    /// Since when it is switched on, if it was off before.
    pub(super) on_since: Option<Timestamp>,
    /// When the run under way began.
    pub started: Option<Timestamp>,
    /// When its settings changed since it was last looked at.
    pub(super) changed: Option<Timestamp>,
    /// It was stuck, and its settings changed: try again.
    pub(super) nudged: bool,
    /// The due time that was skipped last.
    pub(super) skipped: Option<Timestamp>,
    /// No run before this.
    pub(super) not_before: Option<Timestamp>,
    /// The due instant that failed and is tried again.
    pub(super) retrying: Option<Timestamp>,
    pub(super) tries: u32,
    /// Why its document cannot be used.
    pub(super) unusable: Option<Unusable>,
    /// Its runs fail without being able to record that.
    pub(super) failing: Option<Failing>,
    /// What is known of the latest version of the secret.
    pub value: KnownValue,
    /// The token whose value it holds although its document knows none.
    pub(super) unrecorded: Option<TokenId>,
}

/// Nothing is out of the ordinary.
pub(super) static SETTLED: Unsettled = Unsettled {
    recorded_pause: None,
    stuck: None,
    watch: None,
    doubt: false,
    reread: false,
    hinted: (false, false),
    listing: None,
    on_since: None,
    started: None,
    changed: None,
    nudged: false,
    skipped: None,
    not_before: None,
    retrying: None,
    tries: 0,
    unusable: None,
    failing: None,
    value: KnownValue::NOTHING,
    unrecorded: None,
};
