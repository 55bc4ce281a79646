//! Checks addresses and brings them into one form, without using a network. No address may contain a user name or a password, because a
//! configuration never contains secrets.

use std::net::IpAddr;

use url::{Host, Url};

use super::validate;
use crate::dynatrace::BaseUrl;

/// The hosts of the web interface, where the tokens API answers 404, and the hosts of their APIs. The pairs are those of Dynatrace's
/// Terraform provider; the last two are Dynatrace's own test stages.
const WEB_HOSTS: [(&str, &str); 3] = [
    (".apps.dynatrace.", ".live.dynatrace."),
    (".dev.apps.dynatracelabs.", ".dev.dynatracelabs."),
    (".sprint.apps.dynatracelabs.", ".sprint.dynatracelabs."),
];

/// Hosts of Dynatrace that serve accounts and no environment.
const ACCOUNT_HOSTS: [&str; 3] = [
    "api.dynatrace.com",
    "sso.dynatrace.com",
    "account.dynatrace.com",
];

/// The address of an environment.
#[derive(Clone, Debug)]
pub struct EnvironmentUrl {
    pub base: BaseUrl,
    /// The host that was written, if it is that of the web interface.
    pub web: Option<String>,
}

/// Brings the address of a Dynatrace environment into the form that API paths are appended to: `https://ENV.live.dynatrace.com`,
/// `https://HOST/e/ENV` (Managed) or `https://HOST:9999/e/ENV` (ActiveGate), without a trailing slash. The host of the web
/// interface (`.apps.`), trailing slashes and whatever begins with `/api` are understood. The error is half a sentence that follows the
/// address.
///
/// The same environment must always give the same text: the journal compares it, and a retirement recorded for one base URL is never
/// carried out against another.
pub fn dynatrace(text: &str) -> Result<EnvironmentUrl, String> {
    let mut url = parse(text)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    if ACCOUNT_HOSTS.contains(&host.as_str()) {
        return Err(
            "serves accounts, not an environment; write https://ENVIRONMENT.live.dynatrace.com"
                .into(),
        );
    }
    let api_host = without_apps(&host);
    if let Some(api_host) = &api_host {
        url.set_host(Some(api_host))
            .map_err(|_| "is not the address of a Dynatrace environment".to_owned())?;
    }
    let path = url.path().trim_end_matches('/');
    let (path, api) = match path.find("/api/") {
        Some(at) => path.split_at(at),
        None => (path.strip_suffix("/api").unwrap_or(path), ""),
    };
    if api.starts_with("/api/cluster") {
        return Err(
            "is the API of a cluster, which has no tokens of an environment; write https://HOST/e/ENVIRONMENT, or https://HOST and api = \"cluster\""
                .into(),
        );
    }
    let path = path.trim_end_matches('/');
    let saas = url.host_str().is_some_and(|host| {
        host.ends_with(".dynatrace.com") || host.ends_with(".dynatracelabs.com")
    });
    if saas && !path.is_empty() {
        return Err(format!(
            "has the path \"{path}\"; the address of an environment ends after the host"
        ));
    }
    if path.split('/').skip(1).any(str::is_empty) {
        return Err("has an empty part in its path".into());
    }
    if path.ends_with("/e") {
        return Err("has no environment after \"/e/\"; write https://HOST/e/ENVIRONMENT".into());
    }
    Ok(EnvironmentUrl {
        base: BaseUrl::new(&format!("{}{path}", origin(&url)))?,
        web: api_host.map(|_| host),
    })
}

/// Checks the address of a server (Vault) and removes trailing slashes and `/v1`. The error is half a sentence that follows the
/// address.
pub fn server(text: &str) -> Result<Url, String> {
    let mut url = parse(text)?;
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
    if let Some((base, _)) = path.split_once("/v1/") {
        let base = format!("{}{base}", origin(&url));
        return Err(format!(
            "has a path of the API behind the address of the server; write \"{base}\""
        ));
    }
    url.set_path(&path);
    Ok(url)
}

/// Checks the address of a service that has no path. The error is half a sentence that follows the address.
pub fn origin_only(text: &str) -> Result<BaseUrl, String> {
    let url = parse(text)?;
    match url.path() {
        "" | "/" => BaseUrl::new(&origin(&url)),
        path => Err(format!(
            "has the path \"{path}\"; the address ends after the host"
        )),
    }
}

/// The id of an environment, as its address shows it: of SaaS, or behind `/e/`.
pub fn environment_id(base: &Url) -> Option<String> {
    if let Some((_, id)) = base.path().split_once("/e/") {
        return validate::environment_id(id).ok();
    }
    let host = base.host_str()?;
    let (id, rest) = host.split_once('.')?;
    let saas = WEB_HOSTS
        .iter()
        .any(|(_, api)| format!(".{rest}").starts_with(api));
    validate::environment_id(id).ok().filter(|_| saas)
}

/// The address of an environment's platform, for the address of its API: of SaaS only.
pub fn apps_url(base: &Url) -> Option<BaseUrl> {
    let host = base.host_str()?;
    let apps = WEB_HOSTS.iter().find_map(|(web, api)| {
        let (environment, rest) = host.split_once(api)?;
        Some(format!("{environment}{web}{rest}"))
    })?;
    BaseUrl::new(&format!("https://{apps}")).ok()
}

/// Checks the address of a proxy. Plain http is usual there: what goes through it is encrypted.
pub fn proxy(text: &str) -> Result<Url, String> {
    if !text.contains("://") {
        return Err("has no scheme; write \"http://\" in front".into());
    }
    if authority(text).contains('@') {
        return Err("has a user name or password in it; write USER:PASSWORD into a file and set proxy_auth_file".into());
    }
    let url = parse(text)?;
    match url.path() {
        "" | "/" => Ok(url),
        path => Err(format!("has the path \"{path}\"; a proxy has none")),
    }
}

/// Checks the URL of a webhook, which is a secret as a whole: the error is half a sentence and repeats nothing of it.
pub fn webhook(text: &str, allow_http: bool) -> Result<(), &'static str> {
    match Url::parse(text) {
        Ok(url) if is_exposed(&url) && !allow_http => {
            Err("holds a URL that is plain http to a host that is not loopback")
        }
        Ok(url) if matches!(url.scheme(), "https" | "http") => Ok(()),
        _ => Err("does not hold a web address that begins with https://"),
    }
}

/// Plain http to a host that is not loopback.
pub fn is_exposed(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}

fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

fn parse(text: &str) -> Result<Url, String> {
    if !text.contains("://") {
        return Err("has no scheme; write \"https://\" in front".into());
    }
    if text.contains(char::is_whitespace) {
        return Err("has white space in it".into());
    }
    validate::visible(text)?;
    if !authority(text).is_ascii() {
        return Err(
            "has a host that is not plain ASCII; write it as DNS has it, with \"xn--\"".into(),
        );
    }
    let url = Url::parse(text).map_err(|error| format!("is not a web address: {error}"))?;
    if !matches!(url.scheme(), "https" | "http") {
        let scheme = url.scheme();
        return Err(format!(
            "has the scheme \"{scheme}\"; only https and http are understood"
        ));
    }
    if authority(text).contains('@') {
        return Err(
            "has a user name or password in it; a configuration never holds credentials".into(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a \"?\" or \"#\" in it; write the address only".into());
    }
    Ok(url)
}

/// What is between `://` and the path.
fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())]
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// The API's host for a host of the web interface.
fn without_apps(host: &str) -> Option<String> {
    WEB_HOSTS.iter().find_map(|(web, api)| {
        let (environment, rest) = host.split_once(web)?;
        Some(format!("{environment}{api}{rest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_has_one_form() {
        const FORMS: &str = "\
            https://abc12345.live.dynatrace.com https://abc12345.live.dynatrace.com
            https://ABC12345.live.dynatrace.com/ https://abc12345.live.dynatrace.com
            https://abc12345.live.dynatrace.com/api/v2/ https://abc12345.live.dynatrace.com
            https://abc12345.apps.dynatrace.com/ https://abc12345.live.dynatrace.com
            https://abc12345.live.dynatrace.com/api/v2/apiTokens https://abc12345.live.dynatrace.com
            https://gate.example.com/dt/e/abc/api/ https://gate.example.com/dt/e/abc
            https://abc.dev.apps.dynatracelabs.com https://abc.dev.dynatracelabs.com
            https://abc.sprint.apps.dynatracelabs.com https://abc.sprint.dynatracelabs.com
            https://dt.example.com/e/0a-1b// https://dt.example.com/e/0a-1b
            https://dt.example.com:443/e/0a/api/v1 https://dt.example.com/e/0a
            https://ag.example.com:9999/e/abc/ https://ag.example.com:9999/e/abc
            http://127.0.0.1:8080/ http://127.0.0.1:8080
            https://xn--bcher-kva.example/e/x https://xn--bcher-kva.example/e/x
            http://[::1]:80/e/x http://[::1]/e/x";
        for line in FORMS.lines() {
            let (given, form) = line.trim().split_once(' ').unwrap();
            assert_eq!(dynatrace(given).unwrap().base.as_str(), form, "{given}");
        }
        for (address, exposed) in [
            ("http://dt:1/e/x", true),
            ("http://10.0.0.1/e/x", true),
            ("http://localhost.example.com", true),
            ("http://localhost:1", false),
            ("http://[::1]/e/x", false),
            ("https://dt:1/e/x", false),
        ] {
            let url = dynatrace(address).unwrap().base;
            assert_eq!(is_exposed(url.url()), exposed, "{address}");
        }
    }

    #[test]
    fn an_environment_shows_its_id_and_its_platform() {
        for (address, id, apps) in [
            (
                "https://abc12345.live.dynatrace.com",
                Some("abc12345"),
                Some("https://abc12345.apps.dynatrace.com"),
            ),
            (
                "https://abc.sprint.dynatracelabs.com",
                Some("abc"),
                Some("https://abc.sprint.apps.dynatracelabs.com"),
            ),
            ("https://managed.example.com/e/0a-1b", Some("0a-1b"), None),
            ("https://proxy.example.com", None, None),
        ] {
            let url = dynatrace(address).unwrap().base;
            assert_eq!(environment_id(url.url()).as_deref(), id, "{address}");
            let found = apps_url(url.url());
            assert_eq!(found.as_ref().map(BaseUrl::as_str), apps, "{address}");
        }
        assert!(origin_only("https://api.dynatrace.com/iam").is_err());
    }

    #[test]
    fn what_is_no_environment_says_why() {
        const REASONS: &str = "\
            abc12345.live.dynatrace.com | has no scheme
            ftp://abc | has the scheme \"ftp\"
            https:// | is not a web address
            https://a b | white space
            https://user:canary@host | user name or password
            https://@host | user name or password
            https://abc.live.dynatrace.com/ui/settings | has the path \"/ui/settings\"
            https://abc.live.dynatrace.com/?gtf=1 | \"?\"
            https://host/e/ | has no environment
            https://host/e/api/v2 | has no environment
            https://api.dynatrace.com | serves accounts
            https://m.example.com/api/cluster/v2 | is the API of a cluster
            https://bücher.example | with \"xn--\"
            https://host//e/x | empty part";
        for line in REASONS.lines() {
            let (given, why) = line.trim().split_once(" | ").unwrap();
            let error = dynatrace(given).unwrap_err();
            assert!(
                error.contains(why) && !error.contains("canary"),
                "{given}: {error}"
            );
        }
        assert!(
            dynatrace("https://\u{200b}host")
                .unwrap_err()
                .contains("U+200B")
        );
    }

    #[test]
    fn servers_and_proxies() {
        let server_of = |text| server(text).unwrap().to_string();
        assert_eq!(server_of("https://vault:8200/v1/"), "https://vault:8200/");
        assert_eq!(server_of("https://gw/vault/"), "https://gw/vault");
        let error = server("https://gw/vault/v1/secret/data").unwrap_err();
        assert!(error.ends_with("write \"https://gw/vault\""), "{error}");
        let url = proxy("http://proxy:3128/").unwrap();
        assert_eq!(url.as_str(), "http://proxy:3128/");
        for (given, why) in [
            ("proxy:3128", "write \"http://\" in front"),
            ("http://u:p@proxy:3128", "set proxy_auth_file"),
            ("socks5://proxy:1080", "only https and http"),
            ("http://proxy/x", "a proxy has none"),
        ] {
            let error = proxy(given).unwrap_err();
            assert!(error.contains(why), "{given}: {error}");
        }
    }
}
