//! One listing per environment, shared: however many secrets ask at the same time, the environment is asked at most twice.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Mutex;

use rotation::capabilities::Capabilities;
use rotation::error::CallError;
use rotation::ports::{TokenIssuer, TrialOptions};
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Trial};

/// An issuer whose listing is shared: a request is answered by any listing that began after the request was made.
pub struct Shared<I> {
    inner: I,
    last: Mutex<Option<(Instant, Arc<Vec<TokenInfo>>)>>,
}

impl<I: TokenIssuer> Shared<I> {
    /// Around `inner`.
    pub fn new(inner: I) -> Self {
        Shared {
            inner,
            last: Mutex::new(None),
        }
    }

    /// The issuer itself.
    pub fn inner(&self) -> &I {
        &self.inner
    }

    async fn list(&self) -> Result<Arc<Vec<TokenInfo>>, CallError> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((began, tokens)) = &*last
            && *began >= asked
        {
            return Ok(tokens.clone());
        }
        let began = Instant::now();
        let tokens = Arc::new(self.inner.list_marked().await?);
        *last = Some((began, tokens.clone()));
        Ok(tokens)
    }
}

impl<I: TokenIssuer> TokenIssuer for Shared<I> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn look_up_value(&self, value: &TokenValue) -> Result<TokenInfo, CallError> {
        self.inner.look_up_value(value).await
    }
    async fn look_up(&self, id: &TokenId) -> Result<TokenInfo, CallError> {
        self.inner.look_up(id).await
    }
    async fn mint(&self, order: &MintRequest) -> Result<Minted, CallError> {
        self.inner.mint(order).await
    }
    async fn prove_value(
        &self,
        value: &TokenValue,
        trial: TrialOptions<'_>,
    ) -> Result<TokenInfo, CallError> {
        self.inner.prove_value(value, trial).await
    }
    async fn verify(
        &self,
        value: &TokenValue,
        control: Option<&TokenValue>,
        trial: TrialOptions<'_>,
    ) -> Result<Trial, CallError> {
        self.inner.verify(value, control, trial).await
    }
    async fn prove_manager(
        &self,
        value: &TokenValue,
        enabled: Option<&TokenId>,
    ) -> Result<(), CallError> {
        self.inner.prove_manager(value, enabled).await
    }
    async fn set_enabled(&self, id: &TokenId, enabled: bool) -> Result<(), CallError> {
        self.inner.set_enabled(id, enabled).await
    }
    async fn redate(&self, id: &TokenId, until: Timestamp) -> Result<(), CallError> {
        self.inner.redate(id, until).await
    }
    async fn rename(&self, id: &TokenId, name: &str) -> Result<(), CallError> {
        self.inner.rename(id, name).await
    }
    async fn delete(&self, id: &TokenId) -> Result<(), CallError> {
        self.inner.delete(id).await
    }
    async fn list_marked(&self) -> Result<Vec<TokenInfo>, CallError> {
        Ok(self.list().await?.as_ref().clone())
    }
    async fn probe_known_token(&self) -> Result<(), CallError> {
        self.inner.probe_known_token().await
    }
}
