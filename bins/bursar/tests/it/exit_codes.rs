//! One ending per kind of outcome, by the numbers of the interface.

use bursar::Exit;

use crate::desk::Desk;

#[tokio::test]
async fn every_exit_code_is_reached_by_what_it_stands_for() {
    let bare = Desk::bare();
    let desk = Desk::ready().await;
    let live = "account add kraken-main --user ops_desk --broker kraken --role master";
    let table: [(&Desk, &str, Exit, u8); 16] = [
        (&desk, "user list", Exit::Done, 0),
        (&desk, "--help", Exit::Done, 0),
        (&desk, "--version", Exit::Done, 0),
        (&desk, "config check --config missing.toml", Exit::Failed, 1),
        (&desk, "credentials check kraken-main", Exit::NotFound, 4),
        (&desk, "user", Exit::Usage, 2),
        (&desk, "user show 'Mara Ilves'", Exit::Usage, 2),
        (&desk, "kill user", Exit::Usage, 2),
        (&desk, "kill global --mode halt", Exit::Usage, 2),
        (
            &desk,
            "can mara_ilves kraken-ilves buy BTC-USD 5000",
            Exit::Refused,
            3,
        ),
        (&desk, "credentials set kraken-ilves", Exit::Refused, 3),
        (&desk, "user show nobody", Exit::NotFound, 4),
        (
            &desk,
            "kill account kraken-main --mode halt --reason typo",
            Exit::NotFound,
            4,
        ),
        (
            &desk,
            "order show 6d1b345e-2821-40e2-ad83-4ecb18a06876",
            Exit::NotFound,
            4,
        ),
        (&bare, "status", Exit::Unavailable, 5),
        (
            &desk,
            "order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0",
            Exit::Partial,
            6,
        ),
    ];

    for (desk, line, exit, code) in table {
        let ran = desk.run(line).await;
        assert_eq!(ran.exit, exit, "`{line}`:\n{}\n{}", ran.out, ran.err);
        assert_eq!(ran.exit.code(), code);
        if !matches!(exit, Exit::Done | Exit::Partial) && ran.out.is_empty() && line != "user" {
            assert!(ran.err.contains("error:"), "`{line}` says no error:\n{}", ran.err);
            assert!(ran.err.contains("hint:"), "`{line}` gives no hint:\n{}", ran.err);
        }
    }
    desk.done("user add ops_desk --email ops@example.com --tier enterprise")
        .await;
    desk.done(live).await;
    desk.ends("credentials check kraken-main", Exit::NotFound).await;
}

#[tokio::test]
async fn audit_verify_has_endings_of_its_own() {
    let desk = Desk::with_mara().await;

    assert_eq!(desk.run("audit verify").await.exit.code(), 0);
    let head = desk.json("audit verify").await["audit"]["head_text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        desk.run(&format!("audit verify --head {head}")).await.exit.code(),
        0
    );
    let other = format!("2:{}", "0".repeat(64));
    let broken = desk.run(&format!("audit verify --head {other}")).await;
    assert_eq!(broken.exit.code(), 1, "{}", broken.out);
    assert!(broken.out.contains("rollback"), "{}", broken.out);
    assert_eq!(Desk::bare().run("audit verify").await.exit.code(), 2);

    assert_eq!(desk.run("audit verify --from 3").await.exit.code(), 0);
    let stranger = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let unsigned = desk.run(&format!("audit verify --public-key {stranger}")).await;
    assert_eq!(unsigned.exit.code(), 1, "{}", unsigned.out);
    assert!(unsigned.out.contains("(signature)"), "{}", unsigned.out);
    let missing = desk.run("audit verify --checkpoint missing").await;
    assert_eq!(missing.exit.code(), 2, "{}", missing.err);
    let nothing = desk.run("audit verify --public-key nonsense").await;
    assert_eq!(nothing.exit.code(), 2, "{}", nothing.err);
}

#[tokio::test]
async fn with_json_a_failure_is_a_document_too() {
    let desk = Desk::with_mara().await;

    let usage = desk.json("user show 'Mara Ilves'").await;
    assert_eq!(usage["error"]["exit"], 2);
    assert!(
        usage["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`Mara Ilves` is not a valid user id")
    );
    let document = desk.json("user show nobody").await;

    assert_eq!(document["error"]["code"], "not-found");
    assert_eq!(document["error"]["exit"], 4);
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`nobody`")
    );
    assert!(
        document["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("bursar user list")
    );
}
