//! What the gate's decision costs, without any reading: `just gate-figures`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark ends where its own world is wrong"
)]

use std::hint::black_box;

use bursar_controls::{LatchMode, review, size};
use bursar_permissions::Caller;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

#[path = "../tests/it/world.rs"]
#[expect(dead_code, reason = "a benchmark needs a part of what the tests do")]
mod world;

fn decisions(criterion: &mut Criterion) {
    let snapshot = world::world();
    let mut stopped = world::world();
    stopped.switches.push(world::latch("global", LatchMode::Halt));
    let order = world::buy("100");
    let sizing = size(&order, &snapshot).unwrap();

    criterion.bench_function("review, approved", |bencher| {
        bencher.iter_batched(
            || world::permitted(&Caller::Operator, order.clone(), &sizing, &snapshot).unwrap(),
            |permitted| black_box(review(permitted, sizing.clone(), &snapshot).unwrap()),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("review, refused by a switch", |bencher| {
        bencher.iter_batched(
            || world::permitted(&Caller::Operator, order.clone(), &sizing, &stopped).unwrap(),
            |permitted| black_box(review(permitted, sizing.clone(), &stopped).unwrap_err()),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("size, permit and review", |bencher| {
        bencher.iter(|| black_box(world::decide(order.clone(), &snapshot).unwrap()));
    });
}

criterion_group!(benches, decisions);
criterion_main!(benches);
