//! The same numbers everywhere: a test's seed tells its file.

/// splitmix64: a number for a seed and a place.
pub fn random(seed: u64, place: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(place.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One of `items`.
pub fn one_of<T: Clone>(items: &[T], seed: u64, place: u64) -> T {
    items[random(seed, place) as usize % items.len()].clone()
}
