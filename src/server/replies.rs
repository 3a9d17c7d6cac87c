//! Streams that are being written, by the ids that their readers are told: whoever knows one can steer its texts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Id;

/// All of them.
#[derive(Debug, Default)]
pub struct Replies(Mutex<BTreeMap<String, Reply>>);

#[derive(Debug)]
struct Reply {
    /// The id of the model that writes it.
    model: String,
    texts: Vec<Text>,
}

/// A text of a reply, as the engine knows it.
#[derive(Debug, Clone)]
pub struct Text {
    pub id: Id,
    /// Set with its last event, which its reader may not have taken yet.
    pub is_over: Arc<AtomicBool>,
}

/// A text's place in the list. It leaves with this value.
#[derive(Debug)]
pub struct Listed {
    replies: Arc<Replies>,
    reply: String,
    text: Id,
}

impl Replies {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Reply>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a text of a reply.
    pub fn add(self: &Arc<Self>, reply: &str, model: &str, text: Text) -> Listed {
        let listed = Listed { replies: self.clone(), reply: reply.to_owned(), text: text.id };
        let mut all = self.all();
        let entry = all.entry(reply.to_owned());
        entry.or_insert_with(|| Reply { model: model.to_owned(), texts: Vec::new() }).texts.push(text);
        listed
    }

    /// The model of a reply and those of its texts that are still written; `None` where there are none.
    pub fn find(&self, reply: &str) -> Option<(String, Vec<Id>)> {
        let all = self.all();
        let Reply { model, texts } = all.get(reply)?;
        let running = texts.iter().filter(|text| !text.is_over.load(Ordering::Relaxed));
        let running: Vec<Id> = running.map(|text| text.id).collect();
        (!running.is_empty()).then(|| (model.clone(), running))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut all = self.replies.all();
        let Some(reply) = all.get_mut(&self.reply) else { return };
        reply.texts.retain(|text| text.id != self.text);
        if reply.texts.is_empty() {
            all.remove(&self.reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_found_while_a_text_of_it_is_written() {
        let replies = Arc::new(Replies::default());
        let text = |id| Text { id, is_over: Arc::default() };
        let (first, second) = (text(1), text(2));
        let listed = [&first, &second].map(|text| replies.add("chatcmpl-1", "demo", text.clone()));
        assert_eq!(replies.find("chatcmpl-1"), Some(("demo".to_owned(), vec![1, 2])));
        assert_eq!(replies.find("chatcmpl-2"), None);
        first.is_over.store(true, Ordering::Relaxed);
        assert_eq!(replies.find("chatcmpl-1"), Some(("demo".to_owned(), vec![2])));
        let [first, second] = listed;
        drop(second);
        assert_eq!((replies.find("chatcmpl-1"), replies.all().len()), (None, 1), "its reader is still there");
        drop(first);
        assert!(replies.all().is_empty());
    }
}
