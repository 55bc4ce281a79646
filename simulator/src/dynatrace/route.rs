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
    ConnectedActiveGates,
    Probe(Probe),
}

/// What a platform token can be tried on without an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    Environment,
    Permissions,
    User,
    Documents,
    Workflows,
    Settings,
}

impl Probe {
    const ALL: [(&'static str, Probe); 6] = [
        ("/platform/management/v1/environment", Probe::Environment),
        (
            "/platform/management/v1/effective-permissions:resolve",
            Probe::Permissions,
        ),
        ("/platform/metadata/v1/user", Probe::User),
        ("/platform/document/v1/documents", Probe::Documents),
        ("/platform/automation/v1/workflows", Probe::Workflows),
        (
            "/platform/classic/environment-api/v2/settings/objects",
            Probe::Settings,
        ),
    ];
}

/// The APIs of the classic origin, and of the origin of the apps.
const CLASSIC: [(&str, Api); 3] = [
    ("/api/v2/apiTokens", Api::V2),
    ("/api/v1/tokens", Api::V1),
    ("/api/v2/activeGateTokens", Api::V2),
];
const APPS: [(&str, Api); 3] = [
    ("/platform/classic/environment-api/v2/apiTokens", Api::V2),
    (
        "/platform/classic/environment-api/v2/activeGateTokens",
        Api::V2,
    ),
    (
        "/platform/fleet-management/v1/activegate/tokens",
        Api::Fleet,
    ),
];

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
    /// `None` for a path that the kind of environment does not have at this origin.
    pub(crate) fn read(path: &str, kind: Kind, apps: bool) -> Option<Target> {
        if kind == Kind::Cluster {
            let found = family(path, "/v2/tokens", Api::V1, false);
            return found.filter(|_| !apps);
        }
        if apps {
            let probe = Probe::ALL.into_iter().find(|(own, _)| *own == path);
            if let Some((_, probe)) = probe {
                return Some(single(path, Route::Probe(probe), Api::Platform, true));
            }
        }
        match path {
            _ if apps => {}
            "/api/v2/events/ingest" => return Some(single(path, Route::Events, Api::V2, false)),
            "/api/v2/activeGates" => {
                return Some(single(path, Route::ConnectedActiveGates, Api::V2, false));
            }
            _ => {}
        }
        let families = if apps { APPS } else { CLASSIC };
        families
            .into_iter()
            .find_map(|(root, api)| family(path, root, api, apps))
    }

    /// Whether it is an API of classic tokens, which takes no platform token at the classic origin.
    pub(crate) fn classic_tokens(&self) -> bool {
        matches!(self.route, Route::Tokens | Route::Token(_) | Route::Lookup)
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
            ("GET", Route::ConnectedActiveGates) => Some(Operation::ListActiveGates),
            ("GET", Route::Probe(Probe::Environment)) => Some(Operation::GetEnvironment),
            ("POST", Route::Probe(Probe::Permissions)) => Some(Operation::ResolvePermissions),
            ("GET", Route::Probe(probe)) if *probe != Probe::Permissions => Some(Operation::Probe),
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
