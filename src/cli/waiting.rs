//! How the threads of one model wait for one another.
//!
//! A step is some hundreds of operations, and behind each of them every thread waits for the last. By default libgomp's
//! threads look out for it for milliseconds before they sleep; where anything else wants the processor, the one that is
//! waited for waits for those who look. Some microseconds are enough on an idle machine, and on a busy one they leave it
//! the processor. libgomp reads how often to look when it is loaded, before `main`: so the program starts itself anew.

use std::ffi::OsString;

/// Does not come back where the program starts anew: where that can be said to libgomp, and the environment says nothing
/// of it. `typed`: the command line, which must be the process's own.
pub fn spin_briefly(typed: &[OsString]) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;
        use std::process::Command;

        /// Looks, which take some nanoseconds each.
        const SPINS: &str = "2000";
        const SAYS: [&str; 2] = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"];

        let is_said = SAYS.iter().any(|name| std::env::var_os(name).is_some());
        let [name, rest @ ..] = typed else { return };
        if is_said || !std::env::args_os().eq(typed.iter().cloned()) {
            return;
        }
        let Ok(program) = std::env::current_exe() else { return };
        // What cannot be started anew goes on as it is.
        let _ = Command::new(program).arg0(name).args(rest).env(SAYS[0], SPINS).exec();
    }
}
