//! What the bodies of all requests weigh together. A body counts until its request is answered: what was read of it, or made
//! of it, is in memory until then.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a body that always have room, so that large bodies leave small ones alone.
const FREE: usize = 64 << 10;

/// All bodies.
#[derive(Debug)]
pub struct Weights {
    n_held: AtomicUsize,
    most: usize,
}

impl Weights {
    /// Room for so many bytes beside the free ones of each body.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { n_held: AtomicUsize::new(0), most })
    }
}

/// One body. Copies are the same body; it weighs nothing once the last of them is dropped.
#[derive(Debug, Clone)]
pub struct Weight(Arc<Held>);

#[derive(Debug)]
struct Held {
    weights: Arc<Weights>,
    n_bytes: Mutex<usize>,
}

impl Weight {
    pub fn none(weights: &Arc<Weights>) -> Self {
        Self(Arc::new(Held { weights: weights.clone(), n_bytes: Mutex::new(0) }))
    }

    /// Counts a body of at least so many bytes; whether there is room for it.
    pub fn grow_to(&self, n_bytes: usize) -> bool {
        let Held { weights, n_bytes: held } = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let more = n_bytes.saturating_sub(FREE).saturating_sub(*held);
        let grown = |n: usize| n.checked_add(more).filter(|n| *n <= weights.most);
        if more > 0 && weights.n_held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, grown).is_err() {
            return false;
        }
        *held += more;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.n_bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.weights.n_held.fetch_sub(*held, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_room_and_small_ones_need_none() {
        let weights = Weights::new(100);
        let [first, second, third] = [(); 3].map(|()| Weight::none(&weights));
        assert!(first.grow_to(FREE + 40) && first.grow_to(FREE + 70) && first.grow_to(FREE + 60));
        assert!(!second.grow_to(FREE + 31) && second.grow_to(FREE + 30));
        assert!(!first.grow_to(FREE + 71) && third.grow_to(FREE));
        let copy = first.clone();
        drop(first);
        assert!(!third.grow_to(FREE + 1));
        drop(copy);
        assert!(third.grow_to(FREE + 70));
        drop((second, third));
        assert_eq!(weights.n_held.load(Ordering::SeqCst), 0);
    }
}
