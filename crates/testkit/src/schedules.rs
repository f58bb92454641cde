//! Every order in which a few tasks can take turns.
//!
//! A checker for structures that several tasks share: [`every_schedule`] lets the tasks run once for each
//! order there is, from the beginning each time. A task gives up its turn where it waits; [`turn`] is a
//! place to do so between two steps of its own. What happens between two such places is one step, as it is
//! in the structures that are checked: each of their operations holds one lock from its beginning to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// One of the tasks that take turns.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Lets the others have a turn.
pub async fn turn() {
    let mut had = false;
    std::future::poll_fn(|context| {
        if had {
            return Poll::Ready(());
        }
        had = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Makes the tasks anew for each order of turns, runs them to their ends, and then what `begin` returned with
/// them; says how many orders there were. An assertion that fails prints the turns that led to it.
///
/// # Panics
///
/// When the tasks of some order wait for each other for ever, and when there are more than 10 million orders.
pub fn every_schedule<C: FnOnce()>(mut begin: impl FnMut() -> (Vec<Task>, C)) -> usize {
    // The turns of the run before, and of how many each was chosen.
    let mut path: Vec<(usize, usize)> = Vec::new();
    let mut schedules = 0;
    loop {
        let (tasks, check) = begin();
        let mut told = Told { turns: Vec::new() };
        run(tasks, &mut path, &mut told.turns);
        check();
        told.turns.clear();
        schedules += 1;
        assert!(schedules <= 10_000_000, "too many orders to try");
        // The last turn at which another task could have gone.
        while path.last().is_some_and(|(chosen, of)| chosen + 1 == *of) {
            path.pop();
        }
        match path.last_mut() {
            Some((chosen, _)) => *chosen += 1,
            None => return schedules,
        }
    }
}

/// Takes the turns of `path`, and after its end always the first task that can go, which is noted.
fn run(tasks: Vec<Task>, path: &mut Vec<(usize, usize)>, turns: &mut Vec<usize>) {
    let mut going: Vec<Player> = tasks.into_iter().enumerate().map(Player::new).collect();
    while !going.is_empty() {
        let mut ready: Vec<&mut Player> = going.iter_mut().filter(|player| player.can_go()).collect();
        assert!(!ready.is_empty(), "the tasks wait for each other after {turns:?}");
        let (chosen, of) = match path.get(turns.len()) {
            Some(known) => *known,
            None => (0, ready.len()),
        };
        if path.len() == turns.len() {
            path.push((chosen, of));
        }
        assert_eq!(of, ready.len(), "the same turns {turns:?} led elsewhere");
        let player = ready.swap_remove(chosen);
        let number = player.number;
        turns.push(number);
        if player.goes() {
            going.retain(|other| other.number != number);
        }
    }
}

struct Player {
    number: usize,
    task: Task,
    bell: Arc<Bell>,
}

impl Player {
    fn new((number, task): (usize, Task)) -> Self {
        Self {
            number,
            task,
            bell: Arc::new(Bell(AtomicBool::new(true))),
        }
    }

    fn can_go(&self) -> bool {
        self.bell.0.load(Ordering::SeqCst)
    }

    /// Until it gives up its turn; says whether it came to its end.
    fn goes(&mut self) -> bool {
        self.bell.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.bell));
        self.task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    }
}

/// Whether a task was woken since it went last.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Tells the turns when an assertion fails.
struct Told {
    turns: Vec<usize>,
}

impl Drop for Told {
    #[expect(
        clippy::print_stderr,
        reason = "whoever reads the failure has to know the turns"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the tasks took their turns in this order: {:?}", self.turns);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use super::*;

    fn letters(text: &'static str, seen: &Rc<RefCell<String>>) -> Task {
        let seen = Rc::clone(seen);
        Box::pin(async move {
            for letter in text.chars() {
                seen.borrow_mut().push(letter);
                turn().await;
            }
        })
    }

    #[test]
    fn every_order_is_tried_and_each_keeps_the_order_of_its_task() {
        let orders = RefCell::new(BTreeSet::new());

        every_schedule(|| {
            let seen = Rc::new(RefCell::new(String::new()));
            let tasks = vec![letters("ab", &seen), letters("xy", &seen)];
            let orders = &orders;
            (tasks, move || {
                orders.borrow_mut().insert(seen.borrow().clone());
            })
        });

        let expected = ["abxy", "axby", "axyb", "xaby", "xayb", "xyab"];
        assert_eq!(
            orders.into_inner(),
            expected.map(str::to_owned).into_iter().collect()
        );
    }

    #[test]
    fn a_read_and_a_write_with_a_turn_between_lose_an_update_in_some_order() {
        let fewest = Cell::new(u32::MAX);

        every_schedule(|| {
            let count = Rc::new(Cell::new(0_u32));
            let add = || -> Task {
                let count = Rc::clone(&count);
                Box::pin(async move {
                    let known = count.get();
                    turn().await;
                    count.set(known + 1);
                })
            };
            let tasks = vec![add(), add(), add()];
            let fewest = &fewest;
            (tasks, move || fewest.set(fewest.get().min(count.get())))
        });

        assert_eq!(fewest.get(), 1);
    }

    #[test]
    #[should_panic(expected = "wait for each other")]
    fn tasks_that_wait_for_each_other_are_found() {
        every_schedule(|| {
            let (one, two) = (
                Rc::new(tokio::sync::Mutex::new(())),
                Rc::new(tokio::sync::Mutex::new(())),
            );
            let both = |first: &Rc<tokio::sync::Mutex<()>>, second: &Rc<tokio::sync::Mutex<()>>| -> Task {
                let (first, second) = (Rc::clone(first), Rc::clone(second));
                Box::pin(async move {
                    let _first = first.lock().await;
                    turn().await;
                    let _second = second.lock().await;
                })
            };
            (vec![both(&one, &two), both(&two, &one)], || {})
        });
    }
}
