//! Main memory, as far as this process may use it.

use std::fs;
use std::path::{Path, PathBuf};

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Bytes of main memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MainMemory {
    pub total: u64,
    /// What can be had without swapping: free memory, and the page cache, which gives way.
    pub available: u64,
}

/// The machine's memory within the limits of the control groups that this process is in.
#[must_use]
pub fn main_memory() -> MainMemory {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh);
    let all = MainMemory { total: system.total_memory(), available: system.available_memory() };
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups(&own, Path::new("/sys/fs/cgroup")).iter().filter_map(|(group, files)| limit(group, files)).fold(
        all,
        |memory, group| MainMemory {
            total: memory.total.min(group.total),
            available: memory.available.min(group.available),
        },
    )
}

/// What a version of control groups calls its files.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Of the group and those in it; pages of files, which the kernel takes back when memory is short.
    cached: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cached: ["total_active_file", "total_inactive_file"],
};
const V2: Files = Files { limit: "memory.max", usage: "memory.current", cached: ["active_file", "inactive_file"] };

/// The folders of the groups that a process is in, by its `/proc/self/cgroup`, and of all groups around them. In a
/// container the root is the container's own group, and the names may be those outside.
fn groups(own: &str, root: &Path) -> Vec<(PathBuf, &'static Files)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(name)) = (parts.next(), parts.next()) else { continue };
        let (root, files) = match controllers {
            "" => (root.to_owned(), &V2),
            list if list.split(',').any(|controller| controller == "memory") => (root.join("memory"), &V1),
            _ => continue,
        };
        let around = Path::new(name.trim_start_matches('/')).ancestors();
        found.extend(around.map(|name| (root.join(name), files)));
    }
    found
}

/// What a group limits memory to, and how much of that it does not use; `None` where it sets no limit.
fn limit(group: &Path, files: &Files) -> Option<MainMemory> {
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let (total, usage) = (number(files.limit)?, number(files.usage)?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cached = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        files.cached.contains(&name).then(|| bytes.trim().parse::<u64>().ok())?
    });
    let used = usage.saturating_sub(cached.sum());
    Some(MainMemory { total, available: total.saturating_sub(used) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, name: &str, files: &[(&str, &str)]) {
        let folder = root.join(name);
        fs::create_dir_all(&folder).expect("writable");
        for (file, text) in files {
            fs::write(folder.join(file), text).expect("writable");
        }
    }

    fn within(own: &str, root: &Path) -> Vec<MainMemory> {
        groups(own, root).iter().filter_map(|(group, files)| limit(group, files)).collect()
    }

    #[test]
    fn the_page_cache_counts_as_available() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let stat = "anon 100\nfile 900\nactive_file 300\ninactive_file 500\nunevictable 7\n";
        group(root.path(), "a/b", &[("memory.max", "2000\n"), ("memory.current", "1000\n"), ("memory.stat", stat)]);
        group(root.path(), "a", &[("memory.max", "max\n"), ("memory.current", "1000\n"), ("memory.stat", stat)]);
        assert_eq!(within("0::/a/b\n", root.path()), [MainMemory { total: 2000, available: 1800 }]);
    }

    #[test]
    fn the_first_version_counts_what_is_in_a_group_too() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let stat = "active_file 1\ninactive_file 1\ntotal_active_file 300\ntotal_inactive_file 500\n";
        let files = [("memory.limit_in_bytes", "2000\n"), ("memory.usage_in_bytes", "1000\n"), ("memory.stat", stat)];
        group(root.path(), "memory", &files);
        let own = "9:name=systemd:/\n4:cpu,memory:/outside/of/here\n0::/\n";
        assert_eq!(
            within(own, root.path()),
            [MainMemory { total: 2000, available: 1800 }],
            "the container's own group"
        );
    }

    #[test]
    fn groups_without_a_limit_say_nothing() {
        let root = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(within("0::/user.slice\nnonsense\n", root.path()), []);
        group(root.path(), "user.slice", &[("memory.max", "500"), ("memory.current", "700")]);
        let full = [MainMemory { total: 500, available: 0 }];
        assert_eq!(within("0::/user.slice\n", root.path()), full, "more is used than the limit allows");
    }

    #[test]
    fn this_process_has_memory() {
        let MainMemory { total, available } = main_memory();
        assert!(available > 0 && available <= total, "{available} of {total}");
    }
}
