//! All integration tests in one binary: one link of llama.cpp. A module a topic.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_possible_wrap)]

#[path = "../support/base_server.rs"]
mod base_server;
#[path = "../support/gguf.rs"]
mod gguf;
#[path = "../support/hub_server.rs"]
mod hub_server;
#[path = "../support/raw.rs"]
mod raw;
#[path = "../support/server.rs"]
mod server_process;
#[path = "../support/hostile/mod.rs"]
mod strangers;
#[path = "../support/usage.rs"]
mod usage;

mod alone;
mod alongside;
mod arrangements;
mod begun;
mod bench;
mod calibrate;
mod cells;
mod chain;
mod chat;
mod check;
mod choices;
mod command_line;
mod demo;
mod desk;
mod download;
mod endings;
mod engine;
mod eval;
mod faults;
mod features;
mod gate;
mod guidance;
mod handle;
mod hostile;
mod hub;
mod inspect_command;
mod invariance;
mod layering;
mod limits;
mod llama_cpp_options;
mod midway;
mod noise;
mod notices;
mod perplexity;
mod probe;
#[cfg(unix)]
mod process;
mod prompts;
mod raw_prompts;
mod remote;
mod report;
mod resting;
mod rpc;
mod scoring;
mod server;
mod speculation;
mod steering;
mod texts;
mod trio;
mod vocabularies;
mod waiting;
mod words;
