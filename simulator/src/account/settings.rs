//! What differs between accounts, and what the public documentation does not say.

use std::time::Duration;

/// How the account API explains a refusal: undocumented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorBody {
    /// No body.
    Empty,
    /// A sentence that is not JSON.
    Text,
    /// The error envelope of the environments.
    Json,
}

/// The settings of one account, changed by [`Account::configure`](crate::Account::configure).
#[derive(Debug, Clone)]
pub struct AccountSettings {
    /// Platform tokens that one user may own, expired ones included; documented as 50, formerly 10.
    pub user_limit: usize,
    /// Platform tokens that one service user may own.
    pub service_user_limit: usize,
    /// How long an access token lives.
    pub access_token_life: Duration,
    /// The time until each change takes effect at the environments. Only that of a disable is documented: up to five minutes,
    /// which is the default.
    pub create_lag: Duration,
    /// From setting a token inactive to its refusal.
    pub disable_lag: Duration,
    /// From setting it active to its acceptance.
    pub enable_lag: Duration,
    /// From its deletion to its refusal.
    pub delete_lag: Duration,
    /// From a new expiry to its effect.
    pub redate_lag: Duration,
    /// Every other request to an environment meets a node that knows each change at once, while the others learn of it after the
    /// time above.
    pub nodes_disagree: bool,
    /// How long a listing leaves out what was created and shows what was deleted; undocumented.
    pub list_lag: Duration,
    /// Documented as 200; 201 in the test server of a Dynatrace tool.
    pub create_status: u16,
    /// Documented as 200; 204 in the test server of a Dynatrace tool.
    pub delete_status: u16,
    /// Answers every create with this status, as when an administrator forbids platform tokens. The status is undocumented.
    pub refuse_creation: Option<u16>,
    /// The answer to a call about a token that does not exist (it may be deleted); undocumented, but an error.
    pub missing_status: u16,
    /// The answer of the single sign-on to a wrong client or secret: undocumented, 400 or 401.
    pub bad_client_status: u16,
    /// Whether a create needs `platform-token:tokens:write` beside `platform-token:tokens:manage`.
    pub create_needs_write: bool,
    /// Scopes that have the form of a platform scope and are refused all the same.
    pub unknown_scopes: Vec<String>,
    /// Whether an expired token can be given a later expiry; undocumented.
    pub redate_expired: bool,
    /// Whether an item of the listing has a `status`; the specification has none.
    pub list_shows_status: bool,
    /// Whether the status filter also gives expired tokens; undocumented.
    pub filter_gives_expired: bool,
    /// Whether the search term must begin the searched text instead of being anywhere in it; undocumented.
    pub search_from_start: bool,
    /// The number of the first page; undocumented.
    pub first_page: usize,
    /// The size of a page unless asked for, and at most; undocumented.
    pub page_size: usize,
    /// The largest size that can be asked for.
    pub max_page_size: usize,
    /// Whether the listing begins with the newest token, so that one created meanwhile moves all others; undocumented.
    pub newest_first: bool,
    /// Whether an unknown query parameter is refused instead of ignored; undocumented, but a tool of Dynatrace's sends some.
    pub refuse_unknown_parameters: bool,
    /// The last use is shown in steps of this length, the instant rounded down; undocumented.
    pub last_use_step: Duration,
    /// Whether a call that is refused with 403 counts as a use; undocumented.
    pub refused_call_is_use: bool,
    /// The body of a refusal.
    pub error_body: ErrorBody,
}

impl Default for AccountSettings {
    fn default() -> AccountSettings {
        AccountSettings {
            user_limit: 50,
            service_user_limit: 100,
            access_token_life: Duration::from_secs(300),
            create_lag: Duration::ZERO,
            disable_lag: Duration::from_secs(300),
            enable_lag: Duration::ZERO,
            delete_lag: Duration::ZERO,
            redate_lag: Duration::ZERO,
            nodes_disagree: false,
            list_lag: Duration::ZERO,
            create_status: 200,
            delete_status: 200,
            refuse_creation: None,
            missing_status: 404,
            bad_client_status: 401,
            create_needs_write: true,
            unknown_scopes: Vec::new(),
            redate_expired: false,
            list_shows_status: false,
            filter_gives_expired: true,
            search_from_start: false,
            first_page: 1,
            page_size: 50,
            max_page_size: 200,
            newest_first: false,
            refuse_unknown_parameters: false,
            last_use_step: Duration::ZERO,
            refused_call_is_use: false,
            error_body: ErrorBody::Text,
        }
    }
}
