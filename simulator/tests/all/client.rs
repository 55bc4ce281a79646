//! A plain client: what it sends is what stands in the test.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use simulator::{Dynatrace, Options, Seed, Seeded, Simulator};

pub struct World {
    pub simulator: Simulator,
    pub dynatrace: Dynatrace,
    pub management: Seeded,
    http: reqwest::Client,
}

/// An answer read completely.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

pub async fn world() -> World {
    world_with(Options::default()).await
}

/// A plain client. Built together with dtrotate, reqwest has no TLS provider of its own and wants one even for plain http.
pub fn client_builder() -> reqwest::ClientBuilder {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

pub async fn world_with(options: Options) -> World {
    let simulator = Simulator::start(options).await.expect("starts");
    let dynatrace = simulator.dynatrace();
    let management = dynatrace.seed(Seed::management("management").owner("boss"));
    World {
        dynatrace,
        simulator,
        management,
        http: client_builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client"),
    }
}

impl World {
    /// A request to the environment with this token.
    pub fn request(&self, token: &str, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http
            .request(method, format!("{}{path}", self.dynatrace.url()))
            .header("authorization", format!("Api-Token {token}"))
    }

    /// The answer to a request made with the management token.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_as(&self.management.value, method, path, body)
            .await
    }

    pub async fn call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.request(token, method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.expect("an answer")).await
    }

    /// A request with a Bearer credential to the account, the apps or the environment, as the path says.
    pub async fn bearer(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let account = self.simulator.account();
        let origin = match &account {
            Some(account) if path.starts_with("/iam/") => account.api_url(),
            Some(_) if path.starts_with("/platform/") => self.dynatrace.apps_url().expect("apps"),
            _ => self.dynatrace.url(),
        };
        let url = format!("{origin}{path}");
        let mut request = self.at(method, &url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.expect("an answer")).await
    }

    /// A request to any URL.
    pub fn at(&self, method: &str, url: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, url)
    }

    /// A form posted to the single sign-on.
    pub async fn form(&self, fields: &[(&str, &str)]) -> Answer {
        let account = self.simulator.account().expect("an account");
        let text: Vec<String> = fields
            .iter()
            .map(|(key, value)| format!("{key}={}", value.replace(' ', "+")))
            .collect();
        let request = self
            .http
            .post(account.sso_url())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(text.join("&"));
        read(request.send().await.expect("an answer")).await
    }
}

pub async fn read(response: Response) -> Answer {
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a body"),
    }
}
