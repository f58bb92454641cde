//! Trouble that lasts is said when it begins, when it changes and once a minute, not at every try.

use std::time::Duration;

use tokio::time::Instant;

use super::pace::after;

/// After this long the same words are news again.
const AGAIN: Duration = Duration::from_secs(60);

/// What was said last of one kind of trouble.
#[derive(Debug, Default)]
pub(super) struct Said(Option<(String, Instant)>);

impl Said {
    /// Whether this is to be said now; if it is, it counts as said.
    pub(super) fn is_news(&mut self, words: &str) -> bool {
        let is_known =
            (self.0.as_ref()).is_some_and(|(said, until)| said == words && Instant::now() < *until);
        if !is_known {
            self.0 = Some((words.to_owned(), after(AGAIN)));
        }
        !is_known
    }

    /// The trouble is over. Says whether anything had been said of it.
    pub(super) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_words_are_news_once_a_minute_and_after_the_trouble_was_over() {
        let mut said = Said::default();
        assert!(!said.is_over());
        assert!(said.is_news("no route"));
        tokio::time::advance(AGAIN / 2).await;
        assert!(!said.is_news("no route"));
        assert!(said.is_news("maintenance"));
        assert!(said.is_news("no route"));
        tokio::time::advance(AGAIN).await;
        assert!(said.is_news("no route"));
        assert!(!said.is_news("no route"));
        assert!(said.is_over());
        assert!(said.is_news("no route"));
    }
}
