//! A base, the pairs that steer it, and the defaults they come with; on disk a TOML file.
//!
//! In: a path or the name of a bundled recipe. Out: plain types with every value checked. Nothing is loaded here.

pub mod builtin;
pub mod error;
pub mod file;
pub mod model_spec;
pub mod placement;
pub mod remote;
pub mod rope;
pub mod schedule;
pub mod view;

pub use error::Error;
pub use file::{PairSpec, Recipe};
pub use model_spec::{ModelName, ModelSpec};
pub use remote::Remote;
pub use schedule::Schedule;
pub use view::View;
