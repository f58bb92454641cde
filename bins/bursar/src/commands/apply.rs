//! `bursar apply`: a whole list of users, whose changes are shown before they are made.

pub(crate) mod outcome;

use clap::Args;

use crate::commands::apply::outcome::{answer_done, answer_plan, plan_page};
use crate::commands::onboarding::{KeyOutcome, ListArguments};
use crate::progress::Progress;
use crate::render::count;
use crate::session::Session;
use crate::{Exit, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
The file is as for `bursar setup`: a list of users, as JSON or TOML. What a user has and the file does not name
stays. Users, accounts, limits and settings are written together or not at all; then the exchange is asked about
one key after the other. An account that has a key keeps it. Run it again after a key was refused: it goes on
where it was.

A file that holds exchange keys is refused. Pipe it in, take the keys from the environment, or type them.

Examples:
  bursar apply config/users/retail_kraken.json --plan
  bursar apply config/users/retail_kraken.json --from-env --yes
  generate-users | bursar apply - --yes")]
pub struct Apply {
    #[command(flatten)]
    list: ListArguments,
    /// Only show what would be new, change and stay
    #[arg(long)]
    plan: bool,
}

impl Apply {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let (opened, list) = self.list.looked_at(session).await?;
        if self.plan {
            answer_plan(&list.rows, session);
            return Ok(Exit::Done);
        }
        session.console.say(plan_page(&list.rows).as_str());
        list.ask_about_looser(session)?;
        let (rows, mut keys) = list.write(&opened, session).await?;
        session.console.say(&format!(
            "{} written",
            count(rows.len(), "entry is", "entries are")
        ));
        let of = keys.count();
        let mut progress = Progress::beside_lines(session.console, "keys shown to their exchanges");
        let mut number: usize = 0;
        let mut outcomes = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let is_given = keys.is_given(index);
            if is_given {
                number = number.saturating_add(1);
                let account = &row.plan.account_id;
                session.console.say(&format!("key {number} of {of}: `{account}`"));
            }
            outcomes.push(keys.admit(index, row, &opened, session).await?);
            if is_given {
                progress.at(session.console, number, of);
            }
        }
        drop(progress);
        let is_partial = outcomes.iter().any(KeyOutcome::is_missing);
        answer_done(&rows, &outcomes, session);
        Ok(if is_partial { Exit::Partial } else { Exit::Done })
    }
}
