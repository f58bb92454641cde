use bursar_config::{Known, Settings, check, check_against};

/// What somebody sees who wrote this file.
fn seen(text: &str) -> String {
    match check(text, "bursar.toml") {
        Ok((_, warnings)) if warnings.is_empty() => "fine".to_owned(),
        Ok((_, warnings)) => {
            let lines: Vec<String> = warnings
                .iter()
                .map(|warning| format!("warning: {warning}"))
                .collect();
            lines.join("\n")
        }
        Err(error) => format!("{error}\nhint: {}", error.hint()),
    }
}

#[test]
fn d29_a_slip_in_a_name_is_refused_with_the_right_name() {
    insta::assert_snapshot!(seen(
        "data_dri = \"x\"\n\n[tiers.pro.default]\nmax_positon_usd = 100\n\n[cap]\norder_usd = 100\n"
    ), @r"
    bursar.toml:1:1: unknown setting `data_dri` at the top level; did you mean `data_dir`?
    bursar.toml:4:1: unknown setting `max_positon_usd` in [tiers.pro.default]; did you mean `max_position_usd`?
    bursar.toml:6:2: unknown setting `cap` at the top level; did you mean `caps`?
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
}

#[test]
fn d29_a_name_in_the_wrong_section_is_told_the_right_one() {
    insta::assert_snapshot!(seen("order_usd = 5000\n[gate]\nentries_per_day = 10\nleverage = 2\n"), @r"
    bursar.toml:1:1: unknown setting `order_usd` at the top level; it belongs in [caps]
    bursar.toml:3:1: unknown setting `entries_per_day` in [gate]; it belongs in [caps]
    bursar.toml:4:1: unknown setting `leverage` in [gate]; there are reference_price_max_age_s, balance_max_age_s, price_collar_percent, duplicate_window_ms, market_valid_s, limit_valid_s, stress_percent
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
}

#[test]
fn d29_a_name_that_comes_twice_is_refused() {
    insta::assert_snapshot!(seen("[caps]\norder_usd = 100\n\norder_usd = 100000\n\n[caps]\norder_usd = 1\n"), @r"
    bursar.toml:4:1: `order_usd` is set twice; remove one
    bursar.toml:6:2: `caps` is set twice; remove one
    bursar.toml:7:1: `order_usd` is set twice; remove one
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
}

#[test]
fn a_text_that_is_not_toml_is_refused_at_its_place() {
    insta::assert_snapshot!(seen("[caps]\norder_usd = = 100\n"), @r"
    bursar.toml:2:13: extra `=`, expected nothing
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
    insta::assert_snapshot!(seen("[caps\n"), @r"
    bursar.toml:1:6: unclosed table, expected `]`
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
}

#[test]
fn values_of_the_wrong_kind_are_all_told_at_once() {
    insta::assert_snapshot!(seen(r#"
data_dir = 7
caps = 1
[gate]
stress_percent = "five"
price_collar_percent = 2e3
market_valid_s = 5.5
limit_valid_s = -1
duplicate_window_ms = 99999999999
[tiers.basic.default]
pairs = "some"
[tiers.basic.ceiling]
pairs = { bases = ["btc"] }
[tiers.pro.default]
pairs = { bases = ["BTC"], only = ["BTC-USD"] }
[tiers.pro.ceiling]
pairs = { only = ["BTC-BTC"] }
[log]
format = "xml"
level = 3
[store]
url = "postgres://db"
[brokers.Kraken]
rate_tier = "pro"
[day]
start = "25:00"
zone = "../etc"
[assets]
as_of = "yesterday"
top = ["BTC", "MATIC", "POL"]
"#), @r#"
    bursar.toml:2:1: `data_dir` is a whole number, but a text in quotes belongs here
    bursar.toml:3:1: `caps` is a whole number, but it is a section with settings of its own
    bursar.toml:5:1: `gate.stress_percent` is `five`, but a plain number such as 2.5 belongs here
    bursar.toml:6:1: `gate.price_collar_percent` is `2e3`, but a plain number such as 2.5 belongs here
    bursar.toml:7:1: `gate.market_valid_s` is a number with decimals, but a whole number belongs here
    bursar.toml:8:1: `gate.limit_valid_s` is -1, but a whole number from 0 to 4294967295 belongs here
    bursar.toml:9:1: `gate.duplicate_window_ms` is 99999999999, but a whole number from 0 to 4294967295 belongs here
    bursar.toml:11:1: `tiers.basic.default.pairs` is `some`, but "all", "top" or a table such as { bases = ["BTC"] } belongs here
    bursar.toml:13:1: `tiers.basic.ceiling.pairs` cannot be used: `btc` is not an asset code: use 1 to 16 of A-Z and 0-9
    bursar.toml:15:1: `tiers.pro.default.pairs` needs exactly one of `bases` and `only`
    bursar.toml:17:1: `tiers.pro.ceiling.pairs` cannot be used: `BTC-BTC` is not a pair: write two different assets such as BTC-USD
    bursar.toml:19:1: `log.format` is `xml`, but one of text, json belongs here
    bursar.toml:20:1: `log.level` is a whole number, but one of error, warn, info, debug, trace belongs here
    bursar.toml:22:1: `store.url` cannot be used: `postgres://db` is not the URL of a store: write sqlite: and a path, such as sqlite:bursar-data/bursar.db
    bursar.toml:23:10: `Kraken` is not a valid broker id: use 1 to 64 of a-z, 0-9, `-` and `_`, beginning with a letter or digit
    bursar.toml:26:1: `day.start` is not a time of day such as "17:00"
    bursar.toml:27:1: `day.zone` cannot be used: `../etc` is not the name of a time zone such as UTC or Europe/Stockholm
    bursar.toml:29:1: `assets.as_of` is not a date such as 2026-11-20
    bursar.toml:30:1: `assets.top` names the same twice: as `MATIC` and as `POL`
    hint: correct `bursar.toml`, then run `bursar config check`
    "#);
}

#[test]
fn values_outside_their_range_are_refused() {
    insta::assert_snapshot!(seen(r#"
[caps]
order_equity_percent = 101
order_usd = -1
open_orders_per_account = 0
[gate]
reference_price_max_age_s = 0
price_collar_percent = 0
[brokers.kraken]
public_requests_per_s = 0
[strategy]
candle_interval_s = 120
"#), @r"
    bursar.toml:3:1: `caps.order_equity_percent` is 101, but a percentage from 0 to 100 belongs here
    bursar.toml:4:1: `caps.order_usd` is -1.00 USD, but an amount that is not negative belongs here
    bursar.toml:5:1: `caps.open_orders_per_account` is 0, but at least 1 belongs here
    bursar.toml:7:1: `gate.reference_price_max_age_s` is 0, but a time that is not zero belongs here
    bursar.toml:8:1: `gate.price_collar_percent` is 0, but a percentage above 0 belongs here
    bursar.toml:10:1: `brokers.kraken.public_requests_per_s` is 0, but at least 1 belongs here
    bursar.toml:12:1: `strategy.candle_interval_s` is 120, but one of 60, 300, 900, 1800, 3600, 14400, 86400, 604800 belongs here
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
}

#[test]
fn d1_a_default_above_its_ceiling_is_refused() {
    insta::assert_snapshot!(seen(r#"
[tiers.pro.default]
max_position_usd = 301
max_daily_loss_usd = 150.01
max_positions = 8
pairs = "all"
[tiers.basic.ceiling]
max_positions = 1
"#), @r#"
    bursar.toml:3:1: `tiers.pro.default.max_position_usd` is 301.00 USD, but the tier's ceiling is 300.00 USD
    bursar.toml:4:1: `tiers.pro.default.max_daily_loss_usd` is 150.01 USD, but the tier's ceiling is 150.00 USD
    bursar.toml:5:1: `tiers.pro.default.max_positions` is 8, but the tier's ceiling is 7
    bursar.toml:6:1: `tiers.pro.default.pairs` is "all", but the tier's ceiling is "top"
    bursar.toml:7:8: `tiers.basic.default.max_positions` is 2, but the tier's ceiling is 1
    hint: correct `bursar.toml`, then run `bursar config check`
    "#);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    insta::assert_snapshot!(seen(r#"
[strategy]
fast_ema_bars = 26
rsi_min = 80
[balance]
recommended_usd = 10
[accounts]
reconnect_max_s = 0
reconnect_min_s = 5
"#), @r"
    bursar.toml:8:1: `accounts.reconnect_max_s` is 0, but a time that is not zero belongs here
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
    insta::assert_snapshot!(seen(r#"
[strategy]
fast_ema_bars = 26
rsi_min = 80
[balance]
recommended_usd = 10
[accounts]
reconnect_min_s = 301
"#), @r"
    bursar.toml:3:1: `strategy.fast_ema_bars` is 26, but the fast average must be shorter than the slow one, 26
    bursar.toml:4:1: `strategy.rsi_min` is 80, but it must be below `rsi_max`, 70
    bursar.toml:5:2: `balance` must rise from `limited_usd` over `recommended_usd` to `excellent_usd`
    bursar.toml:8:1: `accounts.reconnect_min_s` is 301, but it must not be above `reconnect_max_s`, 300
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
}

#[test]
fn a_custom_url_needs_to_be_meant() {
    insta::assert_snapshot!(seen("[brokers.kraken]\nbase_url = \"http://127.0.0.1:4100\"\n"), @r"
    bursar.toml:2:1: `brokers.kraken.base_url` is set without `allow_custom_url = true`: whoever answers there sees signed orders; add the line if that is meant
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
    insta::assert_snapshot!(seen("[brokers.kraken]\nbase_url = \"https://me:pw@example.com\"\nallow_custom_url = true\n"), @r"
    bursar.toml:2:1: `brokers.kraken.base_url` cannot be used: `https://me:pw@example.com` is not a base URL: write https://HOST, or http:// with 127.0.0.1, localhost or [::1]; no name or password, no query, no slash at the end
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
    insta::assert_snapshot!(seen("[brokers.kraken]\nbase_url = \"http://127.0.0.1:4100\"\nallow_custom_url = true\n"), @r"warning: line 2: `brokers.kraken.base_url` sends signed orders to `http://127.0.0.1:4100` and not to the broker");
}

#[test]
fn w2_w3_w4_what_is_looser_than_the_advice_is_said() {
    insta::assert_snapshot!(seen(r#"
[caps]
order_equity_percent = 25
order_usd = 50000
[gate]
duplicate_window_ms = 0
[tiers.basic.default]
max_daily_loss_usd = 24
max_positions = 4
pairs = "all"
[tiers.basic.ceiling]
max_positions = 4
pairs = "all"
[risk.high]
position_percent = 20
[assets]
top = ["BTC", "ETH"]
"#), @r"
    warning: line 3: `caps.order_equity_percent` allows a single order 25 % of an account
    warning: line 4: `caps.order_usd` allows a single order 50000.00 USD
    warning: line 6: `gate.duplicate_window_ms` lets the same order through twice in a row
    warning: line 8: `tiers.basic.default.max_daily_loss_usd` is 24.00 USD; a tenth of the largest exposure, 20.00 USD, is the advice
    warning: line 9: `tiers.basic.default.max_positions` is 4; for those who begin, two or three is the advice
    warning: line 10: `tiers.basic.default.pairs` lets those who begin trade everything; major coins first is the advice
    warning: line 15: `risk.high.position_percent` puts 20 % of an account into one position; 2 to 5 % is the advice
    warning: line 17: `assets.top` names 2 assets, and not 20
    ");
}

#[test]
fn c7_the_settings_that_come_with_it_give_no_warning() {
    assert_eq!(seen(""), "fine");
    assert_eq!(seen(&Settings::default().to_toml()), "fine");
}

#[test]
fn a_hostile_name_does_not_fill_the_screen() {
    let text = format!("\"{}\\n\\u001b[2J\" = 1\n", "x".repeat(10_000));

    let seen = seen(&text);

    assert!(seen.len() < 1_000 && !seen.contains('\u{1b}'), "{seen}");
}

#[test]
fn columns_count_characters() {
    let error = Settings::parse("[log]\n\"föö\" = 1\nlevel = \"é\" \n", "bursar.toml").unwrap_err();
    let places: Vec<_> = error.problems.iter().map(|p| (p.line, p.column)).collect();

    assert_eq!(places, [(Some(2), Some(1)), (Some(3), Some(1))]);
}

#[test]
fn d29_every_name_with_a_letter_missing_is_refused_and_offered_again() {
    let text = Settings::default().to_toml();
    let mut names = 0;
    for (index, line) in text.lines().enumerate() {
        let Some((name, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let mut wrong = name.to_owned();
        wrong.remove(name.len() / 2);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[index] = format!("{wrong} = {value}");

        let error = Settings::parse(&lines.join("\n"), "bursar.toml").unwrap_err();

        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].line, Some(index + 1));
        assert!(
            error.to_string().ends_with(&format!("did you mean `{name}`?")),
            "{error}"
        );
        names += 1;
    }
    assert!(names > 70, "{names}");
}

#[test]
fn no_damaged_text_panics() {
    let text = Settings::default().to_toml();
    let mut refused = 0;
    for index in (0..text.len())
        .step_by(11)
        .filter(|index| text.is_char_boundary(*index))
    {
        let cut = &text[..index];
        let holed = format!("{}{}", cut, text[index..].chars().skip(1).collect::<String>());
        let quoted = format!("{cut}\"{}", &text[index..]);
        for damaged in [cut, &holed, &quoted] {
            if let Err(error) = Settings::parse(damaged, "bursar.toml") {
                assert!(!error.problems.is_empty() && !error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn a_channel_is_set_up_completely_or_not_at_all() {
    insta::assert_snapshot!(seen(
        "[notify.email]\nhost = \"mail.example.com\"\nusername = \"bursar\"\ntls = \"none\"\n\
         [notify.webhook]\nurl = \"http://127.0.0.1:9000/in\"\n\
         [notify.telegram]\nchat = \"@bursar_ops\"\n"
    ), @r#"
    bursar.toml:2:1: `notify.email.host` is set, and needs `notify.email.from`
    bursar.toml:3:1: `notify.email.username` is set, and needs `notify.email.password_file`
    bursar.toml:4:1: `notify.email.tls` is "none", but only a server on this machine (127.0.0.1, localhost, [::1]) may be reached without encryption
    bursar.toml:6:1: `notify.webhook.url` is set, and needs `notify.webhook.secret_file`
    bursar.toml:6:1: `notify.webhook.url` leads to this machine; add `allow_loopback = true` if that is meant
    bursar.toml:8:1: `notify.telegram.chat` is set, and needs `notify.telegram.token_file`
    hint: correct `bursar.toml`, then run `bursar config check`
    "#);
}

#[test]
fn a_channel_that_leads_where_it_hardly_should_is_pointed_out() {
    insta::assert_snapshot!(seen(
        "[notify.webhook]\nurl = \"http://127.0.0.1:9000/in\"\nsecret_file = \"/etc/bursar/hook\"\nallow_loopback = true\n\
         [notify.telegram]\nchat = \"-5\"\ntoken_file = \"/etc/bursar/bot\"\nbase_url = \"https://bots.example.com\"\n"
    ), @r"
    warning: line 4: `notify.webhook.allow_loopback` lets the webhook reach programs on this machine
    warning: line 8: `notify.telegram.base_url` sends the bot's token to `https://bots.example.com` and not to Telegram
    ");
}

#[test]
fn d29_no_secret_fits_into_the_settings_of_a_channel() {
    insta::assert_snapshot!(seen("[notify.email]\npassword = \"walnut\"\n[notify.telegram]\ntoken = \"1:x\"\nchat = \"ops\"\n"), @r"
    bursar.toml:2:1: unknown setting `password` in [notify.email]; there are host, port, tls, from, operator, username, password_file, ca_file
    bursar.toml:4:1: unknown setting `token` in [notify.telegram]; there are token_file, chat, base_url
    bursar.toml:5:1: `notify.telegram.chat` cannot be used: `ops` is not a chat: write its number, such as -1001234567890, or its name with `@`
    hint: correct `bursar.toml`, then run `bursar config check`
    ");
}

#[test]
fn d29_a_broker_and_a_time_zone_that_the_program_does_not_know_are_refused() {
    let known = Known {
        brokers: &["kraken".to_owned(), "paper".to_owned()],
        zone: |name| match name {
            "UTC" => Ok(()),
            _ => Err(vec!["UTC".to_owned(), "Europe/Stockholm".to_owned()]),
        },
    };
    let seen = |text: &str| {
        check_against(&known, text, "bursar.toml")
            .unwrap_err()
            .to_string()
    };

    insta::assert_snapshot!(
        seen("[brokers.krakne]\nmaster_policy = \"require\"\n\n[day]\nzone = \"Europe/Stokholm\"\n"),
        @r"
    bursar.toml:1:10: `brokers.krakne` is the section of a broker that there is no adapter for; did you mean `kraken`?
    bursar.toml:5:1: `day.zone` is `Europe/Stokholm`, a time zone that this machine does not know; did you mean `Europe/Stockholm`?
    "
    );
    insta::assert_snapshot!(seen("[brokers.coinbase]\n\n[day]\nzone = \"Mars\"\n"), @r"
    bursar.toml:1:10: `brokers.coinbase` is the section of a broker that there is no adapter for; there are kraken, paper
    bursar.toml:4:1: `day.zone` is `Mars`, a time zone that this machine does not know; `timedatectl list-timezones` lists them
    ");
    // What only a program knows is not asked for where a text alone is checked.
    assert!(check("[brokers.coinbase]\n", "bursar.toml").is_ok());
    assert!(check_against(&known, "[brokers.paper]\n", "bursar.toml").is_ok());
}
