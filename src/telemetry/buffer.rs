//! Lines on their way to a reader that may be slow: a bounded queue in memory and a thread that writes it out, so that logging never
//! blocks the daemon. What does not fit is dropped, counted, and reported when there is room again.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What waits in memory at most, bytes: some thousand lines.
const LIMIT: usize = 1024 * 1024;

/// The thread writes what has come within this time at once, so that it need not wake up for each line of a busy daemon.
const TOGETHER: Duration = Duration::from_millis(5);

/// Something to write, and roughly how many bytes it holds.
pub(super) trait Entry: Send + 'static {
    fn size(&self) -> usize;
}

/// The queue. Clones share it.
pub(super) struct Buffer<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    entries: VecDeque<E>,
    /// Of those that wait and of those that are being written.
    bytes: usize,
    /// The thread has taken entries out and is writing them.
    writing: bool,
    /// The thread has nothing to do and is to be woken up.
    idle: bool,
    /// Someone waits until everything is written.
    flushing: usize,
    /// Dropped and not yet reported.
    unreported: u64,
    /// Dropped since the start.
    dropped: u64,
}

impl<E: Entry> Buffer<E> {
    /// Starts the thread. `write` writes entries, in order, and may block; `report` makes the entry about that many dropped ones.
    pub fn start(
        write: impl Fn(Vec<E>) + Send + 'static,
        report: impl Fn(u64) -> E + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                bytes: 0,
                writing: false,
                idle: false,
                flushing: 0,
                unreported: 0,
                dropped: 0,
            }),
            changed: Condvar::new(),
        });
        let ours = shared.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        thread.spawn(move || {
            loop {
                let entries = ours.next();
                let mut bytes = entries.iter().map(Entry::size).sum();
                write(entries);
                while let Some(number) = ours.written(std::mem::take(&mut bytes)) {
                    write(vec![report(number)]);
                }
            }
        })?;
        Ok(Buffer { shared })
    }

    /// Queues an entry, or drops it when the queue is full. Never blocks on the reader.
    pub fn push(&self, entry: E) {
        let mut state = self.shared.lock();
        let size = entry.size();
        if state.bytes + size > LIMIT {
            state.unreported += 1;
            state.dropped += 1;
            return;
        }
        let before = state.bytes;
        state.bytes += size;
        state.entries.push_back(entry);
        let fills_half = before < LIMIT / 2 && state.bytes >= LIMIT / 2;
        if std::mem::take(&mut state.idle) || fills_half {
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    /// Waits until everything is written. False = not within this time.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        state.flushing += 1;
        self.shared.changed.notify_all();
        while state.writing || !state.entries.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(|e| e.into_inner()).0;
        }
        state.flushing -= 1;
        !state.writing && state.entries.is_empty()
    }

    /// How many entries were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl<E: Entry> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes all entries out; waits for some.
    fn next(&self) -> Vec<E> {
        let mut state = self.lock();
        while state.entries.is_empty() {
            state.idle = true;
            state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        let deadline = Instant::now() + TOGETHER;
        while state.flushing == 0 && state.bytes < LIMIT / 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(|e| e.into_inner()).0;
        }
        state.idle = false;
        state.writing = true;
        std::mem::take(&mut state.entries).into()
    }

    /// Entries of so many bytes are written. Returns how many dropped ones are to be reported now: the reader has recovered when half of the
    /// queue is free. The report counts as being written.
    fn written(&self, bytes: usize) -> Option<u64> {
        let mut state = self.lock();
        state.bytes -= bytes;
        if state.unreported > 0 && state.bytes <= LIMIT / 2 {
            return Some(std::mem::take(&mut state.unreported));
        }
        state.writing = false;
        drop(state);
        self.changed.notify_all();
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    impl Entry for String {
        fn size(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn a_slow_reader_blocks_nobody_and_what_was_dropped_is_counted_and_reported() {
        let (gate, reader) = mpsc::sync_channel::<String>(0);
        let report = |number| format!("{number} dropped");
        let write =
            move |lines: Vec<String>| lines.into_iter().for_each(|line| gate.send(line).unwrap());
        let buffer = Buffer::start(write, report).unwrap();
        let (pushed, done) = mpsc::channel();
        std::thread::scope(|scope| {
            let buffer = &buffer;
            scope.spawn(move || {
                for number in 0..300 {
                    buffer.push(format!("{number:>10000}"));
                }
                pushed.send(()).unwrap();
            });
            done.recv_timeout(LONG).expect("pushing never waits");
            assert!(!buffer.flush(Duration::from_millis(1)), "a bounded wait");
            let dropped = buffer.dropped();
            assert!((190..200).contains(&dropped), "{dropped}");
            let mut lines = Vec::new();
            while let Ok(line) = reader.recv_timeout(LONG) {
                let last = line.ends_with("dropped");
                lines.push(line);
                if last {
                    break;
                }
            }
            assert_eq!(lines.last().unwrap(), &format!("{dropped} dropped"));
            assert!(lines[0].ends_with(" 0"), "the oldest are kept, in order");
            std::thread::spawn(move || while reader.recv().is_ok() {});
            assert!(buffer.flush(LONG));
            assert_eq!(buffer.dropped(), dropped, "reported once");
        });
    }
}
