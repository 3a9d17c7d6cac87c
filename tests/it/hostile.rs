//! Damaged files through the whole program, each in a child process: a message and an exit code, never a signal.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::gguf::Spec;

/// Damaged files in a normal run; `PROXYTUNE_HOSTILE=2000` tries more.
const N_FILES: u64 = 200;
const WATCHDOG: Duration = Duration::from_secs(60);

/// splitmix64: a number for a seed and a place.
fn random(seed: u64, place: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(place.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The file cut off, with flipped bits, or with other numbers in its header.
fn damage(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let header = 12_000.min(bytes.len());
    let place = |k| random(seed, k) as usize % header;
    match seed % 4 {
        0 => bytes.truncate(random(seed, 1) as usize % whole.len()),
        1 => (0..=random(seed, 1) % 8).for_each(|k| bytes[place(k + 2)] ^= 1 << (random(seed, k + 20) % 8)),
        2 => {
            let at = place(2).min(header - 8);
            let huge = [u64::MAX, 1 << 62, 1 << 40, 0, u64::from(u32::MAX)][random(seed, 3) as usize % 5];
            bytes[at..at + 8].copy_from_slice(&huge.to_le_bytes());
        }
        // The value of a numeric entry: most keys end in a name, a type and four bytes.
        _ => {
            let keys: [&[u8]; 10] = [
                b"context_length",
                b"embedding_length",
                b"block_count",
                b"feed_forward_length",
                b"head_count",
                b"head_count_kv",
                b"layer_norm_rms_epsilon",
                b"dimension_count",
                b"bos_token_id",
                b"eos_token_id",
            ];
            let key = keys[random(seed, 1) as usize % keys.len()];
            let at = bytes.windows(key.len()).position(|window| window == key).expect("the key is there");
            let value = at + key.len() + 4;
            let number = [0, 1, 7, 64, 4096, u64::from(u32::MAX), random(seed, 2)][random(seed, 3) as usize % 7];
            bytes[value..value + 4].copy_from_slice(&(number as u32).to_le_bytes());
        }
    }
    bytes
}

/// Runs `generate` on a file in every role; the complaint if it did not end well.
fn survives(path: &Path, seed: u64) -> Result<(), String> {
    let model = path.to_str().expect("UTF-8");
    let mut child = Command::new(env!("CARGO_BIN_EXE_proxytune"))
        .args(["generate", "-m", model, "-me", model, "-ma", "none", "-p", "ab", "-n", "2", "-t", "1", "-c", "32"])
        .env("GGML_NO_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let began = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be asked") {
            Some(status) => break status,
            None if began.elapsed() > WATCHDOG => {
                child.kill().expect("it can be ended");
                return Err(format!("seed {seed}: still running after {WATCHDOG:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let mut said = String::new();
    let _ = std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut said);
    match (status.code(), said.contains("error: ")) {
        (Some(0), _) | (Some(1), true) => Ok(()),
        (code, _) => Err(format!("seed {seed}: code {code:?}, signal {:?}: {said}", status.signal())),
    }
}

#[test]
fn damaged_files_end_in_a_message() {
    let n_files = std::env::var("PROXYTUNE_HOSTILE").map_or(N_FILES, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole: PathBuf = folder.path().join("whole.gguf");
    Spec::tiny().write(&whole).expect("writable");
    let whole = std::fs::read(&whole).expect("readable");
    let complaints: Vec<_> = (0..n_files)
        .filter_map(|seed| {
            let path = folder.path().join(format!("{seed}.gguf"));
            std::fs::write(&path, damage(&whole, seed)).expect("writable");
            let complaint = survives(&path, seed).err();
            std::fs::remove_file(&path).expect("removable");
            complaint
        })
        .collect();
    assert!(complaints.is_empty(), "{} of {n_files}:\n{}", complaints.len(), complaints.join("\n"));
}
