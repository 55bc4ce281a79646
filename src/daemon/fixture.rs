//! A daemon for tests, which has begun nothing. No service of it can be reached.

use std::sync::Arc;

use super::Daemon;
use crate::config::{Options, load};
use crate::schedule::ticker::{Groups, Ticker};

/// Two environments and an account. The secrets `a` and `b` are of `prod`, `c` is of `stage`, and `p` is a platform token for `prod`.
const CONFIGURATION: &str = r#"
[vault]
address = "http://127.0.0.1:1"
[vault.auth]
method = "token"
token_file = "token"
[journal]
mount = "secret"
path = "journal"
[account.main]
uuid = "11111111-2222-3333-4444-555555555555"
api_url = "http://127.0.0.1:1"
sso_url = "http://127.0.0.1:1"
allow_http = true
[account.main.auth]
path = "dynatrace/client"
[dynatrace.prod]
url = "http://127.0.0.1:1"
environment_id = "abc12345"
apps_url = "http://127.0.0.1:1"
[dynatrace.prod.auth]
path = "dynatrace/master"
[dynatrace.stage]
url = "http://127.0.0.1:2"
[dynatrace.stage.auth]
path = "dynatrace/stage"
[defaults]
environment = "prod"
schedule = "@daily"
[[secret]]
path = "a"
[[secret]]
path = "b"
[[secret]]
path = "c"
environment = "stage"
[[secret]]
path = "p"
kind = "platform"
lifetime = "90d"
"#;

/// The daemon, with its secrets in the queue.
pub(super) async fn daemon() -> Daemon {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dtrotate.toml");
    std::fs::write(&file, CONFIGURATION).unwrap();
    std::fs::write(folder.path().join("token"), "x").unwrap();
    let options = Options {
        environment: Default::default(),
        config_dir: None,
        daemon: true,
        starting: false,
        offline: false,
    };
    let settings = load(&file, &options).unwrap_or_else(|problems| panic!("{problems:?}"));
    let (ticker, _ticks) = Ticker::start(Groups::new()).await.unwrap();
    let reload = Arc::new(|| Err(String::new()));
    Daemon::new(settings, "i".into(), reload, ticker).unwrap()
}
