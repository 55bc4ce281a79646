//! Whose tokens the secrets of a world hold: the same questions and faults for every kind of token.

use simulator::{
    Account, ActiveGate, Call, Dynatrace, Fault, Operation, PlatformSeed, Rule, Seed, TokenChange,
};

/// The scopes of the tokens that a world begins with: one of them lets a platform token show that it works.
const PLATFORM_SCOPES: [&str; 2] = ["storage:metrics:write", "app-engine:apps:run"];

/// Those of an API token, and of a token of a cluster.
const API_SCOPES: [&str; 2] = ["metrics.read", "logs.ingest"];
const CLUSTER_SCOPES: [&str; 2] = ["ControlManagement", "Nodekeeper"];

/// What issues the tokens of a world's secrets.
#[derive(Clone)]
pub enum Issuer {
    /// API tokens of an environment.
    Api(Dynatrace),
    /// Platform tokens of this user, in the account of an environment.
    Platform {
        account: Account,
        environment: Dynatrace,
        owner: String,
    },
    /// ActiveGate tokens of an environment.
    ActiveGate(Dynatrace),
    /// Tokens of a Managed cluster.
    Cluster(Dynatrace),
}

/// A token, whatever its kind.
pub struct Seen {
    pub id: String,
    pub name: String,
    pub enabled: bool,
}

impl Issuer {
    /// A token that a person made; its value.
    pub fn seed(&self, number: usize) -> String {
        let name = format!("job {number}");
        match self {
            Issuer::Api(environment) => {
                environment.seed(Seed::new(&name).scopes(&API_SCOPES)).value
            }
            Issuer::Cluster(cluster) => {
                cluster.seed(Seed::new(&name).scopes(&CLUSTER_SCOPES)).value
            }
            Issuer::ActiveGate(environment) => {
                let kind = Some("CLUSTER".to_owned());
                let gate = ActiveGate { kind, seed: true };
                environment.seed_active_gate(Seed::new(&name), gate).value
            }
            Issuer::Platform { account, owner, .. } => {
                let seed = PlatformSeed::new(&name, owner);
                let seed = seed.scopes(&PLATFORM_SCOPES).environment("abc12345");
                account.seed(seed.tags(&["team:checkout"])).value
            }
        }
    }

    /// The scopes of a token that a person made, where the kind has any.
    pub fn scopes(&self) -> &'static [&'static str] {
        match self {
            Issuer::Api(_) => &API_SCOPES,
            Issuer::Cluster(_) => &CLUSTER_SCOPES,
            Issuer::Platform { .. } => &PLATFORM_SCOPES,
            Issuer::ActiveGate(_) => &[],
        }
    }

    /// A token that manages those of the secrets.
    pub fn management(&self) -> Seed {
        match self {
            Issuer::Api(_) | Issuer::Platform { .. } => Seed::management("management"),
            Issuer::ActiveGate(_) => Seed::active_gate_management("management"),
            Issuer::Cluster(_) => Seed::cluster_management("management"),
        }
    }

    /// Every value there ever was.
    pub fn issued(&self) -> Vec<String> {
        match self {
            Issuer::Api(environment)
            | Issuer::ActiveGate(environment)
            | Issuer::Cluster(environment) => environment.issued(),
            Issuer::Platform { account, .. } => account.issued(),
        }
    }

    pub fn history(&self) -> Vec<TokenChange> {
        match self {
            Issuer::Api(environment) | Issuer::Cluster(environment) => environment.history(),
            Issuer::ActiveGate(environment) => environment.active_gate_history(),
            Issuer::Platform { account, .. } => account.history(),
        }
    }

    /// The tokens of this kind that exist, the management token among them if it is one.
    pub fn tokens(&self) -> Vec<Seen> {
        let seen = |id, name, enabled| Seen { id, name, enabled };
        match self {
            Issuer::Api(environment) | Issuer::Cluster(environment) => {
                let all = environment.tokens().into_iter();
                all.map(|it| seen(it.id, it.name, it.enabled)).collect()
            }
            Issuer::ActiveGate(environment) => {
                let all = environment.active_gate_tokens().into_iter();
                all.map(|it| seen(it.id, it.name, it.enabled)).collect()
            }
            Issuer::Platform { account, .. } => {
                let all = account.tokens().into_iter();
                all.map(|it| seen(it.id, it.name, it.enabled)).collect()
            }
        }
    }

    pub fn token(&self, id: &str) -> Option<Seen> {
        self.tokens().into_iter().find(|token| token.id == id)
    }

    pub fn is_valid(&self, value: &str) -> bool {
        match self {
            Issuer::Api(environment)
            | Issuer::ActiveGate(environment)
            | Issuer::Cluster(environment) => environment.is_valid(value),
            Issuer::Platform { account, .. } => account.is_valid(value),
        }
    }

    /// What was asked of the environment, and of the account.
    pub fn calls(&self) -> Vec<Call> {
        match self {
            Issuer::Api(environment)
            | Issuer::ActiveGate(environment)
            | Issuer::Cluster(environment) => environment.calls(),
            Issuer::Platform {
                account,
                environment,
                ..
            } => [account.calls(), environment.calls()].concat(),
        }
    }

    pub fn reset_calls(&self) {
        match self {
            Issuer::Api(environment)
            | Issuer::ActiveGate(environment)
            | Issuer::Cluster(environment) => environment.reset_calls(),
            Issuer::Platform {
                account,
                environment,
                ..
            } => {
                account.reset_calls();
                environment.reset_calls();
            }
        }
    }

    /// Puts a rule into force where calls with this path go.
    pub fn fault(&self, path: &str, rule: Rule) -> Fault {
        match self {
            Issuer::Api(environment)
            | Issuer::ActiveGate(environment)
            | Issuer::Cluster(environment) => environment.fault(rule),
            Issuer::Platform { account, .. } if is_of_the_account(path) => account.fault(rule),
            Issuer::Platform { environment, .. } => environment.fault(rule),
        }
    }

    /// The creates that were sent.
    pub fn creates(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.operation == Some(Operation::CreateToken));
        calls
    }
}

fn is_of_the_account(path: &str) -> bool {
    path.contains("/iam/v1/") || path.contains("/sso/")
}
