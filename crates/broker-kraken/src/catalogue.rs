//! Every error text of Kraken's that we know, and what it proves.
//!
//! A text that is not here proves nothing: an order that was answered with it is looked up.

use std::time::Duration;

use bursar_broker::{ErrorClass, Throttle};
use jiff::Timestamp;

use crate::text::on_one_line;

/// What an error text says of an order that was to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum OnPlace {
    /// Not executed; the same order would be refused again.
    Refused,
    /// Not executed; later it may be.
    Throttled,
    /// It may have been executed.
    Unknown,
    /// An open order bears the id.
    AlreadyThere,
}

/// What it says of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum OnCancel {
    Again,
    /// A cancel is under way already.
    Taken,
    /// No such order works.
    NotWorking,
    Refused,
}

/// What it says of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum OnRead {
    Again,
    Refused,
}

/// Which of several errors counts: the greatest. A write is never taken for "not placed" because
/// one of two errors says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Refusal,
    Mode,
    Limit,
    Authority,
    Ambiguous,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The text, or its beginning up to a colon.
    pub(crate) text: &'static str,
    severity: Severity,
    pub(crate) class: ErrorClass,
    pub(crate) place: OnPlace,
    pub(crate) cancel: OnCancel,
    pub(crate) read: OnRead,
    /// How long to leave the exchange alone, in seconds; zero for no such rule.
    wait_s: u64,
}

impl Row {
    /// Whom a limit concerns: those of the matching engine are counted by pair, but for `EOrder:Domain rate limit exceeded`.
    pub(crate) fn throttles(&self) -> Throttle {
        if self.text.starts_with("EOrder:") && !self.text.starts_with("EOrder:Domain") {
            Throttle::Pair
        } else {
            Throttle::Account
        }
    }
}

/// It cannot be told what happened.
const fn ambiguous(text: &'static str) -> Row {
    Row {
        text,
        severity: Severity::Ambiguous,
        class: ErrorClass::Ambiguous,
        place: OnPlace::Unknown,
        cancel: OnCancel::Again,
        read: OnRead::Again,
        wait_s: 0,
    }
}

/// The key, its signature or its rights.
const fn authority(text: &'static str) -> Row {
    Row {
        text,
        severity: Severity::Authority,
        class: ErrorClass::Auth,
        place: OnPlace::Refused,
        cancel: OnCancel::Refused,
        read: OnRead::Refused,
        wait_s: 0,
    }
}

/// Too many requests: documented as not executed.
const fn limit(text: &'static str, wait_s: u64) -> Row {
    Row {
        text,
        severity: Severity::Limit,
        class: ErrorClass::Rate,
        place: OnPlace::Throttled,
        cancel: OnCancel::Again,
        read: OnRead::Again,
        wait_s,
    }
}

/// Too many requests, said before the number of the request is looked at. Not executed if these bytes were sent once;
/// of two copies the second may be one too many while the first was accepted in silence. So for an order it proves
/// nothing. A limit of the matching engine does: a second copy does not get past its number there.
const fn limit_at_the_edge(text: &'static str, wait_s: u64) -> Row {
    Row {
        severity: Severity::Ambiguous,
        place: OnPlace::Unknown,
        ..limit(text, wait_s)
    }
}

/// The exchange or the market takes only some orders just now.
const fn mode(text: &'static str) -> Row {
    Row {
        text,
        severity: Severity::Mode,
        class: ErrorClass::VenueState,
        place: OnPlace::Refused,
        cancel: OnCancel::Again,
        read: OnRead::Again,
        wait_s: 0,
    }
}

/// What the request asks for.
const fn refusal(text: &'static str) -> Row {
    Row {
        text,
        severity: Severity::Refusal,
        class: ErrorClass::Business,
        place: OnPlace::Refused,
        cancel: OnCancel::Refused,
        read: OnRead::Refused,
        wait_s: 0,
    }
}

/// Known, but no answer to a new order: as such an answer it proves nothing.
const fn elsewhere(text: &'static str) -> Row {
    Row {
        // Beside a text that refuses, it is still one that does not.
        severity: Severity::Ambiguous,
        class: ErrorClass::Ambiguous,
        place: OnPlace::Unknown,
        ..refusal(text)
    }
}

pub(crate) const ROWS: &[Row] = &[
    // The key.
    authority("EAPI:Invalid key"),
    authority("EAPI:Invalid signature"),
    // Not executed if these bytes were sent once. A middlebox that delivers them twice makes the
    // refused copy answer while the accepted one is silent, so for an order it proves nothing.
    Row {
        class: ErrorClass::Nonce,
        ..ambiguous("EAPI:Invalid nonce")
    },
    elsewhere("EAPI:Invalid token"),
    elsewhere("ESession:Invalid session"),
    authority("EAuth:Failed"),
    authority("EAuth:Account temporary disabled"),
    authority("EAuth:Account unconfirmed"),
    authority("EGeneral:Permission denied"),
    authority("EOrder:Trading agreement required"),
    authority("ETrade:Locked"),
    authority("ETrade:User Locked"),
    // A region or a product, not the key: other pairs may trade on.
    Row {
        class: ErrorClass::Business,
        ..authority("EAccount:Invalid permissions")
    },
    // Limits.
    limit_at_the_edge("EAPI:Rate limit exceeded", 15),
    limit_at_the_edge("EAuth:Rate limit exceeded", 30),
    limit_at_the_edge("EAuth:Too many requests", 30),
    limit_at_the_edge("EGeneral:Too many requests", 30),
    limit_at_the_edge("EGeneral:Temporary lockout", 900),
    limit("EOrder:Rate limit exceeded", 5),
    limit("EOrder:Domain rate limit exceeded", 5),
    limit("EOrder:Orders limit exceeded", 5),
    limit("EOrder:Scheduled orders limit exceeded", 5),
    // Names the moment until which to wait.
    limit_at_the_edge("EService:Throttled", 5),
    // What cannot be told.
    ambiguous("EGeneral:Internal error"),
    ambiguous("EDatabase:Internal error"),
    ambiguous("EService:Unavailable"),
    ambiguous("EService:Busy"),
    ambiguous("EService:Timeout"),
    // Documented as not executed, and confirmed by a look all the same.
    ambiguous("EService:Deadline elapsed"),
    Row {
        cancel: OnCancel::Taken,
        ..ambiguous("EOrder:Cancel pending")
    },
    // Modes.
    mode("EService:Market in cancel_only mode"),
    mode("EService:Market in post_only mode"),
    mode("EService:Market in limit_only mode"),
    // The request.
    refusal("EAPI:Bad request"),
    refusal("EAPI:Feature disabled"),
    refusal("EGeneral:Invalid arguments"),
    Row {
        place: OnPlace::AlreadyThere,
        class: ErrorClass::Ambiguous,
        severity: Severity::Ambiguous,
        ..refusal("EGeneral:Invalid arguments:cl_ord_id not unique")
    },
    refusal("EGeneral:Unknown method"),
    refusal("EQuery:Unknown asset pair"),
    refusal("EQuery:Invalid asset pair"),
    refusal("EQuery:Unknown asset"),
    refusal("EOrder:Insufficient funds"),
    refusal("EOrder:Order minimum not met"),
    refusal("EOrder:Cost minimum not met"),
    refusal("EOrder:Tick size check failed"),
    refusal("EOrder:Invalid price"),
    refusal("EOrder:Post only order"),
    Row {
        cancel: OnCancel::NotWorking,
        ..refusal("EOrder:Invalid order")
    },
    Row {
        cancel: OnCancel::NotWorking,
        ..elsewhere("EOrder:Unknown order")
    },
    refusal("EBM:limit exceeded"),
    refusal("ETrade:Invalid request"),
    // Margin, which is never asked for.
    refusal("EOrder:Positions limit exceeded"),
    refusal("EOrder:Margin position size exceeded"),
    refusal("EOrder:Margin allowance exceeded"),
    refusal("EOrder:Margin level too low"),
    refusal("EOrder:Insufficient margin"),
    refusal("EOrder:Insufficient initial margin"),
    refusal("EOrder:Cannot open position"),
    refusal("EOrder:Cannot open opposing position"),
    refusal("EOrder:Unknown position"),
    refusal("EOrder:Reduce only"),
    // Amendments, funding and rewards, which are never asked for.
    elsewhere("EOrder:Order not editable"),
    elsewhere("EOrder:Not enough leaves qty"),
    elsewhere("EOrder:No amendable parameters"),
    elsewhere("EFunding:No funding method"),
    elsewhere("EFunding:Unknown withdraw key"),
    elsewhere("EFunding:Invalid amount"),
    elsewhere("EFunding:Too many addresses"),
    elsewhere("EFunding:Max fee exceeded"),
    elsewhere("EFunding:Unknown asset"),
    elsewhere("EFunding:Unknown reference id"),
    elsewhere("EFunding:Invalid reference id"),
    elsewhere("EEarnings"),
];

/// What applies to every text that is not in the table.
const UNLISTED: Row = ambiguous("");

/// What a list of errors means as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) row: Row,
    /// The exchange's own words, all of them, cut to what fits in a log line.
    pub(crate) code: String,
    pub(crate) wait: Option<Duration>,
}

impl Finding {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.row.text == text
    }
}

/// Judges the errors of one answer; there is at least one. `venue_now` serves those that name a moment.
pub(crate) fn judge(errors: &[String], venue_now: Timestamp) -> Finding {
    let worst = errors
        .iter()
        .map(|text| find(text))
        .max_by_key(|row| (row.severity, row.wait_s))
        .unwrap_or(UNLISTED);
    let named = errors
        .iter()
        .filter_map(|text| throttled_until(text, venue_now))
        .max();
    let wait = named.or_else(|| (worst.wait_s > 0).then(|| Duration::from_secs(worst.wait_s)));
    Finding {
        row: worst,
        code: on_one_line(&errors.join("; ")),
        wait,
    }
}

/// Whether the text refuses the number of a request.
pub(crate) fn is_of_number(text: &str) -> bool {
    find(text).class == ErrorClass::Nonce
}

/// Whether the text says nothing but that a pair is not listed.
pub(crate) fn is_of_pair(text: &str) -> bool {
    ["EQuery:Unknown asset pair", "EQuery:Invalid asset pair"].contains(&find(text).text)
}

/// The longest row that begins `text` and ends where it ends or at a colon.
fn find(text: &str) -> Row {
    let text = normalised(text);
    let row = ROWS
        .iter()
        .filter(|row| {
            text.strip_prefix(&normalised(row.text))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        })
        .max_by_key(|row| row.text.len())
        .copied();
    // Another wording of "this id is in use" must not pass for an invalid argument.
    let names_id = text.contains("cl_ord_id") && text != "egeneral:invalid arguments:cl_ord_id";
    match row {
        Some(row) if names_id && row.place != OnPlace::AlreadyThere => UNLISTED,
        Some(row) => row,
        None => UNLISTED,
    }
}

/// Spaces and case vary between answers.
fn normalised(text: &str) -> String {
    text.split(':')
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(":")
        .to_lowercase()
}

/// `EService:Throttled:<unix seconds>`, bounded: a wrong moment must not stop an account for a day.
fn throttled_until(text: &str, venue_now: Timestamp) -> Option<Duration> {
    let normal = normalised(text);
    let moment: i64 = normal.strip_prefix("eservice:throttled:")?.parse().ok()?;
    let seconds = moment.saturating_sub(venue_now.as_second()).clamp(1, 900);
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Text | class | place | cancel | read | wait in seconds.
    const EXPECTED: &str = "
EAPI:Invalid key | auth | refused | refused | refused | 0
EAPI:Invalid signature | auth | refused | refused | refused | 0
EAPI:Invalid nonce | nonce | unknown | again | again | 0
EAPI:Invalid token | ambiguous | unknown | refused | refused | 0
ESession:Invalid session | ambiguous | unknown | refused | refused | 0
EAuth:Failed | auth | refused | refused | refused | 0
EAuth:Account temporary disabled | auth | refused | refused | refused | 0
EAuth:Account unconfirmed | auth | refused | refused | refused | 0
EGeneral:Permission denied | auth | refused | refused | refused | 0
EOrder:Trading agreement required | auth | refused | refused | refused | 0
ETrade:Locked | auth | refused | refused | refused | 0
ETrade:User Locked | auth | refused | refused | refused | 0
EAccount:Invalid permissions | business | refused | refused | refused | 0
EAPI:Rate limit exceeded | rate | unknown | again | again | 15
EAuth:Rate limit exceeded | rate | unknown | again | again | 30
EAuth:Too many requests | rate | unknown | again | again | 30
EGeneral:Too many requests | rate | unknown | again | again | 30
EGeneral:Temporary lockout | rate | unknown | again | again | 900
EOrder:Rate limit exceeded | rate | throttled | again | again | 5
EOrder:Domain rate limit exceeded | rate | throttled | again | again | 5
EOrder:Orders limit exceeded | rate | throttled | again | again | 5
EOrder:Scheduled orders limit exceeded | rate | throttled | again | again | 5
EService:Throttled | rate | unknown | again | again | 5
EGeneral:Internal error | ambiguous | unknown | again | again | 0
EDatabase:Internal error | ambiguous | unknown | again | again | 0
EService:Unavailable | ambiguous | unknown | again | again | 0
EService:Busy | ambiguous | unknown | again | again | 0
EService:Timeout | ambiguous | unknown | again | again | 0
EService:Deadline elapsed | ambiguous | unknown | again | again | 0
EOrder:Cancel pending | ambiguous | unknown | taken | again | 0
EService:Market in cancel_only mode | venue-state | refused | again | again | 0
EService:Market in post_only mode | venue-state | refused | again | again | 0
EService:Market in limit_only mode | venue-state | refused | again | again | 0
EAPI:Bad request | business | refused | refused | refused | 0
EAPI:Feature disabled | business | refused | refused | refused | 0
EGeneral:Invalid arguments | business | refused | refused | refused | 0
EGeneral:Invalid arguments:cl_ord_id not unique | ambiguous | already-there | refused | refused | 0
EGeneral:Unknown method | business | refused | refused | refused | 0
EQuery:Unknown asset pair | business | refused | refused | refused | 0
EQuery:Invalid asset pair | business | refused | refused | refused | 0
EQuery:Unknown asset | business | refused | refused | refused | 0
EOrder:Insufficient funds | business | refused | refused | refused | 0
EOrder:Order minimum not met | business | refused | refused | refused | 0
EOrder:Cost minimum not met | business | refused | refused | refused | 0
EOrder:Tick size check failed | business | refused | refused | refused | 0
EOrder:Invalid price | business | refused | refused | refused | 0
EOrder:Post only order | business | refused | refused | refused | 0
EOrder:Invalid order | business | refused | not-working | refused | 0
EOrder:Unknown order | ambiguous | unknown | not-working | refused | 0
EBM:limit exceeded | business | refused | refused | refused | 0
ETrade:Invalid request | business | refused | refused | refused | 0
EOrder:Positions limit exceeded | business | refused | refused | refused | 0
EOrder:Margin position size exceeded | business | refused | refused | refused | 0
EOrder:Margin allowance exceeded | business | refused | refused | refused | 0
EOrder:Margin level too low | business | refused | refused | refused | 0
EOrder:Insufficient margin | business | refused | refused | refused | 0
EOrder:Insufficient initial margin | business | refused | refused | refused | 0
EOrder:Cannot open position | business | refused | refused | refused | 0
EOrder:Cannot open opposing position | business | refused | refused | refused | 0
EOrder:Unknown position | business | refused | refused | refused | 0
EOrder:Reduce only | business | refused | refused | refused | 0
EOrder:Order not editable | ambiguous | unknown | refused | refused | 0
EOrder:Not enough leaves qty | ambiguous | unknown | refused | refused | 0
EOrder:No amendable parameters | ambiguous | unknown | refused | refused | 0
EFunding:No funding method | ambiguous | unknown | refused | refused | 0
EFunding:Unknown withdraw key | ambiguous | unknown | refused | refused | 0
EFunding:Invalid amount | ambiguous | unknown | refused | refused | 0
EFunding:Too many addresses | ambiguous | unknown | refused | refused | 0
EFunding:Max fee exceeded | ambiguous | unknown | refused | refused | 0
EFunding:Unknown asset | ambiguous | unknown | refused | refused | 0
EFunding:Unknown reference id | ambiguous | unknown | refused | refused | 0
EFunding:Invalid reference id | ambiguous | unknown | refused | refused | 0
EEarnings | ambiguous | unknown | refused | refused | 0
";

    fn judged(texts: &[&str]) -> Finding {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        judge(&texts, Timestamp::from_second(1_772_000_000).unwrap())
    }

    #[test]
    fn every_row_means_what_it_is_written_to_mean() {
        let expected: Vec<&str> = EXPECTED.trim().lines().collect();
        let found: Vec<String> = expected
            .iter()
            .map(|line| {
                let text = line.split(" | ").next().unwrap();
                let finding = judged(&[text]);
                let row = finding.row;
                let wait = finding.wait.map_or(0, |wait| wait.as_secs());
                format!(
                    "{text} | {} | {} | {} | {} | {wait}",
                    row.class, row.place, row.cancel, row.read
                )
            })
            .collect();
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected, found);
        }
        let named: BTreeSet<&str> = expected
            .iter()
            .map(|line| line.split(" | ").next().unwrap())
            .collect();
        assert_eq!(named, ROWS.iter().map(|row| row.text).collect());
    }

    #[test]
    fn spelling_varies_and_detail_may_follow() {
        for text in [
            "EService: Throttled: 1772000007",
            "eservice:throttled:1772000007",
            "EService:Throttled:1772000007",
        ] {
            assert_eq!(judged(&[text]).wait, Some(Duration::from_secs(7)), "{text}");
        }
        assert_eq!(
            judged(&["EService:Throttled:1672000007"]).wait,
            Some(Duration::from_secs(1))
        );
        assert_eq!(
            judged(&["EService:Throttled:9772000007"]).wait,
            Some(Duration::from_secs(900))
        );
        let country = judged(&["EAccount:Invalid permissions:STBL trading restricted for NL."]);
        assert!(country.is("EAccount:Invalid permissions"));
        assert_eq!(
            judged(&["EOrder:Reduce only:Non-ECP"]).row.place,
            OnPlace::Refused
        );
        assert_eq!(
            judged(&["EOrder:Invalid price:XBTUSD price can only be specified up to 1 decimals."])
                .row
                .place,
            OnPlace::Refused
        );
    }

    #[test]
    fn of_several_errors_the_worst_counts() {
        let refused = "EOrder:Insufficient funds";
        assert_eq!(judged(&[refused, "EService:Busy"]).row.place, OnPlace::Unknown);
        assert_eq!(judged(&["EService:Busy", refused]).row.place, OnPlace::Unknown);
        assert_eq!(judged(&[refused, "EWhat:ever"]).row.place, OnPlace::Unknown);
        assert_eq!(
            judged(&[refused, "EOrder:Rate limit exceeded"]).row.place,
            OnPlace::Throttled
        );
        assert_eq!(
            judged(&["EOrder:Rate limit exceeded", "EAPI:Invalid key"])
                .row
                .class,
            ErrorClass::Auth
        );
        assert_eq!(
            judged(&[refused, "EService:Busy"]).code,
            "EOrder:Insufficient funds; EService:Busy"
        );
    }

    #[test]
    fn another_wording_of_an_id_in_use_is_no_refusal() {
        for text in [
            "EGeneral:Invalid arguments:cl_ord_id is not unique",
            "EGeneral:Invalid arguments:cl_ord_id not unique.",
            "EGeneral:Invalid arguments:cl_ord_id:duplicate",
            "EOrder:Invalid order:cl_ord_id taken",
        ] {
            assert_eq!(judged(&[text]).row.place, OnPlace::Unknown, "{text}");
        }
        let in_use = judged(&["EGeneral:Invalid arguments:cl_ord_id not unique"]);
        assert_eq!(in_use.row.place, OnPlace::AlreadyThere);
        assert_eq!(
            judged(&["EGeneral:Invalid arguments:cl_ord_id"]).row.place,
            OnPlace::Refused
        );
    }

    #[test]
    fn i2_a_text_that_answers_no_order_is_not_outvoted_by_one_that_refuses() {
        let other = "EOrder:Unknown order";
        for refused in [
            "EService:Market in cancel_only mode",
            "EOrder:Rate limit exceeded",
            "EAPI:Invalid key",
        ] {
            assert_eq!(judged(&[other, refused]).row.place, OnPlace::Unknown, "{refused}");
            assert_eq!(judged(&[refused, other]).row.place, OnPlace::Unknown, "{refused}");
        }
    }

    fn begins_with_a_row(text: &str) -> bool {
        let plain = |text: &str| text.to_lowercase().replace(char::is_whitespace, "");
        ROWS.iter().any(|row| plain(text).starts_with(&plain(row.text)))
    }

    /// Listed texts with and without detail, and anything else.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..ROWS.len()).prop_map(|row| ROWS[row].text.to_owned()),
            (0..ROWS.len(), "[ -~]{0,20}").prop_map(|(row, detail)| format!("{}:{detail}", ROWS[row].text)),
            "\\PC{0,40}",
        ]
    }

    proptest! {
        #[test]
        fn every_list_of_texts_has_one_meaning_whatever_their_order(
            (texts, turned) in prop::collection::vec(any_text(), 1..5)
                .prop_flat_map(|texts| (Just(texts.clone()), Just(texts).prop_shuffle())),
        ) {
            let now = Timestamp::from_second(1_772_000_000).unwrap();
            let (one, other) = (judge(&texts, now), judge(&turned, now));
            prop_assert_eq!(one.row.severity, other.row.severity);
            prop_assert_eq!(one.wait, other.wait);
            prop_assert!(one.wait.is_none_or(|wait| wait <= Duration::from_secs(900)));
            // "Not placed" is said only when every text of the list says so.
            let not_placed = |place| matches!(place, OnPlace::Refused | OnPlace::Throttled);
            let each = texts.iter().all(|text| not_placed(judged(&[text]).row.place));
            prop_assert_eq!(not_placed(one.row.place), each);
            prop_assert_eq!(not_placed(other.row.place), each);
        }

        #[test]
        fn a_text_that_is_not_listed_proves_nothing(text in "[EW]?[A-Za-z]{0,9}:? ?[A-Za-z_: ]{0,40}") {
            prop_assume!(!begins_with_a_row(&text));
            prop_assert_eq!(judged(&[&text]).row.place, OnPlace::Unknown);
        }

        #[test]
        fn a_listed_text_that_goes_on_without_a_colon_proves_nothing(
            row in 0..ROWS.len(), tail in "[A-Za-z.,;_-][A-Za-z]{0,10}",
        ) {
            let text = format!("{}{tail}", ROWS[row].text);
            prop_assume!(!ROWS.iter().any(|other| text.eq_ignore_ascii_case(other.text)));
            // The shorter row of two that share a beginning may still apply, at its colon.
            let place = judged(&[&text]).row.place;
            prop_assert!(place == OnPlace::Unknown || ROWS[row].text.matches(':').count() > 1);
        }
    }
}
