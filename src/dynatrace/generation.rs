//! What differs between the generations of the tokens API, of an environment or of a cluster: the calls and the shapes of the answers. Pure.

use super::answer::Answer;
use super::call::Call;
use rotation::capabilities::Capabilities;
use rotation::error::CallError;
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue};

/// One generation of the classic tokens API.
pub(super) trait Generation: Sync {
    /// What its tokens can do.
    fn capabilities(&self) -> Capabilities;

    /// The scopes that a management token needs here.
    fn needed_scopes(&self) -> &'static [&'static str];

    /// The scope that a call of this kind needs.
    fn scope_for(&self, reads: bool) -> &'static str;

    /// Every valid token may look itself up. Otherwise only the management token may look anything up.
    fn proves_itself(&self) -> bool {
        true
    }

    /// Look up by value. Answered by [`Generation::read_info`].
    fn look_up_value(&self, value: &TokenValue) -> Call;

    /// Look up by id. Answered by [`Generation::read_info`].
    fn look_up(&self, id: &TokenId) -> Call;

    /// Create.
    ///
    /// # Errors
    /// Why this order cannot be expressed.
    fn mint(&self, order: &MintRequest) -> Result<Call, &'static str>;

    /// Enable or disable.
    fn set_enabled(&self, id: &TokenId, enabled: bool) -> Call;

    /// Give it another name.
    fn rename(&self, id: &TokenId, name: &str) -> Call;

    /// Enable or disable, and give it another name, in one call.
    fn set_enabled_and_name(&self, id: &TokenId, enabled: bool, name: &str) -> Call;

    /// Delete.
    fn delete(&self, id: &TokenId) -> Call;

    /// The first page of all tokens, or the one that `key` names.
    fn list(&self, key: Option<&str>) -> Call;

    /// A listing has everything that a look-up returns, not only ids and names.
    fn lists_details(&self) -> bool {
        true
    }

    /// Reads one token.
    fn read_info(&self, answer: &Answer) -> Result<TokenInfo, CallError>;

    /// Reads the answer to a create.
    fn read_minted(&self, answer: &Answer) -> Result<Minted, CallError>;

    /// Reads a page: its tokens, and the key of the next page.
    fn read_page(&self, answer: &Answer) -> Result<(Vec<TokenInfo>, Option<String>), CallError>;
}
