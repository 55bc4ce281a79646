//! The pace of requests to a service that limits their rate.
//!
//! A 429 says that nothing was done and that we ask too often: it is not an outage. The requests to the service are spaced from then on, at the
//! rate that it took, and the refused one is sent again in its turn.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// A call waits for its turn no longer than this, all its turns together; then it fails as rate limited.
const LONGEST: Duration = Duration::from_secs(5);
/// The pause after a 429 without a wish of the server.
const PAUSE: Duration = Duration::from_millis(500);
/// A server that asks for more is asked once in this time: a broken header must not silence everything.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// A shorter wish of the server is none.
const SHORTEST: Duration = Duration::from_millis(100);
/// The rate is counted over this, and raised again after it.
const WINDOW: Duration = Duration::from_secs(1);
/// A shorter space between two requests is none.
const NONE: Duration = Duration::from_micros(500);

/// Spaces the requests of all calls to one service.
pub struct Pacer(Mutex<State>);

struct State {
    /// The space between two requests; zero = as fast as they come.
    interval: Duration,
    /// No request before this.
    next: Instant,
    window: Instant,
    /// Accepted in this window and in the one before it.
    accepted: [u32; 2],
    /// The rate was lowered then.
    lowered: Option<Instant>,
}

/// Of one call.
pub struct Turn<'a> {
    pacer: &'a Pacer,
    waited: Duration,
}

/// The turn of a call does not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(pub Duration);

impl Default for Pacer {
    fn default() -> Self {
        let now = Instant::now();
        Pacer(Mutex::new(State {
            interval: Duration::ZERO,
            next: now,
            window: now,
            accepted: [0; 2],
            lowered: None,
        }))
    }
}

impl Pacer {
    /// The turns of one call.
    pub fn call(&self) -> Turn<'_> {
        Turn {
            pacer: self,
            waited: Duration::ZERO,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Turn<'_> {
    /// Waits until the call may be sent.
    ///
    /// # Errors
    /// It would wait too long; nothing is reserved.
    pub async fn wait(&mut self) -> Result<(), TooLong> {
        let wait = self
            .pacer
            .lock()
            .reserve(Instant::now(), LONGEST - self.waited)?;
        if !wait.is_zero() {
            self.waited += wait;
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The service took the request.
    pub fn accepted(&self) {
        self.pacer.lock().accepted(Instant::now());
    }

    /// The service answered 429 and may have asked for a pause.
    pub fn limited(&self, wish: Option<Duration>) {
        self.pacer.lock().limited(Instant::now(), wish);
    }
}

impl State {
    fn reserve(&mut self, now: Instant, longest: Duration) -> Result<Duration, TooLong> {
        self.roll(now);
        let at = self.next.max(now);
        let wait = at - now;
        if wait > longest {
            return Err(TooLong(wait));
        }
        if !self.interval.is_zero() {
            self.next = at + self.interval;
        }
        Ok(wait)
    }

    fn accepted(&mut self, now: Instant) {
        self.roll(now);
        self.accepted[0] += 1;
    }

    /// All refusals of a window are answers to one burst.
    fn limited(&mut self, now: Instant, wish: Option<Duration>) {
        self.roll(now);
        let pause = wish.unwrap_or(PAUSE).clamp(SHORTEST, LONGEST_PAUSE);
        self.next = self.next.max(now + pause);
        if self.lowered.is_some_and(|at| now - at < WINDOW) {
            return;
        }
        self.lowered = Some(now);
        self.interval = match self.interval {
            Duration::ZERO => WINDOW / self.accepted.into_iter().max().unwrap_or(1).max(1),
            slower => (slower + slower / 20).min(WINDOW),
        };
    }

    /// With each window that passes without a refusal the rate rises by two percent.
    fn roll(&mut self, now: Instant) {
        if now - self.window < WINDOW {
            return;
        }
        let lowered = self.lowered.is_some_and(|at| at >= self.window);
        self.accepted = match now - self.window < 2 * WINDOW {
            true => [0, self.accepted[0]],
            false => [0; 2],
        };
        self.window = now;
        if !lowered {
            self.interval -= self.interval / 50;
            if self.interval < NONE {
                self.interval = Duration::ZERO;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: usize = 16;
    const SECOND: Duration = Duration::from_secs(1);

    fn state(now: Instant) -> State {
        State {
            interval: Duration::ZERO,
            next: now,
            window: now,
            accepted: [0; 2],
            lowered: None,
        }
    }

    /// How long it takes, and how many requests are refused, until a service that takes `rate` requests in each second has taken `calls`
    /// of some workers.
    fn serve(rate: u32, calls: u32) -> (Duration, u32) {
        let began = Instant::now();
        let mut state = state(began);
        let mut free = [began; WORKERS];
        let (mut taken, mut refused, mut second, mut now) = (0, 0, (0, 0), began);
        while taken < calls {
            let worker = free.iter().min().copied().expect("a worker");
            let worker = free.iter().position(|at| *at == worker).expect("it");
            let wait = state.reserve(free[worker], LONGEST);
            now = free[worker] + wait.expect("its turn comes");
            free[worker] = now + Duration::from_millis(1);
            let this = (now - began).as_secs();
            if second.0 != this {
                second = (this, 0);
            }
            second.1 += 1;
            if second.1 <= rate {
                taken += 1;
                state.accepted(now);
            } else {
                refused += 1;
                state.limited(now, None);
            }
        }
        (now - began, refused)
    }

    #[test]
    fn calls_are_served_at_the_rate_that_the_service_takes() {
        let (took, refused) = serve(20, 800);
        assert!(took < Duration::from_secs(60), "800 calls took {took:?}");
        assert!(refused < 200, "{refused} refused");
    }

    #[test]
    fn a_service_without_a_limit_is_never_waited_for() {
        let (took, refused) = serve(u32::MAX, 10_000);
        // Each worker needs a millisecond for a call.
        let bound = Duration::from_millis(10_000 / WORKERS as u64);
        assert!(took <= bound, "{took:?}");
        assert_eq!(refused, 0);
    }

    #[test]
    fn a_long_pause_that_the_service_asks_for_fails_the_call_at_once() {
        let now = Instant::now();
        let mut state = state(now);
        state.limited(now, Some(300 * SECOND));
        assert_eq!(state.reserve(now, LONGEST), Err(TooLong(LONGEST_PAUSE)));
        let later = state.reserve(now + LONGEST_PAUSE, LONGEST);
        assert_eq!(later, Ok(Duration::ZERO));
    }
}
