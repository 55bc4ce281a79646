//! How many calls an environment gets at the same time from all runs together: `limits.concurrency`. Half as many secrets again are worked on,
//! so that another run calls Dynatrace while one is busy with Vault.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock;

/// The calls of the runs over one environment's or account's secrets, for each of them.
pub struct CallLimit {
    most: usize,
    services: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl CallLimit {
    /// At most `most` calls at the same time.
    pub fn new(most: usize) -> Self {
        CallLimit {
            most,
            services: Mutex::default(),
        }
    }

    /// So many secrets of an environment are worked on at the same time.
    pub fn runs(&self) -> usize {
        self.most + self.most / 2
    }

    /// Waits until this environment or account may be called, for as long as the permit is held; first come, first served.
    pub async fn permit(&self, service: &str) -> Option<OwnedSemaphorePermit> {
        let calls = {
            let mut services = lock(&self.services);
            let new = || Arc::new(Semaphore::new(self.most));
            services
                .entry(service.to_owned())
                .or_insert_with(new)
                .clone()
        };
        // It is never closed.
        calls.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_slow_environment_takes_no_calls_of_another_one() {
        let limit = CallLimit::new(2);
        let permit = |service| limit.permit(service).now_or_never().flatten();
        let held = (permit("slow"), permit("slow"));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(permit("slow").is_none());
        assert!(permit("other").is_some());
        drop(held);
        assert!(permit("slow").is_some());
    }
}
