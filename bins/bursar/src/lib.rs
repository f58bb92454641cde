//! The admin command line of Bursar, as a library, so that the daemon can show things the same way
//! and run commands in its own process.
//!
//! A command works on the store and nothing else: it needs no daemon, and a daemon that runs sees
//! what it wrote. [`run`] is the whole program; [`execute`] is the same with the clock, the
//! environment and the streams passed in.
//!
//! Start reading at [`execute`]; the commands are in [`commands`], one file per group; [`render`]
//! holds what both programs show.
//!
//! # Invariants
//!
//! - Standard output holds the answer and nothing else; with `--json` it is one JSON document.
//! - No secret is an argument, and none is ever printed, but a new recovery code, once.
//! - Every "no" names its rule and says what to do.
//! - Every change names who made it, in the audit trail, in the transaction of the change.

pub mod arguments;
pub mod brokers;
pub mod channels;
mod chart;
pub mod checkpoint_file;
pub mod commands;
pub mod console;
pub mod documents;
pub mod exit;
pub mod installation;
mod named;
mod older;
mod output_file;
mod pager;
mod progress;
mod prompt;
mod recovery;
pub mod render;
mod scratch;
pub mod session;
pub mod sole;
pub mod surroundings;
pub mod tombstones;
pub mod unlock;
mod view;

pub use console::{Console, Input};
pub use exit::{Exit, Failure};
pub use installation::Installation;
pub use surroundings::{Surroundings, SystemClock};

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Read;
use pager::Pager;
use session::Session;

/// Runs one command line, the program's name included, with this process's streams.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut console = Console::standard();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(execute(arguments, &Surroundings::of_process(), &mut console));
            // Whatever hangs on a disk does not keep the answer from the one who waits for it.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            console.fail(&Failure::of(
                Exit::Failed,
                &error,
                "the machine gives no more threads or files to this user",
            ));
            Exit::Failed.into()
        }
    }
}

/// Runs one command line, the program's name included, inside a Tokio runtime. What could not be written is a
/// failure, too.
pub async fn execute(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings,
    console: &mut Console,
) -> Exit {
    let exit = executed(arguments, surroundings, console).await;
    console.ending(exit)
}

async fn executed(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings,
    console: &mut Console,
) -> Exit {
    let arguments = match arguments::read(arguments) {
        Read::Command(arguments) => *arguments,
        Read::Shown(text) => {
            console.raw_out(&text);
            return Exit::Done;
        }
        Read::Wrong(wrong) => {
            if wrong.wants_json {
                console.set_json(true);
                console.fail(&Failure::usage(wrong.message, arguments::USAGE_HINT));
            } else {
                console.raw_err(&wrong.text);
            }
            return Exit::Usage;
        }
    };
    console.set_json(arguments.global.json);
    if console.is_read() && !arguments.global.no_pager {
        console.page_with(Pager::chosen(
            &surroundings.variables,
            surroundings::are_rights_lent(),
        ));
    }
    let mut session = Session {
        console,
        surroundings,
        global: arguments.global,
    };
    let ended = arguments.command.run(&mut session).await;
    session.console.read_out();
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            let exit = failure.exit();
            session.console.fail(&failure);
            exit
        }
    }
}
