//! The market's own time: it begins with the wall's and runs at its own speed.

use rust_decimal::Decimal;

use crate::moment::Moment;

/// Wall time to market time and back.
#[derive(Clone, Debug)]
pub(crate) struct MarketClock {
    /// In thousandths of the wall's speed, until the first segment begins.
    pub(crate) speed: i64,
    pub(crate) segments: Vec<Segment>,
}

/// From `wall` on, the market runs from `market` at this speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) wall: Moment,
    pub(crate) market: Moment,
    pub(crate) speed: i64,
}

impl MarketClock {
    pub(crate) fn now(&self, wall: Moment) -> Moment {
        let Some(segment) = self.segments.iter().rev().find(|segment| segment.wall <= wall) else {
            return wall;
        };
        let passed = i128::from(wall.micros_since(segment.wall)) * i128::from(segment.speed) / 1_000;
        let passed = i64::try_from(passed).unwrap_or(i64::MAX / 4);
        Moment::from_micros(segment.market.micros().saturating_add(passed))
    }

    /// When, on the wall, the market was or will be at `market`; `None` while it stands still before it.
    pub(crate) fn wall(&self, market: Moment) -> Option<Moment> {
        let Some(segment) = self
            .segments
            .iter()
            .rev()
            .find(|segment| segment.market <= market)
        else {
            let first = self.segments.first()?;
            let before = first.market.micros_since(market);
            return Some(Moment::from_micros(first.wall.micros().saturating_sub(before)));
        };
        let distance = i128::from(market.micros_since(segment.market));
        if segment.speed == 0 {
            return (distance == 0).then_some(segment.wall);
        }
        let speed = i128::from(segment.speed);
        let passed = (distance * 1_000 + speed - 1) / speed;
        let passed = i64::try_from(passed).ok()?;
        Some(Moment::from_micros(segment.wall.micros().saturating_add(passed)))
    }

    pub(crate) fn speed(&self) -> i64 {
        self.segments.last().map_or(self.speed, |segment| segment.speed)
    }

    pub(crate) fn set_speed(&mut self, wall: Moment, speed: i64) {
        let market = self.now(wall);
        self.segments.push(Segment { wall, market, speed });
    }
}

/// A speed as it is kept: at most 10,000, to the thousandth.
pub(crate) fn thousandths(speed: Decimal) -> i64 {
    let capped = speed.clamp(Decimal::ZERO, Decimal::from(10_000));
    i64::try_from((capped * Decimal::ONE_THOUSAND).round()).unwrap_or(1_000)
}
