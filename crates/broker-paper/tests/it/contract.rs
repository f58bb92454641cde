use bursar_broker::contract::CHECKS;

use crate::world::World;

#[tokio::test]
async fn the_paper_broker_keeps_the_contract_of_every_broker() {
    let mut breaches = Vec::new();
    for check in CHECKS {
        breaches.extend(check.run(&World::new(None, None)).await.err());
    }

    assert_eq!(breaches, []);
    assert!(CHECKS.len() >= 15);
}
