//! `bursar completions` and `bursar man`: the command line, written down for shells and readers.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::arguments::command_tree;
use crate::render::{Page, count};
use crate::session::Session;
use crate::{Exit, Failure};

/// What the shell needs to complete commands, options and values.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar completions bash > /etc/bash_completion.d/bursar
  bursar completions zsh > \"${fpath[1]}/_bursar\"
  bursar completions fish > ~/.config/fish/completions/bursar.fish")]
pub struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, session: &mut Session<'_>) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command_tree(), "bursar", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        let mut page = Page::new();
        page.line(script.trim_end());
        session.console.answer(
            &page,
            &json!({ "shell": self.shell.to_string(), "script": script }),
        );
        Exit::Done
    }
}

/// The manual of the whole command line, or of one command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar man | man -l -
  bursar man order place | man -l -
  bursar man --folder /usr/local/share/man/man1")]
pub struct Man {
    /// The command, word by word; all of it without one
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write a page for each command into this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(&self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let mut root = command_tree();
        root.build();
        match &self.folder {
            Some(folder) => write_all(&root, folder, session),
            None => {
                let page = manual(named(&root, &self.command)?)?;
                let mut shown = Page::new();
                shown.line(page.trim_end());
                let document = json!({ "command": self.command.join(" "), "manual": page });
                session.console.answer(&shown, &document);
                Ok(Exit::Done)
            }
        }
    }
}

fn named<'c>(root: &'c clap::Command, words: &[String]) -> Result<&'c clap::Command, Failure> {
    let mut command = root;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            Failure::new(
                Exit::NotFound,
                format!("there is no command `bursar {}`", words.join(" ")),
                "see `bursar --help`",
            )
        })?;
    }
    Ok(command)
}

/// In the format of manual pages.
fn manual(command: &clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| Failure::of(Exit::Failed, &error, "report this"))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// `bursar-order-place.1` and so on, in place of what was there.
fn write_all(root: &clap::Command, folder: &Path, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let mut files = Vec::new();
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        commands.extend(
            command
                .get_subcommands()
                .filter(|below| below.get_name() != "help"),
        );
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let file = folder.join(format!("{name}.1"));
        let page = manual(command)?;
        std::fs::write(&file, page).map_err(|error| {
            let hint = "name a folder that is there and can be written";
            Failure::of(Exit::Failed, &error, hint).while_doing(&format!("writing {}", file.display()))
        })?;
        files.push(file);
    }
    files.sort();
    let mut page = Page::new();
    page.line(format!(
        "{} in {}",
        count(files.len(), "page", "pages"),
        folder.display()
    ));
    session.console.answer(&page, &json!({ "files": files }));
    Ok(Exit::Done)
}
