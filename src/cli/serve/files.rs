//! How many connections the system lets a process have: each is an open file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For everything that is no connection: models, pipes, what libraries open.
const RESERVED: usize = 128;

/// Asks for as many open files as there may be; how many of them can be connections.
pub fn n_connections() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Many shells give a process 1024, and let it have many more.
    let is_raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if is_raised { maximum } else { current };
    let n = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    n.saturating_sub(RESERVED).max(1)
}
