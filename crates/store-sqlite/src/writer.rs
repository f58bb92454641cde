//! Everything that is written goes through here: many operations, one synced transaction.
//!
//! Operations wait in a queue. Whoever finds nobody working on it starts a worker on a blocking
//! thread (or is the worker, see [`Threads`](crate::Threads)), which takes all that wait, gives each a savepoint inside one transaction, commits, and only
//! then answers each with its own result. While one transaction is synced, the next gathers.
//!
//! An operation that fails takes back its own savepoint and nothing else. When a commit fails, nobody
//! can say what is on disk: every caller is told so, and this process writes no more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_audit::Draft;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::error;

use crate::audit::append;
use crate::changes::{Changes, Touched};
use crate::environment::Environment;
use crate::erased::{Noted, Tombstone};
use crate::error::StoreError;
use crate::filing;
use crate::open::control;

/// Operations in one transaction, at most.
const BATCH: usize = 256;
/// Operations that wait or are under way, at most; further callers wait for their turn.
const WAITING: usize = 1024;

/// One transaction, as an operation sees it.
pub(crate) struct Tx<'c> {
    connection: &'c Connection,
    pub(crate) environment: &'c Environment,
    /// Who should look at what was done.
    touched: RefCell<Touched>,
    /// The keys that an operation erases, until they are listed.
    erased: RefCell<Vec<Tombstone>>,
    /// The lines of this transaction in the list of erased keys.
    noted: RefCell<Option<Noted>>,
}

impl Tx<'_> {
    /// Appends an audit record; what is recorded is worth looking at.
    pub(crate) fn record(&self, at: Timestamp, draft: Draft) -> Result<(), StoreError> {
        let record = append(self.connection, self.environment, at, draft)?;
        filing::file(self.connection, &record)?;
        self.touched.borrow_mut().add(record.subject.account.as_ref());
        Ok(())
    }

    /// Remembers a key that is erased here, for the list beside the store.
    pub(crate) fn erased(&self, key: Tombstone) {
        self.erased.borrow_mut().push(key);
    }

    /// The keys that an operation erases are listed beside the store before they are erased for good: whoever is
    /// killed between has a key that is listed and refused, and never one that is erased and comes back with a copy.
    fn list_erased(&self) -> Result<(), StoreError> {
        let erased = self.erased.take();
        let Some(list) = self
            .environment
            .erased_keys
            .as_ref()
            .filter(|_| !erased.is_empty())
        else {
            return Ok(());
        };
        let mut noted = self.noted.borrow_mut();
        let listed = match noted.as_mut() {
            Some(noted) => noted.add(&erased),
            None => list.note(&erased).map(|new| *noted = Some(new)),
        };
        listed.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => StoreError::Full,
            _ => StoreError::TakenBack {
                detail: format!(
                    "the list of erased keys `{}` cannot be written: {error}",
                    list.path().display()
                ),
            },
        })
    }

    /// Nothing of this transaction is in the store, and so nothing of it stays in the list.
    fn take_back_list(&self) {
        if let Some(noted) = self.noted.take() {
            noted.take_back();
        }
    }
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection
    }
}

pub(crate) struct Writer {
    queue: Mutex<Queue>,
    connection: Mutex<Connection>,
    places: Arc<Semaphore>,
    environment: Environment,
    changes: Arc<Changes>,
    /// Why nothing is written any more, as soon as that is so.
    ended: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn Job>>,
    is_worked_on: bool,
    stopped: Option<String>,
}

/// Nobody knows what is on disk: the worker ends.
struct Stopped;

/// An operation without its types.
trait Job: Send {
    /// What a campaign that kills the process calls it.
    fn name(&self) -> &'static str;
    /// Whether it is to be kept.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// Tells the caller; an error replaces whatever the operation itself returned.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Operation<T, E, F> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
    _place: OwnedSemaphorePermit,
}

impl<T, E, F> Job for Operation<T, E, F>
where
    F: FnOnce(&Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn name(&self) -> &'static str {
        std::any::type_name::<F>()
    }

    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let result = self.work.take().map(|work| work(tx));
        let keep = matches!(result, Some(Ok(_)));
        self.result = result;
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let never_ran = || StoreError::TakenBack {
            detail: "the operation was not reached".to_owned(),
        };
        let answer = match (committed, self.result) {
            (Ok(()), Some(own)) => own,
            (Ok(()), None) => Err(never_ran().into()),
            // Also its own error may rest on what was taken back with it.
            (Err(error), _) => Err(error.into()),
        };
        // A caller that went away does not want its answer.
        drop(self.caller.send(answer));
    }
}

impl Writer {
    pub(crate) fn new(connection: Connection, environment: Environment, changes: Arc<Changes>) -> Self {
        Self {
            queue: Mutex::default(),
            connection: Mutex::new(connection),
            places: Arc::new(Semaphore::new(WAITING)),
            environment,
            changes,
            ended: watch::Sender::new(None),
        }
    }

    /// Waits until nothing is written any more, and says why.
    pub(crate) async fn ended(&self) -> StoreError {
        let mut ended = self.ended.subscribe();
        // The sender lives in `self`: it cannot be gone.
        let why = ended.wait_for(Option::is_some).await;
        StoreError::Stopped {
            detail: why.ok().and_then(|why| why.clone()).unwrap_or_default(),
        }
    }

    pub(crate) async fn write<T, E, F>(self: &Arc<Self>, work: F) -> Result<T, E>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let gone = || StoreError::Stopped {
            detail: "its worker is gone".to_owned(),
        };
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| gone())?;
        let (caller, answer) = oneshot::channel();
        let job = Box::new(Operation {
            work: Some(work),
            result: None,
            caller,
            _place: place,
        });
        self.submit(job)?;
        answer.await.unwrap_or_else(|_| Err(gone().into()))
    }

    fn submit(self: &Arc<Self>, job: Box<dyn Job>) -> Result<(), StoreError> {
        let mut queue = self.queue();
        if let Some(detail) = &queue.stopped {
            return Err(StoreError::Stopped {
                detail: detail.clone(),
            });
        }
        queue.waiting.push_back(job);
        if !queue.is_worked_on {
            queue.is_worked_on = true;
            drop(queue);
            let worker = Worker {
                writer: Arc::clone(self),
                is_done: false,
            };
            self.environment.threads.start(move || worker.run());
        }
        Ok(())
    }

    /// What waits, up to a batch; nothing ends the worker in the same step.
    fn take_batch(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.is_worked_on = false;
            return None;
        }
        let size = queue.waiting.len().min(BATCH);
        Some(queue.waiting.drain(..size).collect())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes next finds room; what failed is asked for again by whoever wanted it.
    fn make_room_after(&self, error: &rusqlite::Error) {
        let Some(ballast) = &self.environment.ballast else {
            return;
        };
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            ballast.drop_it();
        } else {
            // A full disk has other faces too.
            ballast.drop_if_full();
        }
    }

    fn stop(&self, detail: &str) {
        error!(detail, "the store stopped; nothing more is written");
        let waiting = {
            let mut queue = self.queue();
            queue.stopped = Some(detail.to_owned());
            queue.is_worked_on = false;
            std::mem::take(&mut queue.waiting)
        };
        for job in waiting {
            job.answer(Err(StoreError::TakenBack {
                detail: detail.to_owned(),
            }));
        }
        self.ended.send_replace(Some(detail.to_owned()));
    }

    fn commit_batch(&self, connection: &Connection, mut jobs: Vec<Box<dyn Job>>) -> Result<(), Stopped> {
        if let Err(error) = control(connection, "BEGIN IMMEDIATE") {
            answer_all(jobs, || StoreError::taken_back(&error));
            return Ok(());
        }
        let tx = Tx {
            connection,
            environment: &self.environment,
            touched: RefCell::default(),
            erased: RefCell::default(),
            noted: RefCell::default(),
        };
        let mut refused = Vec::with_capacity(jobs.len());
        for job in &mut jobs {
            bursar_points::pending(job.name());
            match run_in_savepoint(&tx, job.as_mut()) {
                Ok(own) => refused.push(own),
                Err(error) => {
                    drop(connection.execute_batch("ROLLBACK"));
                    bursar_points::settle("taken-back", true);
                    tx.take_back_list();
                    self.make_room_after(&error);
                    answer_all(jobs, || StoreError::taken_back(&error));
                    return Ok(());
                }
            }
        }
        if refused
            .iter()
            .flatten()
            .any(|error| matches!(error, StoreError::Full))
            && let Some(ballast) = &self.environment.ballast
        {
            ballast.drop_it();
        }
        let touched = tx.touched.take();
        let counted = match touched {
            Touched::Nobody => Ok(None),
            Touched::Accounts(_) | Touched::Everybody => count_change(connection).map(Some),
        };
        bursar_points::settle("uncommitted", false);
        let committed = counted.and_then(|count| control(connection, "COMMIT").map(|()| count));
        match committed {
            Ok(count) => {
                bursar_points::settle("committed", false);
                if let Some(count) = count {
                    self.changes.publish(count, &touched);
                }
                // Whoever is told may want to add to the list.
                drop(tx.noted.take());
                for (job, refused) in jobs.into_iter().zip(refused) {
                    job.answer(refused.map_or(Ok(()), Err));
                }
                bursar_points::settle("answered", true);
                Ok(())
            }
            Err(error) => {
                let detail = error.to_string();
                drop(connection.execute_batch("ROLLBACK"));
                bursar_points::settle("taken-back", true);
                // A full disk is found before anything is promised; after anything else nobody knows.
                self.make_room_after(&error);
                if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                    tx.take_back_list();
                    answer_all(jobs, || StoreError::taken_back(&error));
                    return Ok(());
                }
                // First of all, so that nobody who is told goes on.
                self.stop(&detail);
                answer_all(jobs, || StoreError::Stopped {
                    detail: detail.clone(),
                });
                Err(Stopped)
            }
        }
    }
}

/// An error means that the engine took back the whole transaction; inside, why only this operation was taken back.
fn run_in_savepoint(tx: &Tx<'_>, job: &mut dyn Job) -> Result<Option<StoreError>, rusqlite::Error> {
    let before = tx.touched.take();
    control(tx, "SAVEPOINT operation")?;
    let is_kept = job.run(tx);
    let listed = if is_kept { tx.list_erased() } else { Ok(()) };
    if is_kept && listed.is_ok() {
        tx.touched.borrow_mut().join(before);
    } else {
        tx.touched.replace(before);
        tx.erased.take();
        control(tx, "ROLLBACK TO operation")?;
    }
    control(tx, "RELEASE operation")?;
    Ok(listed.err())
}

fn count_change(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("UPDATE store SET changes = changes + 1 WHERE id = 1 RETURNING changes")?
        .query_row([], |row| row.get(0))
}

fn answer_all(jobs: Vec<Box<dyn Job>>, error: impl Fn() -> StoreError) {
    for job in jobs {
        job.answer(Err(error()));
    }
}

struct Worker {
    writer: Arc<Writer>,
    is_done: bool,
}

impl Worker {
    fn run(mut self) {
        let writer = Arc::clone(&self.writer);
        let connection = writer.connection.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(batch) = writer.take_batch() {
            if let Err(Stopped) = writer.commit_batch(&connection, batch) {
                break;
            }
        }
        self.is_done = true;
    }
}

impl Drop for Worker {
    /// A worker that could not run to its end (a defect, or a runtime that was shut down) leaves a
    /// transaction that nobody can vouch for.
    fn drop(&mut self) {
        if !self.is_done {
            self.writer.stop("its worker did not finish");
            let connection = self.writer.connection.lock();
            let connection = connection.unwrap_or_else(PoisonError::into_inner);
            // Other processes go on: they must not wait for what nobody will commit.
            if !connection.is_autocommit() {
                drop(connection.execute_batch("ROLLBACK"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
