//! Threads that wait for answers, so that many requests are on their way at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Requests that are on their way at once, at most.
pub(super) const MAX_WORKERS: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that take jobs in turn. They end with what they do once this is dropped: nobody waits for a server that does not
/// answer.
pub(super) struct Workers {
    jobs: Sender<Job>,
    waiting: Receiver<Job>,
    n_threads: usize,
    /// Jobs that are not done, those too whose result nobody waits for any more.
    n_open: Arc<AtomicUsize>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("n_threads", &self.n_threads).finish_non_exhaustive()
    }
}

impl Workers {
    pub fn new() -> Self {
        let (jobs, waiting) = unbounded();
        Self { jobs, waiting, n_threads: 0, n_open: Arc::default() }
    }

    /// Starts a job; its result comes through the channel, which closes without one where the job cannot be run.
    pub fn start<T: Send + 'static>(&mut self, job: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        let (done, result) = bounded(1);
        let n_open = self.n_open.clone();
        let job: Job = Box::new(move || {
            let _ = done.send(job());
            n_open.fetch_sub(1, Ordering::Relaxed);
        });
        let n_open = self.n_open.fetch_add(1, Ordering::Relaxed) + 1;
        if self.n_threads < n_open.min(MAX_WORKERS) {
            let waiting = self.waiting.clone();
            let work = move || waiting.iter().for_each(|job: Job| job());
            let thread = std::thread::Builder::new().name("remote base".to_owned()).spawn(work);
            self.n_threads += usize::from(thread.is_ok());
        }
        if self.n_threads == 0 {
            // No thread is to be had: the caller does it itself.
            job();
        } else {
            let _ = self.jobs.send(job);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_nobody_waits_for_does_not_hold_up_the_next() {
        let mut workers = Workers::new();
        let (release, held) = bounded::<()>(0);
        drop(workers.start(move || held.recv()));
        assert_eq!(workers.start(|| 7).recv(), Ok(7));
        drop(release);
        assert_eq!(workers.n_threads, 2);
    }
}
