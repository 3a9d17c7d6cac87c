//! Statuses, and the words to them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proxytune::inspect::probe::Refused;
use proxytune::llama::stage::Failure;
use proxytune::parameter::OutOfRange;
use proxytune::{llama, recipe, steer};

/// All is well.
pub const PT_OK: i32 = 0;
/// An argument is not valid, or asks for what a plugin cannot do.
pub const PT_ERROR_ARGUMENT: i32 = 1;
/// A file is missing, damaged or not usable.
pub const PT_ERROR_LOAD: i32 = 2;
/// A small model has other tokens than the base.
pub const PT_ERROR_VOCABULARY: i32 = 3;
/// The stage has failed and stays so until it is reset.
pub const PT_ERROR_STAGE: i32 = 4;
/// Another thread is using the stage.
pub const PT_ERROR_BUSY: i32 = 5;
/// There are as many stages as `n_seq_max` allows.
pub const PT_ERROR_SEQUENCES: i32 = 6;
/// A mistake in the plugin.
pub const PT_ERROR_INTERNAL: i32 = 7;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Argument(#[from] OutOfRange),

    #[error("{0}")]
    Recipe(#[from] recipe::Error),

    #[error("{0}")]
    Steer(#[from] steer::Error),

    #[error("{0}")]
    Refused(#[from] Refused),

    #[error("{0}")]
    Llama(#[from] llama::Error),

    #[error("{0}")]
    Stage(#[from] Failure),

    #[error("the pair has {n_seq_max} stages, which is as many as n_seq_max allows; free one, or ask for more")]
    Sequences { n_seq_max: usize },

    #[error("no thread for the pair: {0}")]
    Thread(std::io::Error),
}

impl Error {
    pub fn argument(name: &'static str, got: impl Display, expected: impl Display) -> Self {
        OutOfRange::new(name, got, expected.to_string()).into()
    }

    fn status(&self) -> i32 {
        match self {
            Self::Recipe(recipe::Error::Text(_) | recipe::Error::Unknown { .. }) | Self::Refused(_) => PT_ERROR_LOAD,
            Self::Llama(error) if !error.is_usage() => PT_ERROR_LOAD,
            Self::Argument(_) | Self::Recipe(_) | Self::Llama(_) => PT_ERROR_ARGUMENT,
            Self::Steer(error) => of_steer(error),
            Self::Stage(Failure::Contended) => PT_ERROR_BUSY,
            Self::Stage(_) => PT_ERROR_STAGE,
            Self::Sequences { .. } => PT_ERROR_SEQUENCES,
            Self::Thread(_) => PT_ERROR_INTERNAL,
        }
    }

    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Recipe(error) => error.hint().map(Cow::from),
            Self::Steer(error) => error.hint().map(Cow::from),
            Self::Refused(refused) => refused.hint().map(Cow::from),
            Self::Llama(error) => error.hint().map(Cow::from),
            _ => None,
        }
    }
}

fn of_steer(error: &steer::Error) -> i32 {
    use steer::Error::{Drift, File, Lane, NoWeights, NotHere, Vocabulary};
    match error {
        Vocabulary { .. } | Drift { .. } => PT_ERROR_VOCABULARY,
        File { .. } | steer::Error::Adapter { .. } | NoWeights { .. } | NotHere { .. } => PT_ERROR_LOAD,
        Lane { source, .. } if !source.is_usage() => PT_ERROR_LOAD,
        _ => PT_ERROR_ARGUMENT,
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs a function of the C interface: what goes wrong becomes a status, and words for [`last`].
pub fn guard(f: impl FnOnce() -> Result<(), Error>) -> i32 {
    let (status, words) = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(())) => return PT_OK,
        Ok(Err(error)) => {
            let hint = error.hint().map_or(String::new(), |hint| format!("; hint: {hint}"));
            (error.status(), format!("{error}{hint}"))
        }
        Err(_) => (PT_ERROR_INTERNAL, "the plugin panicked".to_owned()),
    };
    let words = CString::new(words.replace('\0', "\u{fffd}")).unwrap_or_default();
    // A thread that is ending has no place for it any more.
    let _ = LAST.try_with(|last| last.replace(words));
    status
}

/// The words to the last status of this thread that was not [`PT_OK`].
pub fn last() -> *const c_char {
    const NONE: &CStr = c"";
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(NONE.as_ptr())
}
