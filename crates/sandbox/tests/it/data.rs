//! Every recorded market replays. The recordings lie outside the project.

use std::path::{Path, PathBuf};

use bursar_sandbox::Market;
use rust_decimal::{Decimal, dec};

use crate::world::{decimal, world};

/// The folder of recordings; `None` where they are not at hand, which continuous integration may not be.
fn recordings() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").is_err(), "{} is missing", folder.display());
    println!("skipped: {} is not here", folder.display());
    None
}

fn files() -> Vec<PathBuf> {
    let Some(data) = recordings() else {
        return Vec::new();
    };
    let mut files = Vec::new();
    let mut folders = vec![data.join("candles"), data.join("trades")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_file_replays_with_history_before_and_prices_after_its_beginning() {
    for path in files() {
        let market = Market::replay(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut world = world().market(market).speed(dec!(60)).build();
        let pairs = world.public("AssetPairs", "");
        let pair = pairs.as_object().unwrap().keys().next().unwrap().clone();

        let candles = world.public("OHLC", &format!("pair={pair}&interval=1"))[&pair].clone();
        let before = world.public("Ticker", &format!("pair={pair}"))[&pair].clone();
        world.wait_seconds(600);
        let after = world.public("Ticker", &format!("pair={pair}"))[&pair].clone();

        let rows = candles.as_array().unwrap();
        assert!(rows.len() > 10, "{}: {} candles", path.display(), rows.len());
        assert!(
            decimal(&before["b"][0]) < decimal(&before["a"][0]),
            "{}",
            path.display()
        );
        assert_ne!(
            before["c"],
            after["c"],
            "{}: the price stands still",
            path.display()
        );
        assert_eq!(
            decimal(&rows.last().unwrap()[4]),
            decimal(&before["c"][0]),
            "{}",
            path.display()
        );
    }
}

#[test]
fn every_folder_replays_and_its_candles_are_those_of_the_files() {
    let Some(data) = recordings() else { return };
    for folder in std::fs::read_dir(data.join("candles")).unwrap() {
        let folder = folder.unwrap().path();
        let market = Market::replay(&folder).unwrap();
        let mut world = world().market(market).speed(dec!(60)).build();

        let pairs = world.public("AssetPairs", "");
        let ticker = world.public("Ticker", "");

        assert_eq!(
            pairs.as_object().unwrap().len(),
            ticker.as_object().unwrap().len()
        );
        for (pair, row) in ticker.as_object().unwrap() {
            assert!(decimal(&row["c"][0]) > Decimal::ZERO, "{pair}");
        }
    }
}

#[test]
fn replayed_candles_have_the_prices_of_the_file_up_to_the_grid() {
    let Some(data) = recordings() else { return };
    let path = data.join("candles/kraken-2020-04/XXBTZUSD_1m.csv.gz");
    let text = {
        use std::io::Read;
        let mut text = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    let recorded: Vec<Vec<Decimal>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|field| field.parse().unwrap()).collect())
        .collect();
    let begin = recorded.len() / 5;
    let mut world = world()
        .market(Market::replay(&path).unwrap())
        .speed(dec!(600))
        .build();
    world.wait_seconds(60);

    let reply = world.public("OHLC", "pair=XBTUSD&interval=1");
    let rows = reply["XXBTZUSD"].as_array().unwrap();

    // 600 minutes have passed since the beginning; the last candle is the open one.
    let closed = &rows[..rows.len() - 1];
    let expected = &recorded[begin + 600 - closed.len()..begin + 600];
    for (row, record) in closed.iter().zip(expected) {
        for member in 1..5 {
            assert_eq!(decimal(&row[member]), record[member], "{row} {record:?}");
        }
        assert_eq!(decimal(&row[6]), record[6].round_dp(8));
    }
}

#[test]
fn the_banking_crisis_breaks_the_dollar_coin() {
    let Some(data) = recordings() else { return };
    let market = Market::replay(&data.join("candles/svb-2023-03")).unwrap();
    let mut world = world().market(market).speed(dec!(3600)).build();
    let mut lowest = Decimal::ONE;
    for _ in 0..240 {
        world.wait_seconds(1);
        let row = world.public("Ticker", "pair=USDCUSD")["USDCUSD"].clone();
        lowest = lowest.min(decimal(&row["l"][1]));
    }

    assert!(lowest < dec!(0.88), "{lowest}");
    let status = world.exchange.status();
    assert!(
        status.pairs.iter().all(|pair| pair.replay == "ended"),
        "{status:?}"
    );
}
