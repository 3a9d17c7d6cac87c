//! `perplexity --quant-noise`, in processes of their own: what it switches off is off for all models of a process.

use serde_json::Value;

use crate::command_line::{json, refused};

const ARGS: [&str; 9] =
    ["perplexity", "-R", "demo", "-f", "models/demo/heldout-prose.txt", "-c", "128", "--chunks", "3"];

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} of {value}"))
}

#[test]
fn rounding_is_noise_in_each_role_and_little_beside_the_offset() {
    let found = json(&[&ARGS[..], &["--quant-noise", "--json"]].concat());
    let roles: Vec<_> = found["results"].as_array().expect("rows").iter().map(|row| row["role"].clone()).collect();
    assert_eq!(roles, ["base", "expert", "antiexpert", "steered"]);
    for row in 0..4 {
        // Columns of 8 bits: some hundredths of a nat.
        let noise = number(&found, &format!("/results/{row}/noise"));
        assert!((1e-3..0.1).contains(&noise), "{found}");
        assert!(
            number(&found, &format!("/results/{row}/largest"))
                > number(&found, &format!("/results/{row}/loss/mean")).abs()
        );
    }
    let ratio = number(&found, "/offset/ratio");
    assert!((ratio - number(&found, "/offset/signal") / number(&found, "/offset/noise")).abs() < 1e-9 * ratio);
    assert!((10.0..1000.0).contains(&ratio), "{found}");
}

#[test]
fn the_rounded_reading_is_the_one_that_perplexity_reports() {
    let noise = json(&[&ARGS[..], &["--quant-noise", "--json"]].concat());
    let losses = json(&[&ARGS[..], &["--alpha", "0.75", "--json"]].concat());
    assert_eq!(noise["n_tokens"], losses["n_tokens"]);
    // Without rounding the losses are others, and by no more than the noise.
    for row in 0..4 {
        let change = number(&noise, &format!("/results/{row}/loss/mean")).abs();
        assert!(change > 0.0 && change < number(&noise, &format!("/results/{row}/noise")), "{noise}");
    }
}

#[test]
fn what_others_multiply_cannot_be_read_without_rounding() {
    let said = refused(&[&ARGS[..], &["--quant-noise", "--kernels", "off"]].concat(), 1);
    assert!(said.contains("the base's matrices are not multiplied by proxytune's kernels"), "{said}");
    assert!(said.contains("hint: they multiply weights in q4_0"), "{said}");
    let said = refused(&[&ARGS[..], &["--quant-noise", "--alpha", "1"]].concat(), 2);
    assert!(said.contains("cannot be used with"), "{said}");
}
