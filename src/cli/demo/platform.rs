//! The platform token of the demo: an account, its OAuth client, and a token of a service user.

use std::time::Duration;

use simulator::{Account, Dynatrace, Kv, PlatformSeed};

/// The UUID of the account.
pub(super) const ACCOUNT: &str = "0f5c3b1e-1c5e-4a3c-9d4b-4d2f3c1a7b10";
/// What the OAuth client may do.
const SCOPES: [&str; 2] = [
    "platform-token:tokens:manage",
    "platform-token:tokens:write",
];
const PATH: &str = "dynatrace/dashboards";
const SCHEDULE: &str = "*/20 * * * * *";
/// Disabling takes five minutes in Dynatrace, which is longer than anybody watches a demo.
const DISABLE_LAG: Duration = Duration::from_secs(1);

/// Puts all of it into the stand-ins; returns the configuration of it.
pub(super) fn seed(account: &Account, dynatrace: &Dynatrace, kv: &Kv) -> String {
    account.configure(|settings| settings.disable_lag = DISABLE_LAG);
    let owner = account.seed_service_user();
    let client = account.seed_client(&owner, &SCOPES);
    let client = serde_json::json!({ "client_id": client.id, "client_secret": client.value });
    kv.put("secret", "dynatrace/oauth-client", client);
    let seed = PlatformSeed::new(PATH, &owner).environment(dynatrace.id());
    let token = serde_json::json!({ "token": account.seed(seed).value });
    kv.put("secret", PATH, token);
    format!(
        "[account.demo]\nuuid = \"{}\"\napi_url = \"{url}\"\nsso_url = \"{url}\"\nsettle = \"10m\"\n\
         [account.demo.auth]\npath = \"dynatrace/oauth-client\"\n\
         [[secret]]\npath = \"{PATH}\"\nkind = \"platform\"\nlifetime = \"1h\"\nschedule = \"{SCHEDULE}\"\n",
        account.uuid(),
        url = account.api_url(),
    )
}
