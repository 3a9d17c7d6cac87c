//! Everything that was measured, put together.

use jiff::Timestamp;
use serde::Serialize;

use super::derived::Derived;
use super::memory::Memory;
use super::row::{How, Machine, Measurement, Models};
use super::settings::Settings;
use super::timed::{Test, Timed};
use super::{Error, Subjects};
use crate::llama::backend::Backend;
use crate::llama::device;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    #[serde(rename = "results")]
    pub rows: Vec<Measurement>,
    pub derived: Derived,
    pub system: System,
}

/// What it ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct System {
    pub proxytune: &'static str,
    pub llama_cpp: String,
    pub devices: Vec<DeviceInfo>,
    /// What llama.cpp was compiled with and found, the features of the CPU among it.
    pub system_info: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    pub name: String,
    pub description: String,
    pub backend: String,
}

pub(super) fn make(backend: &Backend, subjects: &Subjects, settings: &Settings, timed: Timed) -> Result<Report, Error> {
    let devices = device::list(backend).into_iter();
    let devices: Vec<_> = devices
        .map(|device| DeviceInfo {
            name: device.name,
            description: device.description.trim().to_owned(),
            backend: device.backend,
        })
        .collect();
    let llama_cpp = device::version(backend);
    let machine = machine(&llama_cpp, &devices);
    let row = |test: &Test, how: How, n_prompt: usize, n_gen: usize| Measurement {
        machine: machine.clone(),
        models: subjects.models(how),
        how,
        n_prompt,
        n_gen,
        test_time: Timestamp::strftime(&test.began, "%Y-%m-%dT%H:%M:%SZ").to_string(),
        samples_ns: test.samples(how).unwrap_or_default(),
    };
    let rows = |test: &Test, n_prompt, n_gen| {
        let subjects = if test.rounds.is_empty() { &[] } else { test.subjects.as_slice() };
        subjects.iter().map(|&how| row(test, how, n_prompt, n_gen)).collect::<Vec<_>>()
    };
    let mut all = rows(&timed.reading, settings.n_prompt, 0);
    all.extend(rows(&timed.generating, 0, settings.n_gen));
    // Each subject's rows together, as llama-bench has those of a model.
    all.sort_by_key(|row| match row.how {
        How::Alone(i) => i,
        How::Lockstep | How::Speculative => usize::MAX,
    });
    let memory = Memory::of(backend, subjects, settings, &timed)?;
    let derived = Derived::of(subjects, settings, timed, memory);
    let system_info = device::system_info(backend);
    let system = System { proxytune: env!("CARGO_PKG_VERSION"), llama_cpp, devices, system_info };
    Ok(Report { rows: all, derived, system })
}

/// CPU and others by their descriptions, as llama-bench tells them.
fn machine(llama_cpp: &str, devices: &[DeviceInfo]) -> Machine {
    let of = |is_cpu: bool, what: fn(&DeviceInfo) -> &String| {
        let mut names: Vec<_> = devices.iter().filter(|device| (device.backend == "CPU") == is_cpu).map(what).collect();
        names.dedup();
        names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let backends = of(false, |device| &device.backend);
    Machine {
        build: llama_cpp.to_owned(),
        cpu_info: of(true, |device| &device.description),
        gpu_info: of(false, |device| &device.description),
        backends: if backends.is_empty() { "CPU".to_owned() } else { backends.replace(", ", ",") },
    }
}

impl Subjects {
    /// Who it is, in words.
    pub(super) fn role(&self, how: How) -> String {
        match how {
            How::Alone(i) => self.alone[i].name(),
            How::Lockstep | How::Speculative => "steered".to_owned(),
        }
    }

    fn models(&self, how: How) -> Models {
        let used: Vec<_> = match how {
            How::Alone(i) => vec![&self.alone[i]],
            How::Lockstep | How::Speculative => self.alone.iter().collect(),
        };
        let model = |alone: &super::Alone| self.ensemble().model(alone.lane).clone();
        // Sources that differ in how they are run may share a file.
        let mut files: Vec<_> = used.iter().map(|alone| &alone.source.path).collect();
        files.dedup();
        let mut kinds: Vec<_> = used.iter().map(|alone| model(alone).description()).collect();
        kinds.dedup();
        Models {
            role: self.role(how),
            filename: files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(","),
            kind: kinds.join(" + "),
            n_bytes: used.iter().map(|alone| model(alone).n_bytes()).sum(),
            n_params: used.iter().map(|alone| model(alone).n_params()).sum(),
            source: used[0].source.clone(),
        }
    }
}
