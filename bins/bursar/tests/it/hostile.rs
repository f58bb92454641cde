//! Input that nobody should type: clean errors, no panic, no harm to the terminal.

use bursar::Exit;

use crate::desk::Desk;

#[tokio::test]
async fn no_input_panics_or_floods_the_terminal() {
    let desk = Desk::with_mara().await;
    let long = "x".repeat(10_000);
    let odd = [
        long.as_str(),
        "",
        " ",
        "-",
        "--",
        "\u{0}",
        "../../etc/passwd",
        "mara ilves",
        "mära",
        "\u{1b}[2J\u{7}",
        "\u{202e}reversed",
        "'; DROP TABLE user; --",
        "99999999999999999999999999999999",
        "1e308",
        "NaN",
        "-1",
        "0",
        "0x10",
        "１００",
        "BTC-BTC",
        "💰",
    ];
    let lines: [&[&str]; 22] = [
        &["user", "show", "?"],
        &["user", "add", "?", "--email", "x@example.com", "--tier", "basic"],
        &["user", "add", "tomas_brandt", "--email", "?", "--tier", "basic"],
        &[
            "user",
            "add",
            "tomas_brandt",
            "--email",
            "x@example.com",
            "--tier",
            "?",
        ],
        &[
            "user",
            "add",
            "tomas_brandt",
            "--email",
            "x@example.com",
            "--tier",
            "basic",
            "--name",
            "?",
        ],
        &["account", "show", "?"],
        &[
            "account",
            "add",
            "?",
            "--user",
            "mara_ilves",
            "--broker",
            "kraken",
            "--role",
            "user",
        ],
        &[
            "account",
            "add",
            "x",
            "--user",
            "mara_ilves",
            "--broker",
            "?",
            "--role",
            "user",
        ],
        &["can", "mara_ilves", "kraken-ilves", "?", "BTC-USD", "10"],
        &["can", "mara_ilves", "kraken-ilves", "buy", "?", "10"],
        &["can", "mara_ilves", "kraken-ilves", "buy", "BTC-USD", "?"],
        &["permissions", "set", "mara_ilves", "--pairs", "?"],
        &["permissions", "set", "mara_ilves", "--max-position-usd", "?"],
        &["permissions", "set", "mara_ilves", "--max-positions", "?"],
        &["preferences", "set", "mara_ilves", "--take-profit", "?"],
        &["kill", "user", "?", "--mode", "halt", "--reason", "x"],
        &["kill", "?", "--mode", "halt", "--reason", "x"],
        &["release", "?", "--reason", "x"],
        &["order", "show", "?"],
        &[
            "order",
            "place",
            "kraken-ilves",
            "buy",
            "BTC-USD",
            "--quantity",
            "?",
        ],
        &["audit", "verify", "--head", "?"],
        &["credentials", "set", "?"],
    ];
    for line in lines {
        for text in odd {
            let words: Vec<String> = line
                .iter()
                .map(|word| {
                    if *word == "?" {
                        text.to_owned()
                    } else {
                        (*word).to_owned()
                    }
                })
                .collect();
            let ran = desk.run_words(&words, "").await;
            let shown = format!("{}{}", ran.out, ran.err);
            assert!(shown.len() < 20_000, "{line:?} with {} characters", text.len());
            if text.len() > 100 {
                assert_ne!(ran.exit, Exit::Done, "{line:?}");
                assert!(ran.err.len() < 1_500, "{line:?}: {}", ran.err);
            }
            assert!(
                !ran.err.contains("panicked"),
                "{line:?} with {text:?}: {}",
                ran.err
            );
            let escapes = drives_a_terminal(&shown);
            assert!(
                !escapes,
                "{line:?} with {text:?} lets control characters through: {shown:?}"
            );
        }
    }
}

/// Whether a text has control characters other than line breaks.
fn drives_a_terminal(text: &str) -> bool {
    text.chars()
        .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
}

#[tokio::test]
async fn a_scope_that_names_nothing_stops_nothing() {
    let desk = Desk::with_mara().await;

    for line in [
        "kill user nobody --mode halt --reason typo",
        "kill account nothing --mode halt --reason typo",
        "kill broker nowhere --mode halt --reason typo",
    ] {
        let said = desk.ends(line, Exit::NotFound).await;
        assert!(said.contains("hint:"), "{said}");
    }
    desk.ends("kill global kraken --mode halt --reason typo", Exit::Usage)
        .await;
    assert_eq!(desk.json("latches").await["total_count"], 0);
}

#[tokio::test]
async fn flattening_is_asked_about() {
    let desk = Desk::with_mara().await;

    let said = desk
        .ends(
            "kill account kraken-ilves --mode flatten --reason test",
            Exit::Usage,
        )
        .await;
    assert!(said.contains("--yes"), "{said}");
    desk.done("kill account kraken-ilves --mode flatten --reason test --yes")
        .await;
}

#[tokio::test]
async fn an_account_of_somebody_else_is_not_found() {
    let desk = Desk::with_mara().await;
    desk.done("user add tomas_brandt --email tomas@example.com --tier pro")
        .await;

    let said = desk
        .ends("can tomas_brandt kraken-ilves buy BTC-USD 10", Exit::NotFound)
        .await;

    assert!(said.contains("does not belong to user `tomas_brandt`"), "{said}");
}
