//! Where a command reads and writes: standard streams, or buffers of a test or of another program.

use std::io::{self, IsTerminal, Read, Write};

use anstream::adapter::strip_str;
use indicatif::ProgressBar;
use schemars::JsonSchema;
use serde::Serialize;

use crate::documents::{ErrorDocument, ErrorFacts};
use crate::pager::{Pager, Screen};
use crate::render::{self, Page};
use crate::{Exit, Failure};

/// The streams of one command, and how they want to be written.
///
/// With JSON asked for, exactly one document is written to the output; everything that is meant
/// for a person on the way there goes to the error stream.
pub struct Console {
    out: Stream,
    err: Stream,
    input: Input,
    json: bool,
    is_read: bool,
    /// What long answers are shown by; `None` where they are printed.
    pager: Option<Pager>,
    /// An answer that is longer than the screen, until the command is over.
    held: Option<String>,
    /// What shows on the terminal how far work is; what is written stands above it.
    bar: Option<ProgressBar>,
    unwritten: Exit,
}

/// Where answers to prompts and documents come from.
pub enum Input {
    /// A person at a terminal.
    Terminal,
    /// A pipe, a file or nothing: nobody can be asked.
    Stream(Box<dyn Read + Send>),
}

struct Stream {
    to: Box<dyn Write + Send>,
    colour: bool,
    /// Why nothing more is written: whoever read this has gone, for example `head`, or a disk is full.
    ended: Option<io::Error>,
}

impl Stream {
    fn new(to: Box<dyn Write + Send>, colour: bool) -> Self {
        Self {
            to,
            colour,
            ended: None,
        }
    }

    fn write(&mut self, text: &str) {
        if self.ended.is_some() {
            return;
        }
        let written = if self.colour {
            self.to.write_all(text.as_bytes())
        } else {
            self.to.write_all(strip_str(text).to_string().as_bytes())
        };
        self.ended = written.and_then(|()| self.to.flush()).err();
    }

    /// Why something that was to be written is nowhere. A reader who has gone wanted no more of it.
    fn lost(&self) -> Option<&io::Error> {
        let error = self.ended.as_ref();
        error.filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }
}

impl Console {
    /// The streams of this process. Colour only where a terminal reads and wants it.
    pub fn standard() -> Self {
        let colour = |choice| !matches!(choice, anstream::ColorChoice::Never);
        let out_colour = colour(anstream::AutoStream::choice(&io::stdout()));
        let err_colour = colour(anstream::AutoStream::choice(&io::stderr()));
        let input = if io::stdin().is_terminal() && io::stderr().is_terminal() {
            Input::Terminal
        } else {
            Input::Stream(Box::new(io::stdin()))
        };
        Self {
            out: Stream::new(Box::new(io::stdout()), out_colour),
            err: Stream::new(Box::new(io::stderr()), err_colour),
            input,
            json: false,
            is_read: io::stdout().is_terminal() && io::stdin().is_terminal(),
            pager: None,
            held: None,
            bar: None,
            unwritten: Exit::Failed,
        }
    }

    /// Other streams, without colour: for programs that run commands in their own process.
    pub fn with_streams(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        input: Box<dyn Read + Send>,
    ) -> Self {
        Self {
            out: Stream::new(out, false),
            err: Stream::new(err, false),
            input: Input::Stream(input),
            json: false,
            is_read: false,
            pager: None,
            held: None,
            bar: None,
            unwritten: Exit::Failed,
        }
    }

    pub const fn set_json(&mut self, json: bool) {
        self.json = json;
    }

    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether somebody reads the output at a terminal, and types there.
    pub(crate) const fn is_read(&self) -> bool {
        self.is_read
    }

    /// From now on an answer that is longer than the screen is shown by this pager.
    pub(crate) fn page_with(&mut self, pager: Option<Pager>) {
        self.pager = pager;
    }

    /// From now on what is written stands above this bar, until it is finished.
    pub(crate) fn draws(&mut self, bar: Option<ProgressBar>) {
        self.bar = bar;
    }

    fn write_out(&mut self, text: &str) {
        beside(self.bar.as_ref(), || self.out.write(text));
    }

    fn write_err(&mut self, text: &str) {
        beside(self.bar.as_ref(), || self.err.write(text));
    }

    /// Whether somebody can be asked something.
    pub const fn can_ask(&self) -> bool {
        matches!(self.input, Input::Terminal)
    }

    /// What is piped in; `None` at a terminal.
    pub fn piped(&mut self) -> Option<&mut (dyn Read + Send)> {
        match &mut self.input {
            Input::Terminal => None,
            Input::Stream(stream) => Some(stream.as_mut()),
        }
    }

    /// A line for a person, while the command works.
    pub fn say(&mut self, line: &str) {
        if self.json {
            self.write_err(&format!("{line}\n"));
        } else {
            self.raw_out(&format!("{line}\n"));
        }
    }

    /// A numbered step of a longer command.
    pub fn step(&mut self, number: u8, of: u8, title: &str) {
        self.say(&render::bold(&format!("[{number}/{of}] {title}")));
    }

    /// Confirms a part of a step.
    pub fn confirm(&mut self, what: &str) {
        let what = render::harmless(what);
        self.say(&format!("      {} {what}", render::good("ok")));
    }

    /// A line that a person must not miss; never on the output.
    pub fn warn(&mut self, line: &str) {
        let line = render::harmless(line);
        self.write_err(&format!("{} {line}\n", render::caution("warning:")));
    }

    /// What the command found, in the form that was asked for.
    ///
    /// Only what has a schema is an answer: it stands in [`crate::documents`] with its command.
    pub fn answer<D: Serialize + JsonSchema>(&mut self, page: &Page, document: &D) {
        if self.json {
            let document = serde_json::json!(document);
            self.write_out(&format!("{document:#}\n"));
        } else {
            self.let_go();
            let is_long = || Screen::of_output().is_some_and(|screen| !screen.holds(page.as_str()));
            if self.pager.is_some() && is_long() {
                self.held = Some(page.as_str().to_owned());
            } else {
                self.write_out(page.as_str());
            }
        }
    }

    /// Has a long answer read. To be called when the command is over: nothing waits for somebody who reads, and no
    /// key lies open meanwhile.
    pub(crate) fn read_out(&mut self) {
        let (Some(text), Some(pager)) = (self.held.take(), &self.pager) else {
            return;
        };
        let text = if self.out.colour {
            text
        } else {
            strip_str(&text).to_string()
        };
        if pager.show(&text).is_err() {
            self.write_out(&text);
        }
    }

    /// Prints what was held back: something follows it.
    fn let_go(&mut self) {
        if let Some(text) = self.held.take() {
            self.write_out(&text);
        }
    }

    /// What failed, and what to do. With JSON, also as a document, so that there always is one.
    pub fn fail(&mut self, failure: &Failure) {
        if self.json {
            let document = serde_json::json!(ErrorDocument {
                error: ErrorFacts {
                    code: failure.exit().into(),
                    exit: failure.exit().code(),
                    message: failure.message(),
                    hint: failure.hint(),
                }
            });
            self.write_out(&format!("{document:#}\n"));
        }
        self.tell(failure);
    }

    /// What failed, for a person.
    fn tell(&mut self, failure: &Failure) {
        let lines: Vec<String> = failure.message().lines().map(render::harmless).collect();
        let mut text = format!("{} {}\n", render::bad("error:"), lines.join("\n"));
        if !failure.hint().is_empty() {
            let hint = render::harmless(failure.hint());
            text.push_str(&format!("{} {hint}\n", render::bold("hint:")));
        }
        self.write_err(&text);
    }

    /// What it means when the answer of this command cannot be written, if not [`Exit::Failed`].
    pub(crate) fn unwritten_is(&mut self, exit: Exit) {
        self.unwritten = exit;
    }

    /// How a command ends that was to end with `exit`: as a failure, where what it said could not be written.
    pub(crate) fn ending(&mut self, exit: Exit) -> Exit {
        let (which, error) = match (self.out.lost(), self.err.lost()) {
            (Some(error), _) => ("output", error),
            (None, Some(error)) => ("error stream", error),
            (None, None) => return exit,
        };
        let failure = Failure::new(
            self.unwritten,
            format!("not all of the answer could be written to the {which}: {error}"),
            "what the command did is done: write to a place that has room, and look before it is done again",
        );
        self.tell(&failure);
        match exit {
            Exit::Done => failure.exit(),
            other => other,
        }
    }

    /// Text for a person that is shown this once, and without which nothing may go on.
    pub(crate) fn show_once(&mut self, text: &str) -> Result<(), Failure> {
        // On the error stream: the output may go to a file.
        self.err.write(text);
        match &self.err.ended {
            None => Ok(()),
            Some(error) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "the error stream takes nothing, and nobody has seen what was to be shown once: {error}"
                ),
                "nothing was changed; run the command again where its error stream can be read",
            )),
        }
    }

    /// Text that is finished already, such as help.
    pub fn raw_out(&mut self, text: &str) {
        self.let_go();
        self.write_out(text);
    }

    pub fn raw_err(&mut self, text: &str) {
        self.write_err(text);
    }
}

/// Writes where a bar is drawn, which gives way meanwhile.
fn beside(bar: Option<&ProgressBar>, write: impl FnOnce()) {
    match bar.filter(|bar| !bar.is_finished()) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
