//! The management token's value: read from where it is kept, cached, and read again when the environment refuses it.
//!
//! It is read under one lock, and everybody who waited for a read takes its outcome, good or bad: however many calls are refused
//! at the same moment, the secret store is asked once. It never shows the value and never writes it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::form::flaw;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::token::{TokenId, TokenValue};

type Source = Box<dyn Fn() -> BoxFuture<'static, Result<TokenValue, CallError>> + Send + Sync>;

/// A value that was read, and by which read.
#[derive(Clone)]
pub(super) struct Held {
    /// The value.
    pub(super) value: TokenValue,
    read: u64,
}

/// The cached management token of one environment.
pub(super) struct Credential {
    environment: String,
    source: Source,
    /// How many reads have ended; moves only under the lock.
    reads: AtomicU64,
    last: Mutex<Option<Result<Held, CallError>>>,
    /// What was read may have been replaced since.
    stale: AtomicBool,
}

impl Credential {
    /// Nothing is read before the first call needs it.
    pub(super) fn new<F, Fut>(environment: &str, source: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<TokenValue, CallError>> + Send + 'static,
    {
        Credential {
            environment: environment.to_owned(),
            source: Box::new(move || Box::pin(source())),
            reads: AtomicU64::new(0),
            last: Mutex::new(None),
            stale: AtomicBool::new(false),
        }
    }

    /// The value, from the cache if it is there.
    pub(super) async fn get(&self) -> Result<Held, CallError> {
        let seen = self.reads.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if self.stale.swap(false, Ordering::AcqRel) {
            *last = None;
        }
        match &*last {
            Some(Ok(held)) => Ok(held.clone()),
            Some(failed) if self.reads.load(Ordering::Acquire) > seen => failed.clone(),
            _ => self.read(&mut last).await,
        }
    }

    /// What is kept there now, after `refused` was not accepted: `None` if it is still the same value.
    pub(super) async fn renew(&self, refused: &Held) -> Result<Option<Held>, CallError> {
        let mut last = self.last.lock().await;
        let now = match &*last {
            Some(newer) if self.reads.load(Ordering::Acquire) > refused.read => newer.clone()?,
            _ => self.read(&mut last).await?,
        };
        Ok((now.value != refused.value).then_some(now))
    }

    /// The id that the value shows; none = it shows none, or it could not be read when that was last tried.
    pub(super) async fn id(&self) -> Option<TokenId> {
        let last = self.last.lock().await.clone();
        let held = match last {
            Some(last) => last,
            None => self.get().await,
        };
        held.ok()?.value.id()
    }

    /// Forgets the value, so that the next call reads it again.
    pub(super) fn forget(&self) {
        self.stale.store(true, Ordering::Release);
    }

    async fn read(&self, last: &mut Option<Result<Held, CallError>>) -> Result<Held, CallError> {
        let value = (self.source)().await;
        let read = self.reads.fetch_add(1, Ordering::AcqRel) + 1;
        let outcome = self.judge(value).map(|value| Held { value, read });
        *last = Some(outcome.clone());
        outcome
    }

    /// A management token that is not where it should be concerns every secret of this environment, and none of the store's
    /// others. A store that cannot be reached or does not let us in keeps its own kind.
    fn judge(&self, value: Result<TokenValue, CallError>) -> Result<TokenValue, CallError> {
        let name = &self.environment;
        match value {
            Ok(value) => match flaw(&value) {
                None => Ok(value),
                Some(why) => Err(CallError::new(
                    Service::Dynatrace,
                    ErrorKind::Unauthorized,
                    format!("the management token of Dynatrace {name}: the value in Vault {why}"),
                )),
            },
            // Who read it has named it.
            Err(error) if error.service == Service::Dynatrace => Err(error),
            Err(mut error) => {
                if !matches!(
                    error.kind,
                    ErrorKind::Transient | ErrorKind::RateLimited | ErrorKind::Unauthorized
                ) {
                    error.kind = ErrorKind::Unauthorized;
                    error.service = Service::Dynatrace;
                }
                error.what = format!(
                    "the management token of Dynatrace {name} cannot be read: {}",
                    error.what
                );
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn counted(values: &'static [&'static str]) -> (Arc<AtomicU64>, Credential) {
        let reads = Arc::new(AtomicU64::new(0));
        let count = reads.clone();
        let credential = Credential::new("prod", move || {
            let at = count.fetch_add(1, Ordering::SeqCst) as usize;
            async move {
                tokio::task::yield_now().await;
                match values[at.min(values.len() - 1)] {
                    "!" => Err(CallError::new(
                        Service::Vault,
                        ErrorKind::Transient,
                        "sealed",
                    )),
                    "?" => Err(CallError::new(
                        Service::Vault,
                        ErrorKind::Gone,
                        "no such path",
                    )),
                    value => Ok(TokenValue::new(value)),
                }
            }
        });
        (reads, credential)
    }

    #[tokio::test]
    async fn many_refused_at_once_make_one_read() {
        let (reads, credential) = counted(&["old", "new"]);
        let held = credential.get().await.unwrap();
        let renewed =
            futures_util::future::join_all((0..100).map(|_| credential.renew(&held))).await;
        assert!(
            renewed
                .into_iter()
                .all(|one| one.unwrap().unwrap().value.expose() == "new")
        );
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_id_is_known_before_the_first_call_and_a_failure_is_not_repeated_for_it() {
        let (reads, credential) = counted(&["dt0c01.A.SECRET"]);
        let id = credential.id().await;
        assert_eq!(id, Some(TokenId::new("dt0c01.A")));
        assert_eq!(credential.id().await, id);
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        let (reads, credential) = counted(&["!"]);
        assert!(credential.id().await.is_none() && credential.id().await.is_none());
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_same_value_again_is_no_renewal_and_is_read_once() {
        let (reads, credential) = counted(&["old"]);
        let held = credential.get().await.unwrap();
        let renewed =
            futures_util::future::join_all((0..100).map(|_| credential.renew(&held))).await;
        assert!(renewed.into_iter().all(|one| one.unwrap().is_none()));
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn waiters_share_a_failure_and_the_next_caller_tries_again() {
        let (reads, credential) = counted(&["!", "good"]);
        let all = futures_util::future::join_all((0..100).map(|_| credential.get())).await;
        assert!(
            all.into_iter()
                .all(|one| one.is_err_and(|error| error.kind == ErrorKind::Transient))
        );
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        assert_eq!(credential.get().await.unwrap().value.expose(), "good");
    }

    #[tokio::test]
    async fn a_management_token_that_is_not_there_or_blank_concerns_the_environment() {
        for values in [&["?"], &[" "], &["a b"], &["a\u{7}"]] {
            let error = counted(values).1.get().await.err().unwrap();
            assert_eq!(
                (error.kind, error.service),
                (ErrorKind::Unauthorized, Service::Dynatrace)
            );
            assert!(
                error.what.contains("management token of Dynatrace prod"),
                "{error}"
            );
        }
    }
}
