//! Threads that wait for answers, so that many requests are on their way at once.

use std::fmt;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Requests that are on their way at once, at most.
pub(super) const MAX_WORKERS: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that take jobs in turn.
pub(super) struct Workers {
    jobs: Option<Sender<Job>>,
    waiting: Receiver<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Workers {
    pub fn new() -> Self {
        let (jobs, waiting) = unbounded();
        Self { jobs: Some(jobs), waiting, threads: Vec::new() }
    }

    /// Starts a job; its result comes through the channel, which closes without one where the job cannot be run.
    pub fn start<T: Send + 'static>(
        &mut self,
        n_under_way: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Receiver<T> {
        let (done, result) = bounded(1);
        let job: Job = Box::new(move || {
            let _ = done.send(job());
        });
        if self.threads.len() <= n_under_way && self.threads.len() < MAX_WORKERS {
            let waiting = self.waiting.clone();
            let work = move || waiting.iter().for_each(|job: Job| job());
            let thread = std::thread::Builder::new().name("remote base".to_owned()).spawn(work);
            self.threads.extend(thread.ok());
        }
        if self.threads.is_empty() {
            // No thread is to be had: the caller does it itself.
            job();
        } else if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
        result
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // They end with what they do; nobody waits for a server that does not answer.
        self.jobs = None;
    }
}
