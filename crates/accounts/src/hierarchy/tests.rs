use bursar_config::MasterPolicy;

use super::*;
use crate::line::{self, LineLevel};

fn entry(account: &str, broker: &str, role: AccountRole, user: &str, name: &str) -> AccountEntry {
    AccountEntry {
        account: account.parse().unwrap(),
        broker: broker.parse().unwrap(),
        role,
        user: user.parse().unwrap(),
        user_name: name.to_owned(),
        enabled: true,
        state: ConnectionState::Ready,
        cause: String::new(),
    }
}

fn master(broker: &str) -> AccountEntry {
    entry(
        &format!("{broker}-main"),
        broker,
        AccountRole::Master,
        "ops_desk",
        "Harbour Capital",
    )
}

fn mara() -> AccountEntry {
    entry(
        "kraken-ilves",
        "kraken",
        AccountRole::User,
        "mara_ilves",
        "Mara Ilves",
    )
}

fn tomas(broker: &str) -> AccountEntry {
    entry(
        &format!("{broker}-brandt"),
        broker,
        AccountRole::User,
        "tomas_brandt",
        "Tomas Brandt",
    )
}

fn in_state(mut entry: AccountEntry, state: ConnectionState, cause: &str) -> AccountEntry {
    entry.state = state;
    entry.cause = cause.to_owned();
    entry
}

fn failed(entry: AccountEntry) -> AccountEntry {
    in_state(
        entry,
        ConnectionState::Failed,
        "the venue refuses the key: `EAPI:Invalid key`",
    )
}

fn report(accounts: &[AccountEntry]) -> HierarchyReport {
    HierarchyReport::new(accounts, |_| MasterPolicy::Warn)
}

fn notice(entry: &AccountEntry, accounts: &[AccountEntry], policy: MasterPolicy) -> String {
    line::text(&ConnectNotice::new(entry, accounts, policy).lines())
}

/// Which levels a text is logged at: one letter per line.
fn levels(lines: &[line::Line]) -> String {
    lines
        .iter()
        .map(|line| match line.level {
            LineLevel::Info => 'i',
            LineLevel::Warning => 'w',
        })
        .collect()
}

#[test]
fn a1_a4_the_user_who_trades_alone_is_named_with_the_reason() {
    let accounts = [failed(master("kraken")), tomas("kraken")];

    let report = report(&accounts);

    assert_eq!(report.verdict, HierarchyVerdict::UsersWithoutMaster);
    assert_eq!(report.warnings[0].trading, [tomas("kraken")]);
    insta::assert_snapshot!(report.text(), @r"
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           kraken: NOT connected (kraken-main: failed: the venue refuses the key: `EAPI:Invalid key`)
           No master broker is connected.
        2. User accounts
           1 of 1 connected
           kraken: 1
        3. Priority
           WARNING: at kraken users trade without a master: kraken-brandt of Tomas Brandt (tomas_brandt)
           recommendation: configure the master credentials of kraken first: run `bursar credentials check kraken-main`
           Masters are primary (the main trading accounts); users are secondary (additional accounts).
        ");
}

#[test]
fn a5_a_master_counts_at_its_own_broker_only() {
    let accounts = [master("coinbase"), mara()];

    assert!(!master_is_connected(&accounts, &"kraken".parse().unwrap()));
    assert!(master_is_connected(&accounts, &"coinbase".parse().unwrap()));
    assert!(users_without_master(&accounts).contains_key(&"kraken".parse().unwrap()));
}

#[test]
fn a6_a_master_must_exist_and_be_connected() {
    let kraken = "kraken".parse().unwrap();
    let connected = |state| {
        let accounts = [in_state(master("kraken"), state, ""), mara()];
        master_is_connected(&accounts, &kraken)
    };

    assert!(connected(ConnectionState::Ready));
    assert!(connected(ConnectionState::Degraded));
    assert!(!connected(ConnectionState::NotConfigured));
    assert!(!connected(ConnectionState::Connecting));
    assert!(!connected(ConnectionState::Failed));
    assert!(!connected(ConnectionState::Stopped));
    assert!(!master_is_connected(&[mara()], &kraken));
}

#[test]
fn a8_a9_a13_the_warning_names_user_broker_and_remedy() {
    let master = in_state(master("kraken"), ConnectionState::NotConfigured, "");
    let notice = ConnectNotice::new(&mara(), &[master, mara()], MasterPolicy::Warn);

    assert_eq!(levels(&notice.lines()), "wwwwwi");
    insta::assert_snapshot!(line::text(&notice.lines()), @r"
        kraken: user account kraken-ilves connects without its master: the master should be primary, users secondary
          user: Mara Ilves (mara_ilves)
          the master of kraken is not connected
          recommendation: configure the master credentials of kraken first: run `bursar credentials set kraken-main`
          Masters are primary (the main trading accounts); users are secondary (additional accounts).
        kraken: master not connected; user Mara Ilves (mara_ilves) acts first there until it is
        ");
}

#[test]
fn a10_a37_without_a_master_the_user_may_still_connect() {
    assert!(ConnectNotice::new(&mara(), &[mara()], MasterPolicy::Warn).may_connect());
    assert!(ConnectNotice::new(&mara(), &[mara()], MasterPolicy::Off).may_connect());
}

#[test]
fn a12_with_the_master_the_priority_is_correct() {
    let accounts = [master("kraken"), mara()];

    let lines = ConnectNotice::new(&mara(), &accounts, MasterPolicy::Warn).lines();

    assert_eq!(levels(&lines), "i");
    assert_eq!(
        line::text(&lines),
        "kraken: user Mara Ilves (mara_ilves) connects with correct priority; the master of kraken is connected\n"
    );
}

#[test]
fn a14_header_says_users_are_secondary() {
    let header = connect_header();

    assert_eq!(header.level, LineLevel::Info);
    assert!(header.text.contains("Users are secondary") && header.text.contains("masters connect first"));
}

#[test]
fn a16_the_report_begins_with_heading_and_principle() {
    let text = report(&[]).text();

    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("ACCOUNT HIERARCHY"));
    assert_eq!(lines.next(), Some(PRINCIPLE));
    assert!(PRINCIPLE.contains("primary") && PRINCIPLE.contains("secondary"));
}

#[test]
fn a17_a39_every_master_broker_is_shown_with_its_state() {
    let accounts = [master("coinbase"), failed(master("kraken"))];

    insta::assert_snapshot!(report(&accounts).text(), @r"
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           coinbase: connected (coinbase-main)
           kraken: NOT connected (kraken-main: failed: the venue refuses the key: `EAPI:Invalid key`)
        2. User accounts
           There are no user accounts.
        3. Priority
           There are no users, so that none can be without a master.
        ");
}

#[test]
fn a18_no_master_at_all_is_said() {
    let report = report(&[mara()]);

    assert!(!report.has_master());
    insta::assert_snapshot!(report.text(), @r"
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           kraken: NOT connected (no master account)
           No master broker is connected.
        2. User accounts
           1 of 1 connected
           kraken: 1
        3. Priority
           WARNING: at kraken users trade without a master: kraken-ilves of Mara Ilves (mara_ilves)
           recommendation: configure the master credentials of kraken first: add the account with `bursar account add ID --broker kraken --role master …`, then run `bursar credentials set ID`
           Masters are primary (the main trading accounts); users are secondary (additional accounts).
        ");
}

#[test]
fn a19_users_are_counted_in_all_and_by_broker() {
    let accounts = [
        master("coinbase"),
        master("kraken"),
        mara(),
        tomas("kraken"),
        tomas("coinbase"),
        failed(entry(
            "kraken-desk",
            "kraken",
            AccountRole::User,
            "ops_desk",
            "Harbour Capital",
        )),
    ];

    let users = report(&accounts).users;

    assert_eq!((users.total, users.connected), (4, 3));
    let counts: Vec<String> = users
        .connected_by_broker
        .iter()
        .map(|(broker, count)| format!("{broker} {count}"))
        .collect();
    assert_eq!(counts, ["coinbase 1", "kraken 2"]);
}

#[test]
fn a20_a21_each_broker_without_master_has_its_own_recommendation() {
    let accounts = [
        in_state(master("coinbase"), ConnectionState::NotConfigured, ""),
        tomas("coinbase"),
        mara(),
    ];

    let report = report(&accounts);

    let recommendations: Vec<&str> = report
        .warnings
        .iter()
        .map(|warning| warning.recommendation.as_str())
        .collect();
    assert_eq!(
        recommendations,
        [
            "configure the master credentials of coinbase first: run `bursar credentials set coinbase-main`",
            "configure the master credentials of kraken first: add the account with `bursar account add ID --broker \
             kraken --role master …`, then run `bursar credentials set ID`",
        ]
    );
    let warned = report
        .lines()
        .iter()
        .filter(|line| line.level == LineLevel::Warning)
        .count();
    // None connected; a broker and its recommendation, twice; the principle.
    assert_eq!(warned, 6);
}

#[test]
fn a23_the_analysis_lists_brokers_with_users_but_no_master() {
    let accounts = [
        master("coinbase"),
        tomas("coinbase"),
        mara(),
        failed(tomas("kraken")),
    ];

    let without = users_without_master(&accounts);

    let found: Vec<String> = without
        .iter()
        .flat_map(|(broker, users)| users.iter().map(move |user| format!("{broker} {}", user.account)))
        .collect();
    assert_eq!(found, ["kraken kraken-ilves"]);
}

#[test]
fn a22_a24_one_master_and_two_users_is_confirmed() {
    let accounts = [master("kraken"), mara(), tomas("kraken")];

    let report = report(&accounts);

    assert_eq!(report.verdict, HierarchyVerdict::EveryUserHasMaster);
    assert!(report.lines().iter().all(|line| line.level == LineLevel::Info));
    insta::assert_snapshot!(report.text(), @r"
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           kraken: connected (kraken-main)
        2. User accounts
           2 of 2 connected
           kraken: 2
        3. Priority
           Correct: every connected user has its master at the same broker.
        ");
}

#[test]
fn a25_one_user_and_no_master_is_warned_of_twice() {
    let accounts = [mara()];

    let picture = format!(
        "{}---\n{}",
        notice(&mara(), &accounts, MasterPolicy::Warn),
        report(&accounts).text()
    );

    assert!(report(&accounts).verdict == HierarchyVerdict::UsersWithoutMaster);
    insta::assert_snapshot!(picture, @r"
        kraken: user account kraken-ilves connects without its master: the master should be primary, users secondary
          user: Mara Ilves (mara_ilves)
          the master of kraken is not connected
          recommendation: configure the master credentials of kraken first: add the account with `bursar account add ID --broker kraken --role master …`, then run `bursar credentials set ID`
          Masters are primary (the main trading accounts); users are secondary (additional accounts).
        kraken: master not connected; user Mara Ilves (mara_ilves) acts first there until it is
        ---
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           kraken: NOT connected (no master account)
           No master broker is connected.
        2. User accounts
           1 of 1 connected
           kraken: 1
        3. Priority
           WARNING: at kraken users trade without a master: kraken-ilves of Mara Ilves (mara_ilves)
           recommendation: configure the master credentials of kraken first: add the account with `bursar account add ID --broker kraken --role master …`, then run `bursar credentials set ID`
           Masters are primary (the main trading accounts); users are secondary (additional accounts).
        ");
}

#[test]
fn a36_any_user_without_master_is_warned_of_not_only_the_second() {
    let accounts = [
        mara(),
        tomas("kraken"),
        entry("kraken-desk", "kraken", AccountRole::User, "ops_desk", "ops_desk"),
    ];

    let report = report(&accounts);

    assert_eq!(report.warnings[0].trading.len(), 3);
    assert!(report.text().contains("kraken-desk of ops_desk"));
}

#[test]
fn a48_masters_and_users_of_several_brokers_stand_in_one_report() {
    let accounts = [master("coinbase"), master("kraken"), mara(), tomas("coinbase")];

    assert_eq!(report(&accounts).verdict, HierarchyVerdict::EveryUserHasMaster);
}

#[test]
fn d5_require_makes_users_wait_and_says_so() {
    let waiting = in_state(
        mara(),
        ConnectionState::Connecting,
        "waits for the master of kraken",
    );
    let accounts = [failed(master("kraken")), waiting.clone()];
    let notice = ConnectNotice::new(&waiting, &accounts, MasterPolicy::Require);

    assert!(!notice.may_connect());
    let report = HierarchyReport::new(&accounts, |_| MasterPolicy::Require);
    assert_eq!(report.verdict, HierarchyVerdict::NoUserConnected);
    insta::assert_snapshot!(format!("{}---\n{}", line::text(&notice.lines()), report.text()), @r"
        kraken: user account kraken-ilves waits for its master (master_policy = require): the master should be primary, users secondary
          user: Mara Ilves (mara_ilves)
          the master of kraken is not connected
          recommendation: configure the master credentials of kraken first: run `bursar credentials check kraken-main`
          Masters are primary (the main trading accounts); users are secondary (additional accounts).
        ---
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           kraken: NOT connected (kraken-main: failed: the venue refuses the key: `EAPI:Invalid key`)
           No master broker is connected.
        2. User accounts
           0 of 1 connected
           kraken: 0
           not connected:
           - kraken-ilves of Mara Ilves (mara_ilves) at kraken: connecting: waits for the master of kraken
        3. Priority
           WARNING: at kraken users wait for the master: kraken-ilves of Mara Ilves (mara_ilves)
           recommendation: configure the master credentials of kraken first: run `bursar credentials check kraken-main`
           Masters are primary (the main trading accounts); users are secondary (additional accounts).
           No user is connected.
        ");
}

#[test]
fn d5_off_says_nothing_and_confirms_nothing() {
    let accounts = [mara()];

    assert_eq!(notice(&mara(), &accounts, MasterPolicy::Off), "");
    let report = HierarchyReport::new(&accounts, |_| MasterPolicy::Off);
    assert!(report.warnings.is_empty());
    assert!(
        report
            .text()
            .contains("Not watched: kraken (master_policy = off)")
    );
    // The figure for the metrics does not depend on what is said.
    assert_eq!(users_without_master(&accounts).len(), 1);
}

#[test]
fn d5_a_role_is_never_renamed_by_circumstances() {
    let accounts = [failed(master("kraken")), mara()];

    let report = report(&accounts);

    assert_eq!(report.masters[0].accounts[0].role, AccountRole::Master);
    assert_eq!(report.warnings[0].trading[0].role, AccountRole::User);
    assert!(!notice(&mara(), &accounts, MasterPolicy::Warn).contains("mara_ilves) is primary"));
}

#[test]
fn d23_no_users_is_not_all_users_have_their_master() {
    let report = report(&[master("kraken")]);

    assert_eq!(report.verdict, HierarchyVerdict::NoUsers);
    insta::assert_snapshot!(report.text(), @r"
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           kraken: connected (kraken-main)
        2. User accounts
           There are no user accounts.
        3. Priority
           There are no users, so that none can be without a master.
        ");
}

#[test]
fn d23_users_that_failed_are_listed_and_not_counted() {
    let mut off = tomas("coinbase");
    off.enabled = false;
    off.state = ConnectionState::Stopped;
    let accounts = [
        master("kraken"),
        mara(),
        failed(tomas("kraken")),
        in_state(
            entry("kraken-desk", "kraken", AccountRole::User, "ops_desk", "ops_desk"),
            ConnectionState::NotConfigured,
            "",
        ),
        off,
    ];

    let report = report(&accounts);

    assert_eq!((report.users.total, report.users.connected), (4, 1));
    insta::assert_snapshot!(report.text(), @r"
        ACCOUNT HIERARCHY
        Masters are primary (the main trading accounts); users are secondary (additional accounts).
        1. Master accounts
           coinbase: NOT connected (no master account)
           kraken: connected (kraken-main)
        2. User accounts
           1 of 4 connected
           coinbase: 0
           kraken: 1
           not connected:
           - kraken-brandt of Tomas Brandt (tomas_brandt) at kraken: failed: the venue refuses the key: `EAPI:Invalid key`
           - kraken-desk of ops_desk at kraken: not-configured
           - coinbase-brandt of Tomas Brandt (tomas_brandt) at coinbase: not enabled
        3. Priority
           Correct: every connected user has its master at the same broker.
        ");
}

#[test]
fn what_an_exchange_says_stays_on_one_line() {
    let cause = format!("bad\nINFO all is well{}", "x".repeat(10_000));
    let report = report(&[in_state(master("kraken"), ConnectionState::Failed, &cause)]);

    assert!(report.text().contains("failed: bad INFO all is well"));
    assert!(report.text().len() < 1_000);
}

#[test]
fn the_json_of_a_report_reads_back() {
    let report = report(&[failed(master("kraken")), mara()]);

    let json = serde_json::to_string(&report).unwrap();

    assert_eq!(serde_json::from_str::<HierarchyReport>(&json).unwrap(), report);
}
