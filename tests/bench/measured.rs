//! Numbers as benches print them.

use proxytune::arithmetic::statistics::quantile;

/// The median with its 95 % interval (binomial, by rank), and the outer tenths.
pub fn print(name: &str, numbers: &mut [f64]) {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len() as f64;
    let reach = 0.98 / n.sqrt();
    let at = |q| quantile(numbers, q);
    println!(
        "{name:<40} median {:8.4}  [{:.4}, {:.4}]   10 % {:8.4}   90 % {:8.4}   n = {n}",
        at(0.5),
        at(0.5 - reach),
        at(0.5 + reach),
        at(0.1),
        at(0.9)
    );
}
