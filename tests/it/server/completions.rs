//! `/v1/completions`
