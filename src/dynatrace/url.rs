//! The address of an environment: what people write, brought into one canonical form.
//!
//! Pure. The canonical text is what the journal compares (a retirement recorded for one base URL is never carried out against
//! another), so the same environment must always give the same text. An error sentence never repeats what was given: it may hold
//! a token (`?api-token=`).

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

/// The canonical base URL of an environment: `https://ENV.live.dynatrace.com`, `https://HOST/e/ENV`, `https://AG:9999/e/ENV`;
/// no trailing slash, no `/api/...`, no query, no user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl(Url);

/// The user interface's hosts and the hosts of their APIs: on the former the tokens API answers 404. The pairs are those of
/// Dynatrace's Terraform provider; the last two are Dynatrace's own test stages.
const INTERFACE_HOSTS: [(&str, &str); 3] = [
    (".apps.dynatrace.", ".live.dynatrace."),
    (".dev.apps.dynatracelabs.", ".dev.dynatracelabs."),
    (".sprint.apps.dynatracelabs.", ".sprint.dynatracelabs."),
];

/// Hosts of Dynatrace that serve no environment.
const OTHER_HOSTS: [&str; 3] = [
    "api.dynatrace.com",
    "sso.dynatrace.com",
    "account.dynatrace.com",
];

impl BaseUrl {
    /// Reads what a person wrote. Understands the user interface's address (`.apps.`), a trailing slash and a trailing
    /// `/api`, `/api/v2`, `/api/v2/apiTokens` and the like. Plain http is refused unless the host is loopback or `allow_http`.
    ///
    /// # Errors
    /// One sentence that says what is wrong and what to write.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, String> {
        let mut url = Url::parse(text.trim()).map_err(|error| {
            format!("this is no URL ({error}): write https://ENVIRONMENT.live.dynatrace.com or https://HOST/e/ENVIRONMENT")
        })?;
        check_scheme(&url, allow_http)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user or password in the URL is not supported: the management token is read from Vault".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("nothing may follow the path: take away everything from ? or # on".into());
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        if OTHER_HOSTS.contains(&host.as_str()) {
            return Err(format!(
                "{host} serves accounts, not an environment: write https://ENVIRONMENT.live.dynatrace.com"
            ));
        }
        let host = match api_host(&host) {
            Some(api) => {
                url.set_host(Some(&api))
                    .map_err(|error| format!("the host name is not valid ({error})"))?;
                api
            }
            None => host,
        };
        let path = environment_path(url.path())?;
        if !path.is_empty() && is_saas(&host) && !path.starts_with("/e/") {
            return Err(format!(
                "the path does not belong to the API's address: write https://{host}"
            ));
        }
        url.set_path(&path);
        Ok(BaseUrl(url))
    }

    /// The canonical text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Not plain http.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The address of `segments` below this base; keeps `/e/ENV` (joining a path that starts with a slash would drop it).
    /// Every segment is percent-encoded as one, so it cannot climb out of its place.
    pub(super) fn join<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn check_scheme(url: &Url, allow_http: bool) -> Result<(), String> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the URL names no host: write https://ENVIRONMENT.live.dynatrace.com".into());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_http || is_loopback(url) => Ok(()),
        "http" => Err(
            "plain http would show every token to the network: write https, or set allow_http = true".into(),
        ),
        _ => Err("only https (and http to this machine) is supported".into()),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_saas(host: &str) -> bool {
    host.ends_with(".live.dynatrace.com") || host.ends_with(".dynatracelabs.com")
}

/// The API's host for a host of the user interface.
fn api_host(host: &str) -> Option<String> {
    INTERFACE_HOSTS
        .iter()
        .find(|(interface, _)| host.contains(interface))
        .map(|(interface, api)| host.replacen(interface, api, 1))
}

/// What stands before the API's own path, without a slash at its end.
fn environment_path(path: &str) -> Result<String, String> {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let end = segments
        .iter()
        .position(|part| *part == "api")
        .unwrap_or(segments.len());
    if segments.get(end + 1) == Some(&"cluster") {
        return Err("this is the cluster's API, which has no tokens of an environment: write https://HOST/e/ENVIRONMENT".into());
    }
    let kept = &segments[..end];
    if kept.last() == Some(&"e") {
        return Err(
            "the environment's identifier is missing after /e/: write https://HOST/e/ENVIRONMENT"
                .into(),
        );
    }
    Ok(kept.iter().map(|part| format!("/{part}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        BaseUrl::parse(text, false).unwrap().as_str().to_owned()
    }

    #[test]
    fn every_form_of_an_address_becomes_its_canonical_one() {
        let saas = "https://abc12345.live.dynatrace.com";
        for (given, expected) in [
            ("https://abc12345.live.dynatrace.com", saas),
            ("  https://abc12345.live.dynatrace.com/ ", saas),
            ("https://ABC12345.live.dynatrace.com:443//", saas),
            ("https://abc12345.apps.dynatrace.com/", saas),
            ("https://abc12345.live.dynatrace.com/api", saas),
            ("https://abc12345.live.dynatrace.com/api/v2/", saas),
            ("https://abc12345.live.dynatrace.com/api/v2/apiTokens", saas),
            ("https://abc12345.live.dynatrace.com/api/v1/tokens", saas),
            (
                "https://x.dev.apps.dynatracelabs.com",
                "https://x.dev.dynatracelabs.com",
            ),
            (
                "https://x.sprint.apps.dynatracelabs.com",
                "https://x.sprint.dynatracelabs.com",
            ),
            (
                "https://managed.example.com/e/E1/",
                "https://managed.example.com/e/E1",
            ),
            (
                "https://managed.example.com/e/E1/api/v2",
                "https://managed.example.com/e/E1",
            ),
            (
                "https://ag.example.com:9999/e/abc",
                "https://ag.example.com:9999/e/abc",
            ),
            (
                "https://gate.example.com/dt/e/abc/",
                "https://gate.example.com/dt/e/abc",
            ),
            ("http://127.0.0.1:8080/e/x", "http://127.0.0.1:8080/e/x"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost:1", "http://localhost:1"),
        ] {
            assert_eq!(canonical(given), expected, "{given}");
        }
    }

    #[test]
    fn what_is_no_address_of_an_environment_is_refused_with_what_to_write() {
        for (given, part) in [
            ("", "no URL"),
            ("abc12345.live.dynatrace.com", "no URL"),
            ("ftp://abc", "only https"),
            ("http://abc12345.live.dynatrace.com", "allow_http"),
            ("http://127.0.0.1.example.com", "allow_http"),
            ("https://user:pw@abc", "user or password"),
            ("https://abc?api-token=CANARY", "from ? or #"),
            ("https://abc/#settings", "from ? or #"),
            ("https://api.dynatrace.com", "accounts"),
            ("https://m.example.com/api/cluster/v2", "cluster"),
            ("https://m.example.com/e/", "/e/ENVIRONMENT"),
            (
                "https://abc.apps.dynatrace.com/ui/apps",
                "https://abc.live.dynatrace.com",
            ),
        ] {
            let error = BaseUrl::parse(given, false).unwrap_err();
            assert!(error.contains(part), "{given}: {error}");
            assert!(
                !error.contains("CANARY") && !error.contains("pw"),
                "{error}"
            );
        }
        assert!(BaseUrl::parse("http://dt.example.com", true).is_ok());
    }

    #[test]
    fn a_join_keeps_the_environment_and_no_segment_climbs_out() {
        let base = BaseUrl::parse("https://h/e/E1", false).unwrap();
        assert_eq!(
            base.join(["api", "v2", "apiTokens"]).as_str(),
            "https://h/e/E1/api/v2/apiTokens"
        );
        assert_eq!(
            base.join(["api", "a/b?c#d"]).as_str(),
            "https://h/e/E1/api/a%2Fb%3Fc%23d"
        );
        let root = BaseUrl::parse("https://h", false).unwrap();
        assert_eq!(root.join(["api"]).as_str(), "https://h/api");
    }
}
