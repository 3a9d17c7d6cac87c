//! What came of a task.

use crate::eval::standing::Row;
use crate::eval::task::Task;
use crate::sampling::Sampling;

pub struct Outcome {
    pub task: Task,
    pub n_items: usize,
    pub sampling: Sampling,
    pub rows: Vec<Row>,
}
