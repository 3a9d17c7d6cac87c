//! What a process tells its parent: frames from any thread, written by one.

use std::io::{self, BufWriter, Write};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::frame::Frame;
use crate::llama::leave::leave;

enum Item {
    Frame(Box<Frame>),
    End(i32),
}

/// Takes frames without waiting for whoever reads them.
#[derive(Clone)]
pub(super) struct Output(Sender<Item>);

impl Output {
    pub fn spawn(stdout: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, inbox) = unbounded();
        let write = move || {
            // Who cannot tell anything is of no use, and is started again.
            let Err(error) = write_all(&inbox, &mut BufWriter::with_capacity(1 << 16, stdout)) else { return };
            let _ = writeln!(io::stderr(), "the engine cannot tell what it does: {error}");
            leave(1)
        };
        std::thread::Builder::new().name("output".to_owned()).spawn(write)?;
        Ok(Self(items))
    }

    pub fn send(&self, frame: Frame) {
        // The writer takes items for as long as the process lives.
        let _ = self.0.send(Item::Frame(Box::new(frame)));
    }

    /// Ends the process when everything is written.
    pub fn end(&self, code: i32) -> ! {
        let _ = self.0.send(Item::End(code));
        loop {
            std::thread::park();
        }
    }
}

fn write_all(inbox: &Receiver<Item>, out: &mut impl Write) -> io::Result<()> {
    while let Ok(first) = inbox.recv() {
        for item in std::iter::once(first).chain(inbox.try_iter()) {
            match item {
                Item::Frame(frame) => frame.write(out)?,
                Item::End(code) => {
                    out.flush()?;
                    leave(code);
                }
            }
        }
        out.flush()?;
    }
    Ok(())
}
