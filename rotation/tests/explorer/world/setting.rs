//! What does not change during a search, and what may still go wrong.

use std::sync::Arc;

use rotation::capabilities::{Capabilities, Expiry};
use rotation::plan::{
    AtMaxGrace, Desired, Kind, Lifetime, Place, Plan, StillUsed, Terms, Verification,
};
use rotation::request::{CurrentTokens, Epochs, RunEnv};

use super::super::mutation::Mutation;
use super::super::scenario::Scenario;
use super::{FIRST, OTHER_SECRETS, TICK, epoch, id_of, other_epoch};

/// The life of a token of a kind that must expire: longer than any scenario.
const LIFE: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A process starts a run. Left alone in the end, the world has as many runs as it wants.
    pub runs: u8,
    /// A process dies.
    pub crash: u8,
    /// A live claim is taken over.
    pub steal: u8,
    /// The effect happens, the answer is lost.
    pub lose: u8,
    /// The effect comes later than the time-out.
    pub late: u8,
    /// Nothing happens, and that is known.
    pub fail: u8,
    /// A read shows an older state, as far as the index of the reader allows.
    pub stale: u8,
    /// A new token is not visible for a while.
    pub hide: u8,
    /// A journal write lands, and is answered with a conflict.
    pub conflict: u8,
    /// An answer belongs to another request.
    pub swap: u8,
    /// A listing lacks a token.
    pub partial: u8,
    /// A process that nobody resumes is stopped while it waits.
    pub stop: u8,
    /// A person, or an adversary with their rights, does something.
    pub person: u8,
}

/// What does not change during a search.
#[derive(Clone, Debug)]
pub struct Setting {
    pub dues: Vec<u8>,
    pub manages: bool,
    pub strangers: bool,
    /// Another secret holds the token at the start, too.
    pub shared: bool,
    /// Nothing is there at the start, and the configuration asks for the first token.
    pub create: bool,
    /// A person confirmed the rights that only the journal knows.
    pub accept_rights: bool,
    /// The server keeps this many versions of the secret.
    pub max_versions: u64,
    pub off: &'static [Mutation],
    pub capabilities: Capabilities,
    pub plan: Arc<Plan>,
    env: RunEnv,
}

impl Setting {
    pub fn new(scenario: &Scenario, off: &'static [Mutation]) -> Setting {
        let mut plan = plan("job", scenario.manages, scenario.create);
        if scenario.capabilities.expiry == Expiry::Required {
            plan.lifetime = Lifetime::For(LIFE);
        }
        let mut epochs = Epochs::default();
        let mut current_tokens = CurrentTokens::default();
        if scenario.strangers {
            let other = Arc::new(self::plan("other", false, false));
            current_tokens.insert(id_of(OTHER_SECRETS), vec![other.name.as_str().into()]);
            if !off.contains(&Mutation::EpochTwice) {
                epochs.insert(other_epoch(), vec![other]);
            }
        }
        let env = RunEnv {
            fresh_epoch: epoch(),
            capabilities: scenario.capabilities,
            history: true,
            enabled: true,
            clock: rotation::request::Clock::Agrees,
            blackout_until: None,
            may_retire: true,
            current_tokens: Arc::new(current_tokens),
            management_tokens: Arc::default(),
            epochs: Some(Arc::new(epochs)),
            outage: None,
        };
        Setting {
            dues: scenario.dues.to_vec(),
            manages: scenario.manages,
            strangers: scenario.strangers,
            shared: scenario.shared,
            create: scenario.create,
            accept_rights: scenario.accept_rights || off.contains(&Mutation::RecordedRights),
            max_versions: scenario.max_versions,
            off,
            capabilities: scenario.capabilities,
            plan: Arc::new(plan),
            env,
        }
    }

    /// What a run is started with. `is_held` = another secret holds the token at the start; `is_known` = what the other secrets hold is known.
    pub fn env(&self, is_held: bool, is_known: bool) -> RunEnv {
        let mut env = self.env.clone();
        if is_held {
            Arc::make_mut(&mut env.current_tokens).insert(id_of(FIRST), vec!["other".into()]);
        }
        if !is_known || self.off.contains(&Mutation::NoOtherSecrets) {
            env.current_tokens = Arc::default();
        }
        env.may_retire = is_known || self.off.contains(&Mutation::UnknownIsNobody);
        env
    }
}

fn plan(name: &str, manages_tokens: bool, create: bool) -> Plan {
    let terms = Terms {
        desired: Desired {
            scopes: create.then(|| vec!["metrics.read".into()]),
            create,
            ..Desired::default()
        },
        grace: TICK,
        max_grace: TICK * 8,
        quarantine: TICK,
        still_used: StillUsed::Hold,
        lifetime: Lifetime::Inherit,
        settle: TICK,
        claim_timeout: TICK,
        manages_tokens,
        verify: Verification::Auto,
        at_max_grace: AtMaxGrace::Delete,
        announces: false,
        service: "prod".into(),
    };
    let coordinates = Place {
        mount: "secret".into(),
        fields: vec!["token".into()],
        environment: "prod".into(),
        base_url: "https://prod".into(),
        kind: Kind::Api,
    }
    .at(name);
    Plan {
        name: name.into(),
        coordinates,
        terms: Arc::new(terms),
    }
}
