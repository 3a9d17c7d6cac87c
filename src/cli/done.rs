//! How a command ended.

/// What a command that did not fail ended with.
pub enum Done {
    Fine,
    /// What was asked for was done, and the answer is no.
    Failed,
    Interrupted,
}
