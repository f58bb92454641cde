//! How messages to people fare.

use bursar_config::Settings;
use bursar_notify::{ChannelKind, ChannelState};
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{self, Cell, Page, Tone, moment};

fn set_up(settings: &Settings) -> Vec<ChannelKind> {
    let notify = &settings.notify;
    let all = [
        (ChannelKind::Email, notify.email.host.is_some()),
        (ChannelKind::Webhook, notify.webhook.url.is_some()),
        (ChannelKind::Telegram, notify.telegram.token_file.is_some()),
    ];
    all.into_iter()
        .filter_map(|(kind, is_on)| is_on.then_some(kind))
        .collect()
}

/// The channels that are set up, and what waits in all.
pub(crate) fn notices_cell(settings: &Settings, states: &[ChannelState]) -> Cell {
    let channels: Vec<String> = set_up(settings).iter().map(ToString::to_string).collect();
    if channels.is_empty() {
        return Cell::new("off").tone(Tone::Dim);
    }
    let waiting: u64 = states.iter().map(|state| state.waiting).sum();
    let waiting = match waiting {
        0 => String::new(),
        waiting => format!(
            ", {} waiting",
            render::count(
                usize::try_from(waiting).unwrap_or(usize::MAX),
                "message",
                "messages"
            )
        ),
    };
    Cell::new(format!("by {}{waiting}", channels.join(", ")))
}

/// A channel whose last attempt failed must be seen: what it should have told is nowhere else.
pub(crate) fn notices_in_trouble(page: &mut Page, settings: &Settings, states: &[ChannelState]) {
    let set_up = set_up(settings);
    for state in states.iter().filter(|state| set_up.contains(&state.channel)) {
        if let Some(failure) = &state.last_failure
            && state
                .last_delivered_at
                .is_none_or(|delivered| delivered < failure.at)
        {
            page.line(render::caution(&format!(
                "notifications by {} fail since {}: {} ({} given up); try `bursar notify test`",
                state.channel,
                moment(failure.at),
                render::harmless(&failure.why),
                state.given_up
            )));
        }
    }
}

/// How messages to people fare.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Notifications")]
pub(crate) struct NoticesDocument<'a> {
    /// The channels that are set up.
    channels: Vec<ChannelKind>,
    queue: &'a [ChannelState],
}

pub(crate) fn notices_json<'a>(settings: &Settings, states: &'a [ChannelState]) -> NoticesDocument<'a> {
    NoticesDocument {
        channels: set_up(settings),
        queue: states,
    }
}
