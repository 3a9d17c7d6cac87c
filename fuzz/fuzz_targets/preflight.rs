//! What the preflight accepts meets every assertion of llama.cpp's `load_hparams`, written down here a second time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxytune_fuzz::{Metadata, read};

const ARCHITECTURES: [&str; 8] =
    ["llama", "qwen3moe", "hunyuan-dense", "hunyuan-moe", "glm4moe", "jamba", "bert", "gemma2"];
const NUMBERS: [&str; 9] = [
    "block_count",
    "nextn_predict_layers",
    "expert_count",
    "expert_used_count",
    "expert_group_count",
    "expert_group_used_count",
    "embedding_length",
    "ssm.inner_size",
    "rope.dimension_count",
];
const SCALINGS: [&str; 5] = ["none", "linear", "yarn", "longrope", "wonder"];

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next().unwrap_or(0);
    let architecture = ARCHITECTURES[usize::from(next()) % ARCHITECTURES.len()];
    let mut metadata = Metadata::default();
    metadata.text("general.architecture", architecture.as_bytes());
    let mut given = [None; NUMBERS.len()];
    let mut used = None;
    for (i, name) in NUMBERS.iter().enumerate() {
        let key = format!("{architecture}.{name}");
        match next() % 4 {
            0 => {}
            1 if i == 3 => {
                let each: Vec<i32> = (0..next() % 5).map(|_| i32::from(next().cast_signed())).collect();
                used = Some(each.iter().map(|x| x.cast_unsigned()).max().unwrap_or(0));
                metadata.i32s(&key, &each);
            }
            small => {
                let x = u32::from(next()) << if small == 3 { next() % 25 } else { 0 };
                given[i] = Some(x);
                metadata.u32(&key, x);
            }
        }
    }
    let scaling = SCALINGS[usize::from(next()) % SCALINGS.len()];
    metadata.text(&format!("{architecture}.rope.scaling.type"), scaling.as_bytes());
    if read(&metadata.file()).is_err() {
        return;
    }
    let [layers, next_n, mut experts, one_used, groups, groups_used, n_embd, n_inner, _] = given.map(|x| x.unwrap_or(0));
    let mut used = used.unwrap_or(one_used);
    // A missing number of layers is an error to llama.cpp, and no assertion.
    assert!(given[0].is_none() || (1..=512).contains(&layers));
    assert!(given[0].is_none() || next_n <= layers);
    if architecture == "hunyuan-dense" && experts <= 1 {
        (experts, used) = (0, 0);
    }
    assert!(experts <= 1024 && used <= experts);
    if experts > 0 {
        assert!(used > 0 && groups < experts);
        assert!(groups <= 1 || (experts % groups == 0 && groups_used > 0 && groups_used < groups));
    } else {
        assert!(used == 0 && groups == 0);
    }
    assert!(scaling != "wonder" && architecture != "bert");
    assert!(architecture != "glm4moe" || experts > 0);
    assert!(architecture != "jamba" || given[6].is_none() || given[7].is_none() || n_inner == 2 * n_embd);
});
