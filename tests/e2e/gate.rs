//! The gate in front of OpenBao: `simulator::Gate` over a real server. The same rules and actions as the Dynatrace stand-in's
//! (hold, lose the answer, reset, answer in its place), picked by operation and path; `shut` and `open` for a refused connection.

use simulator::Gate;

/// A gate in front of the server at `address`, which `client` trusts.
pub async fn gate(address: &str, client: reqwest::Client) -> Gate {
    Gate::start(address, client).await.expect("a gate")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::Method;
    use serde_json::json;
    use simulator::{Action, Answer, Operation, Rule};

    use crate::openbao::Api;
    use crate::world::{LONG, Site};

    #[tokio::test]
    async fn a_request_can_be_held_lost_refused_and_answered_in_the_servers_place() {
        let site = Site::new().await;
        let gate = super::gate(&site.vault.address, site.vault.client()).await;
        let http = reqwest::Client::builder().no_proxy().build().expect("http");
        let through = Api::new(http, &gate.url(), &site.token);
        let write = async |value: &str| {
            let body = json!({ "data": { "token": value } });
            let path = "secret/data/dynatrace/x";
            let sent = through.try_raw(Method::POST, path, body).await;
            sent.map(|reply| reply.status)
        };
        let value = async || {
            let secret = site.root.secret("secret", "dynatrace/x").await;
            secret.map(|secret| secret.data["token"].clone())
        };
        assert_eq!(write("first").await, Some(200));

        let rule = Rule::on(Operation::WriteSecret).about("secret/dynatrace/x");
        let held = gate.fault(rule.clone().then(Action::Hold));
        let (sent, ()) = tokio::join!(write("second"), async {
            assert!(held.wait_held(1, LONG).await);
            assert_eq!(value().await, Some(json!("first")), "it is held before");
            assert_eq!(held.release(), 1);
        });
        assert_eq!((sent, value().await), (Some(200), Some(json!("second"))));

        gate.fault(rule.clone().then(Action::LoseAnswer));
        assert_eq!(write("third").await, None);
        assert_eq!(value().await, Some(json!("third")), "it took effect");

        gate.fault(rule.then(Action::Refuse(Answer::proxy(502))));
        assert_eq!(write("fourth").await, Some(502));
        assert_eq!(value().await, Some(json!("third")), "it never came there");

        gate.shut().await;
        let refused = tokio::time::timeout(Duration::from_secs(5), write("fifth"));
        assert_eq!(refused.await, Ok(None));
        gate.open().await.expect("the same port");
        assert_eq!(write("sixth").await, Some(200));
        let writes = gate.calls().into_iter();
        let writes = writes.filter(|call| call.operation == Some(Operation::WriteSecret));
        assert!(writes.count() >= 5);
    }
}
