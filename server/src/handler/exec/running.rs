//! The far side of a talk: one process, its standard output, and its standard error where the client gets it.

use std::{
    path::Path,
    task::{Context, Poll},
    time::Duration,
};

use rsp_core::config::{self, Framing, Talk};

use crate::{
    process::{self, Listener, Process, log_errors},
    session::{Brought, End, Ends, Far, Framed},
};

/// What the steps of a process's end take without `close`, and some time to spare.
const LADDER: Duration = Duration::from_secs(2);

/// Steps of the end that `close` is added to.
const STEPS: u32 = 3;

/// A process that talks with one client.
pub struct Running {
    talk: Framed,
    errors: Errors,
    /// Dropped last, it is let to end.
    _life: process::Running,
}

/// Where the lines of its standard error go.
enum Errors {
    /// To our messages.
    Logged { _listener: Listener },
    /// To the client, beside what it says; None once there will be no more.
    Told(Option<Box<Framed>>),
}

impl Running {
    /// A process that has just started.
    pub fn new(process: Process, program: &Path, spec: &config::Exec) -> Self {
        let Process { input, output, errors, running } = process;
        let talk = Framed::new(Ends::Pipes { input, output }, &spec.talk);
        if spec.stderr_to_client {
            let lines = Talk { framing: Framing::Lines, ..spec.talk.clone() };
            let errors = Framed::new(Ends::Pipes { input: None, output: errors }, &lines).of_stream("stderr");
            let errors = Errors::Told(Some(Box::new(errors)));
            return Self { talk: talk.of_stream("stdout"), errors, _life: running };
        }
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        let listener = log_errors(errors, name, running.id(), LADDER + STEPS * spec.close);
        Self { talk, errors: Errors::Logged { _listener: listener }, _life: running }
    }

    /// What it says on standard error, for the client.
    fn bring_errors(&mut self, cx: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>> {
        let Errors::Told(Some(errors)) = &mut self.errors else { return Poll::Pending };
        match errors.poll_bring(cx, brought) {
            // It may close its standard error and go on.
            Poll::Ready(Err(End::Done | End::Failed)) => {
                self.errors = Errors::Told(None);
                Poll::Pending
            }
            brings => brings,
        }
    }
}

impl Far for Running {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.talk.poll_room(cx)
    }

    fn give(&mut self, message: &[u8], is_text: bool) {
        self.talk.give(message, is_text);
    }

    fn poll_given(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.talk.poll_given(cx)
    }

    fn poll_bring(&mut self, cx: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>> {
        match (self.bring_errors(cx, brought), self.talk.poll_bring(cx, brought)) {
            (Poll::Ready(Err(end)), _) => Poll::Ready(Err(end)),
            (Poll::Ready(Ok(())), Poll::Pending) => Poll::Ready(Ok(())),
            // Its last words may be on standard error, and came in between.
            (_, Poll::Ready(Err(End::Done))) => match self.bring_errors(cx, brought) {
                Poll::Pending => Poll::Ready(Err(End::Done)),
                brings => brings,
            },
            (_, said) => said,
        }
    }
}
