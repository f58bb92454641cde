use bursar_config::{ConfigError, LogFormat, MasterPolicy, Settings, TierPairs, schema};
use bursar_model::{Asset, PairRule, RiskLevel, Tier, UserLimits};
use rust_decimal::{Decimal, dec};

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse(text, "bursar.toml")
}

fn shown(limits: &UserLimits) -> String {
    let pairs = match &limits.pairs {
        PairRule::Bases(bases) if bases.len() == 20 => "top 20".to_owned(),
        other => other.to_string(),
    };
    format!(
        "position {}, daily loss {}, {} positions, pairs {pairs}",
        limits.max_position, limits.max_daily_loss, limits.max_positions
    )
}

#[test]
fn c7_c8_c9_d1_every_tier_has_a_default_and_a_ceiling() {
    let settings = Settings::default();
    let table: String = [Tier::Basic, Tier::Pro, Tier::Enterprise]
        .into_iter()
        .map(|tier| {
            let limits = settings.tier(tier);
            format!(
                "{tier} default: {}\n{tier} ceiling: {}\n",
                shown(&limits.default),
                shown(&limits.ceiling)
            )
        })
        .collect();

    insta::assert_snapshot!(table, @r"
    basic default: position 50.00 USD, daily loss 25.00 USD, 2 positions, pairs BTC, ETH
    basic ceiling: position 50.00 USD, daily loss 25.00 USD, 2 positions, pairs BTC, ETH
    pro default: position 200.00 USD, daily loss 100.00 USD, 5 positions, pairs top 20
    pro ceiling: position 300.00 USD, daily loss 150.00 USD, 7 positions, pairs top 20
    enterprise default: position 1000.00 USD, daily loss 500.00 USD, 20 positions, pairs all
    enterprise ceiling: position 1000.00 USD, daily loss 500.00 USD, 20 positions, pairs all
    ");
}

#[test]
fn d2_the_top_assets_are_twenty_with_a_date_and_go_by_identity() {
    let assets = Settings::default().assets;

    assert_eq!(assets.top.len(), 20);
    assert_eq!(assets.as_of.to_string(), "2026-11-20");
    let renamed: Asset = "MATIC".parse().unwrap();
    assert!(assets.top.contains(&renamed));
}

#[test]
fn e10_e12_the_first_users_pairs_are_within_the_pro_ceiling() {
    let wished = ["BTC", "ETH", "SOL", "AVAX", "MATIC", "DOT", "LINK", "ADA"]
        .map(|base| format!("{base}-USD").parse().unwrap());

    let ceiling = Settings::default().tier(Tier::Pro).ceiling;

    assert!(PairRule::Only(wished.into()).is_within(&ceiling.pairs));
    assert!(ceiling.max_position >= "300".parse().unwrap() && ceiling.max_positions >= 7);
}

#[test]
fn d30_the_caps_are_ten_percent_ten_thousand_and_fifty() {
    let caps = Settings::default().caps;

    assert_eq!(caps.order_equity_percent, dec!(10));
    assert_eq!(caps.order_usd.amount(), dec!(10000));
    assert_eq!(caps.entries_per_day, 50);
}

#[test]
fn d10_risk_levels_have_written_effects() {
    let risk = Settings::default().risk;
    let effects = [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High]
        .map(|level| (risk.of(level).trade_percent, risk.of(level).position_percent));

    assert_eq!(
        effects,
        [(dec!(1), dec!(2)), (dec!(2), dec!(5)), (dec!(3), dec!(10))]
    );
}

#[test]
fn an_empty_text_is_a_complete_configuration() {
    assert_eq!(parse("").unwrap(), Settings::default());
}

#[test]
fn what_a_text_leaves_out_keeps_its_default() {
    let settings = parse("[tiers.pro.default]\nmax_position_usd = 150\n[log]\nformat = \"json\"\n").unwrap();

    let pro = settings.tier(Tier::Pro);
    assert_eq!(pro.default.max_position.amount(), dec!(150));
    assert_eq!(pro.default.max_daily_loss.amount(), dec!(100));
    assert_eq!(pro.ceiling.max_position.amount(), dec!(300));
    assert_eq!(settings.tiers.pro.default.pairs, TierPairs::Top);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.caps, Settings::default().caps);
}

#[test]
fn i19_an_amount_is_exact_in_quotes_or_without() {
    for (text, amount) in [
        ("0.1", dec!(0.1)),
        ("\"0.1\"", dec!(0.1)),
        ("49.999999999999", dec!(49.999999999999)),
        ("1_0", dec!(10)),
        ("25", Decimal::from(25)),
    ] {
        let settings = parse(&format!("[tiers.basic.default]\nmax_position_usd = {text}\n")).unwrap();
        assert_eq!(
            settings.tiers.basic.default.max_position_usd.amount(),
            amount,
            "{text}"
        );
    }
    for text in ["1e1", "0x10", "nan", "inf", "0.1234567890123", "\"1,5\"", "true"] {
        let text = format!("[tiers.basic.default]\nmax_position_usd = {text}\n");
        assert!(Settings::parse(&text, "bursar.toml").is_err(), "{text}");
    }
}

#[test]
fn a_broker_without_a_section_has_the_defaults() {
    let settings = parse("[brokers.kraken]\nmaster_policy = \"require\"\n").unwrap();
    let kraken = settings.brokers.of(&"kraken".parse().unwrap());
    let coinbase = settings.brokers.of(&"coinbase".parse().unwrap());

    assert_eq!(kraken.master_policy, MasterPolicy::Require);
    assert_eq!(coinbase.master_policy, MasterPolicy::Warn);
    assert_eq!(coinbase.request_timeout_ms.duration().as_secs(), 10);
}

#[test]
fn what_is_written_reads_back_the_same() {
    let changed = r#"
data_dir = "C:\\bursar \"data\""
[store]
url = "sqlite:/var/lib/bursar/bursar.db"
[tiers.basic.default]
pairs = { only = ["BTC-USD", "ETH-USD"] }
max_position_usd = "12.345"
[tiers.enterprise.ceiling]
pairs = "all"
[assets]
as_of = 2026-01-31
top = ["BTC"]
[day]
zone = "Europe/Stockholm"
start = "17:30"
[brokers.kraken]
base_url = "http://127.0.0.1:4100"
allow_custom_url = true
[brokers.coinbase]
master_policy = "off"
[risk.low]
trade_percent = 0.25
"#;
    for text in ["", changed] {
        let settings = parse(text).unwrap();
        assert_eq!(parse(&settings.to_toml()).unwrap(), settings);
    }
    assert_ne!(parse(changed).unwrap(), Settings::default());
}

#[test]
fn the_file_explains_itself() {
    insta::assert_snapshot!("bursar.toml", Settings::default().to_toml());
}

#[test]
fn the_schema_knows_every_setting_and_no_other() {
    let schema = schema();
    let mut missing = Vec::new();
    let mut section = String::new();
    for line in Settings::default().to_toml().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((name, _)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            let path = section.split('.').filter(|part| !part.is_empty()).chain([name]);
            let pointer: String = path.map(|part| format!("/properties/{part}")).collect();
            if schema
                .pointer(&pointer)
                .is_none_or(|setting| setting["description"].as_str().is_none())
            {
                missing.push(pointer);
            }
        }
    }

    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["gate"]["additionalProperties"], false);
    assert_eq!(
        schema["properties"]["brokers"]["additionalProperties"]["additionalProperties"],
        false
    );
    insta::assert_snapshot!(
        "schema",
        serde_json::to_string_pretty(&schema["properties"]["tiers"]["properties"]["basic"]).unwrap()
    );
}
