//! What takes two people, at the command line.

use bursar::Exit;
use bursar_auth::{Act, Principal};
use bursar_execution::{Approvals, Attempt, Conditions, Journal, Outcome};
use bursar_model::IntentId;
use rust_decimal::dec;
use serde_json::{Value, json};

use crate::desk::{Desk, balance};
use crate::orders::fill;

/// An order that nobody can tell any more: sent, no answer, and the exchange has forgotten by now.
pub(crate) async fn forgotten(desk: &Desk) -> IntentId {
    let placed = desk
        .json("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;
    let id: IntentId = placed["order"]["order_id"].as_str().unwrap().parse().unwrap();
    let store = desk.store();
    let attempt = Attempt {
        token: [7; 16],
        sent_at: desk.now(),
        acceptance_bound: desk.now(),
    };
    drop(store.dispatch(id, attempt, desk.now()).await.unwrap());
    let lost = Outcome::Lost {
        reason: "no answer".to_owned(),
    };
    store.conclude(id, lost, desk.now()).await.unwrap();
    desk.later(3 * 24 * 3_600);
    id
}

pub(crate) fn proposal(document: &Value) -> String {
    document["approval"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_order_that_nobody_can_tell_is_ended_by_two_people() {
    let mut desk = Desk::ready().await;
    let order = forgotten(&desk).await;
    let resolve = format!(
        "order resolve {order} --as absent --evidence 'export of 23 November has no such order' --reason 'too old'"
    );

    let ran = desk.run(&format!("{resolve} --json")).await;
    assert_eq!(ran.exit, Exit::Partial, "{}{}", ran.out, ran.err);
    let proposed: Value = serde_json::from_str(&ran.out).unwrap();
    let id = proposal(&proposed);
    assert_eq!(proposed["done"], json!(false));
    // Who may not is told so, and not asked whether they are sure.
    desk.ends(&format!("approve {id}"), Exit::Refused).await;
    let alone = desk.ends(&format!("approve {id} --yes"), Exit::Refused).await;
    assert!(alone.contains("another person has to approve it"), "{alone}");
    let waiting = desk.done("status").await;
    assert!(
        waiting.contains("1 proposal waits for a second person"),
        "{waiting}"
    );
    let listed = desk.done("approvals").await;
    assert!(listed.contains("export of 23 November"), "{listed}");

    desk.taken_by("night_desk");
    let unasked = desk.ends(&format!("approve {id}"), Exit::Usage).await;
    assert!(unasked.contains("operator:ops_desk proposed"), "{unasked}");
    let said = desk.done(&format!("approve {} --yes", &id[..8])).await;
    assert!(said.contains("is absent"), "{said}");

    let explained = desk.done(&format!("explain {order}")).await;
    for part in [
        "operator ops_desk",
        "intent.resolved",
        "night_desk",
        "export of 23 November",
    ] {
        assert!(explained.contains(part), "{part} is missing in\n{explained}");
    }
    assert_eq!(desk.json("check").await["holds"], json!(true));
}

/// Mara has bought, and sold it by hand: the account is connected, and shows nothing of it.
pub(crate) async fn sold_by_hand(desk: &Desk) {
    let placed = desk
        .json("order place kraken-ilves buy BTC-USD --usd 48 --wait-ms 0")
        .await;
    fill(desk, placed["order"]["order_id"].as_str().unwrap()).await;
    let (store, account) = (desk.store(), "kraken-ilves".parse().unwrap());
    store
        .put_balances(&account, &[balance("USD", dec!(990))], None, desk.now())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_the_owner_sold_by_hand_is_written_off_by_two_people() {
    let mut desk = Desk::ready().await;
    sold_by_hand(&desk).await;
    let write_off =
        "position write-off kraken-ilves BTC-USD --evidence 'her e-mail of 3 March' --reason 'sold by hand'";

    let ran = desk.run(&format!("{write_off} --json")).await;
    assert_eq!(ran.exit, Exit::Partial, "{}{}", ran.out, ran.err);
    let proposed: Value = serde_json::from_str(&ran.out).unwrap();
    let said = proposed["approval"]["describes"].as_str().unwrap();
    assert!(said.contains("take 0.0004 of the 0.0004 BTC-USD"), "{said}");
    desk.taken_by("night_desk");
    let done = desk.json(&format!("approve {} --yes", proposal(&proposed))).await;

    assert_eq!(done["written_off"]["quantity"], json!("0.0004"));
    assert_eq!(done["written_off"]["left"], json!("0"));
    assert_eq!(desk.json("positions").await["total_count"], json!(0));
    let again = desk.ends(write_off, Exit::Refused).await;
    assert!(again.contains("bursar positions"), "{again}");
    assert_eq!(desk.json("check").await["holds"], json!(true));
}

#[tokio::test]
async fn what_people_say_must_fit_what_is_recorded() {
    let desk = Desk::ready().await;
    let order = forgotten(&desk).await;

    let said = desk
        .ends(
            &format!("order resolve {order} --as filled --evidence 'saw it' --reason 'x'"),
            Exit::Refused,
        )
        .await;

    assert!(said.contains("resolve-needs-executions"), "{said}");
    assert!(said.contains("--venue-order-id"), "{said}");
    assert_eq!(desk.json("approvals").await["total_count"], json!(0));
}

#[tokio::test]
async fn a_rejected_proposal_does_nothing() {
    let mut desk = Desk::ready().await;
    let order = forgotten(&desk).await;
    let resolve = format!("order resolve {order} --as absent --evidence 'not there' --reason 'too old'");
    let id = proposal(&desk.json(&resolve).await);

    desk.taken_by("night_desk");
    desk.done(&format!("reject {id} --reason 'it is in the export'"))
        .await;

    desk.ends(&format!("approve {id} --yes"), Exit::Refused).await;
    assert_eq!(
        desk.json(&format!("order show {order}")).await["order"]["state"],
        json!("unknown")
    );
    let all = desk.json("approvals --all").await;
    assert_eq!(all["approvals"][0]["state"], json!("rejected"));
}

/// A command that was detached from its session has nobody above it: whoever did that would be a second person.
#[tokio::test]
async fn whom_the_kernel_does_not_know_is_neither_of_two_people() {
    let mut desk = Desk::ready().await;
    let order = forgotten(&desk).await;
    let resolve =
        format!("order resolve {order} --as absent --evidence 'not in the export' --reason 'too old'");
    desk.set_person_known(false);
    let said = desk.ends(&resolve, Exit::Refused).await;
    assert!(said.contains("the kernel recorded no login but root's"), "{said}");
    desk.set_person_known(true);
    let ran = desk.run(&format!("{resolve} --json")).await;
    let id = proposal(&serde_json::from_str(&ran.out).unwrap());

    desk.taken_by("bursar");
    desk.set_person_known(false);
    desk.ends(&format!("approve {id} --yes"), Exit::Refused).await;

    let orders = desk.json("orders --state unknown").await;
    assert_eq!(orders["orders"].as_array().unwrap().len(), 1);
    // Who works alone is one person in any case.
    let act = Act::new(Principal::operator("ops_desk").unwrap(), desk.now());
    desk.store().set_works_alone(true, &act).await.unwrap();
    desk.done(&format!("approve {id} --yes")).await;
}

#[tokio::test]
async fn a_halt_of_everything_is_released_by_two_people() {
    let mut desk = Desk::with_mara().await;
    desk.done("kill global --mode halt --reason 'exchange misbehaves'")
        .await;
    let latch = desk.json("latches").await["latches"][0]["latch_id"]
        .as_str()
        .unwrap()
        .to_owned();

    let ran = desk
        .run(&format!("release {latch} --reason 'it answers again' --json"))
        .await;
    assert_eq!(ran.exit, Exit::Partial, "{}{}", ran.out, ran.err);
    let id = proposal(&serde_json::from_str(&ran.out).unwrap());
    assert_eq!(desk.json("latches").await["total_count"], json!(1));
    desk.taken_by("night_desk");
    desk.done(&format!("approve {id} --yes --reason 'saw it too'"))
        .await;

    assert_eq!(desk.json("latches").await["total_count"], json!(0));
    let tail = desk.done("audit tail").await;
    assert!(
        tail.contains("approval.proposed") && tail.contains("approval.approved"),
        "{tail}"
    );
}

#[tokio::test]
async fn looser_limits_for_everybody_wait_for_a_second_person() {
    let mut desk = Desk::with_mara().await;
    let settings = std::fs::read_to_string(desk.path("bursar.toml")).unwrap();
    desk.write(
        "bursar.toml",
        &settings.replace("entries_per_day = 50", "entries_per_day = 500"),
    );

    let id = proposal(&desk.json("config apply --reason 'agreed on Monday'").await);
    desk.taken_by("night_desk");
    let said = desk.done(&format!("approve {id} --yes")).await;

    assert!(said.contains("the looser limits are in force"), "{said}");
    desk.ends("config apply --reason again", Exit::Refused).await;
}

#[tokio::test]
async fn who_works_alone_does_both_and_every_status_shows_it() {
    let desk = Desk::bare();
    desk.write("bursar.toml", "[people]\nalone = true\n");
    desk.done("init --yes --recovery-file recovery.txt").await;
    desk.done("kill global --mode halt --reason 'drill'").await;
    let latch = desk.json("latches").await["latches"][0]["latch_id"]
        .as_str()
        .unwrap()
        .to_owned();

    desk.done(&format!("release {latch} --reason 'drill is over'"))
        .await;

    assert!(desk.store().works_alone().await.unwrap());
    let status = desk.done("status").await;
    assert!(status.contains("one person may do what takes two"), "{status}");
    assert_eq!(desk.json("status").await["works_alone"], json!(true));
}

#[tokio::test]
async fn an_order_bears_the_login_of_whoever_placed_it() {
    let desk = Desk::ready().await;

    let placed = desk
        .json("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;

    assert_eq!(placed["order"]["caller"], json!("operator ops_desk"));
}
