//! Pages of a list of which a store gives the newest: what is older than one of its rows.
//!
//! A store that knows no other beginning than the newest row is asked for more of them until the page is among
//! what it gave.

use crate::Failure;

/// How much more is asked for when it was not enough.
const GROWTH: u32 = 4;

/// The newest rows of a list, newest first.
pub(crate) struct Newest<T> {
    pub(crate) rows: Vec<T>,
    /// Whether there are no others.
    pub(crate) is_all: bool,
}

impl<T> Newest<T> {
    /// What was given of so many that were asked for.
    pub(crate) fn of(rows: Vec<T>, asked: u32) -> Self {
        let is_all = u32::try_from(rows.len()).is_ok_and(|given| given < asked) || asked == u32::MAX;
        Self { rows, is_all }
    }
}

/// Which rows are wanted.
pub(crate) struct Wanted<'a, T> {
    /// The row before the first of the page, in words; without one the newest row is the first.
    pub(crate) before: Option<String>,
    /// Which row that is.
    pub(crate) is_it: &'a (dyn Fn(&T) -> bool + Sync),
    /// How many at most.
    pub(crate) limit: u32,
}

/// A page, and whether there are older rows. `read` gives so many of the newest.
///
/// # Errors
///
/// Where the row before it is not in the list, or the list cannot be read.
pub(crate) async fn page<T>(
    wanted: &Wanted<'_, T>,
    read: impl AsyncFn(u32) -> Result<Newest<T>, Failure>,
) -> Result<(Vec<T>, bool), Failure> {
    // One more than a page, to know whether there is another.
    let mut asked = wanted.limit.saturating_add(1);
    loop {
        if let Some(found) = wanted.cut(read(asked).await?)? {
            return Ok(found);
        }
        asked = asked.saturating_mul(GROWTH);
    }
}

impl<T> Wanted<'_, T> {
    /// The page, if all of it is among the newest rows.
    fn cut(&self, newest: Newest<T>) -> Result<Option<(Vec<T>, bool)>, Failure> {
        let Newest { rows, is_all } = newest;
        let begin = match &self.before {
            None => 0,
            Some(what) => match rows.iter().position(self.is_it) {
                Some(place) => place.saturating_add(1),
                None if is_all => {
                    return Err(Failure::not_found(
                        format!("{what} is not in this list"),
                        "leave `--before` out for the newest; a page says how the next one begins",
                    ));
                }
                None => return Ok(None),
            },
        };
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut page: Vec<T> = rows
            .into_iter()
            .skip(begin)
            .take(limit.saturating_add(1))
            .collect();
        let has_more = page.len() > limit;
        page.truncate(limit);
        Ok((has_more || is_all).then_some((page, has_more)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// The page of a list, as a store hands it out, and the number of rows it was asked for.
    async fn given(all: &[u32], before: Option<u32>, limit: u32) -> Result<(Vec<u32>, bool, u32), Failure> {
        let wanted = Wanted {
            before: before.map(|row| format!("row {row}")),
            is_it: &|row: &u32| Some(*row) == before,
            limit,
        };
        let last = AtomicU32::new(0);
        let (rows, has_more) = page(&wanted, async |asked| {
            last.store(asked, Ordering::Relaxed);
            let rows = all.iter().copied().take(asked.try_into().unwrap()).collect();
            Ok(Newest::of(rows, asked))
        })
        .await?;
        Ok((rows, has_more, last.into_inner()))
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_a_gap_or_a_row_twice() {
        let all: Vec<u32> = (0..100).rev().collect();

        for limit in [1, 7, 99, 100, 101, 1_000] {
            let mut read = Vec::new();
            let mut before = None;
            loop {
                let (rows, has_more, _) = given(&all, before, limit).await.unwrap();
                assert!(rows.len() <= usize::try_from(limit).unwrap());
                read.extend(rows);
                if !has_more {
                    break;
                }
                before = read.last().copied();
            }
            assert_eq!(read, all, "in pages of {limit}");
        }
    }

    #[tokio::test]
    async fn no_more_is_asked_for_than_is_needed() {
        let all: Vec<u32> = (0..100_000).rev().collect();

        assert_eq!(given(&all, None, 50).await.unwrap().2, 51);
        assert_eq!(given(&all, Some(all[60]), 50).await.unwrap().2, 204);
        assert_eq!(given(&[], None, 50).await.unwrap(), (Vec::new(), false, 51));
    }

    #[tokio::test]
    async fn a_row_that_is_not_there_is_said() {
        let Err(failure) = given(&[4, 2], Some(3), 50).await else {
            panic!("there is no row 3");
        };

        assert_eq!(failure.message(), "row 3 is not in this list");
    }
}
