//! Which options `inspect` has in other words than `generate` does, and which of them say nothing where no text is
//! generated.

use clap::builder::Str;
use clap::{Arg, Args, Command, Id};

use crate::cli::sampling::SamplingArgs;

/// What `-p` is here.
pub fn prompt(arg: Arg) -> Arg {
    arg.help("The text to continue, and to look at from there on; \\n, \\t and their like are unescaped")
}

/// What `-f` is here.
pub fn corpus(arg: Arg) -> Arg {
    let help = "Look at a text, in windows of --ctx-size tokens, or at the answers of a file in JSON lines (.jsonl), as \
                `perplexity` reads them; `-` for stdin";
    let for_a_prompt = ["text", "Conversation", "no_escape", "no_parse_special"].map(Id::from);
    arg.help(help).conflicts_with_all(for_a_prompt).conflicts_with_all(only_for_generating())
}

/// What says how a text is generated. The plausibility cut belongs to the sum of the models.
pub fn only_for_generating() -> Vec<Id> {
    let sampling = SamplingArgs::augment_args(Command::new(Str::default()));
    let sampling = sampling.get_arguments().map(Arg::get_id).filter(|id| *id != "plausibility").cloned();
    sampling.chain(["End", "DraftArgs"].map(Id::from)).collect()
}
