//! Every lane's rows at every token that is scored, kept for a search that goes over them many times.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::reading::{self, Predicted};
use super::texts::Texts;
use crate::llama::Token;
use crate::steer::{self, Ensemble, Rows, Topology};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Steer(#[from] steer::Error),

    #[error("the logits that are kept in a temporary file: {0}")]
    File(#[from] std::io::Error),
}

/// A token that was predicted.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Which of the texts, and which token of its answer.
    pub text: usize,
    pub position: usize,
    pub token: Token,
    /// Where its rows are in the store.
    at: usize,
}

/// Where rows are kept.
#[derive(Debug)]
pub enum Store {
    Memory(Vec<Rows>),
    File(Mutex<File>),
}

impl Store {
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(Vec::new())
    }

    /// An empty file, which nobody else reads.
    #[must_use]
    pub fn file(file: File) -> Self {
        Self::File(Mutex::new(file))
    }
}

/// The rows of texts, in the texts' order.
#[derive(Debug)]
pub struct Kept {
    topology: Arc<Topology>,
    places: Vec<Place>,
    store: Store,
    /// Logits of each lane's row.
    lens: Vec<usize>,
}

/// Bytes that the rows of so many tokens take.
#[must_use]
pub fn n_bytes(ensemble: &Ensemble, n_tokens: usize) -> u64 {
    let n_logits: usize = lens(ensemble).iter().sum();
    (n_logits * size_of::<f32>()) as u64 * n_tokens as u64
}

fn lens(ensemble: &Ensemble) -> Vec<usize> {
    (0..ensemble.lanes().len()).map(|lane| ensemble.model(lane).n_vocab()).collect()
}

impl Kept {
    /// Reads texts, as [`reading::read`] does, and keeps what their lanes put out. Of what is broken off it has a part.
    pub fn read(
        ensemble: &mut Ensemble,
        texts: &Texts,
        store: Store,
        mut progress: impl FnMut(usize, usize) -> bool,
    ) -> Result<Self, Error> {
        let mut kept = Self { topology: ensemble.topology().clone(), places: Vec::new(), store, lens: lens(ensemble) };
        let mut failed = None;
        let each = |predicted: &Predicted<'_>| {
            let Predicted { ensemble, sequence, text, position, token, .. } = *predicted;
            ensemble.check_finite(sequence, position)?;
            let logits =
                (0..kept.lens.len()).map(|lane| ensemble.logits(sequence, lane, position).map(<[f32]>::to_vec));
            let rows = Rows { logits: logits.collect::<Result<_, _>>()?, position };
            let at = kept.places.len();
            kept.places.push(Place { text, position, token, at });
            if failed.is_none() {
                failed = kept.store.push(rows).err();
            }
            Ok(())
        };
        let n_all = texts.n_tokens();
        reading::read(ensemble, texts, each, |done| progress(done, n_all))?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        kept.places.sort_by_key(|place| (place.text, place.position));
        Ok(kept)
    }

    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// What was kept of a token; `None` for one that was not read.
    pub fn find(&self, text: usize, position: usize) -> std::io::Result<Option<Cow<'_, Rows>>> {
        let Ok(i) = self.places.binary_search_by_key(&(text, position), |place| (place.text, place.position)) else {
            return Ok(None);
        };
        let place = &self.places[i];
        match &self.store {
            Store::Memory(rows) => Ok(Some(Cow::Borrowed(&rows[place.at]))),
            Store::File(file) => {
                let mut rows = Rows::default();
                self.load(file, place, &mut rows)?;
                Ok(Some(Cow::Owned(rows)))
            }
        }
    }

    /// Goes over the places that are wanted, a share of them on each thread: what each thread made of its share, in order.
    pub fn fold<T: Send>(
        &self,
        n_threads: usize,
        is_wanted: impl Fn(&Place) -> bool,
        new: impl Fn() -> T + Sync,
        each: impl Fn(&mut T, &Place, &Rows) -> Result<(), steer::Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        let wanted: Vec<&Place> = self.places.iter().filter(|place| is_wanted(place)).collect();
        let share = wanted.len().div_ceil(n_threads.max(1)).max(1);
        let work = |places: &[&Place]| -> Result<T, Error> {
            let mut made = new();
            let mut buffer = Rows::default();
            for place in places {
                let rows = match &self.store {
                    Store::Memory(rows) => &rows[place.at],
                    Store::File(file) => {
                        self.load(file, place, &mut buffer)?;
                        &buffer
                    }
                };
                each(&mut made, place, rows)?;
            }
            Ok(made)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = wanted.chunks(share).map(|places| scope.spawn(|| work(places))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        })
    }

    fn load(&self, file: &Mutex<File>, place: &Place, rows: &mut Rows) -> std::io::Result<()> {
        let n_logits: usize = self.lens.iter().sum();
        let mut bytes = vec![0; n_logits * size_of::<f32>()];
        {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(place.at as u64 * bytes.len() as u64))?;
            file.read_exact(&mut bytes)?;
        }
        let mut logits = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        rows.position = place.position;
        rows.logits = self.lens.iter().map(|&len| logits.by_ref().take(len).collect()).collect();
        Ok(())
    }
}

impl Store {
    fn push(&mut self, rows: Rows) -> std::io::Result<()> {
        match self {
            Self::Memory(all) => all.push(rows),
            Self::File(file) => {
                let bytes: Vec<u8> = rows.logits.iter().flatten().flat_map(|logit| logit.to_le_bytes()).collect();
                file.get_mut().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)?;
            }
        }
        Ok(())
    }
}
