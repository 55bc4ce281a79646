//! The address of an environment, and the addresses below it. What people write was brought into one form by the configuration.

use std::fmt;

use reqwest::Url;

/// The base URL of an environment: `https://ENV.live.dynatrace.com`, `https://HOST/e/ENV`, `https://AG:9999/e/ENV`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Takes the canonical text of the configuration.
    ///
    /// # Errors
    /// It is not an address that paths can be appended to. The sentence does not repeat it.
    pub fn new(canonical: &str) -> Result<Self, String> {
        let url = Url::parse(canonical).map_err(|error| format!("this is no URL ({error})"))?;
        match url.has_host() {
            true => Ok(BaseUrl(url)),
            false => Err("this URL names no host".to_owned()),
        }
    }

    /// The text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The address as a URL.
    pub fn url(&self) -> &Url {
        &self.0
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

#[cfg(test)]
mod tests {
    use super::BaseUrl;

    #[test]
    fn a_join_keeps_the_environment_and_no_segment_climbs_out() {
        let base = BaseUrl::new("https://h/e/E1").unwrap();
        assert_eq!(
            base.join(["api", "v2", "apiTokens"]).as_str(),
            "https://h/e/E1/api/v2/apiTokens"
        );
        assert_eq!(
            base.join(["api", "a/b?c#d"]).as_str(),
            "https://h/e/E1/api/a%2Fb%3Fc%23d"
        );
        let root = BaseUrl::new("https://h").unwrap();
        assert_eq!(root.join(["api"]).as_str(), "https://h/api");
        assert_eq!(root.as_str(), "https://h");
        assert!(BaseUrl::new("h").is_err() && BaseUrl::new("data:x").is_err());
    }
}
