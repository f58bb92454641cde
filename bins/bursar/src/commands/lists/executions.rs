//! Executions, newest first, page by page.

use std::fmt;
use std::str::FromStr;

use bursar_execution::{BookedFill, Reports};
use bursar_model::{AccountId, FillId, InvalidId, UserId};

use crate::Failure;
use crate::older::{self, Newest, Wanted};
use crate::session::Opened;

/// An execution, written `ACCOUNT/FILL`: two accounts may have an execution of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    account: AccountId,
    fill: FillId,
}

impl Execution {
    fn of(booked: &BookedFill) -> Self {
        Self {
            account: booked.fill.account.clone(),
            fill: booked.fill.fill.id.clone(),
        }
    }

    fn is(&self, booked: &BookedFill) -> bool {
        booked.fill.account == self.account && booked.fill.fill.id == self.fill
    }
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.fill)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnExecution {
    #[error("write it as ACCOUNT/FILL, as `next_before` and the end of a page do")]
    NoAccount,
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl FromStr for Execution {
    type Err = NotAnExecution;

    fn from_str(text: &str) -> Result<Self, NotAnExecution> {
        // The first: an account has none in its name, and an exchange may write what it likes.
        let (account, fill) = text.split_once('/').ok_or(NotAnExecution::NoAccount)?;
        Ok(Self {
            account: account.parse()?,
            fill: fill.parse()?,
        })
    }
}

/// A page of them, and what the next one begins after.
pub(super) async fn page(
    account: Option<&AccountId>,
    user: Option<&UserId>,
    before: Option<&Execution>,
    limit: u32,
    opened: &Opened,
) -> Result<(Vec<BookedFill>, Option<Execution>), Failure> {
    let wanted = Wanted {
        before: before.map(|before| format!("execution `{before}`")),
        is_it: &|booked: &BookedFill| before.is_some_and(|before| before.is(booked)),
        limit,
    };
    let (fills, has_more) = older::page(&wanted, async |asked| {
        let fills = opened.store.fills(account, user, asked).await?;
        Ok(Newest::of(fills, asked))
    })
    .await?;
    let next = fills.last().filter(|_| has_more).map(Execution::of);
    Ok((fills, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_named_with_its_account() {
        let read = |text: &str| text.parse::<Execution>();

        assert_eq!(
            read("kraken-ilves/T1/2").unwrap().to_string(),
            "kraken-ilves/T1/2"
        );
        assert_eq!(read("kraken-ilves/T1/2").unwrap().fill.as_str(), "T1/2");
        for text in ["TABCDE", "/T1", "kraken-ilves/", "Kraken/T1"] {
            assert!(read(text).is_err(), "`{text}` was read");
        }
    }
}
