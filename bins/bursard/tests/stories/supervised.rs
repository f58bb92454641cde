//! A service manager that listens to the daemon.

use tokio::net::UnixDatagram;

use crate::masters_and_users::{Operator, PATIENCE};

/// What the daemon says next.
async fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut bytes)).await;
    let length = received.unwrap().unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_says_when_it_works_that_it_still_does_and_that_it_stops() {
    let mut operator = Operator::begin_with("").await;
    let path = operator.stage.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    operator
        .stage
        .set_variable("NOTIFY_SOCKET", path.to_str().unwrap());
    operator.stage.set_variable("WATCHDOG_USEC", "1000000");
    operator.stage.start_daemon().unwrap();

    assert!(heard(&socket).await.starts_with("READY=1"));
    let (mut alive, mut status) = (0, None);
    while alive < 2 || status.is_none() {
        let said = heard(&socket).await;
        match said.trim_end() {
            "WATCHDOG=1" => alive += 1,
            other => assert_eq!(status.replace(other.to_owned()), None, "once"),
        }
    }
    assert_eq!(status.as_deref(), Some("STATUS=no account to connect"));
    let stopped = operator.stage.stop_daemon().await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}");
    let mut said = heard(&socket).await;
    while said.trim_end() == "WATCHDOG=1" {
        said = heard(&socket).await;
    }
    assert!(said.starts_with("STOPPING=1"), "{said}");
}
