use bursar_notify::{DaemonState, Happened, Kind, LossAmounts, Message, Notice, Receiver, Trigger};

use crate::support::{at, mara, message, switch_off, switch_on, trade, traded, uuid, word};

fn everything() -> Vec<Notice> {
    let account = || "kraken-ilves".parse().unwrap();
    let notice = |happened| Notice::new(at(0), happened);
    vec![
        trade(1),
        notice(traded(2, Some(Trigger::ProfitTarget))),
        notice(traded(3, Some(Trigger::StopLoss))),
        switch_on(4, "manual"),
        switch_on(5, "daily-loss"),
        switch_on(6, "auto-disable"),
        switch_on(7, "key-rights"),
        switch_off(4),
        notice(Happened::LossNear {
            scope: word("user:mara_ilves"),
            day: word("2026-03-02"),
            amounts: Some(LossAmounts {
                loss_usd: "41.00".parse().unwrap(),
                limit_usd: "50.00".parse().unwrap(),
            }),
        }),
        notice(Happened::OrderUnclear {
            account: account(),
            order: uuid(8).parse().unwrap(),
        }),
        notice(Happened::ManyRejected {
            account: account(),
            count: 25,
        }),
        notice(Happened::ManyRefused {
            account: account(),
            count: 50,
        }),
        notice(Happened::Daemon {
            state: DaemonState::Started,
        }),
        notice(Happened::Daemon {
            state: DaemonState::Stopped,
        }),
        notice(Happened::Test),
    ]
}

const WITH_AMOUNTS: &str = "\
2026-03-02 12:00:00 UTC  kraken-ilves: sold BTC-USD (0.05 BTC), order 6d1b345e
2026-03-02 12:00:00 UTC  kraken-ilves: profit target reached, sold BTC-USD (0.05 BTC), order 6d1b345e
2026-03-02 12:00:00 UTC  kraken-ilves: stop loss, sold BTC-USD (0.05 BTC), order 6d1b345e
2026-03-02 12:00:00 UTC  switch on: user:mara_ilves, mode pause, cause manual, switch 6d1b345e; run `bursar latches`
2026-03-02 12:00:00 UTC  the day's loss reached its limit, switch on: user:mara_ilves, mode pause, cause daily-loss, switch 6d1b345e; run `bursar latches`
2026-03-02 12:00:00 UTC  too many errors of the exchange, switch on: user:mara_ilves, mode pause, cause auto-disable, switch 6d1b345e; run `bursar latches`
2026-03-02 12:00:00 UTC  the rights of an exchange key changed, switch on: user:mara_ilves, mode pause, cause key-rights, switch 6d1b345e; run `bursar latches`
2026-03-02 12:00:00 UTC  switch off: user:mara_ilves, mode pause, cause manual, switch 6d1b345e
2026-03-02 12:00:00 UTC  the loss of trading day 2026-03-02 of user:mara_ilves is near its limit: 41.00 USD of 50.00 USD
2026-03-02 12:00:00 UTC  kraken-ilves: order 6d1b345e needs people: what the exchange shows does not settle it; run `bursar explain 6d1b345e-2821-40e2-ad83-4ecb00000008`
2026-03-02 12:00:00 UTC  kraken-ilves: the exchange refused 25 orders in a short time; run `bursar orders --account kraken-ilves`
2026-03-02 12:00:00 UTC  kraken-ilves: 50 orders were refused by rules in a short time; run `bursar orders --account kraken-ilves`
2026-03-02 12:00:00 UTC  the daemon started
2026-03-02 12:00:00 UTC  the daemon stopped; nothing is traded until it runs again
2026-03-02 12:00:00 UTC  this is a test; somebody tries out the notifications
";

#[test]
fn p1_every_notice_has_its_sentence() {
    assert_eq!(message(Receiver::Operator, everything()).text(), WITH_AMOUNTS);
}

#[test]
fn p1_without_a_wish_for_amounts_there_are_none_anywhere() {
    let notices: Vec<Notice> = everything().into_iter().map(Notice::without_amounts).collect();

    let message = message(mara(), notices);

    let everything = format!(
        "{}{}{}",
        message.text(),
        message.document(),
        serde_json::json!(message)
    );
    for amount in ["0.05", "41.00", "50.00", "USD of"] {
        assert!(!everything.contains(amount), "{amount}: {everything}");
    }
    assert!(!message.text().contains("bursar "), "a user has no command line");
}

#[test]
fn a_notice_comes_back_from_a_store_as_it_was() {
    for notice in everything() {
        let written = serde_json::to_string(&notice).unwrap();

        assert_eq!(
            serde_json::from_str::<Notice>(&written).unwrap(),
            notice,
            "{written}"
        );
    }
}

#[test]
fn what_stops_trading_is_urgent_and_cannot_be_switched_off() {
    let silent = bursar_config::Preferences {
        notify_on_trade: false,
        notify_on_profit_target: false,
        notify_on_stop_loss: false,
        ..bursar_config::Preferences::default()
    };
    for notice in everything() {
        let kind = notice.kind();
        let can_be_silent = matches!(kind, Kind::Trade | Kind::ProfitTarget | Kind::StopLoss);
        assert_eq!(kind.is_wanted(&silent), !can_be_silent, "{kind}");
        assert_eq!(kind.is_urgent(), !can_be_silent && kind != Kind::Daemon, "{kind}");
    }
}

#[test]
fn a_digest_names_the_most_urgent_in_its_subject() {
    let one = message(mara(), vec![trade(1)]);
    let two = message(mara(), vec![trade(1), switch_on(2, "daily-loss")]);

    assert_eq!(one.subject(), "Bursar: an order was executed");
    assert_eq!(two.subject(), "Bursar: the day's loss and 1 more");
}

#[test]
fn what_was_held_back_is_counted_with_where_to_look() {
    let storm = |receiver| Message {
        receiver,
        told: Vec::new(),
        held_back: 17,
        quiet_until: Some(at(60)),
    };

    assert_eq!(
        storm(Receiver::Operator).text(),
        "17 more; look with `bursar status`. Until 12:01:00 UTC only what is urgent is told.\n"
    );
    assert_eq!(
        storm(mara()).text(),
        "17 more; ask your operator for the list. Until 12:01:00 UTC only what is urgent is told.\n"
    );
}

#[test]
fn a_word_has_no_room_for_a_secret_or_for_markup() {
    for text in ["", "two words", "a\nb", "<b>", "Kq/+=", &"a".repeat(81)] {
        assert!(
            text.parse::<bursar_notify::Word>().is_err(),
            "`{text}` was accepted"
        );
    }
}
