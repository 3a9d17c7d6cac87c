//! The minimum of a convex function of a few numbers within bounds: Newton's method, damped and projected.
//!
//! A number that stands on its bound, where the function falls beyond it, is left there; the others take a Newton step,
//! which is cut to the bounds and halved until the function falls enough (Bertsekas 1982, "Projected Newton methods").

/// A function's value at a point, with its first and second derivatives there.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    pub value: f64,
    /// `[n]`
    pub gradient: Vec<f64>,
    /// `[n × n]`, row by row.
    pub hessian: Vec<f64>,
}

impl Expansion {
    /// Of the function that is 0 everywhere.
    #[must_use]
    pub fn zero(n: usize) -> Self {
        Self { value: 0.0, gradient: vec![0.0; n], hessian: vec![0.0; n * n] }
    }

    /// That of the sum of two functions.
    pub fn add(&mut self, other: &Self) {
        self.value += other.value;
        self.gradient.iter_mut().zip(&other.gradient).for_each(|(sum, x)| *sum += x);
        self.hessian.iter_mut().zip(&other.hessian).for_each(|(sum, x)| *sum += x);
    }

    pub fn scale(&mut self, by: f64) {
        self.value *= by;
        self.gradient.iter_mut().chain(&mut self.hessian).for_each(|x| *x *= by);
    }
}

const MAX_STEPS: usize = 60;
const MAX_HALVINGS: usize = 12;
/// Of the gradient, in the function's units: smaller slopes are none.
const FLAT: f64 = 1e-8;
/// What a step promises at least, in the function's units: the last one is taken without looking, since what it misses is
/// far smaller still, and a sum over many terms is not exact enough to see it fall.
const NEGLIGIBLE: f64 = 1e-8;

/// The point within `bounds` (lowest and highest of each number) at which the function that `expand` expands is least,
/// from `start` on. Where the function is flat along some direction, one of its least points.
pub fn minimise<E>(
    start: &[f64],
    bounds: &[(f64, f64)],
    mut expand: impl FnMut(&[f64]) -> Result<Expansion, E>,
) -> Result<Vec<f64>, E> {
    let within =
        |point: &[f64]| -> Vec<f64> { point.iter().zip(bounds).map(|(x, (low, high))| x.clamp(*low, *high)).collect() };
    let mut point = within(start);
    let mut here = expand(&point)?;
    for _ in 0..MAX_STEPS {
        let is_free = |i: usize| {
            let ((low, high), slope) = (bounds[i], here.gradient[i]);
            !(point[i] <= low && slope > 0.0 || point[i] >= high && slope < 0.0)
        };
        let free: Vec<usize> = (0..point.len()).filter(|&i| is_free(i)).collect();
        if free.iter().all(|&i| here.gradient[i].abs() < FLAT) {
            break;
        }
        let step = newton_step(&here, &free);
        let falls: f64 = -here.gradient.iter().zip(&step).map(|(slope, step)| slope * step).sum::<f64>();
        if falls < NEGLIGIBLE {
            point = within(&point.iter().zip(&step).map(|(x, step)| x + step).collect::<Vec<_>>());
            break;
        }
        let mut share = 1.0;
        let mut fell = None;
        for _ in 0..MAX_HALVINGS {
            let further: Vec<f64> = point.iter().zip(&step).map(|(x, step)| x + share * step).collect();
            let further = within(&further);
            let promised: f64 = (0..point.len()).map(|i| here.gradient[i] * (further[i] - point[i])).sum();
            let there = expand(&further)?;
            if there.value <= here.value + 1e-4 * promised.min(0.0) {
                fell = Some((further, there));
                break;
            }
            share /= 2.0;
        }
        // What rounding hides cannot fall further.
        let Some((further, there)) = fell else { break };
        let gain = here.value - there.value;
        (point, here) = (further, there);
        if gain < 1e-13 * here.value.abs() {
            break;
        }
    }
    Ok(point)
}

/// `−H⁻¹g` over the numbers that are free, 0 for the others. The Hessian is made a little rounder where it is flat.
fn newton_step(here: &Expansion, free: &[usize]) -> Vec<f64> {
    let n = here.gradient.len();
    let mut step = vec![0.0; n];
    let largest = free.iter().map(|&i| here.hessian[i * n + i]).fold(0.0, f64::max);
    let mut damping = largest * 1e-9 + f64::MIN_POSITIVE;
    for _ in 0..MAX_HALVINGS {
        let entry = |i: usize, j: usize| {
            let (row, column) = (free[i], free[j]);
            here.hessian[row * n + column] + if i == j { damping } else { 0.0 }
        };
        if let Some(solved) = solve(free.len(), entry, |i| -here.gradient[free[i]]) {
            free.iter().zip(solved).for_each(|(&i, x)| step[i] = x);
            return step;
        }
        damping = damping * 100.0 + 1e-12;
    }
    for &i in free {
        step[i] = -here.gradient[i];
    }
    step
}

/// Solves `A·x = y` for a positive definite `A` by Cholesky's method; `None` for one that is not.
fn solve(n: usize, a: impl Fn(usize, usize) -> f64, y: impl Fn(usize) -> f64) -> Option<Vec<f64>> {
    let mut lower = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
            let rest = a(i, j) - inner;
            lower[i * n + j] = match i == j {
                true if rest > 0.0 => rest.sqrt(),
                true => return None,
                false => rest / lower[j * n + j],
            };
        }
    }
    let mut x: Vec<f64> = (0..n).map(y).collect();
    for i in 0..n {
        let inner: f64 = (0..i).map(|k| lower[i * n + k] * x[k]).sum();
        x[i] = (x[i] - inner) / lower[i * n + i];
    }
    for i in (0..n).rev() {
        let inner: f64 = (i + 1..n).map(|k| lower[k * n + i] * x[k]).sum();
        x[i] = (x[i] - inner) / lower[i * n + i];
    }
    x.iter().all(|x| x.is_finite()).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `½ (x − c)ᵀ H (x − c)` of two numbers.
    fn bowl(centre: [f64; 2], h: [f64; 4]) -> impl Fn(&[f64]) -> Result<Expansion, ()> {
        move |x| {
            let d = [x[0] - centre[0], x[1] - centre[1]];
            let gradient = vec![h[0] * d[0] + h[1] * d[1], h[2] * d[0] + h[3] * d[1]];
            let value = 0.5 * (d[0] * gradient[0] + d[1] * gradient[1]);
            Ok(Expansion { value, gradient, hessian: h.to_vec() })
        }
    }

    fn least(centre: [f64; 2], h: [f64; 4]) -> Vec<f64> {
        minimise(&[1.0, 1.0], &[(0.0, 2.0), (0.0, 4.0)], bowl(centre, h)).expect("it never fails")
    }

    fn assert_near(got: &[f64], expected: &[f64]) {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} for {expected:?}");
    }

    #[test]
    fn bowls_inside_outside_and_flat() {
        let tilted = [2.0, 1.0, 1.0, 3.0];
        assert_near(&least([0.5, 3.0], tilted), &[0.5, 3.0]);
        // On the edge x = 2 the other number is free: (x − c)·1 + 3·(y − c) = 0.
        assert_near(&least([5.0, 1.0], tilted), &[2.0, 2.0]);
        assert_near(&least([-1.0, -1.0], tilted), &[0.0, 0.0]);
        let flat = least([0.5, 1.5], [1.0, 1.0, 1.0, 1.0]);
        assert!((flat[0] + flat[1] - 2.0).abs() < 1e-6, "{flat:?}");
    }

    #[test]
    fn steps_that_are_too_long_are_halved() {
        // √(1 + x²) sends Newton's method away from anywhere beyond 1.
        let curve = |x: &[f64]| -> Result<Expansion, ()> {
            let root = (1.0 + x[0] * x[0]).sqrt();
            Ok(Expansion { value: root, gradient: vec![x[0] / root], hessian: vec![root.powi(-3)] })
        };
        assert_near(&minimise(&[3.5], &[(-4.0, 4.0)], curve).expect("it never fails"), &[0.0]);
    }

    #[test]
    fn an_error_ends_the_search() {
        assert_eq!(minimise(&[0.0], &[(0.0, 1.0)], |_| Err("no row")), Err("no row"));
    }
}
