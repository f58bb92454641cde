//! Everything that can happen next, as a list: one entry for each step of a process, a caller, the network, the
//! exchange and the clock.

use strum::Display;

use crate::gateway::Gateway;
use crate::grid::Config;
use crate::oracle::{self, Broken};
use crate::world::{Number, World};
use crate::{exchange, process, switch};

/// What happened, for the story of a broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Event {
    Admitted,
    Denied,
    CallerTakesBack,
    #[strum(to_string = "picks-up({process})")]
    PicksUp {
        process: Number,
    },
    #[strum(to_string = "finds-it-changed({process})")]
    FindsItChanged {
        process: Number,
    },
    #[strum(to_string = "expires({process})")]
    Expires {
        process: Number,
    },
    #[strum(to_string = "may-not-send({process})")]
    MayNotSend {
        process: Number,
    },
    #[strum(to_string = "records-attempt({process})")]
    RecordsAttempt {
        process: Number,
    },
    #[strum(to_string = "writes({process})")]
    Writes {
        process: Number,
    },
    #[strum(to_string = "writes-unrecorded({process})")]
    WritesUnrecorded {
        process: Number,
    },
    #[strum(to_string = "says-not-sent({process})")]
    SaysNotSent {
        process: Number,
    },
    #[strum(to_string = "times-out({process})")]
    TimesOut {
        process: Number,
    },
    #[strum(to_string = "hears-answer({process})")]
    HearsAnswer {
        process: Number,
    },
    #[strum(to_string = "sends-again({process})")]
    SendsAgain {
        process: Number,
    },
    #[strum(to_string = "finds-it({process})")]
    FindsIt {
        process: Number,
    },
    #[strum(to_string = "finds-nothing({process})")]
    FindsNothing {
        process: Number,
    },
    #[strum(to_string = "proves-absent({process})")]
    ProvesAbsent {
        process: Number,
    },
    #[strum(to_string = "reads-how-it-ended({process})")]
    ReadsHowItEnded {
        process: Number,
    },
    #[strum(to_string = "is-killed({process})")]
    IsKilled {
        process: Number,
    },
    #[strum(to_string = "starts({process})")]
    Starts {
        process: Number,
    },
    SwitchTurnedOn,
    SwitchTakesBack,
    #[strum(to_string = "hears-of-switch({process})")]
    HearsOfSwitch {
        process: Number,
    },
    #[strum(to_string = "lists-working({process})")]
    ListsWorking {
        process: Number,
    },
    #[strum(to_string = "judges-list({process})")]
    JudgesList {
        process: Number,
    },
    RequestLost,
    RequestDoubled,
    RequestArrives,
    ExchangeDoubts,
    ExchangeRefuses,
    ExchangeAccepts,
    AnswerLost,
    OrderEnds,
    Tick,
}

pub(crate) struct Next {
    pub(crate) event: Event,
    pub(crate) world: World,
    pub(crate) broken: Vec<Broken>,
}

/// Collects the steps out of one moment.
pub(crate) struct Steps<'m> {
    pub(crate) gateway: &'m Gateway,
    config: &'m Config,
    before: World,
    found: Vec<Next>,
}

impl Steps<'_> {
    pub(crate) fn add(&mut self, event: Event, after: World) {
        self.add_broken(event, after, None);
    }

    /// With a rule that the step itself breaks.
    pub(crate) fn add_broken(&mut self, event: Event, after: World, broken: Option<Broken>) {
        let world = after.tidied(self.config);
        let mut broken: Vec<Broken> = broken.into_iter().collect();
        oracle::judge(self.config, &self.before, &world, &mut broken);
        self.found.push(Next { event, world, broken });
    }
}

/// Every step that is possible at this moment.
pub(crate) fn next(config: &Config, gateway: &Gateway, world: &World) -> Vec<Next> {
    let mut steps = Steps {
        gateway,
        config,
        before: *world,
        found: Vec::new(),
    };
    for intent in 0..config.intents {
        process::callers(&mut steps, world, intent);
        exchange::end(&mut steps, world, intent);
    }
    if config.switch {
        switch::people(&mut steps, world, config.intents);
    }
    for process in 0..config.processes {
        if !world.processes[process].is_up {
            process::start(&mut steps, world, process);
            continue;
        }
        process::kill(&mut steps, world, process);
        switch::hear(&mut steps, world, process);
        if world.switched_on.is_some() && !world.is_halted {
            switch::list(&mut steps, config, world, process);
        }
        for intent in 0..config.intents {
            if let Some(row) = world.rows[intent] {
                process::desk(&mut steps, world, process, intent, &row);
            }
        }
    }
    for (place, request) in world.requests.iter().enumerate() {
        if let Some(request) = request {
            exchange::carry(&mut steps, config, world, place, *request);
        }
    }
    for (place, answer) in world.answers.iter().enumerate() {
        if let Some(answer) = answer {
            exchange::lose_answer(&mut steps, world, place);
            process::conclude(&mut steps, world, place, *answer);
        }
    }
    exchange::tick(&mut steps, config, world);
    steps.found
}
