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
    /// The last write failed: what is written now would be lost as well.
    failing: bool,
    /// Lost and not yet reported.
    unreported: u64,
    /// Lost since the start.
    dropped: u64,
}

/// How many of the entries that were to be written could not be.
pub(super) type Lost = u64;

impl<E: Entry> Buffer<E> {
    /// Starts the thread. `write` writes entries, in order, and may block; `report` makes the entry about that many lost ones.
    pub fn start(
        write: impl Fn(Vec<E>) -> Lost + Send + 'static,
        report: impl Fn(u64) -> E + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                bytes: 0,
                writing: false,
                idle: false,
                flushing: 0,
                failing: false,
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
                let bytes = entries.iter().map(Entry::size).sum();
                let lost = write(entries);
                let mut lines = ours.written(bytes, lost);
                while let Some(number) = lines {
                    // A report that is lost is made again.
                    let lost = write(vec![report(number)]) > 0;
                    lines = ours.reported(number, lost);
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

    /// How many entries were dropped or could not be written since the start.
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

    /// Entries of so many bytes are written, and so many of them lost. Returns how many lost ones are to be reported now.
    fn written(&self, bytes: usize, lost: Lost) -> Option<u64> {
        let mut state = self.lock();
        state.bytes -= bytes;
        state.failing = lost > 0;
        state.unreported += lost;
        state.dropped += lost;
        self.next_report(state)
    }

    /// So many lost entries were reported, unless the report itself is `lost`. Returns how many more are to be reported now.
    fn reported(&self, number: u64, lost: bool) -> Option<u64> {
        let mut state = self.lock();
        if lost {
            state.failing = true;
            state.unreported += number;
        }
        self.next_report(state)
    }

    /// The reader has recovered when a write succeeds and half of the queue is free. The report counts as being written.
    fn next_report(&self, mut state: MutexGuard<'_, State<E>>) -> Option<u64> {
        if state.unreported > 0 && !state.failing && state.bytes <= LIMIT / 2 {
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
        let write = move |lines: Vec<String>| {
            lines.into_iter().for_each(|line| gate.send(line).unwrap());
            0
        };
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

    #[test]
    fn what_cannot_be_written_is_counted_and_reported_when_writing_works_again() {
        let is_full = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (sent, written) = mpsc::channel::<String>();
        let full = is_full.clone();
        let write = move |lines: Vec<String>| {
            if full.load(std::sync::atomic::Ordering::SeqCst) {
                return lines.len() as Lost;
            }
            lines.into_iter().for_each(|line| sent.send(line).unwrap());
            0
        };
        let buffer = Buffer::start(write, |number| format!("{number} lost")).unwrap();
        for number in 0..3 {
            buffer.push(format!("line {number}"));
            assert!(buffer.flush(LONG), "it does not try again and again");
        }
        assert_eq!(buffer.dropped(), 3);
        is_full.store(false, std::sync::atomic::Ordering::SeqCst);
        buffer.push("line 3".to_owned());
        assert!(buffer.flush(LONG));
        let lines: Vec<String> = written.try_iter().collect();
        assert_eq!(lines, ["line 3", "3 lost"]);
        assert_eq!(
            buffer.dropped(),
            3,
            "reported once, and no report is counted"
        );
    }
}
