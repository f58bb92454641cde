//! Visits every moment that a world can come to, nearest first, and keeps how each was come to first.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bursar_model::IntentState;
use serde_json::{Value, json};

use crate::gateway::{Gateway, TakenRow};
use crate::grid::Config;
use crate::oracle::Broken;
use crate::steps::{Event, next};
use crate::world::World;

/// The number of a moment, in the order in which they are found.
type Id = u32;

/// What has become of the orders at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Each is at the exchange, as far as is known, or over, or was never asked for.
    Resolved,
    /// One is not resolved, and there is time for it before the clock ends.
    InTime,
    /// One is not resolved, and no proof of its absence fits in before the clock ends.
    OutOfTime,
    /// One may be at an exchange that never says that it is too late: only people can tell (class C).
    ForPeople,
    /// A rule is broken; nothing after it is looked at.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) times: u64,
    /// How many moments were known when it was found first.
    pub(crate) states: usize,
    /// The fewest steps that lead to it.
    pub(crate) path: Vec<Event>,
}

#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) violations: BTreeMap<Broken, Violation>,
    /// Moments in time from which no step leads to one in which everything is resolved.
    pub(crate) stuck: usize,
    pub(crate) stuck_path: Vec<Event>,
    pub(crate) for_people: usize,
    pub(crate) taken: BTreeSet<TakenRow>,
    pub(crate) events: BTreeSet<String>,
}

/// A moment is some hundred small fields. Mixed with one multiplication each, a whole search takes a third of the
/// time that it takes with the hasher by which the standard library is safe from strangers.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_isize(&mut self, discriminant: isize) {
        self.write_u64(discriminant.unsigned_abs().try_into().unwrap_or(u64::MAX));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

struct Search {
    known: HashMap<World, Id, BuildHasherDefault<Mixed>>,
    /// By which step, out of which moment, each was come to first.
    came_by: Vec<(Id, Event)>,
    standings: Vec<Standing>,
    /// Of the moments that were visited, in their order: where their steps begin, and where these lead.
    begins: Vec<usize>,
    leads: Vec<Id>,
    violations: BTreeMap<Broken, Violation>,
    events: BTreeSet<String>,
}

/// Visits everything, or ends as soon as each of `wanted` was found.
pub(crate) fn explore(config: &Config, wanted: Option<&[Broken]>) -> Explored {
    let gateway = Gateway::new(*config);
    let mut search = Search {
        known: HashMap::default(),
        came_by: Vec::new(),
        standings: Vec::new(),
        begins: Vec::new(),
        leads: Vec::new(),
        violations: BTreeMap::new(),
        events: BTreeSet::new(),
    };
    let mut seen_events = BTreeSet::new();
    let mut waiting = VecDeque::new();
    let first = World::at_the_beginning();
    search.meet(first, (0, Event::Tick), standing(config, &gateway, &first));
    waiting.push_back(first);
    let is_found = |search: &Search| {
        wanted.is_some_and(|wanted| wanted.iter().all(|broken| search.violations.contains_key(broken)))
    };
    let mut number: Id = 0;
    while let Some(world) = waiting.pop_front() {
        search.begins.push(search.leads.len());
        if search.standing(number) != Standing::Broken {
            for step in next(config, &gateway, &world) {
                seen_events.insert(step.event);
                let known = search.known.get(&step.world).copied();
                let id = known.unwrap_or_else(|| {
                    // What follows from a request that should not have been written is looked at too.
                    let goes_on = |broken: &Broken| *broken == Broken::SentAfterSwitch;
                    let standing = if step.broken.iter().all(goes_on) {
                        standing(config, &gateway, &step.world)
                    } else {
                        Standing::Broken
                    };
                    waiting.push_back(step.world);
                    search.meet(step.world, (number, step.event), standing)
                });
                search.leads.push(id);
                for broken in step.broken {
                    search.violate(broken, number, step.event);
                }
            }
        }
        if is_found(&search) {
            break;
        }
        number += 1;
    }
    search.events = seen_events.iter().map(ToString::to_string).collect();
    search.judged(&gateway)
}

/// How the orders stand, and whether there is time left for what the slowest proof takes.
fn standing(config: &Config, gateway: &Gateway, world: &World) -> Standing {
    let mut worst = Standing::Resolved;
    for row in world.rows.0.iter().flatten() {
        let standing = match (row.state, row.attempt) {
            (IntentState::Dispatching | IntentState::Unknown, Some(attempt)) => {
                match gateway.first_look_that_counts(attempt.sent_at) {
                    None => return Standing::ForPeople,
                    Some(first) if first.max(world.now) < config.horizon => Standing::InTime,
                    Some(_) => return Standing::OutOfTime,
                }
            }
            (state, _) if state.is_terminal() || state == IntentState::Open => Standing::Resolved,
            _ => Standing::InTime,
        };
        if standing != Standing::Resolved {
            worst = standing;
        }
    }
    worst
}

impl Search {
    fn meet(&mut self, world: World, came_by: (Id, Event), standing: Standing) -> Id {
        let id = Id::try_from(self.known.len()).expect("fewer moments than four thousand million");
        self.known.insert(world, id);
        self.came_by.push(came_by);
        self.standings.push(standing);
        id
    }

    fn standing(&self, id: Id) -> Standing {
        self.standings[usize::try_from(id).unwrap()]
    }

    fn violate(&mut self, broken: Broken, from: Id, event: Event) {
        if let Some(known) = self.violations.get_mut(&broken) {
            known.times += 1;
            return;
        }
        let mut path = self.path(from);
        path.push(event);
        let violation = Violation {
            times: 1,
            states: self.known.len(),
            path,
        };
        self.violations.insert(broken, violation);
    }

    fn path(&self, mut id: Id) -> Vec<Event> {
        let mut path = Vec::new();
        while id != 0 {
            let (before, event) = self.came_by[usize::try_from(id).unwrap()];
            path.push(event);
            id = before;
        }
        path.reverse();
        path
    }

    fn judged(mut self, gateway: &Gateway) -> Explored {
        let resolvable = self.resolvable();
        let is_stuck = |id: &usize| {
            self.standings[*id] == Standing::InTime && !resolvable[*id] && *id + 1 < self.begins.len()
        };
        let stuck: Vec<usize> = (0..self.standings.len()).filter(is_stuck).collect();
        let stuck_path = (stuck.first()).map_or_else(Vec::new, |id| self.path(Id::try_from(*id).unwrap()));
        let for_people = |standing: &&Standing| **standing == Standing::ForPeople;
        Explored {
            states: self.known.len(),
            transitions: self.leads.len(),
            stuck: stuck.len(),
            stuck_path,
            for_people: self.standings.iter().filter(for_people).count(),
            violations: std::mem::take(&mut self.violations),
            taken: gateway.taken(),
            events: self.events,
        }
    }

    /// From which moments a resolved one can still be come to. Steps mostly lead to moments that were found later,
    /// so a few rounds from the last to the first are enough.
    fn resolvable(&mut self) -> Vec<bool> {
        self.begins.push(self.leads.len());
        let mut resolvable: Vec<bool> = (self.standings.iter())
            .map(|standing| *standing == Standing::Resolved)
            .collect();
        let mut changed = true;
        while changed {
            changed = false;
            for id in (0..self.begins.len() - 1).rev() {
                if resolvable[id] {
                    continue;
                }
                let leads = &self.leads[self.begins[id]..self.begins[id + 1]];
                if leads.iter().any(|to| resolvable[usize::try_from(*to).unwrap()]) {
                    resolvable[id] = true;
                    changed = true;
                }
            }
        }
        resolvable
    }
}

impl Explored {
    /// One line for people and programs.
    pub(crate) fn line(&self, config: &Config) -> Value {
        let violations: BTreeMap<String, u64> = (self.violations.iter())
            .map(|(broken, violation)| (broken.to_string(), violation.times))
            .collect();
        json!({
            "name": config.name,
            "horizon": config.horizon,
            "states": self.states,
            "transitions": self.transitions,
            "violations": violations,
            "stuck": self.stuck,
            "for_people": self.for_people,
        })
    }
}

/// A path as one text.
pub(crate) fn told(path: &[Event]) -> String {
    let steps: Vec<String> = path.iter().map(ToString::to_string).collect();
    steps.join(" > ")
}
