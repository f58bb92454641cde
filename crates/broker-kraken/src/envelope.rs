//! What every answer of Kraken's is wrapped in.

use bursar_broker::{CancelError, CancelOutcome, ErrorClass, PlaceError, ReadError};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::catalogue::{Finding, OnCancel, OnPlace, OnRead, is_of_number, judge};
use crate::text::on_one_line;
use crate::transport::{NoReply, Reply};

/// An answer, read as far as its wrapping goes.
#[derive(Debug)]
pub(crate) enum Answer {
    Success(Box<RawValue>),
    Errors(Vec<String>),
    /// Not Kraken's envelope, or an empty one, or not the status that belongs to it.
    Odd {
        class: ErrorClass,
        reason: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    error: Vec<String>,
    result: Option<Box<RawValue>>,
}

/// Reads the wrapping of a complete answer.
pub(crate) fn open(reply: &Reply) -> Answer {
    let odd = |class, reason| Answer::Odd { class, reason };
    let envelope: Option<Envelope> = serde_json::from_slice(&reply.body).ok();
    match (reply.status, envelope) {
        (200, Some(envelope)) => unwrap(envelope),
        (200, None) => odd(
            ErrorClass::Ambiguous,
            "the answer is not JSON as Kraken writes it".into(),
        ),
        (300..=399, _) => odd(
            ErrorClass::Security,
            format!("HTTP status {}: a redirect is not followed", reply.status),
        ),
        // Too many requests at the edge: whether the exchange saw this one is not said.
        (429, _) => odd(ErrorClass::Rate, "HTTP status 429".into()),
        (400..=499, Some(envelope)) if envelope.error.iter().any(|text| !is_warning(text)) => {
            unwrap(envelope)
        }
        (status, _) => odd(ErrorClass::Ambiguous, format!("HTTP status {status}")),
    }
}

/// As [`open`], for a list of which a part may be missing: its result counts beside errors that say
/// only that.
pub(crate) fn open_in_part(reply: &Reply, is_of_a_part: impl Fn(&str) -> bool) -> Answer {
    let envelope: Option<Envelope> = serde_json::from_slice(&reply.body).ok();
    match envelope {
        Some(Envelope {
            error,
            result: Some(result),
        }) if reply.status == 200
            && !holds_nothing(&result)
            && error.iter().any(|text| is_of_a_part(text))
            && error.iter().all(|text| is_warning(text) || is_of_a_part(text)) =>
        {
            Answer::Success(result)
        }
        _ => open(reply),
    }
}

/// Whether the exchange took the number of the request; `None` where the answer does not tell.
pub(crate) fn took_number(reply: &Reply) -> Option<bool> {
    let envelope: Envelope = serde_json::from_slice(&reply.body).ok()?;
    let mut errors = envelope.error.iter().filter(|text| !is_warning(text)).peekable();
    if errors.peek().is_none() {
        return (reply.status == 200).then_some(true);
    }
    errors.any(|text| is_of_number(text)).then_some(false)
}

fn unwrap(envelope: Envelope) -> Answer {
    let (warnings, errors): (Vec<String>, Vec<String>) =
        envelope.error.into_iter().partition(|text| is_warning(text));
    for warning in &warnings {
        let warning = on_one_line(warning);
        tracing::warn!(%warning, "kraken warns");
    }
    match (errors.is_empty(), envelope.result) {
        (true, Some(result)) => Answer::Success(result),
        (true, None) => Answer::Odd {
            class: ErrorClass::Ambiguous,
            reason: "neither an error nor a result".into(),
        },
        // Says that it did not do it, and what it did: only a look tells.
        (false, Some(result)) if !holds_nothing(&result) => Answer::Odd {
            class: ErrorClass::Ambiguous,
            reason: format!(
                "both an error and a result: `{}`",
                on_one_line(&errors.join("`, `"))
            ),
        },
        (false, _) => Answer::Errors(errors),
    }
}

/// Beside an error Kraken sometimes sends an empty object.
fn holds_nothing(result: &RawValue) -> bool {
    let text: String = result.get().split_whitespace().collect();
    text == "{}" || text == "[]"
}

fn is_warning(text: &str) -> bool {
    text.trim_start().starts_with('W')
}

/// The result of a reading, as `T`.
pub(crate) fn read<T: DeserializeOwned>(
    call: &str,
    answer: &Answer,
    venue_now: Timestamp,
) -> Result<T, ReadError> {
    match answer {
        Answer::Success(result) => {
            serde_json::from_str(result.get()).map_err(|error| unreadable(call, error))
        }
        Answer::Errors(errors) => Err(read_error(judge(errors, venue_now))),
        Answer::Odd { class, reason } => Err(ReadError::TryAgain {
            class: *class,
            reason: format!("{call}: {reason}"),
            wait: (*class == ErrorClass::Rate).then_some(EDGE_PAUSE),
        }),
    }
}

/// How long to leave the edge alone after HTTP status 429, which names no time.
const EDGE_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);

pub(crate) fn unreadable(call: &str, reason: impl std::fmt::Display) -> ReadError {
    ReadError::Unreadable {
        call: call.to_owned(),
        reason: reason.to_string().chars().take(200).collect(),
    }
}

pub(crate) fn read_error(finding: Finding) -> ReadError {
    match finding.row.read {
        OnRead::Again => ReadError::TryAgain {
            class: finding.row.class,
            reason: format!("`{}`", finding.code),
            wait: finding.wait,
        },
        OnRead::Refused => ReadError::Refused {
            class: finding.row.class,
            code: finding.code,
        },
    }
}

pub(crate) fn unread(no_reply: NoReply) -> ReadError {
    match no_reply {
        NoReply::NotSent { class, reason } | NoReply::Lost { class, reason } => ReadError::TryAgain {
            class,
            reason,
            wait: None,
        },
    }
}

pub(crate) fn place_error(finding: Finding) -> PlaceError {
    let class = finding.row.class;
    let code = finding.code;
    match finding.row.place {
        OnPlace::Refused => PlaceError::Refused { class, code },
        OnPlace::Throttled => PlaceError::Throttled {
            code,
            wait: finding.wait.unwrap_or_default(),
            of: finding.row.throttles(),
        },
        OnPlace::Unknown => PlaceError::Unknown {
            class,
            reason: format!("`{code}`"),
        },
        OnPlace::AlreadyThere => PlaceError::AlreadyThere { code },
    }
}

/// What a complete answer to a cancel says.
pub(crate) fn cancelled(answer: &Answer, venue_now: Timestamp) -> Result<CancelOutcome, CancelError> {
    #[derive(Deserialize)]
    struct Cancelled {
        count: crate::text::Text,
    }
    let again = |class, reason, wait| Err(CancelError::TryAgain { class, reason, wait });
    match answer {
        Answer::Success(result) => {
            let count = serde_json::from_str::<Cancelled>(result.get()).ok();
            match count.and_then(|cancelled| cancelled.count.unsigned().ok()) {
                Some(0) => Ok(CancelOutcome::NotWorking),
                Some(_) => Ok(CancelOutcome::Taken),
                None => again(
                    ErrorClass::Ambiguous,
                    "the answer does not count what was cancelled".into(),
                    None,
                ),
            }
        }
        Answer::Errors(errors) => {
            let finding = judge(errors, venue_now);
            match finding.row.cancel {
                OnCancel::Taken => Ok(CancelOutcome::Taken),
                OnCancel::NotWorking => Ok(CancelOutcome::NotWorking),
                OnCancel::Again => again(finding.row.class, format!("`{}`", finding.code), finding.wait),
                OnCancel::Refused => Err(CancelError::Refused {
                    class: finding.row.class,
                    code: finding.code,
                }),
            }
        }
        Answer::Odd { class, reason } => again(*class, reason.clone(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(status: u16, body: &str) -> Answer {
        open(&Reply {
            status,
            body: body.as_bytes().to_vec(),
        })
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_772_000_000).unwrap()
    }

    #[test]
    fn a_warning_is_a_success() {
        let answer = opened(200, r#"{"error":["WDatabase:No change"],"result":{"a":1}}"#);

        assert!(matches!(answer, Answer::Success(result) if result.get() == r#"{"a":1}"#));
    }

    #[test]
    fn what_is_neither_is_odd() {
        for body in [
            r#"{"error":[]}"#,
            r#"{"error":[],"result":null}"#,
            "",
            "<html>",
            "[]",
            r#"{"result":{}}"#,
            r#"{"error":["EOrder:Insufficient funds"],"result":{"txid":["OABCDE-12345-FGHIJK"]}}"#,
        ] {
            assert!(matches!(opened(200, body), Answer::Odd { .. }), "{body}");
        }
    }

    #[test]
    fn what_kraken_says_makes_no_line_of_its_own() {
        let odd = opened(
            200,
            r#"{"error":["EOrder:A\n2026 ERROR b"],"result":{"txid":["O1"]}}"#,
        );

        let Answer::Odd { reason, .. } = odd else {
            panic!("{odd:?}")
        };
        assert_eq!(reason, "both an error and a result: `EOrder:A2026 ERROR b`");
    }

    #[test]
    fn an_error_beside_an_empty_result_is_an_error_and_beside_another_is_odd() {
        for status in [200, 400] {
            let denied = opened(status, r#"{"error":["EGeneral:Permission denied"],"result":{ }}"#);
            assert!(matches!(denied, Answer::Errors(errors) if errors == ["EGeneral:Permission denied"]));
            let both = r#"{"error":["EGeneral:Permission denied"],"result":{"count":1}}"#;
            assert!(matches!(opened(status, both), Answer::Odd { .. }), "{status}");
        }
    }

    #[test]
    fn a_text_without_a_severity_is_an_error() {
        let answer = opened(200, r#"{"result":null,"error":["Something went wrong"]}"#);

        assert!(matches!(answer, Answer::Errors(errors) if errors == ["Something went wrong"]));
    }

    #[test]
    fn behind_a_status_of_the_edge_only_a_refusal_counts() {
        let refused = r#"{"error":["EOrder:Insufficient funds"]}"#;
        assert!(matches!(opened(400, refused), Answer::Errors(_)));
        assert!(matches!(
            opened(400, r#"{"error":[],"result":{}}"#),
            Answer::Odd { .. }
        ));
        for status in [500, 502, 503, 504, 520, 522, 524, 525] {
            assert!(matches!(opened(status, refused), Answer::Odd { .. }), "{status}");
        }
        assert!(matches!(
            opened(429, refused),
            Answer::Odd {
                class: ErrorClass::Rate,
                ..
            }
        ));
        assert!(matches!(
            opened(302, ""),
            Answer::Odd {
                class: ErrorClass::Security,
                ..
            }
        ));
    }

    #[test]
    fn a_cancel_may_be_repeated_until_something_is_known() {
        let outcome = |body: &str| cancelled(&opened(200, body), now());

        assert_eq!(
            outcome(r#"{"error":[],"result":{"count":1,"pending":true}}"#),
            Ok(CancelOutcome::Taken)
        );
        assert_eq!(
            outcome(r#"{"error":[],"result":{"count":0}}"#),
            Ok(CancelOutcome::NotWorking)
        );
        assert_eq!(
            outcome(r#"{"error":["EOrder:Unknown order"]}"#),
            Ok(CancelOutcome::NotWorking)
        );
        assert_eq!(
            outcome(r#"{"error":["EOrder:Cancel pending"]}"#),
            Ok(CancelOutcome::Taken)
        );
        assert!(matches!(
            outcome(r#"{"error":["EWhat:ever"]}"#),
            Err(CancelError::TryAgain { .. })
        ));
        assert!(matches!(
            outcome(r#"{"error":[],"result":{}}"#),
            Err(CancelError::TryAgain { .. })
        ));
        assert!(matches!(
            outcome(r#"{"error":["EGeneral:Permission denied"]}"#),
            Err(CancelError::Refused {
                class: ErrorClass::Auth,
                ..
            })
        ));
    }
}
