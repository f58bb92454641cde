use bursar_config::{Preferences, Settings};
use bursar_model::{RiskLevel, Tier, Usd, UserLimits};
use rust_decimal::{Decimal, dec};

fn limits() -> UserLimits {
    Settings::default().tier(Tier::Pro).default
}

fn read(json: &str) -> Result<Preferences, serde_json::Error> {
    serde_json::from_str(json)
}

#[test]
fn f1_f2_preferences_read_and_write() {
    let wished = read(
        r#"{"max_position_usd":"150","max_positions":3,"risk_level":"moderate","take_profit":true,"take_profit_percent":"4.5"}"#,
    )
    .unwrap();

    assert_eq!(wished.risk_level, RiskLevel::Medium);
    insta::assert_snapshot!(serde_json::to_string_pretty(&wished).unwrap(), @r#"
    {
      "max_position_usd": "150",
      "max_positions": 3,
      "risk_level": "medium",
      "trailing_stop": true,
      "trailing_stop_percent": null,
      "take_profit": true,
      "take_profit_percent": "4.5",
      "auto_compound": false,
      "notify_on_trade": true,
      "notify_on_profit_target": true,
      "notify_on_stop_loss": true,
      "notify_amounts": false
    }
    "#);
}

#[test]
fn a_wish_that_is_not_known_is_refused() {
    assert!(read(r#"{"max_daily_loss_usd":"1000"}"#).is_err());
    assert!(
        read(r#"{"max_position_usd":150.0}"#).is_err(),
        "an amount is a text, never a float"
    );
    assert!(read(r#"{"risk_level":"reckless"}"#).is_err());
}

#[test]
fn d12_every_wish_that_loosens_is_named() {
    let wished = Preferences {
        max_position_usd: Some("200.01".parse().unwrap()),
        max_positions: Some(6),
        trailing_stop_percent: Some(Decimal::ZERO),
        take_profit_percent: Some(dec!(100.5)),
        ..Preferences::default()
    };
    let refused = wished.validate_within(&limits()).unwrap_err();
    let shown: Vec<String> = refused
        .iter()
        .map(|wrong| format!("{wrong}\n  hint: {}", wrong.hint()))
        .collect();

    insta::assert_snapshot!(shown.join("\n"), @r"
    max_position_usd is 200.01 USD, but 200.00 USD is allowed
      hint: ask for less, or have the limit raised first with `bursar permissions set`
    max_positions is 6, but 5 are allowed
      hint: ask for less, or have the limit raised first with `bursar permissions set`
    trailing_stop_percent is 0, but a percentage above 0 and up to 100 belongs there
      hint: correct the value, or leave it out
    take_profit_percent is 100.5, but a percentage above 0 and up to 100 belongs there
      hint: correct the value, or leave it out
    ");
}

#[test]
fn d12_wishes_only_tighten() {
    let limits = limits();
    for position in ["0", "1", "199.99", "200", "200.01", "100000"] {
        for positions in [0, 1, 5, 6, u32::MAX] {
            let wished = Preferences {
                max_position_usd: Some(position.parse().unwrap()),
                max_positions: Some(positions),
                ..Preferences::default()
            };
            let effective = wished.effective(&limits);

            assert!(effective.max_position <= limits.max_position);
            assert!(effective.max_positions <= limits.max_positions);
            assert_eq!(
                (effective.max_daily_loss, &effective.pairs),
                (limits.max_daily_loss, &limits.pairs)
            );
            if wished.validate_within(&limits).is_ok() {
                assert_eq!(Some(effective.max_position), wished.max_position_usd);
                assert_eq!(Some(effective.max_positions), wished.max_positions);
            }
        }
    }
    assert_eq!(Preferences::default().effective(&limits), limits);
}

#[test]
fn d12_a_wish_that_was_fine_once_does_not_outlive_a_lower_limit() {
    let wished = Preferences {
        max_position_usd: Some("150".parse().unwrap()),
        ..Preferences::default()
    };
    let mut lowered = limits();
    lowered.max_position = Usd::new(dec!(50));

    assert_eq!(wished.effective(&lowered).max_position, Usd::new(dec!(50)));
    assert_eq!(wished.effective(&limits()).max_position, Usd::new(dec!(150)));
}
