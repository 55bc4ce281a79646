//! What a path of an environment asks for.

use crate::calls::Operation;
use crate::message::segment_decoded;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Tokens,
    Lookup,
    Token(String),
    Events,
    ActiveGateTokens,
    ActiveGateToken(String),
    EnvironmentInfo,
    EffectivePermissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    V2,
    V1,
    Fleet,
    Platform,
}

/// A route of one API.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) route: Route,
    pub(crate) api: Api,
    /// Authenticated by a platform token as Bearer instead of an API token.
    pub(crate) bearer: bool,
    /// The path with the id left out.
    pub(crate) template: String,
}

/// What an environment serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The classic APIs.
    Classic,
    /// Also the paths below `/platform`.
    Platform,
    /// The cluster API of Managed alone.
    Cluster,
}

impl Target {
    /// `None` for a path that the kind of environment does not have.
    pub(crate) fn read(path: &str, kind: Kind) -> Option<Target> {
        if kind == Kind::Cluster {
            return family(path, "/v2/tokens", Api::V1, false);
        }
        match path {
            "/api/v2/events/ingest" => return Some(single(path, Route::Events, Api::V2, false)),
            "/platform/management/v1/environment" if kind == Kind::Platform => {
                return Some(single(path, Route::EnvironmentInfo, Api::Platform, true));
            }
            "/platform/management/v1/effective-permissions:resolve" if kind == Kind::Platform => {
                let route = Route::EffectivePermissions;
                return Some(single(path, route, Api::Platform, true));
            }
            _ => {}
        }
        let classic = [
            ("/api/v2/apiTokens", Api::V2, false),
            ("/api/v1/tokens", Api::V1, false),
            ("/api/v2/activeGateTokens", Api::V2, false),
        ];
        let platform = [
            (
                "/platform/classic/environment-api/v2/apiTokens",
                Api::V2,
                true,
            ),
            (
                "/platform/classic/environment-api/v2/activeGateTokens",
                Api::V2,
                true,
            ),
            (
                "/platform/fleet-management/v1/activegate/tokens",
                Api::Fleet,
                true,
            ),
        ];
        let served = if kind == Kind::Platform {
            platform.len()
        } else {
            0
        };
        classic
            .into_iter()
            .chain(platform.into_iter().take(served))
            .find_map(|(root, api, bearer)| family(path, root, api, bearer))
    }

    pub(crate) fn active_gate(&self) -> bool {
        matches!(
            self.route,
            Route::ActiveGateTokens | Route::ActiveGateToken(_)
        )
    }

    pub(crate) fn operation(&self, method: &str) -> Option<Operation> {
        match (method, &self.route) {
            ("GET", Route::Tokens | Route::ActiveGateTokens) => Some(Operation::ListTokens),
            ("POST", Route::Tokens | Route::ActiveGateTokens) => Some(Operation::CreateToken),
            ("POST", Route::Lookup) => Some(Operation::LookupToken),
            ("GET", Route::Token(_) | Route::ActiveGateToken(_)) => Some(Operation::GetToken),
            ("PUT", Route::Token(_)) => Some(Operation::UpdateToken),
            ("DELETE", Route::Token(_) | Route::ActiveGateToken(_)) => Some(Operation::DeleteToken),
            ("POST", Route::Events) => Some(Operation::IngestEvent),
            ("GET", Route::EnvironmentInfo) => Some(Operation::GetEnvironment),
            ("POST", Route::EffectivePermissions) => Some(Operation::ResolvePermissions),
            _ => None,
        }
    }
}

fn single(path: &str, route: Route, api: Api, bearer: bool) -> Target {
    Target {
        route,
        api,
        bearer,
        template: path.to_owned(),
    }
}

/// The collection at `root`, its items, and its look-up where there is one.
fn family(path: &str, root: &str, api: Api, bearer: bool) -> Option<Target> {
    let active_gate = root.ends_with("activeGateTokens") || api == Api::Fleet;
    let rest = path.strip_prefix(root)?;
    if rest.is_empty() {
        let route = if active_gate {
            Route::ActiveGateTokens
        } else {
            Route::Tokens
        };
        return Some(single(root, route, api, bearer));
    }
    let segment = rest.strip_prefix('/')?;
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    let segment = segment_decoded(segment);
    let (route, tail) = match segment.as_str() {
        _ if active_gate => (Route::ActiveGateToken(segment), "/{id}"),
        "lookup" => (Route::Lookup, "/lookup"),
        _ => (Route::Token(segment), "/{id}"),
    };
    Some(single(&format!("{root}{tail}"), route, api, bearer))
}
